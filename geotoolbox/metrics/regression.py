"""How far a map of numbers (height, biomass, cover) is from its reference, in one pass over scenes of any size."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geotoolbox.errors import BadInput, explain

__all__ = ["REGRESSION_MEANINGS", "RegressionMoments", "RegressionScores", "regression_scores"]

REGRESSION_MEANINGS: Mapping[str, str] = {
    "rmse": "The root of the mean squared error: a typical error, in the data's unit; large errors weigh most.",
    "mae": "The mean absolute error, in the data's unit.",
    "bias": "The mean of map minus reference: above 0 the map is too high.",
    "r2": "One minus squared error over the variance of the reference: 1 is perfect, 0 is no better than its mean.",
    "concordance": "Lin's concordance correlation: 1 only if map and reference are equal, not merely proportional.",
    "correlation": "Pearson's correlation: blind to bias and scale.",
}
"""What each number means, in one sentence."""


@dataclass(frozen=True, slots=True)
class RegressionScores:
    """Scores of a map of numbers.

    Attributes:
        count: How many pixels were compared.
        rmse: Root mean squared error, in the data's unit.
        mae: Mean absolute error, in the data's unit.
        bias: Mean of map minus reference, in the data's unit.
        r2: Coefficient of determination against the reference's mean.
        concordance: Lin's concordance correlation coefficient (Lin 1989), with variances over n − 1.
        correlation: Pearson's correlation coefficient.
        reasons: Why a score is NaN.
    """

    count: int
    rmse: float
    mae: float
    bias: float
    r2: float
    concordance: float
    correlation: float
    reasons: Mapping[str, str] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """Return plain data; NaN becomes null."""
        names = ("rmse", "mae", "bias", "r2", "concordance", "correlation")
        values = {n: getattr(self, n) for n in names}
        plain = {n: None if math.isnan(v) else v for n, v in values.items()}
        return {"count": self.count, **plain, "reasons": dict(self.reasons)}


@dataclass(frozen=True, slots=True)
class RegressionMoments:
    """The sums that all regression scores follow from; two of them add up to those of both parts.

    Means and centred sums are merged (Chan et al. 1983), so that large values lose no digits.

    Attributes:
        count: Pixels.
        mean_truth: Mean of the reference.
        mean_predicted: Mean of the map.
        square_truth: Sum of squared deviations of the reference from its mean.
        square_predicted: The same for the map.
        product: Sum of products of both deviations.
        absolute_error: Sum of absolute errors.
        square_error: Sum of squared errors.

    Example:
        >>> first = RegressionMoments().update(np.array([1.0, 2.0]), np.array([1.5, 2.0]))
        >>> both = first + RegressionMoments().update(np.array([4.0]), np.array([3.0]))
        >>> both.count, round(both.scores().bias, 6), both.scores().mae
        (3, -0.166667, 0.5)
    """

    count: int = 0
    mean_truth: float = 0.0
    mean_predicted: float = 0.0
    square_truth: float = 0.0
    square_predicted: float = 0.0
    product: float = 0.0
    absolute_error: float = 0.0
    square_error: float = 0.0

    def update(
        self, truth: NDArray[Any], predicted: NDArray[Any], valid: NDArray[np.bool_] | None = None
    ) -> RegressionMoments:
        """Return the moments with more pixels; NaN on either side is no data.

        Args:
            truth: Reference values of any shape.
            predicted: The map's values, of the same shape.
            valid: Pixels that count, of the same shape; all when None.

        Raises:
            BadInput: When the shapes differ, or a value that counts is infinite.
        """
        shapes = {a.shape for a in (truth, predicted, valid) if a is not None}
        if len(shapes) > 1:
            raise BadInput(explain("truth, prediction and valid differ in shape", got=sorted(shapes)))
        x, y = np.asarray(truth, dtype=np.float64), np.asarray(predicted, dtype=np.float64)
        keep = ~(np.isnan(x) | np.isnan(y))
        if valid is not None:
            keep &= valid
        x, y = x[keep], y[keep]
        if not len(x):
            return self
        if not (np.isfinite(x).all() and np.isfinite(y).all()):
            raise BadInput(
                explain("infinite values cannot be scored", fix="mark them as nodata or not valid")
            )
        dx, dy, error = x - x.mean(), y - y.mean(), y - x
        part = RegressionMoments(
            len(x),
            float(x.mean()),
            float(y.mean()),
            float(dx @ dx),
            float(dy @ dy),
            float(dx @ dy),
            float(np.abs(error).sum()),
            float(error @ error),
        )
        return self + part

    def __add__(self, other: RegressionMoments) -> RegressionMoments:
        """Return the moments of both."""
        if not self.count or not other.count:
            return other if not self.count else self
        n = self.count + other.count
        share, cross = other.count / n, self.count * other.count / n
        dx, dy = other.mean_truth - self.mean_truth, other.mean_predicted - self.mean_predicted
        return RegressionMoments(
            n,
            self.mean_truth + share * dx,
            self.mean_predicted + share * dy,
            self.square_truth + other.square_truth + cross * dx * dx,
            self.square_predicted + other.square_predicted + cross * dy * dy,
            self.product + other.product + cross * dx * dy,
            self.absolute_error + other.absolute_error,
            self.square_error + other.square_error,
        )

    def scores(self) -> RegressionScores:
        """Return the scores, with a reason for each NaN."""
        n = self.count
        if n == 0:
            nan, names = math.nan, ("rmse", "mae", "bias", "r2", "concordance", "correlation")
            why = dict.fromkeys(names, "no pixel was compared")
            return RegressionScores(0, nan, nan, nan, nan, nan, nan, why)
        reasons: dict[str, str] = {}
        few = "fewer than two pixels were compared"
        flat = "the reference has one value only"
        r2 = 1 - self.square_error / self.square_truth if self.square_truth > 0 else math.nan
        if math.isnan(r2):
            reasons["r2"] = few if n < 2 else flat
        spread = math.sqrt(self.square_truth) * math.sqrt(self.square_predicted)
        correlation = self.product / spread if spread > 0 else math.nan
        if math.isnan(correlation):
            reasons["correlation"] = few if n < 2 else "map or reference has one value only"
        shift = (self.mean_predicted - self.mean_truth) ** 2 * (n - 1)
        below = self.square_truth + self.square_predicted + shift
        concordance = 2 * self.product / below if n > 1 and below > 0 else math.nan
        if math.isnan(concordance):
            reasons["concordance"] = few if n < 2 else "map and reference have one value only, the same"
        return RegressionScores(
            n,
            math.sqrt(self.square_error / n),
            self.absolute_error / n,
            self.mean_predicted - self.mean_truth,
            r2,
            concordance,
            correlation,
            reasons,
        )


def regression_scores(
    truth: NDArray[Any], predicted: NDArray[Any], valid: NDArray[np.bool_] | None = None
) -> RegressionScores:
    """Score a map of numbers; for parts of a large scene use :class:`RegressionMoments`.

    Args:
        truth: Reference values of any shape; NaN is no data.
        predicted: The map's values, of the same shape.
        valid: Pixels that count; all when None.

    Example:
        >>> found = regression_scores(np.array([3.0, -0.5, 2.0, 7.0]), np.array([2.5, 0.0, 2.0, 8.0]))
        >>> round(found.concordance, 4), round(found.r2, 4), found.mae
        (0.9777, 0.9486, 0.5)
    """
    return RegressionMoments().update(truth, predicted, valid).scores()
