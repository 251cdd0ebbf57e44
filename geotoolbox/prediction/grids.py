"""The grid of a scene, the window of the area asked for, and what a pixel measures on the ground."""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import shapely
from affine import Affine
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox
from pyproj import CRS, Geod, Transformer
from rasterio.features import geometry_mask
from shapely.geometry.base import BaseGeometry

from geotoolbox.core.query import Region, Scene
from geotoolbox.errors import BadInput, NoOverlap, explain
from geotoolbox.prediction.lattice import Window
from geotoolbox.prediction.reading import window_geobox

__all__ = ["Target", "map_grid", "pixel_area_m2", "region_mask", "resolve_target"]

log = logging.getLogger(__name__)

SNAP_PX = 1e-3
DENSIFY = 64
AREA_ROWS = 65


@dataclass(frozen=True, slots=True)
class Target:
    """What shall be predicted.

    Attributes:
        scene: The grid of all data of the dataset; the lattice starts at its first pixel.
        area: The window of the output in the scene; it may reach beyond.
        region: A polygon in the scene's CRS; pixels whose centre is outside get nodata.
    """

    scene: GeoBox
    area: Window
    region: BaseGeometry | None = None

    @property
    def geobox(self) -> GeoBox:
        """The grid of the output."""
        return window_geobox(self.scene, self.area)


def resolve_target(scenes: Sequence[Scene], geobox: GeoBox | None, region: Region | None) -> Target:
    """Find the scene's grid, and the window asked for in it.

    Raises:
        BadInput: When the scenes lie on different grids and no grid is given.
        NoOverlap: When the grid or region asked for and the scenes have nothing in common.
    """
    if not scenes:
        raise BadInput(explain("the dataset is empty: there is nothing to predict"))
    grid = geobox if geobox is not None else scenes[0].geobox
    if geobox is None:
        _check_same_grid(scenes)
    windows = [w for w in (_window_on(grid, scene) for scene in scenes) if w is not None]
    if not windows:
        raise NoOverlap(explain("no scene can be brought onto the grid asked for", got=str(grid.crs)))
    whole = _union(windows)
    scene = window_geobox(grid, whole)
    area = Window(0, whole.height, 0, whole.width)
    if geobox is not None:
        height, width = (int(n) for n in geobox.shape)
        asked = Window(-whole.top, height - whole.top, -whole.left, width - whole.left)
        _check_shared(asked & area, "the grid asked for and the dataset", geobox, scene)
        area = asked
    if region is None:
        return Target(scene, area)
    shape = _project(region.geometry, str(region.crs), str(scene.crs))
    asked = _pixel_bounds(scene.affine, shape) & area
    _check_shared(asked, "the region and the dataset", region, scene)
    return Target(scene, asked, shape)


def map_grid(scenes: Sequence[Scene], crs: str | None = None) -> GeoBox:
    """Return one grid for a map of several scenes: the first scene's, grown to cover all of them.

    Args:
        scenes: The scenes, of any CRS.
        crs: The CRS of the map; default: that of the first scene, whose pixels are kept.

    Raises:
        BadInput: When a scene cannot be expressed in that CRS.
    """
    if not scenes:
        raise BadInput(explain("the dataset is empty: there is nothing to predict"))
    first = scenes[0].geobox
    grid = first if crs is None or CRS.from_user_input(crs) == CRS(str(first.crs)) else first.to_crs(crs)
    windows = [(scene, _window_on(grid, scene)) for scene in scenes]
    lost = [scene.name for scene, window in windows if window is None]
    if lost:
        raise BadInput(
            explain("these scenes cannot be expressed in the map's CRS", where=", ".join(lost), got=str(grid.crs),
                    fix="choose another CRS, or predict the scenes one by one")
        )  # fmt: skip
    return window_geobox(grid, _union([window for _, window in windows if window is not None]))


def region_mask(target: Target, window: Window) -> NDArray[np.bool_] | None:
    """Return for each pixel of a window whether its centre is in the region; None without a region."""
    if target.region is None:
        return None
    affine = window_geobox(target.scene, window).affine
    return geometry_mask([target.region], window.shape, affine, invert=True)


def pixel_area_m2(scene: GeoBox, window: Window) -> NDArray[np.float64]:
    """Return the true area of a pixel for each row of a window, at its middle column, in m².

    Measured on the ellipsoid, so it is right in degrees and free of the map projection's scale; where
    the CRS is tied to no ellipsoid, the nominal area.
    """
    nominal = abs(scene.affine.determinant)
    crs = CRS.from_user_input(str(scene.crs)) if scene.crs is not None else None
    if crs is None or crs.geodetic_crs is None:
        return np.full(window.height, nominal)
    rows = np.unique(np.linspace(window.top, window.bottom - 1, min(window.height, AREA_ROWS)).round())
    middle = (window.left + window.right) // 2
    columns = np.broadcast_to(middle + np.array([0, 1, 1, 0]), (len(rows), 4))
    lines = rows[:, None] + np.array([0, 0, 1, 1])
    a, b, c, d, e, f = tuple(scene.affine)[:6]
    to_degrees = Transformer.from_crs(crs, crs.geodetic_crs, always_xy=True)
    lon, lat = to_degrees.transform(a * columns + b * lines + c, d * columns + e * lines + f)
    lon = np.degrees(np.unwrap(np.radians(lon)))
    geod: Geod = crs.get_geod() or Geod(ellps="WGS84")
    areas = [abs(geod.polygon_area_perimeter(x, y)[0]) for x, y in zip(lon, lat, strict=True)]
    if not np.isfinite(areas).all():
        return np.full(window.height, nominal)
    return np.interp(np.arange(window.top, window.bottom), rows, areas)


def _check_same_grid(scenes: Sequence[Scene]) -> None:
    first = scenes[0]
    other = next((s for s in scenes[1:] if _shift(first.geobox, s.geobox) is None), None)
    if other is None:
        return
    names = ", ".join(f"'{s.name}' ({s.geobox.crs}, {_pixel(s.geobox)})" for s in (first, other))
    raise BadInput(
        explain(
            f"the dataset's {len(scenes)} scenes lie on different pixel grids",
            got=names,
            expected="one grid for one map",
            fix="choose the scene, or the CRS and resolution, of the map",
        )
    )


def _pixel(grid: GeoBox) -> str:
    return (
        f"pixel {math.hypot(grid.affine.a, grid.affine.d):g} × {math.hypot(grid.affine.b, grid.affine.e):g}"
    )


def _shift(grid: GeoBox, other: GeoBox) -> tuple[int, int] | None:
    """Return where the first pixel of ``other`` is in ``grid`` (row, column), or None if between pixels."""
    if grid.crs != other.crs:
        return None
    relative = ~grid.affine * other.affine
    size = max(*(int(n) for n in other.shape), 1)
    linear = np.abs(np.array([relative.a - 1, relative.b, relative.d, relative.e - 1])).max()
    row, column = round(relative.f), round(relative.c)
    if linear * size > SNAP_PX or max(abs(relative.f - row), abs(relative.c - column)) > SNAP_PX:
        return None
    return row, column


def _window_on(grid: GeoBox, scene: Scene) -> Window | None:
    place = _shift(grid, scene.geobox)
    height, width = (int(n) for n in scene.geobox.shape)
    if place is not None:
        return Window(place[0], place[0] + height, place[1], place[1] + width)
    corners = [scene.geobox.affine * p for p in ((0, 0), (width, 0), (width, height), (0, height))]
    try:
        shape = _project(shapely.Polygon(corners), str(scene.geobox.crs), str(grid.crs))
    except BadInput:
        return None
    return _pixel_bounds(grid.affine, shape)


def _project(shape: BaseGeometry, source: str, target: str) -> BaseGeometry:
    """Transform a polygon exactly at its vertices, after points are put along its edges."""
    if CRS.from_user_input(source) == CRS.from_user_input(target):
        return shape
    west, south, east, north = shape.bounds
    dense = shapely.segmentize(shape, max(east - west, north - south, 1e-9) / DENSIFY)
    transformer = Transformer.from_crs(source, target, always_xy=True)
    moved = shapely.transform(dense, transformer.transform, interleaved=False)
    if not np.isfinite(shapely.get_coordinates(moved)).all():
        raise BadInput(
            explain("an area cannot be expressed in the CRS of the map", got=source, expected=target)
        )
    return moved if moved.is_valid else shapely.make_valid(moved)


def _pixel_bounds(affine: Affine, shape: BaseGeometry) -> Window:
    points = shapely.get_coordinates(shape)
    if not len(points):
        return Window(0, 0, 0, 0)
    columns, rows = ~affine * (points[:, 0], points[:, 1])
    return Window(
        math.floor(rows.min() + SNAP_PX), math.ceil(rows.max() - SNAP_PX),
        math.floor(columns.min() + SNAP_PX), math.ceil(columns.max() - SNAP_PX),
    )  # fmt: skip


def _union(windows: Sequence[Window]) -> Window:
    return Window(
        min(w.top for w in windows), max(w.bottom for w in windows),
        min(w.left for w in windows), max(w.right for w in windows),
    )  # fmt: skip


def _check_shared(shared: Window, what: str, asked: object, scene: GeoBox) -> None:
    if shared.pixels:
        return
    box = asked.extent.to_crs("EPSG:4326").boundingbox if isinstance(asked, GeoBox) else None
    if isinstance(asked, Region):
        bounds: object = tuple(
            round(v, 6) for v in _project(asked.geometry, str(asked.crs), "EPSG:4326").bounds
        )
    else:
        bounds = None if box is None else tuple(round(v, 6) for v in box.bbox)
    raise NoOverlap(
        explain(
            f"{what} have nothing in common",
            got=f"lon/lat {bounds}",
            expected=f"something within {tuple(round(v, 6) for v in scene.extent.to_crs('EPSG:4326').boundingbox.bbox)}",
            fix="check the area and its CRS",
        )
    )
