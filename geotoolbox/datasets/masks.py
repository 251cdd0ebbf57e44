"""Which pixels of a grid lie inside a polygon, by the pixel-centre rule."""

from __future__ import annotations

import numpy as np
import shapely
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox
from shapely.geometry import box
from shapely.geometry.base import BaseGeometry

from geotoolbox.core.query import Region
from geotoolbox.datasets.burning import burn, in_pixels, window_boxes
from geotoolbox.indexing.geometry import apply_affine, same_crs

__all__ = ["region_in", "region_mask"]


def region_mask(region: Region, geobox: GeoBox) -> NDArray[np.bool_]:
    """Return (H, W) bool: whether each pixel's centre lies in the region.

    A pixel's answer does not depend on the window that it is asked in: edges are densified before they are
    cut to the window.
    """
    shape = (int(geobox.shape[0]), int(geobox.shape[1]))
    inside = np.zeros(shape, dtype=bool)
    grid = box(0, 0, shape[1], shape[0])
    for polygon in _pixel_polygons(region, geobox):
        if shapely.contains(polygon, grid):
            return np.ones(shape, dtype=bool)
        if shapely.intersects(polygon, grid):
            pixels = np.array([polygon], dtype=object)
            inside |= burn(pixels, np.ones(1, dtype=np.int64), shape, fill=0, all_touched=False) == 1
    return inside


def region_in(region: Region, geobox: GeoBox) -> BaseGeometry:
    """Return the part of a region that lies on a grid, in the grid's CRS (all of it where the CRS is the same)."""
    if same_crs(region.crs, geobox.crs):
        return region.geometry

    def ground(xy: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.column_stack(apply_affine(geobox.affine, xy[:, 0], xy[:, 1]))

    moved = [shapely.transform(p, ground) for p in _pixel_polygons(region, geobox)]
    return shapely.union_all([p if p.is_valid else shapely.make_valid(p) for p in moved])


def _pixel_polygons(region: Region, geobox: GeoBox) -> list[BaseGeometry]:
    shapes = np.array([region.geometry], dtype=object)
    found = [in_pixels(shapes, region.crs, geobox, w)[0] for w in window_boxes(geobox, region.crs)]
    mended = [p if p.is_valid else shapely.make_valid(p) for p in found]
    return [p for p in mended if not p.is_empty and np.isfinite(shapely.get_coordinates(p)).all()]
