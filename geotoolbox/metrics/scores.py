"""Scores of a map against its reference: what is undefined is NaN, and says why."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geotoolbox.errors import BadInput, explain

__all__ = ["MEANINGS", "Scores", "compute_scores"]

Floats = NDArray[np.float64]

MEANINGS: Mapping[str, str] = {
    "overall_accuracy": "Of all compared pixels, the share that the map got right. Common classes dominate it.",
    "mean_iou": "The IoU of every class present in the reference, averaged: rare classes count as much as common ones.",
    "precision": "Of the pixels that the map calls this class, the share that truly is (user's accuracy).",
    "recall": "Of the pixels that truly are this class, the share that the map found (producer's accuracy).",
    "f1": "The harmonic mean of precision and recall: high only when both are.",
    "iou": "Pixels where map and reference both say this class, over pixels where either does (intersection over union).",
    "support": "How many reference pixels of this class were compared. A few hundred say little.",
    "predicted": "How many of the compared pixels the map gives to this class.",
    "macro": "The plain mean over the classes for which the score is defined.",
    "weighted": "The mean over the same classes, each weighted by its reference pixels.",
}
"""What each number means, in one sentence; reports and help texts show these."""


@dataclass(frozen=True, slots=True)
class Scores:
    """Agreement of a map with a reference. All shares are 0 to 1; NaN where undefined (see ``reasons``).

    Attributes:
        names: Class names, by index.
        pixels: How many pixels were compared.
        overall_accuracy: Correct pixels over compared pixels.
        support: Reference pixels of each class.
        predicted: Mapped pixels of each class.
        correct: Pixels of each class where both agree.
        precision: User's accuracy of each class.
        recall: Producer's accuracy of each class.
        f1: F1 of each class.
        iou: Intersection over union of each class.
        reasons: Why a score is NaN, by ``score`` or ``score/class name``.
    """

    names: tuple[str, ...]
    pixels: int
    overall_accuracy: float
    support: tuple[int, ...]
    predicted: tuple[int, ...]
    correct: tuple[int, ...]
    precision: tuple[float, ...]
    recall: tuple[float, ...]
    f1: tuple[float, ...]
    iou: tuple[float, ...]
    reasons: Mapping[str, str] = field(default_factory=dict)

    @property
    def mean_iou(self) -> float:
        """The mean IoU over the classes that the reference has."""
        return _mean(self.iou)

    @property
    def macro_precision(self) -> float:
        """The mean precision over the classes for which it is defined."""
        return _mean(self.precision)

    @property
    def macro_recall(self) -> float:
        """The mean recall over the classes that the reference has (balanced accuracy)."""
        return _mean(self.recall)

    @property
    def macro_f1(self) -> float:
        """The mean F1 over the classes that the reference has."""
        return _mean(self.f1)

    @property
    def weighted_precision(self) -> float:
        """The mean precision, weighted by reference pixels."""
        return _mean(self.precision, self.support)

    @property
    def weighted_recall(self) -> float:
        """The mean recall, weighted by reference pixels (equals the overall accuracy)."""
        return _mean(self.recall, self.support)

    @property
    def weighted_f1(self) -> float:
        """The mean F1, weighted by reference pixels."""
        return _mean(self.f1, self.support)

    @property
    def weighted_iou(self) -> float:
        """The mean IoU, weighted by reference pixels (frequency-weighted IoU)."""
        return _mean(self.iou, self.support)

    def mean_iou_of(self, minimum_support_px: int) -> float:
        """Return the mean IoU over the classes with at least so many reference pixels."""
        kept = [v for v, n in zip(self.iou, self.support, strict=True) if n >= minimum_support_px]
        return _mean(kept)

    def to_json(self) -> dict[str, Any]:
        """Return plain data for JSON: NaN becomes null, and ``reasons`` tells why."""
        rows = [
            {
                "name": name,
                "support": self.support[i],
                "predicted": self.predicted[i],
                "correct": self.correct[i],
                **{s: _null(getattr(self, s)[i]) for s in ("precision", "recall", "f1", "iou")},
            }
            for i, name in enumerate(self.names)
        ]
        means = ["overall_accuracy", "mean_iou"]
        means += [f"{kind}_{s}" for kind in ("macro", "weighted") for s in ("precision", "recall", "f1")]
        means.append("weighted_iou")
        return {
            "pixels": self.pixels,
            **{name: _null(getattr(self, name)) for name in means},
            "classes": rows,
            "reasons": dict(self.reasons),
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Scores:
        """Read what :meth:`to_json` wrote."""
        rows: Sequence[Mapping[str, Any]] = data["classes"]

        def shares(name: str) -> tuple[float, ...]:
            return tuple(math.nan if r[name] is None else float(r[name]) for r in rows)

        accuracy = data["overall_accuracy"]
        return cls(
            names=tuple(str(r["name"]) for r in rows),
            pixels=int(data["pixels"]),
            overall_accuracy=math.nan if accuracy is None else float(accuracy),
            support=tuple(int(r["support"]) for r in rows),
            predicted=tuple(int(r["predicted"]) for r in rows),
            correct=tuple(int(r["correct"]) for r in rows),
            precision=shares("precision"),
            recall=shares("recall"),
            f1=shares("f1"),
            iou=shares("iou"),
            reasons=dict(data["reasons"]),
        )


def compute_scores(counts: NDArray[Any], names: Sequence[str]) -> Scores:
    """Compute all scores of a confusion matrix.

    A class that the reference lacks has no recall, F1 or IoU, also where the map shows it: those
    pixels count against the class that they truly are. With one class in all, nothing can be wrong, so
    every score is NaN.

    Args:
        counts: (K, K) counts; row = true class, column = predicted class.
        names: The K class names.

    Returns:
        The scores, with a reason for each NaN.

    Raises:
        BadInput: When the matrix is not K × K, or holds negative counts.

    Example:
        >>> scores = compute_scores(np.array([[3, 1], [0, 0]]), ["field", "water"])
        >>> scores.overall_accuracy, scores.iou
        (0.75, (0.75, nan))
        >>> scores.reasons["recall/water"]
        'no reference pixel of this class among those compared'
    """
    k = len(names)
    if counts.shape != (k, k):
        raise BadInput(explain("the matrix does not fit the classes", got=counts.shape, expected=(k, k)))
    if counts.size and counts.min() < 0:
        raise BadInput(explain("a confusion matrix holds negative counts", got=counts.min()))
    truth, mapped, right = counts.sum(axis=1), counts.sum(axis=0), np.diag(counts)
    total = int(counts.sum())
    single = k == 1
    shares: dict[str, Floats] = {
        "precision": _divide(right, mapped),
        "recall": _divide(right, truth),
        "f1": np.where(truth > 0, _divide(2 * right, truth + mapped), np.nan),
        "iou": np.where(truth > 0, _divide(right, truth + mapped - right), np.nan),
    }
    accuracy = float(right.sum() / total) if total and not single else math.nan
    if single:
        shares = {name: np.full(k, np.nan) for name in shares}
    values = {name: tuple(map(float, v)) for name, v in shares.items()}
    return Scores(
        names=tuple(names),
        pixels=total,
        overall_accuracy=accuracy,
        support=tuple(map(int, truth)),
        predicted=tuple(map(int, mapped)),
        correct=tuple(map(int, right)),
        reasons=_reasons(values, names, total),
        **values,
    )


def _reasons(values: Mapping[str, Sequence[float]], names: Sequence[str], total: int) -> dict[str, str]:
    if len(names) == 1:
        why: Callable[[str], str] = lambda _: "one class only: every pixel is right by construction"  # noqa: E731
    elif total == 0:
        why = lambda _: "no pixel was compared"  # noqa: E731
    else:
        why = lambda score: (  # noqa: E731
            "the map gives no compared pixel to this class"
            if score == "precision"
            else "no reference pixel of this class among those compared"
        )
    found = {} if total and len(names) > 1 else {"overall_accuracy": why(""), "mean_iou": why("")}
    for score, row in values.items():
        found |= {f"{score}/{n}": why(score) for n, v in zip(names, row, strict=True) if math.isnan(v)}
    return found


def _divide(above: NDArray[Any], below: NDArray[Any]) -> Floats:
    out = np.full(len(above), np.nan)
    np.divide(above, below, out=out, where=below > 0)
    return out


def _mean(values: Sequence[float], weights: Sequence[float] | None = None) -> float:
    array = np.asarray(values, dtype=np.float64)
    weight = np.ones(len(array)) if weights is None else np.asarray(weights, dtype=np.float64)
    known = ~np.isnan(array)
    total = weight[known].sum()
    return float((array[known] * weight[known]).sum() / total) if total > 0 else math.nan


def _null(value: float) -> float | None:
    return None if math.isnan(value) else value
