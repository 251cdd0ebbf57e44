"""Predict a whole scene: any size, bounded memory, resumable, the same bytes every time."""

from __future__ import annotations

import json
import logging
import shutil
import sqlite3
import time as clock
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import rasterio
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox

from geotoolbox.core.classes import ClassTable
from geotoolbox.core.events import SILENT, Artifact, Log, Reporter, Stage
from geotoolbox.core.files import check_space
from geotoolbox.core.query import ALWAYS, Region, TimeInterval
from geotoolbox.errors import NoSpace, explain
from geotoolbox.models.predictor import check_bands
from geotoolbox.prediction.blending import Strip
from geotoolbox.prediction.blocks import QUANTUM, answered, predict_block, read_batches
from geotoolbox.prediction.forward import Forward, OutOfDeviceMemory, TileModel, fixed_threads
from geotoolbox.prediction.grids import Target, region_mask, resolve_target
from geotoolbox.prediction.ledger import BlockRecord, Ledger
from geotoolbox.prediction.locking import hold
from geotoolbox.prediction.options import PredictOptions
from geotoolbox.prediction.order import WorkOrder
from geotoolbox.prediction.outputs import finalize_class_map, finalize_continuous
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
from geotoolbox.prediction.running import Block, BlockRun, ahead
from geotoolbox.prediction.seams import seam_ratio, seams_show
from geotoolbox.prediction.sharding import check_order, missing_shards, take_over
from geotoolbox.prediction.sidecars import ramp_style_xml, write_text
from geotoolbox.prediction.spreading import spread
from geotoolbox.prediction.writer import BlockFiles, Layer, write_mosaic

__all__ = ["FailedTile", "PredictionResult", "plan_scene", "predict_array", "predict_scene"]

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class FailedTile:
    """A tile that could not be made: its place in the lattice, its block and why."""

    row: int
    column: int
    block: tuple[int, int]
    reason: str


@dataclass(frozen=True, slots=True)
class PredictionResult:
    """What a prediction made.

    Attributes:
        paths: The files, by output (``classes``, ``probabilities``, ``confidence``, ``entropy``).
        failed: Tiles that failed: what they contribute to is nodata.
        seam_ratio: Mean step of the probabilities at tile edges over that beside them; NaN without tile edges.
        seams_show: Whether the seam ratio is above 1.05 and above what chance explains.
        class_areas_m2: True area of each class on the ground, by name, in m².
        class_pixels: Pixels of each class, by name.
        invalid_pixels: Pixels asked for that have no data.
        plan: What was done.
        blocks_resumed: Blocks that an earlier run had finished.
        seconds: How long it took.
    """

    paths: dict[str, Path]
    failed: tuple[FailedTile, ...]
    seam_ratio: float
    seams_show: bool
    class_areas_m2: dict[str, float]
    class_pixels: dict[str, int]
    invalid_pixels: int
    plan: Plan
    blocks_resumed: int
    seconds: float


def predict_scene(
    dataset: ImageSource,
    model: TileModel,
    output: Path,
    *,
    geobox: GeoBox | None = None,
    region: Region | None = None,
    options: PredictOptions | None = None,
    reporter: Reporter = SILENT,
    time: TimeInterval = ALWAYS,
) -> PredictionResult:
    """Predict a class map, and what else the options ask for.

    The same call again goes on where a stopped one ended, and ends in the same bytes.

    Args:
        dataset: The images.
        model: What predicts a tile.
        output: The class map to write (COG).
        geobox: The grid of the map; default: the grid that all scenes of the dataset share.
        region: Pixels whose centre is outside get nodata.
        options: How; see :class:`PredictOptions`.
        reporter: Hears of the progress; may cancel.
        time: When.

    Raises:
        BandMismatch: When the dataset's bands are not the model's.
        BadInput: When the scenes lie on different grids and no grid is given.
        NoOverlap: When the area asked for and the dataset have nothing in common.
        Locked: When another process writes the same output.
        BlocksFailed: When ``strict`` and a tile failed.
        Cancelled: When the reporter asked to stop; finished blocks are kept.
        CannotWrite: When an output cannot be written, before the work starts where that can be known.
    """
    start = clock.monotonic()
    output, options = Path(output), options or PredictOptions()
    check_bands(tuple(model.bands), tuple(b.name for b in dataset.bands))
    paths = output_paths(output, options, dataset)
    target = resolve_target(dataset.scenes(), geobox, region)
    work = work_folder(output)
    with hold(work / "lock", output), rasterio.Env(GDAL_CACHEMAX=CACHE_BYTES):
        while True:
            try:
                job = _Job(dataset, model, target, options, reporter, time, work)
                result = job.run(paths, start)
                break
            except OutOfDeviceMemory as error:
                options = smaller(options, choose_lattice(model, options), reporter, error)
            except sqlite3.OperationalError as error:
                raise NoSpace(explain("the ledger cannot be written", where=work, got=str(error))) from error
        if not (result.failed or options.keep_work):
            shutil.rmtree(work)
    return result


def plan_scene(
    dataset: ImageSource,
    model: TileModel,
    *,
    geobox: GeoBox | None = None,
    region: Region | None = None,
    options: PredictOptions | None = None,
) -> Plan:
    """Return the plan of a prediction without running it: tiles, blocks, memory and disk.

    The model is run once, on a made-up batch.
    """
    options = options or PredictOptions()
    check_bands(tuple(model.bands), tuple(b.name for b in dataset.bands))
    target = resolve_target(dataset.scenes(), geobox, region)
    return plan_run(dataset, model, target, options)[0]


def predict_array(
    dataset: ImageSource,
    model: TileModel,
    *,
    geobox: GeoBox | None = None,
    region: Region | None = None,
    options: PredictOptions | None = None,
    time: TimeInterval = ALWAYS,
) -> tuple[NDArray[np.float32], NDArray[np.bool_], GeoBox]:
    """Predict into memory: for looking at, and for areas that fit.

    Returns:
        Probabilities (K, H, W) float32, 0 where not valid; valid (H, W); the grid.
    """
    options = options or PredictOptions()
    check_bands(tuple(model.bands), tuple(b.name for b in dataset.bands))
    target = resolve_target(dataset.scenes(), geobox, region)
    plan, forward = plan_run(dataset, model, target, options, time=time)
    area, count = target.area, model.num_classes
    values = np.zeros((count, *area.shape), dtype=np.float32)
    valid = np.zeros(area.shape, dtype=np.bool_)

    def take(strip: Strip) -> None:
        at = strip.window.within(area)
        mask = region_mask(target, strip.window)
        good = valid[at] = strip.valid if mask is None else strip.valid & mask
        values[(slice(None), *at)] = np.where(good, (strip.sums / strip.weight).numpy(), np.float32(0))

    reader = SceneReader(dataset, target.scene, plan.lattice, plan.block_px, time)
    windows = [window for _, _, window in plan.lattice.blocks(plan.work, plan.block_px)]
    tiles = read_batches(reader, plan.lattice, target, windows, forward.batch_size)
    with fixed_threads(plan.threads), ahead(tiles) as batches:
        answers = answered(batches, forward)
        for window in windows:
            failures = predict_block(
                answers, plan.lattice, window, num_classes=count, take=take, after=lambda _: None
            )
            for row, column, reason in failures:
                log.warning("tile (%d, %d) failed: %s", row, column, reason)
    return values, valid, target.geobox


@dataclass(frozen=True, slots=True)
class _Job:
    """One attempt at a prediction, under the lock."""

    dataset: ImageSource
    model: TileModel
    target: Target
    options: PredictOptions
    reporter: Reporter
    time: TimeInterval
    work: Path

    def run(self, paths: dict[str, Path], start: float) -> PredictionResult:
        ledger = Ledger(self.work / "ledger.sqlite")
        try:
            before = ledger.plan() if self.options.resume else None
            plan, forward = plan_run(
                self.dataset, self.model, self.target, self.options, time=self.time, before=before
            )
            for path in paths.values():
                check_space(path, plan.disk_bytes // len(paths) // 4)  # what is written is compressed
            layers = layers_of(plan)
            blocks = list(plan.lattice.blocks(plan.work, plan.block_px))
            files = BlockFiles(self.work / "blocks")
            todo = self._todo(plan, ledger, files, layers, blocks)
            run = self._blocks(plan, forward, layers)
            self._predict(plan, run, ledger, files, todo)
            self._write(plan, files, layers, blocks, paths)
            result = _summary(
                plan, self.model.classes, ledger.each(), paths, resumed=len(blocks) - len(todo), start=start
            )
        finally:
            ledger.close()
        self._tell(result)
        return result

    def _todo(
        self, plan: Plan, ledger: Ledger, files: BlockFiles, layers: list[Layer], blocks: list[Block]
    ) -> list[Block]:
        run_id = plan.run_id if self.options.resume else f"{plan.run_id}-{clock.time_ns()}"
        if self.options.finish:
            check_order(self.work, plan)
        files.clear_parts()
        known = ledger.begin(run_id, plan.to_json(), ((r, c) for r, c, _ in blocks))
        if not (take_over(self.work, run_id, ledger) or known):
            files.clear()
            (self.work / "plan.json").unlink(missing_ok=True)
            return blocks
        kept = ("done",) if self.options.retry_failed and not self.options.finish else ("done", "failed")
        finished = {
            (r.row, r.column)
            for r in ledger.each()
            if r.state in kept and files.whole(r.row, r.column, r.checksums, layers)
        }
        if finished:
            self._say(f"going on: {len(finished)} of {len(blocks)} blocks are done", "info")
        todo = [b for b in blocks if b[:2] not in finished]
        if todo and self.options.finish:
            raise missing_shards(self.work, blocks, todo)
        return todo

    def _blocks(self, plan: Plan, forward: Forward, layers: list[Layer]) -> BlockRun:
        row_px = min(plan.block_px, plan.work.width) + plan.tile_px
        reader = SceneReader(self.dataset, self.target.scene, plan.lattice, row_px, self.time)
        return BlockRun(reader, forward, plan.lattice, self.target, self.model.classes, layers)

    def _predict(
        self, plan: Plan, run: BlockRun, ledger: Ledger, files: BlockFiles, todo: list[Block]
    ) -> None:
        stage = Stage(self.reporter, "predict", sum(plan.lattice.count(w) for _, _, w in todo))
        if self.options.executor == "dask":
            order = WorkOrder(
                self.dataset, self.model, self.target, plan, self.options, self.time,
                ledger.run_id(), self.work.absolute(),
            )  # fmt: skip
            nonfinite = spread(order, todo, ledger, stage)
        else:
            with fixed_threads(plan.threads):
                run.execute(todo, files, ledger, stage, strict=self.options.strict)
            nonfinite = run.reader.nonfinite
        if nonfinite:
            self._say(f"{nonfinite:,} pixels are NaN or infinite: they become nodata", "warning")

    def _write(
        self, plan: Plan, files: BlockFiles, layers: list[Layer], blocks: list[Block], paths: dict[str, Path]
    ) -> None:
        stage = Stage(self.reporter, "write", len(layers))
        tags = {"GEOTOOLBOX_RUN": plan.run_id[:16], "GEOTOOLBOX_MODEL": plan.model[:16]}
        for layer in reversed(layers):  # the map last: when it is there, all is there
            mosaic, path = self.work / f"{layer.name}.tif", paths[layer.name]
            write_mosaic(mosaic, self.target, layer, files, blocks)
            if layer.name == "classes":
                finalize_class_map(mosaic, path, self.model.classes, plan.nodata, tags)
            else:
                names = self.model.classes.names if layer.name == "probabilities" else (layer.name,)
                finalize_continuous(
                    mosaic, path, list(names), nodata=layer.nodata, scale=1 / QUANTUM, offset=0.0, tags=tags
                )
                write_text(path.with_suffix(".qml"), ramp_style_xml())
            mosaic.unlink()
            self.reporter.emit(Artifact(layer.name, str(path), "image/tiff; application=geotiff"))
            stage.advance(1, path.name)

    def _tell(self, result: PredictionResult) -> None:
        if result.failed:
            first = result.failed[0]
            self._say(
                f"{len(result.failed)} tiles failed and are nodata; the first: ({first.row}, {first.column}): "
                f"{first.reason}. Run again with retry_failed when the cause is mended",
                "warning",
            )
        elif not sum(result.class_pixels.values()):
            self._say("the area has no valid pixel: the whole map is nodata", "warning")
        if result.seams_show:
            self._say(f"tile edges show: seam ratio {result.seam_ratio:.2f}; use a larger overlap", "warning")

    def _say(self, message: str, level: str) -> None:
        log.log(logging.WARNING if level == "warning" else logging.INFO, message)
        self.reporter.emit(Log(message, "warning" if level == "warning" else "info"))


def _summary(
    plan: Plan,
    classes: ClassTable,
    records: Iterable[BlockRecord],
    paths: dict[str, Path],
    *,
    resumed: int,
    start: float,
) -> PredictionResult:
    counts, areas, invalid, failed = np.zeros(len(classes), np.int64), np.zeros(len(classes)), 0, []
    seams: NDArray[np.float64] = np.zeros(())
    for r in records:  # sums only: a continent has hundreds of thousands of blocks
        counts, areas = counts + r.facts["counts"], areas + r.facts["areas_m2"]
        seams, invalid = seams + r.facts["seams"], invalid + int(r.facts["invalid"])
        failed += [
            FailedTile(row, column, (r.row, r.column), reason) for row, column, reason in r.facts["failures"]
        ]
    edges = [seams] if seams.ndim else []
    return PredictionResult(
        paths=paths,
        failed=tuple(failed),
        seam_ratio=seam_ratio(edges),
        seams_show=seams_show(edges),
        class_areas_m2={n: float(a) for n, a in zip(classes.names, areas, strict=True)},
        class_pixels={n: int(c) for n, c in zip(classes.names, counts, strict=True)},
        invalid_pixels=invalid,
        plan=plan,
        blocks_resumed=resumed,
        seconds=clock.monotonic() - start,
    )


def describe(plan: Plan) -> str:
    """Return the plan as indented JSON."""
    return json.dumps(plan.to_json(), indent=2, ensure_ascii=False)
