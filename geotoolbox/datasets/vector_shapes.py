"""Geometries made ready to be burned: valid, flat, buffered where they have no area, with counts told."""

from __future__ import annotations

import logging

import numpy as np
import shapely
from numpy.typing import NDArray
from pyproj import Transformer

from geotoolbox.errors import BadInput, explain

__all__ = ["Shapes", "buffered", "cleaned"]

_logger = logging.getLogger(__name__)
Shapes = NDArray[np.object_]


def cleaned(geometries: Shapes, where: str) -> tuple[Shapes, NDArray[np.int64]]:
    """Return flat, valid geometries and the positions they had; null and empty ones are left out.

    Heights and measures are dropped here only (the table keeps them). A bow-tie or a hole outside its shell
    becomes the valid area that its lines enclose.
    """
    missing = shapely.is_missing(geometries) | shapely.is_empty(geometries)
    if missing.any():
        _logger.warning("%s: %d features without geometry are left out", where, int(missing.sum()))
    kept = np.flatnonzero(~missing)
    flat = shapely.force_2d(geometries[kept])
    invalid = ~shapely.is_valid(flat)
    if invalid.any():
        reason = shapely.is_valid_reason(flat[invalid][0])
        _logger.warning(
            "%s: %d invalid geometries are mended (first: row %d, %s)",
            where, int(invalid.sum()), kept[invalid][0], reason,
        )  # fmt: skip
        flat[invalid] = [_same_kind(shapely.make_valid(g), shapely.get_dimensions(g)) for g in flat[invalid]]
    usable = ~shapely.is_empty(flat)
    return flat[usable], kept[usable]


def _same_kind(mended: shapely.Geometry, dimensions: int) -> shapely.Geometry:
    parts = [
        p for p in shapely.get_parts(mended, return_index=False) if shapely.get_dimensions(p) == dimensions
    ]
    return shapely.union_all(parts) if parts else mended


def buffered(geometries: Shapes, crs: str, buffer_m: float | None, where: str) -> Shapes:
    """Give points and lines an area: all within ``buffer_m`` metres on the ground.

    Without a buffer they mark the pixels that they touch, which is told.

    Raises:
        BadInput: When the buffer is not positive.
    """
    thin = shapely.get_dimensions(geometries) < 2
    if buffer_m is not None and buffer_m <= 0:
        raise BadInput(explain("a buffer must be positive", got=buffer_m, expected="metres > 0"))
    if not thin.any():
        return geometries
    if buffer_m is None:
        _logger.warning(
            "%s: %d points or lines mark only the pixels that they touch; buffer_m= (--label-buffer-m) gives them an area",
            where, int(thin.sum()),
        )  # fmt: skip
        return geometries
    out = geometries.copy()
    out[thin] = [_disc(g, crs, buffer_m) for g in geometries[thin]]
    return out


def _disc(geometry: shapely.Geometry, crs: str, buffer_m: float) -> shapely.Geometry:
    lonlat = Transformer.from_crs(crs, "EPSG:4326", always_xy=True)
    centre = geometry.centroid
    lon, lat = lonlat.transform(centre.x, centre.y)
    local = f"+proj=aeqd +lat_0={lat} +lon_0={lon} +datum=WGS84 +units=m"
    there = Transformer.from_crs(crs, local, always_xy=True).transform
    back = Transformer.from_crs(local, crs, always_xy=True).transform
    flat = shapely.transform(geometry, lambda xy: np.column_stack(there(xy[:, 0], xy[:, 1])))
    return shapely.transform(flat.buffer(buffer_m), lambda xy: np.column_stack(back(xy[:, 0], xy[:, 1])))
