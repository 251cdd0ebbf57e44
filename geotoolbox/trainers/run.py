"""One training from checks to result, in one process or as one of several."""

from __future__ import annotations

import copy
import logging
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

import torch
import torch.distributed as dist
from torch import nn

from geotoolbox.core.events import SILENT, Log, Reporter
from geotoolbox.core.files import check_writable
from geotoolbox.errors import BadInput, Cancelled, explain
from geotoolbox.models.devices import find_device
from geotoolbox.models.factory import ModelSpec, create_model, resolve_spec
from geotoolbox.sampling.disjoint import metric_crs
from geotoolbox.sampling.protocol import Sampled
from geotoolbox.sampling.samplelist import SampleList
from geotoolbox.trainers.baseline import BaselineResult, run_baselines
from geotoolbox.trainers.calibrating import calibrate
from geotoolbox.trainers.checkpoints import clear_parts, last_good
from geotoolbox.trainers.checks import (
    check_alike,
    check_choices,
    check_held_out,
    check_learnable,
    check_team,
)
from geotoolbox.trainers.guards import named_workers, quiet
from geotoolbox.trainers.launching import launch
from geotoolbox.trainers.listing import identity_of, usable_samples
from geotoolbox.trainers.loop import Loop
from geotoolbox.trainers.making import make_loader, make_task, make_trainer
from geotoolbox.trainers.options import TrainOptions
from geotoolbox.trainers.points import draw_points
from geotoolbox.trainers.ranks import Rank, from_first, joined, launched
from geotoolbox.trainers.result import Checked, TrainResult, make_bundle
from geotoolbox.trainers.source import Source
from geotoolbox.trainers.validation import EpochHook, Validation, predict_reading, validate
from geotoolbox.transforms.preprocess import Preprocess
from geotoolbox.transforms.statistics import compute_statistics

__all__ = ["Run"]

_log = logging.getLogger(__name__)
_POINTS = 2000


class Run:
    """One training; :func:`geotoolbox.trainers.train_segmentation` is its door.

    Args:
        train: Images with labels to learn from.
        validation: The same elsewhere.
        options: How to train.
        work_dir: Where checkpoints go, in a folder of this run's own.
        reporter: Hears of it, and can cancel.
        samples: The windows to train on; None draws windows at random.
        each_epoch: Is called after each epoch.

    Raises:
        BadInput: When the parts do not fit together, or the work folder cannot be written to.
        BadLabels: When there is nothing to learn, or nothing to validate on.
    """

    def __init__(
        self, train: Sampled, validation: Sampled, options: TrainOptions, work_dir: Path, reporter: Reporter,
        *, samples: SampleList | None = None, each_epoch: EpochHook | None = None,
    ) -> None:  # fmt: skip
        self.options, self.reporter, self.notes = options, reporter, list[str]()
        self.each_epoch = each_epoch
        self.rank = Rank()
        check_alike(train, validation)
        check_choices(options, train)
        self.device = find_device(options.device, best=("cuda",))
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
        self.spec = resolve_spec(self._spec(), self.device)
        self.folder = work_dir / f"run-{options.fingerprint(*self._identity())}"

    def fit(self) -> Loop:
        """Train, from the last good checkpoint where there is one."""
        rank = launched()
        if rank.count > 1:
            return self._fit_as(rank)
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

    def shared(self) -> Callable[[Rank, Reporter], None]:
        """Return the training as one of several processes does it."""
        if self.each_epoch is not None:
            self._say("places are not looked at while several processes train", "info")
        own = copy.copy(self)  # without what cannot be sent to a process
        own.reporter, own.each_epoch = SILENT, None
        return own.as_rank

    def as_rank(self, rank: Rank, reporter: Reporter) -> None:
        """Train as one of several processes, from the last good checkpoint where there is one."""
        self._train_as(rank, reporter)

    def _train_as(self, rank: Rank, reporter: Reporter) -> Loop:
        self.rank, self.reporter = rank, reporter
        torch.manual_seed(self.options.seed)
        loop = Loop(self.options, self.folder, self._validate, reporter)
        loop.agree, loop.writes = from_first, rank.first
        if rank.first and self.each_epoch is not None:
            loop.each_epoch = self._show_epoch
        start = last_good(self.folder)
        if start is None or not loop.resume_finished(start):
            self._train(loop, start)
        return loop

    def _fit_as(self, rank: Rank) -> Loop:
        """Train as one of the processes that a launcher has started; each ends with the same result."""
        check_team(self.options, rank.count)
        with joined(rank, self.device):
            if rank.first:
                self._start()
            dist.barrier()
            return self._train_as(rank, self.reporter if rank.first else SILENT)

    def finish(self, loop: Loop) -> TrainResult:
        """Test what was kept, compare with the baselines, and put the bundle together.

        Raises:
            BadInput: When no epoch was finished.
        """
        if not loop.best:
            raise BadInput(
                explain("no epoch could be finished", fix="raise max_minutes, or choose a smaller network")
            )
        network = create_model(replace(self.spec, encoder_weights=None))
        network.load_state_dict(loop.best)
        network.eval().requires_grad_(False)
        checked = self._check(network)
        return TrainResult(
            bundle=make_bundle(
                network,
                self.spec,
                self.train,
                self.preprocess,
                loop=loop,
                checked=checked,
                options=self.options,
            ),
            module=network,
            history=loop.history,
            best_epoch=loop.best_epoch,
            confusion=checked.validation.tally.counts,
            baselines=checked.baselines,
            class_pixels=tuple(int(n) for n in self.counts),
            points=draw_points(
                self.train, self.preprocess, _POINTS, metric_crs(self.train.scenes()), seed=self.options.seed
            ),
            notes=tuple(self.notes),
            seconds=loop.seconds,
        )

    def _train(self, loop: Loop, start: Path | None) -> None:
        task = make_task(self.spec, self.preprocess, self.counts, self.options, self.rank)
        trainer = make_trainer(loop, self.options, self.device, self.rank, self.folder)
        loader = make_loader(self.train, self.options, self.samples, self.rank)
        with quiet(), named_workers():
            trainer.fit(task, loader, ckpt_path=start, weights_only=True if start else None)
        if trainer.interrupted:
            raise Cancelled("cancelled: finished work is kept; run the same command to go on.")

    def _check(self, network: nn.Module) -> Checked:
        validation = validate(network, self.validation, self.preprocess, seed=self.options.seed)
        change = calibrate(validation) if self.options.calibrate else None
        if change is not None:
            self._say(change.sentence(), "info")
        baselines: tuple[BaselineResult, ...] = ()
        if self.options.baseline:
            baselines = run_baselines(
                self.train, self.validation, self.preprocess, seed=self.options.seed, reporter=self.reporter
            )
        checked = Checked(validation, change, baselines)
        if baselines:
            words, worse = checked.comparison()
            self._say(words, "warning" if worse else "info")
        return checked

    def _say(self, message: str, level: str = "warning") -> None:
        self.notes.append(message)
        self.reporter.emit(Log(message, "warning" if level == "warning" else "info"))
        _log.log(logging.WARNING if level == "warning" else logging.INFO, message)

    def _check_classes(self) -> None:
        names = self.train.classes.names
        check_learnable(names, self.counts, single=self.options.allow_single_class, say=self._say)
        check_held_out(names, self.counts, self.validation.class_counts(), say=self._say)

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
