"""Plain bytes read without GDAL are the pixels that GDAL reads."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import rasterio
from affine import Affine
from rasterio.windows import Window

from geotoolbox.core.plain import PlainBlocks
from geotoolbox.datasets import RasterDataset

WINDOWS = ((0, 0, 90, 70), (30, 10, 40, 40), (63, 31, 2, 2), (0, 0, 1, 1))  # row, column, height, width


def _write(path: Path, data: np.ndarray, **options: object) -> str:
    profile = {
        "driver": "GTiff", "count": len(data), "height": data.shape[1], "width": data.shape[2],
        "dtype": data.dtype.name, "crs": "EPSG:32612", "transform": Affine(30, 0, 3e5, 0, -30, 4e6), "tiled": True,
        "blockxsize": 32, "blockysize": 32, **options,
    }  # fmt: skip
    with rasterio.open(path, "w", **profile) as out:
        out.write(data)
    return str(path)


def _data(dtype: str) -> np.ndarray:
    return np.random.default_rng(2).integers(1, 120, (3, 90, 70)).astype(dtype)


@pytest.mark.parametrize("interleave", ["pixel", "band"])
@pytest.mark.parametrize("dtype", ["uint8", "int16", "uint16", "float32"])
def test_windows_are_those_of_gdal(tmp_path: Path, dtype: str, interleave: str) -> None:
    path = _write(tmp_path / "a.tif", _data(dtype), interleave=interleave)
    with rasterio.open(path) as source:
        plain = PlainBlocks.of(source, path)
        assert plain is not None
        for row, col, height, width in WINDOWS:
            for bands in ((1, 2, 3), (3, 1)):
                truth = source.read(bands, window=Window(col, row, width, height))
                np.testing.assert_array_equal(plain.read(bands, row, col, height, width), truth)
                out = np.full((len(bands), height, width), -1, dtype="float32")
                assert plain.copy(bands, row, col, out, 0) is (dtype != "float32")
                np.testing.assert_array_equal(out, truth)
        plain.close()


@pytest.mark.parametrize("fill", [0, 255, 77])
def test_a_fill_value_is_met_where_it_is(tmp_path: Path, fill: int) -> None:
    data = _data("uint8") % 60 + 1
    data[1, 40, 33] = fill
    path = _write(tmp_path / "a.tif", data, nodata=fill)
    with rasterio.open(path) as source:
        plain = PlainBlocks.of(source, path)
        assert plain is not None
        out = np.empty((3, 20, 20), dtype="float32")
        assert plain.copy((1, 2, 3), 30, 20, out, fill) is False
        assert plain.copy((1, 2, 3), 0, 20, out, fill) is True
        assert plain.copy((1, 2, 3), 30, 20, out, 0.5) is True  # no uint8 is that
        plain.close()
    dataset = RasterDataset(path)
    sample = dataset[dataset.scenes()[0].geobox]
    assert int((~sample["valid"]).sum()) == 1
    assert sample["image"][:, 40, 33].tolist()[1] == 0
    assert not bool(sample["valid"][40, 33])


def test_what_is_no_plain_bytes_stays_with_gdal(tmp_path: Path) -> None:
    packed = _write(tmp_path / "packed.tif", _data("uint16"), compress="deflate")
    sparse = str(tmp_path / "sparse.tif")
    with rasterio.open(_write(tmp_path / "a.tif", _data("uint16"))) as whole:
        profile = {**whole.profile, "sparse_ok": True}
    with rasterio.open(sparse, "w", **profile) as out:
        out.write(_data("uint16")[:, :32, :32], window=Window(0, 0, 32, 32))
    with rasterio.open(packed) as source:
        assert PlainBlocks.of(source, packed) is None
    with rasterio.open(sparse) as source:
        plain = PlainBlocks.of(source, sparse)
        assert plain is not None
        room = np.empty((3, 32, 32), dtype="float32")
        assert plain.copy((1, 2, 3), 0, 0, room, None) is True
        assert plain.copy((1, 2, 3), 32, 32, room, None) is None
        assert plain.read((1, 2, 3), 32, 32, 32, 32) is None
        plain.close()
