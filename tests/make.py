"""Small inputs that tests make for themselves."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from affine import Affine
from numpy.typing import NDArray

UTM12 = "EPSG:32612"
NORTH_UP = Affine(30.0, 0.0, 300_000.0, 0.0, -30.0, 4_140_000.0)


def write_raster(
    path: Path,
    data: NDArray[Any],
    *,
    crs: str | None = UTM12,
    transform: Affine = NORTH_UP,
    nodata: float | None = None,
    names: Sequence[str] = (),
    colormap: dict[int, tuple[int, int, int]] | None = None,
    **profile: Any,
) -> Path:
    """Write (H, W) or (B, H, W) data as a GeoTIFF and return its path."""
    bands = data if data.ndim == 3 else data[None]
    path.parent.mkdir(parents=True, exist_ok=True)
    with rasterio.open(
        path, "w", driver="GTiff", height=bands.shape[1], width=bands.shape[2], count=bands.shape[0],
        dtype=bands.dtype, crs=crs, transform=transform, nodata=nodata, **profile,
    ) as out:  # fmt: skip
        out.write(bands)
        for number, name in enumerate(names, start=1):
            out.set_band_description(number, name)
        if colormap:
            out.write_colormap(1, colormap)
    return path


def ramp(height: int, width: int, dx: float = 3.0, dy: float = 5.0, dtype: str = "uint16") -> NDArray[Any]:
    """An image whose value tells the place: ``dx * column + dy * row``."""
    rows, columns = np.mgrid[0:height, 0:width]
    return (dx * columns + dy * rows).astype(dtype)
