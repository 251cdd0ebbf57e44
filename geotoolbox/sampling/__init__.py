"""Sampling: which windows are read, how a dataset is split, and how samples become batches."""

from geotoolbox.sampling.collate import concat_samples, merge_samples, stack_samples, unbind_samples
from geotoolbox.sampling.disjoint import check_disjoint
from geotoolbox.sampling.grid import GridGeoSampler, PreChippedGeoSampler
from geotoolbox.sampling.random import RandomBatchGeoSampler, RandomGeoSampler
from geotoolbox.sampling.samplelist import SampleList
from geotoolbox.sampling.splits import Split, spatial_split, split_by_file, split_by_polygons, split_by_time

__all__ = [
    "GridGeoSampler",
    "PreChippedGeoSampler",
    "RandomBatchGeoSampler",
    "RandomGeoSampler",
    "SampleList",
    "Split",
    "check_disjoint",
    "concat_samples",
    "merge_samples",
    "spatial_split",
    "split_by_file",
    "split_by_polygons",
    "split_by_time",
    "stack_samples",
    "unbind_samples",
]
