"""Calibrating a trained network on held-out blocks, and telling what that changed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F
from torchmetrics.functional.classification import multiclass_calibration_error

from geotoolbox.trainers.validation import Validation, fit_temperature

__all__ = ["CalibrationChange", "calibrate"]

_BINS = 15


@dataclass(frozen=True, slots=True)
class CalibrationChange:
    """A temperature, and what it does to held-out pixels.

    The scores with a temperature are measured on blocks that it was not fitted on: each half of the blocks with
    the temperature of the other half. The temperature kept is that of all blocks.

    Attributes:
        temperature: What logits are divided by.
        pixels: Pixels it was fitted on.
        cross_entropy_before: Mean cross-entropy with temperature 1.
        cross_entropy_after: The same with a temperature.
        ece_before: Expected calibration error (15 bins) with temperature 1.
        ece_after: The same with a temperature.
    """

    temperature: float
    pixels: int
    cross_entropy_before: float
    cross_entropy_after: float
    ece_before: float
    ece_after: float

    def to_json(self) -> dict[str, Any]:
        """Return plain data."""
        return {name: getattr(self, name) for name in self.__slots__}

    def sentence(self) -> str:
        """Say it for people."""
        return (
            f"calibration on held-out blocks: temperature {self.temperature:.3f}, cross-entropy "
            f"{self.cross_entropy_before:.4f} to {self.cross_entropy_after:.4f}, expected calibration error "
            f"{self.ece_before:.4f} to {self.ece_after:.4f}"
        )


def calibrate(checked: Validation) -> CalibrationChange | None:
    """Fit a temperature to a sample of held-out pixels, and measure what it changes.

    Args:
        checked: A validation with logits, classes and the block of each pixel.

    Returns:
        The change; None without a labelled pixel, or with one class.
    """
    logits, truth = checked.logits.double(), checked.truth
    if len(truth) == 0 or logits.shape[1] < 2:
        return None
    temperature = fit_temperature(logits, truth)
    half = checked.block % 2 == 0
    scaled = torch.empty_like(logits)
    for mine, other in ((half, ~half), (~half, half)):
        # With one block there is no other half: then the fit is measured on itself.
        own = fit_temperature(logits[other], truth[other]) if bool(other.any()) else temperature
        scaled[mine] = logits[mine] / own
    surprise: Callable[[Tensor], float] = lambda x: float(F.cross_entropy(x, truth))  # noqa: E731
    return CalibrationChange(
        temperature, len(truth), surprise(logits), surprise(scaled), _ece(logits, truth), _ece(scaled, truth)
    )


def _ece(logits: Tensor, truth: Tensor) -> float:
    classes = int(logits.shape[1])
    found = multiclass_calibration_error(logits.softmax(dim=1), truth, num_classes=classes, n_bins=_BINS)
    return float(found)
