"""Sampling: which windows are read, how a dataset is split, and how samples become batches."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from geotoolbox.sampling.disjoint import check_disjoint
from geotoolbox.sampling.folds import Fold, Folds, block_folds, nearest_folds, region_folds
from geotoolbox.sampling.samplelist import SampleList
from geotoolbox.sampling.splits import Split, spatial_split, split_by_file, split_by_polygons, split_by_time

if TYPE_CHECKING:
    from geotoolbox.sampling.collate import concat_samples, merge_samples, stack_samples, unbind_samples
    from geotoolbox.sampling.grid import GridGeoSampler, PreChippedGeoSampler
    from geotoolbox.sampling.listed import ListSampler
    from geotoolbox.sampling.random import RandomBatchGeoSampler, RandomGeoSampler

__all__ = [
    "Fold",
    "Folds",
    "GridGeoSampler",
    "ListSampler",
    "PreChippedGeoSampler",
    "RandomBatchGeoSampler",
    "RandomGeoSampler",
    "SampleList",
    "Split",
    "block_folds",
    "check_disjoint",
    "concat_samples",
    "merge_samples",
    "nearest_folds",
    "region_folds",
    "spatial_split",
    "split_by_file",
    "split_by_polygons",
    "split_by_time",
    "stack_samples",
    "unbind_samples",
]

# What needs torch is loaded on first use: splits and sample lists do without it.
_WITH_TORCH = {
    "GridGeoSampler": "grid",
    "ListSampler": "listed",
    "PreChippedGeoSampler": "grid",
    "RandomBatchGeoSampler": "random",
    "RandomGeoSampler": "random",
    "concat_samples": "collate",
    "merge_samples": "collate",
    "stack_samples": "collate",
    "unbind_samples": "collate",
}


def __getattr__(name: str) -> Any:
    if name in _WITH_TORCH:
        return getattr(import_module(f"geotoolbox.sampling.{_WITH_TORCH[name]}"), name)
    raise AttributeError(f"module 'geotoolbox.sampling' has no attribute {name!r}")
