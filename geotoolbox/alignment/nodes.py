"""Nodes of a pixel map from fewer exact points: polynomials of the fourth degree in cells of the target grid.

Transforming a point costs some hundred times as much as interpolating one. Between CRS, places bend so evenly that
points 64 px apart tell those between them to a millionth of a pixel. Where they do not (edges of a projection, kinks
of a grid of datum shifts), every node is transformed instead. Cells are counted from the CRS's origin and sums have
a fixed order, so that what a node gets does not depend on the window.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import pyproj
from affine import Affine
from numpy.typing import NDArray

from geotoolbox.alignment.systems import transformer, wrap_period
from geotoolbox.core.compiled import compiled

__all__ = ["CELL_PX", "SMOOTH_PX", "Finer", "between", "finer", "roughness", "spacing"]

Floats = NDArray[np.float64]

SPACING_PX, INTERVALS = 64, 4
CELL_PX = SPACING_PX * INTERVALS
SMOOTH_PX = 4e-6
"""The largest fourth difference of exact points, in source pixels, that is called smooth."""

AIM_PX = 1.5e-5
"""The error that the distance of the nodes is chosen for, in source pixels."""

LARGEST_STEP_PX, SMALLEST_COMMON_STEP_PX = 16, 2


@dataclass(frozen=True, slots=True, eq=False)
class Finer:
    """How nodes along one axis come from exact points.

    Attributes:
        lead: How many pixels the first exact point lies before the first node.
        count: How many exact points there are.
        index: (5, n) which points each node is made of.
        weight: (5, n) and how much of each.
    """

    lead: int
    count: int
    index: NDArray[np.intp]
    weight: Floats

    def places(self, first: float) -> Floats:
        """Return where the exact points are when the first node is at ``first``."""
        return first - self.lead + SPACING_PX * np.arange(self.count, dtype=float)


@lru_cache(maxsize=4096)
def finer(offset: int, count: int, step: int) -> Finer:
    """Return how to make ``count`` nodes, ``step`` pixels apart.

    Args:
        offset: Pixels from the beginning of a cell to the first node, less than :data:`CELL_PX`.
        count: How many nodes.
        step: Their distance; it divides :data:`SPACING_PX`.

    Example:
        >>> found = finer(250, 3, 2)
        >>> found.lead, found.count, found.index[0].tolist()
        (250, 5, [0, 0, 0])
    """
    places = offset + step * np.arange(count)
    cells = max(1, math.ceil((offset + step * (count - 1)) / CELL_PX))
    cell = np.minimum(places // CELL_PX, cells - 1)
    t = (places - cell * CELL_PX) / SPACING_PX
    nodes = range(INTERVALS + 1)
    weight = np.array([np.prod([(t - j) / (k - j) for j in nodes if j != k], axis=0) for k in nodes])
    index = (cell * INTERVALS)[None] + np.arange(INTERVALS + 1)[:, None]
    return Finer(offset, cells * INTERVALS + 1, index.astype(np.intp), weight)


def between(z: Floats, rows: Finer, cols: Finer) -> Floats:
    """Return values at all nodes, (2, m, n), from those at exact points, (2, r, c)."""
    out = np.empty((len(z), rows.index.shape[1], cols.index.shape[1]))
    _between(np.ascontiguousarray(z), rows.index, rows.weight, cols.index, cols.weight, out)
    return out


@compiled
def _between(
    z: Floats,
    row_index: NDArray[np.intp],
    row_weight: Floats,
    col_index: NDArray[np.intp],
    col_weight: Floats,
    out: Floats,
) -> None:
    """Make each node of its five rows of exact points, then of its five columns; terms are added in order."""
    line = np.empty(z.shape[2])
    for plane in range(z.shape[0]):
        for row in range(out.shape[1]):
            for col in range(line.size):
                total = z[plane, row_index[0, row], col] * row_weight[0, row]
                for k in range(1, row_index.shape[0]):
                    total += z[plane, row_index[k, row], col] * row_weight[k, row]
                line[col] = total
            for col in range(out.shape[2]):
                total = line[col_index[0, col]] * col_weight[0, col]
                for k in range(1, col_index.shape[0]):
                    total += line[col_index[k, col]] * col_weight[k, col]
                out[plane, row, col] = total


def roughness(z: Floats) -> float:
    """Return the largest fourth difference over a cell, (2, 4 i + 1, 4 j + 1); infinite where a value is missing."""
    with np.errstate(invalid="ignore"):
        down = z[:, :-1:4] + z[:, 4::4] - 4 * (z[:, 1::4] + z[:, 3::4]) + 6 * z[:, 2::4]
        across = z[..., :-1:4] + z[..., 4::4] - 4 * (z[..., 1::4] + z[..., 3::4]) + 6 * z[..., 2::4]
        worst = max(float(np.abs(down).max()), float(np.abs(across).max()))
    return worst if math.isfinite(worst) else math.inf


Grid = tuple[float, float, float, float, float, float]


@lru_cache(maxsize=1024)
def spacing(
    shape: tuple[int, int],
    affine: Grid,
    source_crs: str,
    target_crs: str,
    linear: tuple[float, float, float, float],
) -> tuple[int, float | None]:
    """Return the distance of nodes that is fine enough all over a source, and the error of what is between them.

    The error is None where few exact points do not make the nodes, or it is too large. All this depends on the two
    grids and not on the window, so that a part is read with the places of the whole. The error of a straight line is
    half the second difference over the halves of its span.

    Args:
        shape: Rows and columns of the source.
        affine: Its grid (a, b, c, d, e, f).
        source_crs: Its CRS.
        target_crs: That of the target.
        linear: (a, b, d, e) of the target's grid.
    """
    own = Affine(*affine)
    places = _sample(shape, own, transformer(source_crs, target_crs))
    half = float(LARGEST_STEP_PX)
    bend = sum(_bend(places, step, own, (source_crs, target_crs)) for step in _steps(linear, half)) / 2
    rough = np.maximum(
        *(_bend(places, step, own, (source_crs, target_crs), 4) for step in _steps(linear, SPACING_PX))
    )
    step, error = LARGEST_STEP_PX, _most(np.asarray(bend)) / 4
    while step > SMALLEST_COMMON_STEP_PX and error > AIM_PX:
        step, error = step // 2, error / 4
    smooth = bool(np.isfinite(rough).any()) and _most(rough) <= SMOOTH_PX / 2
    return step, error if smooth and error <= AIM_PX else None


def _steps(linear: tuple[float, float, float, float], size: float) -> tuple[tuple[float, float], ...]:
    """Return ``size`` columns and ``size`` rows of the target, as distances on the ground."""
    a, b, d, e = linear
    return (a * size, d * size), (b * size, e * size)


def _bend(
    places: tuple[Floats, Floats],
    step: tuple[float, float],
    own: Affine,
    names: tuple[str, str],
    order: int = 2,
) -> Floats:
    """Return the size of the second or fourth difference at places of the target's CRS, in source pixels."""
    back, period, lines = transformer(names[1], names[0]), wrap_period(names[0]), ~own
    terms = {2: ((1, 1), (-1, 1)), 4: ((1, -4), (-1, -4), (2, 1), (-2, 1))}[order]  # beside the middle's own
    middle = back.transform(*places, errcheck=False)
    x, y = np.zeros(places[0].size), np.zeros(places[0].size)
    with np.errstate(invalid="ignore"):
        for shift, share in terms:
            east, north = back.transform(
                places[0] + shift * step[0], places[1] + shift * step[1], errcheck=False
            )
            dx = east - middle[0]
            x += share * (dx if period is None else dx - period * np.round(dx / period))
            y += share * (north - middle[1])
        bend: Floats = np.hypot(lines.a * x + lines.b * y, lines.d * x + lines.e * y)
    return bend


def _most(values: Floats) -> float:
    """Return the largest of the finite values, 0 where there is none."""
    return float(values[np.isfinite(values)].max(initial=0.0))


def _sample(shape: tuple[int, int], a: Affine, forward: pyproj.Transformer) -> tuple[Floats, Floats]:
    """Return 7 × 7 places all over a source, in the other CRS."""
    height, width = shape
    cols, rows = np.meshgrid(np.linspace(0.5, width - 0.5, 7), np.linspace(0.5, height - 0.5, 7))
    x, y = a.a * cols + a.b * rows + a.c, a.d * cols + a.e * rows + a.f
    x, y = forward.transform(x.ravel(), y.ravel(), errcheck=False)
    return np.asarray(x, dtype=float), np.asarray(y, dtype=float)
