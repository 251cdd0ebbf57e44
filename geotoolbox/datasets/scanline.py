"""Filling polygons row by row, all at once: the pixels that GDAL's rasterize would mark, without its one-by-one way.

A pixel belongs to a polygon when its centre does (even-odd over all rings; on an edge, as GDAL has it: a centre on
the left or upper edge belongs). Later polygons cover earlier ones.
"""

from __future__ import annotations

import numpy as np
import shapely
from numpy.typing import NDArray

__all__ = ["fill_polygons"]

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]

_MOST_PX = 4_000_000


def fill_polygons(shapes: NDArray[np.object_], values: Ints, out: Ints) -> None:
    """Fill polygons in pixel coordinates.

    Args:
        shapes: (n,) polygons or multipolygons, x = column and y = row from the corner of the first pixel.
        values: (n,) what to write.
        out: (H, W), written to; it must be contiguous.

    Example:
        >>> out = np.zeros((2, 3), dtype=np.int64)
        >>> fill_polygons(np.array([shapely.box(0, 0, 2, 1)], dtype=object), np.array([7]), out)
        >>> out.tolist()
        [[7, 7, 0], [0, 0, 0]]
    """
    x0, y0, x1, y1, owner = _edges(shapes)
    height, width = out.shape
    flat_owner, flat_row, start, stop = _spans((x0, y0, x1, y1), owner, height, width)
    level = _level_spans((x0, y0, x1, y1), owner, height, width)
    if level[0].size:
        flat_owner, flat_row, start, stop = (
            np.concatenate(pair) for pair in zip((flat_owner, flat_row, start, stop), level, strict=True)
        )
        order = np.argsort(flat_owner, kind="stable")
        flat_owner, flat_row, start, stop = (z[order] for z in (flat_owner, flat_row, start, stop))
    _paint(out.reshape(-1), flat_row * width + start, stop - start, values[flat_owner])


def _edges(shapes: NDArray[np.object_]) -> tuple[Floats, Floats, Floats, Floats, Ints]:
    """Return the edges of all rings: x0, y0, x1, y1, and which shape each is of."""
    parts, part_owner = shapely.get_parts(shapes, return_index=True)
    rings, ring_part = shapely.get_rings(parts, return_index=True)
    points, ring = shapely.get_coordinates(rings, return_index=True)
    same = ring[1:] == ring[:-1]
    first, last = points[:-1][same], points[1:][same]
    owner = part_owner[ring_part[ring[:-1][same]]].astype(np.int64)
    return first[:, 0], first[:, 1], last[:, 0], last[:, 1], owner


def _spans(
    edges: tuple[Floats, Floats, Floats, Floats], owner: Ints, height: int, width: int
) -> tuple[Ints, Ints, Ints, Ints]:
    """Return the runs of pixels inside: shape, row, first column, column after the last; in the order of shapes."""
    x0, y0, x1, y1 = edges
    down = y0 < y1
    top, bottom = np.where(down, y0, y1), np.where(down, y1, y0)
    left, right = np.where(down, x0, x1), np.where(down, x1, x0)
    # Rows whose centre lies in [top, bottom).
    first = np.clip(np.ceil(top - 0.5), 0, height).astype(np.int64)
    after = np.clip(np.ceil(bottom - 0.5), 0, height).astype(np.int64)
    count = np.maximum(after - first, 0)
    edge = np.repeat(np.arange(count.size), count)
    row = np.arange(edge.size) - np.repeat(np.cumsum(count) - count, count) + first[edge]
    across = (row + 0.5 - top[edge]) * (right - left)[edge]
    x = across / (bottom - top)[edge] + left[edge]
    col = np.clip(np.floor(x + 0.5), 0, width).astype(np.int64)
    # One number tells shape, row and column, so that one sort puts the crossings of each row in pairs.
    crossing = np.sort((owner[edge] * height + row) * (width + 1) + col)
    begin, end = crossing[0::2], crossing[1::2]
    begin, end = begin[end > begin], end[end > begin]
    line = begin // (width + 1)
    start = begin - line * (width + 1)
    return line // height, line % height, start, start + end - begin


def _level_spans(
    edges: tuple[Floats, Floats, Floats, Floats], owner: Ints, height: int, width: int
) -> tuple[Ints, Ints, Ints, Ints]:
    """Return the runs along edges that lie exactly on a row of centres and go left, which GDAL fills too."""
    x0, y0, x1, y1 = edges
    row = np.floor(y0)
    level = np.flatnonzero((y0 == y1) & (y0 - row == 0.5) & (x0 > x1) & (row >= 0) & (row < height))
    start = np.clip(np.floor(x1[level] + 0.5), 0, width).astype(np.int64)
    stop = np.clip(np.floor(x0[level] + 0.5), 0, width).astype(np.int64)
    keep = stop > start
    level, start, stop = level[keep], start[keep], stop[keep]
    return owner[level], row[level].astype(np.int64), start, stop


def _paint(flat: Ints, start: Ints, length: Ints, value: Ints) -> None:
    """Write runs of pixels in order, the later over the earlier."""
    ends = np.cumsum(length)
    first = 0
    while first < length.size:
        done = int(ends[first - 1]) if first else 0
        last = max(int(np.searchsorted(ends, done + _MOST_PX, side="right")), first + 1)
        run = slice(first, last)
        size = length[run]
        before = np.cumsum(size) - size
        place = np.repeat(start[run] - before, size)
        place += np.arange(place.size)
        flat[place] = np.repeat(value[run], size)
        first = last
