"""GeoToolbox: from imagery and labels to a map that can be trusted."""

from __future__ import annotations

import os
from importlib import import_module
from typing import Any

__version__ = "0.1.0"

# PyTorch's threads wait for each other by spinning; on a machine that is busy with anything else that costs four
# fifths of the time. It is read once, when PyTorch is loaded, and what the user has set stays.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

# Public names and where they live; loaded on first use, so that importing stays quick and torch-free.
_PUBLIC = {
    "ClassTable": "geotoolbox.core.classes",
    "GridGeoSampler": "geotoolbox.sampling",
    "PreChippedGeoSampler": "geotoolbox.sampling",
    "ProgressBars": "geotoolbox.core.bars",
    "Query": "geotoolbox.core.query",
    "RandomBatchGeoSampler": "geotoolbox.sampling",
    "RandomGeoSampler": "geotoolbox.sampling",
    "RasterDataset": "geotoolbox.datasets",
    "Region": "geotoolbox.core.query",
    "SemanticSegmentationTask": "geotoolbox.trainers",
    "TimeInterval": "geotoolbox.core.query",
    "VectorDataset": "geotoolbox.datasets",
    "evaluate": "geotoolbox.api",
    "load_model": "geotoolbox.api",
    "spatial_split": "geotoolbox.sampling",
    "stack_samples": "geotoolbox.sampling",
    "train": "geotoolbox.api",
}

__all__ = ["__version__", *sorted(_PUBLIC)]  # noqa: PLE0604


def __getattr__(name: str) -> Any:
    if name in _PUBLIC:
        return getattr(import_module(_PUBLIC[name]), name)
    raise AttributeError(f"module 'geotoolbox' has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
