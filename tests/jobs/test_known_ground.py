"""The jobs *crossvalidate* and *applicability* on a small scene with a trend in space."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import pytest
import rasterio
import torch
from shapely.geometry import box

from geotoolbox.cli import main
from geotoolbox.datasets import RasterDataset
from geotoolbox.jobs.applying import applicability_of, with_applicability
from geotoolbox.models import load_bundle
from geotoolbox.sampling import block_folds
from geotoolbox.trainers import TrainOptions, train_segmentation
from geotoolbox.transforms.preprocess import Preprocess
from tests.make import NORTH_UP, UTM12, write_raster

SIDE = 96


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two bands whose meaning changes from stand to stand, so that random folds flatter; and a strange scene."""
    place = tmp_path_factory.mktemp("ground")
    rng = np.random.default_rng(0)
    stands = np.kron(np.arange(36).reshape(6, 6), np.ones((16, 16), int))
    mask = rng.integers(0, 2, 36)[stands]
    own = rng.normal(0, 400, (36, 2))[stands]  # what only this stand looks like
    image = 1000 + 300 * mask[..., None] + own + rng.normal(0, 40, (SIDE, SIDE, 2))
    image = np.moveaxis(image, -1, 0).astype("float32")
    write_raster(place / "image.tif", image, names=("red", "nir"))
    strange = image.copy()
    strange[:, :, SIDE // 2 :] += 20_000
    strange[:, :4] = -1
    write_raster(place / "strange.tif", strange, names=("red", "nir"), nodata=-1)
    write_raster(
        place / "labels.tif", (mask + 1).astype("uint8"), nodata=0, colormap={1: (9, 9, 9), 2: (0, 90, 0)}
    )
    left, top, size = NORTH_UP.c, NORTH_UP.f, SIDE * 30
    edges = [left, left + size / 3, left + 2 * size / 3, left + size]
    shapes = [box(edges[i], top - size, edges[i + 1], top) for i in range(3)]
    gpd.GeoDataFrame({"name": list("abc")}, geometry=shapes, crs=UTM12).to_file(place / "regions.gpkg")
    return place


def crossvalidate(folder: Path, output: Path, *more: str) -> dict[str, Any]:
    words = ["crossvalidate", "--images", str(folder / "image.tif"), "--labels", str(folder / "labels.tif")]
    words += ["--output", str(output), "--points", "3000", "--block-size-m", "480", "--buffer-m", "0"]
    assert main([*words, *more]) == 0
    return json.loads(output.read_text(encoding="utf-8"))


def test_random_folds_flatter_and_the_gap_says_by_how_much(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found = crossvalidate(
        folder, tmp_path / "cv.json", "--folds", "4", "--folds-output", str(tmp_path / "f.gpkg")
    )
    transfer, random = found["transfer"], found["random"]
    assert random["overall_accuracy"] > 0.95 > 0.85 > transfer["overall_accuracy"]
    gap = random["overall_accuracy"] - transfer["overall_accuracy"]
    assert found["gap_of_random_folds"]["overall_accuracy"] == pytest.approx(gap)
    total = np.sum([row["confusion"] for row in transfer["folds"]], axis=0)
    assert transfer["confusion"] == total.tolist() and total.sum() == transfer["pixels"]
    assert random["pixels"] == 3000 == transfer["pixels"]  # without a buffer every point is tested
    areas = gpd.read_file(tmp_path / "f.gpkg")
    assert areas.geometry.area.sum() == pytest.approx((SIDE * 30) ** 2)
    text = capsys.readouterr().out
    assert "transfer skill" in text and "no map accuracy" in text
    again = crossvalidate(folder, tmp_path / "again.json", "--folds", "4")
    assert again == found


def test_regions_are_left_out_one_by_one(folder: Path, tmp_path: Path) -> None:
    found = crossvalidate(
        folder, tmp_path / "cv.json", "--method", "regions", "--regions", str(folder / "regions.gpkg")
    )
    assert [row["fold"] for row in found["transfer"]["folds"]] == ["a", "b", "c"]
    assert found["method"] == "regions"


def test_nearest_folds_say_how_well_distances_match(folder: Path, tmp_path: Path) -> None:
    found = crossvalidate(folder, tmp_path / "cv.json", "--method", "nearest", "--folds", "3")
    assert set(found["matched_distances"]) == {
        "clusters", "wasserstein_m", "wasserstein_random_m", "random_is_right",
    }  # fmt: skip
    assert found["matched_distances"]["wasserstein_m"] <= found["matched_distances"]["wasserstein_random_m"]


def test_a_network_is_judged_on_the_same_folds(folder: Path, tmp_path: Path) -> None:
    found = crossvalidate(
        folder, tmp_path / "cv.json", "--folds", "2", "--model", "small", "--maximum-minutes", "0.02"
    )
    assert found["model"] == "small"
    assert found["transfer"]["pixels"] == SIDE * SIDE  # every labelled pixel, not a sample
    assert found["forest"]["pixels"] == 3000


@pytest.fixture(scope="module")
def model(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.set_num_threads(1)
    images = RasterDataset([str(folder / "image.tif")], kind="image")
    dataset = images & RasterDataset([str(folder / "labels.tif")], kind="labels")
    options = TrainOptions(
        model="small",
        width=8,
        patch_px=32,
        batch_size=4,
        patches_per_epoch=8,
        epochs=1,
        baseline=False,
        workers=0,
    )
    work = tmp_path_factory.mktemp("model")
    train, test = block_folds(dataset, 4, block_size_m=480, buffer_m=0).folds[0].split(dataset)
    result = train_segmentation(train, test, options=options, work_dir=work)
    return with_applicability(result).bundle.save(work / "m.gtb")


def test_applicability_is_the_distance_to_training_pixels(folder: Path, model: Path, tmp_path: Path) -> None:
    words = ["applicability", "--model", str(model), "--images", str(folder / "strange.tif")]
    words += ["--output", str(tmp_path / "di.tif"), "--inside", str(tmp_path / "in.tif")]
    assert main(words) == 0
    bundle = load_bundle(model)
    found = applicability_of(bundle)
    with rasterio.open(tmp_path / "di.tif") as raster, rasterio.open(folder / "strange.tif") as source:
        index, image = raster.read(1), source.read()
        assert float(raster.tags()["GEOTOOLBOX_THRESHOLD"]) == pytest.approx(found.threshold, rel=1e-6)
    assert np.isnan(index[:4]).all() and np.isfinite(index[4:]).all()
    prepare = Preprocess.from_json(bundle.preprocess)
    ready = prepare(torch.from_numpy(image)[None], torch.ones(1, SIDE, SIDE, dtype=torch.bool))[0].numpy()
    z = (ready[:, 50, 20] - found.mean) / found.spread * found.weights
    assert index[50, 20] == pytest.approx(
        np.linalg.norm(found.points - z, axis=1).min() / found.mean_distance, rel=1e-5
    )
    west, east = index[4:, : SIDE // 2], index[4:, SIDE // 2 :]
    assert (west <= found.threshold).mean() > 0.6 and (east > found.threshold).all()
    with rasterio.open(tmp_path / "in.tif") as raster:
        inside = raster.read(1)
    assert np.array_equal(inside[4:], (index[4:] <= np.float32(found.threshold)).astype("uint8"))
    assert (inside[:4] == 255).all()


def test_a_model_without_training_pixels_says_what_to_do(
    folder: Path, model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bundle = load_bundle(model)
    replace(bundle, metrics={}).save(tmp_path / "old.gtb")
    words = ["applicability", "--model", str(tmp_path / "old.gtb"), "--images", str(folder / "image.tif")]
    assert main([*words, "--output", str(tmp_path / "di.tif")]) == 2
    assert "train it again" in capsys.readouterr().err
