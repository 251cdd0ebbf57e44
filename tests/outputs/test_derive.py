"""Burnt labels, indices and stacks, written block by block."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import rasterio

from geotoolbox.datasets import RasterDataset
from geotoolbox.errors import BadInput, BadLabels
from geotoolbox.prediction.derive import compute_indices, rasterize_labels, stack_layers
from tests.make import write_raster


def image(folder: Path) -> tuple[RasterDataset, np.ndarray]:
    data = np.random.default_rng(0).integers(1, 4000, (2, 30, 40)).astype("uint16")
    data[:, :3] = 0
    path = write_raster(folder / "image.tif", data, nodata=0, names=("red", "nir"))
    return RasterDataset(path, kind="image"), data.astype(float)


def test_ndvi_equals_its_formula_and_is_nan_without_data(tmp_path: Path) -> None:
    layer, (red, nir) = image(tmp_path)
    compute_indices(layer, ["NDVI", "ratio = nir / red"], tmp_path / "i.tif")
    with np.errstate(invalid="ignore"):
        expected = np.stack([(nir - red) / (nir + red), nir / red])
    with rasterio.open(tmp_path / "i.tif") as raster:
        np.testing.assert_allclose(raster.read(), expected, rtol=1e-5)
        assert np.isnan(raster.nodata) and [d.lower() for d in raster.descriptions] == ["ndvi", "ratio"]


def test_stack_keeps_values(tmp_path: Path) -> None:
    layer, data = image(tmp_path)
    stack_layers(layer, tmp_path / "s.tif")
    data[:, :3] = np.nan
    with rasterio.open(tmp_path / "s.tif") as raster:
        np.testing.assert_array_equal(raster.read(), data)
        assert raster.descriptions == ("red", "nir")


def test_rasterize_writes_class_values_not_indices(tmp_path: Path) -> None:
    values = np.array([[11, 41], [41, 0]], "uint8").repeat(8, 0).repeat(8, 1)
    source = write_raster(tmp_path / "labels.tif", values, nodata=0)
    labels = RasterDataset(source, kind="labels", classes={11: "water", 41: "forest"})
    rasterize_labels(labels, labels.scenes()[0].geobox, tmp_path / "m.tif", nodata=0)
    with rasterio.open(tmp_path / "m.tif") as raster:
        np.testing.assert_array_equal(raster.read(1), values)


def test_bad_input_is_named(tmp_path: Path) -> None:
    layer, _ = image(tmp_path)
    with pytest.raises(BadLabels, match="no classes"):
        rasterize_labels(layer, layer.scenes()[0].geobox, tmp_path / "m.tif")
    with pytest.raises(BadInput, match="no index"):
        compute_indices(layer, [], tmp_path / "m.tif")
    assert not (tmp_path / "m.tif").exists()
