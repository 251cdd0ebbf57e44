"""Widgets for Jupyter on GeoToolbox's engine: maps, samples, training, results.

They open no port and need no network: what they show goes over Jupyter's own connection.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

from geotoolbox.core.compiled import get_ready

# Public names and where they live; loaded on first use.
_PUBLIC = {
    "AppState": "geotoolbox_widgets.state",
    "Explorer": "geotoolbox_widgets.explorer",
    "LayerMap": "geotoolbox_widgets.layermap",
    "MetricsExplorer": "geotoolbox_widgets.metrics_explorer",
    "PredictionViewer": "geotoolbox_widgets.prediction",
    "SampleBrowser": "geotoolbox_widgets.samples",
    "SpecForm": "geotoolbox_widgets.form",
    "Trainer": "geotoolbox_widgets.trainer",
}

__all__ = sorted(_PUBLIC)  # noqa: PLE0605


def __getattr__(name: str) -> Any:
    if name in _PUBLIC:
        return getattr(import_module(_PUBLIC[name]), name)
    raise AttributeError(f"module 'geotoolbox_widgets' has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__


get_ready()  # while the cell imports the rest: the first picture must not wait for it
