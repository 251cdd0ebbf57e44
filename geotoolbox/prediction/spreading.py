"""The blocks of a run on the workers of a Dask cluster.

The ledger stays with the driver; a task is one block. Tasks go out a few at a time, so that a plan of any size is
never a graph. Who dies is found out by the notes that workers leave in the working folder, not by Dask, which counts
a crash against every task that was waiting on the worker.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

from geotoolbox.core.cluster import Watch, connected, slots, unchained, was_killed
from geotoolbox.core.events import Stage
from geotoolbox.errors import CannotRead, TooLarge, explain
from geotoolbox.prediction.lattice import Window
from geotoolbox.prediction.ledger import BlockRecord, Ledger
from geotoolbox.prediction.markers import write_order
from geotoolbox.prediction.order import BlockMaker, WorkOrder
from geotoolbox.prediction.running import Block, strict_failure

__all__ = ["Bench", "make_block", "spread"]

MOST_RETURNS = 12
"""A block that comes back so often without having been begun: the workers die of something else."""


class Bench:
    """What a worker keeps between blocks. Blocks of one process are made one at a time.

    Args:
        order: What to make.
    """

    def __init__(self, order: WorkOrder) -> None:
        self._order = order
        self._maker: BlockMaker | None = None
        self._lock: threading.Lock | None = None

    def setup(self, worker: Any) -> None:
        """Be called by Dask when the worker starts. Nothing that can fail is done here."""
        self._lock = threading.Lock()

    def make(self, row: int, column: int, window: Window) -> tuple[BlockRecord, int]:
        """Make a block; see :meth:`BlockMaker.make`."""
        assert self._lock is not None
        with self._lock:
            if self._maker is None:
                self._maker = BlockMaker(self._order)
            return self._maker.make(row, column, window)


def make_block(name: str, row: int, column: int, window: Window) -> tuple[BlockRecord, int]:
    """Make a block on the bench of that name: the task that workers run."""
    from distributed import get_worker

    plugin: Any = get_worker().plugins[name]
    made: tuple[BlockRecord, int] = plugin.bench.make(row, column, window)
    return made


def spread(order: WorkOrder, todo: Sequence[Block], ledger: Ledger, stage: Stage) -> int:
    """Make blocks on a cluster, and record each in the ledger.

    Args:
        order: What to make; its options name the cluster.
        todo: The blocks.
        ledger: Where they are recorded.
        stage: Counts the tiles, and may cancel: what is done is kept.

    Returns:
        How many pixels that should be valid were NaN or infinite.

    Raises:
        BlocksFailed: When ``strict`` and a tile failed.
        CannotRead: When the scheduler or all workers are gone.
        TooLarge: When workers die before they can begin.
    """
    if not todo:
        return 0
    write_order(order.folder, order.run_id, order.plan.to_json(), shards=0)
    order.markers().forgive()
    with connected(order.options.cluster, preload=[__name__]) as client:
        name = f"geotoolbox-{uuid4().hex[:12]}"
        client.register_plugin(_plugin(Bench(order)), name=name)
        try:
            return _drive(client, name, todo, _Progress(ledger, stage, order))
        finally:
            with suppress(Exception):
                client.unregister_worker_plugin(name)


def _plugin(bench: Bench) -> Any:
    from distributed import WorkerPlugin

    class BenchPlugin(WorkerPlugin):
        """Gives each worker, also one that starts later, a bench."""

        def __init__(self, bench: Bench) -> None:
            self.bench = bench

        def setup(self, worker: Any) -> None:
            self.bench.setup(worker)

    return BenchPlugin(bench)


@dataclass(frozen=True, slots=True)
class _Progress:
    """Where it is written down what is begun and what is done."""

    ledger: Ledger
    stage: Stage
    order: WorkOrder

    def keep(self, record: BlockRecord) -> None:
        failures = record.facts["failures"]
        if failures and self.order.options.strict:
            raise strict_failure([(r, c, why) for r, c, why in failures])
        self.ledger.record(record)
        window = self.order.plan.block_window(record.row, record.column)
        self.stage.advance(self.order.plan.lattice.count(window), f"block ({record.row}, {record.column})")


def _drive(client: Any, name: str, todo: Sequence[Block], progress: _Progress) -> int:
    watch, queue, nonfinite = Watch(client, progress.stage.reporter), iter(todo), 0
    running: dict[Any, tuple[Block, int]] = {}
    try:
        while True:
            for block in _next(queue, 2 * slots(client) + 1 - len(running)):
                progress.ledger.lease(*block[:2])
                running[_submit(client, name, block, 0)] = (block, 0)
            if not running:
                return nonfinite
            for task in watch.first(running):
                block, returns = running.pop(task)
                error = task.exception()
                if error is not None and was_killed(error) and returns < MOST_RETURNS:
                    running[_submit(client, name, block, returns + 1)] = (block, returns + 1)
                    continue
                if error is not None:
                    raise _said(error, block)
                record, bad = task.result()
                progress.keep(record)
                nonfinite += bad
    except Exception as error:
        from distributed.comm.core import CommClosedError

        if not isinstance(error, CommClosedError):
            raise
        raise CannotRead(
            explain("the Dask scheduler is gone", got=str(error)[:200], fix="run the same command again")
        ) from error
    finally:
        with suppress(Exception):
            client.cancel(list(running), force=True)


def _next(queue: Iterator[Block], count: int) -> Iterator[Block]:
    for _ in range(max(count, 0)):
        block = next(queue, None)
        if block is None:
            return
        yield block


def _submit(client: Any, name: str, block: Block, returns: int) -> Any:
    row, column, window = block
    key = f"{name}-{row}-{column}-{returns}"
    return client.submit(unchained, make_block, name, row, column, window, key=key, pure=False, retries=0)


def _said(error: BaseException, block: Block) -> BaseException:
    if not was_killed(error):
        return error
    return TooLarge(
        explain(
            "workers die before they can begin",
            where=f"block ({block[0]}, {block[1]})",
            got=str(error)[:200],
            fix="look at the workers' own logs; most likely they have too little memory for the model",
        )
    )
