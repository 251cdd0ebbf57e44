"""GeoToolbox for QGIS: train, predict and judge on loaded layers, from the Processing toolbox."""

from __future__ import annotations

from typing import Any

__all__ = ["classFactory"]


def classFactory(iface: Any) -> Any:
    """Return the plugin; QGIS calls this. ``iface`` is None in qgis_process."""
    from .plugin import GeoToolboxPlugin

    return GeoToolboxPlugin(iface)
