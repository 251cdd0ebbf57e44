"""One block as a pure function of an order: what the workers of a cluster do."""

from __future__ import annotations

import time as clock
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import rasterio

from geotoolbox.core.query import TimeInterval
from geotoolbox.errors import BadInput, CannotRead, explain
from geotoolbox.prediction.blocks import BlockArrays, answered, predict_block, read_batches
from geotoolbox.prediction.forward import TileModel, fixed_threads
from geotoolbox.prediction.grids import Target, region_mask
from geotoolbox.prediction.lattice import Window
from geotoolbox.prediction.ledger import BlockRecord
from geotoolbox.prediction.markers import MOST_ATTEMPTS, Markers
from geotoolbox.prediction.options import PredictOptions
from geotoolbox.prediction.plan import Plan
from geotoolbox.prediction.preparing import CACHE_BYTES, layers_of, plan_run
from geotoolbox.prediction.reading import ImageSource, SceneReader
from geotoolbox.prediction.running import ahead, write_block
from geotoolbox.prediction.writer import BlockFiles

__all__ = ["BlockMaker", "WorkOrder", "plan_differences", "set_aside"]


@dataclass(frozen=True, slots=True)
class WorkOrder:
    """All that a block needs besides its place.

    Attributes:
        dataset: The images.
        model: What predicts a tile.
        target: The grid and the area.
        plan: What decides the bits.
        options: The options that the plan was made with.
        time: When.
        run_id: The run that the blocks belong to.
        folder: The working folder, which all processes must see under this path.
    """

    dataset: ImageSource
    model: TileModel
    target: Target
    plan: Plan
    options: PredictOptions
    time: TimeInterval
    run_id: str
    folder: Path

    def markers(self) -> Markers:
        """Return the notes on the blocks."""
        return Markers(self.folder / "blocks", self.run_id)

    def files(self) -> BlockFiles:
        """Return the files of the blocks."""
        return BlockFiles(self.folder / "blocks")


class BlockMaker:
    """Makes blocks of an order, one at a time.

    Args:
        order: What to make.

    Raises:
        CannotRead: When this process does not see the working folder.
        BadInput: When this machine would give other bits than the plan's.
    """

    def __init__(self, order: WorkOrder) -> None:
        self.order = order
        plan = order.plan
        if not (order.folder / "plan.json").is_file():
            raise CannotRead(
                explain(
                    "a worker does not see the working folder",
                    where=order.folder,
                    expected="the output's folder, under the same path on every machine",
                    fix="write to a folder that the machines share",
                )
            )
        own, self._forward = plan_run(
            order.dataset, order.model, order.target, order.options, time=order.time, before=plan.to_json()
        )
        if own.run_id != plan.run_id:
            raise BadInput(
                explain(
                    "this machine would make other pixels than the rest",
                    got=plan_differences(own.to_json(), plan.to_json()),
                    fix="use machines of one kind, with the same versions and the same input files",
                )
            )
        row_px = min(plan.block_px, plan.work.width) + plan.tile_px
        self._reader = SceneReader(order.dataset, order.target.scene, plan.lattice, row_px, order.time)
        self._layers, self._files, self._markers = layers_of(plan), order.files(), order.markers()

    def make(self, row: int, column: int, window: Window) -> tuple[BlockRecord, int]:
        """Make a block, unless it has killed processes often enough.

        Safe to call twice, also at the same time: the files are the same bytes, and are whole or not there.

        Returns:
            The record; and how many pixels that should be valid are NaN or infinite.
        """
        known = self._markers.find(row, column)
        if known is not None and known.state == "done":
            if self._files.whole(row, column, known.checksums, self._layers):
                return known, 0  # by a worker that died before it could say so
        if self._markers.attempts(row, column) >= MOST_ATTEMPTS:
            record = set_aside(self.order, row, column, window)
            self._markers.record(record)
            return record, 0
        self._markers.lease(row, column)
        try:
            record, nonfinite = self._made(row, column, window)
            self._markers.record(record)
        finally:
            self._markers.release()  # an error is no kill
        return record, nonfinite

    def _made(self, row: int, column: int, window: Window) -> tuple[BlockRecord, int]:
        plan, target, start = self.order.plan, self.order.target, clock.monotonic()
        before = self._reader.nonfinite
        arrays = BlockArrays(window, target, self.order.model.classes, plan.lattice, self._layers)
        tiles = read_batches(self._reader, plan.lattice, target, [window], self._forward.batch_size)
        with (
            rasterio.Env(GDAL_CACHEMAX=CACHE_BYTES),
            fixed_threads(plan.threads),
            ahead(tiles) as batches,
        ):
            failures = predict_block(
                answered(batches, self._forward), plan.lattice, window,
                num_classes=len(plan.classes), take=arrays.take, after=lambda _: None,
            )  # fmt: skip
        record = write_block(self._files, (row, column), arrays, failures, start)
        return record, self._reader.nonfinite - before


def set_aside(order: WorkOrder, row: int, column: int, window: Window) -> BlockRecord:
    """Write a block without data, whose tiles all failed because they kill the process that makes them."""
    lattice = order.plan.lattice
    arrays = BlockArrays(window, order.target, order.model.classes, lattice, layers_of(order.plan))
    mask = region_mask(order.target, window)
    arrays.failed = window.pixels if mask is None else int(np.count_nonzero(mask))
    reason = f"block ({row}, {column}) killed {MOST_ATTEMPTS} processes and was set aside"
    failures = [
        (r, c, reason)
        for r in lattice.tiles(window.top, window.bottom)
        for c in lattice.tiles(window.left, window.right)
    ]
    return write_block(order.files(), (row, column), arrays, failures, clock.monotonic())


def plan_differences(one: dict[str, object], other: dict[str, object]) -> str:
    """Name what differs between two plans.

    Example:
        >>> plan_differences({"threads": 1, "tta": False}, {"threads": 2, "tta": False})
        'threads: 1 in place of 2'
    """
    words = []
    for name in sorted(one.keys() | other.keys()):
        mine, theirs = one.get(name), other.get(name)
        if mine != theirs:
            hidden = name in ("model", "inputs", "region", "classes")
            words.append(f"another {name}" if hidden else f"{name}: {mine} in place of {theirs}")
    return "; ".join(words)
