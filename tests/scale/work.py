"""Small predictions for many processes: models that die on purpose, and what all runs must give."""

from __future__ import annotations

import multiprocessing as mp
import os
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from geotoolbox.core.cluster import Cluster
from geotoolbox.core.events import SILENT, Reporter
from geotoolbox.prediction import PredictionResult, PredictOptions, predict_scene
from tests.prediction.scenes import ArrayDataset, Filter, noise

ODD = 7.5
"""A value that stands in one pixel only: the models below know their block by it."""


@dataclass
class Deadly(Filter):
    """Kills its process (as the system does when memory is short) on tiles that hold the odd value.

    Where ``times`` is given, only so often: a file in ``notes`` counts the kills.
    """

    notes: Path = Path()
    times: int | None = None
    slow_s: float = 0.0
    kernels: list[Tensor] = field(default_factory=list)

    def __post_init__(self) -> None:
        Filter.__init__(self)

    def __call__(self, image: Tensor, valid: Tensor) -> Tensor:
        time.sleep(self.slow_s)
        if bool((image == ODD).any()):
            killed = len(list(self.notes.glob("kill-*")))
            if self.times is None or killed < self.times:
                (self.notes / f"kill-{killed}-{os.getpid()}").touch()
                os.kill(os.getpid(), signal.SIGKILL)
        return super().__call__(image, valid)


def scene() -> ArrayDataset:
    """130 × 100 pixels with a hole."""
    dataset = noise(2, 130, 100)
    dataset.valid[60:80, 40:90] = False
    return dataset


def odd_scene() -> ArrayDataset:
    """The same, with the odd value where one block alone reads it."""
    dataset = scene()
    dataset.image[0, 75, 20] = np.float32(ODD)
    return dataset


def options(folder: Path, executor: str = "local", workers: int = 2, **more: object) -> PredictOptions:
    """The options that all runs share."""
    return PredictOptions(
        block_px=44, threads=1, batch_size=4, probabilities=folder / "p.tif",
        executor=executor, cluster=Cluster(workers=workers), **more,
    )  # fmt: skip


def predict(
    folder: Path, executor: str = "local", reporter: Reporter = SILENT, **more: object
) -> PredictionResult:
    """Predict the scene into a folder."""
    folder.mkdir(exist_ok=True)
    torch.set_num_threads(1)
    chosen = options(folder, executor, **more)
    return predict_scene(scene(), Filter(), folder / "map.tif", options=chosen, reporter=reporter)


def contents(folder: Path) -> dict[str, bytes]:
    """Return the bytes of all files that are not hidden."""
    files = (p for p in sorted(folder.iterdir()) if p.is_file() and not p.name.startswith("."))
    return {p.name: p.read_bytes() for p in files}


def child(function: Callable[..., object], *arguments: object) -> Any:
    """Start a function in a process of its own, quickly where the system can fork from a warm server."""
    context = mp.get_context("forkserver" if "forkserver" in mp.get_all_start_methods() else "spawn")
    if hasattr(context, "set_forkserver_preload"):
        context.set_forkserver_preload(["tests.scale.work", "geotoolbox.prediction.engine", "distributed"])
    process = context.Process(target=function, args=arguments)
    process.start()
    return process
