"""The floor: bare rasterio reads the same windows, and nothing else: no labels on the image grid, no batches."""

from __future__ import annotations

import sys
import time
from typing import Any

import numpy as np
import rasterio
from common import Job, cpu_s, run
from rasterio.warp import transform_bounds
from rasterio.windows import Window, from_bounds


def _places(job: Job, grids: list[tuple[int, int]], rng: np.random.Generator) -> list[tuple[int, int, int]]:
    """Draw windows as the sampler of the job does: (scene, row, column)."""
    size, count = job["size"], (job["warm"] + job["batches"]) * job["batch"]
    places: list[tuple[int, int, int]] = []
    if job["sampler"] == "grid":
        for scene, (height, width) in enumerate(grids):
            for row in range(0, height - size + 1, job["stride"]):
                places += [(scene, row, col) for col in range(0, width - size + 1, job["stride"])]
        return places[:count]
    for _ in range(count):
        scene = int(rng.integers(len(grids)))
        height, width = grids[scene]
        places.append((scene, int(rng.integers(height - size + 1)), int(rng.integers(width - size + 1))))
    return places


def sampling(job: Job) -> Job:
    """Read windows of the scenes, and of the class raster the window that covers each."""
    scenes = [rasterio.open(p) for p in job["scenes"]]
    labels = rasterio.open(job["labels"])
    places = _places(job, [s.shape for s in scenes], np.random.default_rng(0))
    skip, size = job["warm"] * job["batch"], job["size"]
    start, cpu = 0.0, 0.0
    for number, (scene, row, col) in enumerate(places):
        if number == skip:
            start, cpu = time.perf_counter(), cpu_s()
        window = Window(col, row, size, size)
        scenes[scene].read(window=window)
        box = scenes[scene].window_bounds(window)
        if scenes[scene].crs != labels.crs:
            box = transform_bounds(scenes[scene].crs, labels.crs, *box)
        labels.read(1, window=from_bounds(*box, transform=labels.transform).round_offsets().round_lengths())
    return {"patches": len(places) - skip, "seconds": time.perf_counter() - start, "cpu": cpu_s() - cpu}


def decoding(job: Job) -> Job:
    """Decode every block of a scene once, and say how long a block takes."""
    with rasterio.Env(GDAL_CACHEMAX=64 << 20), rasterio.open(job["scenes"][0]) as scene:
        blocks: list[Any] = [w for _, w in scene.block_windows(1)][: job.get("blocks", 64)]
        start = time.perf_counter()
        for window in blocks:
            scene.read(window=window)
        return {"ms_per_block": (time.perf_counter() - start) * 1000 / len(blocks)}


if __name__ == "__main__":
    sys.exit(run({f.__name__: f for f in (sampling, decoding)}, "rasterio", "numpy"))
