"""What every way of running a prediction needs first: the plan, the outputs, the working folder."""

from __future__ import annotations

import hashlib
import logging
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from geotoolbox.core.events import Log, Reporter
from geotoolbox.core.files import check_apart, check_writable
from geotoolbox.core.query import ALWAYS, TimeInterval
from geotoolbox.errors import TooLarge, explain
from geotoolbox.prediction.forward import Forward, OutOfDeviceMemory, TileModel, fixed_threads
from geotoolbox.prediction.grids import Target
from geotoolbox.prediction.lattice import Lattice
from geotoolbox.prediction.options import PredictOptions
from geotoolbox.prediction.plan import Plan, choose_lattice, make_plan
from geotoolbox.prediction.reading import ImageSource
from geotoolbox.prediction.writer import Layer

__all__ = [
    "CACHE_BYTES",
    "layers_of",
    "output_paths",
    "plan_run",
    "smaller",
    "work_folder",
]

log = logging.getLogger(__name__)

CACHE_BYTES = 48 << 20
LEAST_TILE_PX = 64


def plan_run(
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


def layers_of(plan: Plan) -> list[Layer]:
    """Return the outputs as layers of blocks."""
    bands = {"classes": 1, "probabilities": len(plan.classes), "confidence": 1, "entropy": 1}
    return [
        Layer(name, plan.dtype, 1, plan.nodata)
        if name == "classes"
        else Layer(name, "uint8", bands[name], 255)
        for name in plan.outputs
    ]


def output_paths(output: Path, options: PredictOptions, dataset: ImageSource) -> dict[str, Path]:
    """Return where each output goes, after a look at whether it can and is no file that is read."""
    paths = {"classes": output, **options.extra_outputs()}
    check_apart(paths.values(), dataset.source_files())
    for path in paths.values():
        check_writable(path)
    return paths


def work_folder(output: Path) -> Path:
    """Return the hidden folder beside an output where its blocks are until it is whole."""
    name = output.name
    if len(name.encode()) > 200:
        name = hashlib.sha256(name.encode()).hexdigest()[:32]
    return output.with_name(f".{name}.work")


def smaller(
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
