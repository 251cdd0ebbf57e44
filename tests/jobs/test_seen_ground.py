"""Whether a map is compared where its model was trained: areas that touch are apart, areas that overlap say by how much."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from shapely.geometry import Polygon, box

from geotoolbox.core.query import Region
from geotoolbox.datasets import RasterDataset
from geotoolbox.jobs.seen_ground import pixel_side, trained_share
from geotoolbox.sampling.areas import project
from geotoolbox.trainers.facts import area
from tests.make import NORTH_UP, UTM12, write_raster

LONLAT = "EPSG:4326"


@pytest.fixture
def layer(tmp_path: Path) -> RasterDataset:
    """A map of 120 × 160 pixels of 30 m, in UTM."""
    values = np.ones((120, 160), dtype=np.uint8)
    return RasterDataset([str(write_raster(tmp_path / "map.tif", values, nodata=0))], kind="labels")


def halves(layer: RasterDataset) -> tuple[Polygon, Polygon, float]:
    """Two halves in longitude and latitude that share an edge, and where it is."""
    west, south, east, north = layer.coverage()[0][0].bounds
    middle = (west + east) / 2
    return box(west, south, middle, north), box(middle, south, east, north), middle


def test_halves_that_share_an_edge_are_apart(layer: RasterDataset) -> None:
    west, east, _ = halves(layer)
    trained = area(layer.within(Region(west, LONLAT)))  # type: ignore[arg-type]
    assert trained_share(layer, Region(east, LONLAT), trained) == 0
    wider = box(*(np.array(east.bounds) - [1e-12, 0, 0, 0]))
    assert trained_share(layer, Region(wider, LONLAT), trained) == 0


def test_what_overlaps_is_said_as_a_share(layer: RasterDataset) -> None:
    west, east, middle = halves(layer)
    trained = area(layer.within(Region(west, LONLAT)))  # type: ignore[arg-type]
    assert trained_share(layer, None, trained) == pytest.approx(0.5, abs=0.01)
    assert trained_share(layer, Region(west, LONLAT), trained) == pytest.approx(1, abs=0.01)
    quarter = (east.bounds[2] - middle) / 3
    further = box(middle - quarter, east.bounds[1], *east.bounds[2:])
    assert trained_share(layer, Region(further, LONLAT), trained) == pytest.approx(0.25, abs=0.01)
    left, top = NORTH_UP.c, NORTH_UP.f
    field = box(left + 300, top - 330, left + 390, top - 300)  # three pixels, far from any edge
    seen = {"type": "Polygon", "coordinates": [list(project(field, UTM12, LONLAT).exterior.coords)]}
    assert trained_share(layer, None, seen) == pytest.approx(3 / (120 * 160), rel=0.02)
    assert trained_share(layer, None, None) is None


def test_a_pixel_has_a_side_in_any_unit(layer: RasterDataset) -> None:
    grid = layer.scenes()[0].geobox
    assert pixel_side(grid, UTM12) == pytest.approx(30, rel=0.002)
    assert pixel_side(grid, LONLAT) == pytest.approx(30 / 111_320, rel=0.002)
    assert pixel_side(grid, "EPSG:2263") == pytest.approx(30 / 0.3048, rel=0.002)  # in feet
