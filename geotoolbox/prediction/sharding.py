"""A run cut into shards: n processes, on any machines that share a folder, then one that puts all together."""

from __future__ import annotations

import logging
import time as clock
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import rasterio
from odc.geo.geobox import GeoBox

from geotoolbox.core.events import SILENT, Log, Reporter, Stage
from geotoolbox.core.query import ALWAYS, Region, TimeInterval
from geotoolbox.errors import BadInput, Locked, explain
from geotoolbox.models.predictor import check_bands
from geotoolbox.prediction.forward import Forward, OutOfDeviceMemory, TileModel, fixed_threads
from geotoolbox.prediction.grids import Target, resolve_target
from geotoolbox.prediction.ledger import Ledger
from geotoolbox.prediction.locking import hold
from geotoolbox.prediction.markers import MOST_ATTEMPTS, Markers, read_order, write_order
from geotoolbox.prediction.options import PredictOptions
from geotoolbox.prediction.order import WorkOrder, plan_differences, set_aside
from geotoolbox.prediction.plan import Plan, choose_lattice
from geotoolbox.prediction.preparing import (
    CACHE_BYTES,
    layers_of,
    output_paths,
    plan_run,
    smaller,
    work_folder,
)
from geotoolbox.prediction.reading import ImageSource, SceneReader
from geotoolbox.prediction.running import Block, BlockRun
from geotoolbox.prediction.writer import BlockFiles

__all__ = ["Shard", "ShardResult", "check_order", "missing_shards", "predict_shard", "take_over"]

log = logging.getLogger(__name__)

SETTLE_S = 120.0
"""How long a shard waits for another one that is just writing the plan down, in seconds."""


@dataclass(frozen=True, slots=True)
class Shard:
    """A part of a run: ``number`` (from 1) of ``count``.

    Example:
        >>> Shard.parse("2/8").mine([(0, c, None) for c in range(10)])
        [(0, 1, None), (0, 9, None)]
    """

    number: int
    count: int

    @classmethod
    def parse(cls, text: str) -> Shard:
        """Read ``i/n``.

        Raises:
            BadInput: When it is something else.
        """
        number, _, count = text.partition("/")
        if not (number.isdecimal() and count.isdecimal() and 1 <= int(number) <= int(count) <= 10**6):
            raise BadInput(explain("shard", got=text, expected="i/n with 1 ≤ i ≤ n, such as 3/8"))
        return cls(int(number), int(count))

    def mine(self, blocks: Sequence[Block]) -> list[Block]:
        """Return every ``count``-th block: neighbours go to different shards, so all have alike much to do."""
        return list(blocks[self.number - 1 :: self.count])

    def __str__(self) -> str:
        return f"{self.number}/{self.count}"


@dataclass(frozen=True, slots=True)
class ShardResult:
    """What a shard made.

    Attributes:
        shard: Which.
        blocks: How many blocks it has.
        blocks_resumed: How many of them an earlier run had finished.
        failed_blocks: Those with tiles that failed, as (row, column).
        reason: Why the first of them did.
        seconds: How long it took.
    """

    shard: Shard
    blocks: int
    blocks_resumed: int
    failed_blocks: tuple[tuple[int, int], ...]
    reason: str
    seconds: float


def predict_shard(
    dataset: ImageSource,
    model: TileModel,
    output: Path,
    shard: Shard,
    *,
    geobox: GeoBox | None = None,
    region: Region | None = None,
    options: PredictOptions | None = None,
    reporter: Reporter = SILENT,
    time: TimeInterval = ALWAYS,
) -> ShardResult:
    """Make the blocks of one shard; ``predict_scene`` with ``finish`` then writes the map.

    The same call again goes on where a stopped one ended. The first shard to begin writes the plan down (threads,
    batch, blocks), and the others keep to it. A block that has killed the process three times is set aside.

    Args:
        dataset: The images.
        model: What predicts a tile.
        output: The class map that is to be; its folder must be shared by all machines, and have locks.
        shard: Which part.
        geobox: The grid of the map, as for ``predict_scene``.
        region: As for ``predict_scene``.
        options: How; the same for all shards.
        reporter: Hears of the progress; may cancel.
        time: When.

    Raises:
        BadInput: When this machine would give other pixels than the shards before.
        Locked: When another process makes this shard, or the whole map.
        Cancelled: When the reporter asked to stop; finished blocks are kept.
        BlocksFailed: When ``strict`` and a tile failed.
    """
    start = clock.monotonic()
    output, options = Path(output), options or PredictOptions()
    check_bands(tuple(model.bands), tuple(b.name for b in dataset.bands))
    output_paths(output, options, dataset)
    target = resolve_target(dataset.scenes(), geobox, region)
    work = work_folder(output)
    with hold(work / f"lock-{shard.number}-of-{shard.count}", output):
        while True:
            draft = _Draft(dataset, model, target, options, time, work)
            try:
                plan, forward = _settled(draft, shard, reporter)
                break
            except OutOfDeviceMemory as error:
                options = smaller(options, choose_lattice(model, options), reporter, error)
        with hold(work / "lock", output, shared=True), rasterio.Env(GDAL_CACHEMAX=CACHE_BYTES):
            return _ShardRun(draft.order(plan), forward, shard, reporter).run(start)


def take_over(work: Path, run_id: str, ledger: Ledger) -> bool:
    """Put what shards or workers have noted into the ledger; tell whether there was anything of this run."""
    order = read_order(work)
    if order is None or order[0] != run_id:
        return False
    done = {(r.row, r.column) for r in ledger.each() if r.state == "done"}
    noted = Markers(work / "blocks", run_id).each()
    ledger.record_all(r for r in noted if (r.row, r.column) not in done)
    return True


def check_order(work: Path, plan: Plan) -> None:
    """Make sure that the shards made the blocks of this plan, before anything is put together.

    Raises:
        BadInput: When there are none, or they are of another plan.
    """
    order = read_order(work)
    if order is None:
        raise BadInput(
            explain(
                "there is nothing to finish: no shard has begun",
                where=work,
                fix="run 'geotoolbox predict --shard i/n' with the same settings first",
            )
        )
    if order[0] != plan.run_id:
        raise BadInput(
            explain(
                "the shards were made with other settings, files or machines",
                where=work,
                got=plan_differences(plan.to_json(), order[1]),
                fix="finish with the settings of the shards, on a machine of their kind",
            )
        )


def missing_shards(work: Path, blocks: Sequence[Block], todo: Sequence[Block]) -> BadInput:
    """Return the error that names the shards which have not made all their blocks."""
    order = read_order(work)
    count = 0 if order is None else order[2]
    numbers = {block[:2]: number for number, block in enumerate(blocks)}
    missing = Counter(numbers[block[:2]] % max(count, 1) + 1 for block in todo)
    words = [f"shard {number}/{count} ({many} blocks)" for number, many in sorted(missing.items())]
    more = f" and {len(words) - 10} more" if len(words) > 10 else ""
    return BadInput(
        explain(
            "not all blocks are made",
            where=work,
            got="missing: " + (", ".join(words[:10]) + more if count else f"{len(todo)} blocks"),
            fix="run these shards again; or predict without --finish, which makes the rest here",
        )
    )


@dataclass(frozen=True, slots=True)
class _Draft:
    """An order without its plan."""

    dataset: ImageSource
    model: TileModel
    target: Target
    options: PredictOptions
    time: TimeInterval
    work: Path

    def plan(self, before: dict[str, Any] | None) -> tuple[Plan, Forward]:
        """Make the plan."""
        return plan_run(self.dataset, self.model, self.target, self.options, time=self.time, before=before)

    def order(self, plan: Plan) -> WorkOrder:
        """Return the order."""
        return WorkOrder(
            self.dataset, self.model, self.target, plan, self.options, self.time, plan.run_id, self.work
        )


def _settled(draft: _Draft, shard: Shard, reporter: Reporter) -> tuple[Plan, Forward]:
    """Agree with the other shards on the plan: the first one writes it down."""
    work = draft.work
    while True:
        before = read_order(work)
        plan, forward = draft.plan(None if before is None else before[1])
        with _patiently(work / "lock-plan", work):
            now = read_order(work)
            if now == before:
                if now is None or (now[0], now[2]) != (plan.run_id, shard.count):
                    _begin(work, plan, shard, now, reporter)
                return plan, forward


def _begin(
    work: Path, plan: Plan, shard: Shard, now: tuple[str, dict[str, Any], int] | None, reporter: Reporter
) -> None:
    """Write the plan down, unless other shards are running with another one."""
    try:
        with hold(work / "lock", work):
            if now is not None and now[0] != plan.run_id:
                reporter.emit(Log("the settings are new: the blocks of the run before are made anew"))
                BlockFiles(work / "blocks").clear()
            write_order(work, plan.run_id, plan.to_json(), shard.count)
    except Locked as error:
        what = [] if now is None else [plan_differences(plan.to_json(), now[1])]
        if now is not None and now[2] not in (0, shard.count):
            what.append(f"{shard.count} shards in place of {now[2]}")
        raise Locked(
            explain(
                "this map is being made with other settings",
                where=work,
                got="; ".join(filter(None, what)) or str(error),
                fix="give all shards the same settings and machines of one kind, or wait for the others to end",
            )
        ) from error


@contextmanager
def _patiently(path: Path, output: Path) -> Iterator[None]:
    """Hold a lock that others hold for a moment only."""
    end = clock.monotonic() + SETTLE_S
    with ExitStack() as stack:
        while True:
            try:
                stack.enter_context(hold(path, output))
                break
            except Locked:
                if clock.monotonic() > end:
                    raise
                clock.sleep(0.05)
        yield


@dataclass(frozen=True, slots=True)
class _ShardRun:
    """The blocks of one shard, under its lock."""

    work_order: WorkOrder
    forward: Forward
    shard: Shard
    reporter: Reporter

    def run(self, start: float) -> ShardResult:
        order, plan = self.work_order, self.work_order.plan
        mine = self.shard.mine(list(plan.lattice.blocks(plan.work, plan.block_px)))
        markers, files = order.markers(), order.files()
        fresh, tried, deadly = self._sorted(mine, markers, files)
        stage = Stage(
            self.reporter, f"shard {self.shard}", sum(plan.lattice.count(b[2]) for b in fresh + tried)
        )
        row_px = min(plan.block_px, plan.work.width) + plan.tile_px
        reader = SceneReader(order.dataset, order.target.scene, plan.lattice, row_px, order.time)
        run = BlockRun(reader, self.forward, plan.lattice, order.target, order.model.classes, layers_of(plan))
        try:
            with fixed_threads(plan.threads):
                run.execute(fresh, files, markers, stage, strict=order.options.strict)
                for block in tried:  # one at a time, so that a block that kills takes no other with it
                    run.execute([block], files, markers, stage, strict=order.options.strict)
        finally:
            markers.release()
        for row, column, window in deadly:
            markers.record(set_aside(order, row, column, window))
        return self._result(mine, len(mine) - len(fresh) - len(tried) - len(deadly), start)

    def _sorted(
        self, mine: list[Block], markers: Markers, files: BlockFiles
    ) -> tuple[list[Block], list[Block], list[Block]]:
        """Return the blocks to make: those never begun, those that a kill interrupted, those that kill."""
        options, layers = self.work_order.options, layers_of(self.work_order.plan)
        kept = ("done",) if options.retry_failed else ("done", "failed")
        finished = {
            (r.row, r.column)
            for r in (markers.each() if options.resume else ())
            if r.state in kept and files.whole(r.row, r.column, r.checksums, layers)
        }
        fresh: list[Block] = []
        tried: list[Block] = []
        deadly: list[Block] = []
        for block in mine:
            if block[:2] not in finished:
                attempts = markers.attempts(*block[:2])
                (deadly if attempts >= MOST_ATTEMPTS else tried if attempts else fresh).append(block)
        return fresh, tried, deadly

    def _result(self, mine: list[Block], resumed: int, start: float) -> ShardResult:
        places = {b[:2] for b in mine}
        failed = [
            (r.row, r.column, str(r.facts["failures"][0][2]))
            for r in self.work_order.markers().each()
            if r.state == "failed" and (r.row, r.column) in places
        ]
        reason = failed[0][2] if failed else ""
        seconds = clock.monotonic() - start
        return ShardResult(
            self.shard, len(mine), resumed, tuple((r, c) for r, c, _ in sorted(failed)), reason, seconds
        )
