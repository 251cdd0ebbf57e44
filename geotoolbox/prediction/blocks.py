"""From tiles to the finished arrays of one block."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
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
from geotoolbox.prediction.loops import best_classes
from geotoolbox.prediction.reading import SceneReader, TileData, TileFailure
from geotoolbox.prediction.seams import SeamMeter
from geotoolbox.prediction.writer import Layer, Planes

__all__ = ["QUANTUM", "Batch", "BlockArrays", "End", "Tile", "answered", "predict_block", "read_batches"]

QUANTUM = 250
"""Probabilities are stored as whole numbers of 1/250."""

MOST_WAITING = 16
"""No more blocks than this wait for one forward pass."""


@dataclass(frozen=True, slots=True)
class Tile:
    """A tile that was read, or why it could not be; and how many were passed over since the last one."""

    row: int
    column: int
    data: TileData | None
    failure: str = ""
    skipped: int = 0


@dataclass(frozen=True, slots=True)
class End:
    """The end of a block; and how many tiles were passed over since the last one."""

    skipped: int


Item = Tile | End
Batch = Sequence[Item]
Answer = tuple[Item, Tensor | None]


def read_batches(
    reader: SceneReader, lattice: Lattice, target: Target, blocks: Iterable[Window], batch_size: int
) -> Iterator[Batch]:
    """Read the tiles of blocks, in lattice order, an end after each block.

    A batch has ``batch_size`` tiles that could be read, of as many blocks as that takes; fewer only at the end,
    and where so many blocks have next to nothing in them that the first would wait long for its answers.
    """
    pending: list[Item] = []
    ends = readable = 0
    for block in blocks:
        for item in _tiles(reader, lattice, target, block):
            pending.append(item)
            ends += isinstance(item, End)
            readable += isinstance(item, Tile) and item.data is not None
            if readable == batch_size or (isinstance(item, End) and (not readable or ends == MOST_WAITING)):
                yield pending
                pending, ends, readable = [], 0, 0
    if pending:
        yield pending


def _tiles(reader: SceneReader, lattice: Lattice, target: Target, block: Window) -> Iterator[Item]:
    """Read the tiles of a block. Those without a valid pixel that they contribute to are passed over."""
    mask = region_mask(target, block)
    skipped = 0
    for row in lattice.tiles(block.top, block.bottom):
        for column in lattice.tiles(block.left, block.right):
            kept = lattice.kept_window(row, column) & block
            wanted = None if mask is None else mask[kept.within(block)]
            tile = _read(reader, row, column) if wanted is None or wanted.any() else None
            if tile is not None and tile.data is not None:
                outer = Window(*lattice.span(row), *lattice.span(column))
                useful = tile.data.valid[kept.within(outer)]
                if not (useful if wanted is None else useful & wanted).any():
                    tile = None
            if tile is None:
                skipped += 1
                continue
            yield replace(tile, skipped=skipped)
            skipped = 0
    yield End(skipped)


def answered(batches: Iterable[Batch], forward: Forward) -> Iterator[Answer]:
    """Run the model on batches; yield the tiles, each with its answer (K, T, T) where it could be read, and ends."""
    for batch in batches:
        readable = [t.data for t in batch if isinstance(t, Tile) and t.data is not None]
        found = iter(forward(readable)) if readable else iter(())
        for item in batch:
            there = isinstance(item, Tile) and item.data is not None
            yield item, next(found) if there else None


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
        plane = self.planes["classes"]
        per_row = np.zeros((len(valid), len(self.classes)), dtype=np.int64)
        sums = np.ascontiguousarray(strip.sums.transpose(0, 1).numpy())
        best_classes(sums, valid, self._values.astype(plane.dtype), plane[0, rows], per_row)
        self.counts += per_row.sum(axis=0)
        self.areas_m2 += self._pixel_m2[rows] @ per_row
        if len(self.planes) > 1:
            self._extras(strip, rows, valid)

    def _extras(self, strip: Strip, rows: slice, valid: NDArray[np.bool_]) -> None:
        planar = strip.sums.contiguous()  # one class after the other, as they are gone through
        if "confidence" in self.planes:
            self._store("confidence", 0, rows, planar.amax(dim=0) / strip.weight, valid)
        if not {"probabilities", "entropy"} & self.planes.keys():
            return
        entropy = torch.zeros_like(strip.weight)
        for number, sums in enumerate(planar):
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


def predict_block(
    answers: Iterator[Answer],
    lattice: Lattice,
    block: Window,
    *,
    num_classes: int,
    take: Callable[[Strip], None],
    after: Callable[[int], None],
) -> list[tuple[int, int, str]]:
    """Blend the tiles of a block.

    Args:
        answers: The tiles with the model's answers; taken up to the block's end.
        lattice: The tiling.
        block: The block.
        num_classes: The number of classes.
        take: Called with rows that are final, from top to bottom.
        after: Called with the number of tiles done, after each tile and at the end.

    Returns:
        (row, column, reason) of the tiles that failed.
    """
    sums = StripAccumulator(lattice, block, num_classes, take)
    failures: list[tuple[int, int, str]] = []
    for item, answer in answers:
        if isinstance(item, End):
            after(item.skipped)
            break
        reason = item.failure
        if answer is not None and item.data is not None:
            if not sums.add(item.row, item.column, answer, item.data.valid):
                reason = "the model answers with NaN or infinity"
        if reason:
            sums.fail(item.row, item.column)
            failures.append((item.row, item.column, reason))
        after(1 + item.skipped)
    sums.finish()
    return failures
