"""The blocks of a run, one after the other: read ahead, predict, write behind, keep the ledger."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TypeVar

from geotoolbox.core.classes import ClassTable
from geotoolbox.core.events import Stage
from geotoolbox.errors import BlocksFailed, explain
from geotoolbox.prediction.blocks import Batch, BlockArrays, answered, predict_block, read_batches
from geotoolbox.prediction.forward import Forward
from geotoolbox.prediction.grids import Target
from geotoolbox.prediction.lattice import Lattice, Window
from geotoolbox.prediction.ledger import BlockRecord, Book
from geotoolbox.prediction.reading import SceneReader
from geotoolbox.prediction.writer import BlockFiles, Layer

__all__ = ["Block", "BlockRun", "ahead", "strict_failure", "write_block"]

Block = tuple[int, int, Window]
Item = TypeVar("Item")


@contextmanager
def ahead(items: Iterator[Item]) -> Iterator[Iterator[Item]]:
    """Give an iterator whose next item is already being made, in one thread of its own.

    Example:
        >>> with ahead(iter([1, 2, 3])) as numbers:
        ...     list(numbers)
        [1, 2, 3]
    """
    end = object()
    with ThreadPoolExecutor(1, thread_name_prefix="read-ahead") as pool:

        def made() -> Iterator[Item]:
            coming: Future[object] = pool.submit(next, items, end)
            while (item := coming.result()) is not end:
                coming = pool.submit(next, items, end)
                yield item  # type: ignore[misc]

        yield made()


@dataclass(frozen=True, slots=True)
class BlockRun:
    """All that the blocks of one run share."""

    reader: SceneReader
    forward: Forward
    lattice: Lattice
    target: Target
    classes: ClassTable
    layers: Sequence[Layer]

    def batches(self, blocks: Sequence[Block]) -> Iterator[Batch]:
        """Read the tiles of all blocks, in order."""
        windows = (window for _, _, window in blocks)
        return read_batches(self.reader, self.lattice, self.target, windows, self.forward.batch_size)

    def execute(
        self, blocks: Sequence[Block], files: BlockFiles, ledger: Book, stage: Stage, *, strict: bool
    ) -> None:
        """Predict blocks, write each behind the next one's prediction, and record it when it is on disk.

        Raises:
            Cancelled: At the next batch after the reporter was cancelled; finished blocks are recorded.
            BlocksFailed: When ``strict`` and a tile failed.
        """
        with (
            ThreadPoolExecutor(1, thread_name_prefix="write-behind") as pool,
            ahead(self.batches(blocks)) as batches,
        ):
            answers = answered(batches, self.forward)
            writing: Future[BlockRecord] | None = None
            try:
                for row, column, window in blocks:
                    ledger.lease(row, column)
                    start = time.monotonic()
                    arrays = BlockArrays(window, self.target, self.classes, self.lattice, self.layers)
                    failures = predict_block(
                        answers, self.lattice, window,
                        num_classes=len(self.classes), take=arrays.take, after=stage.advance,
                    )  # fmt: skip
                    if failures and strict:
                        raise strict_failure(failures)
                    if writing is not None:
                        ledger.record(writing.result())
                        writing = None
                    writing = pool.submit(write_block, files, (row, column), arrays, failures, start)
                    del arrays
            finally:
                if writing is not None:
                    ledger.record(writing.result())


def write_block(
    files: BlockFiles,
    place: tuple[int, int],
    arrays: BlockArrays,
    failures: Sequence[tuple[int, int, str]],
    start: float,
) -> BlockRecord:
    """Write the files of a block; return what the ledger needs to know of it."""
    checksums = {layer.name: files.write(layer, *place, arrays.planes[layer.name]) for layer in arrays.layers}
    seconds = time.monotonic() - start
    return BlockRecord(
        *place, "failed" if failures else "done", 0, checksums, seconds, arrays.facts(failures)
    )


def strict_failure(failures: Sequence[tuple[int, int, str]]) -> BlocksFailed:
    """Return the error of a strict run, with the first of the tiles that failed."""
    row, column, reason = failures[0]
    return BlocksFailed(
        explain(
            f"{len(failures)} tiles failed, and strict was asked for",
            where=f"tile ({row}, {column})",
            got=reason,
            fix="mend the input, or run without strict to get nodata there",
        )
    )
