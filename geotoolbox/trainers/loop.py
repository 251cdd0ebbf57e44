"""What happens around the steps: averaged weights, validation, checkpoints, progress, the time limit."""

from __future__ import annotations

import copy
import logging
import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import torch
from torch import Tensor, nn

from geotoolbox.core.events import Log, Metric, Reporter, Stage
from geotoolbox.trainers.checkpoints import write_checkpoint
from geotoolbox.trainers.options import TrainOptions
from geotoolbox.trainers.task import SemanticSegmentationTask
from geotoolbox.trainers.validation import Validation

__all__ = ["History", "Loop"]

_log = logging.getLogger(__name__)
History = list[dict[str, Any]]
_SHARE = 0.9  # of the time limit: the schedule has ended then, and the rest is for the last validation
_SLACK = 0.15  # of the time limit: until then, a slow start (or a busy machine) does not hurry the schedule


class Loop(pl.Callback):
    """Drives a training and reports on it.

    Args:
        options: The settings.
        folder: Where checkpoints go.
        check: Validates a network.
        reporter: Hears of progress and can cancel.

    Attributes:
        history: One row for each epoch that is done.
        best: The weights to keep, and ``best_epoch`` (from 1) that they are of.
    """

    def __init__(
        self,
        options: TrainOptions,
        folder: Path,
        check: Callable[[nn.Module], Validation],
        reporter: Reporter,
    ) -> None:
        self.options, self.folder, self.check, self.reporter = options, folder, check, reporter
        self.epochs = options.epochs
        self.history: History = []
        self.best: dict[str, Tensor] = {}
        self.best_epoch, self.best_score = 0, -math.inf
        self.average: nn.Module | None = None
        self._average_state: dict[str, Tensor] = {}
        self.finished = False
        self._spent_s, self._start = 0.0, 0.0
        self._losses: list[Tensor] = []
        self._stage: Stage | None = None
        self.each_epoch: Callable[[nn.Module, int], None] | None = None
        self.agree: Callable[[float], float] = float  # on a time, where several processes train
        self.writes = True

    @property
    def seconds(self) -> float:
        """Seconds spent so far, over all resumed parts."""
        return self._spent_s + (time.monotonic() - self._start if self._start else 0.0)

    def state_dict(self) -> dict[str, Any]:
        """Return what a resumed training needs to know."""
        return {
            "epochs": self.epochs,
            "history": self.history,
            "best": self.best,
            "best_epoch": self.best_epoch,
            "best_score": self.best_score,
            "average": {} if self.average is None else self.average.state_dict(),
            "seconds": self.seconds,
            "finished": self.finished,
        }

    def resume_finished(self, checkpoint: Path) -> bool:
        """Take everything from a checkpoint of a run that had come to its end; tell whether it had."""
        saved = torch.load(checkpoint, map_location="cpu", weights_only=True)
        state = saved["callbacks"][self.state_key]
        if state["finished"]:
            self.load_state_dict(state)
        return bool(state["finished"])

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take up where :meth:`state_dict` left off."""
        self.epochs, self.history = int(state_dict["epochs"]), list(state_dict["history"])
        self.best, self.best_epoch = state_dict["best"], int(state_dict["best_epoch"])
        self.best_score, self._spent_s = float(state_dict["best_score"]), float(state_dict["seconds"])
        self._average_state = state_dict["average"]

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Make the averaged network, and go on counting where a stopped run ended."""
        self._start = time.monotonic()
        task = _task(pl_module)
        self.average = copy.deepcopy(task.model).requires_grad_(False)
        if self._average_state:
            self.average.load_state_dict(self._average_state)
        trainer.fit_loop.max_epochs = self.epochs
        task.total_steps = self.epochs * self.options.steps_per_epoch
        self._stage = Stage(self.reporter, "train", task.total_steps)
        self._stage.done = float(trainer.global_step)
        if self.history:
            self.reporter.emit(Log(f"going on after epoch {len(self.history)} of {self.epochs}"))

    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Seed each step by its number, so that a resumed run draws what a whole run would have drawn."""
        torch.manual_seed(self.options.seed * 1_000_003 + trainer.global_step)
        _task(pl_module).least_share = self.time_share()

    def time_share(self) -> float:
        """Return how far the schedule must be by now to end in time, 0 to 1.

        The learning rate follows the steps done, or the time spent where that is further. So a slow machine
        ends with a full schedule of fewer steps; and where the steps fit into the time, the time changes nothing.
        """
        if self.options.max_minutes is None:
            return 0.0
        spent = self.agree(self.seconds / (self.options.max_minutes * 60 * _SHARE))
        return min(max((spent - _SLACK) / (1 - _SLACK), 0.0), 1.0)

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Follow with the average, report, and stop when the time is over."""
        loss = outputs["loss"] if isinstance(outputs, dict) else outputs
        self._losses.append(loss.detach())
        self._follow(_task(pl_module).model, trainer.global_step)
        self._report(trainer.global_step, trainer.current_epoch + 1)
        if self.time_share() >= 1 and not trainer.should_stop:
            self._say(
                f"the time limit of {self.options.max_minutes:g} minutes is reached: training ends in epoch "
                f"{trainer.current_epoch + 1} of {self.epochs} (raise it for all of them)"
            )
            trainer.should_stop = True

    def _report(self, step: int, epoch: int) -> None:
        """Tell how far it is: by the steps, or by the time where that ends first."""
        assert self._stage is not None
        share = step / self._stage.total
        if self.options.max_minutes is not None:
            share = max(share, self.seconds / (self.options.max_minutes * 60 * _SHARE))
        done = min(share, 1.0) * self._stage.total
        self._stage.advance(max(done - self._stage.done, 0.0), self._message(epoch))

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Validate, write down the epoch, keep the best, and save."""
        assert self.average is not None
        result = self.check(self.average)
        row = self._row(trainer, result)
        self.history.append(row)
        for name in ("train_loss", "val_loss", "val_mean_iou", "val_overall_accuracy"):
            self.reporter.emit(Metric(name, row[name], row["epoch"]))
        if self.each_epoch is not None:
            self.each_epoch(self.average, row["epoch"])
        self._judge(row)
        self._warn_of_time()
        patience = self.options.patience_epochs
        if patience is not None and row["epoch"] - self.best_epoch >= patience:
            self._say(
                f"no better validation for {patience} epochs: training stops after epoch {row['epoch']}"
            )
            trainer.should_stop = True
        self.finished = trainer.should_stop or row["epoch"] >= self.epochs
        if self.writes:
            write_checkpoint(
                self.folder, row["epoch"], trainer.save_checkpoint, self.options.keep_checkpoints
            )
        else:
            trainer.save_checkpoint(self.folder / "not-written")  # where all must meet

    def _row(self, trainer: pl.Trainer, result: Validation) -> dict[str, Any]:
        losses = torch.stack(self._losses) if self._losses else torch.full((1,), math.nan)
        self._losses = []
        return {
            "epoch": trainer.current_epoch + 1,
            "step": trainer.global_step,
            "learning_rate": float(trainer.optimizers[0].param_groups[0]["lr"]),
            "train_loss": float(losses.double().mean()),
            "val_loss": result.loss,
            "val_mean_iou": result.tally.mean_iou,
            "val_overall_accuracy": result.tally.overall_accuracy,
            "seconds": self.seconds,
        }

    def _judge(self, row: dict[str, Any]) -> None:
        """Keep the weights of the epoch whose overall accuracy and mean IoU are best on average."""
        score = (row["val_mean_iou"] + row["val_overall_accuracy"]) / 2
        if math.isnan(score):
            score = -math.inf
        if not self.options.keep_best or score >= self.best_score:
            assert self.average is not None
            self.best = {k: v.detach().cpu().clone() for k, v in self.average.state_dict().items()}
            self.best_epoch, self.best_score = row["epoch"], score

    @torch.no_grad()
    def _follow(self, model: nn.Module, step: int) -> None:
        assert self.average is not None
        decay = min(self.options.ema_decay, step / (9 + step))
        for mine, new in zip(self.average.state_dict().values(), model.state_dict().values(), strict=True):
            if mine.dtype.is_floating_point and decay > 0:
                mine.lerp_(new, 1 - decay)
            else:
                mine.copy_(new)

    def _warn_of_time(self) -> None:
        """After the first epoch, say so when not all epochs will fit into the time."""
        limit = self.options.max_minutes
        if limit is None or len(self.history) != 1:
            return
        one = self.history[0]["seconds"]
        affordable = max(1, int(limit * 60 * _SHARE / max(one, 1e-6)))
        if affordable < self.epochs:
            self._say(
                f"an epoch takes {one:.0f} s: about {affordable} of {self.epochs} epochs fit into {limit:g} minutes "
                "(raise the time for all)"
            )

    def _message(self, epoch: int) -> str:
        loss = float(torch.stack(self._losses).mean())
        text = f"epoch {epoch}/{self.epochs}, loss {loss:.3f}"
        return f"{text}, mIoU {self.history[-1]['val_mean_iou']:.3f}" if self.history else text

    def _say(self, message: str) -> None:
        _log.warning(message)
        self.reporter.emit(Log(message, "warning"))


def _task(module: pl.LightningModule) -> SemanticSegmentationTask:
    assert isinstance(module, SemanticSegmentationTask)
    return module
