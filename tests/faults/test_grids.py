"""Georeferences of every kind, through the dataset and through a whole prediction."""

from __future__ import annotations

from pathlib import Path

import geopandas as gpd
import numpy as np
import pytest
import rasterio
from affine import Affine
from odc.geo.geobox import GeoBox
from shapely.geometry import box

from geotoolbox.alignment.systems import transformer
from geotoolbox.core.query import Query
from geotoolbox.datasets import RasterDataset, VectorDataset
from geotoolbox.errors import BadInput, CannotAlign
from geotoolbox.prediction import PredictOptions, predict_scene
from tests.alignment.reference import gdalwarp
from tests.make import NORTH_UP, UTM12, write_raster
from tests.prediction.scenes import Identity

SIZE = 96
GRIDS = {
    "r29 rotated": NORTH_UP @ Affine.rotation(23.0, (48, 48)),
    "r29 sheared": NORTH_UP @ Affine.shear(12.0, 7.0),
    "r30 south-up": Affine(30.0, 0.0, NORTH_UP.c, 0.0, 30.0, NORTH_UP.f - 30 * SIZE),
    "r31 flipped west": Affine(-30.0, 0.0, NORTH_UP.c + 30 * SIZE, 0.0, -30.0, NORTH_UP.f),
    "r36 not square": Affine(30.0, 0.0, NORTH_UP.c, 0.0, -17.0, NORTH_UP.f),
}
TARGET = GeoBox((60, 60), Affine(30.0, 0.0, NORTH_UP.c + 411.0, 0.0, -30.0, NORTH_UP.f - 307.0), UTM12)


def _scene(path: Path, affine: Affine) -> tuple[Path, np.ndarray]:
    data = np.random.default_rng(6).integers(1, 9999, (2, SIZE, SIZE)).astype("uint16")
    return write_raster(path, data, transform=affine, names=("b0", "b1")), data


def _check_grid(folder: Path, affine: Affine) -> None:
    """Reads as gdalwarp does on a grid north-up, as it is on its own, and the map lies where the scene does."""
    path, data = _scene(folder / "a.tif", affine)
    images = RasterDataset(path)
    own = images.scenes()[0].geobox
    assert own.affine == affine
    reading = images.read(Query(own))
    assert reading.image is not None
    np.testing.assert_array_equal(reading.image, data)
    one = write_raster(folder / "one.tif", data[0], transform=affine)
    nearest = RasterDataset(path, resampling="nearest").read(Query(TARGET))
    assert nearest.image is not None
    assert nearest.valid.mean() > 0.3
    assert np.mean(nearest.image[0] == gdalwarp(one, TARGET, "near")) >= 0.999
    predict_scene(images, Identity(), folder / "map.tif", options=PredictOptions(threads=1, block_px=44))
    with rasterio.open(folder / "map.tif") as made:
        assert made.transform.almost_equals(affine, 1e-6)
        assert made.crs.to_epsg() == 32612
        np.testing.assert_array_equal(made.read(1), np.array([10, 20])[data.argmax(0)])


def test_r29_a_rotated_scene_lies_where_gdalwarp_says(tmp_path: Path) -> None:
    for name in ("r29 rotated", "r29 sheared"):
        _check_grid(tmp_path / name, GRIDS[name])


def test_r30_a_south_up_scene_lies_where_gdalwarp_says(tmp_path: Path) -> None:
    _check_grid(tmp_path, GRIDS["r30 south-up"])


def test_r31_a_scene_flipped_west_lies_where_gdalwarp_says(tmp_path: Path) -> None:
    _check_grid(tmp_path, GRIDS["r31 flipped west"])


def test_r36_pixels_that_are_not_square_keep_their_shape(tmp_path: Path) -> None:
    _check_grid(tmp_path, GRIDS["r36 not square"])


@pytest.mark.parametrize(
    "crs", ["EPSG:32601", "EPSG:32660", "EPSG:3413", "EPSG:3031", "EPSG:3857", "OGC:CRS84"]
)
def test_r41_r42_round_trips_lose_less_than_a_millionth_of_a_pixel(crs: str) -> None:
    lons = np.array([179.9, -179.9, 178.2, -177.5, 180.0]) if crs not in ("EPSG:3413", "EPSG:3031") else np.array([0.0, 90.0, 179.9, -135.0, -44.9])  # fmt: skip
    lats = np.full(5, {"EPSG:3413": 89.5, "EPSG:3031": -88.7}.get(crs, 52.0))
    x, y = transformer("EPSG:4326", crs).transform(lons, lats)
    back_lons, back_lats = transformer(crs, "EPSG:4326").transform(x, y)
    metres = 111_320 * np.hypot((back_lons - lons + 180) % 360 - 180, back_lats - lats)
    assert metres.max() < 1e-6 * 10, "of pixels of 10 m"


def test_r44_axes_are_longitude_then_latitude_whatever_the_crs_is_called(tmp_path: Path) -> None:
    data = np.arange(48, dtype="uint16").reshape(6, 8)
    affine = Affine(0.01, 0, 15.0, 0, -0.01, 48.0)
    readings = []
    for number, crs in enumerate(("EPSG:4326", "OGC:CRS84")):
        path = write_raster(tmp_path / f"{number}.tif", data, crs=crs, transform=affine)
        images = RasterDataset(path)
        assert images.scenes()[0].footprint.bounds == pytest.approx((15.0, 47.94, 15.08, 48.0))
        for asked in ("EPSG:4326", "OGC:CRS84"):
            readings.append(images.read(Query(GeoBox((6, 8), affine, asked))).image)
    for image in readings:
        np.testing.assert_array_equal(image[0], data)
    field = gpd.GeoDataFrame({"c": [7]}, geometry=[box(15.02, 47.96, 15.05, 47.99)], crs="OGC:CRS84")
    field.to_file(tmp_path / "field.geojson")
    mask = (
        VectorDataset(tmp_path / "field.geojson", column="c")
        .read(Query(GeoBox((6, 8), affine, "EPSG:4326")))
        .mask
    )
    assert mask is not None
    expected = np.zeros((6, 8), bool)
    expected[1:4, 2:5] = True
    np.testing.assert_array_equal(mask == 0, expected)


@pytest.mark.parametrize(
    "crs", ['LOCAL_CS["site grid",UNIT["metre",1]]', 'ENGCRS["site grid",EDATUM["peg 4"],CS[Cartesian,2],AXIS["x",east],AXIS["y",north],LENGTHUNIT["metre",1]]', "EPSG:4978"]
)  # fmt: skip
def test_r46_a_crs_that_is_not_on_the_earth_is_refused_by_name(tmp_path: Path, crs: str) -> None:
    path, _ = _scene(tmp_path / "a.tif", NORTH_UP)
    with rasterio.open(path, "r+") as out:
        out.crs = crs
    with pytest.raises(CannotAlign, match=r"a\.tif.*not tied to the earth.*(site grid|WGS 84)"):
        RasterDataset(path)


def test_r46_labels_in_a_local_crs_are_refused_by_name(tmp_path: Path) -> None:
    fields = gpd.GeoDataFrame(
        {"c": [1]}, geometry=[box(0, 0, 9, 9)], crs='LOCAL_CS["site grid",UNIT["metre",1]]'
    )
    fields.to_file(tmp_path / "fields.gpkg")
    with pytest.raises(BadInput, match=r"not tied to the earth.*fields\.gpkg.*EPSG"):
        VectorDataset(tmp_path / "fields.gpkg", column="c").scenes()
