"""ROC and precision-recall curves of class probabilities, streamed: by fine bins, or exactly."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from geotoolbox.errors import BadInput, explain

__all__ = ["Curve", "Curves", "ScoreCounts", "area_under", "checked_pairs"]

Floats = NDArray[np.float64]
Average = Literal["macro", "weighted", "micro"]
_AVERAGES: tuple[Average, ...] = ("macro", "weighted", "micro")


@dataclass(frozen=True, slots=True, eq=False)
class Curve:
    """What thresholds from high to low do to one class.

    Attributes:
        name: The class, or ``micro``.
        thresholds: (T,) scores at or above which a pixel is called positive, falling; the first is infinite.
        true_positives: (T,) pixels of the class at or above each threshold.
        false_positives: (T,) other pixels at or above it.
    """

    name: str
    thresholds: Floats
    true_positives: Floats
    false_positives: Floats

    @property
    def positives(self) -> float:
        """Pixels of the class."""
        return float(self.true_positives[-1])

    @property
    def negatives(self) -> float:
        """Pixels of other classes."""
        return float(self.false_positives[-1])

    def roc(self) -> tuple[Floats, Floats]:
        """Return false and true positive rates, rising from (0, 0); NaN where a side has no pixel."""
        return _share(self.false_positives, self.negatives), _share(self.true_positives, self.positives)

    def precision_recall(self) -> tuple[Floats, Floats]:
        """Return precision and recall for falling thresholds, from (1, 0); NaN without a pixel of the class."""
        called = self.true_positives + self.false_positives
        precision = np.ones(len(called))
        np.divide(self.true_positives, called, out=precision, where=called > 0)
        return precision, _share(self.true_positives, self.positives)

    @property
    def auc(self) -> float:
        """The area under the ROC curve; NaN where the class, or all else, has no pixel."""
        return area_under(*self.roc())

    @property
    def average_precision(self) -> float:
        """Precision summed over steps of recall; NaN without a pixel of the class."""
        precision, recall = self.precision_recall()
        return float(np.sum(np.diff(recall) * precision[1:]))

    def thin(self, points: int = 200) -> Curve:
        """Return the same curve with about so many points, spread evenly along it; the ends stay."""
        if len(self.thresholds) <= points:
            return self
        rates = [_share(self.true_positives, self.positives), _share(self.false_positives, self.negatives)]
        moved = np.nansum([np.abs(np.diff(r, prepend=0.0)) for r in rates], axis=0).cumsum()
        even = np.searchsorted(moved, np.linspace(0, moved[-1], points))
        kept = np.unique(np.clip(np.concatenate([[0, len(moved) - 1], even]), 0, len(moved) - 1))
        return Curve(self.name, self.thresholds[kept], self.true_positives[kept], self.false_positives[kept])

    def to_json(self, points: int = 200) -> dict[str, Any]:
        """Return plain data; the areas are of the whole curve, the points are thinned."""
        small = self.thin(points)
        (fpr, tpr), (precision, recall) = small.roc(), small.precision_recall()
        return {
            "name": self.name,
            "auc": _plain(self.auc),
            "average_precision": _plain(self.average_precision),
            "roc": {"fpr": _plains(fpr), "tpr": _plains(tpr)},
            "precision_recall": {"precision": _plains(precision), "recall": _plains(recall)},
        }


@dataclass(frozen=True, slots=True, eq=False)
class Curves:
    """The curves of all classes, each against the rest.

    Attributes:
        classes: One curve a class.
        micro: All classes' decisions together.
    """

    classes: tuple[Curve, ...]
    micro: Curve

    def auc(self, average: Average = "macro") -> float:
        """Return the mean area under the ROC curves; classes where it is undefined do not count."""
        return self._mean([c.auc for c in self.classes], self.micro.auc, average)

    def average_precision(self, average: Average = "macro") -> float:
        """Return the mean average precision; classes where it is undefined do not count."""
        return self._mean([c.average_precision for c in self.classes], self.micro.average_precision, average)

    def _mean(self, values: Sequence[float], micro: float, average: Average) -> float:
        if average not in _AVERAGES:
            raise BadInput(explain("unknown average", got=repr(average), expected=", ".join(_AVERAGES)))
        if average == "micro":
            return micro
        found = np.asarray(values)
        weight = np.ones(len(found)) if average == "macro" else np.array([c.positives for c in self.classes])
        known = ~np.isnan(found)
        total = weight[known].sum()
        return float((found[known] * weight[known]).sum() / total) if total > 0 else float("nan")

    def to_json(self, points: int = 200) -> dict[str, Any]:
        """Return plain data: curves by class, and the averaged areas."""
        averages: dict[str, Any] = {
            a: {"auc": _plain(self.auc(a)), "average_precision": _plain(self.average_precision(a))}
            for a in _AVERAGES
        }
        return {"classes": [c.to_json(points) for c in self.classes], **averages}


class ScoreCounts:
    """Gathers scores of positives and negatives of each class, piece by piece.

    In ``bins`` of equal width on [0, 1] memory is bounded; then the curves are exactly those of the scores
    rounded down to their bin, and areas differ from exact ones by less than half the share of pairs that
    fall into one bin. ``bins=None`` keeps every score and is exact.

    Args:
        num_classes: K.
        bins: How many bins; None for exact.

    Example:
        >>> counts = ScoreCounts(2, bins=None)
        >>> probabilities = np.array([[0.9, 0.6, 0.35, 0.2], [0.1, 0.4, 0.65, 0.8]])
        >>> counts.update(probabilities, np.array([0, 1, 0, 1]))
        >>> counts.curves(["a", "b"]).classes[1].auc
        0.75
    """

    def __init__(self, num_classes: int, bins: int | None = 10_000) -> None:
        if num_classes < 1 or (bins is not None and bins < 2):
            raise BadInput(
                explain("no scores can be counted", got=(num_classes, bins), expected="K ≥ 1, bins ≥ 2")
            )
        self.num_classes, self.bins = num_classes, bins
        shape = (num_classes, 1 if bins is None else bins)
        self._positive = np.zeros(shape, dtype=np.int64)
        self._negative = np.zeros(shape, dtype=np.int64)
        self._scores: list[NDArray[Any]] = []
        self._truth: list[NDArray[np.int64]] = []

    def update(self, probabilities: NDArray[Any], truth: NDArray[Any]) -> None:
        """Add pixels.

        Args:
            probabilities: (K, …) class probabilities; pixels with a NaN must be masked by ``truth``.
            truth: (…) class indices; anything outside 0 … K-1 does not count.

        Raises:
            BadInput: When the shapes differ, or a counted probability is outside 0 … 1.
        """
        scores, flat = checked_pairs(probabilities, truth, self.num_classes)
        if self.bins is None:
            self._scores.append(scores.copy())
            self._truth.append(flat)
            return
        place = np.minimum((scores * self.bins).astype(np.int64), self.bins - 1)
        for k in range(self.num_classes):
            every = np.bincount(place[k], minlength=self.bins)
            positive = np.bincount(place[k][flat == k], minlength=self.bins)
            self._positive[k] += positive
            self._negative[k] += every - positive

    def curves(self, names: Sequence[str]) -> Curves:
        """Return the curves of what was added."""
        if len(names) != self.num_classes:
            raise BadInput(explain("names do not fit", got=len(names), expected=self.num_classes))
        if self.bins is None:
            return self._exact(names)
        edges = np.arange(self.bins) / self.bins
        rows = [(edges, p, n) for p, n in zip(self._positive, self._negative, strict=True)]
        micro = (edges, self._positive.sum(axis=0), self._negative.sum(axis=0))
        found = [_curve(name, *row) for name, row in zip(names, rows, strict=True)]
        return Curves(tuple(found), _curve("micro", *micro))

    def _exact(self, names: Sequence[str]) -> Curves:
        scores = np.concatenate(self._scores, axis=1) if self._scores else np.zeros((self.num_classes, 0))
        truth = np.concatenate(self._truth) if self._truth else np.zeros(0, dtype=np.int64)
        hits = np.arange(self.num_classes)[:, None] == truth
        found = [_curve(n, *_distinct(s, h)) for n, s, h in zip(names, scores, hits, strict=True)]
        return Curves(tuple(found), _curve("micro", *_distinct(scores.ravel(), hits.ravel())))


def checked_pairs(
    probabilities: NDArray[Any], truth: NDArray[Any], num_classes: int
) -> tuple[NDArray[Any], NDArray[np.int64]]:
    """Return (K, N) probabilities and (N,) classes of the pixels that count.

    Raises:
        BadInput: When the shapes differ, or a probability is outside 0 … 1.
    """
    if probabilities.shape != (num_classes, *truth.shape):
        raise BadInput(
            explain("probabilities do not fit", got=probabilities.shape, expected=(num_classes, *truth.shape))
        )
    flat = np.asarray(truth).reshape(-1)
    keep = (flat >= 0) & (flat < num_classes)
    scores = probabilities.reshape(num_classes, -1)
    if not keep.all():
        flat, scores = flat[keep], scores[:, keep]
    if scores.size and not (scores.min() >= 0 and scores.max() <= 1 + 1e-6):  # NaN fails, too
        raise BadInput(
            explain("these are no probabilities", got=f"{scores.min()} … {scores.max()}", expected="0 to 1")
        )
    return scores, flat.astype(np.int64, copy=False)


def area_under(x: Floats, y: Floats) -> float:
    """Return the area under a line by trapezoids; x must not fall."""
    return float(np.sum(np.diff(x) * (y[1:] + y[:-1]) / 2))


def _distinct(
    scores: NDArray[Any], hit: NDArray[np.bool_]
) -> tuple[Floats, NDArray[np.int64], NDArray[np.int64]]:
    values, place = np.unique(scores, return_inverse=True)
    every = np.bincount(place, minlength=len(values))
    positive = np.bincount(place[hit], minlength=len(values))
    return values.astype(np.float64), positive, every - positive


def _curve(name: str, values: Floats, positive: NDArray[np.int64], negative: NDArray[np.int64]) -> Curve:
    """Sum from the highest score down; scores that no pixel has are left out."""
    seen = np.flatnonzero(positive + negative)[::-1]
    up = [np.concatenate([[0.0], np.cumsum(c[seen])]) for c in (positive, negative)]
    return Curve(name, np.concatenate([[np.inf], values[seen]]), up[0], up[1])


def _share(counts: Floats, total: float) -> Floats:
    return counts / total if total > 0 else np.full(len(counts), np.nan)


def _plain(value: float) -> float | None:
    return None if np.isnan(value) else float(value)


def _plains(values: Floats) -> list[float | None]:
    return [_plain(round(float(v), 6)) for v in values]
