"""Faults found in DeepGeo, by the row of its features in our list: none of them is ours."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import rasterio
import torch
from affine import Affine
from odc.geo.geobox import GeoBox
from shapely.geometry import box

from geotoolbox.core.classes import ClassTable
from geotoolbox.datasets import RasterDataset, VectorDataset
from geotoolbox.metrics import compare_maps, confusion_matrix
from geotoolbox.models import ModelSpec, create_model
from geotoolbox.prediction import PredictOptions, predict_array
from geotoolbox.prediction.derive import compute_indices, rasterize_labels, stack_layers
from geotoolbox.sampling import GridGeoSampler, RandomGeoSampler, check_disjoint, spatial_split
from geotoolbox.transforms import Preprocess, compute_statistics
from tests.make import NORTH_UP, UTM12, ramp, write_raster
from tests.prediction.scenes import Filter, Identity, noise

GRID = GeoBox((10, 12), NORTH_UP, UTM12)


def cells(column: float, row: float, width: float, height: float):  # type: ignore[no-untyped-def]
    west, north = NORTH_UP @ (column, row)
    return box(west, north - 30 * height, west + 30 * width, north)


def test_dg_07_labels_are_burned_without_a_step_to_forget(tmp_path: Path) -> None:
    """In the documented order of calls the label raster was masked in full; who lay on top was chance."""
    geopandas = pytest.importorskip("geopandas")
    shapes, names = [cells(1, 1, 6, 6), cells(4, 4, 6, 4), cells(0, 9, 2, 1)], ["b", "a", "other"]
    geopandas.GeoDataFrame({"c": names}, geometry=shapes, crs=UTM12).to_file(tmp_path / "a.gpkg")
    labels = VectorDataset(tmp_path / "a.gpkg", column="c", classes={7: "a", 9: "b", 3: "other"})
    rasterize_labels(labels, GRID, tmp_path / "l.tif")
    expected = np.zeros((10, 12), int)
    expected[1:7, 1:7], expected[4:8, 4:10], expected[9, :2] = 9, 7, 3
    with rasterio.open(tmp_path / "l.tif") as raster:
        found = raster.read(1)
        np.testing.assert_array_equal(np.where(found == raster.nodata, 0, found), expected)


def test_dg_08_indices_are_right_for_bytes_and_for_reflectances(tmp_path: Path) -> None:
    """EVI2 came out as 8.7e-5 instead of 0.576, and NDVI of bytes as 3.5 instead of -0.33."""
    data = np.stack([np.full((4, 4), v, "uint8") for v in (100, 50)])
    small = RasterDataset(write_raster(tmp_path / "u8.tif", data, names=("red", "nir")))
    compute_indices(small, ["NDVI"], tmp_path / "ndvi.tif")
    with rasterio.open(tmp_path / "ndvi.tif") as raster:
        np.testing.assert_allclose(raster.read(1), (50 - 100) / 150, rtol=1e-6)
    red, nir = 500, 4000
    data = np.stack([np.full((4, 4), v, "uint16") for v in (red, nir)])
    large = RasterDataset(write_raster(tmp_path / "u16.tif", data, names=("red", "nir")))
    compute_indices(large, ["EVI2"], tmp_path / "evi2.tif", scale=1e-4)
    with rasterio.open(tmp_path / "evi2.tif") as raster:
        np.testing.assert_allclose(raster.read(1), 2.5 * 0.35 / (0.4 + 2.4 * 0.05 + 1), rtol=1e-5)


def test_dg_08_layers_with_bands_in_another_order_do_not_mix(tmp_path: Path) -> None:
    """Where a band stands was remembered for all images at once."""
    found = []
    for names in (("red", "nir"), ("nir", "red")):
        data = np.stack([np.full((4, 4), {"red": 10, "nir": 30}[n], "uint8") for n in names])
        layer = RasterDataset(write_raster(tmp_path / f"{names[0]}.tif", data, names=names))
        found.append((layer, tmp_path / f"ndvi_{names[0]}.tif"))
    for layer, path in found:
        compute_indices(layer, ["NDVI"], path)
        with rasterio.open(path) as raster:
            np.testing.assert_allclose(raster.read(1), 0.5, rtol=1e-6)


def test_dg_09_scaling_is_that_of_the_training_data(tmp_path: Path) -> None:
    """Each image was scaled by its own statistics, so that prediction saw other numbers than training."""
    train = RasterDataset(write_raster(tmp_path / "t.tif", ramp(20, 20), names=("red",)), kind="image")
    bright = RasterDataset(write_raster(tmp_path / "b.tif", ramp(20, 20) + 500, names=("red",)), kind="image")
    statistics = compute_statistics(train)
    prepare = Preprocess.from_json(Preprocess(("red",), (), statistics).to_json())
    values = [prepare(d[:, :]["image"][None], d[:, :]["valid"][None]) for d in (train, bright)]
    shift = 500 / ramp(20, 20).std()
    np.testing.assert_allclose((values[1] - values[0]).numpy(), shift, rtol=1e-4)
    assert abs(values[0].mean().item()) < 1e-5


def test_dg_10_a_stack_keeps_fractions_negatives_and_nodata(tmp_path: Path) -> None:
    """Stacks were always written as bytes without nodata: -3.1 … 3.8 became 0 … 4."""
    data = np.linspace(-3.1, 3.8, 2 * 64, dtype="float32").reshape(2, 8, 8)
    data[:, 2, 3] = -99
    layer = RasterDataset(write_raster(tmp_path / "a.tif", data, nodata=-99), kind="image")
    stack_layers(layer, tmp_path / "s.tif")
    with rasterio.open(tmp_path / "s.tif") as raster:
        found = raster.read(masked=True)
    assert np.ma.getmaskarray(found)[:, 2, 3].all() and np.ma.getmaskarray(found).sum() == 2
    np.testing.assert_array_equal(found.filled(-99), data)


def test_dg_12_training_and_test_patches_share_no_ground(tmp_path: Path) -> None:
    """Overlapping chips were divided at random, so that the test saw training pixels."""
    dataset = RasterDataset(
        write_raster(tmp_path / "a.tif", np.arange(1, 96 * 96 + 1, dtype="uint32").reshape(96, 96)),
        kind="image",
    )
    split = spatial_split(dataset, {"train": 0.6, "test": 0.4}, block_px=24, buffer_m=30, seed=1)
    check_disjoint(split.train, split.test, 29.9)
    seen = {}
    for name in ("train", "test"):
        part = split[name]
        values = torch.cat(
            [part[q]["image"][:, part[q]["valid"]].flatten() for q in RandomGeoSampler(part, 16, 70, seed=0)]
        )
        seen[name] = set(values.tolist())
    assert min(map(len, seen.values())) > 800 and not seen["train"] & seen["test"]
    # and without any split, all of it can be drawn
    assert len(list(RandomGeoSampler(dataset, 16, 10, seed=0))) == 10


def test_dg_14_a_patch_of_a_class_shows_that_class(tmp_path: Path) -> None:
    """Chips were centred on the class beside the one asked for: positions were taken for pixel values."""
    codes = np.full((60, 60), 1, "uint8")
    codes[40:44, 10:14], codes[5:8, 50:53] = 2, 3
    image = RasterDataset(write_raster(tmp_path / "i.tif", codes * 10), kind="image")
    labels = RasterDataset(write_raster(tmp_path / "l.tif", codes), classes={1: "a", 2: "b", 3: "c"})
    both = image & labels
    hits = np.zeros(3)
    for query in RandomGeoSampler(both, 5, 300, seed=0, class_balanced=True):
        sample = both[query]
        # index k is value k + 1 is pixel value 10 (k + 1)
        assert torch.equal(sample["image"][0], 10.0 * (sample["mask"] + 1))
        hits += [(sample["mask"] == k).any().item() for k in range(3)]
    assert (hits / 300 > 0.25).all()


def test_dg_15_a_grid_has_no_window_twice_and_small_images_one(tmp_path: Path) -> None:
    """300 px in windows of 128 with an overlap of 64 gave 25 chips, 9 of them twice; small images failed."""
    dataset = RasterDataset(write_raster(tmp_path / "a.tif", ramp(300, 300)), kind="image")
    offsets = []
    for query in GridGeoSampler(dataset, 128, overlap=64):
        move = ~NORTH_UP @ query.geobox.affine
        offsets.append((round(move.f), round(move.c)))
    assert len(offsets) == len(set(offsets)) == 16
    assert {r for r, _ in offsets} == {0, 64, 128, 172}
    small = RasterDataset(write_raster(tmp_path / "b.tif", ramp(100, 90) + 1), kind="image")
    (query,) = GridGeoSampler(small, 128, overlap=64)
    sample = small[query]
    assert sample["image"].shape == (1, 128, 128)
    assert sample["image"].sum().item() == float((ramp(100, 90) + 1).sum())


def test_dg_18_the_map_is_as_large_as_the_image() -> None:
    """The map lost half the overlap on every side (236 of 300 px), and the last chip won."""
    dataset = noise(2, 300, 300)
    options = PredictOptions(threads=1, tile_px=128, overlap_px=64, halo_px=8)
    out, valid, grid = predict_array(dataset, Identity(), options=options)
    assert valid.shape == (300, 300) and valid.all() and grid == dataset.geobox
    assert np.abs(out - dataset.image).max() < 1e-6
    soft, _, _ = predict_array(dataset, Filter(tile_px=128), options=options)
    again, _, _ = predict_array(
        dataset, Filter(tile_px=96), options=PredictOptions(threads=1, tile_px=96, overlap_px=32, halo_px=4)
    )
    assert np.abs(soft - again).max() < 1e-5  # where chips overlap, no order of chips shows


@pytest.mark.parametrize("architecture", ["small", "fcn8s"])
def test_dg_21_scores_may_be_negative(architecture: str) -> None:
    """The scores of a network went through a ReLU, and the number of bands was fixed at five."""
    torch.manual_seed(0)
    for bands in (3, 7):
        spec = ModelSpec(architecture, in_channels=bands, num_classes=4, width=8)
        with torch.no_grad():
            out = create_model(spec).eval()(torch.randn(2, bands, 64, 64))
        assert out.shape == (2, 4, 64, 64) and (out < 0).any() and (out > 0).any()


def test_dg_26_what_is_ignored_becomes_no_other_class(tmp_path: Path) -> None:
    """Predictions of the ignored class were counted as class 1."""
    truth, predicted = np.array([0, 0, 1, 1, -100, 2]), np.array([0, -100, 1, -100, 0, 2])
    assert confusion_matrix(truth, predicted, 3).tolist() == [[1, 0, 0], [0, 1, 0], [0, 0, 1]]
    mapped = np.array([[1, 1, 0, 2], [0, 2, 2, 3]], "uint8")
    real = np.array([[1, 2, 1, 0], [2, 2, 3, 3]], "uint8")
    table = ClassTable.from_names({1: "a", 2: "b", 3: "c"})
    layers = [
        RasterDataset(write_raster(tmp_path / f"{n}.tif", d, nodata=0), classes=table)
        for n, d in (("m", mapped), ("t", real))
    ]
    found = compare_maps(layers[0], layers[1])
    assert found.confusion.counts.tolist() == [[1, 0, 0], [1, 1, 0], [0, 1, 1]]
    assert (found.confusion.unmapped, found.confusion.unlabelled) == (2, 1)


def test_dg_27_map_and_truth_of_other_sizes_are_compared_where_they_lie(tmp_path: Path) -> None:
    """Truth was cut around its middle to the size of the map."""
    codes = np.random.default_rng(0).integers(1, 4, (40, 40)).astype("uint8")
    names = {1: "a", 2: "b", 3: "c"}
    part = RasterDataset(
        write_raster(tmp_path / "m.tif", codes[3:20, 21:38], transform=NORTH_UP @ Affine.translation(21, 3)),
        classes=names,
    )
    whole = RasterDataset(write_raster(tmp_path / "t.tif", codes), classes=names)
    found = compare_maps(part, whole)
    assert found.confusion.pixels == 17 * 17 and found.scores.overall_accuracy == 1.0
