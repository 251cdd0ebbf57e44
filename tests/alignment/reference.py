"""The reference of all alignment tests: exact coordinates for every pixel, and gdalwarp."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pyproj
import pytest
import rasterio
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox

Floats = NDArray[np.float64]


def exact_places(source: GeoBox, target: GeoBox) -> tuple[Floats, Floats]:
    """Transform the centre of every target pixel, and return source columns and rows."""
    rows, cols = np.mgrid[0 : target.shape[0], 0 : target.shape[1]] + 0.5
    a, s = target.affine, source.affine
    x, y = a.a * cols + a.b * rows + a.c, a.d * cols + a.e * rows + a.f
    if source.crs != target.crs:
        forward = pyproj.Transformer.from_crs(str(target.crs), str(source.crs), always_xy=True)
        x, y = forward.transform(x, y)
    if source.crs.geographic:
        middle = s.c + s.a * source.shape[1] / 2
        x = x - 360 * np.round((x - middle) / 360)
    x, y = x - s.c, y - s.f
    det = s.a * s.e - s.b * s.d
    return (s.e * x - s.b * y) / det, (s.a * y - s.d * x) / det


def exact_nearest(data: NDArray[Any], u: Floats, v: Floats) -> tuple[NDArray[Any], NDArray[np.bool_]]:
    """Return (values, inside) of the pixel that each place falls in."""
    col, row = np.floor(u + 1e-6).astype(int), np.floor(v + 1e-6).astype(int)
    inside = (col >= 0) & (row >= 0) & (col < data.shape[1]) & (row < data.shape[0])
    return np.where(inside, data[np.where(inside, row, 0), np.where(inside, col, 0)], 0), inside


def exact_bilinear(data: NDArray[Any], u: Floats, v: Floats) -> tuple[Floats, NDArray[np.bool_]]:
    """Return (values, far from the source's edges)."""
    height, width = data.shape
    inner = (u > 1) & (v > 1) & (u < width - 1) & (v < height - 1)
    x, y = np.where(inner, u, 1.5) - 0.5, np.where(inner, v, 1.5) - 0.5
    c, r = np.floor(x).astype(int), np.floor(y).astype(int)
    fx, fy = x - c, y - r
    c1, r1 = np.minimum(c + 1, width - 1), np.minimum(r + 1, height - 1)
    d = data.astype(float)
    top = d[r, c] * (1 - fx) + d[r, c1] * fx
    bottom = d[r1, c] * (1 - fx) + d[r1, c1] * fx
    return top * (1 - fy) + bottom * fy, inner


def gdalwarp(path: Path, target: GeoBox, resampling: str, *options: str) -> NDArray[np.float32]:
    """Warp a file with exact coordinates and without GDAL's smoothing."""
    if shutil.which("gdalwarp") is None:
        pytest.skip("gdalwarp is not installed")
    out = path.with_name(f"{path.stem}-{resampling}-warped.tif")
    like = path.with_name(f"{path.stem}-{resampling}-like.tif")
    profile = {
        "driver": "GTiff",
        "count": 1,
        "dtype": "float32",
        "width": target.shape[1],
        "height": target.shape[0],
    }
    with rasterio.open(out, "w", crs=str(target.crs), transform=target.affine, **profile):
        pass
    like.unlink(missing_ok=True)
    steps = ["-et", "0", "-wo", "XSCALE=1", "-wo", "YSCALE=1", "-r", resampling, *options]
    subprocess.run(["gdalwarp", "-q", *steps, str(path), str(out)], check=True, capture_output=True)
    with rasterio.open(out) as warped:
        result: NDArray[np.float32] = warped.read(1)
    return result
