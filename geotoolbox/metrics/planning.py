"""How many reference points to take, and how many of them in each stratum (Cochran 1977; Olofsson et al. 2014)."""

from __future__ import annotations

import math
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from geotoolbox.errors import BadInput, explain

__all__ = ["Allocation", "allocate", "plan_sample_size", "plan_simple_sample_size"]

Floats = NDArray[np.float64]
Allocation = Literal["balanced", "proportional", "equal", "neyman"]


def plan_sample_size(
    weights: NDArray[Any],
    expected_users_accuracy: NDArray[Any],
    target_standard_error: float,
    *,
    population_px: int | None = None,
) -> int:
    """Return how many points give overall accuracy a wanted standard error, stratified by map class.

    Args:
        weights: (H,) share of the map in each stratum; any unit, it is brought to sum 1.
        expected_users_accuracy: (H,) a guess for each stratum, 0 to 1; it need not be close.
        target_standard_error: Wanted for overall accuracy (half of the interval's half-width, nearly).
        population_px: Pixels in all, for the finite-population correction of small maps.

    Returns:
        The number of points, rounded up.

    Raises:
        BadInput: When a number is outside its range.

    Example:
        >>> plan_sample_size(np.array([.02, .015, .32, .645]), np.array([.7, .6, .9, .95]), .01)
        641
    """
    share, expected = _shares(weights), np.asarray(expected_users_accuracy, dtype=np.float64)
    if expected.shape != share.shape or (expected < 0).any() or (expected > 1).any():
        raise BadInput(
            explain(
                "expected accuracies must lie between 0 and 1, one for each stratum",
                got=expected.tolist(),
                expected=f"{len(share)} numbers",
            )
        )
    if not target_standard_error > 0:
        raise BadInput(explain("the standard error aimed at must be above 0", got=target_standard_error))
    spread = np.sqrt(expected * (1 - expected))
    below = target_standard_error**2
    if population_px is not None:
        below += float((share * spread**2).sum()) / population_px
    return max(1, math.ceil(float((share * spread).sum()) ** 2 / below - 1e-9))


def plan_simple_sample_size(
    expected_accuracy: float, half_width: float, *, z: float = 1.96, population_px: int | None = None
) -> int:
    """Return how many points give a share a wanted interval, by simple random (or systematic) sampling.

    Args:
        expected_accuracy: A guess, 0 to 1; 0.5 is the safe one.
        half_width: Wanted half-width of the interval.
        z: Standard errors in that half-width.
        population_px: Pixels in all, for the finite-population correction of small maps.

    Raises:
        BadInput: When a number is outside its range.

    Example:
        >>> plan_simple_sample_size(0.5, 0.05)
        385
    """
    if not 0 <= expected_accuracy <= 1 or not 0 < half_width < 1:
        raise BadInput(
            explain("accuracy and half-width must lie between 0 and 1", got=(expected_accuracy, half_width))
        )
    count = z**2 * expected_accuracy * (1 - expected_accuracy) / half_width**2
    if population_px is not None:
        count = count / (1 + (count - 1) / population_px)
    return max(1, math.ceil(count - 1e-9))


def allocate(
    total: int,
    weights: NDArray[Any],
    method: Allocation = "balanced",
    *,
    minimum: int | None = None,
    expected_users_accuracy: NDArray[Any] | None = None,
    population_px: NDArray[Any] | None = None,
) -> NDArray[np.int64]:
    """Share points out among strata.

    Args:
        total: Points in all.
        weights: (H,) size of each stratum; a stratum of size 0 gets none.
        method: ``balanced``: in proportion to size, but at least ``minimum`` each, so that rare classes can be
            judged (Olofsson et al. 2014, section 5.1.2); ``proportional``; ``equal``, best for user's
            accuracy; ``neyman``, best for overall accuracy when the expected accuracies are about right.
        minimum: Points that each stratum gets at least; by default 50 for ``balanced``, else 2 (with fewer
            there is no standard error).
        expected_users_accuracy: (H,) for ``neyman``.
        population_px: (H,) pixels of each stratum: no stratum gets more points than it has pixels.

    Returns:
        (H,) points, which sum to ``total``.

    Raises:
        BadInput: When the total is too small for the minimum or larger than the map, or a number is missing.

    Example:
        >>> allocate(640, np.array([.02, .015, .32, .645]), minimum=75).tolist()
        [75, 75, 162, 328]
    """
    share = _shares(weights)
    limit = (
        np.full(len(share), np.inf) if population_px is None else np.asarray(population_px, dtype=np.float64)
    )
    limit = np.where(share > 0, limit, 0)
    least = np.minimum((50 if method == "balanced" else 2) if minimum is None else minimum, limit)
    if total < least.sum() or total > limit.sum():
        raise BadInput(
            explain(
                "these points cannot be shared out",
                got=f"{total} points for {int((share > 0).sum())} strata",
                expected=f"at least {int(least.sum())}"
                if total < least.sum()
                else f"at most {int(limit.sum())}",
                fix="take more points, or a smaller minimum" if total < least.sum() else "take fewer points",
            )
        )
    return _round(_fill(total, _wanted(share, method, expected_users_accuracy), least, limit), total, limit)


def _wanted(share: Floats, method: Allocation, expected: NDArray[Any] | None) -> Floats:
    """Return what points are in proportion to."""
    if method in ("balanced", "proportional"):
        return share
    if method == "equal":
        return (share > 0).astype(np.float64)
    if method != "neyman":
        raise BadInput(
            explain("no such allocation", got=method, expected="balanced, proportional, equal or neyman")
        )
    if expected is None or np.shape(expected) != share.shape:
        raise BadInput(
            explain(
                "Neyman allocation needs an expected user's accuracy for each stratum", expected=len(share)
            )
        )
    accuracy = np.asarray(expected, dtype=np.float64)
    if ((accuracy <= 0) | (accuracy >= 1)).any():
        raise BadInput(
            explain(
                "expected accuracies of 0 or 1 would leave a stratum without points",
                got=accuracy.tolist(),
                expected="numbers between 0 and 1",
            )
        )
    return np.asarray(share * np.sqrt(accuracy * (1 - accuracy)))


def _fill(total: int, wanted: Floats, least: Floats, limit: Floats) -> Floats:
    """Share out in proportion, holding every stratum between its bounds."""
    low, high = 0.0, 1.0
    while np.clip(wanted * high, least, limit).sum() < total:
        high *= 2
    for _ in range(200):  # bisection: the clipped sum grows with the factor
        middle = (low + high) / 2
        low, high = (middle, high) if np.clip(wanted * middle, least, limit).sum() < total else (low, middle)
    return np.clip(wanted * high, least, limit)


def _round(points: Floats, total: int, limit: Floats) -> NDArray[np.int64]:
    """Round to whole points by the largest remainder; equal remainders go to the first stratum."""
    floor = np.floor(points + 1e-6)
    order = np.argsort(-np.round(points - floor, 9), kind="stable")
    missing = int(total - floor.sum())
    for i in [int(i) for i in order if floor[i] < limit[i]][:missing]:
        floor[i] += 1
    return floor.astype(np.int64)


def _shares(weights: NDArray[Any]) -> Floats:
    share = np.asarray(weights, dtype=np.float64)
    if share.ndim != 1 or not len(share) or (share < 0).any() or not share.sum() > 0:
        raise BadInput(explain("stratum sizes must be numbers above 0", got=share.tolist()))
    return np.asarray(share / share.sum())
