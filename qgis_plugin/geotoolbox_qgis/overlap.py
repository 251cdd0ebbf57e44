"""Whether layers that are to be used together are in the same place: asked before anything starts."""

from __future__ import annotations

from typing import Dict, List, Mapping, Optional

from qgis.core import (
    QgsCoordinateReferenceSystem,
    QgsCoordinateTransform,
    QgsCsException,
    QgsMapLayer,
    QgsProcessingContext,
    QgsProcessingException,
    QgsRectangle,
)

from .texts import tr

__all__ = ["check_overlap"]

_BASE = ("INPUT", "LIKE")
_OTHER = ("LABELS", "LABEL_RASTER", "REFERENCE", "REFERENCE_RASTER", "AREA")


def check_overlap(layers: Mapping[str, List[QgsMapLayer]], context: QgsProcessingContext) -> None:
    """Say so when labels, a reference or an area are somewhere else than the images.

    Raises:
        QgsProcessingException: With the two layers and what to do.
    """
    base = _together([layer for name in _BASE for layer in layers.get(name, [])], context)
    if not base:
        return
    for name in _OTHER:
        for layer in layers.get(name, []):
            box = _lonlat(layer, context)
            if box is not None and not any(box.intersects(other) for other in base.values()):
                raise QgsProcessingException(
                    tr(
                        "The layers '{}' and '{}' have no place in common. Fix: check that both are of the same "
                        "region, and that each layer's CRS is the one its data is in."
                    ).format(next(iter(base)), layer.name())
                )


def _together(layers: List[QgsMapLayer], context: QgsProcessingContext) -> Dict[str, QgsRectangle]:
    found = {}
    for layer in layers:
        box = _lonlat(layer, context)
        if box is not None:
            found[layer.name()] = box
    return found


def _lonlat(layer: QgsMapLayer, context: QgsProcessingContext) -> Optional[QgsRectangle]:
    """Return a layer's extent in longitude and latitude, or None where it cannot be told."""
    extent = layer.extent()
    if extent.isNull() or not layer.crs().isValid():
        return None
    lonlat = QgsCoordinateReferenceSystem("EPSG:4326")
    try:
        return QgsCoordinateTransform(layer.crs(), lonlat, context.transformContext()).transformBoundingBox(
            extent
        )
    except QgsCsException:
        return None
