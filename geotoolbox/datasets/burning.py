"""Polygons onto a grid, exactly: cut to the window, densified, transformed, burned in pixel coordinates."""

from __future__ import annotations

import math

import numpy as np
import shapely
from affine import Affine
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox
from pyproj import Transformer
from rasterio.features import rasterize
from shapely.geometry import box
from shapely.geometry.base import BaseGeometry

from geotoolbox.indexing.geometry import (
    apply_affine,
    crs_text,
    geobox_polygon,
    lonlat_polygon,
    same_crs,
    transform_geometry,
)

__all__ = ["burn", "in_pixels", "window_boxes"]

_STEPS = 64
_MARGIN = 0.02
_EDGE_PX = 4


def window_boxes(geobox: GeoBox, crs: str) -> list[BaseGeometry]:
    """Return boxes in ``crs`` that surely hold all of a grid: its outline is densified, not its corners.

    Two boxes where the grid goes across the antimeridian of a geographic layer.
    """
    if same_crs(crs, geobox.crs):
        outline: BaseGeometry = geobox_polygon(geobox)
    elif same_crs(crs, "EPSG:4326"):
        outline = lonlat_polygon(geobox)
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
    near = shapely.intersection(dense, window)
    convert = Transformer.from_crs(crs, str(geobox.crs), always_xy=True).transform
    middle = (geobox.affine * (geobox.shape[1] / 2, geobox.shape[0] / 2))[0] if _geographic(geobox) else None

    def moved(xy: NDArray[np.float64]) -> NDArray[np.float64]:
        x, y = convert(xy[:, 0], xy[:, 1])
        if middle is not None:  # the turn of longitude that the grid is on
            x = middle + (np.asarray(x) - middle + 180.0) % 360.0 - 180.0
        return pixel(np.column_stack([x, y]))

    return np.asarray(shapely.transform(near, moved), dtype=object)


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
    good = ~(shapely.is_empty(shapes) | shapely.is_missing(shapes))
    pairs = [
        (g, int(v))
        for g, v in zip(shapes[good], values[good], strict=True)
        if np.isfinite(shapely.get_coordinates(g)).all()
    ]
    if not pairs:
        return np.full(shape, fill, dtype=np.int64)
    out: NDArray[np.int32] = rasterize(
        pairs, out_shape=shape, fill=fill, transform=Affine.identity(), all_touched=all_touched, dtype="int32"
    )
    return out.astype(np.int64)
