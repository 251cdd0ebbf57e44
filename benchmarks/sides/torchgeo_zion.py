"""TorchGeo on Zion: its own datasets, sampler, task and trainer. Runs in an environment of its own.

    python torchgeo_zion.py DATA OUTPUT.npz [SEED]

A U-Net with a ResNet-18 that starts from nothing (no weights can be fetched everywhere), 480 random patches of 128 px an
epoch, 4 epochs. Images are normalised by the mean and deviation of the training area. OUTPUT gets the class of each
pixel of the Landsat grid (0 where nothing was predicted), and the seconds of training.
"""

from __future__ import annotations

import sys
import time
import warnings
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import numpy as np
import rasterio
import torch
from shapely.geometry import box
from torch.utils.data import DataLoader
from torchgeo.datasets import RasterDataset, stack_samples
from torchgeo.samplers import GridGeoSampler, RandomGeoSampler
from torchgeo.trainers import SemanticSegmentationTask

warnings.filterwarnings("ignore")
TRAIN_BELOW, TEST_ABOVE, SOUTH, NORTH = 322_209.0, 322_887.0, 4_100_000.0, 4_160_000.0
PATCH_PX, PATCHES, EPOCHS, BATCH, NODATA, CLASSES = 128, 480, 4, 16, 255, 9


class Landsat(RasterDataset):
    """Four bands, one file a band."""

    filename_glob = "landsat_b2.tif"
    filename_regex = r"landsat_b(?P<band>\d)\.tif"
    all_bands = ("2", "3", "4", "5")
    separate_files = True


class LandCover(RasterDataset):
    """Eight classes, on another grid and datum."""

    filename_glob = "nlcd.tif"
    is_image = False


def statistics(data: Path) -> tuple[torch.Tensor, torch.Tensor]:
    """Return mean and deviation of each band in the training area."""
    rows = []
    for band in Landsat.all_bands:
        with rasterio.open(data / f"landsat_b{band}.tif") as source:
            values = source.read(1).astype(np.float32)
            x = source.transform.c + (np.arange(source.width) + 0.5) * source.transform.a
        kept = values[:, x < TRAIN_BELOW]
        kept = kept[kept != 65535]
        rows.append((kept.mean(), kept.std()))
    mean, std = np.array(rows, dtype=np.float32).T
    return torch.from_numpy(mean)[:, None, None], torch.from_numpy(std)[:, None, None]


class Normalize:
    """Subtract the mean, divide by the deviation, and mark outside the image as unlabelled."""

    def __init__(self, data: Path) -> None:
        self.mean, self.std = statistics(data)

    def __call__(self, sample: dict[str, Any]) -> dict[str, Any]:
        """Change one sample."""
        image = sample["image"].float()
        empty = ((image == 65535) | (image == 0)).all(dim=0)
        sample["image"] = torch.where(empty, 0.0, (image - self.mean) / self.std)
        if "mask" in sample:
            sample["mask"] = torch.where(empty, NODATA, sample["mask"].long())
        return {k: v for k, v in sample.items() if k in ("image", "mask", "bounds", "transform")}


def train(data: Path) -> tuple[SemanticSegmentationTask, float]:
    """Train in the west."""
    normalize = Normalize(data)
    images, labels = Landsat(data), LandCover(data)
    both = images & labels
    both.transforms = normalize
    west = box(300_000, SOUTH, TRAIN_BELOW, NORTH)
    sampler = RandomGeoSampler(both, PATCH_PX, PATCHES, roi=west)
    loader = DataLoader(both, batch_size=BATCH, sampler=sampler, collate_fn=stack_samples)
    # Its schedule wants a validation; taking that from the training area leaves it the whole west to learn from.
    watch = DataLoader(
        both, BATCH, sampler=RandomGeoSampler(both, PATCH_PX, 2 * BATCH, roi=west), collate_fn=stack_samples
    )
    task = SemanticSegmentationTask(
        model="unet", backbone="resnet18", weights=None, in_channels=4, num_classes=CLASSES,
        loss="ce", ignore_index=NODATA, lr=1e-3,
    )  # fmt: skip
    trainer = pl.Trainer(
        max_epochs=EPOCHS, accelerator="cpu", logger=False, enable_checkpointing=False,
        enable_progress_bar=False, enable_model_summary=False, num_sanity_val_steps=0,
    )  # fmt: skip
    start = time.perf_counter()
    trainer.fit(task, train_dataloaders=loader, val_dataloaders=watch)
    return task, time.perf_counter() - start


@torch.inference_mode()
def predict(data: Path, task: SemanticSegmentationTask) -> np.ndarray:
    """Predict the east patch by patch (stride half a patch) and keep the mean of what overlaps."""
    images = Landsat(data, transforms=Normalize(data))
    with rasterio.open(data / "landsat_b2.tif") as source:
        shape, transform = source.shape, source.transform
    total = np.zeros((CLASSES, *shape), np.float32)
    east = box(TEST_ABOVE, SOUTH, 340_000, NORTH)
    sampler = GridGeoSampler(images, PATCH_PX, PATCH_PX // 2, roi=east)
    task.eval()
    for query in sampler:
        sample = images[query]
        share = task(sample["image"][None]).softmax(1)[0].numpy()
        left, top = (round(v) for v in ~transform @ (query[0].start, query[1].stop))
        rows, columns = np.arange(share.shape[1]) + top, np.arange(share.shape[2]) + left
        r, c = (rows >= 0) & (rows < shape[0]), (columns >= 0) & (columns < shape[1])
        total[:, rows[r][0] : rows[r][-1] + 1, columns[c][0] : columns[c][-1] + 1] += share[:, r][:, :, c]
    return np.where(total.sum(0) > 0, total[1:].argmax(0) + 1, 0).astype(np.uint8)


def main() -> None:
    """Train, predict, and write what came of it."""
    data, output = Path(sys.argv[1]), Path(sys.argv[2])
    pl.seed_everything(int(sys.argv[3]) if len(sys.argv) > 3 else 0, verbose=False)
    task, seconds = train(data)
    from importlib.metadata import version

    np.savez(output, classes=predict(data, task), seconds=seconds, version=version("torchgeo"))


if __name__ == "__main__":
    main()
