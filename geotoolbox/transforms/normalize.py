"""Normalisation of valid pixels; what is not valid becomes the training mean."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any, Literal

import torch
from torch import Tensor, nn

from geotoolbox.errors import BadInput, explain
from geotoolbox.transforms.statistics import BandStatistics

__all__ = ["Normalize", "NormalizeKind", "center_and_spread"]

_log = logging.getLogger(__name__)

NormalizeKind = Literal["mean_std", "min_max", "percentile"]


def center_and_spread(statistics: BandStatistics, kind: NormalizeKind) -> tuple[list[float], list[float]]:
    """Return what is subtracted and what it is divided by, one number a channel.

    ``mean_std`` gives mean 0 and deviation 1; ``min_max`` brings minimum and maximum to 0 and 1,
    ``percentile`` the 2nd and 98th percentiles (values beyond are not cut off).
    """
    if kind == "mean_std":
        return list(statistics.mean), list(statistics.std)
    if kind not in ("min_max", "percentile"):
        raise BadInput(
            explain(
                "unknown normalisation",
                where="kind",
                got=repr(kind),
                expected="mean_std, min_max or percentile",
            )
        )
    low, high = (
        (statistics.minimum, statistics.maximum) if kind == "min_max" else (statistics.p2, statistics.p98)
    )
    return list(low), [b - a for a, b in zip(low, high, strict=True)]


class Normalize(nn.Module):
    """Normalises images (…, C, H, W): ``(value - center) / spread``; invalid pixels get ``fill``.

    A spread of 0 (a constant band) is replaced by 1, with one warning, so that the band becomes 0
    on its constant and stays finite elsewhere (R20).

    Args:
        mean: What is subtracted, one number a channel.
        std: What it is divided by.
        fill: What invalid pixels get, after normalisation; 0 (the mean) by default.

    Example:
        >>> normalize = Normalize(mean=[10.0], std=[2.0])
        >>> normalize(torch.tensor([[[[14.0, 99.0]]]]), torch.tensor([[[True, False]]])).tolist()
        [[[[2.0, 0.0]]]]
    """

    mean: Tensor
    std: Tensor
    fill: Tensor

    def __init__(
        self, mean: Sequence[float], std: Sequence[float], fill: Sequence[float] | None = None
    ) -> None:
        super().__init__()
        if not len(mean) == len(std) == len(fill if fill is not None else std):
            raise BadInput(explain("not one number a channel", got=f"{len(mean)} and {len(std)}"))
        flat = [i for i, s in enumerate(std) if not s > 1e-9 * max(1.0, abs(mean[i]))]
        if flat:
            _log.warning("channels without spread, divided by 1 instead: %s", flat)
        floored = [1.0 if i in flat else float(s) for i, s in enumerate(std)]
        for name, values in (("mean", mean), ("std", floored), ("fill", fill or [0.0] * len(mean))):
            column = torch.tensor([float(v) for v in values], dtype=torch.float32)[:, None, None]
            self.register_buffer(name, column, persistent=False)

    @classmethod
    def from_statistics(cls, statistics: BandStatistics, kind: NormalizeKind = "mean_std") -> Normalize:
        """Make it from statistics; invalid pixels get the normalised training mean."""
        center, spread = center_and_spread(statistics, kind)
        fill = [
            (m - c) / s if s > 1e-9 * max(1.0, abs(c)) else m - c
            for m, c, s in zip(statistics.mean, center, spread, strict=True)
        ]
        return cls(center, spread, fill)

    def forward(self, image: Tensor, valid: Tensor) -> Tensor:
        """Normalise an image (…, C, H, W), given where it is valid: (…, H, W) or (…, C, H, W) bool."""
        if image.shape[-3] != self.mean.shape[0]:
            raise BadInput(
                explain(
                    "the image has another number of channels than the statistics",
                    got=int(image.shape[-3]),
                    expected=int(self.mean.shape[0]),
                )
            )
        usable = valid if valid.ndim == image.ndim else valid.unsqueeze(-3)
        return torch.where(usable, (image - self.mean) / self.std, self.fill.expand_as(image))

    def apply_to(self, batch: dict[str, Any]) -> dict[str, Any]:
        """Return a batch dict with its image normalised."""
        return {**batch, "image": self(batch["image"], batch["valid"])}
