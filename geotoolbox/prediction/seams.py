"""The seam ratio: how much steeper a prediction is where tiles begin and end than elsewhere."""

from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np
import torch
from torch import Tensor

from geotoolbox.prediction.blending import Strip
from geotoolbox.prediction.lattice import Lattice

__all__ = ["ALARM", "SeamMeter", "seam_ratio"]

ALARM = 1.05
"""A seam ratio above this deserves a warning."""

SAMPLE = 8


class SeamMeter:
    """Sums absolute differences of neighbouring probabilities, at tile edges and elsewhere.

    One row and one column in eight are looked at, so it costs little.
    """

    def __init__(self, lattice: Lattice) -> None:
        self._lattice = lattice
        self._last: tuple[Tensor, Tensor] | None = None
        self.sums = np.zeros(4)  # Σ at seams, pairs at seams, Σ elsewhere, pairs elsewhere

    def add(self, strip: Strip) -> None:
        """Look at the final rows of a block; they must come from top to bottom."""
        valid = torch.from_numpy(strip.valid)
        first = -strip.window.top % SAMPLE
        across = strip.sums[:, first::SAMPLE] / strip.weight[first::SAMPLE]
        self._count(
            across, valid[first::SAMPLE], self._lattice.is_seam(strip.window.left, strip.window.right)
        )
        left = -strip.window.left % SAMPLE
        down = (strip.sums[:, :, left::SAMPLE] / strip.weight[:, left::SAMPLE]).transpose(1, 2)
        good, top = valid[:, left::SAMPLE].T, strip.window.top
        last = down[:, :, -1:].clone(), good[:, -1:].clone()
        if self._last is not None:
            down, good = torch.cat([self._last[0], down], 2), torch.cat([self._last[1], good], 1)
            top -= 1
        self._last = last
        self._count(down, good, self._lattice.is_seam(top, strip.window.bottom))

    def _count(self, values: Tensor, valid: Tensor, seams: np.ndarray) -> None:
        if values.shape[-1] < 2 or not values.shape[-2]:
            return
        steps = (values[:, :, 1:] - values[:, :, :-1]).abs().mean(0, dtype=torch.float64)
        both = valid[:, 1:] & valid[:, :-1]
        steps = torch.where(both, steps, torch.zeros((), dtype=steps.dtype))
        totals, counts = steps.sum(0).numpy(), both.sum(0).numpy()
        at = seams[1:]
        self.sums += (totals[at].sum(), counts[at].sum(), totals[~at].sum(), counts[~at].sum())


def seam_ratio(sums: Iterable[Iterable[float]]) -> float:
    """Return mean step at seams / mean step elsewhere; NaN where there is no seam, or no step at all.

    Example:
        >>> seam_ratio([[2.0, 10, 10.0, 100], [0.0, 0, 10.0, 100]])
        2.0
    """
    total = np.sum([list(s) for s in sums] or [[0.0] * 4], axis=0)
    if not total[1] or not total[3] or not total[2]:
        return math.nan
    return float(total[0] / total[1] / (total[2] / total[3]))
