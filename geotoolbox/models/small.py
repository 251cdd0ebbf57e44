"""A small segmentation network that trains usefully on a CPU in minutes.

Two ideas carry it. A parameter-free front end gives every channel in several lights: as it is, its contrast
against its surroundings at two scales, and its gradient magnitude. So an elevation layer brings relief and slope
without preparation, and what the network learns does not hang on absolute values, which differ from place to
place. Behind it stands a narrow U-shaped network with residual blocks and batch normalisation.
"""

from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

_COARSE = 8
_LIMIT = 6.0
_FAINT = 1e-4  # below this share of a band's spread a contrast is noise and stays small


def _box_mean(x: Tensor, size: int) -> Tensor:
    """Mean over a ``size`` × ``size`` window, the edge repeated outside."""
    pad = size // 2
    return F.avg_pool2d(F.pad(x, (pad, pad, pad, pad), mode="replicate"), size, 1)


def _pad_to(x: Tensor, multiple: int) -> Tensor:
    """Repeat the last row and column until height and width are multiples of ``multiple``."""
    down, right = -x.shape[-2] % multiple, -x.shape[-1] % multiple
    return F.pad(x, (0, right, 0, down), mode="replicate") if down or right else x


class LocalContrast(nn.Module):
    """Every channel as it is, against its surroundings at two scales, and as gradient magnitude.

    The results are brought to unit variance by running statistics, which matters for smooth layers such as elevation: their slope
    is tiny beside their range. Nothing here is learnt but these statistics.

    Args:
        channels: Number of input channels; the output has four times as many.

    Shape:
        (N, C, H, W) float32 → (N, 4·C, H, W) float32.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.out_channels = 4 * channels
        self.norm = nn.BatchNorm2d(self.out_channels, eps=_FAINT**2, affine=False, momentum=None)

    def forward(self, x: Tensor) -> Tensor:
        """Derive and rescale."""
        parts = (x, x - _box_mean(x, 5), x - self._surroundings(x), self._gradient(x))
        scaled: Tensor = self.norm(torch.cat(parts, dim=1))
        return scaled.clamp(-_LIMIT, _LIMIT)

    @staticmethod
    def _surroundings(x: Tensor) -> Tensor:
        """Mean over about 24 px, taken on a grid eight times coarser and interpolated back: cheap at any scene size."""
        height, width = x.shape[-2:]
        coarse = _box_mean(F.avg_pool2d(_pad_to(x, _COARSE), _COARSE), 3)
        fine = F.interpolate(coarse, scale_factor=_COARSE, mode="bilinear", align_corners=False)
        return fine[..., :height, :width]

    @staticmethod
    def _gradient(x: Tensor) -> Tensor:
        """Length of the central-difference gradient: slope, whatever its direction."""
        p = F.pad(x, (1, 1, 1, 1), mode="replicate")
        across = p[..., 1:-1, 2:] - p[..., 1:-1, :-2]
        along = p[..., 2:, 1:-1] - p[..., :-2, 1:-1]
        return torch.sqrt(across * across + along * along + _FAINT**2)


class _ConvNorm(nn.Sequential):
    """Convolution, batch normalisation and, unless told otherwise, ReLU."""

    def __init__(self, into: int, out: int, kernel: int = 3, *, activate: bool = True) -> None:
        conv = nn.Conv2d(into, out, kernel, padding=kernel // 2, bias=False)
        last = nn.ReLU(inplace=True) if activate else nn.Identity()
        super().__init__(conv, nn.BatchNorm2d(out), last)


class _Residual(nn.Module):
    """Two 3×3 convolutions added to their input."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first = _ConvNorm(channels, channels)
        self.second = _ConvNorm(channels, channels, activate=False)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(x + self.second(self.first(x)))


class SmallNet(nn.Module):
    """Narrow U-shaped network with a local-contrast front end, for any number of bands.

    Args:
        in_channels: Channels of the normalised image.
        num_classes: Classes to tell apart.
        width: Channels at full resolution; each of the three coarser levels has 1.5 times as many as the one before.
        dropout: Share of full-resolution feature channels left out while training.

    Attributes:
        halo_px: Pixels around a pixel beyond which nothing influences its result.

    Shape:
        (N, in_channels, H, W) float32 → logits (N, num_classes, H, W) float32, for any H and W.

    Raises:
        ValueError: If a count is smaller than one.

    Example:
        >>> net = SmallNet(in_channels=5, num_classes=8, width=8).eval()
        >>> tuple(net(torch.zeros(1, 5, 37, 50)).shape)
        (1, 8, 37, 50)
    """

    levels: int = 3
    halo_px: int = 64

    def __init__(self, in_channels: int, num_classes: int, width: int = 24, *, dropout: float = 0.1) -> None:
        super().__init__()
        if min(in_channels, num_classes, width) < 1:
            raise ValueError(
                f"in_channels, num_classes and width must be at least 1, got {in_channels}, {num_classes}, {width}"
            )
        widths = [int(width * 1.5**level) for level in range(self.levels + 1)]
        self.contrast = LocalContrast(in_channels)
        self.stem = nn.Sequential(_ConvNorm(self.contrast.out_channels, width, 1), _ConvNorm(width, width))
        self.down = nn.ModuleList(
            nn.Sequential(nn.AvgPool2d(2), _ConvNorm(fine, coarse, 1), _Residual(coarse))
            for fine, coarse in pairwise(widths)
        )
        steps = list(reversed(list(pairwise(widths))))
        self.project = nn.ModuleList(nn.Conv2d(coarse, fine, 1, bias=False) for fine, coarse in steps)
        self.up = nn.ModuleList(_ConvNorm(fine, fine) for fine, _ in steps)
        self.dropout = nn.Dropout2d(dropout)
        self.head = nn.Conv2d(width, num_classes, 1)

    def forward(self, image: Tensor) -> Tensor:
        """Class logits of every pixel; see the class for shapes."""
        height, width = image.shape[-2:]
        x = self.stem(self.contrast(_pad_to(image, 2**self.levels)))
        kept: list[Tensor] = []
        for down in self.down:
            kept.append(x)
            x = down(x)
        for project, up in zip(self.project, self.up, strict=True):
            # narrowed before it is enlarged, added and not concatenated: a third of the time saved
            x = F.interpolate(project(x), scale_factor=2, mode="bilinear", align_corners=False)
            x = up(kept.pop() + x)
        logits: Tensor = self.head(self.dropout(x))
        return logits[..., :height, :width]
