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
from typing import Any

import numpy as np
import rasterio
from numpy.typing import NDArray
from rasterio.enums import Interleaving

from geotoolbox.core.plain_loops import CLEAN, MET, UNREADABLE, copy_blocks
from geotoolbox.core.scratch import SCRATCH

__all__ = ["PlainBlocks"]

_TYPES = frozenset(
    ("uint8", "int8", "uint16", "int16", "uint32", "int32", "uint64", "int64", "float32", "float64")
)
_OWN_ORDER = b"II" if sys.byteorder == "little" else b"MM"


# Read so much at a time: it is still in the processor's own cache when it is taken apart.
_STRIP_BYTES = 256 * 1024


def _fill_in(value: float | None, dtype: np.dtype[Any]) -> Any:
    """Return the fill value in a file's type, None where no value of that type can be it."""
    if value is None or dtype.kind == "f" or not float(value).is_integer():
        return None
    limits = np.iinfo(dtype)
    return dtype.type(int(value)) if limits.min <= value <= limits.max else None


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
        return None if self._copy(bands, (row, col), out, None) == UNREADABLE else out

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
        found = self._copy(bands, (row, col), out, _fill_in(fill, self._dtype))
        # NaN and infinity are no data too, and equality of floats has a tolerance: somebody has to look.
        return None if found == UNREADABLE else found == CLEAN and self._dtype.kind != "f"

    @property
    def dtype(self) -> np.dtype[Any]:
        """The type of the values in the file."""
        return self._dtype

    def _copy(self, bands: Sequence[int], corner: tuple[int, int], out: NDArray[Any], fill: Any) -> int:
        """Copy a window; returns as :func:`copy_blocks`."""
        height, width = out.shape[1:]
        rows, cols = (
            range(first // block, (first + size - 1) // block + 1)
            for first, size, block in zip(corner, (height, width), (self._rows, self._cols), strict=True)
        )
        offsets = [
            self._offset(b, (i, j)) for b in ((1,) if self._pixel else bands) for i in rows for j in cols
        ]
        if None in offsets:
            return UNREADABLE
        line = self._cols * self._depth
        strip = SCRATCH.array(
            "lines", (max(1, _STRIP_BYTES // (line * self._dtype.itemsize)) * line,), self._dtype
        )
        found = copy_blocks(
            self._file,
            np.array(offsets, dtype=np.int64).reshape(-1, len(rows), len(cols)),
            (self._rows, self._cols, self._depth),
            (corner[0] - rows[0] * self._rows, corner[1] - cols[0] * self._cols),
            np.array([b - 1 for b in bands] if self._pixel else [0], dtype=np.uintp),
            self._dtype.type(0) if fill is None else fill,
            strip,
            out,
        )
        return CLEAN if found == MET and fill is None else found

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
