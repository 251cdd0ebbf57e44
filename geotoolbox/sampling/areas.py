"""Areas to draw from: a scene's valid polygon, cut by a region, in pixel coordinates."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import shapely
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox
from shapely.affinity import affine_transform
from shapely.geometry.base import BaseGeometry

from geotoolbox.core.query import ALWAYS, Region, Scene, TimeInterval
from geotoolbox.errors import BadInput, NoOverlap, explain
from geotoolbox.indexing.geometry import transform_geometry
from geotoolbox.sampling.protocol import Sampled

__all__ = ["Area", "AreaPoints", "areas_of", "lonlat_box", "project", "to_pixels", "to_world"]

_log = logging.getLogger(__name__)
_CELLS = 128
_MAX_ROUNDS = 2000


@dataclass(frozen=True, slots=True)
class Area:
    """Where windows of one scene may be drawn: ``polygon`` is in pixels (x = column, y = row)."""

    scene: Scene
    polygon: BaseGeometry
    time: TimeInterval = ALWAYS

    @property
    def pixels(self) -> float:
        """The area in pixels."""
        return float(self.polygon.area)


def project(geometry: BaseGeometry, source: object, target: object) -> BaseGeometry:
    """Bring a geometry from one CRS to another, edges densified so that they bend as they should."""
    if geometry.is_empty:
        return geometry
    west, south, east, north = geometry.bounds
    step = max(east - west, north - south) / 256
    return transform_geometry(geometry, source, target, max_edge=step)


def to_pixels(geometry: BaseGeometry, geobox: GeoBox) -> BaseGeometry:
    """Bring a geometry from a grid's CRS into its pixel coordinates (x = column, y = row)."""
    a = ~geobox.affine
    return affine_transform(geometry, [a.a, a.b, a.d, a.e, a.c, a.f])


def to_world(geometry: BaseGeometry, geobox: GeoBox) -> BaseGeometry:
    """Bring a geometry from a grid's pixel coordinates into its CRS."""
    a = geobox.affine
    return affine_transform(geometry, [a.a, a.b, a.d, a.e, a.c, a.f])


def lonlat_box(geometry: BaseGeometry, crs: object) -> str:
    """Return the bounds of a geometry as text in degrees, for messages."""
    west, south, east, north = project(geometry, crs, "EPSG:4326").bounds
    return f"{west:.5f} … {east:.5f} °E, {south:.5f} … {north:.5f} °N"


def areas_of(
    dataset: Sampled, roi: Region | BaseGeometry | None = None, toi: TimeInterval | None = None
) -> tuple[Area, ...]:
    """Return what can be drawn from a dataset, one area for each scene that has any.

    Args:
        dataset: The dataset.
        roi: A region, respected as the polygon that it is; a bare geometry is in the CRS of the scenes.
        toi: An interval of time.

    Raises:
        NoOverlap: When nothing is left.
        BadInput: When ``roi`` is a bare geometry and the scenes have several CRSs.
    """
    scenes = dataset.scenes()
    region = _as_region(roi, scenes)
    times = [scene.time if toi is None else scene.time.intersection(toi) for scene in scenes]
    then = [(scene, time) for scene, time in zip(scenes, times, strict=True) if time is not None]
    polygons = _polygons([scene for scene, _ in then], region)
    found = [Area(s, p, t) for (s, t), p in zip(then, polygons, strict=True) if p is not None]
    if not found:
        raise NoOverlap(_nothing(scenes, region, toi))
    if len(found) < len(scenes):
        _log.info("%d of %d scenes are in the region and time", len(found), len(scenes))
    return tuple(found)


def _as_region(roi: Region | BaseGeometry | None, scenes: tuple[Scene, ...]) -> Region | None:
    if roi is None or isinstance(roi, Region):
        return roi
    crss = sorted({str(s.geobox.crs) for s in scenes})
    if len(crss) > 1:
        raise BadInput(
            explain(
                "a region without a CRS, but the scenes have several",
                where="roi",
                got=", ".join(crss),
                fix="pass roi=Region(polygon, crs)",
            )
        )
    return Region(roi, crss[0]) if crss else None


def _polygons(scenes: Sequence[Scene], region: Region | None) -> list[BaseGeometry | None]:
    """Return the valid polygon of each scene inside its grid and the region, in pixels; None when empty."""
    bare = _all_to_pixels(scenes)
    keys = [(wkb, *s.geobox.shape.yx) for wkb, s in zip(shapely.to_wkb(bare), scenes, strict=True)]
    # Tiles of one size look alike in pixels, so each shape is cut once.
    inside: dict[tuple[bytes, int, int], BaseGeometry] = {}
    for key, polygon in zip(keys, bare, strict=True):
        if key not in inside:
            _, height, width = key
            inside[key] = shapely.make_valid(polygon).intersection(shapely.box(0, 0, width, height))
    if region is None:
        whole = {key: _with_area(shape) for key, shape in inside.items()}
        return [whole[key] for key in keys]
    projected: dict[str, BaseGeometry] = {}
    return [_in_region(inside[k], s.geobox, region, projected) for k, s in zip(keys, scenes, strict=True)]


def _in_region(
    shape: BaseGeometry, geobox: GeoBox, region: Region, projected: dict[str, BaseGeometry]
) -> BaseGeometry | None:
    """Return what of a shape in a grid's pixels lies in a region; the region is projected once for each CRS."""
    crs = str(geobox.crs)
    if crs not in projected:
        projected[crs] = project(region.geometry, region.crs, geobox.crs)
    return _with_area(shape.intersection(shapely.make_valid(to_pixels(projected[crs], geobox))))


def _with_area(shape: BaseGeometry) -> BaseGeometry | None:
    parts = [p for p in shapely.get_parts(shape, return_index=False) if p.area > 0]
    return shapely.union_all(parts) if parts else None


def _all_to_pixels(scenes: Sequence[Scene]) -> NDArray[np.object_]:
    """As :func:`to_pixels` for the footprints of all scenes: number by number the same arithmetic."""
    footprints = np.empty(len(scenes), dtype=object)
    footprints[:] = [scene.footprint for scene in scenes]
    if shapely.has_z(footprints).any():
        footprints[:] = [to_pixels(scene.footprint, scene.geobox) for scene in scenes]
        return footprints
    inverse = np.array([(~scene.geobox.affine)[:6] for scene in scenes], dtype=np.float64).reshape(-1, 6)
    coordinates, owner = shapely.get_coordinates(footprints, return_index=True)
    (x, y), (a, b, c, d, e, f) = coordinates.T, inverse[owner].T
    return np.asarray(
        shapely.set_coordinates(footprints, np.column_stack([a * x + b * y + c, d * x + e * y + f]))
    )


def _nothing(scenes: tuple[Scene, ...], region: Region | None, toi: TimeInterval | None) -> str:
    if not scenes:
        return explain("the dataset has no scenes", fix="check its paths, its region and its time")
    boxes = "; ".join(
        f"{s.name} {lonlat_box(s.footprint, s.geobox.crs)}" for s in scenes[:3] if not s.footprint.is_empty
    )
    asked = "everything" if region is None else lonlat_box(region.geometry, region.crs)
    when = "" if toi is None else f" at {toi.start} … {toi.end}"
    return explain(
        "no scene has data in the region and time",
        where=f"{len(scenes)} scenes",
        got=boxes or "empty footprints",
        expected=f"data in {asked}{when}",
        fix="check the region, its CRS and the interval of time",
    )


class AreaPoints:
    """Draws points uniformly from a polygon.

    Points are drawn in those cells of a coarse grid that the polygon touches, and kept where they
    are inside: exactly uniform, and quick for thin or scattered polygons too.
    """

    def __init__(self, polygon: BaseGeometry, cells: int = _CELLS) -> None:
        self.polygon = polygon
        minx, miny, maxx, maxy = polygon.bounds
        nx = max(1, min(cells, int(np.ceil(maxx - minx))))
        ny = max(1, min(cells, int(np.ceil(maxy - miny))))
        self._step = ((maxx - minx) / nx, (maxy - miny) / ny)
        rows, cols = (g.ravel() for g in np.mgrid[0:ny, 0:nx])
        west, south = minx + cols * self._step[0], miny + rows * self._step[1]
        shapely.prepare(polygon)
        hit = shapely.intersects(
            polygon, shapely.box(west, south, west + self._step[0], south + self._step[1])
        )
        self._corner = np.column_stack([west[hit], south[hit]])

    def draw(self, count: int, rng: np.random.Generator) -> NDArray[np.float64]:
        """Return ``count`` points (count, 2) as (x, y)."""
        kept: list[NDArray[np.float64]] = []
        missing = count
        for _ in range(_MAX_ROUNDS):
            if missing <= 0:
                break
            cells = self._corner[rng.integers(len(self._corner), size=2 * missing + 8)]
            points = cells + rng.random(cells.shape) * self._step
            inside = points[shapely.contains_xy(self.polygon, points)][:missing]
            kept.append(inside)
            missing -= len(inside)
        if missing > 0:
            raise BadInput(
                explain("the area is too thin to draw from", got=f"{self.polygon.area:g} px²", fix="widen it")
            )
        return np.concatenate(kept) if kept else np.zeros((0, 2))
