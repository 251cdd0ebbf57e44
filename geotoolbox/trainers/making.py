"""The parts of one training: the task, Lightning's trainer and the loader of patches."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import numpy as np
from lightning.fabric.plugins.environments.lightning import LightningEnvironment
from numpy.typing import NDArray
from torch.utils.data import DataLoader

from geotoolbox.models.factory import ModelSpec, create_model
from geotoolbox.sampling.collate import stack_samples
from geotoolbox.sampling.samplelist import SampleList
from geotoolbox.trainers.guards import quiet
from geotoolbox.trainers.listing import epoch_sampler
from geotoolbox.trainers.options import CLASS_WEIGHT_POWERS, TrainOptions
from geotoolbox.trainers.ranks import Rank, RankAugment, RankSampler, share_batches, total
from geotoolbox.trainers.source import Patches, Source
from geotoolbox.trainers.task import SemanticSegmentationTask
from geotoolbox.trainers.weights import class_weights
from geotoolbox.transforms.preprocess import Preprocess
from geotoolbox.transforms.seen import training_augment

__all__ = ["make_loader", "make_task", "make_trainer"]


def make_task(
    spec: ModelSpec, preprocess: Preprocess, counts: NDArray[np.int64], options: TrainOptions, rank: Rank
) -> SemanticSegmentationTask:
    """Return network, loss and schedule as one task.

    Args:
        spec: The network.
        preprocess: Raw image and valid to the network's input.
        counts: Labelled training pixels of each class.
        options: How to train.
        rank: Which process of the training this is; with several, what a batch tells is shared.
    """
    augment = training_augment() if options.augment else None
    task = SemanticSegmentationTask(
        create_model(spec),
        num_classes=len(counts),
        loss=options.loss,
        class_weights=class_weights(counts, CLASS_WEIGHT_POWERS[options.class_weights]),
        label_smoothing=options.label_smoothing,
        lr=options.learning_rate,
        weight_decay=options.weight_decay,
        schedule="one-cycle",
        total_steps=options.epochs * options.steps_per_epoch,
        preprocess=preprocess,
        augment=augment,
    )
    if rank.count > 1:
        share_batches(task.model, rank)
        task.criterion.total = total
        task.augment = None if augment is None else RankAugment(augment, rank)
    return task


def make_trainer(
    callback: pl.Callback, options: TrainOptions, device: str, rank: Rank, folder: Path
) -> pl.Trainer:
    """Return Lightning's trainer, silent, without its own checkpoints and logs.

    Args:
        callback: What validates, keeps and tells.
        options: How to train.
        device: ``cpu``, ``cuda`` or ``mps``.
        rank: Which process of the training this is.
        folder: Where Lightning may write.
    """
    precision = options.precision
    if precision == "auto":
        precision = "bf16-mixed" if device == "cuda" else "32"
    with quiet():
        return pl.Trainer(
            accelerator="gpu" if device == "cuda" else device,
            devices=rank.per_machine,
            num_nodes=rank.machines,
            plugins=[LightningEnvironment()]
            if rank.count > 1
            else None,  # not what it makes of Slurm's variables
            strategy="ddp" if rank.count > 1 else "auto",
            precision=precision,
            max_epochs=options.epochs,
            callbacks=[callback],
            gradient_clip_val=options.gradient_clip or None,
            logger=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            enable_checkpointing=False,
            num_sanity_val_steps=0,
            use_distributed_sampler=False,
            default_root_dir=str(folder),
        )


def make_loader(
    train: Source, options: TrainOptions, samples: SampleList | None, rank: Rank
) -> DataLoader[Any]:
    """Return the batches of this process.

    Args:
        train: What is trained on; reading processes are started only where it is not in memory.
        options: How to train.
        samples: The windows to draw from, by their weights; None draws windows at random.
        rank: Which process of the training this is; each reads its own part of every batch.
    """
    workers = 0 if train.in_memory else options.workers
    sampler = epoch_sampler(train, options, samples)
    if rank.count > 1:
        sampler = RankSampler(sampler, options.batch_size, rank)
    return DataLoader(
        Patches(train),
        batch_size=options.batch_size // rank.count,
        sampler=sampler,
        collate_fn=stack_samples,
        num_workers=workers,
        persistent_workers=workers > 0,
    )
