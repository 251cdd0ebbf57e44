"""Faults found in TorchGeo 0.8.1 and 0.10.1, by their number in our list: none of them is ours."""

from __future__ import annotations

import os
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import geopandas
import numpy as np
import pytest
import rasterio
import torch
from affine import Affine
from odc.geo.geobox import GeoBox
from pyproj import Transformer
from shapely.geometry import box
from torch.utils.data import DataLoader

from geotoolbox.core.query import Query, TimeInterval
from geotoolbox.datasets import IntersectionDataset, RasterDataset, VectorDataset
from geotoolbox.sampling import (
    GridGeoSampler,
    PreChippedGeoSampler,
    RandomGeoSampler,
    spatial_split,
    stack_samples,
)
from tests.make import NORTH_UP, ramp, write_raster


def place(query: Query, affine: Affine = NORTH_UP) -> tuple[int, int]:
    """The row and column where a window begins."""
    move = ~affine @ query.geobox.affine
    return round(move.f), round(move.c)


def test_fault_1_imagery_in_another_crs_is_interpolated(tmp_path: Path) -> None:
    """Imagery that must be reprojected was read with its nearest pixel, whatever kernel was asked for."""
    affine = Affine(10, 0, 790_000, 0, -10, 5_400_000)
    path = write_raster(
        tmp_path / "a.tif", ramp(300, 300, 3, 3, "float32"), crs="EPSG:32632", transform=affine
    )
    there = Transformer.from_crs("EPSG:32632", "EPSG:32633", always_xy=True)
    west, north = (round(v) for v in there.transform(791_000, 5_399_000))
    grid = GeoBox((100, 100), Affine(10, 0, west, 0, -10, north), "EPSG:32633")
    rows, columns = np.mgrid[:100, :100] + 0.5
    x, y = there.transform(*(grid.affine @ (columns, rows)), direction="INVERSE")
    column, row = ~affine @ (x, y)
    inside = (np.minimum(row, column) > 2) & (np.maximum(row, column) < 298)
    assert inside.mean() > 0.5
    exact = 3 * (column - 0.5) + 3 * (row - 0.5)
    error = {}
    for kernel in ("auto", "bilinear", "nearest"):
        reading = RasterDataset(path, kind="image", resampling=kernel).read(Query(grid))
        assert reading.image is not None and reading.valid[inside].all()
        error[kernel] = np.abs(reading.image[0] - exact)[inside]
    assert error["auto"].max() < 0.02 and error["bilinear"].max() < 0.02
    assert error["nearest"].mean() > 0.5


def test_fault_2_a_batch_knows_its_place_to_a_thousandth_of_a_pixel(tmp_path: Path) -> None:
    """Transform and bounds were single precision: two thirds of a pixel of 0.3 m off in the northing."""
    affine = Affine(0.3, 0, 512_345.7, 0, -0.3, 4_612_345.1)
    dataset = RasterDataset(write_raster(tmp_path / "a.tif", ramp(64, 64), transform=affine))
    grid = dataset.scenes()[0].geobox
    loader = DataLoader(
        dataset,
        batch_size=4,
        sampler=[Query(grid[i : i + 8, 2 * i : 2 * i + 8]) for i in range(4)],
        collate_fn=stack_samples,
    )
    batch = next(iter(loader))
    assert batch["transform"].dtype == batch["bounds"].dtype == torch.float64
    for i, (t, b) in enumerate(zip(batch["transform"].tolist(), batch["bounds"].tolist(), strict=True)):
        assert abs(t[5] - (affine.f - 0.3 * i)) < 3e-4 and abs(t[2] - (affine.c + 0.6 * i)) < 3e-4
        assert abs(b[3] - (affine.f - 0.3 * i)) < 3e-4 and abs(b[1] - (affine.f - 0.3 * (i + 8))) < 3e-4


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_fault_3_a_preview_before_forked_workers_spoils_nothing(tmp_path: Path) -> None:
    """Files that were open in the parent were read by forked workers: read errors, and one wrong patch."""
    data = np.random.default_rng(0).integers(1, 60_000, (256, 256), dtype=np.uint16)
    path = write_raster(
        tmp_path / "a.tif", data, compress="deflate", tiled=True, blockxsize=64, blockysize=64
    )
    dataset = RasterDataset(path, kind="image")
    queries = list(RandomGeoSampler(dataset, 32, 120, seed=1))
    for query in queries[:5]:
        assert dataset[query]["valid"].all()
    loader = DataLoader(
        dataset, batch_size=6, sampler=queries, num_workers=2, collate_fn=stack_samples,
        multiprocessing_context="fork",
    )  # fmt: skip
    images = torch.cat([b["image"] for b in loader])[:, 0].numpy()
    for query, image in zip(queries, images, strict=True):
        row, column = place(query)
        np.testing.assert_array_equal(image, data[row : row + 32, column : column + 32])


def test_fault_4_the_parts_of_a_split_can_be_read(tmp_path: Path) -> None:
    """A split into grid cells lost the names of its columns, so that no part could be read."""
    data = ramp(60, 60) + 1
    split = spatial_split(
        RasterDataset(write_raster(tmp_path / "a.tif", data)), {"train": 0.5, "val": 0.5}, block_px=10
    )
    seen = np.zeros((60, 60), bool)
    for name in ("train", "val"):
        part = split[name]
        for query in GridGeoSampler(part, 10):
            sample, (row, column) = part[query], place(query)
            valid = sample["valid"].numpy()
            expected = np.where(valid, data[row : row + 10, column : column + 10], 0)
            np.testing.assert_array_equal(sample["image"][0].numpy(), expected)
            seen[row : row + 10, column : column + 10] |= valid
    assert seen.mean() > 0.3


def test_fault_5_no_validation_patch_shows_a_training_pixel(tmp_path: Path) -> None:
    """A third of the validation patches of 120 px reached into training cells of 128 px."""
    data = np.arange(1, 256 * 256 + 1, dtype=np.uint32).reshape(256, 256)
    dataset = RasterDataset(write_raster(tmp_path / "a.tif", data), kind="image")
    split = spatial_split(dataset, {"train": 0.5, "val": 0.5}, block_px=64, buffer_m=0, seed=2)
    pixels = {}
    for name in ("train", "val"):
        images = torch.cat([split[name][q]["image"].flatten() for q in GridGeoSampler(split[name], 60)])
        pixels[name] = set(images[images > 0].long().tolist())
    assert len(pixels["train"]) > 20_000 and len(pixels["val"]) > 20_000
    assert not pixels["train"] & pixels["val"]


def test_fault_6_a_union_keeps_no_fill_value_over_data(tmp_path: Path) -> None:
    """Of two values the larger was taken, and so the fill value 65535 over data in half of the patch."""
    left, right = np.full((8, 12), 65535, "uint16"), np.full((8, 12), 65535, "uint16")
    left[:, :7], right[:, 5:] = 100, 200
    one, two = (
        RasterDataset(write_raster(tmp_path / f"{i}.tif", data, nodata=65535, names=("b",)), kind="image")
        for i, data in enumerate((left, right))
    )
    for union, seam in ((one | two, 7), (two | one, 5)):
        sample = union[:, :]
        expected = np.where(np.arange(12) < seam, 100.0, 200.0)[None].repeat(8, 0)
        np.testing.assert_array_equal(sample["image"][0], expected)
        assert sample["valid"].all()


def test_fault_8_a_polygon_over_the_whole_patch_and_one_below_a_pixel(tmp_path: Path) -> None:
    """A polygon that covered the patch gave no mask, and one smaller than a pixel an error."""
    west, north = NORTH_UP @ (0, 0)
    everything = box(west - 900, north - 900, west + 900, north + 900)
    speck = box(west + 61, north - 64, west + 64, north - 61)
    part = box(west + 120, north - 240, west + 240, north - 120)
    frame = geopandas.GeoDataFrame(
        {"c": ["all", "speck", "part"]}, geometry=[everything, speck, part], crs="EPSG:32612"
    )
    frame.to_file(tmp_path / "a.gpkg")
    grid = GeoBox((10, 10), NORTH_UP, "EPSG:32612")
    expected = np.zeros((10, 10), int)
    expected[4:8, 4:8] = 1
    mask = VectorDataset(tmp_path / "a.gpkg", column="c").read(Query(grid)).mask
    np.testing.assert_array_equal(mask, expected)
    touched = VectorDataset(tmp_path / "a.gpkg", column="c", all_touched=True).read(Query(grid)).mask
    assert touched is not None
    assert (touched[2, 2], (touched == 2).sum(), (touched[4:8, 4:8] == 1).all()) == (2, 1, True)


def test_fault_7_a_window_far_from_the_meridian_keeps_its_corner_labels(tmp_path: Path) -> None:
    """A query box of two opposite corners only missed the features in the other two."""
    geopandas = pytest.importorskip("geopandas")
    from geotoolbox.datasets import VectorDataset

    grid = GeoBox((40, 40), Affine(2500, 0, 900_000, 0, -2500, 7_900_000), "EPSG:32612")
    to_lonlat = Transformer.from_crs("EPSG:32612", "EPSG:4326", always_xy=True)
    corners = [(1, 1), (1, 38), (38, 1), (38, 38)]
    shapes = []
    for row, column in corners:
        lon, lat = to_lonlat.transform(*(grid.affine @ (column + 0.5, row + 0.5)))
        shapes.append(box(lon - 0.01, lat - 0.003, lon + 0.01, lat + 0.003))
    path = tmp_path / "a.gpkg"
    geopandas.GeoDataFrame({"c": ["a"] * 4}, geometry=shapes, crs="EPSG:4326").to_file(path)
    mask = VectorDataset(path, column="c").read(Query(grid)).mask
    assert mask is not None and {tuple(p) for p in np.argwhere(mask == 0).tolist()} == set(corners)


def test_fault_9a_a_generator_repeats_whatever_the_global_seed(tmp_path: Path) -> None:
    """The scene was drawn without the generator: another global seed gave other samples."""
    east = NORTH_UP @ Affine.translation(40, 0)
    dataset = RasterDataset(
        [write_raster(tmp_path / "a.tif", ramp(40, 40)), write_raster(tmp_path / "b.tif", ramp(40, 40), transform=east)],
        bands=["x"],
    )  # fmt: skip
    drawn = []
    for seed in (1, 2):
        torch.manual_seed(seed)
        drawn.append(list(RandomGeoSampler(dataset, 8, 50, generator=torch.Generator().manual_seed(3))))
    assert drawn[0] == drawn[1]
    assert len({place(q)[1] >= 40 for q in drawn[0]}) == 2


@pytest.mark.parametrize(("scene", "patch"), [(32, 16), (32, 24), (32, 32)])
def test_fault_9b_border_pixels_are_drawn_and_no_epoch_is_empty(
    tmp_path: Path, scene: int, patch: int
) -> None:
    """The last offset, or a ring of a fifth of the patch, was never drawn; large patches gave no sample."""
    dataset = RasterDataset(write_raster(tmp_path / "a.tif", ramp(scene, scene)), kind="image")
    sampler = RandomGeoSampler(dataset, patch, 800, seed=0)
    queries = list(sampler)
    assert len(queries) == len(sampler) == 800
    offsets = {place(q) for q in queries}
    assert {r for r, _ in offsets} == {c for _, c in offsets} == set(range(scene - patch + 1))
    seen = np.zeros((scene, scene), int)
    for row, column in offsets:
        seen[row : row + patch, column : column + patch] += 1
    assert seen.min() >= 1


def test_fault_9c_isolated_chips_are_each_visited_once(tmp_path: Path) -> None:
    """Chip-sized files that lie apart gave no sample at all with the sampler that was recommended."""
    paths = [
        write_raster(
            tmp_path / f"{i}.tif",
            np.full((16, 16), i + 1, "uint8"),
            transform=NORTH_UP @ Affine.translation(50 * i, 0),
        )
        for i in range(5)
    ]
    dataset = RasterDataset(paths, kind="image", bands=["x"])
    for sampler in (PreChippedGeoSampler(dataset), GridGeoSampler(dataset, 16)):
        values = [dataset[q]["image"].unique().tolist() for q in sampler]
        assert sorted(values) == [[1.0], [2.0], [3.0], [4.0], [5.0]]
    assert {dataset[q]["image"].max().item() for q in RandomGeoSampler(dataset, 16, 60, seed=0)} == {
        1,
        2,
        3,
        4,
        5,
    }
    assert all(dataset[q]["valid"].any() for q in RandomGeoSampler(dataset, 24, 30, seed=0))


@pytest.mark.skipif(not hasattr(time, "tzset"), reason="needs tzset")
def test_fault_9d_a_day_is_a_day_in_any_time_zone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Times were local: in Tokyo nine hours of each day were never drawn."""
    hours = (1, 8, 12, 23)
    for hour in hours:
        data = np.full((8, 8), hour + 1, "uint8")
        write_raster(tmp_path / f"s_20200501T{hour:02d}.tif", data)
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    time.tzset()
    try:
        dataset = RasterDataset(
            tmp_path, kind="image", bands=["x"], filename_regex=r"s_(?P<date>\d{8}T\d\d)", date_format="%Y%m%dT%H"
        )  # fmt: skip
        starts = sorted(s.time.start for s in dataset.scenes() if s.time.start)
        assert starts == [datetime(2020, 5, 1, h, tzinfo=UTC) for h in hours]
        day = TimeInterval(datetime(2020, 5, 1), datetime(2020, 5, 1, 23, 59))
        drawn = {q.time for q in RandomGeoSampler(dataset, 4, 60, seed=0, toi=day)}
        assert {t.start.hour for t in drawn if t.start} == set(hours)
        stamp = datetime(2020, 5, 1, 8, tzinfo=UTC).timestamp()
        assert dataset[:, :, stamp : stamp + 60]["image"].unique().tolist() == [9.0]
        assert dataset[:, :, "2020-05-01T08:00":"2020-05-01T08:10"]["image"].unique().tolist() == [9.0]  # type: ignore[misc]
    finally:
        monkeypatch.undo()
        time.tzset()


def test_fault_9e_a_record_shorter_than_the_time_asked_for_is_drawn(tmp_path: Path) -> None:
    """Where the record was shorter than the interval asked for, drawing failed."""
    write_raster(tmp_path / "s_20200501.tif", ramp(8, 8) + 1)
    dataset = RasterDataset(tmp_path, kind="image", bands=["x"], filename_regex=r"s_(?P<date>\d{8})")
    start = datetime(2020, 1, 1)
    year = TimeInterval(start, start + timedelta(days=366))
    sample = dataset[next(iter(RandomGeoSampler(dataset, 8, 1, toi=year, seed=0)))]
    np.testing.assert_array_equal(sample["image"][0].numpy(), ramp(8, 8) + 1)


def test_fault_9f_one_place_with_one_date_is_visited_once(tmp_path: Path) -> None:
    """Files that overlap made a grid visit the same place twice."""
    two = np.stack([ramp(32, 32), ramp(32, 32)])
    paths = [write_raster(tmp_path / n, two, names=("red", "nir")) for n in ("a.tif", "b.tif")]
    places = [place(q) for q in GridGeoSampler(RasterDataset(paths), 16)]
    assert sorted(places) == [(0, 0), (0, 16), (16, 0), (16, 16)]


def test_fault_9g_the_last_row_of_a_grid_holds_data_only(tmp_path: Path) -> None:
    """The last row and column hung over the edge and were filled; rows smaller than a patch were skipped."""
    dataset = RasterDataset(write_raster(tmp_path / "a.tif", ramp(50, 37) + 1), kind="image")
    assert all(dataset[q]["valid"].all() for q in GridGeoSampler(dataset, 16))
    (query,) = GridGeoSampler(dataset, 64)
    sample = dataset[query]
    assert int(sample["valid"].sum()) == 50 * 37
    assert sample["image"].sum().item() == float((ramp(50, 37) + 1).sum())


def test_fault_10_an_intersection_by_place_alone_has_bounds_and_scenes(tmp_path: Path) -> None:
    """An intersection that disregards time could not tell its bounds."""
    first = RasterDataset(write_raster(tmp_path / "a.tif", ramp(20, 20)), kind="image")
    shifted = NORTH_UP @ Affine.translation(10, 5)
    second = RasterDataset(write_raster(tmp_path / "b.tif", ramp(20, 20), transform=shifted), kind="image")
    both = IntersectionDataset(first, second, spatial_only=True)
    (scene,) = both.scenes()
    west, north = NORTH_UP @ (10, 5)
    assert scene.footprint.bounds == pytest.approx((west, north - 15 * 30, west + 10 * 30, north), abs=1e-3)
    assert (both.crs, both.res) == (first.crs, first.res)
    ((covered, _),) = both.coverage()
    assert covered.area > 0


def test_fault_14_joining_layers_leaves_them_as_they_were(tmp_path: Path) -> None:
    """Joining two layers overwrote the grid of the second, and the order decided the resolution."""
    first = RasterDataset(write_raster(tmp_path / "a.tif", ramp(20, 20)), kind="image")
    coarse = Affine(0.001, 0, -113.2595, 0, -0.001, 37.3886)
    second = RasterDataset(
        write_raster(tmp_path / "b.tif", np.ones((9, 9), "uint8"), crs="EPSG:4326", transform=coarse), classes=["a", "b"]
    )  # fmt: skip
    before = [(d.crs, d.res, d.scenes()) for d in (first, second)]
    grids = {(first & second).scenes()[0].geobox, (second & first).scenes()[0].geobox}
    assert grids == {first.scenes()[0].geobox}
    assert [(d.crs, d.res, d.scenes()) for d in (first, second)] == before


def test_fault_11_labels_are_read_once_not_for_each_sample(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The whole vector file was read again for every sample."""
    geopandas = pytest.importorskip("geopandas")
    import pyogrio

    from geotoolbox.datasets import VectorDataset

    west, north = NORTH_UP @ (0, 0)
    path = tmp_path / "a.gpkg"
    shapes = [box(west + 30 * i, north - 300, west + 30 * i + 30, north) for i in range(0, 10, 2)]
    geopandas.GeoDataFrame({"c": ["a"] * 5}, geometry=shapes, crs="EPSG:32612").to_file(path)
    labels = VectorDataset(path, column="c")

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("read again")

    for name in ("read_dataframe", "read_arrow", "read_info"):
        monkeypatch.setattr(pyogrio, name, refuse)
    path.unlink()
    for _ in range(3):
        mask = labels.read(Query(GeoBox((10, 10), NORTH_UP, "EPSG:32612"))).mask
        assert mask is not None
        np.testing.assert_array_equal(mask == 0, np.arange(10)[None].repeat(10, 0) % 2 == 0)


def test_no_patch_hides_its_fill_values(tmp_path: Path) -> None:
    """Samples had no mask of what is valid, and the fill value stood in the image."""
    data = np.full((12, 12), -9999, "float32")
    data[:, 5:] = 0.25
    with rasterio.open(write_raster(tmp_path / "a.tif", data, nodata=-9999)) as raster:
        assert raster.nodata == -9999
    sample = RasterDataset(tmp_path / "a.tif", kind="image")[:, :]
    assert sample["image"].unique().tolist() == [0.0, 0.25]
    assert (~sample["valid"][:, :5]).all() and sample["valid"][:, 5:].all()
    assert sample["crs"] == "EPSG:32612"
