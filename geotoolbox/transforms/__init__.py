"""Transforms: statistics, normalisation, spectral indices and augmentation, on samples and batches."""

from geotoolbox.transforms.augment import Augment
from geotoolbox.transforms.expressions import Expression
from geotoolbox.transforms.indices import (
    INDICES,
    AppendIndices,
    SpectralIndex,
    compute_index,
    default_indices,
    parse_index,
    parse_indices,
)
from geotoolbox.transforms.normalize import Normalize, NormalizeKind
from geotoolbox.transforms.preprocess import Preprocess
from geotoolbox.transforms.statistics import (
    BandStatistics,
    ClassStatistics,
    compute_class_statistics,
    compute_statistics,
)

__all__ = [
    "INDICES",
    "AppendIndices",
    "Augment",
    "BandStatistics",
    "ClassStatistics",
    "Expression",
    "Normalize",
    "NormalizeKind",
    "Preprocess",
    "SpectralIndex",
    "compute_class_statistics",
    "compute_index",
    "compute_statistics",
    "default_indices",
    "parse_index",
    "parse_indices",
]
