"""Polygons onto a grid, exactly: cut to the window, densified, transformed, burned in pixel coordinates."""

from __future__ import annotations

import math

import numpy as np
import shapely
from affine import Affine
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox
from rasterio.features import rasterize
from shapely.geometry import box
from shapely.geometry.base import BaseGeometry

from geotoolbox.alignment.systems import transformer
from geotoolbox.datasets.scanline import fill_polygons
from geotoolbox.indexing.geometry import (
    apply_affine,
    crs_text,
    geobox_polygon,
    lonlat_outline,
    same_crs,
    transform_geometry,
)

__all__ = ["burn", "in_pixels", "window_boxes"]

_STEPS = 64
_MARGIN = 0.02
_EDGE_PX = 4
_NARROW_DEG = 60.0  # grids of longitude below this have no neighbour near the other side of the earth


def window_boxes(geobox: GeoBox, crs: str) -> list[BaseGeometry]:
    """Return boxes in ``crs`` that surely hold all of a grid: its outline is densified, not its corners.

    Two boxes where the grid goes across the antimeridian of a geographic layer.
    """
    if same_crs(crs, geobox.crs):
        outline: BaseGeometry = geobox_polygon(geobox)
    elif same_crs(crs, "EPSG:4326"):
        outline = lonlat_outline(geobox)
    else:
        outline = transform_geometry(geobox_polygon(geobox, _STEPS), geobox.crs, crs)
    boxes = []
    for part in shapely.get_parts(outline):
        west, south, east, north = part.bounds
        margin = _MARGIN * max(east - west, north - south)
        boxes.append(box(west - margin, south - margin, east + margin, north + margin))
    return boxes


def in_pixels(
    geometries: NDArray[np.object_], crs: str, geobox: GeoBox, window: BaseGeometry
) -> NDArray[np.object_]:
    """Return geometries in pixel coordinates (column, row) of a grid.

    Args:
        geometries: In ``crs``, polygons, lines or points.
        crs: Theirs.
        geobox: The grid.
        window: A box of :func:`window_boxes`; only what is inside is brought over.
    """
    to_pixel = ~geobox.affine

    def pixel(xy: NDArray[np.float64]) -> NDArray[np.float64]:
        columns, rows = apply_affine(to_pixel, xy[:, 0], xy[:, 1])
        return np.column_stack([columns, rows])

    if same_crs(crs, geobox.crs):
        return np.asarray(shapely.transform(geometries, pixel), dtype=object)
    west, south, east, north = window.bounds
    # Densified before it is cut, by a length that hardly depends on the window: so neighbours agree.
    pixel_size = max(east - west, north - south) / max(geobox.shape)
    dense = shapely.segmentize(geometries, 2.0 ** math.floor(math.log2(_EDGE_PX * pixel_size)))
    convert = transformer(crs, str(geobox.crs)).transform
    middle = (geobox.affine * (geobox.shape[1] / 2, geobox.shape[0] / 2))[0] if _geographic(geobox) else None

    def moved(xy: NDArray[np.float64]) -> NDArray[np.float64]:
        x, y = convert(xy[:, 0], xy[:, 1])
        if middle is not None:  # the turn of longitude that the grid is on
            x = middle + (np.asarray(x) - middle + 180.0) % 360.0 - 180.0
        return pixel(np.column_stack([x, y]))

    if middle is None or abs(geobox.affine.a) * geobox.shape[1] < _NARROW_DEG:
        # What ends near the window is cheaper to bring over whole than to cut – where it has a place at all.
        whole = np.asarray(shapely.transform(_cut(dense, window, 1.0), moved), dtype=object)
        if np.isfinite(shapely.get_coordinates(whole)).all():
            return whole
    return np.asarray(shapely.transform(_cut(dense, window, 0.0), moved), dtype=object)


def _cut(shapes: NDArray[np.object_], window: BaseGeometry, beyond: float) -> NDArray[np.object_]:
    """Cut shapes to a box; those that reach beyond it by less than some times its size are left alone."""
    west, south, east, north = window.bounds
    reach = beyond * max(east - west, north - south)
    least, most = (west - reach, south - reach), (east + reach, north + reach)
    box_of = shapely.bounds(shapes)
    with np.errstate(invalid="ignore"):
        inside = (box_of[:, :2] >= least).all(axis=1) & (box_of[:, 2:] <= most).all(axis=1)
    out = shapes.copy()
    out[~inside] = shapely.intersection(shapes[~inside], window)
    return out


def _geographic(geobox: GeoBox) -> bool:
    return bool(geobox.crs is not None and geobox.crs.geographic and crs_text(geobox.crs))


def burn(
    shapes: NDArray[np.object_],
    values: NDArray[np.int64],
    shape: tuple[int, int],
    *,
    fill: int,
    all_touched: bool,
) -> NDArray[np.int64]:
    """Burn shapes in pixel coordinates; a later one covers an earlier one.

    A pixel is inside when its centre is, or with ``all_touched`` when the shape touches it.

    Example:
        >>> square = np.array([box(0, 0, 2, 1)], dtype=object)
        >>> burn(square, np.array([7]), (2, 3), fill=-100, all_touched=False).tolist()
        [[7, 7, -100], [-100, -100, -100]]
    """
    good = ~(shapely.is_empty(shapes) | shapely.is_missing(shapes)) & _finite(shapes)
    shapes, values = shapes[good], values[good]
    if not all_touched and bool((shapely.get_dimensions(shapes) == 2).all()):
        filled = np.full(shape, fill, dtype=np.int64)
        if len(shapes):
            fill_polygons(_polygons_only(shapes), values, filled)
        return filled
    pairs = [(g, int(v)) for g, v in zip(shapes, values, strict=True)]
    out: NDArray[np.int32] = rasterize(
        pairs, out_shape=shape, fill=fill, transform=Affine.identity(), all_touched=all_touched, dtype="int32"
    )
    return out.astype(np.int64)


def _finite(shapes: NDArray[np.object_]) -> NDArray[np.bool_]:
    """Tell which shapes have a place for all their points."""
    points, owner = shapely.get_coordinates(shapes, return_index=True)
    good = np.ones(len(shapes), dtype=bool)
    good[owner[~np.isfinite(points).all(axis=1)]] = False
    return good


def _polygons_only(shapes: NDArray[np.object_]) -> NDArray[np.object_]:
    """Leave out the lines and points of collections, which have no pixel centre inside."""
    mixed = shapely.get_type_id(shapes) == shapely.GeometryType.GEOMETRYCOLLECTION
    if not mixed.any():
        return shapes
    out = shapes.copy()
    for number in np.flatnonzero(mixed):
        parts = shapely.get_parts(shapes[number])
        polygons = [q for p in parts for q in shapely.get_parts(p) if q.geom_type == "Polygon"]
        out[number] = shapely.multipolygons(polygons)
    return out
