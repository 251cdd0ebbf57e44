"""Small pictures of compared scenes, gathered while their windows stream by."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox

from geotoolbox.core.classes import IGNORE_INDEX
from geotoolbox.core.query import Scene
from geotoolbox.metrics.pairs import Codes

__all__ = ["Overview", "Picture"]


@dataclass(frozen=True, slots=True)
class Overview:
    """A thinned picture of one compared scene: every ``step_px``-th pixel of both layers.

    ``truth`` and ``predicted`` are (H, W) indices into the shared classes, ``IGNORE_INDEX`` where there
    is none; ``bounds`` is (left, bottom, right, top) in ``crs``.
    """

    scene: str
    truth: NDArray[np.int64]
    predicted: NDArray[np.int64]
    bounds: tuple[float, float, float, float]
    crs: str
    step_px: int
    geobox: GeoBox


class Picture:
    """Every n-th pixel of a scene.

    Attributes:
        step: n.
        used: Whether any kept pixel has a class.
    """

    def __init__(self, scene: Scene, longest_px: int) -> None:
        height, width = scene.geobox.shape
        self.scene, self.used = scene, False
        self.step = max(1, math.ceil(max(height, width) / longest_px))
        shape = (math.ceil(height / self.step), math.ceil(width / self.step))
        self.truth = np.full(shape, IGNORE_INDEX, dtype=np.int64)
        self.predicted = np.full(shape, IGNORE_INDEX, dtype=np.int64)

    def add(self, row: int, column: int, truth: Codes, predicted: Codes, num_classes: int) -> None:
        """Put thinned codes in, of a window whose first pixel is at a row and column of the scene."""
        if not truth.size:
            return
        i, j = -(-row // self.step), -(-column // self.step)
        for target, source in ((self.truth, truth), (self.predicted, predicted)):
            part = np.where(source < num_classes, source.astype(np.int64), IGNORE_INDEX)
            target[i : i + part.shape[0], j : j + part.shape[1]] = part
            self.used = self.used or bool((part >= 0).any())

    def finish(self) -> Overview:
        """Cut away the empty rim."""
        seen = (self.truth >= 0) | (self.predicted >= 0)
        rows, columns = (np.flatnonzero(seen.any(axis=a)) for a in (1, 0))
        if not len(rows):  # what was compared lies between the kept pixels
            rows, columns = np.arange(seen.shape[0]), np.arange(seen.shape[1])
        window = (slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1))
        height, width = self.scene.geobox.shape
        geobox = self.scene.geobox[
            rows[0] * self.step : min((rows[-1] + 1) * self.step, height),
            columns[0] * self.step : min((columns[-1] + 1) * self.step, width),
        ]
        edges = geobox.extent.boundingbox
        return Overview(
            self.scene.name,
            self.truth[window],
            self.predicted[window],
            (edges.left, edges.bottom, edges.right, edges.top),
            str(geobox.crs),
            self.step,
            geobox,
        )
