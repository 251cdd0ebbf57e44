"""Training a segmentation model from a dataset to a bundle, resumable at any moment."""

from __future__ import annotations

from pathlib import Path

import torch

from geotoolbox.core.events import SILENT, Reporter
from geotoolbox.sampling.protocol import Sampled
from geotoolbox.sampling.samplelist import SampleList
from geotoolbox.trainers.options import TrainOptions
from geotoolbox.trainers.result import TrainResult
from geotoolbox.trainers.run import Run
from geotoolbox.trainers.validation import EpochHook
from geotoolbox.trainers.weights import class_weights

__all__ = ["TrainResult", "class_weights", "train_segmentation"]


def train_segmentation(
    train: Sampled,
    validation: Sampled,
    *,
    options: TrainOptions | None = None,
    work_dir: str | Path,
    reporter: Reporter = SILENT,
    each_epoch: EpochHook | None = None,
    samples: SampleList | None = None,
) -> TrainResult:
    """Train a model, and test it and simple baselines on a held-out area.

    A run that was stopped, by whatever, goes on from its last good checkpoint when it is started again with
    the same data, options and ``work_dir``; its losses are those of a run that was never stopped.

    Args:
        train: Images with labels: ``images & labels``, often a part of a spatial split.
        validation: The same elsewhere. Nothing of it is learnt; it chooses the epoch to keep.
        options: How to train.
        work_dir: Where checkpoints go, in a folder of this run's own.
        reporter: Hears of progress and metrics, and can cancel.
        each_epoch: Is called after each epoch with its number (from 1) and a function from a reading to its
            predicted class indices, to look at places while training.
        samples: The windows to train on, drawn by their weights, instead of windows at random.

    Returns:
        The bundle, the network and all that a report needs.

    Raises:
        BadInput: When the data cannot be trained on, in words.
        BadLabels: When there is one class only, or none (R66).
        Cancelled: When asked to stop.
        TooLarge: When a reading process was killed, most likely for its memory (R04).
    """
    options = options or TrainOptions()
    with torch.random.fork_rng():
        run = Run(
            train, validation, options, Path(work_dir), reporter, samples=samples, each_epoch=each_epoch
        )
        return run.finish(run.fit())
