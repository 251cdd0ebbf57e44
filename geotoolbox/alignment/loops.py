"""The inner loops of resampling, compiled: places between nodes, the nearest pixel, and four pixels weighed."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from geotoolbox.core.compiled import compiled

__all__ = ["bilinear_loop", "nearest_loop", "reach", "spread"]

Array = NDArray[Any]
Bools = NDArray[np.bool_]
Floats = NDArray[np.float64]
Pixels = NDArray[np.int32]
Parts = NDArray[np.float32]
Places = tuple[Floats, Floats]


@compiled
def spread(z: Floats, rows: tuple[float, float], cols: tuple[float, float], out: Floats) -> None:
    """Interpolate linearly at every pixel: along the node rows first, then between them.

    Args:
        z: (m, n) values at evenly spaced nodes; one row, or one column, holds for all.
        rows: Pixel row of the first node, and pixels from a node to the next.
        cols: The same of columns.
        out: (H, W) to write to.
    """
    height, width = out.shape
    lefts, rights, parts = np.empty(width, np.int64), np.empty(width, np.int64), np.empty(width)
    for col in range(width):
        lefts[col], rights[col], parts[col] = _neighbours(col, cols, z.shape[1])
    upper, lower = np.empty(width), np.empty(width)
    above, below = -1, -1
    for row in range(height):
        first, second, part = _neighbours(row, rows, z.shape[0])
        if first != above or second != below:
            if first == below:
                upper[:] = lower
            elif first != above:
                _along(z[first], lefts, rights, parts, upper)
            if second != below:
                _along(z[second], lefts, rights, parts, lower)
            above, below = first, second
        line = out[row]
        for col in range(width):
            line[col] = upper[col] + part * (lower[col] - upper[col])


@compiled
def _neighbours(pixel: int, line: tuple[float, float], count: int) -> tuple[int, int, float]:
    """Return the nodes before and after a pixel, and how far it is past the first: at a node, that one twice and 0.

    So a node has its own value whether it is the first or the second in a window, and whatever its neighbour is.
    """
    place = (pixel - line[0]) / line[1]
    first = min(max(int(np.floor(place)), 0), max(count - 2, 0))
    second = min(first + 1, count - 1)
    part = place - first
    if part == 0.0:
        return first, first, 0.0
    if part == 1.0:
        return second, second, 0.0
    return first, second, part


@compiled
def reach(
    z: Floats, rows: tuple[float, float], cols: tuple[float, float], shape: tuple[int, int]
) -> tuple[float, float]:
    """Return the least and the largest finite value over all pixels; the least is the larger one where there is none.

    What is linear between nodes is extreme at nodes, or at the first and last pixel.

    Args:
        z: As for :func:`spread`.
        rows: As there.
        cols: As there.
        shape: (H, W) of the pixels.
    """
    least, most = np.inf, -np.inf
    top, bottom = _neighbours(0, rows, z.shape[0]), _neighbours(shape[0] - 1, rows, z.shape[0])
    left, right = _neighbours(0, cols, z.shape[1]), _neighbours(shape[1] - 1, cols, z.shape[1])
    # The nodes within, and the two edges, which lie between nodes.
    for i in range(top[1] - 1, bottom[0] + 2):
        row = top if i < top[1] else (bottom if i > bottom[0] else (i, i, 0.0))
        for j in range(left[1] - 1, right[0] + 2):
            col = left if j < left[1] else (right if j > right[0] else (j, j, 0.0))
            upper = z[row[0], col[0]] + col[2] * (z[row[0], col[1]] - z[row[0], col[0]])
            lower = z[row[1], col[0]] + col[2] * (z[row[1], col[1]] - z[row[1], col[0]])
            value = upper + row[2] * (lower - upper)
            if np.isfinite(value):
                least, most = min(least, value), max(most, value)
    return least, most


@compiled
def _along(
    z: Floats, lefts: NDArray[np.int64], rights: NDArray[np.int64], parts: Floats, out: Floats
) -> None:
    """Interpolate a node row at every column."""
    for col in range(out.size):
        start = z[np.uintp(lefts[col])]
        out[col] = start + parts[col] * (z[np.uintp(rights[col])] - start)


@compiled
def _row_of(places: Places, row: int, room: Floats) -> Places:
    """Return the columns and rows of a row of places; of a separable map, whose one row is the same for all, too."""
    u, v = places
    down = v[row]
    if v.shape[1] == 1:
        room[:] = v[row, 0]
        down = room
    return u[row if u.shape[0] > 1 else 0], down


@compiled
def _own_pixels(
    place: Places, corner: tuple[int, int], shape: tuple[int, int], tie_px: float, index: Pixels
) -> bool:
    """Find the pixel of a window that each place of a row falls in: its number, -1 outside (and for NaN).

    Returns:
        Whether all are inside.
    """
    x, y = place
    whole = True
    for col in range(index.size):  # all of it without a branch: several places at a time
        across, down = np.floor(x[col] + tie_px) - corner[0], np.floor(y[col] + tie_px) - corner[1]
        whole &= (across >= 0) & (across < shape[1]) & (down >= 0) & (down < shape[0])
        index[col] = np.int32(down) * np.int32(shape[1]) + np.int32(across)
    if not whole:
        for col in range(index.size):
            across, down = np.floor(x[col] + tie_px) - corner[0], np.floor(y[col] + tie_px) - corner[1]
            if not (across >= 0 and across < shape[1] and down >= 0 and down < shape[0]):
                index[col] = -1
    return whole


@compiled
def _judge(index: Pixels, whole: bool, valid: Bools, row: int, good: Bools) -> int:
    """Write a row of what is inside and valid; return how many are not."""
    if whole and valid.shape[0] == 0:
        good[:, row] = True
        return 0
    lost = 0
    for mask in range(good.shape[0]):
        for col in range(index.size):
            known = index[col] >= 0
            if known and valid.shape[0] > 0:
                known = valid[mask].reshape(valid.shape[1] * valid.shape[2])[np.uintp(index[col])]
            good[mask, row, col] = known
            lost += not known
    return lost


@compiled
def nearest_loop(
    data: Array,
    valid: Bools,
    places: Places,
    corner: tuple[int, int],
    tie_px: float,
    out: Array,
    good: Bools,
) -> int:
    """Take the pixel that each place falls in; 0 where there is none or it is not valid.

    Args:
        data: (B, h, w) the window, of less than 2³¹ pixels.
        valid: (B, h, w) or (1, h, w); (0, 0, 0) where all is.
        places: (H, W) or (1, W) columns and (H, W) or (H, 1) rows, from the corner of the source.
        corner: Column and row of the window in the source.
        tie_px: So far before the line between two pixels, a place still belongs to the second.
        out: (B, H, W) to write to.
        good: (B, H, W) or (1, H, W), as ``valid``: written with where there is a valid pixel.

    Returns:
        How many of ``good`` are false.
    """
    bands, height, width = out.shape
    rows, cols = data.shape[1:]
    index, room = np.empty(width, np.int32), np.empty(width)
    missing = 0
    for row in range(height):
        whole = _own_pixels(_row_of(places, row, room), corner, (rows, cols), tie_px, index)
        lost = _judge(index, whole, valid, row, good)
        missing += lost
        for band in range(bands):
            plane, line = data[band].reshape(rows * cols), out[band, row]
            if lost == 0:
                for col in range(width):
                    line[col] = plane[np.uintp(index[col])]
                continue
            mark = good[min(band, good.shape[0] - 1), row]
            for col in range(width):
                line[col] = plane[np.uintp(index[col])] if mark[col] else 0
    return missing


@compiled
def _first_of_four(
    place: Places, corner: tuple[int, int], shape: tuple[int, int], first: Pixels, parts: Parts
) -> bool:
    """Find the upper left of the pixels around each place of a row, and how far it is past that (2, W).

    Returns:
        Whether all four are in the window for every place, so that the first tells the others.
    """
    x, y = place
    right, below = parts[0], parts[1]
    inner = True
    for col in range(first.size):
        left, upper = np.floor(x[col] - 0.5), np.floor(y[col] - 0.5)
        right[col], below[col] = x[col] - 0.5 - left, y[col] - 0.5 - upper
        left -= corner[0]
        upper -= corner[1]
        inner &= (left >= 0) & (left < shape[1] - 1) & (upper >= 0) & (upper < shape[0] - 1)
        first[col] = np.int32(upper) * np.int32(shape[1]) + np.int32(left)
    return inner


@compiled
def _all_four(
    place: Places, corner: tuple[int, int], shape: tuple[int, int], taps: NDArray[np.uintp], parts: Parts
) -> None:
    """Find the numbers of the pixels around each place of a row (4, W); beyond the edge, the outermost again."""
    x, y = place
    height, width = shape
    for col in range(taps.shape[1]):
        left, upper = np.floor(x[col] - 0.5) - corner[0], np.floor(y[col] - 0.5) - corner[1]
        if not (left >= -1 and left < width and upper >= -1 and upper < height):  # far outside, or NaN
            parts[0, col], parts[1, col], taps[:, col] = 0.0, 0.0, 0
            continue
        west, east = max(int(left), 0), min(int(left) + 1, width - 1)
        north, south = max(int(upper), 0) * width, min(int(upper) + 1, height - 1) * width
        taps[0, col], taps[1, col] = north + west, north + east
        taps[2, col], taps[3, col] = south + west, south + east


@compiled
def _weigh(plane: Array, taps: NDArray[np.uintp], parts: Parts, line: Array) -> None:
    """Weigh four pixels for a row of places: a + part × (b - a), exact where a and b are equal."""
    for col in range(line.size):
        one, three = plane[taps[0, col]], plane[taps[2, col]]
        above = one + parts[0, col] * (plane[taps[1, col]] - one)
        under = three + parts[0, col] * (plane[taps[3, col]] - three)
        line[col] = above + parts[1, col] * (under - above)


@compiled
def _weigh_inner(plane: Array, stride: int, first: Pixels, parts: Parts, line: Array) -> None:
    """As :func:`_weigh`, where the other three pixels are found from the first: more than twice as quick."""
    right, below = parts[0], parts[1]
    next_one, next_row = np.uintp(1), np.uintp(stride)
    for col in range(line.size):
        tap = np.uintp(first[col])
        one, three = plane[tap], plane[tap + next_row]
        above = one + right[col] * (plane[tap + next_one] - one)
        under = three + right[col] * (plane[tap + next_row + next_one] - three)
        line[col] = above + below[col] * (under - above)


@compiled
def _mend(plane: Array, fine: Bools, mark: Bools, taps: NDArray[np.uintp], parts: Parts, line: Array) -> None:
    """Redo the places that touch an invalid pixel: weights over the valid ones only."""
    for col in range(line.size):
        whole = fine[taps[0, col]] and fine[taps[1, col]] and fine[taps[2, col]] and fine[taps[3, col]]
        if whole or not mark[col]:
            continue
        a, b = np.float64(parts[0, col]), np.float64(parts[1, col])
        shares = ((1 - a) * (1 - b), a * (1 - b), (1 - a) * b, a * b)
        total, weight = 0.0, 0.0
        for tap in range(4):
            if fine[taps[tap, col]]:
                total += shares[tap] * plane[taps[tap, col]]
                weight += shares[tap]
        line[col] = total / weight


@compiled
def bilinear_loop(
    data: Array,
    valid: Bools,
    places: Places,
    corner: tuple[int, int],
    tie_px: float,
    out: Array,
    good: Bools,
) -> int:
    """Weigh the four pixels around each place; at the edge the outermost again, invalid ones not at all.

    Args:
        data: (B, h, w) floats, 0 where not valid; the window, of less than 2³¹ pixels.
        valid: As for :func:`nearest_loop`.
        places: As there.
        corner: As there.
        tie_px: As there.
        out: (B, H, W) to write to, of the type of ``data``; 0 where not good.
        good: Written with where the pixel that a place falls in is valid.

    Returns:
        How many of ``good`` are false.
    """
    bands, height, width = out.shape
    shape = data.shape[1:]
    pixels = shape[0] * shape[1]
    index, first, room = np.empty(width, np.int32), np.empty(width, np.int32), np.empty(width)
    taps, parts = np.empty((4, width), np.uintp), np.empty((2, width), np.float32)
    masked = valid.shape[0] > 0
    missing = 0
    for row in range(height):
        place = _row_of(places, row, room)
        lost = _judge(index, _own_pixels(place, corner, shape, tie_px, index), valid, row, good)
        missing += lost
        inner = _first_of_four(place, corner, shape, first, parts)
        if masked or not inner:
            _all_four(place, corner, shape, taps, parts)
        for band in range(bands):
            plane, line = data[band].reshape(pixels), out[band, row]
            if inner:
                _weigh_inner(plane, shape[1], first, parts, line)
            else:
                _weigh(plane, taps, parts, line)
            if lost == 0 and not masked:
                continue
            mark = good[min(band, good.shape[0] - 1), row]
            if masked:
                _mend(plane, valid[min(band, valid.shape[0] - 1)].reshape(pixels), mark, taps, parts, line)
            for col in range(width):
                if not mark[col]:
                    line[col] = 0
    return missing
