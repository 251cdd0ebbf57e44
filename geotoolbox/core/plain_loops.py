"""The inner loops of reading plain bytes, compiled: rows of blocks into bands, in one go without the interpreter."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from geotoolbox.core.compiled import compiled, read_at

__all__ = ["CLEAN", "MET", "UNREADABLE", "copy_blocks"]

Array = NDArray[Any]
Bands = NDArray[np.uintp]

CLEAN, MET, UNREADABLE = 0, 1, -1


@compiled
def _take_apart(line: Array, depth: int, bands: Bands, fill: Any, values: Array, out: Array) -> bool:
    """Copy a line of pixels, the bands of each side by side, into rows of bands; tell whether the fill value is met.

    Args:
        line: (W × depth).
        depth: How many bands a pixel has.
        bands: Which of them are wanted; the fill value is looked for in all.
        fill: A value of the type of ``line``.
        values: Room for a line, of the type of ``out``.
        out: (B, W).
    """
    met = False
    for n in range(line.size):
        met |= line[n] == fill
        values[n] = line[n]
    for band in range(bands.size):
        row = out[band]
        for col in range(row.size):
            row[col] = values[np.uintp(col) * np.uintp(depth) + bands[band]]
    return met


@compiled
def _copy_block(
    file: int,
    offset: int,
    block: tuple[int, int, int],
    part: tuple[int, int, int, int],
    bands: Bands,
    fill: Any,
    strip: Array,
    values: Array,
    out: Array,
) -> int:
    """Copy rows and columns ``part`` (first, after the last, of both) of the block at ``offset``, a strip at a time."""
    depth = block[2]
    line = block[1] * depth
    most = strip.size // line
    met = CLEAN
    for top in range(part[0], part[1], most):
        lines = strip[: min(most, part[1] - top) * line]
        if read_at(file, lines, offset + top * line * strip.itemsize) != lines.nbytes:
            return UNREADABLE
        for row in range(lines.size // line):
            pixels = lines[row * line + part[2] * depth : row * line + part[3] * depth]
            if _take_apart(pixels, depth, bands, fill, values, out[:, top - part[0] + row]):
                met = MET
    return met


@compiled
def copy_blocks(
    file: int,
    offsets: NDArray[np.int64],
    block: tuple[int, int, int],
    corner: tuple[int, int],
    bands: Bands,
    fill: Any,
    strip: Array,
    out: Array,
) -> int:
    """Copy a window out of the blocks that it meets.

    Args:
        file: A file descriptor.
        offsets: (P, m, n) where the blocks begin; P is 1 where a block has all bands, else the number of bands.
        block: Rows, columns, and bands that lie side by side in a block.
        corner: Row and column of the window, from the corner of the first block.
        bands: Which of the bands in a block.
        fill: A value of the file's type.
        strip: Room for some lines of a block, of the file's type.
        out: (B, H, W) to write to.

    Returns:
        ``CLEAN``, ``MET`` where the fill value is in what was read, or ``UNREADABLE``.
    """
    planes, down, across = offsets.shape
    share, height, width = out.shape[0] // planes, out.shape[1], out.shape[2]
    values = np.empty(block[1] * block[2], out.dtype)
    found = CLEAN
    for plane in range(planes):
        goal = out[plane * share : (plane + 1) * share]
        for i in range(down):
            top = i * block[0]
            first, last = max(corner[0], top), min(corner[0] + height, top + block[0])
            for j in range(across):
                left = j * block[1]
                start, stop = max(corner[1], left), min(corner[1] + width, left + block[1])
                room = goal[:, first - corner[0] : last - corner[0], start - corner[1] : stop - corner[1]]
                part = (first - top, last - top, start - left, stop - left)
                met = _copy_block(file, offsets[plane, i, j], block, part, bands, fill, strip, values, room)
                if met == UNREADABLE:
                    return UNREADABLE
                found = max(found, met)
    return found
