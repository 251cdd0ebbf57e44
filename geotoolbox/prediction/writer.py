"""Blocks on disk, and the rasters that they make together."""

from __future__ import annotations

import hashlib
import shutil
import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import rasterio
from affine import Affine
from numpy.typing import NDArray
from rasterio.errors import RasterioError
from rasterio.windows import Window as RasterWindow

from geotoolbox.core.files import NEARLY_FULL_BYTES, atomic_path, free_bytes, sha256_of
from geotoolbox.errors import CannotWrite, NoSpace, explain
from geotoolbox.prediction.grids import Target
from geotoolbox.prediction.lattice import Window

__all__ = ["BlockFiles", "Layer", "Planes", "write_mosaic"]

Planes = NDArray[np.integer]
TILE_PX = 512
HOST = "h" + hashlib.sha256(socket.gethostname().encode()).hexdigest()[:8]  # two machines, one process number
PLAIN = Affine(1.0, 0.0, 1.0, 0.0, -1.0, 0.0)  # blocks need no georeference; none at all would warn


class Layer:
    """One output: its name, data type, number of bands and nodata value."""

    __slots__ = ("bands", "dtype", "name", "nodata")

    def __init__(self, name: str, dtype: str, bands: int, nodata: int) -> None:
        self.name, self.dtype, self.bands, self.nodata = name, dtype, bands, nodata


class BlockFiles:
    """The files of finished blocks in a working folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        folder.mkdir(parents=True, exist_ok=True)

    def path(self, layer: str, row: int, column: int) -> Path:
        """Return where the block of a layer is: a folder for each row of blocks keeps folders small."""
        return self._folder / str(row) / f"{layer}-{column}.tif"

    def clear(self) -> None:
        """Remove all blocks."""
        shutil.rmtree(self._folder)
        self._folder.mkdir()

    def clear_parts(self) -> None:
        """Remove what a killed process left unfinished."""
        for path in self._folder.glob("*/*.part*"):
            path.unlink(missing_ok=True)

    def write(self, layer: Layer, row: int, column: int, data: Planes) -> str:
        """Write a block (bands, rows, columns), read it back, rename it; return its SHA-256.

        Raises:
            NoSpace: When the disk is full.
            CannotWrite: When the file does not hold what was written.
        """
        path = self.path(layer.name, row, column)
        side = min(TILE_PX, -(-max(data.shape[1:]) // 16) * 16)
        profile = {
            "driver": "GTiff", "count": data.shape[0], "height": data.shape[1], "width": data.shape[2],
            "dtype": layer.dtype, "nodata": layer.nodata, "tiled": True, "blockxsize": side, "blockysize": side,
            "compress": "deflate", "zlevel": 1, "interleave": "band", "transform": PLAIN,
        }  # fmt: skip
        path.parent.mkdir(exist_ok=True)
        with (
            atomic_path(path, lambda part: _same(part, data, path), tag=HOST, sweep=False) as part,
            _clear_errors(path),
        ):
            with rasterio.open(part, "w", **profile) as out:
                out.write(data)
        return sha256_of(path)

    def whole(self, row: int, column: int, checksums: Mapping[str, str], layers: list[Layer]) -> bool:
        """Tell whether all files of a block are there and are what was written."""
        for layer in layers:
            path = self.path(layer.name, row, column)
            if not path.is_file() or sha256_of(path) != checksums.get(layer.name):
                return False
        return True


def write_mosaic(
    path: Path, target: Target, layer: Layer, files: BlockFiles, blocks: list[tuple[int, int, Window]]
) -> None:
    """Put the blocks of one layer together into a tiled GeoTIFF, strip by strip.

    What no block covers gets the nodata value.
    """
    area, grid = target.area, target.geobox
    profile = {
        "driver": "GTiff", "count": layer.bands, "height": area.height, "width": area.width, "dtype": layer.dtype,
        "nodata": layer.nodata, "crs": None if grid.crs is None else grid.crs.to_wkt(), "transform": grid.affine,
        "tiled": True, "blockxsize": TILE_PX, "blockysize": TILE_PX, "compress": "deflate", "zlevel": 1,
        "interleave": "band", "bigtiff": "if_safer",
    }  # fmt: skip
    with atomic_path(path) as part, _clear_errors(path), rasterio.open(part, "w", **profile) as out:
        for strip, near in _strips(area, blocks):
            for window in _tiles(strip, [w for _, _, w in near]):
                data = _gather(window, layer, files, near)
                out.write(data, window=RasterWindow.from_slices(*window.within(area)))


def _strips(
    area: Window, blocks: list[tuple[int, int, Window]]
) -> Iterator[tuple[Window, list[tuple[int, int, Window]]]]:
    """Cut an area into strips of tiles, each with the blocks (in order, top to bottom) that it meets."""
    first = 0
    for top in range(area.top, area.bottom, TILE_PX):
        strip = Window(top, min(top + TILE_PX, area.bottom), area.left, area.right)
        while first < len(blocks) and blocks[first][2].bottom <= strip.top:
            first += 1
        last = first
        while last < len(blocks) and blocks[last][2].top < strip.bottom:
            last += 1
        yield strip, blocks[first:last]


def _gather(window: Window, layer: Layer, files: BlockFiles, blocks: list[tuple[int, int, Window]]) -> Planes:
    data = np.full((layer.bands, *window.shape), layer.nodata, dtype=layer.dtype)
    for row, column, block in blocks:
        shared = block & window
        if shared.pixels:
            with rasterio.open(files.path(layer.name, row, column)) as source:
                there = RasterWindow.from_slices(*shared.within(block))
                data[(slice(None), *shared.within(window))] = source.read(window=there)
    return data


def _tiles(strip: Window, blocks: list[Window]) -> Iterator[Window]:
    """Cut a strip into windows of whole output tiles, about as wide as a block."""
    side = max(1, max((b.width for b in blocks), default=TILE_PX) // TILE_PX) * TILE_PX
    for left in range(strip.left, strip.right, side):
        yield Window(strip.top, strip.bottom, left, min(left + side, strip.right))


def _same(part: Path, data: Planes, path: Path) -> None:
    with rasterio.open(part) as written:
        same = all(np.array_equal(written.read(i + 1), plane) for i, plane in enumerate(data))
    if not same:
        raise CannotWrite(
            explain("a block was not written as it is", where=path, fix="check the disk, then run again")
        )


@contextmanager
def _clear_errors(path: Path) -> Iterator[None]:
    try:
        yield
    except RasterioError as error:
        found = " ".join(str(e) for e in (error, error.__cause__) if e is not None)
        free = free_bytes(path.parent)
        kind = NoSpace if free < NEARLY_FULL_BYTES or "no space" in found.lower() else CannotWrite
        raise kind(
            explain(
                "a working file cannot be written",
                where=path,
                got=f"{found} ({free:,} bytes free)",
                fix="free some space, then run the same command again: finished blocks are kept",
            )
        ) from error
