"""Whole-scene prediction: seamless, bounded in memory, resumable; and what is made of maps.

Names are loaded on first use, so that writing a raster does not import torch.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from geotoolbox.prediction.engine import (
        FailedTile,
        PredictionResult,
        describe,
        plan_scene,
        predict_array,
        predict_scene,
    )
    from geotoolbox.prediction.forward import TileModel
    from geotoolbox.prediction.lattice import Lattice, Window
    from geotoolbox.prediction.options import PredictOptions
    from geotoolbox.prediction.plan import Plan

__all__ = [
    "FailedTile",
    "Lattice",
    "Plan",
    "PredictOptions",
    "PredictionResult",
    "TileModel",
    "Window",
    "describe",
    "plan_scene",
    "predict_array",
    "predict_scene",
]

_HOMES = {
    "engine": ("FailedTile", "PredictionResult", "describe", "plan_scene", "predict_array", "predict_scene"),
    "forward": ("TileModel",),
    "lattice": ("Lattice", "Window"),
    "options": ("PredictOptions",),
    "plan": ("Plan",),
}


def __getattr__(name: str) -> Any:
    for home, names in _HOMES.items():
        if name in names:
            return getattr(import_module(f"{__name__}.{home}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
