"""Prediction from real files through RasterDataset."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import rasterio
from affine import Affine
from odc.geo.geobox import GeoBox

from geotoolbox.datasets import RasterDataset
from geotoolbox.prediction import PredictOptions, predict_array, predict_scene
from tests.make import NORTH_UP, UTM12, write_raster
from tests.prediction.scenes import Context, Filter, Identity

OPTIONS = PredictOptions(threads=1, block_px=60)


@pytest.fixture
def image(tmp_path: Path) -> np.ndarray:
    data = np.random.default_rng(2).integers(1, 2000, (2, 150, 170), dtype=np.uint16)
    data[:, 60:70, 20:50] = 0
    write_raster(
        tmp_path / "scene.tif", data, nodata=0, names=("b0", "b1"), tiled=True, blockxsize=64, blockysize=64
    )
    return data


def labels(path: Path) -> np.ndarray:
    with rasterio.open(path) as source:
        return source.read(1)


def test_a_file_predicts_to_its_own_bands(tmp_path: Path, image: np.ndarray) -> None:
    dataset = RasterDataset(str(tmp_path / "scene.tif"))
    out, valid, grid = predict_array(dataset, Identity(), options=OPTIONS)
    assert np.array_equal(valid, (image != 0).all(0)) and grid.affine == NORTH_UP
    assert np.abs(np.where(valid, out - image, 0)).max() < 1e-3
    predict_scene(dataset, Identity(), tmp_path / "map.tif", options=OPTIONS)
    expected = np.where(valid, np.array([10, 20])[image.argmax(0)], 255)
    assert np.array_equal(labels(tmp_path / "map.tif"), expected)


def test_law_3_holds_on_another_grid_than_the_files(tmp_path: Path, image: np.ndarray) -> None:
    dataset, model = RasterDataset(str(tmp_path / "scene.tif")), Context()
    grid = GeoBox((170, 190), Affine(28.0, 0, 299_990.0, 0, -28.0, 4_140_011.0), UTM12)
    whole, whole_valid, _ = predict_array(dataset, model, geobox=grid, options=OPTIONS)
    part, valid, _ = predict_array(dataset, model, geobox=grid[33:121, 47:130], options=OPTIONS)
    assert valid.any() and np.array_equal(valid, whole_valid[33:121, 47:130])
    assert part.tobytes() == np.ascontiguousarray(whole[:, 33:121, 47:130]).tobytes()


def test_r13_a_truncated_file_fails_its_tiles_and_the_rest_goes_on(tmp_path: Path) -> None:
    write_raster(tmp_path / "zipped.tif", np.random.default_rng(3).integers(1, 60_000, (2, 900, 600), dtype=np.uint16),
                 nodata=0, names=("b0", "b1"), compress="deflate", tiled=True, blockxsize=64, blockysize=64)  # fmt: skip
    dataset = RasterDataset(str(tmp_path / "zipped.tif"))
    size = (tmp_path / "zipped.tif").stat().st_size
    with (tmp_path / "zipped.tif").open("r+b") as stream:
        stream.truncate(size // 2)
    result = predict_scene(
        dataset, Filter(tile_px=64), tmp_path / "map.tif", options=replace(OPTIONS, block_px=300)
    )
    assert result.failed and "zipped.tif" in result.failed[0].reason
    assert (labels(tmp_path / "map.tif") == 255).any()


def test_r17_a_file_that_went_away_is_nodata_and_named(tmp_path: Path, image: np.ndarray) -> None:
    east = Affine(30.0, 0.0, NORTH_UP.c + 170 * 30.0, 0.0, -30.0, NORTH_UP.f)
    write_raster(tmp_path / "east.tif", image, nodata=0, names=("b0", "b1"), transform=east)
    dataset = RasterDataset([str(tmp_path / "scene.tif"), str(tmp_path / "east.tif")])
    (tmp_path / "east.tif").unlink()
    result = predict_scene(dataset, Identity(), tmp_path / "map.tif", options=OPTIONS)
    found = labels(tmp_path / "map.tif")
    assert found.shape == (150, 340)
    assert result.failed and "east.tif" in result.failed[0].reason
    assert (found[:, 170:] == 255).all() and (found[:50, :140] != 255).all()
