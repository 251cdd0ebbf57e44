"""A small trained model for the widgets' tests, made in seconds."""

from __future__ import annotations

from pathlib import Path

from geotoolbox import RasterDataset, spatial_split
from geotoolbox.trainers import TrainOptions, train_segmentation


def make_model(image: Path, labels: Path, folder: Path) -> Path:
    """Train a bundle on a small scene for one short epoch."""
    data = RasterDataset([str(image)]) & RasterDataset([str(labels)], kind="labels")
    split = spatial_split(data, {"train": 0.7, "val": 0.3}, block_px=64, seed=0)
    options = TrainOptions(
        patch_px=32, patches_per_epoch=48, batch_size=8, epochs=3, max_minutes=None, baseline=False, width=8
    )
    result = train_segmentation(split["train"], split["val"], options=options, work_dir=folder / "work")
    return result.bundle.save(folder / "model.gtb")
