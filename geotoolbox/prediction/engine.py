"""Predict a whole scene: any size, bounded memory, resumable, the same bytes every time."""

from __future__ import annotations

import hashlib
import json
import logging
import shutil
import sqlite3
import time as clock
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
import torch
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox

from geotoolbox.core.classes import ClassTable
from geotoolbox.core.events import SILENT, Artifact, Log, Reporter, Stage
from geotoolbox.core.files import check_space, check_writable
from geotoolbox.core.query import ALWAYS, Region, TimeInterval
from geotoolbox.errors import BadInput, NoSpace, TooLarge, explain
from geotoolbox.models.predictor import check_bands
from geotoolbox.prediction.blending import Strip
from geotoolbox.prediction.blocks import QUANTUM, predict_block, read_batches
from geotoolbox.prediction.forward import Forward, OutOfDeviceMemory, TileModel, fixed_threads
from geotoolbox.prediction.grids import Target, region_mask, resolve_target
from geotoolbox.prediction.lattice import Lattice
from geotoolbox.prediction.ledger import BlockRecord, Ledger
from geotoolbox.prediction.locking import hold
from geotoolbox.prediction.options import PredictOptions
from geotoolbox.prediction.outputs import finalize_class_map, finalize_continuous
from geotoolbox.prediction.plan import Plan, choose_lattice, make_plan
from geotoolbox.prediction.reading import ImageSource, SceneReader
from geotoolbox.prediction.running import Block, BlockRun, ahead
from geotoolbox.prediction.seams import seam_ratio, seams_show
from geotoolbox.prediction.writer import BlockFiles, Layer, write_mosaic

__all__ = ["FailedTile", "PredictionResult", "plan_scene", "predict_array", "predict_scene"]

log = logging.getLogger(__name__)

CACHE_BYTES = 48 << 20
LEAST_TILE_PX = 64


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
    paths = _output_paths(output, options)
    target = resolve_target(dataset.scenes(), geobox, region)
    work = _work_folder(output)
    with hold(work / "lock", output), rasterio.Env(GDAL_CACHEMAX=CACHE_BYTES):
        while True:
            try:
                job = _Job(dataset, model, target, options, reporter, time, work)
                result = job.run(paths, start)
                break
            except OutOfDeviceMemory as error:
                options = _smaller(options, choose_lattice(model, options), reporter, error)
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
    return _plan(dataset, model, target, options)[0]


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
    plan, forward = _plan(dataset, model, target, options, time=time)
    area, count = target.area, model.num_classes
    values = np.zeros((count, *area.shape), dtype=np.float32)
    valid = np.zeros(area.shape, dtype=np.bool_)

    def take(strip: Strip) -> None:
        at = strip.window.within(area)
        mask = region_mask(target, strip.window)
        good = valid[at] = strip.valid if mask is None else strip.valid & mask
        values[(slice(None), *at)] = np.where(good, (strip.sums / strip.weight).numpy(), np.float32(0))

    reader = SceneReader(dataset, target.scene, plan.lattice, plan.block_px, time)
    with fixed_threads(plan.threads):
        for _, _, window in plan.lattice.blocks(plan.work, plan.block_px):
            with ahead(read_batches(reader, plan.lattice, target, window, forward.batch_size)) as batches:
                failures = predict_block(
                    batches, forward, plan.lattice, window,
                    num_classes=count, take=take, after=lambda _: None,
                )  # fmt: skip
            for row, column, reason in failures:
                log.warning("tile (%d, %d) failed: %s", row, column, reason)
    return values, valid, target.geobox


def _plan(
    dataset: ImageSource,
    model: TileModel,
    target: Target,
    options: PredictOptions,
    *,
    time: TimeInterval = ALWAYS,
    before: dict[str, Any] | None = None,
) -> tuple[Plan, Forward]:
    """Make the plan; a run that goes on keeps the threads and the batch of ``before``."""
    lattice = choose_lattice(model, options)
    threads, batch = options.threads or torch.get_num_threads(), options.batch_size
    if before is not None:
        threads = options.threads or int(before["threads"])
        batch = int(before["batch_size"]) if batch % int(before["batch_size"]) == 0 else batch
    forward = Forward(model, len(dataset.bands), lattice.tile_px, batch, tta=options.tta)
    with fixed_threads(threads):
        fingerprint = forward.probe()
    if time != ALWAYS:
        fingerprint = hashlib.sha256(f"{fingerprint}|{time.start}|{time.end}".encode()).hexdigest()
    plan = make_plan(
        target, model, options, lattice,
        batch_size=batch, threads=threads, fingerprint=fingerprint, files=dataset.source_files(),
    )  # fmt: skip
    return plan, forward


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
            plan, forward = _plan(
                self.dataset, self.model, self.target, self.options, time=self.time, before=before
            )
            for path in paths.values():
                check_space(path, plan.disk_bytes // len(paths) // 4)  # what is written is compressed
            layers = _layers(plan)
            blocks = list(plan.lattice.blocks(plan.work, plan.block_px))
            files = BlockFiles(self.work / "blocks")
            todo = self._todo(plan, ledger, files, layers, blocks)
            run = self._blocks(plan, forward, layers)
            self._predict(plan, run, ledger, files, todo)
            records = ledger.records()
            self._write(plan, files, layers, blocks, paths)
        finally:
            ledger.close()
        result = _summary(
            plan, self.model.classes, records, paths, resumed=len(blocks) - len(todo), start=start
        )
        self._tell(result)
        return result

    def _todo(
        self, plan: Plan, ledger: Ledger, files: BlockFiles, layers: list[Layer], blocks: list[Block]
    ) -> list[Block]:
        run_id = plan.run_id if self.options.resume else f"{plan.run_id}-{clock.time_ns()}"
        files.clear_parts()
        if not ledger.begin(run_id, plan.to_json(), [(r, c) for r, c, _ in blocks]):
            files.clear()
            return blocks
        kept = ("done",) if self.options.retry_failed else ("done", "failed")
        finished = {
            (r.row, r.column)
            for r in ledger.records()
            if r.state in kept and files.whole(r.row, r.column, r.checksums, layers)
        }
        if finished:
            self._say(f"going on: {len(finished)} of {len(blocks)} blocks are done", "info")
        return [b for b in blocks if b[:2] not in finished]

    def _blocks(self, plan: Plan, forward: Forward, layers: list[Layer]) -> BlockRun:
        row_px = min(plan.block_px, plan.work.width) + plan.tile_px
        reader = SceneReader(self.dataset, self.target.scene, plan.lattice, row_px, self.time)
        return BlockRun(reader, forward, plan.lattice, self.target, self.model.classes, layers)

    def _predict(
        self, plan: Plan, run: BlockRun, ledger: Ledger, files: BlockFiles, todo: list[Block]
    ) -> None:
        stage = Stage(self.reporter, "predict", sum(plan.lattice.count(w) for _, _, w in todo))
        with fixed_threads(plan.threads):
            run.execute(todo, files, ledger, stage, strict=self.options.strict)
        if run.reader.nonfinite:
            self._say(f"{run.reader.nonfinite:,} pixels are NaN or infinite: they become nodata", "warning")

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


def _layers(plan: Plan) -> list[Layer]:
    bands = {"classes": 1, "probabilities": len(plan.classes), "confidence": 1, "entropy": 1}
    return [
        Layer(name, plan.dtype, 1, plan.nodata)
        if name == "classes"
        else Layer(name, "uint8", bands[name], 255)
        for name in plan.outputs
    ]


def _output_paths(output: Path, options: PredictOptions) -> dict[str, Path]:
    paths = {"classes": output, **options.extra_outputs()}
    if len({p.absolute() for p in paths.values()}) < len(paths):
        raise BadInput(explain("two outputs have the same path", got=", ".join(map(str, paths.values()))))
    for path in paths.values():
        check_writable(path)
    return paths


def _work_folder(output: Path) -> Path:
    name = output.name
    if len(name.encode()) > 200:
        name = hashlib.sha256(name.encode()).hexdigest()[:32]
    return output.with_name(f".{name}.work")


def _smaller(
    options: PredictOptions, lattice: Lattice, reporter: Reporter, error: OutOfDeviceMemory
) -> PredictOptions:
    """Halve the batch, then the tile. That is another plan: what was done is done again."""
    if options.batch_size > 1:
        changed = replace(options, batch_size=options.batch_size // 2)
        what = f"batches of {changed.batch_size} tiles"
    elif lattice.tile_px // 2 >= LEAST_TILE_PX:
        tile = lattice.tile_px // 2
        changed = replace(options, tile_px=tile, overlap_px=None, halo_px=None)
        what = f"tiles of {tile} px"
    else:
        raise TooLarge(
            explain(
                "the device has too little memory for one tile",
                got=f"{lattice.tile_px} px, batch of 1: {str(error)[:200]}",
                fix="close other programs that use the device, or predict on the CPU",
            )
        ) from error
    log.warning("the device's memory is too small; planning again with %s", what)
    reporter.emit(Log(f"the device's memory is too small; planning again with {what}", "warning"))
    return changed


def _summary(
    plan: Plan,
    classes: ClassTable,
    records: Sequence[BlockRecord],
    paths: dict[str, Path],
    *,
    resumed: int,
    start: float,
) -> PredictionResult:
    facts = [r.facts for r in records]
    counts = np.sum([f["counts"] for f in facts] or [[0] * len(classes)], axis=0)
    areas = np.sum([f["areas_m2"] for f in facts] or [[0.0] * len(classes)], axis=0)
    failed = tuple(
        FailedTile(row, column, (r.row, r.column), reason)
        for r in records
        for row, column, reason in r.facts["failures"]
    )
    return PredictionResult(
        paths=paths,
        failed=failed,
        seam_ratio=seam_ratio(f["seams"] for f in facts),
        seams_show=seams_show(f["seams"] for f in facts),
        class_areas_m2={n: float(a) for n, a in zip(classes.names, areas, strict=True)},
        class_pixels={n: int(c) for n, c in zip(classes.names, counts, strict=True)},
        invalid_pixels=sum(int(f["invalid"]) for f in facts),
        plan=plan,
        blocks_resumed=resumed,
        seconds=clock.monotonic() - start,
    )


def describe(plan: Plan) -> str:
    """Return the plan as indented JSON."""
    return json.dumps(plan.to_json(), indent=2, ensure_ascii=False)
