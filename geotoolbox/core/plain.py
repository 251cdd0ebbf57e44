"""Pixels of uncompressed TIFFs, read straight from the file: only the rows that are needed, and no block twice.

GDAL copies whole blocks, takes all bands of each apart and keeps them, which costs many times what a small
window needs. Where blocks are plain bytes, the rows of a window are read in one go from each block. GDAL says
where the blocks are; whatever is not plain (compression, other byte order, odd bit depths, blocks that were
never written, other platforms) stays with GDAL, and so does every error.
"""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Sequence
from typing import Any

import numpy as np
import rasterio
from numpy.typing import NDArray
from rasterio.enums import Interleaving

__all__ = ["PlainBlocks"]

_TYPES = frozenset(
    ("uint8", "int8", "uint16", "int16", "uint32", "int32", "uint64", "int64", "float32", "float64")
)
_OWN_ORDER = b"II" if sys.byteorder == "little" else b"MM"


class _Scratch(threading.local):
    """One buffer for each thread, as large as the largest part of a block so far."""

    def __init__(self) -> None:
        self.buffer = bytearray(0)

    def view(self, size: int) -> memoryview:
        if len(self.buffer) < size:
            self.buffer = bytearray(size)
        return memoryview(self.buffer)[:size]


_SCRATCH = _Scratch()


class _Fill:
    """Looks for a fill value in what is read. It may say "met" where there is none, never the other way round."""

    def __init__(self, value: float | None, dtype: np.dtype[Any]) -> None:
        self.met = dtype.kind == "f"  # where NaN and infinity count too, and equality has a tolerance
        self._value: Any = None
        if value is None or self.met or not float(value).is_integer():
            return
        limits = np.iinfo(dtype)
        if limits.min <= value <= limits.max:
            self._value = dtype.type(int(value))
            self._lowest = bool(value == limits.min)

    def look(self, values: NDArray[Any]) -> None:
        """Take note of some values."""
        if self._value is None or self.met:
            return
        # One pass without a temporary array where the fill value is the least possible, as 0 most often is.
        self.met = bool(values.min() == self._value if self._lowest else (values == self._value).any())


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
        self._all = tuple(range(1, dataset.count + 1))
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
        return out if self._fill(bands, (row, col, height, width), out, None) else None

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
        seen = _Fill(fill, self._dtype)
        if not self._fill(bands, (row, col, *out.shape[1:]), out, seen):
            return None
        return not seen.met

    @property
    def dtype(self) -> np.dtype[Any]:
        """The type of the values in the file."""
        return self._dtype

    def _fill(
        self, bands: Sequence[int], window: tuple[int, int, int, int], out: NDArray[Any], seen: _Fill | None
    ) -> bool:
        """Copy a window (row, column, height, width) block by block; tell whether that could be done."""
        row, col, height, width = window
        for block_row in range(row // self._rows, (row + height - 1) // self._rows + 1):
            top = block_row * self._rows
            first, last = max(row, top), min(row + height, top + self._rows)
            for block_col in range(col // self._cols, (col + width - 1) // self._cols + 1):
                left = block_col * self._cols
                start, stop = max(col, left), min(col + width, left + self._cols)
                part = out[:, first - row : last - row, start - col : stop - col]
                place = (first - top, last - top, start - left, stop - left)
                if not self._block(bands, (block_row, block_col), place, part, seen):
                    return False
        return True

    def _block(
        self,
        bands: Sequence[int],
        block: tuple[int, int],
        place: tuple[int, int, int, int],
        out: NDArray[Any],
        seen: _Fill | None,
    ) -> bool:
        """Copy a part of one block into ``out``; tell whether that could be done."""
        first, last, start, stop = place
        if self._pixel:
            found = self._lines(1, block, first, last)
            if found is None:
                return False
            whole = found.reshape(last - first, self._cols, self._depth)[:, start:stop]
            if seen is not None:
                seen.look(whole)
            if tuple(bands) == self._all:
                out[...] = whole.transpose(2, 0, 1)
                return True
            for number, band in enumerate(bands):
                out[number] = whole[:, :, band - 1]
            return True
        for number, band in enumerate(bands):
            found = self._lines(band, block, first, last)
            if found is None:
                return False
            plane = found.reshape(last - first, self._cols)[:, start:stop]
            if seen is not None:
                seen.look(plane)
            out[number] = plane
        return True

    def _lines(self, band: int, block: tuple[int, int], first: int, last: int) -> NDArray[Any] | None:
        offset = self._offset(band, block)
        if offset is None:
            return None
        line = self._cols * self._depth * self._dtype.itemsize
        view = _SCRATCH.view((last - first) * line)
        try:
            if os.preadv(self._file, [view], offset + first * line) < len(view):
                return None
        except OSError:
            return None
        return np.frombuffer(view, dtype=self._dtype)

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
