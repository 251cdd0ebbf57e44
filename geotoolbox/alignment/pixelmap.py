"""From the pixels of one grid to the pixels of another: exact points, few of them, and what lies between.

A map gives, for each target pixel centre, the place (u, v) in a source: columns and rows from the corner of
its first pixel, in float64. Where the CRS differ, points are transformed exactly on a coarse grid and
interpolated; the error of that is measured at points in between, and the grid refined where it is too large.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
import pyproj
from affine import Affine
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox

from geotoolbox.alignment.systems import transformer, wrap_period

__all__ = ["MAX_ERROR_PX", "Axes", "PixelMap", "affine_map", "grid_map"]

Floats = NDArray[np.float64]

MAX_ERROR_PX = 2e-5
"""The largest coordinate error that is accepted, in source pixels: 0.2 DN of 0–9999 noise."""

AIM_PX = 1.5e-5
"""The error that the distance of the nodes is chosen for."""

LARGEST_STEP_PX, SMALLEST_COMMON_STEP_PX = 16, 2
_SNAP = 1e-6


@dataclass(frozen=True, slots=True, eq=False)
class PixelMap:
    """Places in a source for the pixels of a target grid.

    ``u`` and ``v`` stand at node columns and rows (pixel indices of the target); between nodes they are
    interpolated. A separable map has ``u`` of shape (1, n) and ``v`` of shape (m, 1).

    Attributes:
        shape: (H, W) of the target.
        rows: Indices of the node rows, evenly spaced.
        cols: Indices of the node columns.
        u: Source column at the nodes.
        v: Source row at the nodes.
        step_px: Distance of the nodes; 1 where every pixel is exact.
        error_px: Largest error of what is interpolated, in source pixels: a quarter of what is measured at
            twice the distance of the nodes.
    """

    shape: tuple[int, int]
    rows: Floats
    cols: Floats
    u: Floats
    v: Floats
    step_px: int
    error_px: float

    @property
    def finite(self) -> bool:
        """Whether every node has a place."""
        return math.isfinite(float(self.u.sum())) and math.isfinite(float(self.v.sum()))

    @property
    def separable(self) -> bool:
        """Whether columns depend on columns alone, and rows on rows."""
        return self.u.shape[0] == 1 and self.v.shape[1] == 1

    def coordinates(self) -> tuple[Floats, Floats]:
        """Return (u, v) for all pixels, each (H, W), or (1, W) and (H, 1) when separable."""
        return self._at(np.arange(self.shape[0], dtype=float), np.arange(self.shape[1], dtype=float))

    def extent(self) -> tuple[float, float, float, float] | None:
        """Return (u min, v min, u max, v max) over all pixel centres; None when none is finite."""
        rows, cols = (_inside(n, size) for n, size in zip((self.rows, self.cols), self.shape, strict=True))
        u, v = self._at(rows, cols)
        if math.isfinite(float(u.sum())) and math.isfinite(float(v.sum())):
            return float(u.min()), float(v.min()), float(u.max()), float(v.max())
        good_u, good_v = u[np.isfinite(u)], v[np.isfinite(v)]
        if not good_u.size or not good_v.size:
            return None
        return float(good_u.min()), float(good_v.min()), float(good_u.max()), float(good_v.max())

    def scales(self) -> tuple[Floats, Floats]:
        """Return how many source columns and rows a target pixel spans, at the nodes."""
        if self.separable:
            return abs(_slope(self.u, self.cols, 1)), abs(_slope(self.v, self.rows, 0))
        du = np.hypot(_slope(self.u, self.cols, 1), _slope(self.u, self.rows, 0))
        dv = np.hypot(_slope(self.v, self.cols, 1), _slope(self.v, self.rows, 0))
        return du, dv

    def typical_scale(self) -> tuple[float, float]:
        """Return the median of the scales, from differences between neighbouring nodes; 1 where none is finite."""
        if self.separable:
            return _mean_step(self.u[0], self.cols), _mean_step(self.v[:, 0], self.rows)
        across, down = self.cols[1] - self.cols[0], self.rows[1] - self.rows[0]
        found = []
        for z in (self.u, self.v):
            with np.errstate(invalid="ignore"):
                steps = np.hypot((z[:-1, 1:] - z[:-1, :-1]) / across, (z[1:, :-1] - z[:-1, :-1]) / down)
            found.append(_median(steps))
        return found[0], found[1]

    def scale_fields(self) -> tuple[Floats, Floats]:
        """Return the scales for all pixels, in the shapes of :meth:`coordinates`."""
        du, dv = self.scales()
        return replace(self, u=_tame(du), v=_tame(dv)).coordinates()

    def moved(self, du: float, dv: float) -> PixelMap:
        """Return the map with ``du`` and ``dv`` added to the places."""
        return replace(self, u=self.u + du, v=self.v + dv)

    def zoomed(self, fx: float, fy: float) -> PixelMap:
        """Return the map onto a source whose pixel counts are ``fx`` and ``fy`` times as large."""
        return replace(self, u=self.u * fx, v=self.v * fy, error_px=self.error_px * max(fx, fy))

    def _at(self, rows: Floats, cols: Floats) -> tuple[Floats, Floats]:
        return tuple(_interpolate(z, self.rows, self.cols, rows, cols) for z in (self.u, self.v))  # type: ignore[return-value]


def _mean_step(places: Floats, nodes: Floats) -> float:
    step = abs(float(places[-1] - places[0])) / float(nodes[-1] - nodes[0])
    return step if math.isfinite(step) else _median(abs(np.diff(places)))


def _median(values: Floats) -> float:
    """Return the median of the finite values (the upper one of two), 1 where there is none."""
    flat = values.ravel()
    if not math.isfinite(float(flat.sum())):
        flat = flat[np.isfinite(flat)]
    return float(np.partition(flat, flat.size // 2)[flat.size // 2]) if flat.size else 1.0


def _inside(nodes: Floats, size: int) -> Floats:
    """Return the nodes within the target, and its first and last pixel."""
    inner = nodes[(nodes > 0) & (nodes < size - 1)]
    ends = [0.0] if size == 1 else [0.0, size - 1.0]
    return np.concatenate([ends[:1], inner, ends[1:]])


def _slope(z: Floats, nodes: Floats, axis: int) -> Floats:
    if z.shape[axis] < 2:
        return np.zeros_like(z)
    with np.errstate(invalid="ignore"):
        slope: Floats = np.gradient(z, nodes, axis=axis)
    return slope


def _tame(scale: Floats) -> Floats:
    """Limit jumps of the scale (a branch cut, the edge of a projection) to its usual size."""
    finite = scale[np.isfinite(scale)]
    usual = float(np.median(finite)) if finite.size else 1.0
    return np.where(np.isfinite(scale), np.clip(scale, usual / 8, usual * 8), usual)


def _interpolate(z: Floats, node_rows: Floats, node_cols: Floats, rows: Floats, cols: Floats) -> Floats:
    """Interpolate node values linearly along rows, then along columns."""
    if z.shape[1] > 1:
        z = _lerp(z, node_cols, cols, 1)
    if z.shape[0] > 1:
        z = _lerp(z, node_rows, rows, 0)
    return z


def _lerp(z: Floats, nodes: Floats, at: Floats, axis: int) -> Floats:
    if nodes.size == at.size and np.array_equal(nodes, at):
        return z
    step = nodes[1] - nodes[0]
    place = (at - nodes[0]) / step
    low = np.minimum(np.maximum(np.floor(place), 0), nodes.size - 2).astype(np.intp)
    part = place - low
    if axis == 0:
        return _lerp_rows(z, low, part)
    first = z[:, low]
    with np.errstate(invalid="ignore"):
        difference = z[:, low + 1]
        difference -= first
        difference *= part
        first += difference
    return first


def _lerp_rows(z: Floats, low: NDArray[np.intp], part: Floats) -> Floats:
    """Interpolate between rows: z[low] + part × (z[low + 1] - z[low])."""
    out: Floats = np.empty((low.size, z.shape[1]))
    with np.errstate(invalid="ignore"):
        np.multiply((z[1:] - z[:-1])[low], part[:, None], out=out)
        out += z[low]
    return out


@dataclass(frozen=True, slots=True)
class Axes:
    """World coordinates of a grid's pixel centres, computed so that they do not depend on the window.

    For an upright grid, pixels are counted from the CRS's origin: two windows of one grid get the same bits
    for the same pixel, so what is read of a part is that part of what is read of the whole.
    """

    affine: Affine
    first_col: int
    first_row: int

    @classmethod
    def of(cls, geobox: GeoBox) -> Axes:
        """Make the axes of a grid."""
        a = geobox.affine
        if a.b or a.d:
            return cls(a, 0, 0)
        k, j = round(a.c / a.a), round(a.f / a.e)
        x0 = round((a.c - a.a * k) / a.a, 6) * a.a
        y0 = round((a.f - a.e * j) / a.e, 6) * a.e
        return cls(Affine(a.a, 0.0, x0, 0.0, a.e, y0), k, j)

    @property
    def upright(self) -> bool:
        """Whether x depends on columns alone, and y on rows."""
        return not (self.affine.b or self.affine.d)

    def at(self, rows: Floats, cols: Floats) -> tuple[Floats, Floats]:
        """Return (x, y) of pixel centres; (1, n) and (m, 1) for an upright grid, else both (m, n)."""
        c = (cols + self.first_col + 0.5)[None, :]
        r = (rows + self.first_row + 0.5)[:, None]
        a = self.affine
        if self.upright:
            return a.a * c + a.c, a.e * r + a.f
        return a.a * c + a.b * r + a.c, a.d * c + a.e * r + a.f


def _to_pixels(source: GeoBox, x: Floats, y: Floats) -> tuple[Floats, Floats]:
    """Return (column, row) of world places, the origin taken away first to keep all digits."""
    a = source.affine
    dx, dy = x - a.c, y - a.f
    if not (a.b or a.d):
        return dx / a.a, dy / a.e
    det = a.determinant
    with np.errstate(invalid="ignore"):
        return (a.e * dx - a.b * dy) / det, (a.a * dy - a.d * dx) / det


def affine_map(source: GeoBox, target: GeoBox) -> PixelMap:
    """Return the map between two grids of one CRS: exact, without a transform."""
    axes = Axes.of(target)
    height, width = target.shape
    rows, cols = (_two_nodes(n) for n in (height, width))
    if axes.upright:
        # Every pixel exact, on two short axes: nothing is interpolated.
        rows, cols = np.arange(max(height, 2), dtype=float), np.arange(max(width, 2), dtype=float)
    u, v = _to_pixels(source, *axes.at(rows, cols))
    separable = axes.upright and not (source.affine.b or source.affine.d)
    if not separable and axes.upright:
        rows, cols = _two_nodes(height), _two_nodes(width)
        x, y = axes.at(rows, cols)
        u, v = _to_pixels(source, *np.broadcast_arrays(x, y))
    return PixelMap((height, width), rows, cols, u, v, step_px=0, error_px=0.0)


def _two_nodes(size: int) -> Floats:
    return np.array([0.0, max(size - 1.0, 1.0)])


def grid_map(source: GeoBox, target: GeoBox) -> PixelMap:
    """Return the map between grids of two CRS: a coarse grid of exact points, checked and refined.

    Raises:
        CannotAlign: When no transformation between the two CRS is known.
    """
    axes = Axes.of(target)
    transform = transformer(str(target.crs), str(source.crs))
    period = wrap_period(str(source.crs))
    centre = None
    if period is not None:
        centre = _exact(source, axes, transform, (_middle(target.shape[0]), _middle(target.shape[1])), None)
    a = target.affine
    own = source.affine
    step = _step_for(
        (source.shape[0], source.shape[1]), (own.a, own.b, own.c, own.d, own.e, own.f), str(source.crs),
        str(target.crs), (a.a, a.b, a.d, a.e),
    )  # fmt: skip
    while True:
        rows, cols = (
            _nodes(first, size, step)
            for first, size in zip((axes.first_row, axes.first_col), target.shape, strict=True)
        )
        u, v = _exact(source, axes, transform, (rows, cols), (period, centre))
        found = PixelMap((target.shape[0], target.shape[1]), rows, cols, u, v, step, 0.0)
        error = _error_between(found, source, period) if step > 1 else 0.0
        if error <= MAX_ERROR_PX:
            return replace(found, error_px=error)
        step //= 2


def _error_between(found: PixelMap, source: GeoBox, period: float | None) -> float:
    """Return the error of interpolating between the nodes, where the source is: a quarter of twice the step's."""
    quick = max(_bend(found.u), _bend(found.v)) / 4
    if quick <= MAX_ERROR_PX:  # also where nothing of the source is near, which only refines less
        return quick
    near = _near(found, (source.shape[0], source.shape[1]), period)
    return _error_of_double(found, near) / 4


def _bend(z: Floats) -> float:
    """Return how far the nodes are from straight lines and planes between every second of them."""
    even = z[::2, ::2]
    along, down = (even[:, :-1] + even[:, 1:]) / 2, (even[:-1] + even[1:]) / 2
    with np.errstate(invalid="ignore"):
        worst = max(
            float(np.abs(along - z[::2, 1::2]).max()),
            float(np.abs(down - z[1::2, ::2]).max()),
            float(np.abs((along[:-1] + along[1:]) / 2 - z[1::2, 1::2]).max()),
        )
    return worst if math.isfinite(worst) else math.inf


@lru_cache(maxsize=1024)
def _step_for(
    shape: tuple[int, int],
    affine: tuple[float, float, float, float, float, float],
    source_crs: str,
    target_crs: str,
    linear: tuple[float, float, float, float],
) -> int:
    """Return the distance of nodes that is fine enough all over a source, whatever part of it is read.

    It depends on the two grids and not on the window, so that a part is read with the places of the whole.
    The error of a straight line is half the second difference over the halves of its span.
    """
    places = _sample(shape, Affine(*affine), transformer(source_crs, target_crs))
    back, period = transformer(target_crs, source_crs), wrap_period(source_crs)
    lines, half, (a, b, d, e) = ~Affine(*affine), float(LARGEST_STEP_PX), linear
    middle = back.transform(*places, errcheck=False)
    total = np.zeros(places[0].size)
    with np.errstate(invalid="ignore"):
        for step_x, step_y in ((a * half, d * half), (b * half, e * half)):
            bend_x, bend_y = np.zeros_like(total), np.zeros_like(total)
            for sign in (1, -1):
                x, y = back.transform(places[0] + sign * step_x, places[1] + sign * step_y, errcheck=False)
                dx = x - middle[0]
                bend_x += dx if period is None else dx - period * np.round(dx / period)
                bend_y += y - middle[1]
            total += np.hypot(lines.a * bend_x + lines.b * bend_y, lines.d * bend_x + lines.e * bend_y) / 2
    finite = total[np.isfinite(total)]
    error, step = float(finite.max(initial=0.0)) / 4, LARGEST_STEP_PX
    while step > SMALLEST_COMMON_STEP_PX and error > AIM_PX:
        step, error = step // 2, error / 4
    return step


def _sample(shape: tuple[int, int], a: Affine, forward: pyproj.Transformer) -> tuple[Floats, Floats]:
    """Return 7 × 7 places all over a source, in the other CRS."""
    height, width = shape
    cols, rows = np.meshgrid(np.linspace(0.5, width - 0.5, 7), np.linspace(0.5, height - 0.5, 7))
    x, y = a.a * cols + a.b * rows + a.c, a.d * cols + a.e * rows + a.f
    x, y = forward.transform(x.ravel(), y.ravel(), errcheck=False)
    return np.asarray(x, dtype=float), np.asarray(y, dtype=float)


def _middle(size: int) -> Floats:
    return np.array([float((size - 1) // 2)])


def _nodes(first: int, size: int, step: int) -> Floats:
    """Return node indices that cover 0 … size-1, at multiples of 2 × step counted from the CRS's origin."""
    if step == 1:
        return np.arange(max(size, 2), dtype=float)
    start = -(first % (2 * step))
    count = max(1, math.ceil((size - 1 - start) / (2 * step)))
    return start + step * np.arange(2 * count + 1, dtype=float)


def _error_of_double(found: PixelMap, near: NDArray[np.bool_]) -> float:
    """Return the error at the nodes that every second node predicts, where the source is.

    That is the error of twice the step; a straight line of half the span has a quarter of it.
    """
    rows, cols = found.rows[::2], found.cols[::2]
    worst = 0.0
    for z in (found.u, found.v):
        guess = _interpolate(z[::2, ::2], rows, cols, found.rows, found.cols)
        with np.errstate(invalid="ignore"):
            error = abs(guess - z)[near]
        if error.size:
            worst = max(worst, float(np.nan_to_num(error, nan=np.inf, posinf=np.inf).max()))
    return worst


def _near(found: PixelMap, source_shape: tuple[int, ...], period: float | None) -> NDArray[np.bool_]:
    """Tell which nodes fall in the source, or within a cell of it; all, where the source may be a turn away."""
    if period is not None:
        return np.isfinite(found.u) & np.isfinite(found.v)
    du, dv = found.scales()
    margin_u, margin_v = (2 * found.step_px * float(np.median(_tame(d))) + 2 for d in (du, dv))
    height, width = source_shape
    with np.errstate(invalid="ignore"):
        inside: NDArray[np.bool_] = (
            (found.u > -margin_u)
            & (found.u < width + margin_u)
            & (found.v > -margin_v)
            & (found.v < height + margin_v)
        )
    return inside


def _exact(
    source: GeoBox,
    axes: Axes,
    transform: pyproj.Transformer,
    nodes: tuple[Floats, Floats],
    wrap: tuple[float | None, tuple[Floats, Floats] | None] | None,
) -> tuple[Floats, Floats]:
    """Transform the nodes exactly; without ``wrap`` return world places, else source pixels."""
    place = axes.at(*nodes)
    shape = (nodes[0].size, nodes[1].size)
    x, y = (np.array(np.broadcast_to(z, shape), order="C") for z in place)
    transform.transform(x, y, errcheck=False, inplace=True)
    # A sum is finite only when all of it is (or so large that no grid has it).
    if not (math.isfinite(float(x.sum())) and math.isfinite(float(y.sum()))):
        bad = ~(np.isfinite(x) & np.isfinite(y))
        x[bad], y[bad] = np.nan, np.nan
    if wrap is None:
        return x, y
    period, centre = wrap
    if period is not None and centre is not None and np.isfinite(centre[0]).all():
        x = x - period * np.round((x - float(centre[0][0, 0])) / period)
    return _to_pixels(source, x, y)
