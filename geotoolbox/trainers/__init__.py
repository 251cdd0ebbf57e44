"""Training: tasks, losses, the loop, and simple baselines to compare with."""

from __future__ import annotations

from typing import TYPE_CHECKING

from geotoolbox.trainers.options import TrainOptions

if TYPE_CHECKING:
    from geotoolbox.trainers.baseline import BaselineResult
    from geotoolbox.trainers.losses import SegmentationLoss
    from geotoolbox.trainers.task import SemanticSegmentationTask
    from geotoolbox.trainers.training import TrainResult, train_segmentation

__all__ = [
    "BaselineResult",
    "SegmentationLoss",
    "SemanticSegmentationTask",
    "TrainOptions",
    "TrainResult",
    "train_segmentation",
]

_HOMES = {
    "BaselineResult": "baseline",
    "SegmentationLoss": "losses",
    "SemanticSegmentationTask": "task",
    "TrainResult": "training",
    "train_segmentation": "training",
}


def __getattr__(name: str) -> object:
    """Import the heavy parts (Lightning) when they are asked for."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
