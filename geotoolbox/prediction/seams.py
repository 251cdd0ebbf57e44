"""The seam ratio: how much steeper a prediction is where tiles begin and end than right beside.

Steps at a tile edge are compared with the steps a few pixels away along the same edge. So land that is steep by itself
(a river bank, a field's border) counts on both sides of the ratio, and few edges do not look like seams by chance.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from geotoolbox.prediction.blending import Strip
from geotoolbox.prediction.lattice import Lattice
from geotoolbox.prediction.loops import steps_across, steps_down

__all__ = ["ALARM", "REACH_PX", "SeamMeter", "seam_ratio", "seams_show"]

ALARM = 1.05
"""A seam ratio above this deserves a warning, where it is also above what chance explains."""

SAMPLE = 4
REACH_PX = 12
"""How far from a tile edge the steps are looked at that the edge is compared with."""

NEAR_PX = 4
"""So near to an edge, steps may be the edge's doing too (padding); they are on neither side of the ratio."""

Profile = Sequence[Sequence[float]] | NDArray[np.float64]


class SeamMeter:
    """Sums absolute differences of neighbouring probabilities by their distance from the nearest tile edges.

    One row and one column in four are looked at, so it costs little.

    Attributes:
        sums: (2, 2·REACH_PX + 1): the sum of steps and the number of pairs, from REACH_PX before an edge to
            REACH_PX after it.
    """

    def __init__(self, lattice: Lattice) -> None:
        self._lattice = lattice
        self._last: tuple[NDArray[np.float32], NDArray[np.bool_]] | None = None
        self.sums: NDArray[np.float64] = np.zeros((2, 2 * REACH_PX + 1))

    def add(self, strip: Strip) -> None:
        """Look at the final rows of a block; they must come from top to bottom."""
        window, weight = strip.window, strip.weight.numpy()
        fields = np.ascontiguousarray(strip.sums.transpose(0, 1).numpy()), weight, strip.valid
        edges = self._lattice.is_seam(window.left, window.right)[1:]
        if len(edges):
            totals, counts = np.zeros(len(edges)), np.zeros(len(edges), dtype=np.int64)
            steps_across(
                fields, (-window.top % SAMPLE, SAMPLE), np.flatnonzero(_near(edges)), (totals, counts)
            )
            self._count(edges, totals, counts)
        first = -window.left % SAMPLE
        if first < window.width:
            self._down(fields, (first, SAMPLE), self._lattice.is_seam(window.top, window.bottom))

    def _down(
        self,
        fields: tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.bool_]],
        cols: tuple[int, int],
        edges: NDArray[np.bool_],
    ) -> None:
        begins = self._last is None  # then the first row has none above it
        if self._last is None:
            number = len(range(cols[0], fields[0].shape[2], cols[1]))
            self._last = np.zeros((fields[0].shape[1], number), np.float32), np.zeros(number, np.bool_)
        totals, counts = np.zeros(len(edges)), np.zeros(len(edges), dtype=np.int64)
        rows = slice(1 if begins else 0, None)
        near = np.zeros(len(edges), np.bool_)
        near[rows] = _near(edges[rows])
        steps_down(fields, cols, near, self._last, (totals, counts))
        self._count(edges[rows], totals[rows], counts[rows])

    def _count(
        self, edges: NDArray[np.bool_], totals: NDArray[np.float64], counts: NDArray[np.int64]
    ) -> None:
        for offset in range(-REACH_PX, REACH_PX + 1):
            where = np.flatnonzero(edges) + offset
            where = where[(where >= 0) & (where < len(edges))]
            where = where if offset == 0 else where[~edges[where]]
            self.sums[:, offset + REACH_PX] += totals[where].sum(), counts[where].sum()


def _near(edges: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Tell what is within reach of an edge.

    Example:
        >>> np.flatnonzero(_near(np.arange(100) == 50))[[0, -1]].tolist()
        [38, 62]
    """
    near = np.zeros(len(edges), dtype=np.bool_)
    for edge in np.flatnonzero(edges).tolist():
        near[max(0, edge - REACH_PX) : edge + REACH_PX + 1] = True
    return near


def seam_ratio(profiles: Iterable[Profile]) -> float:
    """Return mean step at tile edges / mean step beside them; NaN where there is no edge, or no step at all.

    Example:
        >>> beside = [2.0] * (2 * REACH_PX + 1)
        >>> steps = [*beside[:REACH_PX], 4.0, *beside[REACH_PX + 1:]]
        >>> round(seam_ratio([[steps, [10] * (2 * REACH_PX + 1)]]), 6)
        2.0
    """
    at, beside = _means(profiles)
    middle = float(np.mean(beside)) if len(beside) else math.nan
    return at / middle if middle else math.nan


def seams_show(profiles: Iterable[Profile]) -> bool:
    """Tell whether tile edges are steeper than chance explains: above ALARM, and above all that is beside them.

    Chance is judged by how much the mean step differs from one distance to the next (four standard deviations).
    """
    profiles = list(profiles)
    ratio = seam_ratio(profiles)
    _, beside = _means(profiles)
    if math.isnan(ratio) or len(beside) < 2:
        return False
    return ratio > max(ALARM, 1 + 4 * float(np.std(beside) / np.mean(beside)))


def _means(profiles: Iterable[Profile]) -> tuple[float, NDArray[np.float64]]:
    """Return the mean step at edges, and the mean steps at each distance beyond NEAR_PX."""
    sums, pairs = np.sum(
        [np.asarray(p, float) for p in profiles] or [np.zeros((2, 2 * REACH_PX + 1))], axis=0
    )
    distance = np.abs(np.arange(-REACH_PX, REACH_PX + 1))
    there = (distance > NEAR_PX) & (pairs > 0)
    at = sums[REACH_PX] / pairs[REACH_PX] if pairs[REACH_PX] else math.nan
    return float(at), sums[there] / pairs[there]
