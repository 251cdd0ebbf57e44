"""Means and ratios from a stratified sample, with standard errors: the one formula behind all estimates.

Every accuracy and area is a ratio of two totals over the map: of the ground where something holds (``y``)
over the ground where something else does (``x``). Stehman (2014) gives the estimator for strata of any kind;
with the map's classes as strata and no finite-population correction it is Olofsson et al. (2014), and with
one stratum it is simple random sampling. So there is one implementation, and the papers' tables test it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geotoolbox.errors import BadInput, explain

__all__ = ["DesignSample", "Estimate", "estimate_cells", "estimate_ratio", "z_value"]

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Estimate:
    """A number estimated from a sample.

    Attributes:
        value: The estimate; NaN where undefined.
        standard_error: Its standard error; NaN where undefined.
        low: The lower bound of the confidence interval.
        high: The upper bound.
        reason: Why something above is NaN; empty where nothing is.
    """

    value: float
    standard_error: float
    low: float
    high: float
    reason: str = ""

    @property
    def half_width(self) -> float:
        """Half the width of the confidence interval."""
        return (self.high - self.low) / 2

    def scaled(self, factor: float) -> Estimate:
        """Return the estimate in another unit: every number times ``factor``."""
        numbers = (self.value, self.standard_error, self.low, self.high)
        value, error, low, high = (factor * n for n in numbers)
        return Estimate(value, error, low, high, self.reason)

    def to_json(self) -> dict[str, float | str | None]:
        """Return plain data; NaN becomes null."""
        pairs = {
            "value": self.value,
            "standard_error": self.standard_error,
            "low": self.low,
            "high": self.high,
        }
        plain: dict[str, float | str | None] = {k: None if math.isnan(v) else v for k, v in pairs.items()}
        return plain | ({"reason": self.reason} if self.reason else {})


def z_value(confidence_percent: float) -> float:
    """Return how many standard errors make the half-width of an interval.

    At 95 % this is 1.96 exactly, as in the papers; else the quantile of the normal distribution.

    Example:
        >>> z_value(95), round(z_value(90), 4)
        (1.96, 1.6449)
    """
    if not 0 < confidence_percent < 100:
        raise BadInput(explain("the confidence must lie between 0 and 100 %", got=confidence_percent))
    return 1.96 if confidence_percent == 95 else NormalDist().inv_cdf(0.5 + confidence_percent / 200)


@dataclass(frozen=True, slots=True)
class DesignSample:
    """A labelled probability sample, counted: H strata, K map classes by K reference classes.

    Attributes:
        counts: (H, K, K) points by stratum, map class and reference class.
        stratum_sizes: (H,) how large each stratum is: pixels, or better its area, in any one unit.
        strata: The H names.
        unit_sum: (H, K, K) the points' own sizes, summed (1 each, unless points were drawn with equal chance
            although their pixels differ in area).
        unit_square_sum: (H, K, K) the same, squared before summing.
        population_px: (H,) the pixels that could have been drawn; only for the finite-population correction.
        by_map_class: Stratum i is exactly the ground that the map calls class i.
    """

    counts: NDArray[np.int64]
    stratum_sizes: Floats
    strata: tuple[str, ...]
    unit_sum: Floats
    unit_square_sum: Floats
    population_px: Floats | None = None
    by_map_class: bool = False

    def __post_init__(self) -> None:
        strata = len(self.stratum_sizes)
        if self.counts.ndim != 3 or len(self.counts) != strata or len(self.strata) != strata:
            raise BadInput(
                explain("strata and counts do not fit", got=self.counts.shape, expected=(strata, "K", "K"))
            )
        if not np.isfinite(self.stratum_sizes).all() or self.stratum_sizes.min(initial=0) < 0:
            raise BadInput(
                explain("stratum sizes must be known and not negative", got=self.stratum_sizes.tolist())
            )
        empty = [
            n for n, s, c in zip(self.strata, self.stratum_sizes, self.points, strict=True) if c and not s
        ]
        if empty:
            raise BadInput(
                explain(
                    "points lie in strata of size 0", got=", ".join(empty), fix="give the strata's true sizes"
                )
            )
        if not self.stratum_sizes.sum() > 0:
            raise BadInput(explain("all strata together have no area", expected="sizes above 0"))

    @classmethod
    def from_matrix(
        cls, counts: NDArray[Any], map_sizes: NDArray[Any], names: tuple[str, ...] = ()
    ) -> DesignSample:
        """Make a sample that was stratified by map class from its error matrix.

        Args:
            counts: (K, K) points; row = map class (and stratum), column = reference class.
            map_sizes: (K,) pixels, area or share of each map class.
            names: The classes.

        Raises:
            BadInput: When the matrix is not square, or holds anything but counts.
        """
        table = np.asarray(counts)
        k = len(table)
        if table.shape != (k, k) or np.shape(map_sizes) != (k,):
            raise BadInput(
                explain(
                    "matrix and class sizes do not fit",
                    got=(table.shape, np.shape(map_sizes)),
                    expected="(K, K), (K,)",
                )
            )
        if k == 0 or table.min() < 0 or (table != np.rint(table)).any():
            raise BadInput(explain("an error matrix holds whole numbers of points", got=table.tolist()))
        cells = np.zeros((k, k, k), dtype=np.int64)
        cells[np.arange(k), np.arange(k)] = table
        sizes, units = np.asarray(map_sizes, dtype=np.float64), cells.astype(np.float64)
        labels = names or tuple(f"class {i + 1}" for i in range(k))
        return cls(cells, sizes, labels, units, units, by_map_class=True)

    @classmethod
    def from_points(
        cls,
        stratum: NDArray[Any],
        mapped: NDArray[Any],
        reference: NDArray[Any],
        stratum_sizes: NDArray[Any],
        num_classes: int,
        *,
        strata: tuple[str, ...] = (),
        unit_sizes: NDArray[Any] | None = None,
        population_px: NDArray[Any] | None = None,
        by_map_class: bool = False,
    ) -> DesignSample:
        """Count points.

        Args:
            stratum: (n,) index of each point's stratum.
            mapped: (n,) index of its class in the map.
            reference: (n,) index of its true class.
            stratum_sizes: (H,) as the attribute.
            num_classes: K.
            strata: The H names.
            unit_sizes: (n,) the area of each point's pixel, where points were drawn with equal chance from
                pixels of unequal area; None when the chance was in proportion to area.
            population_px: As the attribute.
            by_map_class: As the attribute.

        Raises:
            BadInput: When an index is outside its range, or lengths differ.
        """
        sizes = np.asarray(stratum_sizes, dtype=np.float64)
        shape = (len(sizes), num_classes, num_classes)
        places = [np.asarray(a, dtype=np.int64) for a in (stratum, mapped, reference)]
        if len({a.shape for a in places}) > 1:
            raise BadInput(explain("columns of points differ in length", got=[len(a) for a in places]))
        for name, place, size in zip(("stratum", "map class", "reference"), places, shape, strict=True):
            if place.size and (place.min() < 0 or place.max() >= size):
                raise BadInput(
                    explain(
                        f"{name} out of range", got=(place.min(), place.max()), expected=f"0 to {size - 1}"
                    )
                )
        cell = np.ravel_multi_index((places[0], places[1], places[2]), shape)
        unit = np.ones(len(cell)) if unit_sizes is None else np.asarray(unit_sizes, dtype=np.float64)
        total = int(np.prod(shape))
        once, squared = (_sum_by_cell(cell, w, shape) for w in (unit, unit * unit))
        labels = strata or tuple(f"stratum {i + 1}" for i in range(shape[0]))
        pixels = None if population_px is None else np.asarray(population_px, dtype=np.float64)
        counts = np.bincount(cell, minlength=total).reshape(shape)
        return cls(counts, sizes, labels, once, squared, pixels, by_map_class)

    @property
    def points(self) -> NDArray[np.int64]:
        """(H,) points in each stratum."""
        return np.asarray(self.counts.sum(axis=(1, 2)), dtype=np.int64)

    @property
    def num_classes(self) -> int:
        """K."""
        return int(self.counts.shape[1])

    def open_fraction(self, finite_population: bool) -> Floats:
        """Return (H,) by how much each stratum's variance shrinks, as some of its pixels are known for sure.

        Without the finite-population correction this is 1; but a stratum that was drawn whole is 0 either way.
        """
        if self.population_px is None:
            return np.ones(len(self.strata))
        drawn = np.minimum(self.points / np.maximum(self.population_px, 1), 1.0)
        return 1 - (drawn if finite_population else np.floor(drawn))


def estimate_ratio(
    sample: DesignSample,
    above: NDArray[Any],
    below: NDArray[Any] | None = None,
    *,
    z: float = 1.96,
    finite_population: bool = False,
    only: int | None = None,
    undefined: str = "no sample point below the fraction line",
) -> Estimate:
    """Estimate a mean or a ratio (Stehman 2014).

    Args:
        sample: The sample.
        above: (K, K) what a point of map class i and reference class j counts above the line.
        below: (K, K) what it counts below; None for a mean over all ground.
        z: Half-width of the interval in standard errors.
        finite_population: Shrink the error by the share of the pixels that was drawn.
        only: Use this stratum alone (where all of ``below`` lies in it by construction).
        undefined: Why the ratio is undefined when nothing counts below the line.

    Returns:
        The estimate; NaN with a reason where the sample cannot tell.
    """
    used = sample.stratum_sizes > 0
    if only is not None:
        used = used & (np.arange(len(used)) == only)
    if not used.any():
        return _unknown("the map has none of it")
    points = sample.points
    if (points[used] == 0).any():
        return _unknown(f"no sample point in stratum {_names(sample, used & (points == 0))}")
    sizes, top = sample.stratum_sizes[used], np.asarray(above, dtype=np.float64)
    units, squares, n = sample.unit_sum[used], sample.unit_square_sum[used], points[used]
    weight = units.sum(axis=(1, 2))
    mean_top = (units * top).sum(axis=(1, 2)) / weight
    bottom = np.ones_like(top) if below is None else np.asarray(below, dtype=np.float64)
    mean_bottom = (units * bottom).sum(axis=(1, 2)) / weight
    total = float((sizes * mean_bottom).sum())
    if total == 0:
        return _unknown(undefined)
    value = float((sizes * mean_top).sum()) / total
    # each point's part in the error, within its stratum; on equal units its variance is that of y − R·x
    part = (top - mean_top[:, None, None]) - value * (bottom - mean_bottom[:, None, None])
    spread = (squares * part**2).sum(axis=(1, 2)) / (weight / n) ** 2
    free = sample.open_fraction(finite_population)[used]
    single = (n == 1) & (free > 0)
    if single.any():
        lonely = np.flatnonzero(used)[single]
        names = ", ".join(sample.strata[i] for i in lonely)
        return Estimate(value, math.nan, math.nan, math.nan, f"one sample point only in stratum {names}")
    variance = float((sizes**2 * free * spread / n / np.maximum(n - 1, 1)).sum()) / total**2
    error = math.sqrt(variance)
    return Estimate(value, error, value - z * error, value + z * error)


def estimate_cells(sample: DesignSample, *, finite_population: bool = False) -> tuple[Floats, Floats]:
    """Estimate the share of the ground in each cell of the error matrix.

    Returns:
        (K, K) shares that sum to 1, and (K, K) their standard errors; row = map, column = reference. NaN
        where a stratum has too few points.
    """
    used, points = sample.stratum_sizes > 0, sample.points
    share = np.where(used, sample.stratum_sizes, 0) / sample.stratum_sizes.sum()
    weight = np.where(points > 0, sample.unit_sum.sum(axis=(1, 2)), np.nan)[:, None, None]
    mean = sample.unit_sum / weight
    squares = sample.unit_square_sum
    rest = squares.sum(axis=(1, 2), keepdims=True) - squares
    count = np.asarray(points, dtype=np.float64)[:, None, None]
    spread = (squares * (1 - mean) ** 2 + rest * mean**2) / (weight / count) ** 2
    free = sample.open_fraction(finite_population)
    below = np.where(count > 1, count * (count - 1), np.where(free[:, None, None] > 0, np.nan, 1.0))
    variance = np.where(used[:, None, None], (share**2 * free)[:, None, None] * spread / below, 0.0)
    cells = np.where(used[:, None, None], share[:, None, None] * mean, 0.0)
    if sample.by_map_class:  # a stratum without points leaves only its own row unknown
        k = np.arange(sample.num_classes)
        return cells[k, k], np.sqrt(variance[k, k])
    return cells.sum(axis=0), np.sqrt(variance.sum(axis=0))


def _sum_by_cell(cell: NDArray[Any], weights: Floats, shape: tuple[int, int, int]) -> Floats:
    sums = np.bincount(cell, weights=weights, minlength=math.prod(shape))
    return np.asarray(sums.reshape(shape), dtype=np.float64)


def _names(sample: DesignSample, which: NDArray[np.bool_]) -> str:
    return ", ".join(sample.strata[i] for i in np.flatnonzero(which))


def _unknown(reason: str) -> Estimate:
    return Estimate(math.nan, math.nan, math.nan, math.nan, reason)
