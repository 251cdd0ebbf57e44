"""Drawing reference points from a map of any size, so that every pixel's chance is known.

Stratified and simple random samples are drawn without replacement, each pixel with a chance in proportion to
its ground area (within its stratum), by Pareto order sampling (Rosén 1997): every pixel gets a random
number, is ranked by it and its size, and the first n are taken. Where all pixels are equal in area this is
simple random sampling without replacement. The map is read twice, block by block; the random
numbers follow from the seed and the block's place, so a draw can be repeated.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from geotoolbox.core.events import SILENT, Reporter
from geotoolbox.errors import BadInput, explain
from geotoolbox.metrics.population import Measured, Population, PopulationBlock

__all__ = ["Design", "DrawnPoints", "draw_points", "draw_systematic"]

Design = Literal["stratified", "simple", "systematic"]


@dataclass(frozen=True, slots=True)
class DrawnPoints:
    """Sample points, in random order, so that the order tells nothing about the classes.

    Attributes:
        row: (n,) pixel row in the map.
        column: (n,) pixel column.
        stratum: (n,) stratum index.
        mapped: (n,) class index in the map.
        area_m2: (n,) ground area of the pixel.
        probability: (n,) the chance with which the pixel was drawn.
    """

    row: NDArray[np.int64]
    column: NDArray[np.int64]
    stratum: NDArray[np.int64]
    mapped: NDArray[np.int64]
    area_m2: NDArray[np.float64]
    probability: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.row)

    def take(self, order: NDArray[Any]) -> DrawnPoints:
        """Return some of the points, or all in another order."""
        return DrawnPoints(*(getattr(self, f.name)[order] for f in fields(self)))


def draw_points(
    population: Population,
    measured: Measured,
    points: NDArray[Any],
    *,
    seed: int = 0,
    reporter: Reporter = SILENT,
) -> DrawnPoints:
    """Draw a stratified random sample; with one number in ``points``, a simple random sample.

    Args:
        population: What to draw from.
        measured: Its pixels and areas, from :func:`~geotoolbox.metrics.population.measure`.
        points: (S,) how many in each stratum; or (1,) in all, whatever the strata.
        seed: The same seed draws the same points.
        reporter: Hears of the progress, and can cancel.

    Returns:
        The points.

    Raises:
        BadInput: When a stratum has fewer pixels than points are asked for.
    """
    wanted = np.asarray(points, dtype=np.int64)
    pooled = len(wanted) == 1 != len(measured.pixels)
    pixels, area = measured.pixels.sum(axis=1), measured.area_m2.sum(axis=1)
    if pooled:
        pixels, area = pixels.sum(keepdims=True), area.sum(keepdims=True)
    if wanted.shape != pixels.shape or (wanted < 0).any() or (wanted > pixels).any():
        raise BadInput(
            explain(
                "more points than pixels in a stratum",
                got=wanted.tolist(),
                expected=f"at most {pixels.tolist()}",
            )
        )
    rate = np.divide(wanted, area, out=np.zeros(len(area)), where=area > 0)  # points a square metre
    margin = 1 + 6 / np.sqrt(np.maximum(wanted, 1)) + 10 / np.maximum(wanted, 1)
    for bound in (margin, np.full(len(wanted), np.inf)):  # the second pass is for strata drawn nearly whole
        pools = [_Pool(int(n)) for n in wanted]
        for block in population.blocks(reporter, "draw points"):
            _offer(block, pools, _Draw(rate, bound, seed, pooled))
        if all(len(pool) >= pool.wanted for pool in pools):
            break
    chosen = np.concatenate([pool.best() for pool in pools])
    order = _generator(seed, 1).permutation(len(chosen))
    return _points(chosen[order])


# Numbers of our own: a map whose errors were simulated with the same small seed must not be tied to the draw.
_STREAM = 0x6D1F_52C7_9A3E_B04B


def _generator(seed: int, purpose: int, *place: int) -> np.random.Generator:
    return np.random.default_rng([_STREAM, seed, purpose, *place])


@dataclass(frozen=True, slots=True)
class _Draw:
    """How one pass draws: points a square metre and the highest rank of interest, for each pool."""

    rate: NDArray[np.float64]
    bound: NDArray[np.float64]
    seed: int
    pooled: bool


def _offer(block: PopulationBlock, pools: list[_Pool], draw: _Draw) -> None:
    """Rank a block's pixels and offer the first to each stratum's pool."""
    chance = _generator(draw.seed, 0, block.row, block.column).random(block.mapped.shape)
    limits = _limits(draw, float(block.row_area_m2.max()))
    rows, columns = np.nonzero(chance < limits.max())
    pool_of = block.mapped[rows, columns]
    pool_of = np.where(pool_of >= 0, 0, -1) if draw.pooled else block.stratum[rows, columns]
    near = (pool_of >= 0) & (chance[rows, columns] < limits[np.maximum(pool_of, 0)])
    rows, columns, pool_of = rows[near], columns[near], pool_of[near]
    stratum, mapped = block.stratum[rows, columns], block.mapped[rows, columns]
    area, u = block.row_area_m2[rows], chance[rows, columns]
    probability = np.minimum(draw.rate[pool_of] * area, 1.0)
    rank = u / (1 - u) * (1 - probability) / probability
    fields = [rank, rows + block.row, columns + block.column, stratum, mapped, area, probability]
    points = np.rec.fromarrays(fields, dtype=_POINT)
    for number, pool in enumerate(pools):
        pool.add(points[pool_of == number])


def _limits(draw: _Draw, area: float) -> NDArray[np.float64]:
    """Return below which random number a pixel of at most that area can be of interest, for each pool.

    A rank below the bound is a number below bound·p / (1 − p + bound·p).
    """
    p = np.minimum(draw.rate * area, 1.0)
    whole = (p >= 1) | np.isinf(draw.bound)
    bound = np.where(whole, 1.0, draw.bound)
    limit = np.where(whole, 1.0, bound * p / (1 - p + bound * p))
    return np.where(p > 0, limit, 0.0)


_POINT = np.dtype(
    [
        ("rank", "f8"),
        ("row", "i8"),
        ("column", "i8"),
        ("stratum", "i8"),
        ("mapped", "i8"),
        ("area", "f8"),
        ("p", "f8"),
    ]
)


class _Pool:
    """The points of one stratum with the lowest ranks so far."""

    def __init__(self, wanted: int) -> None:
        self.wanted = wanted
        self._parts: list[NDArray[Any]] = []
        self._held = 0

    def add(self, points: NDArray[Any]) -> None:
        """Offer points; no more than a few times what is wanted are kept."""
        self._parts.append(points)
        self._held += len(points)
        if self._held > 4 * self.wanted + 10_000:
            self._parts = [self.best()]
            self._held = len(self._parts[0])

    def best(self) -> NDArray[Any]:
        """Return the lowest ranks, in order; equal ranks go by place."""
        every = np.concatenate(self._parts) if self._parts else np.empty(0, dtype=_POINT)
        return every[np.lexsort((every["column"], every["row"], every["rank"]))[: self.wanted]]

    def __len__(self) -> int:
        return self._held


def draw_systematic(
    population: Population,
    measured: Measured,
    points: int,
    *,
    seed: int = 0,
    reporter: Reporter = SILENT,
) -> DrawnPoints:
    """Draw a systematic sample: a square lattice of pixels with a random start.

    Every pixel has the same chance; how many points come out varies a little with the start.

    Args:
        population: What to draw from.
        measured: Its pixels and areas.
        points: About how many.
        seed: The same seed draws the same points.
        reporter: Hears of the progress, and can cancel.

    Raises:
        BadInput: When more points than pixels are asked for, or the lattice misses the population.
    """
    total = int(measured.pixels.sum())
    if not 0 < points <= total:
        raise BadInput(explain("points for a systematic sample", got=points, expected=f"1 to {total:,}"))
    step = math.sqrt(total / points)
    start = _generator(seed, 2).random(2) * step
    parts = []
    for block in population.blocks(reporter, "draw points"):
        height, width = block.mapped.shape
        rows = _lattice(start[0], step, block.row, height)
        columns = _lattice(start[1], step, block.column, width)
        r, c = (a.ravel() for a in np.meshgrid(rows, columns, indexing="ij"))
        here = block.mapped[r, c] >= 0
        r, c = r[here], c[here]
        chance = np.full(len(r), 1 / step**2)
        found = [np.zeros(len(r)), r + block.row, c + block.column, block.stratum[r, c], block.mapped[r, c]]
        parts.append(np.rec.fromarrays([*found, block.row_area_m2[r], chance], dtype=_POINT))
    chosen = np.concatenate(parts)
    if not len(chosen):
        raise BadInput(explain("the lattice meets no pixel", got=f"{points} points", fix="take more points"))
    return _points(chosen[_generator(seed, 1).permutation(len(chosen))])


def _lattice(start: float, step: float, first: int, size: int) -> NDArray[np.int64]:
    """Return the lattice's rows (or columns) inside a block, counted from its first."""
    lowest = math.ceil((first - start) / step - 1)
    numbers = np.arange(max(lowest, 0), math.ceil((first + size - start) / step) + 1)
    places = np.floor(start + numbers * step).astype(np.int64) - first
    return places[(places >= 0) & (places < size)]


def _points(found: NDArray[Any]) -> DrawnPoints:
    return DrawnPoints(
        *(np.ascontiguousarray(found[n]) for n in ("row", "column", "stratum", "mapped", "area", "p"))
    )
