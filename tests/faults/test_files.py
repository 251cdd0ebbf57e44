"""Files that are damaged, replaced or odd, through the dataset, a prediction and the command line."""

from __future__ import annotations

import logging
import os
import re
import signal
import struct
import tracemalloc
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import rasterio
from affine import Affine
from rasterio.windows import Window

from geotoolbox.cli.main import main
from geotoolbox.core.query import Query
from geotoolbox.datasets import RasterDataset
from geotoolbox.errors import BadInput, CannotAlign, CannotRead, TooLarge
from geotoolbox.models import save_bundle
from geotoolbox.prediction import PredictionResult, PredictOptions, predict_scene
from geotoolbox.transforms.statistics import compute_statistics
from tests.make import NORTH_UP, UTM12, ramp, write_raster
from tests.models.test_bundle import bundle
from tests.prediction.scenes import Identity


@pytest.fixture
def run_main() -> Iterator[Callable[[list[str]], int]]:
    """The command line in this process, which sets up logging and signals for a process of its own."""
    engine, numbers = logging.getLogger("geotoolbox"), (signal.SIGINT, signal.SIGTERM)
    handlers, level, propagate = engine.handlers[:], engine.level, engine.propagate
    before = [signal.getsignal(number) for number in numbers]
    yield main
    engine.handlers[:], engine.propagate = handlers, propagate
    engine.setLevel(level)
    for number, old in zip(numbers, before, strict=True):
        signal.signal(number, old)


OPTIONS = PredictOptions(threads=1, block_px=64)
EAST = NORTH_UP @ Affine.translation(128, 0)


def _image(path: Path, affine: Affine = NORTH_UP, names: tuple[str, str] = ("b0", "b1"), **profile: object) -> np.ndarray:  # fmt: skip
    data = np.random.default_rng(7).integers(1, 9999, (2, 128, 128)).astype("uint16")
    write_raster(path, data, nodata=0, names=names, transform=affine, tiled=True, blockxsize=64, blockysize=64, compress="deflate", **profile)  # fmt: skip
    return data


def _labels(path: Path) -> np.ndarray:
    with rasterio.open(path) as source:
        return source.read(1)


def _spoil_block(path: Path) -> None:
    """Overwrite the packed bytes of the block in the lower right corner."""
    with rasterio.open(path) as source:
        offset, size = (int(source.get_tag_item(f"BLOCK_{w}_1_1", "TIFF", bidx=1)) for w in ("OFFSET", "SIZE"))  # fmt: skip
    with path.open("r+b") as stream:
        stream.seek(offset)
        stream.write(b"\xff" * size)
    os.utime(path)


def _predict_beside(
    folder: Path, spoil: Callable[[Path], object]
) -> tuple[PredictionResult, np.ndarray, np.ndarray]:
    """Predict two scenes side by side, the eastern one spoilt after it was indexed."""
    data = _image(folder / "west.tif")
    _image(folder / "east.tif", EAST)
    images = RasterDataset([folder / "west.tif", folder / "east.tif"])
    spoil(folder / "east.tif")
    result = predict_scene(images, Identity(), folder / "map.tif", options=OPTIONS)
    return result, _labels(folder / "map.tif"), np.array([10, 20])[data.argmax(0)]


SPOILS: dict[str, tuple[Callable[[Path], object], str]] = {
    "r15": (lambda p: p.write_bytes(b""), r"east\.tif"),
    "r16": (lambda p: p.write_text("<!DOCTYPE html><html>not found</html>"), r"east\.tif"),
    "r17": (lambda p: p.unlink(), r"east\.tif"),
    "r18": (lambda p: write_raster(p, ramp(128, 128)), r"replaced.*east\.tif"),
}


@pytest.mark.parametrize("fault", SPOILS)
def test_r15_r16_r17_r18_a_file_that_changed_is_nodata_and_listed(tmp_path: Path, fault: str) -> None:
    spoil, words = SPOILS[fault]
    result, found, expected = _predict_beside(tmp_path, spoil)
    assert result.failed
    assert all(re.search(words, failure.reason) for failure in result.failed)
    assert found.shape == (128, 256)
    np.testing.assert_array_equal(found[:, :96], expected[:, :96])
    assert (found[:, 160:] == 255).all()


def test_r14_a_corrupt_block_is_nodata_and_listed(tmp_path: Path) -> None:
    data = _image(tmp_path / "a.tif", INTERLEAVE="BAND")
    images = RasterDataset(tmp_path / "a.tif")
    before = (tmp_path / "a.tif").stat()
    _spoil_block(tmp_path / "a.tif")
    os.utime(tmp_path / "a.tif", ns=(before.st_atime_ns, before.st_mtime_ns))
    result = predict_scene(images, Identity(), tmp_path / "map.tif", options=OPTIONS)
    found = _labels(tmp_path / "map.tif")
    assert result.failed
    assert "a.tif" in result.failed[0].reason
    assert (found[64:, 64:] == 255).all(), "the corrupt block"
    sound = found != 255
    assert sound[:32, :32].all()
    np.testing.assert_array_equal(found[sound], np.array([10, 20])[data.argmax(0)][sound])


def test_r13_r14_the_command_ends_with_3_and_with_strict_makes_no_map(
    tmp_path: Path, run_main: Callable[[list[str]], int], capsys: pytest.CaptureFixture[str]
) -> None:
    _image(tmp_path / "a.tif", names=("red", "nir"), INTERLEAVE="BAND")
    _spoil_block(tmp_path / "a.tif")
    model = save_bundle(tmp_path / "m.gtb", bundle())
    words = ["predict", "--model", str(model), "--images", str(tmp_path / "a.tif"), "--device", "cpu"]
    assert run_main([*words, "--output", str(tmp_path / "strict.tif"), "--strict"]) == 3
    assert not (tmp_path / "strict.tif").exists()
    assert "a.tif" in capsys.readouterr().err
    assert run_main([*words, "--output", str(tmp_path / "map.tif")]) == 3
    assert "tiles failed and are nodata" in capsys.readouterr().err
    assert (_labels(tmp_path / "map.tif")[64:, 64:] == 255).all()


@pytest.mark.parametrize("job", ["predict", "inspect"])
def test_s05_a_pointer_named_tif_needs_allow_vrt_on_the_command_line(
    tmp_path: Path, run_main: Callable[[list[str]], int], capsys: pytest.CaptureFixture[str], job: str
) -> None:
    path = tmp_path / "innocent.tif"
    path.write_text('<VRTDataset rasterXSize="1" rasterYSize="1"></VRTDataset>')
    if job == "predict":
        model = save_bundle(tmp_path / "m.gtb", bundle())
        assert run_main(["predict", "--model", str(model), "--images", str(path), "--output", str(tmp_path / "m.tif")]) == 2  # fmt: skip
    else:
        run_main(["inspect", str(path)])
    captured = capsys.readouterr()
    assert "--allow-vrt" in captured.err + captured.out
    assert not (tmp_path / "m.tif").exists()


def test_r19_nan_is_one_warning_with_the_count_and_nodata_in_the_map(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    data = np.random.default_rng(7).random((2, 100, 100)).astype("float32")
    data[0, 10:13, 20:22] = np.nan
    data[1, 50, 50] = -np.inf
    images = RasterDataset(write_raster(tmp_path / "a.tif", data, names=("b0", "b1")))
    with caplog.at_level(logging.WARNING):
        predict_scene(images, Identity(), tmp_path / "map.tif", options=OPTIONS)
    assert caplog.text.count("NaN or infinite") == 1
    assert "7 values" in caplog.text
    np.testing.assert_array_equal(_labels(tmp_path / "map.tif") == 255, ~np.isfinite(data).all(0))
    statistics = compute_statistics(images)
    good = data[0][np.isfinite(data).all(0)].astype(float)
    assert statistics.mean[0] == pytest.approx(good.mean(), rel=1e-5)


def test_r22_r23_declared_fill_masks_and_alpha_are_nodata_in_the_map_and_no_statistics(
    tmp_path: Path,
) -> None:
    hole = np.zeros((100, 100), bool)
    hole[30:40, 50:70] = True
    data = np.random.default_rng(7).integers(1, 200, (2, 100, 100)).astype("float32")
    spoilt = np.where(hole, np.float32(1e6), data)
    fill = write_raster(
        tmp_path / "fill.tif", np.where(hole, np.nan, data), nodata=np.nan, names=("b0", "b1")
    )
    mask = write_raster(tmp_path / "mask.tif", spoilt, names=("b0", "b1"))
    with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True), rasterio.open(mask, "r+") as out:
        out.write_mask(~hole)
    bands = np.concatenate([np.where(hole, 255, data), data[:1], np.where(hole, 0, 255)[None]]).astype(
        "uint8"
    )
    names = ("b0", "b1", "b2", "alpha")
    alpha = write_raster(tmp_path / "alpha.tif", bands, names=names, photometric="RGB", ALPHA="YES")
    for path in (fill, mask, alpha):
        images = RasterDataset(path, bands=["b0", "b1"])
        predict_scene(images, Identity(), tmp_path / "map.tif", options=PredictOptions(threads=1))
        found = _labels(tmp_path / "map.tif")
        np.testing.assert_array_equal(found == 255, hole)
        np.testing.assert_array_equal(found[~hole], np.array([10, 20])[data.argmax(0)][~hole])
        assert compute_statistics(images).mean[0] == pytest.approx(data[0][~hole].mean(), rel=1e-5)


def test_r38_r39_odd_containers_and_types_are_named(tmp_path: Path) -> None:
    bare = tmp_path / "bare.vrt"
    bare.write_text('<VRTDataset rasterXSize="9" rasterYSize="9"></VRTDataset>')
    with pytest.raises(CannotRead, match=r"cannot be opened as a raster.*bare\.vrt.*bands"):
        RasterDataset(bare, allow_vrt=True)
    for dtype in ("complex64", "complex128", "complex_int16"):
        with pytest.raises(BadInput, match=rf"data type {dtype} is not supported.*amplitude"):
            RasterDataset(_complex(tmp_path / f"{dtype}.tif", dtype))


def _complex(path: Path, dtype: str) -> Path:
    with rasterio.open(path, "w", driver="GTiff", width=4, height=4, count=1, dtype=dtype, crs=UTM12, transform=NORTH_UP) as out:  # fmt: skip
        out.write(np.ones((1, 4, 4), "complex64"))
    return path


def test_r40_strips_are_one_warning_with_the_estimated_slowdown(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    def sparse(name: str, **profile: object) -> Path:
        with rasterio.open(tmp_path / name, "w", driver="GTiff", width=10_240, height=600, count=1, dtype="uint8",
                           crs=UTM12, transform=NORTH_UP, SPARSE_OK=True, **profile):  # fmt: skip
            return tmp_path / name

    RasterDataset(sparse("tiled.tif", tiled=True, blockxsize=256, blockysize=256))
    assert "strips" not in caplog.text
    images = RasterDataset(sparse("strips.tif", blockysize=1))
    assert caplog.text.count("stored in strips") == 1
    assert "strips.tif" in caplog.text
    assert "40 times" in caplog.text
    assert (images.read(Query(images.scenes()[0].geobox[300:302, 7000:7003])).image == 0).all()


def test_r40_bigtiff_and_many_bands_are_read_in_small_windows(tmp_path: Path) -> None:
    path = tmp_path / "big.tif"
    with rasterio.open(path, "w", driver="GTiff", width=2_000_000, height=2_000_000, count=1, dtype="uint8", crs=UTM12,
                       transform=Affine(1, 0, 0, 0, -1, 2_000_000), BIGTIFF="YES", SPARSE_OK=True, tiled=True,
                       blockxsize=16384, blockysize=16384) as out:  # fmt: skip
        out.write(np.full((1, 3, 4), 9, "uint8"), window=Window(1_999_000, 1_999_000, 4, 3))
    images = RasterDataset(path, footprints=False)
    grid = images.scenes()[0].geobox
    assert images.read(Query(grid[1_999_000:1_999_003, 1_999_000:1_999_004])).image.tolist() == [
        [[9] * 4] * 3
    ]
    with pytest.raises(TooLarge, match=r"big\.tif.*2000000"):
        images.read(Query(grid))
    cube = np.arange(10_000, dtype="uint16")[:, None, None] * np.ones((1, 2, 2), "uint16")
    many = RasterDataset(write_raster(tmp_path / "cube.tif", cube))
    reading = many.read(Query(many.scenes()[0].geobox))
    np.testing.assert_array_equal(reading.image, cube)


@pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")  # the picture has no grid
def test_s08_a_picture_of_billions_of_pixels_is_refused_before_its_memory(tmp_path: Path) -> None:
    side = 60_000
    head = struct.pack(">IIBBBBB", side, side, 8, 0, 0, 0, 0)
    rows = zlib.compressobj(9)
    packed = b"".join(rows.compress(bytes(side + 1)) for _ in range(20)) + rows.flush()
    chunks = [(b"IHDR", head), (b"IDAT", packed), (b"IEND", b"")]
    png = b"".join(
        struct.pack(">I", len(d)) + n + d + struct.pack(">I", zlib.crc32(n + d)) for n, d in chunks
    )
    (tmp_path / "bomb.png").write_bytes(b"\x89PNG\r\n\x1a\n" + png)
    tracemalloc.start()
    try:
        with pytest.raises((CannotAlign, TooLarge, CannotRead), match=r"bomb\.png"):
            RasterDataset(tmp_path / "bomb.png")
        (tmp_path / "bomb.wld").write_text("1\n0\n0\n-1\n0\n0\n")
        (tmp_path / "bomb.png.aux.xml").write_text(f"<PAMDataset><SRS>{UTM12}</SRS></PAMDataset>")
        images = RasterDataset(tmp_path / "bomb.png", kind="image")
        with pytest.raises(TooLarge, match=r"bomb\.png"):
            images.read(Query(images.scenes()[0].geobox))
        assert tracemalloc.get_traced_memory()[1] < 100e6
    finally:
        tracemalloc.stop()


def test_r48_a_trailing_dot_and_a_leading_dash_are_only_names(tmp_path: Path) -> None:
    for name in ("dot.tif.", "-x.tif", "a'b\"c.tif", "new\nline.tif"):
        path = write_raster(tmp_path / "plain.tif", ramp(4, 4)).rename(tmp_path / name)
        images = RasterDataset(path)
        np.testing.assert_array_equal(images.read(Query(images.scenes()[0].geobox)).image[0], ramp(4, 4))
