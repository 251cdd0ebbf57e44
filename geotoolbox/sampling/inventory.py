"""Which class stands where: an inventory of label pixels to draw from in a balanced way."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from affine import Affine
from numpy.typing import NDArray
from rasterio.features import rasterize
from shapely.geometry.base import BaseGeometry

from geotoolbox.errors import BadInput, BadLabels, explain
from geotoolbox.sampling.areas import Area
from geotoolbox.sampling.protocol import Sampled
from geotoolbox.sampling.windows import Window, blocks, window_query

__all__ = ["ClassInventory", "inside_mask", "take_inventory"]

_log = logging.getLogger(__name__)
_BLOCK_PX = 512
_MAX_BLOCKS = 400
_KEPT = 50_000


@dataclass(frozen=True, slots=True)
class ClassInventory:
    """Places of label pixels by class: for each class an (n, 3) array of area, row and column."""

    places: dict[int, NDArray[np.int64]]

    def draw(
        self, count: int, rng: np.random.Generator, shares: NDArray[np.float64]
    ) -> Iterator[tuple[int, int, int]]:
        """Draw ``count`` pixels, each class alike; areas of share 0 are left out."""
        usable = {c: p[shares[p[:, 0]] > 0] for c, p in self.places.items()}
        usable = {c: p for c, p in usable.items() if len(p)}
        classes = sorted(usable)
        if not classes:
            raise BadLabels(explain("no class to draw from", where="weights", fix="give a scene a weight"))
        for index in rng.integers(len(classes), size=count):
            places = usable[classes[index]]
            area, row, col = places[rng.integers(len(places))]
            yield int(area), int(row), int(col)


def inside_mask(polygon: BaseGeometry, window: Window) -> NDArray[np.bool_]:
    """Return which pixel centres of a window lie in a polygon given in pixels of the same grid."""
    shape = (window.height, window.width)
    move = (1.0, 0.0, float(window.col), 0.0, 1.0, float(window.row))
    return np.asarray(rasterize([(polygon, 1)], out_shape=shape, transform=Affine(*move)) == 1)


def take_inventory(dataset: Sampled, areas: Sequence[Area], seed: int) -> ClassInventory:
    """Read the labels of the areas, block by block, and keep places of each class.

    Up to 400 blocks of 512 px are read whole; from larger data that many are drawn at random.

    Raises:
        BadInput: When the dataset has no labels.
        BadLabels: When no label pixel lies in the areas.
    """
    if dataset.classes is None:
        raise BadInput(
            explain("class_balanced needs labels", got="a dataset without classes", fix="join labels: a & b")
        )
    rng = np.random.default_rng([seed, 0xC1A55])
    todo = [(i, w) for i, a in enumerate(areas) for w in blocks(a.scene.geobox, _BLOCK_PX)]
    if len(todo) > _MAX_BLOCKS:
        _log.warning("the class inventory reads %d of %d blocks, drawn at random", _MAX_BLOCKS, len(todo))
        todo = [todo[i] for i in sorted(rng.choice(len(todo), _MAX_BLOCKS, replace=False))]
    found: dict[int, list[NDArray[np.int64]]] = {}
    for index, window in todo:
        _count(dataset, areas[index], index, window, found)
    if not found:
        raise BadLabels(
            explain(
                "no labelled pixel in the region and time",
                got=f"{len(todo)} blocks without one",
                fix="check that labels and images overlap",
            )
        )
    return ClassInventory({c: _thin(np.concatenate(p), rng) for c, p in sorted(found.items())})


def _count(
    dataset: Sampled, area: Area, index: int, window: Window, found: dict[int, list[NDArray[np.int64]]]
) -> None:
    inside = inside_mask(area.polygon, window)
    if not inside.any():
        return
    reading = dataset.read(window_query(area.scene, window, area.time))
    if reading.mask is None:
        return
    valid = reading.valid if reading.valid.ndim == 2 else reading.valid.any(axis=0)
    usable = inside & valid & (reading.mask >= 0)
    for class_index in np.unique(reading.mask[usable]):
        rows, cols = np.nonzero(usable & (reading.mask == class_index))
        places = np.column_stack([np.full(len(rows), index), rows + window.row, cols + window.col])
        found.setdefault(int(class_index), []).append(places.astype(np.int64))


def _thin(places: NDArray[np.int64], rng: np.random.Generator) -> NDArray[np.int64]:
    if len(places) <= _KEPT:
        return places
    return places[np.sort(rng.choice(len(places), _KEPT, replace=False))]
