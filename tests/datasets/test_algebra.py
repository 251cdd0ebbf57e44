"""``&``, ``|`` and ``within``: values, validity, and operands left as they are."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import shapely
from affine import Affine
from odc.geo.geobox import GeoBox
from shapely.geometry import box

from geotoolbox.core.classes import IGNORE_INDEX
from geotoolbox.core.query import Query, Region
from geotoolbox.datasets import IntersectionDataset, RasterDataset, region_mask
from geotoolbox.errors import BadInput, BadLabels, BandMismatch, NoOverlap
from tests.make import NORTH_UP, ramp, write_raster

GRID = GeoBox((20, 30), NORTH_UP, "EPSG:32612")


def _image(path: Path, plus: int = 0, **options: object) -> RasterDataset:
    return RasterDataset(write_raster(path, ramp(20, 30) + 1 + plus, nodata=0, **options))  # type: ignore[arg-type]


def _labels(path: Path, column: int = 0) -> RasterDataset:
    data = (np.indices((20, 30)).sum(axis=0) % 2 + 1).astype("uint8")
    transform = NORTH_UP @ Affine.translation(column, 0)
    return RasterDataset(write_raster(path, data, transform=transform), classes={1: "a", 2: "b"})


@pytest.mark.parametrize("swapped", [False, True])
def test_and_joins_image_and_labels_on_the_images_grid(tmp_path: Path, swapped: bool) -> None:
    images, labels = _image(tmp_path / "i.tif"), _labels(tmp_path / "l.tif", column=10)
    before = (images.scenes(), labels.scenes())
    both = labels & images if swapped else images & labels
    assert (both.kind, len(both.bands)) == ("both", 1)
    scene = both.scenes()[0]
    assert scene.geobox == GRID
    assert scene.footprint.area == pytest.approx(20 * 20 * 900, rel=1e-6)
    reading = both.read(Query(scene.geobox))
    assert reading.image is not None
    assert reading.mask is not None
    np.testing.assert_array_equal(reading.image[0], ramp(20, 30) + 1)
    assert (reading.mask[:, :10] == IGNORE_INDEX).all()
    np.testing.assert_array_equal(reading.mask[:, 10:], np.indices((20, 20)).sum(axis=0) % 2)
    assert (images.scenes(), labels.scenes()) == before


def test_and_puts_bands_together_and_names_stay_apart(tmp_path: Path) -> None:
    a, b = _image(tmp_path / "x" / "i.tif"), _image(tmp_path / "y" / "i.tif", plus=100)
    both = a & b
    assert [x.name for x in both.bands] == ["i", "i_2"]
    assert [x.name for x in (both & both).bands] == ["i", "i_2", "i_3", "i_2_2"]
    reading = both.read(Query(GRID))
    assert reading.image is not None
    np.testing.assert_array_equal(reading.image[1] - reading.image[0], np.full((20, 30), 100))
    with pytest.raises(BadInput, match="both layers have labels"):
        _ = _labels(tmp_path / "l.tif") & _labels(tmp_path / "m.tif")


def test_and_is_valid_where_both_images_are(tmp_path: Path) -> None:
    data = ramp(20, 30) + 1
    data[3, 4] = 0
    holed = RasterDataset(write_raster(tmp_path / "h.tif", data, nodata=0))
    reading = (_image(tmp_path / "i.tif") & holed).read(Query(GRID))
    assert reading.image is not None
    assert np.argwhere(~reading.valid).tolist() == [[3, 4]]
    assert reading.image[:, 3, 4].tolist() == [0, 0]


def test_time_matters_unless_spatial_only(tmp_path: Path) -> None:
    pattern = r"(?P<date>\d{4})"
    old = RasterDataset(
        write_raster(tmp_path / "2001.tif", ramp(20, 30)), filename_regex=pattern, date_format="%Y"
    )
    new = RasterDataset(
        write_raster(tmp_path / "2020.tif", ramp(20, 30) + 5), filename_regex=pattern, date_format="%Y"
    )
    with pytest.raises(NoOverlap, match="2001"):
        _ = old & new
    both = IntersectionDataset(old, new, spatial_only=True)
    scene = both.scenes()[0]
    reading = both.read(Query(scene.geobox, scene.time))
    assert reading.image is not None
    assert (reading.image[1] - reading.image[0] == 5).all()


def test_or_takes_the_first_valid_and_never_a_fill_value(tmp_path: Path) -> None:
    data = np.full((20, 30), 65535, "uint16")
    data[:, :10] = 7
    first = RasterDataset(write_raster(tmp_path / "a.tif", data, nodata=65535), bands=["x"])
    second = RasterDataset(write_raster(tmp_path / "b.tif", ramp(20, 30)), bands=["x"])
    reading = (first | second).read(Query(GRID))
    assert reading.image is not None
    assert (reading.image[0][:, :10] == 7).all()
    np.testing.assert_array_equal(reading.image[0][:, 10:], ramp(20, 30)[:, 10:])
    assert reading.valid.all()
    assert len(first | second) == 2


def test_or_needs_the_same_bands_and_classes(tmp_path: Path) -> None:
    with pytest.raises(BandMismatch, match="same band"):
        _ = _image(tmp_path / "a.tif") | _image(tmp_path / "b.tif")
    ones = np.ones((4, 4), "uint8")
    a = RasterDataset(write_raster(tmp_path / "l.tif", ones), classes={1: "water"})
    b = RasterDataset(write_raster(tmp_path / "m.tif", ones), classes={1: "wood"})
    with pytest.raises(BadLabels, match="disagree"):
        _ = a | b
    c = RasterDataset(
        write_raster(tmp_path / "n.tif", ones * 2, transform=NORTH_UP @ Affine.translation(4, 0)),
        classes={2: "wood"},
    )
    union = a | c
    assert union.classes is not None
    assert union.classes.names == ("water", "wood")
    mask = union.read(Query(GeoBox((4, 8), NORTH_UP, "EPSG:32612"))).mask
    assert mask is not None
    assert mask[0].tolist() == [0, 0, 0, 0, 1, 1, 1, 1]


def test_within_cuts_by_pixel_centres(tmp_path: Path) -> None:
    both = _image(tmp_path / "i.tif") & _labels(tmp_path / "l.tif")
    triangle = shapely.Polygon([NORTH_UP @ p for p in ((0, 0), (25, 0), (0, 18))])
    clipped = both.within(Region(triangle, "EPSG:32612"))
    rows, columns = np.mgrid[:20, :30] + 0.5
    inside = shapely.contains_xy(triangle, *(NORTH_UP @ (columns, rows)))
    reading = clipped.read(Query(GRID))
    assert reading.image is not None
    assert reading.mask is not None
    np.testing.assert_array_equal(reading.valid, inside)
    np.testing.assert_array_equal(reading.image[0], np.where(inside, ramp(20, 30) + 1, 0))
    np.testing.assert_array_equal(reading.mask != IGNORE_INDEX, inside)
    scene = clipped.scenes()[0]
    assert scene.geobox == GRID
    assert scene.footprint.area == pytest.approx(triangle.area)
    assert replace(scene, footprint=both.scenes()[0].footprint) == both.scenes()[0]


def test_regions_side_by_side_share_no_pixel(tmp_path: Path) -> None:
    edge = (NORTH_UP @ (13.5, 0))[0]  # on pixel centres
    west = Region(box(0, 0, edge, 1e7), "EPSG:32612")
    east = Region(box(edge, 0, 1e6, 1e7), "EPSG:32612")
    total = region_mask(west, GRID).astype(int) + region_mask(east, GRID)
    assert (total == 1).all()


def test_a_region_in_degrees_and_none_at_all(tmp_path: Path) -> None:
    images = _image(tmp_path / "i.tif")
    everywhere = Region(box(-180, -90, 180, 90), "EPSG:4326")
    assert images.within(everywhere).read(Query(GRID)).valid.all()
    with pytest.raises(NoOverlap, match="longitude"):
        images.within(Region(box(10, 50, 11, 51), "EPSG:4326"))
    with pytest.raises(BadInput, match="no area"):
        images.within(Region(shapely.Point(0, 0), "EPSG:4326"))


def test_zion_as_it_is(zion: Path) -> None:
    images = RasterDataset([zion / f"landsat_b{n}.tif" for n in (2, 3, 4, 5)])
    labels, elevation = RasterDataset(zion / "nlcd.tif"), RasterDataset(zion / "srtm.tif")
    assert labels.classes is not None
    assert labels.classes.names == (
        "Water", "Developed", "Barren", "Forest", "Shrubland", "Herbaceous", "Cultivated", "Wetlands",
    )  # fmt: skip
    layers = images & elevation & labels
    assert [b.name for b in layers.bands] == ["b2", "b3", "b4", "b5", "srtm"]
    grid = layers.scenes()[0].geobox
    reading = layers.read(Query(grid))
    assert reading.mask is not None
    counts = np.bincount(reading.mask[reading.mask >= 0])
    table = [1_334, 19_473, 117_179, 848_057, 602_583, 5_360, 9_626, 7_172]
    assert np.abs(counts - table).max() <= 60
    west = layers.within(Region(box(0, 0, 322_209, 1e7), "EPSG:32612")).read(Query(grid))
    columns = np.flatnonzero(west.valid.any(axis=0))
    assert columns.max() == ((322_209 - 301_905) // 30) - (0 if (322_209 - 301_905) % 30 > 15 else 1)
