"""TorchGeo's side: the same work with its own datasets, samplers and trainer. Runs in its own environment."""

from __future__ import annotations

import sys
import time
import warnings
from typing import Any

import numpy as np
from common import Job, repeat, run, small_files, time_batches

warnings.filterwarnings("ignore")


def _datasets(job: Job) -> Any:
    from torchgeo.datasets import RasterDataset

    class Scenes(RasterDataset):
        filename_glob = "scene_*.tif"
        is_image = True

    class Labels(RasterDataset):
        filename_glob = "classes.tif"
        is_image = False

    crs = None
    if job.get("crs"):
        from pyproj import CRS

        crs = CRS(job["crs"])
    return Scenes(job["scenes"], crs=crs), Labels(job["labels"], crs=crs)


def _loader(job: Job) -> Any:
    from torch.utils.data import DataLoader
    from torchgeo.datasets import stack_samples
    from torchgeo.samplers import GridGeoSampler, RandomBatchGeoSampler, RandomGeoSampler

    images, labels = _datasets(job)
    both = images & labels
    count = (job["warm"] + job["batches"]) * job["batch"]
    more: Job = {"num_workers": job["workers"], "collate_fn": stack_samples}
    if job["sampler"] == "batch":
        sampler = RandomBatchGeoSampler(both, job["size"], job["batch"], count)
        return DataLoader(both, batch_sampler=sampler, **more)
    if job["sampler"] == "grid":
        chosen = GridGeoSampler(both, job["size"], job["stride"])
    else:
        chosen = RandomGeoSampler(both, job["size"], count)
    if job.get("turned"):
        chosen = _inside(chosen, both)
    return DataLoader(both, batch_size=job["batch"], sampler=chosen, **more)


def _inside(sampler: Any, dataset: Any) -> list[Any]:
    """Draw beforehand, without the windows in the empty corners of turned scenes, on which TorchGeo's datasets raise."""
    from shapely.geometry import box

    shapes = dataset.index.geometry
    return [q for q in sampler if shapes.intersects(box(q[0].start, q[1].start, q[0].stop, q[1].stop)).any()]


def sampling(job: Job) -> Job:
    """Read patches through a DataLoader."""
    return time_batches(_loader(job), lambda b: len(b["image"]), job["warm"], job["batches"])


def pixels(job: Job) -> Job:
    """Read given windows and keep them for comparison."""
    images, labels = _datasets(job)
    both = images & labels
    out: dict[str, Any] = {}
    for number, (west, south, east, north) in enumerate(job["windows"]):
        sample = both[west:east, south:north]
        out[f"image_{number}"] = sample["image"].numpy().astype(np.float64)
        out[f"mask_{number}"] = sample["mask"].numpy().astype(np.int64)
    np.savez(job["out"], **out)
    return {}


def vectors(job: Job) -> Job:
    """Burn polygons onto windows of a scene."""
    from pyproj import CRS
    from torchgeo.datasets import VectorDataset

    class Polygons(VectorDataset):
        filename_glob = "*.gpkg"

    labels = Polygons(job["polygons"], crs=CRS(job["crs"]), res=(30.0, 30.0), label_name="crop")
    windows = iter(job["windows"] * 1000)

    def one() -> None:
        west, south, east, north = next(windows)
        labels[west:east, south:north]

    return repeat(one, job["seconds"])


def vector_pixels(job: Job) -> Job:
    """Burn polygons onto given windows and keep the masks."""
    from pyproj import CRS
    from torchgeo.datasets import VectorDataset

    class Polygons(VectorDataset):
        filename_glob = "*.gpkg"

    labels = Polygons(job["polygons"], crs=CRS(job["crs"]), res=(30.0, 30.0), label_name="crop")
    masks = {
        f"mask_{n}": labels[w:e, s:north]["mask"].numpy() for n, (w, s, e, north) in enumerate(job["windows"])
    }
    np.savez(job["out"], **masks)
    return {}


def index(job: Job) -> Job:
    """Build an index of many files, and look one up among a number of rows."""
    import pandas as pd
    from torchgeo.datasets import RasterDataset

    class Tiles(RasterDataset):
        filename_glob = "*.tif"
        is_image = False

    files = small_files(job)
    start = time.perf_counter()
    tiles = Tiles(files)
    seconds = time.perf_counter() - start
    copies = -(-job["rows"] // len(tiles.index))
    parts = []
    for number in range(copies):  # the same files again, each time further east
        part = tiles.index.copy()
        part.geometry = tiles.index.geometry.translate(xoff=number * 500_000.0)
        parts.append(part)
    table = pd.concat(parts).iloc[: job["rows"]]
    west, south, east, north = table.geometry.iloc[len(tiles.index) // 2].bounds
    interval = pd.Interval(table.index[0].left, table.index[0].right)

    def look_up() -> None:  # the first lines of RasterDataset.__getitem__
        found = table.iloc[table.index.overlaps(interval)]
        found.cx[west + 1 : east - 1, south + 1 : north - 1]

    return {"files_per_s": len(files) / seconds, "lookup_ms": repeat(look_up, job["seconds"])["ms"]}


def training(job: Job) -> Job:
    """Train with TorchGeo's task, a DataLoader and Lightning's trainer; time after the first steps."""
    import lightning.pytorch as pl
    import torch
    from torchgeo.trainers import SemanticSegmentationTask

    torch.set_num_threads(job["threads"])
    torch.manual_seed(0)
    task = SemanticSegmentationTask(
        model="unet",
        backbone="resnet18",
        in_channels=7,
        task="multiclass",
        num_classes=job["classes"],
        loss="ce",
    )
    # Without a validation loader its schedule lacks what it monitors; the optimiser alone takes the same steps.
    task.configure_optimizers = lambda: torch.optim.AdamW(task.parameters(), lr=1e-3)
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


def start_up(job: Job) -> Job:
    """Import what reading needs."""
    start = time.perf_counter()
    import torchgeo.datasets  # noqa: F401

    return {"seconds": time.perf_counter() - start}


if __name__ == "__main__":
    sys.exit(
        run(
            {f.__name__: f for f in (sampling, pixels, vectors, vector_pixels, index, training, start_up)},
            "torchgeo",
            "torch",
            "rasterio",
            "numpy",
        )
    )
