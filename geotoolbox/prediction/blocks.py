"""From tiles to the finished arrays of one block."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from geotoolbox.core.classes import ClassTable
from geotoolbox.prediction.blending import Strip, StripAccumulator
from geotoolbox.prediction.forward import Forward
from geotoolbox.prediction.grids import Target, pixel_area_m2, region_mask
from geotoolbox.prediction.lattice import Lattice, Window
from geotoolbox.prediction.reading import SceneReader, TileData, TileFailure
from geotoolbox.prediction.seams import SeamMeter
from geotoolbox.prediction.writer import Layer, Planes

__all__ = ["QUANTUM", "Batch", "BlockArrays", "Tile", "predict_block", "read_batches"]

QUANTUM = 250
"""Probabilities are stored as whole numbers of 1/250."""


@dataclass(frozen=True, slots=True)
class Tile:
    """A tile that was read, or why it could not be."""

    row: int
    column: int
    data: TileData | None
    failure: str = ""


@dataclass(frozen=True, slots=True)
class Batch:
    """Tiles of one block, in lattice order, and how many were passed over since the last batch."""

    tiles: tuple[Tile, ...]
    skipped: int
    last: bool


def read_batches(
    reader: SceneReader, lattice: Lattice, target: Target, block: Window, batch_size: int
) -> Iterator[Batch]:
    """Read the tiles of a block. Those without a valid pixel that they contribute to are passed over."""
    mask = region_mask(target, block)
    pending: list[Tile] = []
    skipped = 0
    for row in lattice.tiles(block.top, block.bottom):
        for column in lattice.tiles(block.left, block.right):
            kept = lattice.kept_window(row, column) & block
            wanted = None if mask is None else mask[kept.within(block)]
            if wanted is not None and not wanted.any():
                skipped += 1
                continue
            tile = _read(reader, row, column)
            if tile.data is not None:
                outer = Window(*lattice.span(row), *lattice.span(column))
                useful = tile.data.valid[kept.within(outer)]
                if not (useful if wanted is None else useful & wanted).any():
                    skipped += 1
                    continue
            pending.append(tile)
            if sum(t.data is not None for t in pending) == batch_size:
                yield Batch(tuple(pending), skipped, last=False)
                pending, skipped = [], 0
    yield Batch(tuple(pending), skipped, last=True)


def _read(reader: SceneReader, row: int, column: int) -> Tile:
    try:
        return Tile(row, column, reader.tile(row, column))
    except TileFailure as failure:
        return Tile(row, column, None, str(failure))


@dataclass(slots=True)
class BlockArrays:
    """The arrays of one block, filled strip by strip, and the sums for the summary."""

    window: Window
    target: Target
    classes: ClassTable
    lattice: Lattice
    layers: Sequence[Layer]
    planes: dict[str, Planes] = field(init=False)
    meter: SeamMeter = field(init=False)
    counts: NDArray[np.int64] = field(init=False)
    areas_m2: NDArray[np.float64] = field(init=False)
    invalid: int = 0
    failed: int = 0

    def __post_init__(self) -> None:
        self.planes = {
            layer.name: np.full((layer.bands, *self.window.shape), layer.nodata, dtype=layer.dtype)
            for layer in self.layers
        }
        self.meter = SeamMeter(self.lattice)
        self.counts = np.zeros(len(self.classes), dtype=np.int64)
        self.areas_m2 = np.zeros(len(self.classes))
        self._values = np.asarray(self.classes.values)
        self._pixel_m2 = pixel_area_m2(self.target.scene, self.window)
        self._region = region_mask(self.target, self.window)

    _values: NDArray[np.int64] = field(init=False)
    _pixel_m2: NDArray[np.float64] = field(init=False)
    _region: NDArray[np.bool_] | None = field(init=False)

    def take(self, strip: Strip) -> None:
        """Put final rows into the arrays."""
        rows = slice(strip.window.top - self.window.top, strip.window.bottom - self.window.top)
        wanted = np.ones(strip.valid.shape, dtype=np.bool_) if self._region is None else self._region[rows]
        valid = strip.valid & wanted
        self.failed += int((strip.failed & wanted).sum())
        self.invalid += int((wanted & ~strip.valid & ~strip.failed).sum())
        if not valid.any():
            return
        self.meter.add(strip)
        best, index = strip.sums.max(dim=0)
        labels = index.numpy()
        plane = self.planes["classes"]
        plane[0, rows] = np.where(valid, self._values.astype(plane.dtype)[labels], plane[0, rows])
        per_row = _count_rows(labels, valid, len(self.classes))
        self.counts += per_row.sum(axis=0)
        self.areas_m2 += self._pixel_m2[rows] @ per_row
        self._extras(strip, rows, valid, best)

    def _extras(self, strip: Strip, rows: slice, valid: NDArray[np.bool_], best: Tensor) -> None:
        if "confidence" in self.planes:
            self._store("confidence", 0, rows, best / strip.weight, valid)
        if not {"probabilities", "entropy"} & self.planes.keys():
            return
        entropy = torch.zeros_like(best)
        for number, sums in enumerate(strip.sums):
            share = sums / strip.weight
            if "probabilities" in self.planes:
                self._store("probabilities", number, rows, share, valid)
            entropy -= torch.xlogy(share, share)
        if "entropy" in self.planes:
            self._store("entropy", 0, rows, entropy / math.log(max(len(self.classes), 2)), valid)

    def _store(self, name: str, band: int, rows: slice, values: Tensor, valid: NDArray[np.bool_]) -> None:
        whole = (values * QUANTUM).round().clamp(0, QUANTUM).to(torch.uint8).numpy()
        np.copyto(self.planes[name][band, rows], whole, where=valid)

    def facts(self, failures: Sequence[tuple[int, int, str]]) -> dict[str, Any]:
        """Return the sums, for the ledger."""
        return {
            "counts": self.counts.tolist(),
            "areas_m2": self.areas_m2.tolist(),
            "seams": self.meter.sums.tolist(),
            "invalid": self.invalid,
            "failed_pixels": self.failed,
            "failures": [list(f) for f in failures],
        }


def _count_rows(labels: NDArray[np.int64], valid: NDArray[np.bool_], num_classes: int) -> NDArray[np.int64]:
    """Count the valid pixels of each class in each row: (H, K), at a cost that does not grow with K.

    Example:
        >>> _count_rows(np.array([[0, 1, 1], [2, 2, 0]]), np.array([[True] * 3, [True, False, True]]), 3).tolist()
        [[1, 2, 0], [1, 0, 1]]
    """
    height = len(labels)
    codes = (labels + np.arange(height)[:, None] * num_classes)[valid]
    return np.bincount(codes, minlength=height * num_classes).reshape(height, num_classes)


def predict_block(
    batches: Iterator[Batch],
    forward: Forward,
    lattice: Lattice,
    block: Window,
    *,
    num_classes: int,
    take: Callable[[Strip], None],
    after: Callable[[int], None],
) -> list[tuple[int, int, str]]:
    """Predict and blend the tiles of a block.

    Args:
        batches: The tiles; taken up to the block's last batch.
        forward: Runs the model.
        lattice: The tiling.
        block: The block.
        num_classes: The number of classes.
        take: Called with rows that are final, from top to bottom.
        after: Called with the number of tiles done, after each batch.

    Returns:
        (row, column, reason) of the tiles that failed.
    """
    sums = StripAccumulator(lattice, block, num_classes, take)
    failures: list[tuple[int, int, str]] = []
    for batch in batches:
        readable = [t.data for t in batch.tiles if t.data is not None]
        found = forward(readable) if readable else torch.zeros((0, num_classes, 1, 1))
        answers = zip(found, torch.isfinite(found.sum(dim=(1, 2, 3))).tolist(), strict=True)
        for tile in batch.tiles:
            reason = tile.failure
            if tile.data is not None:
                answer, finite = next(answers)
                if finite:
                    sums.add(tile.row, tile.column, answer, tile.data.valid)
                    continue
                reason = "the model answers with NaN or infinity"
            sums.fail(tile.row, tile.column)
            failures.append((tile.row, tile.column, reason))
        after(len(batch.tiles) + batch.skipped)
        if batch.last:
            break
    sums.finish()
    return failures
