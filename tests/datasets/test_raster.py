"""RasterDataset: bands, tiles, time, labels, and what is refused."""

from __future__ import annotations

import os
import pickle
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from affine import Affine
from odc.geo.geobox import GeoBox

from geotoolbox.core.classes import IGNORE_INDEX
from geotoolbox.core.query import Query, TimeInterval
from geotoolbox.datasets import RasterDataset
from geotoolbox.errors import BadInput, BadLabels, BandMismatch, CannotRead, MixedSources
from tests.make import NORTH_UP, ramp, write_raster


def _moved(columns: float, rows: float = 0) -> Affine:
    return NORTH_UP * Affine.translation(columns, rows)


def _day(day: int) -> TimeInterval:
    return TimeInterval(datetime(2020, 5, day, tzinfo=UTC), datetime(2020, 5, day, 23, tzinfo=UTC))


def test_one_file_a_band_in_the_order_of_the_list(tmp_path: Path) -> None:
    paths = [write_raster(tmp_path / f"scene_b{n}.tif", ramp(20, 30) + n) for n in (3, 2, 5)]
    images = RasterDataset(paths)
    assert [b.name for b in images.bands] == ["b3", "b2", "b5"]
    assert len(images) == 1
    reading = images.read(Query(images.scenes()[0].geobox))
    assert reading.image is not None
    assert reading.image.dtype == np.float32
    for band, number in enumerate((3, 2, 5)):
        np.testing.assert_array_equal(reading.image[band], ramp(20, 30) + number)
    assert reading.valid.all()


def test_bands_select_by_name_or_rename(tmp_path: Path) -> None:
    data = np.stack([ramp(8, 9) + n for n in range(3)])
    path = write_raster(tmp_path / "a.tif", data, names=["blue", "green", "red"])
    grid = RasterDataset(path).scenes()[0].geobox
    picked = RasterDataset(path, bands=["RED", "blue"])
    assert [b.name for b in picked.bands] == ["red", "blue"]
    np.testing.assert_array_equal(picked.read(Query(grid)).image, data[[2, 0]])
    renamed = RasterDataset(path, bands=["b1", "b2", "b3"])
    assert [b.name for b in renamed.bands] == ["b1", "b2", "b3"]
    with pytest.raises(BandMismatch, match="blue, green, red") as caught:
        RasterDataset(path, bands=["blue", "nir"])
    assert "nir" in str(caught.value)


def test_tiles_are_one_layer_and_the_first_valid_wins(tmp_path: Path) -> None:
    whole = ramp(20, 60) + 1
    left = whole[:, :40].copy()
    left[:, 30:] = 0
    a = write_raster(tmp_path / "a.tif", left, nodata=0)
    b = write_raster(tmp_path / "b.tif", whole[:, 20:], transform=_moved(20), nodata=0)
    tiles = RasterDataset([a, b])
    assert (len(tiles), [x.name for x in tiles.bands]) == (2, ["band_1"])
    grid = GeoBox((20, 70), NORTH_UP, "EPSG:32612")
    reading = tiles.read(Query(grid))
    assert reading.image is not None
    np.testing.assert_array_equal(reading.image[0][:, :60], whole)
    np.testing.assert_array_equal(reading.valid, np.arange(70) < 60 + np.zeros((20, 1)))
    assert (reading.image[0][:, 60:] == 0).all()


def test_a_pixel_never_mixes_bands_of_two_tiles(tmp_path: Path) -> None:
    first = np.full((2, 5, 5), 10, dtype="uint16")
    first[1, 2, 2] = 0
    a = write_raster(tmp_path / "a.tif", first, nodata=0)
    b = write_raster(
        tmp_path / "b.tif", np.full((2, 5, 5), 20, dtype="uint16"), transform=_moved(0), nodata=0
    )
    reading = RasterDataset([a, b]).read(Query(GeoBox((5, 5), NORTH_UP, "EPSG:32612")))
    assert reading.image is not None
    assert reading.image[:, 2, 2].tolist() == [20, 20]
    assert reading.image[:, 0, 0].tolist() == [10, 10]


def test_dates_in_names_make_scenes_and_time_series(tmp_path: Path) -> None:
    for day in (3, 1, 2):
        write_raster(tmp_path / f"x_2020050{day}_b1.tif", np.full((4, 4), day, "uint8"))
        write_raster(tmp_path / f"x_2020050{day}_b2.tif", np.full((4, 4), 10 * day, "uint8"))
    pattern = r"x_(?P<date>\d{8})_(?P<band>b\d)"
    images = RasterDataset(tmp_path, filename_regex=pattern, bands=["b2", "b1"])
    assert [s.time.start.day for s in images.scenes() if s.time.start] == [1, 2, 3]
    grid = images.scenes()[0].geobox
    second = images.read(Query(grid, _day(2)))
    assert second.image is not None
    assert second.image[:, 0, 0].tolist() == [20, 2]
    series = RasterDataset(tmp_path, filename_regex=pattern, time_series=True)
    assert len(series) == 1
    reading = series.read(Query(grid, TimeInterval(_day(2).start, None)))
    assert reading.image is not None
    assert reading.image.shape == (2, 2, 4, 4)
    assert reading.image[:, 0, 0, 0].tolist() == [2, 3]
    assert [d.start.day for d in reading.dates if d.start] == [2, 3]
    sample = series[grid]
    assert sample["dates"].shape == (3, 2)
    assert sample["dates"][0, 0] == datetime(2020, 5, 1, tzinfo=UTC).timestamp()


def test_dates_from_a_table(tmp_path: Path) -> None:
    paths = [write_raster(tmp_path / f"{n}.tif", np.full((2, 2), n, "uint8")) for n in (1, 2)]
    images = RasterDataset(paths, dates={"1": "2020-05-01", "2.tif": datetime(2020, 5, 2, tzinfo=UTC)})
    reading = images.read(Query(images.scenes()[0].geobox, _day(2)))
    assert reading.image is not None
    assert reading.image.ravel().tolist() == [2, 2, 2, 2]
    with pytest.raises(BadInput, match="misses a file"):
        RasterDataset(paths, dates={"1": "2020-05-01"})


def test_slices_are_on_the_grid_and_samples_keep_float64(tmp_path: Path) -> None:
    import torch

    images = RasterDataset(write_raster(tmp_path / "a.tif", ramp(20, 30)))
    sample = images[300_031.0:300_100.0, 4_139_900.0:4_139_999.0]
    assert sample["image"].shape == (1, 4, 3)
    assert sample["image"][0, 0, 0] == 3.0
    assert sample["transform"].dtype == torch.float64
    assert sample["transform"].tolist() == [30.0, 0.0, 300_030.0, 0.0, -30.0, 4_140_000.0]
    assert sample["bounds"].tolist() == [300_030.0, 4_139_880.0, 300_120.0, 4_140_000.0]
    assert sample["crs"] == "EPSG:32612"
    whole = images[:, :]
    np.testing.assert_array_equal(whole["image"][0].numpy(), ramp(20, 30))
    assert images[300_000.0:300_600.0:60.0, 4_139_400.0:4_140_000.0]["image"].shape == (1, 10, 10)
    with pytest.raises(BadInput, match="place and time"):
        images[0]  # type: ignore[index]


def test_transforms_come_last(tmp_path: Path) -> None:
    path = write_raster(tmp_path / "a.tif", ramp(4, 4))

    def double(sample: dict[str, Any]) -> dict[str, Any]:
        return {**sample, "image": sample["image"] * 2}

    images = RasterDataset(path, transforms=double)
    np.testing.assert_array_equal(images[:, :]["image"][0].numpy(), ramp(4, 4) * 2)


def test_datasets_can_be_pickled(tmp_path: Path) -> None:
    paths = [write_raster(tmp_path / f"{n}.tif", ramp(9, 9), transform=_moved(9 * n)) for n in range(3)]
    images = RasterDataset(paths)
    grid = GeoBox((9, 27), NORTH_UP, "EPSG:32612")
    images.read(Query(grid))
    again = pickle.loads(pickle.dumps(images))
    np.testing.assert_array_equal(again.read(Query(grid)).image, images.read(Query(grid)).image)


def test_scaled_applies_each_files_own_scale(tmp_path: Path) -> None:
    paths = []
    for n, offset in enumerate((0.0, -1000.0)):
        path = write_raster(tmp_path / f"{n}.tif", np.full((2, 2), 2000, "uint16"), transform=_moved(2 * n))
        with rasterio.open(path, "r+") as out:
            out.scales, out.offsets = (0.5,), (offset,)
        paths.append(path)
    images = RasterDataset(paths, scaled=True)
    reading = images.read(Query(GeoBox((2, 4), NORTH_UP, "EPSG:32612")))
    assert reading.image is not None
    assert reading.image[0, 0].tolist() == [1000, 1000, 0, 0]


def test_r28_mixed_scale_and_offset_lists_the_files(tmp_path: Path) -> None:
    paths = [write_raster(tmp_path / f"{n}.tif", ramp(3, 3), transform=_moved(3 * n)) for n in range(2)]
    with rasterio.open(paths[1], "r+") as out:
        out.offsets = (-1000.0,)
    with pytest.raises(MixedSources, match="scale and offset") as caught:
        RasterDataset(paths)
    assert str(paths[0]) in str(caught.value)
    assert "scaled=True" in str(caught.value)


def test_r24_mixed_crs_keeps_each_files_own_grid(tmp_path: Path) -> None:
    a = write_raster(tmp_path / "a.tif", ramp(6, 6))
    b = write_raster(tmp_path / "b.tif", ramp(6, 6) + 7, crs="EPSG:32613")
    images = RasterDataset([a, b])
    assert [str(s.geobox.crs) for s in images.scenes()] == ["EPSG:32612", "EPSG:32613"]
    for scene, plus in zip(images.scenes(), (0, 7), strict=True):
        reading = images.read(Query(scene.geobox))
        assert reading.image is not None
        np.testing.assert_array_equal(reading.image[0], ramp(6, 6) + plus)


def test_r24_mixed_crs_lists_the_files(tmp_path: Path) -> None:
    a = write_raster(tmp_path / "a.tif", ramp(6, 6))
    b = write_raster(tmp_path / "b.tif", ramp(6, 6), crs="EPSG:32613")
    with pytest.raises(MixedSources, match="CRS") as caught:
        RasterDataset([a, b], mixed="strict")
    assert str(a) in str(caught.value)
    assert str(b) in str(caught.value)
    assert "gdalwarp" in str(caught.value)


def test_r25_mixed_resolution_lists_the_files_or_keeps_each_grid(tmp_path: Path) -> None:
    a = write_raster(tmp_path / "a.tif", ramp(6, 6))
    b = write_raster(tmp_path / "b.tif", ramp(6, 6), transform=_moved(6) * Affine.scale(2))
    with pytest.raises(MixedSources, match="resolution") as caught:
        RasterDataset([a, b])
    assert f"[(60.0, 60.0)] {b}" in str(caught.value)
    images = RasterDataset([a, b], mixed="native")
    assert [s.geobox.affine.a for s in images.scenes()] == [30.0, 60.0]


@pytest.mark.parametrize("shift", [0, 6])
def test_r26_mixed_dtype_lists_the_files(tmp_path: Path, shift: int) -> None:
    a = write_raster(tmp_path / "a.tif", ramp(6, 6))
    b = write_raster(tmp_path / "b.tif", ramp(6, 6, dtype="float32"), transform=_moved(shift))
    with pytest.raises(MixedSources, match="data type") as caught:
        RasterDataset([a, b])
    for words in (str(a), str(b), "uint16", "float32", "Fix:"):
        assert words in str(caught.value)


def test_r27_mixed_band_count_lists_the_files_and_order_goes_by_name(tmp_path: Path) -> None:
    three = np.stack([ramp(4, 4) + n for n in range(3)])
    a = write_raster(tmp_path / "a.tif", three, names=["r", "g", "b"])
    b = write_raster(tmp_path / "b.tif", three[:2], names=["r", "g"], transform=_moved(4))
    with pytest.raises(MixedSources, match="bands") as caught:
        RasterDataset([a, b])
    assert f"[2 bands: r, g] {b}" in str(caught.value)
    both = RasterDataset([a, b], bands=["g", "r"])
    assert len(both) == 2
    c = write_raster(tmp_path / "c.tif", three[[2, 0, 1]], names=["b", "r", "g"], transform=_moved(4))
    reading = RasterDataset([a, c]).read(Query(GeoBox((4, 8), NORTH_UP, "EPSG:32612")))
    assert reading.image is not None
    np.testing.assert_array_equal(reading.image, np.concatenate([three, three], axis=2))


def test_r38_no_pixels_names_the_file(tmp_path: Path) -> None:
    path = tmp_path / "empty.vrt"
    path.write_text('<VRTDataset rasterXSize="0" rasterYSize="0"></VRTDataset>')
    with pytest.raises((CannotRead, BadInput), match=r"empty\.vrt"):
        RasterDataset(path, allow_vrt=True)
    with pytest.raises(CannotRead, match=r"nothing\.tif"):
        RasterDataset(_empty(tmp_path / "nothing.tif"))


def _empty(path: Path) -> Path:
    path.write_bytes(b"")
    return path


@pytest.mark.parametrize("dtype", ["int8", "uint8", "int16", "uint32", "int32", "int64", "uint64", "float64"])
def test_r39_data_types_are_read_exactly(tmp_path: Path, dtype: str) -> None:
    data = np.arange(12).reshape(3, 4).astype(dtype)
    images = RasterDataset(write_raster(tmp_path / "a.tif", data))
    reading = images.read(Query(images.scenes()[0].geobox))
    np.testing.assert_array_equal(reading.image, data[None])


def test_r39_complex_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="complex64"):
        RasterDataset(write_raster(tmp_path / "a.tif", np.zeros((3, 3), "complex64")))


def test_r40_a_huge_grid_of_bands_is_indexed_without_reading_it(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    with rasterio.open(
        path, "w", driver="GTiff", width=60_000, height=60_000, count=1, dtype="uint8", crs="EPSG:32612",
        transform=NORTH_UP, tiled=True, sparse_ok=True, compress="deflate",
    ):  # fmt: skip
        pass
    images = RasterDataset(path)
    grid = images.scenes()[0].geobox
    assert images.read(Query(grid[:64, :64])).valid.all()
    with pytest.raises(MemoryError):
        images.read(Query(grid))


@pytest.mark.parametrize("name", ["ä b.tif", "🛰.tif", "a#b?c:d.tif", "x." + "y" * 180 + ".tif", "CON.tif"])
def test_r48_odd_paths_work(tmp_path: Path, name: str) -> None:
    images = RasterDataset(write_raster(tmp_path / name, ramp(3, 3)))
    np.testing.assert_array_equal(images.read(Query(images.scenes()[0].geobox)).image[0], ramp(3, 3))  # type: ignore[index]


def test_r48_paths_that_cannot_be_are_named(tmp_path: Path) -> None:
    loop = tmp_path / "loop.tif"
    os.symlink(loop, loop)
    for path in (loop, tmp_path / ("n" * 300 + ".tif"), tmp_path / "gone.tif"):
        with pytest.raises(CannotRead, match="no such file or folder"):
            RasterDataset(path)
    with pytest.raises(BadInput, match="no file found"):
        RasterDataset(tmp_path / "*.jp2")


def test_home_folder_globs_and_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    for n in (2, 1):
        write_raster(tmp_path / "deep" / f"s_b{n}.tif", ramp(3, 3) + n)
    (tmp_path / "deep" / "notes.txt").write_text("no raster")
    for paths in ("~/deep", tmp_path / "deep" / "*.tif", str(tmp_path / "deep/s_b[12].tif")):
        assert [b.name for b in RasterDataset(paths).bands] == ["b1", "b2"]


def test_r17_missing_after_indexing_names_the_file(tmp_path: Path) -> None:
    path = write_raster(tmp_path / "a.tif", ramp(3, 3))
    images = RasterDataset(path)
    grid = images.scenes()[0].geobox
    path.unlink()
    with pytest.raises(CannotRead, match=r"gone.*a\.tif"):
        images.read(Query(grid))


def test_r18_replaced_after_indexing_names_the_file(tmp_path: Path) -> None:
    path = write_raster(tmp_path / "a.tif", ramp(3, 3))
    images = RasterDataset(path)
    grid = images.scenes()[0].geobox
    images.read(Query(grid))
    write_raster(path, ramp(3, 3) + 9, compress="deflate")
    with pytest.raises(CannotRead, match=r"replaced.*a\.tif"):
        images.read(Query(grid))


def test_labels_take_names_from_the_file_and_colours_from_the_palette(tmp_path: Path) -> None:
    data = np.array([[1, 2, 255], [2, 0, 9]], "uint8")
    path = write_raster(
        tmp_path / "l.tif", data, nodata=255, colormap={1: (1, 2, 3), 2: (4, 5, 6), 9: (7, 8, 9)}
    )
    names = "".join(f"<Category>{n}</Category>" for n in ("NA", "Water", "Wood"))
    Path(f"{path}.aux.xml").write_text(
        f'<PAMDataset><PAMRasterBand band="1"><CategoryNames>{names}</CategoryNames></PAMRasterBand></PAMDataset>'
    )
    labels = RasterDataset(path)
    assert labels.kind == "labels"
    assert labels.classes is not None
    assert labels.classes.names == ("Water", "Wood")
    assert labels.classes.colors == ((1, 2, 3), (4, 5, 6))
    reading = labels.read(Query(labels.scenes()[0].geobox))
    assert reading.image is None
    assert reading.mask is not None
    assert reading.mask.tolist() == [[0, 1, IGNORE_INDEX], [1, IGNORE_INDEX, IGNORE_INDEX]]
    np.testing.assert_array_equal(reading.valid, reading.mask != IGNORE_INDEX)


def test_values_outside_the_class_table_are_told_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = write_raster(tmp_path / "l.tif", np.array([[1, 7], [7, 2]], "uint8"))
    labels = RasterDataset(path, classes={1: "a", 2: "b"})
    for _ in range(2):
        labels.read(Query(labels.scenes()[0].geobox))
    assert caplog.text.count("value 7 is no class (2 pixels here)") == 1


def test_labels_without_names_take_their_values(tmp_path: Path) -> None:
    path = write_raster(tmp_path / "l.tif", np.array([[11, 41], [95, 255]], "uint8"), nodata=255)
    labels = RasterDataset(path, kind="labels")
    assert labels.classes is not None
    assert labels.classes.values == (11, 41, 95)


def test_r56_classes_beyond_a_byte_never_wrap(tmp_path: Path) -> None:
    path = write_raster(tmp_path / "l.tif", np.array([[300, -1], [44, 2]], "int16"))
    labels = RasterDataset(path, kind="labels")
    assert labels.classes is not None
    assert labels.classes.values == (-1, 2, 44, 300)
    reading = labels.read(Query(labels.scenes()[0].geobox))
    assert reading.mask is not None
    assert labels.classes.to_value(reading.mask, 0).tolist() == [[300, -1], [44, 2]]


def test_labels_must_be_whole_numbers(tmp_path: Path) -> None:
    path = write_raster(tmp_path / "l.tif", np.array([[1.5, 2], [3, 4]], "float32"))
    with pytest.raises(BadLabels, match="whole numbers"):
        RasterDataset(path, kind="labels")


def test_images_and_labels_in_one_folder_are_told_apart(tmp_path: Path) -> None:
    write_raster(tmp_path / "image.tif", ramp(3, 3, dtype="uint8"))
    write_raster(tmp_path / "labels.tif", ramp(3, 3, dtype="uint8"), colormap={1: (1, 2, 3)})
    with pytest.raises(BadInput, match=r"labels\.tif"):
        RasterDataset(tmp_path)


def test_nodata_given_holds_instead_of_the_declared_one(tmp_path: Path) -> None:
    path = write_raster(tmp_path / "a.tif", np.array([[1, 2], [3, 4]], "uint8"), nodata=1)
    images = RasterDataset(path, nodata=4)
    assert images.read(Query(images.scenes()[0].geobox)).valid.tolist() == [[True, True], [True, False]]


def test_explain_names_the_file_and_the_kernel(tmp_path: Path) -> None:
    path = write_raster(tmp_path / "a.tif", ramp(9, 9))
    images = RasterDataset(path)
    text = images.explain(Query(images.scenes()[0].geobox))
    assert str(path) in text
    assert "slice" in text
