"""Our side: the public API, with its defaults."""

from __future__ import annotations

import logging
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from common import Job, cpu_s, peak_mb, repeat, run, small_files, time_batches

import geotoolbox  # noqa: F401  (before torch: it says how torch's threads wait)
from geotoolbox.core.compiled import get_ready

logging.basicConfig(level=logging.ERROR)
CLASSES = [f"class {n}" for n in range(20)]


def _datasets(job: Job) -> Any:
    from geotoolbox import RasterDataset

    images = RasterDataset(job["scenes"], kind="image", footprints=False)
    labels = RasterDataset(job["labels"], kind="labels", classes=CLASSES, footprints=False)
    both = images & labels
    return both.to_crs(job["crs"]) if job.get("crs") else both


def _loader(job: Job) -> Any:
    from torch.utils.data import DataLoader

    from geotoolbox import GridGeoSampler, RandomBatchGeoSampler, RandomGeoSampler, stack_samples

    both = _datasets(job)
    count = (job["warm"] + job["batches"]) * job["batch"]
    more: Job = {"num_workers": job["workers"], "collate_fn": stack_samples}
    if job["sampler"] == "batch":
        sampler = RandomBatchGeoSampler(both, job["size"], job["batch"], count, seed=0)
        return DataLoader(both, batch_sampler=sampler, **more)
    if job["sampler"] == "grid":
        chosen: Any = GridGeoSampler(both, job["size"], job["stride"])
    else:
        local = {"locality": job["locality"]} if job.get("locality") else {}
        chosen = RandomGeoSampler(both, job["size"], count, seed=0, **local)
    return DataLoader(both, batch_size=job["batch"], sampler=chosen, **more)


def sampling(job: Job) -> Job:
    """Read patches through a DataLoader."""
    return time_batches(_loader(job), lambda b: len(b["image"]), job["warm"], job["batches"])


def pixels(job: Job) -> Job:
    """Read given windows and keep them for comparison."""
    both = _datasets(job)
    out: dict[str, Any] = {}
    for number, (west, south, east, north) in enumerate(job["windows"]):
        sample = both[_box(job, west, south, east, north)]
        out[f"image_{number}"] = sample["image"].numpy().astype(np.float64)
        out[f"mask_{number}"] = sample["mask"].numpy().astype(np.int64)
    np.savez(job["out"], **out)
    return {}


def _box(job: Job, west: float, south: float, east: float, north: float) -> Any:
    from affine import Affine
    from odc.geo.geobox import GeoBox

    size = job["size"]
    res = (east - west) / size, (north - south) / size
    return GeoBox((size, size), Affine(res[0], 0, west, 0, -res[1], north), job["window_crs"])


def _polygons(job: Job) -> Any:
    from geotoolbox import VectorDataset

    return VectorDataset(job["polygons"], column="crop", classes={n: f"crop {n}" for n in range(1, 9)})


def vectors(job: Job) -> Job:
    """Burn polygons onto windows of a scene."""
    labels, windows = _polygons(job), iter(job["windows"] * 1000)
    return repeat(lambda: labels[_box(job, *next(windows))], job["seconds"])


def vector_pixels(job: Job) -> Job:
    """Burn polygons onto given windows and keep the masks; 0 where there is none."""
    labels = _polygons(job)
    masks = {}
    for number, window in enumerate(job["windows"]):
        mask = labels[_box(job, *window)]["mask"].numpy()
        masks[f"mask_{number}"] = np.where(mask < 0, 0, mask + 1)
    np.savez(job["out"], **masks)
    return {}


def index(job: Job) -> Job:
    """Build an index, keep it, open it again, make a dataset of it, and look places up."""
    from geotoolbox import RasterDataset
    from geotoolbox.indexing import FileIndex, build_index

    files = small_files(job)
    with tempfile.TemporaryDirectory(prefix="bench-index-") as folder:
        cache = Path(folder) / "index.parquet"
        start = time.perf_counter()
        built = build_index(files, cache=cache)
        build_s = time.perf_counter() - start
        reopen_s = _reopened_s(cache)
        first = FileIndex.open(cache).query((0.0, 0.0, 0.1, 0.1))
        start = time.perf_counter()
        dataset = RasterDataset(files, kind="image", cache=cache)
        dataset_s = time.perf_counter() - start
    apart_s = _index_apart(files[:2_000])
    grid = built.records[len(built) // 2].header.geobox
    found = built.find(grid[2:10, 2:10])
    ask = grid[2:10, 2:10]
    lookup = repeat(lambda: built.find(ask), job["seconds"])["ms"]
    return {
        "files_per_s": len(files) / build_s, "apart_per_s": len(files[:2_000]) / apart_s, "reopen_s": reopen_s, "dataset_s": dataset_s,
        "lookup_ms": lookup, "found": len(found) + len(first) + len(dataset.source_files()),
    }  # fmt: skip


def _reopened_s(cache: Path) -> float:
    """Return the seconds that a new process takes to open a kept index and ask it once, imports aside."""
    program = (
        "import sys, time, geopandas, pyarrow.parquet, rtree; from geotoolbox.indexing import FileIndex; "
        "start = time.perf_counter(); "
        "FileIndex.open(sys.argv[1]).query((0.0, 0.0, 0.1, 0.1)); print(time.perf_counter() - start)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, str(cache)], check=True, capture_output=True, text=True
    )
    return float(done.stdout)


def _index_apart(files: list[str]) -> float:
    """Return the seconds that an index takes of copies beside which there is a text, so that GDAL opens each."""
    from geotoolbox.indexing import build_index

    with tempfile.TemporaryDirectory(prefix="bench-apart-") as folder:
        copies = [shutil.copy(f, folder) for f in files]
        (Path(folder) / "about.txt").write_text("Small files.", encoding="utf-8")
        start = time.perf_counter()
        build_index(copies)
        return time.perf_counter() - start


def training(job: Job) -> Job:
    """Train with our task, samplers and Lightning's trainer; time after the first steps."""
    import lightning.pytorch as pl
    import torch

    from geotoolbox import SemanticSegmentationTask

    torch.set_num_threads(job["threads"])
    torch.manual_seed(0)
    task = SemanticSegmentationTask(
        "unet", "resnet18", in_channels=7, num_classes=len(CLASSES), schedule="constant"
    )
    times: list[float] = []

    class Clock(pl.Callback):
        def on_train_batch_end(self, *_: Any) -> None:
            times.append(time.perf_counter())

    trainer = pl.Trainer(
        accelerator="cpu", max_steps=job["warm"] + job["batches"], logger=False, enable_checkpointing=False,
        enable_progress_bar=False, enable_model_summary=False, callbacks=[Clock()], limit_val_batches=0,
    )  # fmt: skip
    trainer.fit(task, _loader(job))
    taken = times[-1] - times[job["warm"] - 1]
    return {"patches": job["batches"] * job["batch"], "seconds": taken}


class _Model:
    """One of the shared networks, as prediction wants it."""

    def __init__(self, job: Job, bands: tuple[str, ...]) -> None:
        from net import network

        from geotoolbox.core.classes import ClassTable

        self.network = network(job["net"], len(bands), job["classes"])
        self.bands, self.num_classes = bands, job["classes"]
        self.classes = ClassTable.from_values(range(1, job["classes"] + 1))
        self.tile_px, self.halo_px = job["tile"], job["halo"]
        self.seconds = 0.0

    def __call__(self, image: Any, valid: Any) -> Any:
        import torch

        start = time.perf_counter()
        out = torch.softmax(self.network(image), dim=1)
        self.seconds += time.perf_counter() - start
        return out


def predict(job: Job) -> Job:
    """Predict a scene to a class map."""
    import torch

    from geotoolbox import RasterDataset
    from geotoolbox.prediction import PredictOptions, predict_scene

    torch.set_num_threads(job["threads"])
    images = RasterDataset(job["scene"], kind="image", footprints=False)
    model = _Model(job, tuple(b.name for b in images.bands))
    options = PredictOptions(tile_px=job["tile"], overlap_px=job["overlap"], batch_size=job["batch"])
    with tempfile.TemporaryDirectory(prefix="bench-predict-", dir=job.get("work")) as folder:
        before, start, cpu = peak_mb(), time.perf_counter(), cpu_s()
        result = predict_scene(images, model, Path(folder) / "map.tif", options=options)
        seconds = time.perf_counter() - start
        total, tiles = cpu_s() - cpu, result.plan.tiles
        if job.get("out"):
            import rasterio

            with rasterio.open(Path(folder) / "map.tif") as written:
                np.save(job["out"], written.read(1))
    pixels = sum(result.class_pixels.values()) + result.invalid_pixels
    return {
        "seconds": seconds,
        "cpu": total,
        "pixels": pixels,
        "tiles": tiles,
        "model_s": model.seconds,
        "base_mb": before,
    }


def forward(job: Job) -> Job:
    """Run the network alone on as many tiles, in memory, with the same batches and threads; in both layouts."""
    import torch
    from net import network

    torch.set_num_threads(job["threads"])
    net = network(job["net"], 7, job["classes"])
    batch = torch.rand(job["batch"], 7, job["tile"], job["tile"]) * 10_000
    taken = []
    for layout in (torch.contiguous_format, torch.channels_last):
        ready = batch.contiguous(memory_format=layout)
        with torch.inference_mode():
            torch.softmax(net(ready), dim=1)
            start = time.perf_counter()
            for _ in range(-(-job["tiles"] // job["batch"])):
                torch.softmax(net(ready), dim=1)
        taken.append(time.perf_counter() - start)
    return {"seconds": taken[0], "last_s": taken[1]}


def start_up(job: Job) -> Job:
    """Import the package, and ask the command line for its help: the time of a new process, less an empty one's."""

    def taken(*words: str) -> float:
        start = time.perf_counter()
        subprocess.run([sys.executable, *words], check=True, capture_output=True)
        return time.perf_counter() - start

    rounds = range(job.get("rounds", 5))
    ready = "from geotoolbox.core.compiled import get_ready; get_ready().join()"
    program = str(Path(sys.executable).parent / "geotoolbox")
    return {
        "seconds": sorted(taken("-c", "import geotoolbox") for _ in rounds)[len(rounds) // 2],
        "help_s": sorted(taken(program, "--help") for _ in rounds)[len(rounds) // 2],
        "datasets_s": sorted(taken("-c", "import geotoolbox.datasets") for _ in rounds)[len(rounds) // 2],
        "ready_s": sorted(taken("-c", ready) for _ in rounds)[len(rounds) // 2],
        "python_s": sorted(taken("-c", "pass") for _ in rounds)[len(rounds) // 2],
    }


if __name__ == "__main__":
    get_ready().join()  # Numba's start counts as what it is, an import
    tasks = (sampling, pixels, vectors, vector_pixels, index, training, predict, forward, start_up)
    sys.exit(run({f.__name__: f for f in tasks}, "geotoolbox", "torch", "rasterio", "numpy"))
