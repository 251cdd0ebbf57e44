"""A scene that can be learnt: the class is told by the bands, with noise, an unlabelled strip and invalid corners."""

from __future__ import annotations

import numpy as np

from geotoolbox.core.classes import IGNORE_INDEX
from tests.sampling.memory import Layer, MemoryDataset, grid


def learnable(
    height: int = 96, width: int = 96, *, seed: int = 0, classes: int = 3, x: float = 300_000
) -> MemoryDataset:
    rng = np.random.default_rng(seed)
    rows, columns = np.mgrid[0:height, 0:width]
    mask = ((rows // 12 + 2 * (columns // 12)) % classes).astype(np.int64)
    centres = np.array([[1000.0, 3000.0, 2000.0, 1500.0], [500.0, 900.0, 4000.0, 2500.0]])[:, :classes]
    image = (centres[:, mask] + rng.normal(0, 250, (2, height, width))).astype(np.float32)
    valid = np.ones((height, width), bool)
    valid[:10, :10] = False
    image[:, ~valid] = -9999
    mask[:, -6:] = IGNORE_INDEX
    layer = Layer(np.where(valid, image, 0), valid, mask, grid(height, width, x=x))
    return MemoryDataset([layer], ["red", "nir"], classes=classes)
