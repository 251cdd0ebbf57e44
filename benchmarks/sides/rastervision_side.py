"""Raster Vision's side: its sliding-window dataset, ``predict_dataset`` and the saving of labels. Its own environment."""

from __future__ import annotations

import sys
import tempfile
import time
import warnings
from pathlib import Path
from typing import Any

import numpy as np
from common import Job, cpu_s, peak_mb, run

warnings.filterwarnings("ignore")


def predict(job: Job) -> Job:
    """Predict a scene to a label raster."""
    import torch
    from net import network
    from rastervision.core.data import ClassConfig, SemanticSegmentationLabels
    from rastervision.pytorch_learner import (
        SemanticSegmentationGeoDataConfig,
        SemanticSegmentationLearner,
        SemanticSegmentationLearnerConfig,
        SemanticSegmentationSlidingWindowGeoDataset,
    )

    torch.set_num_threads(job["threads"])
    names = [f"class {n}" for n in range(1, job["classes"] + 1)]
    config = ClassConfig(names=names, null_class=names[-1])
    dataset: Any = SemanticSegmentationSlidingWindowGeoDataset.from_uris(
        class_config=config, image_uri=job["scene"], size=job["tile"], stride=job["tile"] - job["overlap"],
        image_raster_source_kw={"allow_streaming": True}, normalize=False, out_size=None,
    )  # fmt: skip
    learner = SemanticSegmentationLearner(
        SemanticSegmentationLearnerConfig(data=SemanticSegmentationGeoDataConfig(class_config=config, num_workers=0)),
        model=network(job["net"], job["bands"], job["classes"]), training=False,
        output_dir=tempfile.mkdtemp(prefix="bench-rv-"),
    )  # fmt: skip
    with tempfile.TemporaryDirectory(prefix="bench-rv-", dir=job.get("work")) as folder:
        before, start, cpu = peak_mb(), time.perf_counter(), cpu_s()
        with torch.inference_mode():
            predictions = learner.predict_dataset(
                dataset, raw_out=True, numpy_out=True, progress_bar=False,
                dataloader_kw={"batch_size": job["batch"], "num_workers": 0},
            )  # fmt: skip
            labels = SemanticSegmentationLabels.from_predictions(
                dataset.windows, predictions, extent=dataset.scene.extent, num_classes=len(config), smooth=True,
                crop_sz=job["overlap"] // 2,
            )  # fmt: skip
        labels.save(
            uri=folder, crs_transformer=dataset.scene.raster_source.crs_transformer, class_config=config,
            discrete_output=True, smooth_output=False,
        )  # fmt: skip
        seconds, total = time.perf_counter() - start, cpu_s() - cpu
        if job.get("out"):
            import rasterio

            with rasterio.open(next(Path(folder).rglob("labels.tif"))) as written:
                np.save(job["out"], written.read(1))
    return {"seconds": seconds, "cpu": total, "base_mb": before, "tiles": len(dataset)}


if __name__ == "__main__":
    sys.exit(run({"predict": predict}, "rastervision", "torch", "rasterio", "numpy"))
