"""Alignment agrees with exact coordinates, and with gdalwarp, on every kind of grid."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from affine import Affine
from odc.geo.geobox import GeoBox

from geotoolbox.alignment import Source, plan_read, read_onto
from geotoolbox.core.header import describe
from tests.alignment.reference import exact_bilinear, exact_nearest, exact_places, gdalwarp
from tests.make import write_raster

UTM33, UTM34, WGS84 = "EPSG:32633", "EPSG:32634", "EPSG:4326"
NORTH_UP = Affine(10, 0, 500_000, 0, -10, 5_400_000)
DEGREES = Affine(0.0001, 0, 15.0, 0, -0.0001, 48.75)
INSIDE = Affine(10, 0, 500_400, 0, -10, 5_399_600)

# name: source (CRS, affine), target (CRS, affine), kind of plan for nearest
CASES: dict[str, tuple[str, Affine, str, Affine, str]] = {
    "aligned": (UTM33, NORTH_UP, UTM33, INSIDE, "slice"),
    "shifted": (UTM33, NORTH_UP, UTM33, INSIDE @ Affine.translation(0.3, 0.4), "shift"),
    "reprojected": (UTM33, NORTH_UP, UTM34, Affine(10, 0, 59_600, 0, -10, 5_417_000), "gather"),
    "finer": (UTM33, NORTH_UP, UTM33, INSIDE @ Affine.scale(0.37), "gather"),
    "finer, reprojected": (UTM33, NORTH_UP, UTM34, Affine(4, 0, 60_200, 0, -4, 5_416_000), "gather"),
    "south-up source": (UTM33, Affine(10, 0, 500_000, 0, 10, 5_395_000), UTM34, Affine(10, 0, 59_900, 0, -10, 5_416_000), "gather"),
    "south-up target": (UTM33, NORTH_UP, UTM33, Affine(10, 0, 500_403, 0, 10, 5_396_005), "shift"),
    "west-right source": (UTM33, Affine(-10, 0, 505_000, 0, -10, 5_400_000), UTM33, Affine(10, 0, 500_403, 0, -10, 5_399_605), "shift"),
    "rotated source": (UTM33, NORTH_UP @ Affine.rotation(17.0, (256, 256)), UTM33, INSIDE, "gather"),
    "rotated both": (UTM33, NORTH_UP @ Affine.rotation(17.0, (256, 256)), UTM34, Affine(10, 0, 60_200, 0, -10, 5_416_000) @ Affine.rotation(-9), "gather"),
    "geographic source": (WGS84, DEGREES, UTM33, Affine(8, 0, 500_500, 0, -8, 5_398_500), "gather"),
    "geographic target": (UTM33, NORTH_UP, WGS84, Affine(0.00012, 0, 15.008, 0, -0.00009, 48.748), "gather"),
    "not square": (UTM33, Affine(10, 0, 500_000, 0, -15, 5_400_000), UTM33, Affine(9, 0, 500_103, 0, -16, 5_399_605), "gather"),
    "web mercator": (UTM33, NORTH_UP, "EPSG:3857", Affine(15, 0, 1_670_500, 0, -15, 6_228_000), "gather"),
}  # fmt: skip


@pytest.fixture(scope="module")
def noise() -> np.ndarray:
    return np.random.default_rng(1).integers(1, 10_000, (512, 512)).astype("uint16")


def _case(name: str, folder: Path, noise: np.ndarray) -> tuple[Path, Source, GeoBox, str]:
    crs, affine, target_crs, target_affine, kind = CASES[name]
    path = write_raster(folder / "source.tif", noise, crs=crs, transform=affine)
    return path, Source.from_header(describe(path)), GeoBox((200, 230), target_affine, target_crs), kind


@pytest.mark.parametrize("name", CASES)
def test_nearest_is_exact(name: str, tmp_path: Path, noise: np.ndarray) -> None:
    path, source, target, kind = _case(name, tmp_path, noise)
    image, valid = read_onto(source, target, "nearest", keep_dtype=True)
    assert image.dtype == np.uint16
    assert plan_read(source, target, "nearest").kind == kind
    expected, inside = exact_nearest(noise, *exact_places(source.geobox, target))
    assert inside.mean() > 0.3, "the case must overlap"
    assert np.mean(image[0] == expected) >= 0.9999
    assert np.mean(valid[0] == inside) >= 0.9999
    assert np.mean(image[0] == gdalwarp(path, target, "near")) >= 0.999


@pytest.mark.parametrize("name", CASES)
def test_bilinear_is_within_half_a_dn_of_noise(name: str, tmp_path: Path, noise: np.ndarray) -> None:
    path, source, target, _ = _case(name, tmp_path, noise)
    image, valid = read_onto(source, target, "bilinear")
    expected, inner = exact_bilinear(noise, *exact_places(source.geobox, target))
    assert inner.mean() > 0.3
    assert np.abs(image[0] - expected)[inner].max() <= 0.2
    assert valid[0][inner].all()
    assert np.abs(image[0] - gdalwarp(path, target, "bilinear"))[inner].max() <= 0.5


@pytest.mark.parametrize("name", ["shifted", "reprojected", "rotated both", "geographic target"])
def test_cubic_agrees_with_gdalwarp(name: str, tmp_path: Path, noise: np.ndarray) -> None:
    path, source, target, _ = _case(name, tmp_path, noise)
    image, _ = read_onto(source, target, "cubic")
    u, v = exact_places(source.geobox, target)
    inner = (u > 3) & (v > 3) & (u < 509) & (v < 509)
    assert np.abs(image[0] - gdalwarp(path, target, "cubic"))[inner].max() <= 0.7


@pytest.mark.parametrize("factor", [2.0, 3.0, 2.5])
def test_a_coarser_target_gets_exact_means(factor: float, tmp_path: Path, noise: np.ndarray) -> None:
    path = write_raster(tmp_path / "a.tif", noise, crs=UTM33, transform=NORTH_UP)
    source = Source.from_header(describe(path))
    size = int(512 / factor)
    target = GeoBox((size, size), NORTH_UP @ Affine.scale(factor), UTM33)
    image, valid = read_onto(source, target, "bilinear")
    weights = np.zeros((size, 512))
    for row in range(size):
        for col in range(512):
            weights[row, col] = max(0.0, min((row + 1) * factor, col + 1) - max(row * factor, col)) / factor
    assert np.allclose(image[0], weights @ noise.astype(float) @ weights.T, atol=1e-2)
    assert valid.all()
    warped = gdalwarp(path, target, "average")
    assert np.abs(image[0] - warped).mean() <= (0.5 if factor % 1 == 0 else 5)


def test_coarser_and_reprojected_is_close_to_gdal_average(tmp_path: Path) -> None:
    rows, cols = np.mgrid[0:512, 0:512]
    smooth = (5000 + 3000 * np.sin(cols / 40) + 1500 * np.cos(rows / 31)).astype("float32")
    path = write_raster(tmp_path / "a.tif", smooth, crs=UTM33, transform=NORTH_UP)
    source = Source.from_header(describe(path))
    target = GeoBox((60, 60), Affine(50, 0, 60_200, 0, -50, 5_416_000), UTM34)
    image, _ = read_onto(source, target, "bilinear")
    u, v = exact_places(source.geobox, target)
    inner = (u > 9) & (v > 9) & (u < 503) & (v < 503)
    assert plan_read(source, target).kind == "area"
    assert inner.mean() > 0.5
    assert np.abs(image[0] - gdalwarp(path, target, "average"))[inner].max() < 60
    assert np.abs(image[0] - exact_bilinear(smooth, u, v)[0])[inner].max() < 25
