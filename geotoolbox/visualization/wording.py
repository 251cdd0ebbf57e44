"""Sentences that say what the numbers mean, good or bad, without flattery."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from geotoolbox.metrics.scores import Scores

__all__ = ["Baseline", "BaselineLike", "baseline_sentences", "called", "majority_baseline", "number", "percent", "share",
           "weak_points"]  # fmt: skip

_FEW_PX = 1000


class BaselineLike(Protocol):
    """Anything that has a baseline's three facts."""

    @property
    def name(self) -> str:
        """What it is called, such as ``"random forest"``."""

    @property
    def overall_accuracy(self) -> float:
        """A share from 0 to 1."""

    @property
    def mean_iou(self) -> float:
        """A share from 0 to 1."""


@dataclass(frozen=True, slots=True)
class Baseline:
    """How well something simple does on the same pixels."""

    name: str
    overall_accuracy: float
    mean_iou: float


def majority_baseline(scores: Scores) -> Baseline:
    """Return what a map of the most frequent reference class alone would reach on these pixels.

    Example:
        >>> from geotoolbox.metrics import compute_scores
        >>> majority_baseline(compute_scores(np.array([[6, 0], [2, 2]]), ["field", "water"]))
        Baseline(name='everything field', overall_accuracy=0.6, mean_iou=0.3)
    """
    support = np.asarray(scores.support)
    present = int((support > 0).sum())
    if not scores.pixels or len(support) < 2:
        return Baseline("the most frequent class alone", math.nan, math.nan)
    best = int(support.argmax())
    accuracy = float(support[best] / scores.pixels)
    return Baseline(f"everything {scores.names[best]}", accuracy, accuracy / present)


def percent(value: float, digits: int = 1) -> str:
    """Write a share as per cent.

    Example:
        >>> percent(0.7512), percent(float("nan"))
        ('75.1 %', 'undefined')
    """
    return "undefined" if math.isnan(value) else f"{100 * value:.{digits}f} %"


def share(value: float) -> str:
    """Write a share with three decimals; a dash where undefined."""
    return "–" if math.isnan(value) else f"{value:.3f}"


def number(value: int) -> str:
    """Write a count with thousands set apart by narrow no-break spaces."""
    return f"{value:,}".replace(",", "\u202f")


def baseline_sentences(scores: Scores, baselines: Sequence[BaselineLike], subject: str) -> str:
    """Say by how much the strongest baseline is beaten, or that it is not.

    Args:
        scores: The model's.
        baselines: On the same pixels.
        subject: Who is compared, such as ``"The model"``.
    """
    known = [b for b in baselines if not math.isnan(b.overall_accuracy)]
    if not known or math.isnan(scores.overall_accuracy):
        return "No baseline could be computed on these pixels."
    best = max(known, key=lambda b: (b.overall_accuracy, b.mean_iou))
    points = 100 * (scores.overall_accuracy - best.overall_accuracy)
    gain = scores.mean_iou - best.mean_iou
    figures = f"{percent(best.overall_accuracy)}, mean IoU {share(best.mean_iou)}"
    name = called(best.name)
    if points > 0 and gain > 0:
        return f"{subject} beats {name} ({figures}) by {points:.1f} points of accuracy and {gain:.3f} of mean IoU."
    if points > 0 or gain > 0:
        won, lost = ("accuracy", "mean IoU") if points > 0 else ("mean IoU", "accuracy")
        return f"{subject} beats {name} ({figures}) in {won}, but not in {lost}."
    return f"{subject} does not beat {name} ({figures}): it is not worth its effort yet."


def called(name: str) -> str:
    """Name a baseline within a sentence.

    Example:
        >>> called("random forest"), called("everything Forest")
        ('a random forest', 'calling everything Forest')
    """
    if name.startswith("everything "):
        return f"calling {name}"
    if name.split(" ", maxsplit=1)[0] in ("the", "a", "an"):
        return name
    return f"{'an' if name[:1].lower() in 'aeiou' else 'a'} {name}"


def _listed(names: Sequence[str], most: int = 12) -> str:
    """List names, not without end.

    Example:
        >>> _listed(["a", "b", "c"], most=2)
        'a, b and 1 more'
    """
    rest = len(names) - most
    return ", ".join(names) if rest <= 0 else f"{', '.join(names[:most])} and {rest} more"


def weak_points(scores: Scores) -> list[str]:
    """Say which classes the reader should not trust, and why.

    Returns:
        Sentences; empty where there is nothing to warn of.
    """
    rows = list(zip(scores.names, scores.support, scores.iou, strict=True))
    absent = [name for name, support, _ in rows if support == 0]
    few = [f"{name} ({number(n)})" for name, n, _ in rows if 0 < n < _FEW_PX]
    poor = [f"{n} ({iou:.2f})" for n, support, iou in rows if support >= _FEW_PX and iou < 0.2]
    found = []
    if poor:
        found.append(f"Poorly mapped, with an IoU below 0.2: {_listed(poor)}.")
    if few:
        found.append(
            f"Fewer than {number(_FEW_PX)} reference pixels, so these scores say little: {_listed(few)}."
        )
    if absent:
        found.append(
            f"Not in the reference here, so nothing can be said about them: {_listed(absent)}. "
            "They are left out of all means."
        )
    return found
