"""From source pixels to target pixels: nearest, bilinear, cubic, and averages over areas.

All functions take ``data`` (B, h, w), the values of a window of the source; ``valid``, (B, h, w) or (1, h, w), or
None when all is valid; and places ``u``, ``v``, (H, W) each, or (1, W) and (H, 1). Data is finite and invalid data
is 0. They return values (B, H, W) and valid (B or 1, H, W), the first two None for it where all is.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geotoolbox.alignment.loops import bilinear_loop, nearest_loop

__all__ = ["TIE_PX", "area_average", "area_mode", "bilinear", "cubic", "nearest"]

Array = NDArray[Any]
Bools = NDArray[np.bool_]
Floats = NDArray[np.float64]
Ints = NDArray[np.intp]

# A place on the line between two pixels belongs to the second, also when rounding puts it just before.
TIE_PX = 1e-6


def _flags(valid: Bools | None, data: Array, size: tuple[int, int]) -> tuple[Bools, Bools]:
    """Return what the loops take for ``valid``, and memory for what they find."""
    if valid is None:
        return np.empty((0, 0, 0), dtype=bool), np.empty((1, *size), dtype=bool)
    return np.ascontiguousarray(valid), np.empty((len(valid), *size), dtype=bool)


def nearest(
    data: Array,
    valid: Bools | None,
    u: Floats,
    v: Floats,
    corner: tuple[int, int] = (0, 0),
    *,
    out: Array | None = None,
) -> tuple[Array, Bools | None]:
    """Take the pixel that each place falls in.

    Args:
        data: (B, h, w) the window that is there.
        valid: (B, h, w) or (1, h, w); None where all is.
        u: Columns, (H, W) or (1, W), from the corner of the source.
        v: Rows, (H, W) or (H, 1).
        corner: Column and row of the window in the source.
        out: (B, H, W) to write to, of the type of ``data``.

    Returns:
        Values, 0 where there is no valid pixel; and where there is one, None where that is everywhere.
    """
    return _run(nearest_loop, (data, valid), (u, v), corner, out)


def bilinear(
    data: Array,
    valid: Bools | None,
    u: Floats,
    v: Floats,
    corner: tuple[int, int] = (0, 0),
    *,
    out: Array | None = None,
) -> tuple[Array, Bools | None]:
    """Interpolate linearly between the four pixels around each place; invalid ones have no weight.

    Arguments and results as for :func:`nearest`; the values are floats.
    """
    return _run(bilinear_loop, (data, valid), (u, v), corner, out)


def _run(
    loop: Callable[[Array, Bools, tuple[Floats, Floats], tuple[int, int], float, Array, Bools], int],
    window: tuple[Array, Bools | None],
    places: tuple[Floats, Floats],
    corner: tuple[int, int],
    out: Array | None,
) -> tuple[Array, Bools | None]:
    data, valid = window
    size = (places[1].shape[0], places[0].shape[1])
    if out is None:
        out = np.empty((len(data), *size), dtype=data.dtype)
    known, good = _flags(valid, data, size)
    missing = loop(np.ascontiguousarray(data), known, places, corner, TIE_PX, out, good)
    return out, good if missing else None


def _taps(place: Floats, size: int, first: int, count: int) -> tuple[list[Ints], NDArray[np.float32]]:
    """Return the clipped pixels around each place, and how far it is past pixel 0 of them."""
    middle = np.where(np.isfinite(place), place, 0.0) - 0.5
    low = np.floor(middle)
    part = (middle - low).astype(np.float32)
    low_index = low.astype(np.intp)
    return [np.clip(low_index + k, 0, size - 1) for k in range(first, first + count)], part


def _cubic_weights(t: NDArray[np.float32]) -> list[Array]:
    """Return the four weights of cubic convolution (Keys 1981, a = -0.5)."""
    t2, t3 = t * t, t * t * t
    return [(-t + 2 * t2 - t3) / 2, (2 - 5 * t2 + 3 * t3) / 2, (t + 4 * t2 - 3 * t3) / 2, (t3 - t2) / 2]


def _take(data: Array, index: Ints) -> Array:
    """Gather flat pixel indices from each band."""
    return np.stack([np.take(plane.reshape(-1), index, mode="clip") for plane in data])


def cubic(data: Array, valid: Bools | None, u: Floats, v: Floats) -> tuple[Array, Bools]:
    """Interpolate by cubic convolution over 4 × 4 pixels; bilinear where one of them is not valid.

    Places are from the corner of the window.
    """
    height, width = data.shape[1:]
    out, found = bilinear(data, valid, u, v)
    good = np.ones((1, *out.shape[1:]), dtype=bool) if found is None else found
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
