"""Pictures of held-out places while a model is trained: image, reference, map and error side by side."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from geotoolbox.core.classes import ClassTable
from geotoolbox.core.events import Artifact, Reporter
from geotoolbox.core.files import atomic_path
from geotoolbox.core.query import Reading
from geotoolbox.visualization.pixels import error_rgba, mask_rgba, stretch

__all__ = ["EpochPictures"]

_GAP_PX = 4
_NOTHING = (128, 128, 128, 40)  # a tint, in light and dark, where a panel has nothing to show
_LEAST_PX = 96  # smaller places are drawn larger, by whole factors


class EpochPictures:
    """Draws the same places after each epoch, one row a place, and reports each picture as an artifact.

    Args:
        readings: The places, with image and mask.
        classes: The classes of the masks.
        bands: The positions of red, green and blue (or one of grey) in the images.
        folder: Where the pictures go, one PNG an epoch.
        reporter: Hears of them.
    """

    def __init__(
        self,
        readings: Sequence[Reading],
        classes: ClassTable,
        bands: tuple[int, ...],
        folder: Path,
        reporter: Reporter,
    ) -> None:
        self.readings, self.classes, self.bands = tuple(readings), classes, bands
        self.folder, self.reporter = folder, reporter

    def __call__(self, epoch: int, predict: Callable[[Reading], NDArray[np.int64]]) -> None:
        """Draw what the network of an epoch makes of the places."""
        if not self.readings:
            return
        sheet = stack_panels([self._row(r, predict(r)) for r in self.readings])
        path = self.folder / f"epoch-{epoch:06d}.png"
        self.folder.mkdir(parents=True, exist_ok=True)
        with atomic_path(path) as part:
            Image.fromarray(sheet).save(part, format="PNG", optimize=True)
        self.reporter.emit(Artifact("pictures", str(path), "image/png"))

    def _row(self, reading: Reading, predicted: NDArray[np.int64]) -> list[NDArray[np.uint8]]:
        assert reading.image is not None and reading.mask is not None
        bands = self.bands if reading.image.shape[0] > max(self.bands) else (0,)
        truth = np.where(reading.valid, reading.mask, -1)
        return [
            stretch(reading.image, reading.valid, bands, gamma=0.75),
            mask_rgba(truth, self.classes),
            mask_rgba(predicted, self.classes),
            error_rgba(truth, predicted),
        ]


def _grounded(panel: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return np.where(panel[..., 3:] == 0, np.array(_NOTHING, np.uint8), panel)


def stack_panels(rows: Sequence[Sequence[NDArray[np.uint8]]]) -> NDArray[np.uint8]:
    """Put panels (H, W, 4), row by row, onto one transparent sheet.

    Example:
        >>> panel = np.full((2, 3, 4), 255, np.uint8)
        >>> stack_panels([[panel, panel]])[0, :, 3].tolist()[:10]
        [255, 255, 255, 255, 255, 255, 255, 255, 255, 255]
    """
    height = max(p.shape[0] for row in rows for p in row)
    width = max(p.shape[1] for row in rows for p in row)
    factor = max(1, _LEAST_PX // max(height, width))
    tall, wide = height * factor, width * factor
    columns = max(len(row) for row in rows)
    shape = (len(rows) * (tall + _GAP_PX) - _GAP_PX, columns * (wide + _GAP_PX) - _GAP_PX, 4)
    sheet = np.zeros(shape, np.uint8)
    for i, row in enumerate(rows):
        for j, panel in enumerate(row):
            large = _grounded(panel).repeat(factor, axis=0).repeat(factor, axis=1)
            y, x = i * (tall + _GAP_PX), j * (wide + _GAP_PX)
            sheet[y : y + large.shape[0], x : x + large.shape[1]] = large
    return sheet
