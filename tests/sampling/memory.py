"""A dataset that lives in memory: what sampling needs, with known pixel values."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import shapely
from affine import Affine
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox
from shapely.geometry.base import BaseGeometry

from geotoolbox.core.classes import IGNORE_INDEX, ClassTable
from geotoolbox.core.query import ALWAYS, Band, Query, Reading, Scene, TimeInterval
from geotoolbox.datasets.base import GeoDataset

UTM = "EPSG:32612"


@dataclass(frozen=True)
class Layer:
    """One scene: (C, H, W) values, where they are valid, and labels."""

    image: NDArray[np.float32]
    valid: NDArray[np.bool_]
    mask: NDArray[np.int64] | None
    geobox: GeoBox
    time: TimeInterval = ALWAYS
    footprint: BaseGeometry | None = None


class MemoryDataset(GeoDataset):
    """Scenes held in arrays; queries must be whole pixels of a scene's grid."""

    def __init__(self, layers: Sequence[Layer], names: Sequence[str] = (), classes: int = 0) -> None:
        self.layers = tuple(layers)
        count = layers[0].image.shape[0]
        self._bands = tuple(Band(n) for n in (names or [f"b{i}" for i in range(count)]))
        self._classes = ClassTable.from_names([f"c{i}" for i in range(classes)]) if classes else None

    @property
    def kind(self):
        return "both" if self._classes else "image"

    @property
    def bands(self):
        return self._bands

    @property
    def classes(self):
        return self._classes

    def source_files(self):
        return ()

    def explain(self, query):
        return "memory"

    def scenes(self):
        return tuple(
            Scene(f"s{i}", o.geobox, o.footprint or shapely.box(*o.geobox.boundingbox), o.time)
            for i, o in enumerate(self.layers)
        )

    def read(self, query: Query) -> Reading:
        shape = tuple(query.geobox.shape)
        image = np.zeros((len(self._bands), *shape), np.float32)
        mask = np.full(shape, IGNORE_INDEX, np.int64)
        valid = np.zeros(shape, bool)
        for layer in self.layers:
            if layer.geobox.crs != query.geobox.crs or not layer.time.overlaps(query.time):
                continue
            move = ~layer.geobox.affine * query.geobox.affine
            col, row = round(move.c), round(move.f)
            assert abs(move.c - col) < 1e-6 and abs(move.f - row) < 1e-6, "off the pixel grid"
            r0, r1 = max(row, 0), min(row + shape[0], layer.geobox.shape[0])
            c0, c1 = max(col, 0), min(col + shape[1], layer.geobox.shape[1])
            if r0 >= r1 or c0 >= c1:
                continue
            to = np.s_[r0 - row : r1 - row, c0 - col : c1 - col]
            ok = layer.valid[r0:r1, c0:c1] & ~valid[to]
            image[:, to[0], to[1]] = np.where(ok, layer.image[:, r0:r1, c0:c1], image[:, to[0], to[1]])
            if layer.mask is not None:
                mask[to] = np.where(ok, layer.mask[r0:r1, c0:c1], mask[to])
            valid[to] |= ok
        return Reading(query.geobox, image, mask if self._classes else None, valid)


def grid(
    height: int, width: int, *, x: float = 300_000, y: float = 4_140_000, res: float = 30, crs: str = UTM
):
    """A north-up grid."""
    return GeoBox((height, width), Affine(res, 0, x, 0, -res, y), crs)


def one(height: int = 40, width: int = 50, *, seed: int = 0, classes: int = 3, **place) -> MemoryDataset:
    """One scene of two bands of noise and random labels, all valid."""
    return MemoryDataset([layer(height, width, seed=seed, classes=classes, **place)], classes=classes)


def layer(
    height: int, width: int, *, seed: int = 0, classes: int = 3, time: TimeInterval = ALWAYS, **place
) -> Layer:
    """A scene of two bands of noise and random labels, all valid."""
    rng = np.random.default_rng(seed)
    image = rng.integers(1, 1000, (2, height, width)).astype(np.float32)
    mask = rng.integers(0, classes, (height, width)) if classes else None
    return Layer(image, np.ones((height, width), bool), mask, grid(height, width, **place), time)


def pixels(query: Query, scene: Scene) -> tuple[int, int, int, int]:
    """Where a query lies in a scene's grid: row, column, height, width."""
    move = ~scene.geobox.affine * query.geobox.affine
    return round(move.f), round(move.c), *query.geobox.shape
