"""Small copies of files without overviews, so that looking at a whole scene does not read it through each time."""

from __future__ import annotations

import math
import tempfile
import threading
from dataclasses import replace
from pathlib import Path

import numpy as np
import rasterio
from affine import Affine
from odc.geo.geobox import GeoBox
from rasterio.enums import Resampling

from geotoolbox.alignment import Source
from geotoolbox.core.opening import handles

__all__ = ["QuickLooks"]

_MOST_PX = 4_000_000
_LEAST_PX = 512 * 512


class QuickLooks:
    """Makes small copies when they are first needed, in a temporary folder that goes with this object.

    Nothing is written beside the data. Images are averaged, of classes every n-th pixel is taken.
    """

    def __init__(self) -> None:
        self._folder: tempfile.TemporaryDirectory[str] | None = None
        self._made: dict[tuple[object, ...], Source] = {}
        self._lock = threading.Lock()

    @staticmethod
    def factor(source: Source) -> int:
        """Return how many pixels a side become one in the copy; 1 where none is needed."""
        height, width = source.geobox.shape
        if height * width <= _LEAST_PX:
            return 1
        return max(2, math.ceil(math.sqrt(height * width / _MOST_PX)))

    def of(self, source: Source) -> Source:
        """Return the copy of a source.

        Raises:
            CannotRead: When the file cannot be opened.
        """
        key = (source.path, source.bands, source.nodata, source.categorical)
        with self._lock:
            if key not in self._made:
                if self._folder is None:
                    self._folder = tempfile.TemporaryDirectory(prefix="geotoolbox-looks-")
                self._made[key] = _copy(source, Path(self._folder.name) / f"{len(self._made)}.tif")
            return self._made[key]


def _copy(source: Source, path: Path) -> Source:
    factor = QuickLooks.factor(source)
    height, width = (int(n) for n in source.geobox.shape)
    shape = (math.ceil(height / factor), math.ceil(width / factor))
    how = Resampling.nearest if source.categorical else Resampling.average
    flags = {"allow_vrt": source.allow_vrt, "allow_remote": source.allow_remote}
    with handles().get(source.path, **flags) as dataset:
        data = dataset.read(list(source.bands), out_shape=(len(source.bands), *shape), resampling=how)
        mask = dataset.dataset_mask(out_shape=shape) if source.has_mask else None
    grid = GeoBox(
        shape, source.geobox.affine * Affine.scale(width / shape[1], height / shape[0]), source.geobox.crs
    )
    factors = [f for f in (2, 4, 8, 16) if max(shape) / f >= 128]
    with rasterio.Env(GDAL_TIFF_INTERNAL_MASK="YES"):
        with rasterio.open(
            path, "w", driver="GTiff", height=shape[0], width=shape[1], count=len(data), dtype=data.dtype,
            crs=str(grid.crs), transform=grid.affine, tiled=True, blockxsize=256, blockysize=256,
            nodata=_same(source.nodata),
        ) as out:  # fmt: skip
            out.write(data)
            if mask is not None:
                out.write_mask(mask)
        with rasterio.open(path, "r+") as out:
            out.build_overviews(factors, how)
    return replace(
        source, path=str(path), geobox=grid, bands=tuple(range(1, len(data) + 1)),
        overviews=tuple(factors), block_shape=(256, 256), footprint=None, allow_vrt=False, allow_remote=False,
    )  # fmt: skip


def _same(fills: tuple[float | None, ...]) -> float | None:
    """Return the one fill value of all bands, or None."""
    return fills[0] if len({str(np.float64(f)) if f is not None else "" for f in fills}) == 1 else None
