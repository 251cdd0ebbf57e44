"""Area of applicability (Meyer & Pebesma 2021): where new pixels resemble what a model was trained on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree
from scipy.spatial.distance import cdist

from geotoolbox.errors import BadInput, explain

__all__ = ["Applicability", "fit_applicability", "threshold_of"]

Floats = NDArray[np.float64]
_CHUNK = 2048


@dataclass(frozen=True, eq=False)
class Applicability:
    """Training points as the dissimilarity index sees them.

    Attributes:
        names: The C predictors.
        mean: (C,) means of the training points.
        spread: (C,) standard deviations (ddof 1); 1 where a predictor does not vary.
        weights: (C,) importance of each predictor.
        points: (N, C) training points, standardised and weighted.
        mean_distance: The mean over training points of their mean distance to all others.
        threshold: The largest dissimilarity index that counts as known ground.
        training_index: (N,) dissimilarity index of each training point to those of other folds.
    """

    names: tuple[str, ...]
    mean: Floats
    spread: Floats
    weights: Floats
    points: Floats
    mean_distance: float
    threshold: float
    training_index: Floats

    def dissimilarity(self, values: NDArray[Any]) -> Floats:
        """Return the dissimilarity index of new points: 0 is a training point, 1 as far as these are apart.

        Args:
            values: (M, C) predictors, as in training; rows with a NaN give NaN.

        Raises:
            BadInput: When there are other predictors than in training.
        """
        found = np.full(len(values), np.nan)
        known = np.isfinite(values).all(axis=1)
        if known.any():
            found[known], _ = self._tree.query(self._place(values[known]), workers=-1)
        return found / self.mean_distance

    def inside(self, dissimilarity: NDArray[Any]) -> NDArray[np.bool_]:
        """Tell where a dissimilarity index is within the area of applicability; NaN is outside."""
        return np.asarray(dissimilarity <= self.threshold)

    def local_density(self, values: NDArray[Any]) -> NDArray[np.int64]:
        """Return (M,) how many training points are nearer than the threshold (Schumacher et al. 2025)."""
        radius = self.threshold * self.mean_distance
        found = self._tree.query_ball_point(self._place(values), radius, return_length=True)
        return np.asarray(found, dtype=np.int64)

    @cached_property
    def _tree(self) -> cKDTree:
        return cKDTree(self.points)

    def _place(self, values: NDArray[Any]) -> Floats:
        if values.ndim != 2 or values.shape[1] != len(self.mean):
            raise BadInput(
                explain(
                    "other predictors than in training", got=values.shape, expected=f"(M, {len(self.mean)})"
                )
            )
        placed: Floats = (values.astype(np.float64) - self.mean) / self.spread * self.weights
        return placed

    def to_json(self) -> dict[str, Any]:
        """Return plain data for a bundle; points keep six digits."""
        return {
            "names": list(self.names),
            **{n: getattr(self, n).tolist() for n in ("mean", "spread", "weights")},
            "points": [[float(f"{v:.6g}") for v in row] for row in self.points],
            "mean_distance": self.mean_distance,
            "threshold": self.threshold,
            "training_index": [float(f"{v:.6g}") for v in self.training_index],
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Applicability:
        """Read what :meth:`to_json` wrote.

        Raises:
            BadInput: When a part is missing.
        """
        try:
            arrays = {
                n: np.asarray(data[n], dtype=np.float64)
                for n in ("mean", "spread", "weights", "points", "training_index")
            }
            return cls(
                names=tuple(map(str, data["names"])),
                mean_distance=float(data["mean_distance"]),
                threshold=float(data["threshold"]),
                **arrays,
            )
        except (KeyError, TypeError, ValueError) as error:
            raise BadInput(explain("no area of applicability", got=repr(error))) from error


def fit_applicability(
    values: NDArray[Any],
    *,
    names: Sequence[str] = (),
    weights: Sequence[float] | NDArray[Any] | None = None,
    folds: NDArray[Any] | None = None,
) -> Applicability:
    """Prepare the dissimilarity index from training points.

    Args:
        values: (N, C) predictors of training points.
        names: The C predictors.
        weights: (C,) importance of each; equal when None. Negative ones count as 0.
        folds: (N,) the fold of each point in a cross-validation by space: the threshold comes from distances
            to points of other folds. When None, each point is a fold of its own.

    Raises:
        BadInput: When there are fewer than three points or two folds, or all points are the same.

    Example:
        >>> points = np.array([[0, 0], [1, 0], [0, 1], [1, 1], [5, 5]])
        >>> found = fit_applicability(points, weights=[2, 1], folds=np.array([0, 0, 1, 1, 2]))
        >>> round(found.mean_distance, 6), round(found.threshold, 6)
        (2.449845, 0.196846)
        >>> found.dissimilarity(np.array([[.5, .5], [3, 3], [10, 0]])).round(6).tolist()
        [0.220081, 0.880323, 2.200808]
    """
    table = np.asarray(values, dtype=np.float64)
    if table.ndim != 2 or len(table) < 3 or not np.isfinite(table).all():
        raise BadInput(explain("too few training points", got=table.shape, expected="3 or more finite rows"))
    groups = np.arange(len(table)) if folds is None else np.asarray(folds)
    if groups.shape != (len(table),) or len(np.unique(groups)) < 2:
        raise BadInput(
            explain("folds do not fit", got=groups.shape, expected="one a point, two or more folds")
        )
    importance = np.ones(table.shape[1]) if weights is None else np.maximum(np.asarray(weights, float), 0)
    if importance.shape != (table.shape[1],) or not importance.any():
        raise BadInput(explain("weights do not fit", got=importance.tolist(), expected=table.shape[1]))
    mean, spread = table.mean(axis=0), table.std(axis=0, ddof=1)
    spread = np.where(spread > 0, spread, 1.0)
    points = (table - mean) / spread * importance
    average, nearest = _distances(points, groups)
    if not average > 0:
        raise BadInput(explain("all training points are the same", fix="draw points from more places"))
    index = nearest / average
    return Applicability(
        tuple(names) or tuple(f"x{i + 1}" for i in range(table.shape[1])),
        mean, spread, importance, points, average, threshold_of(index), index,
    )  # fmt: skip


def threshold_of(training_index: NDArray[Any]) -> float:
    """Return the threshold: the upper fence of a box plot, at most the largest value.

    Example:
        >>> round(threshold_of(np.array([0.1, 0.2, 0.2, 0.3, 5.0])), 6)
        0.45
    """
    low, high = np.quantile(training_index, [0.25, 0.75])
    return float(min(high + 1.5 * (high - low), np.max(training_index)))


def _distances(points: Floats, folds: NDArray[Any]) -> tuple[float, Floats]:
    """Return the mean of mean distances, and each point's distance to the nearest of another fold."""
    count = len(points)
    totals, nearest = np.zeros(count), np.full(count, np.inf)
    for start in range(0, count, _CHUNK):
        part = slice(start, start + _CHUNK)
        gaps = cdist(points[part], points)
        totals[part] = gaps.sum(axis=1)
        nearest[part] = np.where(folds[part, None] == folds, np.inf, gaps).min(axis=1)
    return float((totals / (count - 1)).mean()), nearest
