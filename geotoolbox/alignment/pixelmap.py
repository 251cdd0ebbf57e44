"""From the pixels of one grid to the pixels of another: exact points, few of them, and what lies between.

A map gives, for each target pixel centre, the place (u, v) in a source: columns and rows from the corner of
its first pixel, in float64. Where the CRS differ, points are transformed exactly on a coarse grid and
interpolated (:mod:`geotoolbox.alignment.nodes`); the error of that is measured at points in between, and the
grid refined where it is too large.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
import pyproj
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox

from geotoolbox.alignment.axes import Axes, to_pixels
from geotoolbox.alignment.loops import reach, spread
from geotoolbox.alignment.nodes import CELL_PX, SMOOTH_PX, between, finer, roughness, spacing
from geotoolbox.alignment.systems import transformer, wrap_period
from geotoolbox.core.scratch import SCRATCH

__all__ = ["MAX_ERROR_PX", "PixelMap", "affine_map", "grid_map"]

Floats = NDArray[np.float64]

MAX_ERROR_PX = 2e-5
"""The largest coordinate error that is accepted, in source pixels: 0.2 DN of 0–9999 noise."""

_FEW = 8


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
        u, v = (self._dense(z, np.empty(self._size(z))) for z in (self.u, self.v))
        return u, v

    def passing_coordinates(self) -> tuple[Floats, Floats]:
        """As :meth:`coordinates`, in memory that the next call in this thread uses again."""
        u, v = (
            self._dense(z, SCRATCH.array(f"places {name}", self._size(z), np.float64))
            for name, z in (("u", self.u), ("v", self.v))
        )
        return u, v

    def _size(self, z: Floats) -> tuple[int, int]:
        """Return the shape of places that nodes tell: one row or column where those are the same for all."""
        return (1 if z.shape[0] == 1 else self.shape[0]), (1 if z.shape[1] == 1 else self.shape[1])

    def _dense(self, z: Floats, out: Floats) -> Floats:
        spread(np.ascontiguousarray(z), _line(self.rows), _line(self.cols), out)
        return out

    def extent(self) -> tuple[float, float, float, float] | None:
        """Return (u min, v min, u max, v max) over all pixel centres; None when none is finite."""
        found = [
            reach(np.ascontiguousarray(z), _line(self.rows), _line(self.cols), (self.shape[0], self.shape[1]))
            for z in (self.u, self.v)
        ]
        (u0, u1), (v0, v1) = found
        return (u0, v0, u1, v1) if u0 <= u1 and v0 <= v1 else None

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
        i, j = (max(1, (n - 1) // _FEW) for n in self.u.shape)  # a median needs no more than some nodes
        across, down = self.cols[j] - self.cols[0], self.rows[i] - self.rows[0]
        found = []
        for z in (self.u[::i, ::j], self.v[::i, ::j]):
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


def _mean_step(places: Floats, nodes: Floats) -> float:
    step = abs(float(places[-1] - places[0])) / float(nodes[-1] - nodes[0])
    return step if math.isfinite(step) else _median(abs(np.diff(places)))


def _median(values: Floats) -> float:
    """Return the median of the finite values (the upper one of two), 1 where there is none."""
    flat = values.ravel()
    if not math.isfinite(float(flat.sum())):
        flat = flat[np.isfinite(flat)]
    return float(np.partition(flat, flat.size // 2)[flat.size // 2]) if flat.size else 1.0


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


def _line(nodes: Floats) -> tuple[float, float]:
    """Return the first of evenly spaced nodes, and their distance."""
    return float(nodes[0]), float(nodes[1] - nodes[0])


def affine_map(source: GeoBox, target: GeoBox) -> PixelMap:
    """Return the map between two grids of one CRS: exact, without a transform."""
    axes = Axes.of(target)
    height, width = target.shape
    rows, cols = (_two_nodes(n) for n in (height, width))
    if axes.upright:
        # Every pixel exact, on two short axes: nothing is interpolated.
        rows, cols = np.arange(max(height, 2), dtype=float), np.arange(max(width, 2), dtype=float)
    u, v = to_pixels(source, *axes.at(rows, cols))
    separable = axes.upright and not (source.affine.b or source.affine.d)
    if not separable and axes.upright:
        rows, cols = _two_nodes(height), _two_nodes(width)
        x, y = axes.at(rows, cols)
        u, v = to_pixels(source, *np.broadcast_arrays(x, y))
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
    step, bend = spacing(
        (source.shape[0], source.shape[1]), (own.a, own.b, own.c, own.d, own.e, own.f), str(source.crs),
        str(target.crs), (a.a, a.b, a.d, a.e),
    )  # fmt: skip
    quick = None
    if bend is not None:
        quick = _from_few(source, target, axes, (step, bend), (period, centre))
    if quick is not None:
        return quick
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


def _from_few(
    source: GeoBox,
    target: GeoBox,
    axes: Axes,
    chosen: tuple[int, float],
    wrap: tuple[float | None, tuple[Floats, Floats] | None],
) -> PixelMap | None:
    """Return the map with nodes from few exact points; None where those are not smooth enough."""
    transform = transformer(str(target.crs), str(source.crs))
    shape, first, step = (target.shape[0], target.shape[1]), (axes.first_row, axes.first_col), chosen[0]
    rows, cols = (_nodes(f, n, step) for f, n in zip(first, shape, strict=True))
    down, across = (
        finer((f + int(nodes[0])) % CELL_PX, nodes.size, step)
        for f, nodes in zip(first, (rows, cols), strict=True)
    )
    z = np.stack(_exact(source, axes, transform, (down.places(rows[0]), across.places(cols[0])), wrap))
    rough = roughness(z)
    if rough > SMOOTH_PX:
        return None
    u, v = between(z, down, across)
    return PixelMap(shape, rows, cols, u, v, step, rough + chosen[1])


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
    worst = 0.0
    for z in (found.u, found.v):
        guess = np.empty_like(z)
        spread(np.ascontiguousarray(z[::2, ::2]), (0.0, 2.0), (0.0, 2.0), guess)
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
    return to_pixels(source, x, y)
