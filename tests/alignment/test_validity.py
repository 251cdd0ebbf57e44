"""What is valid, what never gets into the data, and grids of every shape and place."""

from __future__ import annotations

import json
import logging
import multiprocessing
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import rasterio
from affine import Affine
from hypothesis import given, settings
from hypothesis import strategies as st
from odc.geo.geobox import GeoBox
from rasterio.shutil import copy

from geotoolbox.alignment import Source, explain, plan_read, read_mosaic, read_onto
from geotoolbox.core.header import describe
from geotoolbox.errors import BadInput, CannotAlign, CannotRead, MixedSources, TooLarge
from tests.alignment.reference import exact_bilinear, exact_nearest, exact_places, gdalwarp
from tests.make import NORTH_UP, UTM12, ramp, write_raster

HALF = NORTH_UP @ Affine.translation(0.5, 0.25)


def _source(path: Path, **options: object) -> Source:
    return Source.from_header(describe(path), **options)  # type: ignore[arg-type]


def _box(height: int, width: int, affine: Affine = NORTH_UP, crs: str = UTM12) -> GeoBox:
    return GeoBox((height, width), affine, crs)


@settings(max_examples=25, deadline=None)
@given(
    shape=st.tuples(st.integers(1, 40), st.integers(1, 40)),
    dtype=st.sampled_from(["uint8", "int8", "uint16", "int16", "int32", "uint32", "float32", "float64"]),
    flip=st.sampled_from([(1, 1), (-1, 1), (1, -1), (-1, -1)]),
    resampling=st.sampled_from(["nearest", "bilinear", "cubic", "average", "mode", "auto"]),
)
def test_law_5_a_source_on_its_own_grid_is_the_source(
    tmp_path_factory: pytest.TempPathFactory, shape, dtype, flip, resampling
) -> None:  # type: ignore[no-untyped-def]
    data = np.random.default_rng(3).integers(0, 120, (2, *shape)).astype(dtype)
    path = tmp_path_factory.mktemp("own") / "a.tif"
    write_raster(path, data, transform=NORTH_UP @ Affine.scale(*flip), nodata=7)
    source = _source(path)
    image, valid = read_onto(source, source.geobox, resampling)
    assert np.array_equal(valid, data != 7)
    assert np.array_equal(image, np.where(data == 7, 0, data).astype("float32"))


@settings(max_examples=25, deadline=None)
@given(
    row=st.integers(-20, 50), col=st.integers(-20, 50), height=st.integers(1, 60), width=st.integers(1, 60)
)
def test_any_window_of_the_grid_is_that_window(
    tmp_path_factory: pytest.TempPathFactory, row: int, col: int, height: int, width: int
) -> None:
    data = ramp(31, 43) + 1
    path = write_raster(tmp_path_factory.mktemp("window") / "a.tif", data)
    image, valid = read_onto(_source(path), _box(height, width, NORTH_UP @ Affine.translation(col, row)))
    padded = np.zeros((200, 200))
    padded[60:91, 60:103] = data
    expected = padded[60 + row : 60 + row + height, 60 + col : 60 + col + width]
    assert np.array_equal(image[0], expected)
    assert np.array_equal(valid[0], expected > 0)


@pytest.mark.parametrize(
    "crs,affine", [(UTM12, HALF), ("EPSG:32611", Affine(30, 0, 831_400, 0, -30, 4_143_500))]
)
@pytest.mark.parametrize("resampling", ["nearest", "bilinear", "cubic"])
def test_what_is_read_of_a_part_is_the_part_of_the_whole(
    tmp_path: Path, crs: str, affine: Affine, resampling
) -> None:  # type: ignore[no-untyped-def]
    data = np.random.default_rng(0).integers(0, 5000, (300, 300)).astype("uint16")
    source = _source(write_raster(tmp_path / "a.tif", data, nodata=17))
    whole_box = _box(256, 256, affine, crs)
    whole, valid = read_onto(source, whole_box, resampling)
    assert valid.mean() > 0.5
    for rows, cols in (
        (slice(3, 70), slice(11, 200)),
        (slice(100, 256), slice(64, 65)),
        (slice(255, 256), slice(0, 256)),
    ):
        part, here = read_onto(source, whole_box[rows, cols], resampling)
        assert np.array_equal(part, whole[:, rows, cols])
        assert np.array_equal(here, valid[:, rows, cols])


def test_r19_nan_and_inf_are_invalid_and_never_blended(tmp_path: Path) -> None:
    data = np.full((40, 40), 100.0, "float32")
    data[10, 10], data[20, 20], data[30, 30] = np.nan, np.inf, -np.inf
    source = _source(write_raster(tmp_path / "a.tif", data))
    for resampling in ("nearest", "bilinear", "cubic", "average"):
        for target in (_box(40, 40), _box(40, 40, HALF), _box(13, 13, NORTH_UP @ Affine.scale(3))):
            image, valid = read_onto(source, target, resampling)
            assert np.isfinite(image).all()
            assert (image[valid] == 100).all()
            assert (image[~valid] == 0).all()
    assert read_onto(source, source.geobox)[1].sum() == 1600 - 3


@pytest.mark.parametrize("nodata", [0, 65535])
def test_a_fill_value_is_never_blended(tmp_path: Path, nodata: int) -> None:
    data = np.full((60, 60), 1000, "uint16")
    hole = np.random.default_rng(2).random((60, 60)) < 0.3
    data[hole] = nodata
    path = write_raster(tmp_path / "a.tif", data, nodata=nodata)
    source = _source(path)
    u, v = exact_places(source.geobox, _box(50, 50, HALF))
    nearest_hole, inside = exact_nearest(hole, u, v)
    for resampling in ("nearest", "bilinear", "cubic"):
        image, valid = read_onto(source, _box(50, 50, HALF), resampling)
        assert np.array_equal(valid[0], inside & ~nearest_hole)
        assert (image[0] == np.where(valid[0], 1000, 0)).all()


def test_bilinear_beside_a_hole_has_weights_of_the_valid_pixels(tmp_path: Path) -> None:
    data = np.array([[10, 20], [30, 255]], "uint8")
    source = _source(write_raster(tmp_path / "a.tif", data, nodata=255))
    target = _box(1, 1, NORTH_UP @ Affine.translation(0.25, 0.25))
    image, valid = read_onto(source, target, "bilinear")
    weights = np.array([0.75 * 0.75, 0.25 * 0.75, 0.75 * 0.25])
    assert valid.all()
    assert image[0, 0, 0] == pytest.approx(weights @ [10, 20, 30] / weights.sum(), rel=1e-6)


def test_r22_nodata_that_cannot_occur_is_told_and_all_is_valid(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    header = describe(write_raster(tmp_path / "a.tif", ramp(9, 9, dtype="uint8")))
    with caplog.at_level(logging.WARNING):
        sources = [Source.from_header(header, nodata=value) for value in (-9999, np.nan, 0.5)]
    assert len(caplog.records) == 3
    assert "-9999" in caplog.text
    for source in sources:
        assert read_onto(source, source.geobox)[1].all()


@pytest.mark.parametrize("dtype,fill", [("float32", np.nan), ("float32", -3.4e38), ("float64", -9999.9), ("float32", -9999.9), ("int16", -32768)])  # fmt: skip
def test_r22_fill_values_of_every_kind(tmp_path: Path, dtype: str, fill: float) -> None:
    data = ramp(8, 8, dtype=dtype)
    data[2, 3] = fill
    source = _source(write_raster(tmp_path / "a.tif", data, nodata=fill))
    image, valid = read_onto(source, source.geobox)
    assert not valid[0, 2, 3]
    assert valid.sum() == 63
    assert image[0, 2, 3] == 0


def test_the_lowest_float_with_too_few_digits_is_still_the_fill(tmp_path: Path) -> None:
    data = ramp(8, 8, dtype="float32")
    data[1, 1] = np.finfo("float32").min
    source = _source(write_raster(tmp_path / "a.tif", data), nodata=-3.40282e38)
    assert not read_onto(source, source.geobox)[1][0, 1, 1]


@pytest.mark.parametrize("internal", [True, False])
def test_r23_a_mask_is_validity(tmp_path: Path, internal: bool) -> None:
    mask = np.ones((32, 32), bool)
    mask[4:9, 7:20] = False
    with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=internal):
        path = write_raster(tmp_path / "a.tif", np.stack([ramp(32, 32)] * 2))
        with rasterio.open(path, "r+") as out:
            out.write_mask(mask)
    assert (tmp_path / "a.tif.msk").exists() is not internal
    image, valid = read_onto(_source(path), _box(32, 32))
    assert np.array_equal(valid, np.stack([mask, mask]))
    assert (image[:, ~mask] == 0).all()


def test_r23_alpha_is_validity_and_no_band(tmp_path: Path) -> None:
    alpha = np.full((16, 16), 255, "uint8")
    alpha[:4] = 0
    data = np.stack([ramp(16, 16, dtype="uint8")] * 3 + [alpha])
    path = write_raster(tmp_path / "a.tif", data, photometric="RGB", ALPHA="YES")
    source = _source(path)
    assert source.bands == (1, 2, 3)
    assert np.array_equal(read_onto(source, source.geobox)[1][2], alpha > 0)


def test_valid_is_told_for_each_band(tmp_path: Path) -> None:
    data = np.stack([ramp(10, 10) + 1, ramp(10, 10) + 1])
    data[1, 5, 5] = 0
    source = _source(write_raster(tmp_path / "a.tif", data, nodata=0))
    for target in (_box(10, 10), _box(10, 10, NORTH_UP @ Affine.translation(0.1, 0.1))):
        valid = read_onto(source, target, "bilinear")[1]
        assert valid[0, 5, 5]
        assert not valid[1, 5, 5]


def test_a_never_written_block_is_nodata_only_when_declared(tmp_path: Path) -> None:
    for nodata in (None, 9):
        path = tmp_path / f"{nodata}.tif"
        with rasterio.open(
            path, "w", driver="GTiff", width=64, height=32, count=1, dtype="uint8", crs=UTM12, nodata=nodata,
            transform=NORTH_UP, tiled=True, blockxsize=32, blockysize=32, SPARSE_OK=True,
        ) as out:  # fmt: skip
            out.write(np.full((1, 32, 32), 5, "uint8"), window=((0, 32), (0, 32)))
        image, valid = read_onto(_source(path), _box(32, 64))
        assert (image[0, :, 32:] == 0).all()
        assert valid[0, :, :32].all()
        assert valid[0, :, 32:].all() is np.bool_(nodata is None)


def _dateline(folder: Path) -> tuple[Path, np.ndarray]:
    data = np.random.default_rng(5).integers(1, 9999, (90, 400)).astype("uint16")
    return write_raster(
        folder / "a.tif", data, crs="EPSG:4326", transform=Affine(0.01, 0, 178.0, 0, -0.01, 52.5)
    ), data


@pytest.mark.parametrize("resampling,exact", [("nearest", exact_nearest), ("bilinear", exact_bilinear)])
def test_r41_across_the_antimeridian(tmp_path: Path, resampling, exact) -> None:  # type: ignore[no-untyped-def]
    path, data = _dateline(tmp_path)
    for crs, affine in (("EPSG:32601", Affine(700, 0, 260_000, 0, -1000, 5_800_000)), ("EPSG:32660", Affine(700, 0, 640_000, 0, -1000, 5_800_000))):  # fmt: skip
        target = GeoBox((60, 150), affine, crs)
        source = _source(path)
        u, v = exact_places(source.geobox, target)
        expected, inside = exact(data, u, v)
        image, _ = read_onto(source, target, resampling)
        assert inside.mean() > 0.5
        assert np.abs(image[0] - expected)[inside].max() <= 0.2
        lon_left = 178.0 + u.min() * 0.01
        assert lon_left < 180 < 178.0 + u.max() * 0.01, "the target must cross"


def test_r41_two_halves_of_the_world_meet(tmp_path: Path) -> None:
    data = np.random.default_rng(5).integers(1, 9999, (90, 400)).astype("uint16")
    east = write_raster(tmp_path / "east.tif", data[:, :200], crs="EPSG:4326", transform=Affine(0.01, 0, 178.0, 0, -0.01, 52.5))  # fmt: skip
    west = write_raster(tmp_path / "west.tif", data[:, 200:], crs="EPSG:4326", transform=Affine(0.01, 0, -180.0, 0, -0.01, 52.5))  # fmt: skip
    whole, _ = _dateline(tmp_path)
    target = GeoBox((60, 150), Affine(700, 0, 260_000, 0, -1000, 5_800_000), "EPSG:32601")
    image, valid = read_mosaic([_source(east), _source(west)], target, "nearest")
    expected, all_valid = read_onto(_source(whole), target, "nearest")
    assert np.array_equal(valid, all_valid)
    assert np.mean(image == expected) > 0.9999


def test_r41_a_world_map_is_read_across_its_own_seam(tmp_path: Path) -> None:
    data = np.arange(360 * 180, dtype="int32").reshape(180, 360)
    path = write_raster(tmp_path / "w.tif", data, crs="EPSG:4326", transform=Affine(1, 0, -180, 0, -1, 90))
    image, valid = read_onto(_source(path), GeoBox((10, 20), Affine(1, 0, 170, 0, -1, 5), "EPSG:4326"))
    assert valid.all()
    assert np.array_equal(image[0], np.hstack([data[85:95, 350:], data[85:95, :10]]))


def test_r43_longitudes_from_0_to_360(tmp_path: Path) -> None:
    data = np.arange(360 * 180, dtype="int32").reshape(180, 360)
    path = write_raster(tmp_path / "w.tif", data, crs="EPSG:4326", transform=Affine(1, 0, 0, 0, -1, 90))
    image, valid = read_onto(_source(path), GeoBox((4, 6), Affine(1, 0, -113, 0, -1, 40), "EPSG:4326"))
    assert valid.all()
    assert np.array_equal(image[0], data[50:54, 247:253])


def test_r42_a_polar_target_around_the_pole_is_exact(tmp_path: Path) -> None:
    data = np.random.default_rng(5).integers(1, 9999, (100, 720)).astype("uint16")
    path = write_raster(
        tmp_path / "p.tif", data, crs="EPSG:4326", transform=Affine(0.5, 0, -180, 0, -0.1, 90)
    )
    source, target = (
        _source(path),
        GeoBox((64, 64), Affine(20_000, 0, -640_000, 0, -20_000, 640_000), "EPSG:3413"),
    )
    image, valid = read_onto(source, target, "nearest")
    expected, inside = exact_nearest(data, *exact_places(source.geobox, target))
    assert inside.all()
    assert valid.all()
    assert np.mean(image[0] == expected) > 0.999


@pytest.mark.parametrize("shape", [(1, 1), (1, 17), (17, 1), (2, 2), (31, 33)])
def test_r37_small_and_thin(tmp_path: Path, shape: tuple[int, int]) -> None:
    data = np.random.default_rng(8).integers(1, 200, shape).astype("uint8")
    source = _source(write_raster(tmp_path / "a.tif", data))
    for crs, affine in ((UTM12, NORTH_UP @ Affine.translation(-0.3, -0.2)), ("EPSG:32611", Affine(30, 0, 831_200, 0, -30, 4_144_100))):  # fmt: skip
        for size in ((1, 1), (1, 40), (40, 1), (40, 40)):
            target = GeoBox(size, affine, crs)
            expected, inside = exact_nearest(data, *exact_places(source.geobox, target))
            for resampling in ("nearest", "bilinear", "cubic", "average"):
                image, valid = read_onto(source, target, resampling)
                assert np.array_equal(valid[0], inside)
                if resampling == "nearest":
                    assert np.array_equal(image[0], expected)


def test_the_mode_of_classes_is_counted_not_averaged(tmp_path: Path) -> None:
    data = np.array([[4, 4, 8, 8], [4, 8, 8, 0], [0, 0, 0, 0], [0, 0, 0, 5]], "uint8")
    source = _source(write_raster(tmp_path / "a.tif", data, nodata=0), categorical=True)
    image, valid = read_onto(source, _box(2, 2, NORTH_UP @ Affine.scale(2)), "mode", keep_dtype=True)
    assert image.dtype == np.uint8
    assert image[0].tolist() == [[4, 8], [0, 5]]
    assert valid[0].tolist() == [[True, True], [False, True]]
    assert set(np.unique(read_onto(source, _box(9, 9, HALF))[0])) <= {0, 4, 5, 8}


def test_overviews_are_used_when_much_coarser_and_keep_validity(tmp_path: Path) -> None:
    data = np.random.default_rng(4).integers(1, 1000, (512, 512)).astype("uint16")
    data[:, :128] = 0
    path = write_raster(tmp_path / "a.tif", data, nodata=0)
    with rasterio.open(path, "r+") as out:
        out.build_overviews([2, 4], rasterio.enums.Resampling.average)
    source = _source(path)
    target = _box(32, 32, NORTH_UP @ Affine.scale(16))
    plan = plan_read(source, target)
    assert (plan.kind, plan.overview) == ("overview", 1)
    image, valid = read_onto(source, target)
    full, _ = read_onto(replace(source, overviews=()), target)
    assert np.array_equal(valid[0], np.tile(np.arange(32) >= 8, (32, 1)))
    assert np.abs(image - full).max() < 1
    assert plan_read(source, target, "nearest").overview is None


@pytest.mark.parametrize("driver", ["COG", "GTiff"])
def test_overviews_whose_factor_does_not_divide_the_sides_are_placed_as_the_writer_rounded(
    tmp_path: Path, driver: str
) -> None:
    plain = write_raster(tmp_path / "plain.tif", ramp(1003, 1003).astype("float32"))
    path = tmp_path / "a.tif"
    with rasterio.open(plain) as opened:
        if driver == "COG":
            copy(opened, path, driver="COG", blocksize=128, overview_resampling="average")
        else:
            copy(opened, path, driver="GTiff")
    if driver == "GTiff":
        with rasterio.open(path, "r+") as out:
            out.build_overviews([2, 4], rasterio.enums.Resampling.average)
    source = _source(path)
    corner = _box(12, 12, NORTH_UP @ Affine.translation(1003 - 12 * 16, 1003 - 12 * 16) @ Affine.scale(16))
    assert plan_read(source, corner).kind == "overview"
    image, valid = read_onto(source, corner)
    full, _ = read_onto(replace(source, overviews=()), corner)
    step = float(abs(full[0, 0, 1] - full[0, 0, 0])) / 16  # of the ramp, from pixel to pixel
    assert valid.all() and np.abs(image - full).max() < 0.25 * step


def test_overviews_without_the_mask_are_not_used(tmp_path: Path) -> None:
    path = write_raster(tmp_path / "a.tif", ramp(256, 256), tiled=True, blockxsize=64, blockysize=64)
    with rasterio.open(path, "r+") as out:
        out.build_overviews([2, 4], rasterio.enums.Resampling.average)
    with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=False), rasterio.open(path, "r+") as out:
        mask = np.ones((256, 256), bool)
        mask[:64] = False
        out.write_mask(mask)
    _, valid = read_onto(_source(path), _box(16, 16, NORTH_UP @ Affine.scale(16)))
    assert np.array_equal(valid[0], np.tile(np.arange(16)[:, None] >= 4, (1, 16)))


def test_a_big_target_is_read_in_parts_with_the_same_pixels(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from geotoolbox.alignment import execute as module_function

    data = np.random.default_rng(4).integers(1, 1000, (300, 300)).astype("uint16")
    source, target = _source(write_raster(tmp_path / "a.tif", data)), _box(280, 270, HALF)
    whole = read_onto(source, target, "bilinear")
    monkeypatch.setitem(module_function.__globals__, "CHUNK_PX", 5000)
    parts = read_onto(source, target, "bilinear")
    assert np.array_equal(whole[0], parts[0])
    assert np.array_equal(whole[1], parts[1])


def test_a_mosaic_takes_the_first_valid_value_per_band(tmp_path: Path) -> None:
    one = np.full((2, 8, 8), 1, "uint16")
    one[0, :4], one[1, 6:] = 65535, 65535
    a = _source(write_raster(tmp_path / "a.tif", one, nodata=65535))
    b = _source(write_raster(tmp_path / "b.tif", np.full((2, 8, 4), 2, "uint16"), nodata=65535))
    image, valid = read_mosaic([a, b], _box(8, 8), "nearest", keep_dtype=True)
    assert image[0, :4].tolist() == [[2, 2, 2, 2, 0, 0, 0, 0]] * 4
    assert (image[0, 4:] == 1).all()
    assert image[1, 6:].tolist() == [[2, 2, 2, 2, 0, 0, 0, 0]] * 2
    assert np.array_equal(valid, image > 0)


def test_a_mosaic_refuses_what_does_not_fit(tmp_path: Path) -> None:
    a = _source(write_raster(tmp_path / "a.tif", ramp(8, 8)))
    b = _source(write_raster(tmp_path / "b.tif", np.stack([ramp(8, 8)] * 2)))
    with pytest.raises(MixedSources, match=r"b\.tif"):
        read_mosaic([a, b], _box(8, 8))
    with pytest.raises(BadInput):
        read_mosaic([], _box(8, 8))


def test_no_overlap_is_empty_not_an_error(tmp_path: Path) -> None:
    source = _source(write_raster(tmp_path / "a.tif", ramp(8, 8)))
    far = _box(5, 5, NORTH_UP @ Affine.translation(1000, 0))
    assert plan_read(source, far).kind == "empty"
    image, valid = read_onto(source, far)
    assert not image.any()
    assert not valid.any()


def test_a_plan_explains_itself(tmp_path: Path) -> None:
    source = _source(write_raster(tmp_path / "a.tif", ramp(256, 256)))
    plan = plan_read(source, GeoBox((200, 200), Affine(30, 0, 831_200, 0, -30, 4_144_100), "EPSG:32611"))
    text = explain(plan)
    assert "interpolate" in text
    assert "EPSG:32612" in text
    assert json.loads(json.dumps(plan.to_json()))["grid_step_px"] == 8
    assert 0 < plan.max_coordinate_error_px < 5e-5


def test_r13_a_truncated_file_names_path_and_window(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 60000, (512, 512)).astype("uint16")
    path = write_raster(
        tmp_path / "cut.tif", noise, compress="deflate", tiled=True, blockxsize=128, blockysize=128
    )
    source = _source(path)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(CannotRead, match=r"cut\.tif.*columns 0–511, rows 0–511"):
        read_onto(source, source.geobox)


def test_r17_and_r18_a_missing_or_changed_file_is_named(tmp_path: Path) -> None:
    path = write_raster(tmp_path / "a.tif", ramp(32, 32))
    source = _source(path)
    write_raster(path, ramp(16, 16))
    with pytest.raises(CannotRead, match="changed since"):
        read_onto(source, source.geobox)
    path.unlink()
    with pytest.raises(CannotRead, match=r"missing: .*a\.tif"):
        read_onto(source, source.geobox)


def test_r40_a_huge_target_is_refused_before_memory(tmp_path: Path) -> None:
    source = _source(write_raster(tmp_path / "a.tif", ramp(32, 32)))
    with pytest.raises(TooLarge, match="bytes"):
        read_onto(source, _box(2_000_000, 2_000_000))


def test_grids_without_crs_and_unknown_resampling_are_refused(tmp_path: Path) -> None:
    source = _source(write_raster(tmp_path / "a.tif", ramp(8, 8)))
    with pytest.raises(CannotAlign, match="no CRS"):
        read_onto(source, GeoBox((4, 4), NORTH_UP, None))
    with pytest.raises(BadInput, match="unknown resampling"):
        read_onto(source, _box(4, 4), "lanczos")  # type: ignore[arg-type]


def test_r39_complex_values_are_refused_by_name(tmp_path: Path) -> None:
    path = write_raster(tmp_path / "c.tif", np.ones((8, 8), "complex64"))
    with pytest.raises(BadInput, match=r"complex64 is not supported: .*c\.tif"):
        _source(path)


@pytest.mark.parametrize("dtype", ["int64", "uint64", "int8", "uint32"])
def test_r39_every_integer_keeps_its_values(
    tmp_path: Path, dtype: str, caplog: pytest.LogCaptureFixture
) -> None:
    data = ramp(9, 9, dtype=dtype)
    data[0, 0] = np.iinfo(dtype).max
    source = _source(write_raster(tmp_path / "a.tif", data))
    image, _ = read_onto(source, source.geobox, "nearest", keep_dtype=True)
    assert image.dtype == data.dtype
    assert np.array_equal(image[0], data)
    read_onto(source, source.geobox)
    assert ("lose digits" in caplog.text) is (dtype != "int8")


def test_r35_pixel_is_point_is_where_gdal_says(tmp_path: Path) -> None:
    path = write_raster(tmp_path / "a.tif", ramp(20, 20))
    with rasterio.open(path, "r+") as out:
        out.update_tags(AREA_OR_POINT="Point")
    target = GeoBox((12, 12), NORTH_UP @ Affine.translation(2.3, 3.4), UTM12)
    image, _ = read_onto(_source(path), target, "bilinear")
    assert np.abs(image[0] - gdalwarp(path, target, "bilinear")).max() < 1e-3


def _in_child(path: str, queue: multiprocessing.Queue) -> None:  # type: ignore[type-arg]
    from geotoolbox.core.opening import handles

    opened_before = len(handles())
    source = Source.from_header(describe(path))
    wrong = 0
    for i in range(60):
        image, _ = read_onto(source, source.geobox[i : i + 64, i : i + 64])
        wrong += not np.array_equal(image[0], ramp(256, 256)[i : i + 64, i : i + 64])
    queue.put((opened_before, wrong))


def test_r12_no_handle_crosses_a_fork(tmp_path: Path) -> None:
    path = write_raster(
        tmp_path / "a.tif", ramp(256, 256), compress="deflate", tiled=True, blockxsize=64, blockysize=64
    )
    source = _source(path)
    read_onto(source, source.geobox[:64, :64])
    context = multiprocessing.get_context("fork")
    queue = context.Queue()
    children = [context.Process(target=_in_child, args=(str(path), queue)) for _ in range(2)]
    for child in children:
        child.start()
    assert [queue.get(timeout=280) for _ in children] == [(0, 0), (0, 0)]
    for child in children:
        child.join(timeout=280)
        assert child.exitcode == 0
    image, _ = read_onto(source, source.geobox)
    assert np.array_equal(image[0], ramp(256, 256))
