"""One small prediction, as a function that another process can run."""

from __future__ import annotations

from pathlib import Path

import torch

from geotoolbox.prediction import PredictionResult, PredictOptions, predict_scene
from tests.prediction.scenes import Filter, noise


def predict_small(folder: Path) -> PredictionResult:
    """Predict 130 × 100 pixels in blocks, with probabilities."""
    torch.set_num_threads(1)
    dataset = noise(2, 130, 100)
    dataset.valid[60:80, 40:90] = False
    options = PredictOptions(
        block_px=44, threads=1,
        probabilities=folder / "p.tif",
    )  # fmt: skip
    return predict_scene(dataset, Filter(), folder / "map.tif", options=options)


def contents(folder: Path) -> dict[str, bytes]:
    """Return the bytes of all files that are not hidden."""
    return {p.name: p.read_bytes() for p in sorted(folder.iterdir()) if not p.name.startswith(".")}
