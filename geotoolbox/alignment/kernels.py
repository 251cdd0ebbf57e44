"""From source pixels to target pixels, in numpy: nearest, bilinear, cubic, and averages over areas.

All functions take ``data`` (B, h, w), the values of a window of the source; ``valid``, (B, h, w) or (1, h, w), or
None when all is valid; and ``u``, ``v``, places in the window's own pixels that broadcast to (H, W). Data is
finite and invalid data is 0. They return values (B, H, W) and valid (B or 1, H, W).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from geotoolbox.core.scratch import SCRATCH

__all__ = [
    "TIE_PX",
    "area_average",
    "area_mode",
    "bilinear",
    "bilinear_inside",
    "cubic",
    "lanes",
    "nearest",
    "nearest_inside",
]

Array = NDArray[Any]
Bools = NDArray[np.bool_]
Floats = NDArray[np.float64]
Ints = NDArray[np.intp]

# A place on the line between two pixels belongs to the second, also when rounding puts it just before.
TIE_PX = 1e-6

_STRIP_BYTES = 768 * 1024  # what the arrays of a strip may take, to stay in a processor core's own cache


def _cells(place: Floats, size: int) -> tuple[Ints, Bools]:
    """Return the pixel that each place falls in, clipped, and whether it lies within."""
    with np.errstate(invalid="ignore"):
        cell = np.floor(place + TIE_PX)
        inside = (cell >= 0) & (cell < size)
    return np.where(inside, cell, 0).astype(np.intp), inside


def _take(data: Array, index: Ints, out: Array | None = None) -> Array:
    """Gather flat pixel indices from each band."""
    flat = data.reshape(data.shape[0], -1)
    if out is None:
        out = np.empty((data.shape[0], *index.shape), dtype=data.dtype)
    for band in range(data.shape[0]):
        np.take(flat[band], index, out=out[band], mode="clip")
    return out


def _nearest_valid(valid: Bools | None, u: Floats, v: Floats, shape: tuple[int, int]) -> tuple[Ints, Bools]:
    """Return the flat index of the nearest pixel, and where that is inside and valid (B or 1, H, W)."""
    (col, in_u), (row, in_v) = _cells(u, shape[1]), _cells(v, shape[0])
    index = row * shape[1] + col
    inside = np.broadcast_to(in_u & in_v, index.shape)[None]
    return index, inside if valid is None else _take(valid, index) & inside


def nearest(data: Array, valid: Bools | None, u: Floats, v: Floats) -> tuple[Array, Bools]:
    """Take the pixel that each place falls in."""
    index, good = _nearest_valid(valid, u, v, data.shape[1:])
    out = _take(data, index)
    if not good.all():
        out *= good
    return out, good


def nearest_inside(
    data: Array,
    valid: Bools | None,
    u: Floats,
    v: Floats,
    corner: tuple[int, int],
    *,
    out: Array | None = None,
) -> tuple[Array, Bools | None]:
    """As :func:`nearest`, where every place is known to lie in the window; valid is None where all is.

    Args:
        data: (B, h, w).
        valid: As above.
        u: Columns plus :data:`TIE_PX`, from the corner of the source rather than of the window.
        v: Rows, likewise.
        corner: Column and row of the window.
        out: (B, H, W) to write to, of the type of ``data``.
    """
    shape = (v.shape[0], u.shape[1])
    # 32 bits are quicker, and hold the index: a window is far smaller than 2³¹ pixels.
    lines = _whole_numbers("lines", v, corner[1])
    lines *= data.shape[2]
    small: NDArray[np.int32] = SCRATCH.array("index 32", shape, np.int32)
    np.add(lines, _whole_numbers("columns", u, corner[0]), out=small)
    index: Ints = SCRATCH.array("index", shape, np.intp)
    np.copyto(index, small)
    out = _take(data, index, out)
    if valid is None:
        return out, None
    good = _take(valid, index)
    if not good.all():
        out *= good
    return out, good


def _whole_numbers(name: str, place: Floats, first: int) -> NDArray[np.int32]:
    """Return places cut to whole numbers, less ``first``."""
    out: NDArray[np.int32] = SCRATCH.array(name, place.shape, np.int32)
    np.copyto(out, place, casting="unsafe")
    out -= first
    return out


def lanes(bands: int) -> int:
    """Return how many numbers a pixel takes in memory where its bands lie together, so that it is moved in one go."""
    return next((n for n in (1, 2, 4, 8) if n >= bands), bands)


def bilinear_inside(
    data: Array, u: Floats, v: Floats, corner: tuple[int, int], *, out: Array, inner: bool
) -> Array:
    """As :func:`bilinear`, where every place lies in the window and all of it is valid: strip by strip, in the cache.

    Args:
        data: (h, w, :func:`lanes`) floats, the bands of a pixel side by side; what is beyond them does not matter.
        u: Columns, from the corner of the source rather than of the window.
        v: Rows, likewise.
        corner: Column and row of the window.
        out: (B, H, W) to write to.
        inner: Whether the window has all four pixels around every place.
    """
    height, width, lane = v.shape[0], u.shape[1], data.shape[2]
    rows = max(1, _STRIP_BYTES // (6 * data.itemsize * lane * width))
    middle = (corner[0] + 0.5, corner[1] + 0.5)
    with np.errstate(invalid="ignore", over="ignore"):
        for top in range(0, height, rows):
            strip = slice(top, min(height, top + rows))
            places = ((u if u.shape[0] == 1 else u[strip]) - middle[0], v[strip] - middle[1])
            found = _bilinear_strip(data, places, inner)
            out[:, strip] = found[:, :, : len(out)].transpose(2, 0, 1)
    return out


def _bilinear_strip(data: Array, places: tuple[Floats, Floats], inner: bool) -> Array:
    """Interpolate some rows of the target, all bands at once; return (rows, W, lanes)."""
    height, width, lane = data.shape
    (col, fu), (row, fv) = (_split(place) for place in places)
    flat = data.reshape(-1, lane)
    if inner:
        index = (row * width + col).astype(np.intp)
        taps = [np.take(flat[first:], index, axis=0, mode="clip") for first in (0, 1, width, width + 1)]
    else:
        rows = [np.clip(row + k, 0, height - 1) * width for k in (0, 1)]
        cols = [np.clip(col + k, 0, width - 1) for k in (0, 1)]
        taps = [np.take(flat, (r + c).astype(np.intp), axis=0, mode="clip") for r in rows for c in cols]
    shape = taps[0].shape
    taps = [tap.reshape(shape[0], -1) for tap in taps]
    across, down = (np.repeat(p, lane, axis=1) if lane > 1 and p.shape[1] > 1 else p for p in (fu, fv))
    upper, lower = _lerp(taps[0], taps[1], across), _lerp(taps[2], taps[3], across)
    return _lerp(upper, lower, down).reshape(shape)


def _split(place: Floats) -> tuple[Floats, NDArray[np.float32]]:
    """Cut places, in the memory they have, into whole pixels and what is left."""
    low = np.floor(place)
    place -= low
    return low, place.astype(np.float32)


def _taps(place: Floats, size: int, first: int, count: int) -> tuple[list[Ints], NDArray[np.float32]]:
    """Return the clipped pixels around each place, and how far it is past pixel 0 of them."""
    middle = np.where(np.isfinite(place), place, 0.0) - 0.5
    low = np.floor(middle)
    part = (middle - low).astype(np.float32)
    low_index = low.astype(np.intp)
    return [np.clip(low_index + k, 0, size - 1) for k in range(first, first + count)], part


def bilinear(data: Array, valid: Bools | None, u: Floats, v: Floats) -> tuple[Array, Bools]:
    """Interpolate linearly between the four pixels around each place; invalid ones have no weight."""
    height, width = data.shape[1:]
    _, good = _nearest_valid(valid, u, v, (height, width))
    (c0, c1), fu = _taps(u, width, 0, 2)
    (r0, r1), fv = _taps(v, height, 0, 2)
    r0, r1 = r0 * width, r1 * width
    corners = (r0 + c0, r0 + c1, r1 + c0, r1 + c1)
    top = _lerp(_take(data, corners[0]), _take(data, corners[1]), fu)
    out = _lerp(top, _lerp(_take(data, corners[2]), _take(data, corners[3]), fu), fv)
    if valid is not None:
        _mend_bilinear(out, (data, valid), good, corners, (fu, fv))
    if not good.all():
        out *= good
    return out, good


def _lerp(a: Array, b: Array, part: NDArray[np.float32]) -> Array:
    """Return a + part × (b - a), in the memory of ``b``: exact where a and b are equal."""
    b -= a
    b *= part
    b += a
    return b


def _mend_bilinear(
    out: Array,
    source: tuple[Array, Bools],
    good: Bools,
    corners: tuple[Ints, Ints, Ints, Ints],
    parts: tuple[NDArray[np.float32], NDArray[np.float32]],
) -> None:
    """Redo the few pixels that touch an invalid one: weights over the valid pixels only."""
    data, valid = source
    whole = np.logical_and.reduce([_take(valid, c) for c in corners])
    mend = good & ~whole
    fu, fv = (np.broadcast_to(p, corners[0].shape) for p in parts)
    flat, flat_valid = data.reshape(data.shape[0], -1), valid.reshape(valid.shape[0], -1)
    for band in range(data.shape[0]):
        row, col = np.nonzero(mend[min(band, mend.shape[0] - 1)])
        if not row.size:
            continue
        a, b = fu[row, col].astype(float), fv[row, col].astype(float)
        weights = ((1 - a) * (1 - b), a * (1 - b), (1 - a) * b, a * b)
        total, weight = np.zeros(row.size), np.zeros(row.size)
        for corner, share in zip(corners, weights, strict=True):
            index = corner[row, col]
            own = share * flat_valid[min(band, valid.shape[0] - 1), index]
            total += own * flat[band, index]
            weight += own
        out[band, row, col] = total / weight


def _cubic_weights(t: NDArray[np.float32]) -> list[Array]:
    """Return the four weights of cubic convolution (Keys 1981, a = -0.5)."""
    t2, t3 = t * t, t * t * t
    return [(-t + 2 * t2 - t3) / 2, (2 - 5 * t2 + 3 * t3) / 2, (t + 4 * t2 - 3 * t3) / 2, (t3 - t2) / 2]


def cubic(data: Array, valid: Bools | None, u: Floats, v: Floats) -> tuple[Array, Bools]:
    """Interpolate by cubic convolution over 4 × 4 pixels; bilinear where one of them is not valid."""
    height, width = data.shape[1:]
    out, good = bilinear(data, valid, u, v)
    cols, fu = _taps(u, width, -1, 4)
    rows, fv = _taps(v, height, -1, 4)
    total = np.zeros_like(out)
    whole: Bools | None = None if valid is None else np.ones(good.shape, dtype=bool)
    for row, wv in zip(rows, _cubic_weights(fv), strict=True):
        line = np.zeros_like(out)
        for col, wu in zip(cols, _cubic_weights(fu), strict=True):
            index = row * width + col
            line += _take(data, index) * wu
            if whole is not None and valid is not None:
                whole &= _take(valid, index)
        total += line * wv
    use = good if whole is None else good & whole
    return np.where(use, total, out), good


def _edges(u: Floats, span: Floats, size: int) -> tuple[Floats, Floats]:
    """Return where the area of each target pixel begins and ends, clipped to the window."""
    half = span / 2
    with np.errstate(invalid="ignore"):
        low, high = np.clip(u - half, 0, size), np.clip(u + half, 0, size)
    # Rounding must not make a sliver of the next pixel, nor leave one out.
    return tuple(np.where(abs(e - np.round(e)) < TIE_PX, np.round(e), e) for e in (low, high))  # type: ignore[return-value]


class _Areas:
    """Sums over the area of each target pixel, by a table of sums (Crow 1984)."""

    def __init__(self, u: Floats, v: Floats, spans: tuple[Floats, Floats], shape: tuple[int, int]) -> None:
        self.shape = shape
        self.separable = u.shape[0] == 1 and v.shape[1] == 1
        self.u = [np.nan_to_num(e) for e in _edges(u, spans[0], shape[1])]
        self.v = [np.nan_to_num(e) for e in _edges(v, spans[1], shape[0])]
        self.size = np.asarray((self.u[1] - self.u[0]) * (self.v[1] - self.v[0]))

    def sum(self, plane: Array) -> Floats:
        """Return the integral of a plane (h, w) over the areas."""
        if self.separable:
            rows = _between(plane, self.v[0][:, 0], self.v[1][:, 0], 0)
            return _between(rows, self.u[0][0], self.u[1][0], 1)
        table = np.zeros((self.shape[0] + 1, self.shape[1] + 1))
        np.cumsum(np.cumsum(plane, axis=0, dtype=float), axis=1, out=table[1:, 1:])
        return self._at(table, 1, 1) - self._at(table, 0, 1) - self._at(table, 1, 0) + self._at(table, 0, 0)

    def _at(self, table: Floats, bottom: int, right: int) -> Floats:
        """Return the table at one corner of the areas, between its points."""
        height, width = self.shape
        u, v = np.broadcast_arrays(self.u[right], self.v[bottom])
        col = np.minimum(u.astype(np.intp), width - 1)
        row = np.minimum(v.astype(np.intp), height - 1)
        fu, fv = u - col, v - row
        upper = table[row, col] * (1 - fu) + table[row, col + 1] * fu
        lower = table[row + 1, col] * (1 - fu) + table[row + 1, col + 1] * fu
        return np.asarray(upper * (1 - fv) + lower * fv)


def _between(plane: Array, low: Floats, high: Floats, axis: int) -> Floats:
    """Integrate along one axis from ``low`` to ``high``."""
    shape = list(plane.shape)
    shape[axis] += 1
    table = np.zeros(shape)
    np.cumsum(plane, axis=axis, dtype=float, out=table[1:] if axis == 0 else table[:, 1:])

    def at(place: Floats) -> Floats:
        index = np.minimum(place.astype(np.intp), plane.shape[axis] - 1)
        part = place - index
        part = part[:, None] if axis == 0 else part[None, :]
        return np.asarray(table.take(index, axis) * (1 - part) + table.take(index + 1, axis) * part)

    return at(high) - at(low)


def area_average(
    data: Array, valid: Bools | None, u: Floats, v: Floats, spans: tuple[Floats, Floats]
) -> tuple[Array, Bools]:
    """Average the valid source over the area of each target pixel, parts of pixels by their share."""
    areas = _Areas(u, v, spans, data.shape[1:])
    out = np.zeros((data.shape[0], *areas.size.shape))
    weights = [areas.size] if valid is None else [areas.sum(plane) for plane in valid]
    good = np.stack([w > 1e-6 for w in weights])
    for band in range(data.shape[0]):
        own = min(band, len(weights) - 1)
        here = None if valid is None else valid[own]
        # Sums are taken from a middle value, so that a constant stays exactly that constant.
        middle = float(data[band].flat[0] if here is None else data[band][here].flat[0] if here.any() else 0)
        plane = data[band] - middle if here is None else np.where(here, data[band] - middle, 0.0)
        total = areas.sum(plane)
        np.divide(total, weights[own], out=out[band], where=good[own])
        out[band] += middle
        out[band] *= good[own]
    return out, good


def area_mode(
    data: Array, valid: Bools | None, u: Floats, v: Floats, spans: tuple[Floats, Floats]
) -> tuple[Array, Bools]:
    """Return the value that covers most of each target pixel's area; the smallest of equals."""
    areas = _Areas(u, v, spans, data.shape[1:])
    out = np.zeros((data.shape[0], *areas.size.shape), dtype=data.dtype)
    best = np.full(out.shape, 1e-6)
    for band in range(data.shape[0]):
        here = None if valid is None else valid[min(band, valid.shape[0] - 1)]
        for value in np.unique(data[band] if here is None else data[band][here]):
            cover = areas.sum(data[band] == value if here is None else (data[band] == value) & here)
            more = cover > best[band] + 1e-9
            out[band][more] = value
            best[band][more] = cover[more]
    return out, best > 1e-6
