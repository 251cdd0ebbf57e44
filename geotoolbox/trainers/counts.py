"""Confusion counts while training: the few scores that the loop itself needs."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

__all__ = ["Tally", "confusion_counts"]

Counts = NDArray[np.int64]


def confusion_counts(truth: NDArray[np.int64], predicted: NDArray[np.int64], num_classes: int) -> Counts:
    """Count (truth, predicted) pairs; pairs outside 0 … num_classes-1 are left out.

    Returns:
        (K, K) int64, rows are the truth.

    Example:
        >>> confusion_counts(np.array([0, 1, -100]), np.array([0, 0, 1]), 2).tolist()
        [[1, 0], [1, 0]]
    """
    inside = (truth >= 0) & (truth < num_classes) & (predicted >= 0) & (predicted < num_classes)
    pairs = truth[inside] * num_classes + predicted[inside]
    return np.bincount(pairs, minlength=num_classes**2).reshape(num_classes, num_classes)


@dataclass(slots=True)
class Tally:
    """Sums of confusion counts, and the scores that follow from them.

    Example:
        >>> tally = Tally(2)
        >>> tally.add(np.array([0, 0, 1, 1]), np.array([0, 0, 1, 0]))
        >>> tally.overall_accuracy, round(tally.mean_iou, 3)
        (0.75, 0.583)
    """

    num_classes: int
    counts: Counts = field(init=False)

    def __post_init__(self) -> None:
        self.counts = np.zeros((self.num_classes, self.num_classes), dtype=np.int64)

    def add(self, truth: NDArray[np.int64], predicted: NDArray[np.int64]) -> None:
        """Count more pixels."""
        self.counts += confusion_counts(truth, predicted, self.num_classes)

    @property
    def overall_accuracy(self) -> float:
        """The share of pixels that are right; NaN without pixels."""
        total = int(self.counts.sum())
        return float(np.trace(self.counts) / total) if total else float("nan")

    @property
    def iou(self) -> tuple[float, ...]:
        """Intersection over union by class; NaN where the reference has no such pixel (R67)."""
        right = np.diag(self.counts)
        support, predicted = self.counts.sum(axis=1), self.counts.sum(axis=0)
        union = support + predicted - right
        return tuple(
            float(r / u) if s else float("nan") for r, u, s in zip(right, union, support, strict=True)
        )

    @property
    def mean_iou(self) -> float:
        """The mean IoU over the classes that the reference has; NaN without any."""
        known = [v for v in self.iou if not math.isnan(v)]
        return sum(known) / len(known) if known else float("nan")
