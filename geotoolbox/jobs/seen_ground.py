"""How much of the ground that is compared a model was trained on."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyproj
import shapely
from odc.geo.geobox import GeoBox
from shapely.geometry import shape

from geotoolbox.core.query import Region
from geotoolbox.datasets import GeoDataset
from geotoolbox.prediction import Window
from geotoolbox.prediction.grids import pixel_area_m2
from geotoolbox.sampling.areas import areas_of, project, to_pixels

__all__ = ["pixel_side", "pixel_side_m", "trained_share"]

_DEGREE_M = 111_320.0
_SIMPLIFIED_M = 12.0  # a bundle's training area is simplified to about this


def trained_share(
    map_layer: GeoDataset, region: Region | None, trained: dict[str, Any] | None
) -> float | None:
    """Return the share of the map's ground inside a region that was trained on.

    Areas that only touch share a sliver by rounding: what is narrower than a pixel (or than the training area
    is known) does not count.

    Args:
        map_layer: The map.
        region: Where it is compared; everywhere when None.
        trained: Where its model was trained (GeoJSON in longitude and latitude).

    Returns:
        A share from 0 to 1; None where it is not known where the model was trained.
    """
    if trained is None:
        return None
    seen, total = 0.0, 0.0
    for area in areas_of(map_layer, region):
        grid = area.scene.geobox
        side_m = pixel_side_m(grid)
        ground = to_pixels(project(shape(trained), "EPSG:4326", grid.crs), grid)
        shared = shapely.get_parts(area.polygon.intersection(shapely.make_valid(ground)))
        wide = ~shapely.is_empty(shapely.buffer(shared, -max(0.5, _SIMPLIFIED_M / side_m / 2)))
        seen += float(shapely.area(shared[wide]).sum()) * side_m**2
        total += area.pixels * side_m**2
    return seen / total


def pixel_side_m(grid: GeoBox) -> float:
    """Return the side of a grid's pixel in metres: the root of the area of the one in the middle."""
    row, column = (n // 2 for n in grid.shape)
    return float(np.sqrt(pixel_area_m2(grid, Window(row, row + 1, column, column + 1))[0]))


def pixel_side(grid: GeoBox, crs: str) -> float:
    """Return the side of a grid's pixel in the units of another CRS."""
    axis = pyproj.CRS(crs).axis_info[0]
    metres = pixel_side_m(grid)
    return metres / (_DEGREE_M if axis.unit_name == "degree" else axis.unit_conversion_factor)
