"""The areas of many scenes are those of each scene, whatever its shape, place and grid."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

import numpy as np
import pytest
import shapely
from affine import Affine
from odc.geo.geobox import GeoBox
from shapely.geometry import MultiPolygon, Polygon
from shapely.geometry.base import BaseGeometry

from geotoolbox.core.query import ALWAYS, Region, Scene, TimeInterval
from geotoolbox.errors import NoOverlap
from geotoolbox.indexing.geometry import geobox_polygon
from geotoolbox.sampling.areas import areas_of, project, to_pixels, to_world

THEN = TimeInterval(datetime(2020, 1, 1, tzinfo=UTC), datetime(2020, 2, 1, tzinfo=UTC))
LATER = TimeInterval(datetime(2021, 1, 1, tzinfo=UTC), None)


@dataclass
class _Scenes:
    all: tuple[Scene, ...]

    def scenes(self) -> tuple[Scene, ...]:
        return self.all


def _alone(scene: Scene, region: Region | None) -> BaseGeometry | None:
    """Return the valid polygon of one scene, from first principles of shapely, one call at a time."""
    height, width = scene.geobox.shape
    whole = shapely.box(0, 0, width, height)
    shape = shapely.make_valid(to_pixels(scene.footprint, scene.geobox)).intersection(whole)
    if region is not None:
        inside = to_pixels(project(region.geometry, region.crs, scene.geobox.crs), scene.geobox)
        shape = shape.intersection(shapely.make_valid(inside))
    parts = [p for p in shapely.get_parts(shape) if p.area > 0]
    return shapely.union_all(parts) if parts else None


def _footprint(grid: GeoBox, number: int) -> BaseGeometry:
    height, width = grid.shape
    ring = [(1, 1), (width - 1, 2), (width / 2, height / 3), (width - 2, height - 1), (2, height - 3)]
    shapes: list[BaseGeometry] = [
        geobox_polygon(grid),
        Polygon(),
        to_world(Polygon(ring), grid),
        to_world(MultiPolygon([shapely.box(0, 0, 3, 3), shapely.box(5, 5, width + 9, height + 9)]), grid),
        to_world(Polygon([(0, 0), (width, height), (width, 0), (0, height)]), grid),  # crosses itself
        shapely.force_3d(to_world(shapely.box(2, 2, 9, 9), grid), 5.0),
        to_world(Polygon(ring, [shapely.box(3, 4, 5, 6).exterior]), grid),
    ]
    return shapes[number % len(shapes)]


def _scenes(*, flat: bool) -> _Scenes:
    found = []
    rng = np.random.default_rng(4)
    for number in range(63):
        turn = Affine.rotation(17.0) if number % 5 == 4 else Affine.identity()
        corner = Affine.translation(300_000 + 123.4 * number, 4_000_000 + float(rng.uniform(0, 999)))
        size = (20, 30) if number % 2 else (40, 25)
        crs = "EPSG:32612" if number % 3 else "EPSG:32613"
        grid = GeoBox(size, corner @ turn @ Affine.scale(30.0, -30.0), crs)
        footprint = _footprint(grid, number)
        footprint = shapely.force_2d(footprint) if flat else footprint
        found.append(Scene(f"s{number}", grid, footprint, (ALWAYS, THEN, LATER)[number % 3]))
    return _Scenes(tuple(found))


REGIONS = [
    None,
    Region(shapely.box(301_000, 3_999_000, 305_000, 4_000_500), "EPSG:32612"),
    Region(shapely.Point(-113.19, 36.12).buffer(0.03), "EPSG:4326"),
]


@pytest.mark.parametrize("flat", [True, False])
@pytest.mark.parametrize("region", REGIONS)
@pytest.mark.parametrize("toi", [None, THEN])
def test_areas_of_many_scenes_are_those_of_each(
    flat: bool, region: Region | None, toi: TimeInterval | None
) -> None:
    dataset = _scenes(flat=flat)
    before = [scene.footprint.wkb for scene in dataset.all]
    expected = []
    for scene in dataset.all:
        time = scene.time if toi is None else scene.time.intersection(toi)
        polygon = None if time is None else _alone(scene, region)
        if polygon is not None:
            expected.append((scene.name, polygon.wkb, time))
    found = areas_of(dataset, region, toi)  # type: ignore[arg-type]
    assert [(a.scene.name, a.polygon.wkb, a.time) for a in found] == expected
    assert 5 < len(found) < len(dataset.all)
    assert [scene.footprint.wkb for scene in dataset.all] == before


def test_tiles_that_look_alike_are_cut_once(monkeypatch: pytest.MonkeyPatch) -> None:
    grids = [
        GeoBox((16, 16), Affine(30, 0, 480 * n, 0, -30, 4_000_000 - 480 * n), "EPSG:32612")
        for n in range(200)
    ]
    dataset = _Scenes(tuple(Scene(f"{n}", g, geobox_polygon(g)) for n, g in enumerate(grids)))
    mended: list[BaseGeometry] = []
    real = shapely.make_valid
    monkeypatch.setattr(shapely, "make_valid", lambda g: mended.append(g) or real(g))
    found = areas_of(dataset)  # type: ignore[arg-type]
    assert {a.pixels for a in found} == {256.0} and len(found) == 200
    assert len(mended) < 20


def test_nothing_at_that_time_is_told() -> None:
    grid = GeoBox((4, 4), Affine(30, 0, 0, 0, -30, 0), "EPSG:32612")
    with pytest.raises(NoOverlap, match="no scene has data"):
        areas_of(_Scenes((Scene("a", grid, geobox_polygon(grid), THEN),)), None, LATER)  # type: ignore[arg-type]
