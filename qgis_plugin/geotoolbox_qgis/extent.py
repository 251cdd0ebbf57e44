"""A rectangle as an area that the engine can read."""

from __future__ import annotations

import json

from qgis.core import (
    QgsCoordinateReferenceSystem,
    QgsCoordinateTransform,
    QgsGeometry,
    QgsProcessingContext,
    QgsRectangle,
)

__all__ = ["extent_geojson"]

_POINTS = 16


def extent_geojson(
    extent: QgsRectangle, crs: QgsCoordinateReferenceSystem, context: QgsProcessingContext
) -> str:
    """Return a rectangle as GeoJSON in longitude and latitude, with points enough on its sides to stay one."""
    shape = QgsGeometry.fromRect(extent).densifyByCount(_POINTS)
    transform = QgsCoordinateTransform(
        crs, QgsCoordinateReferenceSystem("EPSG:4326"), context.transformContext()
    )
    shape.transform(transform)
    feature = {"type": "Feature", "properties": {}, "geometry": json.loads(shape.asJson(9))}
    return json.dumps({"type": "FeatureCollection", "features": [feature]})
