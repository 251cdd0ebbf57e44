"""Pixels of uncompressed TIFFs, read straight from the file: only the rows that are needed, and no block twice.

GDAL copies whole blocks, takes all bands of each apart and keeps them, which costs many times what a small
window needs. Where blocks are plain bytes, the rows of a window are read in one go from each block. GDAL says
where the blocks are; whatever is not plain (compression, other byte order, odd bit depths, blocks that were
never written, other platforms) stays with GDAL, and so does every error.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import rasterio
from numpy.typing import NDArray
from rasterio.enums import Interleaving

from geotoolbox.core.compiled import compiled
from geotoolbox.core.scratch import SCRATCH

__all__ = ["PlainBlocks"]

_TYPES = frozenset(
    ("uint8", "int8", "uint16", "int16", "uint32", "int32", "uint64", "int64", "float32", "float64")
)
_OWN_ORDER = b"II" if sys.byteorder == "little" else b"MM"


@compiled
def _take_apart(
    block: NDArray[Any],
    pixels: tuple[int, int, int],
    bands: NDArray[np.uintp],
    fill: Any,
    out: NDArray[Any],
    place: tuple[int, int],
) -> bool:
    """Copy some columns of rows of pixels into bands; tell whether a value of any band is the fill value.

    Args:
        block: (rows, columns × D) the bands of a pixel side by side.
        pixels: D; the first column, and the one after the last.
        bands: Which of the bands.
        fill: A value of the type of ``block``.
        out: (B, H, W).
        place: Row and column in ``out`` where they go.
    """
    depth, start, stop = pixels
    cols = stop - start
    values = np.empty(cols * depth, out.dtype)
    met = False
    for row in range(block.shape[0]):
        line = block[row, start * depth : stop * depth]
        for n in range(values.size):
            met |= line[n] == fill
            values[n] = line[n]
        for band in range(bands.size):
            goal = out[band, place[0] + row, place[1] : place[1] + cols]
            for col in range(cols):
                goal[col] = values[np.uintp(col) * np.uintp(depth) + bands[band]]
    return met


_STRIP_BYTES = (
    256 * 1024
)  # read so much at a time: it is still in the processor's own cache when it is taken apart


def _fill_in(value: float | None, dtype: np.dtype[Any]) -> Any:
    """Return the fill value in a file's type, None where no value of that type can be it."""
    if value is None or dtype.kind == "f" or not float(value).is_integer():
        return None
    limits = np.iinfo(dtype)
    return dtype.type(int(value)) if limits.min <= value <= limits.max else None


class _Part(NamedTuple):
    """Rows and columns of a block (the last ones excluded), and the row and column that they have in the window."""

    first: int
    last: int
    start: int
    stop: int
    row: int
    col: int


class PlainBlocks:
    """The blocks of one uncompressed TIFF. Reads do not move a file position, so forks and threads are safe.

    Args:
        dataset: The open raster, at full resolution; it must stay open.
        path: The local file.
    """

    def __init__(self, dataset: rasterio.DatasetReader, path: str) -> None:
        self._dataset = dataset
        self._rows, self._cols = dataset.block_shapes[0]
        self._dtype = np.dtype(dataset.dtypes[0])
        self._pixel = dataset.interleaving is Interleaving.pixel and dataset.count > 1
        self._depth = dataset.count if self._pixel else 1
        self._offsets: dict[tuple[int, int, int], int | None] = {}
        self._file = os.open(path, os.O_RDONLY)

    @classmethod
    def of(cls, dataset: rasterio.DatasetReader, path: str) -> PlainBlocks | None:
        """Return the blocks of a raster whose bytes are its pixels, else None."""
        if not hasattr(os, "preadv") or dataset.driver != "GTiff" or dataset.compression is not None:
            return None
        dtypes, shapes = set(dataset.dtypes), set(dataset.block_shapes)
        if len(dtypes) > 1 or len(shapes) > 1 or not dtypes <= _TYPES or _has_odd_bits(dataset):
            return None
        try:
            with open(path, "rb") as file:
                if file.read(2) != _OWN_ORDER:
                    return None
            return cls(dataset, path)
        except OSError:
            return None

    def close(self) -> None:
        """Close the file."""
        os.close(self._file)

    def read(self, bands: Sequence[int], row: int, col: int, height: int, width: int) -> NDArray[Any] | None:
        """Read a window that lies inside the raster.

        Args:
            bands: Band numbers from 1.
            row: First row.
            col: First column.
            height: Rows.
            width: Columns.

        Returns:
            (B, height, width) in the file's type; None where GDAL has to read (a block that was never written,
            a file that is too short).
        """
        out = np.empty((len(bands), height, width), dtype=self._dtype)
        return None if self._fill(bands, (row, col, height, width), out, None) is None else out

    def copy(
        self, bands: Sequence[int], row: int, col: int, out: NDArray[Any], fill: float | None
    ) -> bool | None:
        """Read a window into memory of another type, in one step, and look for a fill value on the way.

        Args:
            bands: Band numbers from 1.
            row: First row.
            col: First column.
            out: (B, height, width), of a type that holds all values of the file's.
            fill: The fill value of all bands, or None.

        Returns:
            True where no value can be the fill value, False where one may be; None where GDAL has to read.
        """
        wanted = _fill_in(fill, self._dtype)
        met = self._fill(bands, (row, col, *out.shape[1:]), out, wanted)
        # NaN and infinity are no data too, and equality of floats has a tolerance: somebody has to look.
        return None if met is None else not (met or self._dtype.kind == "f")

    @property
    def dtype(self) -> np.dtype[Any]:
        """The type of the values in the file."""
        return self._dtype

    def _fill(
        self, bands: Sequence[int], window: tuple[int, int, int, int], out: NDArray[Any], fill: Any
    ) -> bool | None:
        """Copy a window (row, column, height, width) block by block.

        Returns:
            Whether the fill value was met; None where the copy could not be done.
        """
        row, col, height, width = window
        met = False
        for block_row in range(row // self._rows, (row + height - 1) // self._rows + 1):
            top = block_row * self._rows
            first, last = max(row, top), min(row + height, top + self._rows)
            for block_col in range(col // self._cols, (col + width - 1) // self._cols + 1):
                left = block_col * self._cols
                start, stop = max(col, left), min(col + width, left + self._cols)
                part = _Part(first - top, last - top, start - left, stop - left, first - row, start - col)
                found = self._block(bands, (block_row, block_col), part, out, fill)
                if found is None:
                    return None
                met |= found
        return met

    def _block(
        self, bands: Sequence[int], block: tuple[int, int], part: _Part, out: NDArray[Any], fill: Any
    ) -> bool | None:
        """Copy a part of a block; returns as :meth:`_fill`."""
        if self._pixel:
            return self._copy_part((1, *block), bands, part, out, fill)
        met = False
        for number, band in enumerate(bands):
            found = self._copy_part((band, *block), (1,), part, out[number : number + 1], fill)
            if found is None:
                return None
            met |= found
        return met

    def _copy_part(
        self,
        block: tuple[int, int, int],
        bands: Sequence[int],
        part: _Part,
        out: NDArray[Any],
        fill: Any,
    ) -> bool | None:
        """Copy from one block that has its bands side by side, some rows at a time; returns as :meth:`_fill`."""
        offset = self._offset(block[0], block[1:])
        if offset is None:
            return None
        chosen = np.array(bands, dtype=np.uintp) - np.uintp(1)
        values = self._cols * self._depth
        rows = max(1, _STRIP_BYTES // (values * self._dtype.itemsize))
        wanted, met = (self._dtype.type(0) if fill is None else fill), False
        for top in range(part.first, part.last, rows):
            lines = SCRATCH.array("rows of a block", (min(rows, part.last - top), values), self._dtype)
            if not self._read(lines, offset + top * values * self._dtype.itemsize):
                return None
            place = (part.row + top - part.first, part.col)
            met |= _take_apart(lines, (self._depth, part.start, part.stop), chosen, wanted, out, place)
        return met and fill is not None

    def _read(self, out: NDArray[Any], offset: int) -> bool:
        try:
            return os.preadv(self._file, [out.data], offset) == out.nbytes
        except OSError:
            return False

    def _offset(self, band: int, block: tuple[int, int]) -> int | None:
        """Return where a block begins in the file; None for one that was never written."""
        key = (band, *block)
        if key not in self._offsets:
            text = self._dataset.get_tag_item(f"BLOCK_OFFSET_{block[1]}_{block[0]}", "TIFF", band)
            self._offsets[key] = int(text) if text else None
        return self._offsets[key]


def _has_odd_bits(dataset: rasterio.DatasetReader) -> bool:
    structure = dataset.tags(1, ns="IMAGE_STRUCTURE")
    return "NBITS" in structure or "SOURCE_COLOR_SPACE" in dataset.tags(ns="IMAGE_STRUCTURE")
