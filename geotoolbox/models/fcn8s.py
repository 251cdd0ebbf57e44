"""FCN-8s (Long, Shelhamer & Darrell 2015), with batch normalisation and without cropping."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F

__all__ = ["FCN8s"]


class FCN8s(nn.Module):
    """A VGG-like encoder whose scores at 1/8, 1/16 and 1/32 are summed on the way up.

    The classes are scored at three depths; the coarse scores are enlarged and added to the finer
    ones, and the sum at 1/8 is enlarged to the image.

    Args:
        in_channels: Channels of the image.
        num_classes: Channels of the logits.
        width: Channels of the first stage; the deepest stages have eight times as many.
        dropout: Share of channels dropped before the deepest score.
    """

    def __init__(self, in_channels: int, num_classes: int, width: int = 32, dropout: float = 0.2) -> None:
        super().__init__()
        widths = [width, 2 * width, 4 * width, 8 * width, 8 * width]
        depths = [1, 1, 2, 2, 2]
        inputs = [in_channels, *widths[:-1]]
        self.stages = nn.ModuleList(_stage(i, o, d) for i, o, d in zip(inputs, widths, depths, strict=True))
        self.head = nn.Sequential(
            nn.Conv2d(widths[4], widths[4], 3, padding=1, bias=False),
            nn.BatchNorm2d(widths[4]),
            nn.ReLU(inplace=True),
            nn.Dropout2d(dropout),
        )
        self.score8 = nn.Conv2d(widths[2], num_classes, 1)
        self.score16 = nn.Conv2d(widths[3], num_classes, 1)
        self.score32 = nn.Conv2d(widths[4], num_classes, 1)

    def forward(self, image: Tensor) -> Tensor:
        """Map (N, C, H, W), H and W multiples of 32, to logits (N, K, H, W)."""
        maps: list[Tensor] = []
        x = image
        for stage in self.stages:
            x = stage(x)
            maps.append(x)
        score = self.score32(self.head(maps[4]))
        score = _enlarge(score, maps[3]) + self.score16(maps[3])
        score = _enlarge(score, maps[2]) + self.score8(maps[2])
        return _enlarge(score, image)


def _enlarge(score: Tensor, like: Tensor) -> Tensor:
    return F.interpolate(score, size=like.shape[-2:], mode="bilinear", align_corners=False)


def _stage(in_channels: int, out_channels: int, depth: int) -> nn.Sequential:
    layers: list[nn.Module] = []
    for number in range(depth):
        layers += [
            nn.Conv2d(in_channels if number == 0 else out_channels, out_channels, 3, padding=1, bias=False),
            nn.BatchNorm2d(out_channels),
            nn.ReLU(inplace=True),
        ]
    return nn.Sequential(*layers, nn.MaxPool2d(2))
