"""A dataset in memory and models simple enough to know the answer."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import torch
from affine import Affine
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox
from shapely.geometry import box
from torch import Tensor

from geotoolbox.core.classes import ClassTable
from geotoolbox.core.query import ALWAYS, Band, Query, Reading, Scene
from geotoolbox.errors import CannotRead

ORIGIN = Affine(10.0, 0.0, 500_000.0, 0.0, -10.0, 5_000_000.0)


@dataclass
class ArrayDataset:
    """An image in memory, read in windows of its own grid; cells can be made to fail."""

    image: NDArray[np.float32]
    valid: NDArray[np.bool_]
    transform: Affine = ORIGIN
    crs: str = "EPSG:32633"
    broken: tuple[slice, slice] | None = None
    reads: list[tuple[int, int, int, int]] = field(default_factory=list)

    @property
    def bands(self) -> tuple[Band, ...]:
        return tuple(Band(f"b{i}") for i in range(len(self.image)))

    @property
    def geobox(self) -> GeoBox:
        return GeoBox(self.image.shape[1:], self.transform, self.crs)

    def scenes(self) -> tuple[Scene, ...]:
        return (Scene("memory", self.geobox, box(*self.geobox.boundingbox.bbox), ALWAYS),)

    def source_files(self) -> tuple[str, ...]:
        return ()

    def read(self, query: Query) -> Reading:
        offset = ~self.transform * query.geobox.affine
        top, left = round(offset.f), round(offset.c)
        height, width = query.geobox.shape
        self.reads.append((top, top + height, left, left + width))
        if self.broken is not None:
            rows, columns = self.broken
            if (
                top < rows.stop
                and top + height > rows.start
                and left < columns.stop
                and left + width > columns.start
            ):
                raise CannotRead("cannot read: memory.tif, the block is corrupt")
        out = np.zeros((len(self.image), height, width), np.float32)
        valid = np.zeros((height, width), bool)
        r0, r1 = max(top, 0), min(top + height, self.image.shape[1])
        c0, c1 = max(left, 0), min(left + width, self.image.shape[2])
        if r1 > r0 and c1 > c0:
            out[:, r0 - top : r1 - top, c0 - left : c1 - left] = self.image[:, r0:r1, c0:c1]
            valid[r0 - top : r1 - top, c0 - left : c1 - left] = self.valid[r0:r1, c0:c1]
        return Reading(query.geobox, np.where(valid, out, np.float32(0)), None, valid)


def noise(bands: int, height: int, width: int, seed: int = 0) -> ArrayDataset:
    """A scene of noise in [0, 1)."""
    image = np.random.default_rng(seed).random((bands, height, width), dtype=np.float32)
    return ArrayDataset(image, np.ones((height, width), bool))


@dataclass
class Model:
    """The shared facts of the models below."""

    channels: int = 2
    num_classes: int = 2
    tile_px: int = 32
    halo_px: int = 4

    @property
    def bands(self) -> tuple[str, ...]:
        return tuple(f"b{i}" for i in range(self.channels))

    @property
    def classes(self) -> ClassTable:
        return ClassTable.from_names({10 * (i + 1): f"class {i}" for i in range(self.num_classes)})


class Constant(Model):
    """0.7 and the rest shared."""

    def __call__(self, image: Tensor, valid: Tensor) -> Tensor:
        n, _, h, w = image.shape
        out = torch.full((n, self.num_classes, h, w), 0.3 / (self.num_classes - 1))
        out[:, 0] = 0.7
        return out


class Identity(Model):
    """Class k is band k."""

    def __call__(self, image: Tensor, valid: Tensor) -> Tensor:
        return image[:, : self.num_classes].clone()


class Filter(Model):
    """A small convolution net whose answer at a pixel depends on ``radius`` pixels around, then softmax."""

    radius = 3

    def __init__(self, **facts: int) -> None:
        super().__init__(**facts)
        generator = torch.Generator().manual_seed(3)
        self.kernels = [
            torch.randn((8, self.channels, 3, 3), generator=generator),
            torch.randn((8, 8, 3, 3), generator=generator) / 4,
            torch.randn((self.num_classes, 8, 3, 3), generator=generator) / 4,
        ]

    def __call__(self, image: Tensor, valid: Tensor) -> Tensor:
        x = image
        for kernel in self.kernels:
            x = torch.tanh(torch.nn.functional.conv2d(x, kernel, padding=1))
        return torch.softmax(3 * x, dim=1)


class Context(Model):
    """Every pixel depends on the whole tile: the worst case for seams."""

    def __call__(self, image: Tensor, valid: Tensor) -> Tensor:
        first = torch.sigmoid(image[:, :1] + 5 * image[:, :1].mean((2, 3), keepdim=True))
        return torch.cat(
            [first, (1 - first) / (self.num_classes - 1) * torch.ones(1, self.num_classes - 1, 1, 1)], 1
        )
