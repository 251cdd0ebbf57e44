"""Training a segmentation model from a dataset to a bundle, resumable at any moment."""

from __future__ import annotations

import copy
import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from torch.utils.data import DataLoader

from geotoolbox.core.events import SILENT, Log, Reporter
from geotoolbox.core.files import check_writable
from geotoolbox.errors import BadInput, BadLabels, Cancelled, explain
from geotoolbox.models.bundle import Bundle, software_versions
from geotoolbox.models.factory import ModelSpec, create_model, halo_of, resolve_spec
from geotoolbox.sampling.collate import stack_samples
from geotoolbox.sampling.disjoint import metric_crs
from geotoolbox.sampling.protocol import Sampled
from geotoolbox.sampling.samplelist import SampleList
from geotoolbox.trainers.baseline import BaselineResult, run_baselines
from geotoolbox.trainers.calibrating import CalibrationChange, calibrate
from geotoolbox.trainers.checkpoints import clear_parts, last_good
from geotoolbox.trainers.counts import Counts
from geotoolbox.trainers.facts import area, resolution_m, sources
from geotoolbox.trainers.guards import named_workers, quiet
from geotoolbox.trainers.launching import launch
from geotoolbox.trainers.listing import epoch_sampler, identity_of, usable_samples
from geotoolbox.trainers.loop import History, Loop
from geotoolbox.trainers.options import CLASS_WEIGHT_POWERS, TrainOptions
from geotoolbox.trainers.points import Points, draw_points
from geotoolbox.trainers.ranks import Rank, RankAugment, RankSampler, from_first, share_batches, total
from geotoolbox.trainers.source import Patches, Source
from geotoolbox.trainers.task import SemanticSegmentationTask
from geotoolbox.trainers.validation import EpochHook, Validation, predict_reading, validate
from geotoolbox.transforms.preprocess import Preprocess
from geotoolbox.transforms.seen import training_augment
from geotoolbox.transforms.statistics import compute_statistics

__all__ = ["TrainResult", "class_weights", "train_segmentation"]

_log = logging.getLogger(__name__)
_TILE_PX = 384
_POINTS = 2000
_RARE = 1e-4
_IMBALANCE = 1000


@dataclass(frozen=True, slots=True)
class TrainResult:
    """What a training gives.

    Attributes:
        bundle: The model to save: ``result.bundle.save("model.gtb")``.
        module: The network with the kept weights, in evaluation mode.
        history: One row for each epoch: losses, mean IoU, overall accuracy, learning rate, seconds.
        best_epoch: The epoch whose weights are kept, from 1.
        confusion: (K, K) counts on the validation area, rows are the truth.
        baselines: Simple baselines on the same validation area.
        class_pixels: Labelled training pixels of each class.
        points: Some labelled training pixels, with the features that the network sees.
        notes: What the person should know, in sentences.
        seconds: What training took.
    """

    bundle: Bundle
    module: nn.Module
    history: History
    best_epoch: int
    confusion: Counts
    baselines: tuple[BaselineResult, ...]
    class_pixels: tuple[int, ...]
    points: Points
    notes: tuple[str, ...]
    seconds: float


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
        run = _Run(train, validation, options, Path(work_dir), reporter, samples=samples)
        run.each_epoch = each_epoch
        return run.finish(run.fit())


def class_weights(counts: Sequence[int] | NDArray[np.int64], power: float) -> list[float] | None:
    """Return one weight a class, frequency to the minus ``power``, so that the mean over pixels is 1.

    Example:
        >>> class_weights([80, 20], 1.0)
        [0.625, 2.5]
    """
    if power == 0:
        return None
    share = np.asarray(counts, dtype=np.float64) / max(float(np.sum(counts)), 1.0)
    weights = np.where(share > 0, np.maximum(share, _RARE) ** -power, 0.0)
    mean = float((weights * share).sum())
    return [float(w) for w in weights / (mean or 1.0)]


class _Run:
    """One training, from checks to bundle."""

    def __init__(
        self, train: Sampled, validation: Sampled, options: TrainOptions, work_dir: Path, reporter: Reporter,
        *, samples: SampleList | None,
    ) -> None:  # fmt: skip
        self.options, self.reporter, self.notes = options, reporter, list[str]()
        self.each_epoch: EpochHook | None = None
        self.rank = Rank()
        _check_alike(train, validation)
        check_writable(work_dir / "run")
        share = options.memory_mb // 2
        self.train, self.validation = Source(train, share, reporter), Source(validation, share, reporter)
        self.samples = None
        if samples is not None:
            self.samples, left_out = usable_samples(samples, self.train)
            if left_out:
                self._say(left_out)
        self.counts = self.train.class_counts()
        self._check_classes()
        names = tuple(b.name for b in train.bands)
        statistics = compute_statistics(
            self.train, indices=options.indices, seed=options.seed, reporter=reporter
        )
        self.preprocess = Preprocess(names, options.indices, statistics, options.normalise)
        self.device = _device(options.device)
        self.spec = resolve_spec(self._spec(), self.device)
        self.folder = work_dir / f"run-{options.fingerprint(*self._identity())}"

    def fit(self) -> Loop:
        """Train, from the last good checkpoint where there is one."""
        torch.manual_seed(self.options.seed)
        loop = Loop(self.options, self.folder, self._validate, self.reporter)
        loop.each_epoch = None if self.each_epoch is None else self._show_epoch
        start = self._start()
        if start is not None and loop.resume_finished(start):
            self.reporter.emit(Log("this run was finished before: its result is used"))
        elif self.options.processes == 1:
            self._train(loop, start)
        else:
            launch(self.shared(), self.options.processes, self.device, self.reporter)
            end = last_good(self.folder)
            if end is not None:
                loop.resume_finished(end)
        return loop

    def _train(self, loop: Loop, start: Path | None) -> None:
        task, trainer = self._task(), self._trainer(loop)
        with quiet(), named_workers():
            trainer.fit(task, self._loader(), ckpt_path=start, weights_only=True if start else None)
        if trainer.interrupted:
            raise Cancelled("cancelled: finished work is kept; run the same command to go on.")

    def shared(self) -> Callable[[Rank, Reporter], None]:
        """Return the training as one of several processes does it."""
        if self.each_epoch is not None:
            self._say("places are not looked at while several processes train", "info")
        own = copy.copy(self)  # without what cannot be sent to a process
        own.reporter, own.each_epoch = SILENT, None
        return own.as_rank

    def as_rank(self, rank: Rank, reporter: Reporter) -> None:
        """Train as one of several processes, from the last good checkpoint where there is one."""
        self.rank, self.reporter = rank, reporter
        torch.manual_seed(self.options.seed)
        loop = Loop(self.options, self.folder, self._validate, reporter)
        loop.agree, loop.writes = from_first, rank.first
        self._train(loop, last_good(self.folder))

    def finish(self, loop: Loop) -> TrainResult:
        """Test what was kept, compare with the baselines, and put the bundle together."""
        if not loop.best:
            raise BadInput(
                explain("no epoch could be finished", fix="raise max_minutes, or choose a smaller network")
            )
        network = create_model(replace(self.spec, encoder_weights=None))
        network.load_state_dict(loop.best)
        network.eval().requires_grad_(False)
        checked = validate(network, self.validation, self.preprocess, seed=self.options.seed)
        change = calibrate(checked) if self.options.calibrate else None
        if change is not None:
            self._say(change.sentence(), "info")
        baseline: tuple[BaselineResult, ...] = ()
        if self.options.baseline:
            baseline = run_baselines(
                self.train, self.validation, self.preprocess, seed=self.options.seed, reporter=self.reporter
            )
            self._compare(checked, baseline)
        return TrainResult(
            bundle=self._bundle(network, loop, checked, change, baseline),
            module=network,
            history=loop.history,
            best_epoch=loop.best_epoch,
            confusion=checked.tally.counts,
            baselines=baseline,
            class_pixels=tuple(int(n) for n in self.counts),
            points=draw_points(
                self.train, self.preprocess, _POINTS, metric_crs(self.train.scenes()), seed=self.options.seed
            ),
            notes=tuple(self.notes),
            seconds=loop.seconds,
        )

    def _say(self, message: str, level: str = "warning") -> None:
        self.notes.append(message)
        self.reporter.emit(Log(message, "warning" if level == "warning" else "info"))
        _log.log(logging.WARNING if level == "warning" else logging.INFO, message)

    def _check_classes(self) -> None:
        names, options = self.train.classes.names, self.options
        present = [n for n, c in zip(names, self.counts, strict=True) if c]
        listing = ", ".join(f"{n} {int(c):,}" for n, c in zip(names, self.counts, strict=True))
        if len(present) < (1 if options.allow_single_class else 2):
            raise BadLabels(
                explain(
                    "too few classes to train on",
                    got=f"labelled valid pixels: {listing or 'none'}",
                    expected="at least two classes with pixels inside the training area",
                    fix="choose a larger area or another label column, or pass allow_single_class",
                )
            )
        absent = [n for n in names if n not in present]
        if absent:
            self._say(f"classes without a training pixel, which cannot be learnt: {', '.join(absent)}")
        least = min(int(c) for c in self.counts if c)
        if int(self.counts.max()) > _IMBALANCE * least:
            self._say(f"the classes are extremely unlike in size (labelled training pixels: {listing})")
        held_out = self.validation.class_counts()
        if not held_out.any():
            raise BadLabels(explain("the validation area has no labelled pixel", fix="choose another area"))
        missing = [n for n, c in zip(names, held_out, strict=True) if n in present and not c]
        if missing:
            self._say(f"classes that validation lacks, so that their scores are NaN: {', '.join(missing)}")

    def _spec(self) -> ModelSpec:
        options = self.options
        return ModelSpec(
            options.model, options.encoder, self.preprocess.out_channels, len(self.train.classes),
            options.encoder_weights, options.width,
        )  # fmt: skip

    def _identity(self) -> Iterator[object]:
        """Yield what makes this run another run, besides the options."""
        yield self.spec
        yield self.preprocess.to_json()
        yield self.train.classes.to_json()
        yield self.counts.tolist()
        if self.samples is not None:
            yield identity_of(self.samples)
        for scene in (*self.train.scenes(), *self.validation.scenes()):
            yield (scene.name, tuple(scene.geobox.shape), tuple(scene.geobox.affine), scene.footprint.wkt)

    def _task(self) -> SemanticSegmentationTask:
        options = self.options
        augment = training_augment() if options.augment else None
        task = SemanticSegmentationTask(
            create_model(self.spec),
            num_classes=len(self.train.classes),
            loss=options.loss,
            class_weights=class_weights(self.counts, CLASS_WEIGHT_POWERS[options.class_weights]),
            label_smoothing=options.label_smoothing,
            lr=options.learning_rate,
            weight_decay=options.weight_decay,
            schedule="one-cycle",
            total_steps=options.epochs * options.steps_per_epoch,
            preprocess=self.preprocess,
            augment=augment,
        )
        if self.rank.count > 1:
            share_batches(task.model, self.rank)
            task.criterion.total = total
            task.augment = None if augment is None else RankAugment(augment, self.rank)
        return task

    def _trainer(self, loop: Loop) -> pl.Trainer:
        precision = self.options.precision
        if precision == "auto":
            precision = "bf16-mixed" if self.device == "cuda" else "32"
        with quiet():
            return pl.Trainer(
                accelerator="gpu" if self.device == "cuda" else self.device,
                devices=self.rank.count,
                strategy="ddp" if self.rank.count > 1 else "auto",
                precision=precision,
                max_epochs=self.options.epochs,
                callbacks=[loop],
                gradient_clip_val=self.options.gradient_clip or None,
                logger=False,
                enable_progress_bar=False,
                enable_model_summary=False,
                enable_checkpointing=False,
                num_sanity_val_steps=0,
                use_distributed_sampler=False,
                default_root_dir=str(self.folder),
            )

    def _loader(self) -> DataLoader[Any]:
        options = self.options
        workers = 0 if self.train.in_memory else options.workers
        sampler = epoch_sampler(self.train, options, self.samples)
        if self.rank.count > 1:
            sampler = RankSampler(sampler, options.batch_size, self.rank)
        return DataLoader(
            Patches(self.train),
            batch_size=options.batch_size // self.rank.count,
            sampler=sampler,
            collate_fn=stack_samples,
            num_workers=workers,
            persistent_workers=workers > 0,
        )

    def _start(self) -> Path | None:
        self.folder.mkdir(parents=True, exist_ok=True)
        clear_parts(self.folder)
        if self.options.resume:
            return last_good(self.folder)
        for old in (*self.folder.glob("epoch-*.ckpt"), *self.folder.glob("epoch-*.sha256")):
            old.unlink()
        return None

    def _show_epoch(self, network: nn.Module, epoch: int) -> None:
        assert self.each_epoch is not None
        self.each_epoch(epoch, partial(predict_reading, network, self.preprocess))

    def _validate(self, network: nn.Module) -> Validation:
        device = next(network.parameters()).device
        return validate(network, self.validation, self.preprocess, device=device, seed=self.options.seed)

    def _compare(self, checked: Validation, baseline: tuple[BaselineResult, ...]) -> None:
        best = max(baseline, key=lambda b: (b.overall_accuracy, b.mean_iou))
        gain = checked.tally.overall_accuracy - best.overall_accuracy
        iou = checked.tally.mean_iou - best.mean_iou
        self._say(
            f"on the validation area the model reaches an overall accuracy of {checked.tally.overall_accuracy:.3f} "
            f"and a mean IoU of {checked.tally.mean_iou:.3f}: {gain:+.3f} and {iou:+.3f} against the {best.name}",
            "warning" if gain < 0 else "info",
        )

    def _bundle(
        self,
        network: nn.Module,
        loop: Loop,
        checked: Validation,
        change: CalibrationChange | None,
        baseline: tuple[BaselineResult, ...],
    ) -> Bundle:
        scene = self.train.scenes()[0]
        halo = halo_of(network, _TILE_PX)
        return Bundle(
            spec=self.spec,
            state={k: v.detach().cpu().contiguous() for k, v in network.state_dict().items()},
            bands=self.train.bands,
            classes=self.train.classes,
            preprocess=self.preprocess.to_json(),
            resolution_m=resolution_m(self.train),
            crs=str(scene.geobox.crs),
            tile_px=_TILE_PX,
            halo_px=halo,
            temperature=1.0 if change is None else change.temperature,
            training_area=area(self.train),
            sources=sources(self.train.dataset),
            metrics={
                "validation_overall_accuracy": checked.tally.overall_accuracy,
                "validation_mean_iou": checked.tally.mean_iou,
                "validation_iou": dict(zip(self.train.classes.names, checked.tally.iou, strict=True)),
                "validation_loss": checked.loss,
                "calibration": None if change is None else change.to_json(),
                "best_epoch": loop.best_epoch,
                "options": self.options.to_json(),
            },
            history=tuple(loop.history),
            baseline=tuple(b.to_json() for b in baseline),
            versions=software_versions(),
            created=datetime.now(UTC).isoformat(timespec="seconds"),
        )


def _check_alike(train: Sampled, validation: Sampled) -> None:
    for what, one, two in (
        ("bands", [b.name for b in train.bands], [b.name for b in validation.bands]),
        ("classes", train.classes, validation.classes),
    ):
        if one != two:
            raise BadInput(
                explain(
                    f"training and validation have other {what}", got=two, expected=one, fix="use one dataset"
                )
            )


def _device(name: str) -> str:
    if name != "auto":
        return name
    return "cuda" if torch.cuda.is_available() else "cpu"
