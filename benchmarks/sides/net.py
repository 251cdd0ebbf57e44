"""The networks that every side runs: plain torch, the same weights from one seed."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class Linear(nn.Module):
    """One matrix for each pixel: a model that costs next to nothing."""

    def __init__(self, bands: int, classes: int) -> None:
        super().__init__()
        weight = torch.linspace(-1, 1, classes * bands).reshape(classes, bands, 1, 1) / 2000
        self.mix = nn.Conv2d(bands, classes, 1, bias=False)
        self.mix.weight = nn.Parameter(weight, requires_grad=False)

    def forward(self, image: Tensor) -> Tensor:
        """Map (N, C, H, W) to logits."""
        return self.mix(image.float())


class Small(nn.Module):
    """Four convolutions: a light but real network (receptive field 9 px)."""

    def __init__(self, bands: int, classes: int, width: int = 24) -> None:
        super().__init__()
        torch.manual_seed(0)
        steps: list[nn.Module] = []
        before = bands
        for _ in range(4):
            steps += [nn.Conv2d(before, width, 3, padding=1), nn.ReLU()]
            before = width
        self.steps = nn.Sequential(*steps, nn.Conv2d(before, classes, 1))

    def forward(self, image: Tensor) -> Tensor:
        """Map (N, C, H, W) to logits, far enough apart that half precision does not change the class."""
        return self.steps(image.float() / 10_000) * 100


def network(name: str, bands: int, classes: int) -> nn.Module:
    """Return ``linear`` or ``small``, ready to predict."""
    kind = {"linear": Linear, "small": Small}[name]
    return kind(bands, classes).eval().requires_grad_(False)
