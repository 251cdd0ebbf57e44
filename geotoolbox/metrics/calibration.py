"""Calibration: whether a map that is 80 % sure is right in 80 of 100 pixels. Streamed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geotoolbox.errors import BadInput, explain
from geotoolbox.metrics.curves import checked_pairs

__all__ = ["LEAST_PROBABILITY", "Calibration", "CalibrationCounts", "calibration_bins", "temper"]

Floats = NDArray[np.float64]
LEAST_PROBABILITY = 1e-7


@dataclass(frozen=True, slots=True, eq=False)
class Calibration:
    """How well probabilities tell how often they are right.

    Attributes:
        pixels: How many pixels were looked at.
        cross_entropy: Mean of -ln(probability of the true class): 0 is perfect.
        brier: Mean over pixels of the summed squared error of all class probabilities (0 to 2).
        edges: (B + 1,) of the bins of confidence.
        counts: (B,) pixels in each bin.
        confidence: (B,) mean confidence; NaN in an empty bin.
        accuracy: (B,) share of right pixels; NaN in an empty bin.
    """

    pixels: int
    cross_entropy: float
    brier: float
    edges: Floats
    counts: NDArray[np.int64]
    confidence: Floats
    accuracy: Floats

    @property
    def ece(self) -> float:
        """Expected calibration error: the mean gap between confidence and accuracy, weighted by pixels."""
        return float(self._gaps @ self._weights) if self.pixels else float("nan")

    @property
    def rms_error(self) -> float:
        """The root of the mean squared gap (the L2 calibration error)."""
        return float(np.sqrt(self._gaps**2 @ self._weights)) if self.pixels else float("nan")

    @property
    def mce(self) -> float:
        """Maximum calibration error: the largest gap of any bin with pixels."""
        return float(self._gaps.max()) if self.pixels else float("nan")

    @property
    def _gaps(self) -> Floats:
        return np.nan_to_num(np.abs(self.accuracy - self.confidence))

    @property
    def _weights(self) -> Floats:
        return self.counts / max(self.pixels, 1)

    def to_json(self) -> dict[str, Any]:
        """Return plain data; NaN becomes null."""
        rows = [
            {
                "low": float(self.edges[i]),
                "high": float(self.edges[i + 1]),
                "pixels": int(self.counts[i]),
                "confidence": _plain(self.confidence[i]),
                "accuracy": _plain(self.accuracy[i]),
            }
            for i in range(len(self.counts))
        ]
        numbers = ("cross_entropy", "brier", "ece", "mce")
        return {"pixels": self.pixels, **{n: _plain(getattr(self, n)) for n in numbers}, "bins": rows}


class CalibrationCounts:
    """Gathers confidence and correctness, piece by piece; memory does not grow.

    The confidence of a pixel is its largest probability; it is right when that class is true.

    Args:
        num_classes: K.
        bins: How many bins of equal width on [0, 1].
        least: Probabilities below this count as this in the cross-entropy, which would else be infinite; for
            stored probabilities, half of what the file can tell apart.

    Example:
        >>> counts = CalibrationCounts(3, bins=3)
        >>> table = np.array([[.25, .20, .55], [.55, .05, .40], [.10, .30, .60], [.90, .05, .05]])
        >>> counts.update(table.T, np.array([0, 1, 2, 0]))
        >>> found = counts.result()
        >>> round(found.ece, 4), round(found.rms_error, 4), round(found.mce, 4)
        (0.2, 0.2082, 0.2333)
    """

    def __init__(self, num_classes: int, bins: int = 15, least: float = LEAST_PROBABILITY) -> None:
        if num_classes < 1 or bins < 1:
            raise BadInput(
                explain("no calibration can be counted", got=(num_classes, bins), expected="1 or more")
            )
        self.num_classes, self.bins, self.least = num_classes, bins, least
        self._sums = np.zeros((3, bins))  # pixels, Σ confidence, right pixels
        self._surprise = self._squares = 0.0

    def update(self, probabilities: NDArray[Any], truth: NDArray[Any]) -> None:
        """Add pixels: (K, …) probabilities and (…) class indices; others than 0 … K-1 do not count."""
        scores, flat = checked_pairs(probabilities, truth, self.num_classes)
        if not len(flat):
            return
        scores = scores.astype(np.float64)
        own = scores[flat, np.arange(len(flat))]
        self._surprise -= float(np.log(np.maximum(own, self.least)).sum())
        self._squares += float((scores**2).sum() - 2 * own.sum() + len(flat))
        self._sums += calibration_bins(scores.max(axis=0), scores.argmax(axis=0) == flat, self.bins)

    def result(self) -> Calibration:
        """Return what follows from all that was added."""
        pixels, confidence, right = self._sums
        total = int(pixels.sum())
        return Calibration(
            total,
            self._surprise / total if total else float("nan"),
            self._squares / total if total else float("nan"),
            np.linspace(0, 1, self.bins + 1),
            pixels.astype(np.int64),
            _divide(confidence, pixels),
            _divide(right, pixels),
        )


def calibration_bins(confidence: Floats, right: NDArray[np.bool_], bins: int) -> Floats:
    """Return (3, bins): pixels, summed confidence and right pixels of each bin; a bin has its lower edge.

    Example:
        >>> calibration_bins(np.array([.25, .55, .75]), np.array([False, True, True]), 2).tolist()
        [[1.0, 2.0], [0.25, 1.3], [0.0, 2.0]]
    """
    edges = np.linspace(0, 1, bins + 1)
    place = np.clip(np.searchsorted(edges, confidence, side="right") - 1, 0, bins - 1)
    weights = (None, confidence, right.astype(np.float64))
    return np.stack([np.bincount(place, weights=w, minlength=bins).astype(np.float64) for w in weights])


def temper(probabilities: NDArray[Any], temperature: float) -> Floats:
    """Return the probabilities that logits divided by a temperature would have given (Guo et al. 2017).

    Args:
        probabilities: (K, …), summing to 1 over K.
        temperature: Above 1 makes them less sure; the largest stays the largest.

    Example:
        >>> temper(np.array([0.8, 0.2]), 2.0).round(4).tolist()
        [0.6667, 0.3333]
    """
    if not temperature > 0:
        raise BadInput(explain("a temperature must be positive", got=temperature))
    logits = np.log(np.maximum(probabilities.astype(np.float64), LEAST_PROBABILITY)) / temperature
    powers: Floats = np.exp(logits - logits.max(axis=0))
    return powers / powers.sum(axis=0)


def _divide(above: Floats, below: Floats) -> Floats:
    out = np.full(len(above), np.nan)
    np.divide(above, below, out=out, where=below > 0)
    return out


def _plain(value: float) -> float | None:
    return None if np.isnan(value) else float(value)
