"""What a training gives, and the model's bundle made of it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

from torch import nn

from geotoolbox.models.bundle import Bundle, software_versions
from geotoolbox.models.factory import ModelSpec, halo_of
from geotoolbox.trainers.baseline import BaselineResult
from geotoolbox.trainers.calibrating import CalibrationChange
from geotoolbox.trainers.counts import Counts
from geotoolbox.trainers.facts import area, resolution_m, sources
from geotoolbox.trainers.loop import History, Loop
from geotoolbox.trainers.options import TrainOptions
from geotoolbox.trainers.points import Points
from geotoolbox.trainers.source import Source
from geotoolbox.trainers.validation import Validation
from geotoolbox.transforms.preprocess import Preprocess

__all__ = ["Checked", "TrainResult", "make_bundle"]

_TILE_PX = 384


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


@dataclass(frozen=True, slots=True)
class Checked:
    """What was found about the kept network.

    Attributes:
        validation: Counts, scores and logits on the validation area.
        calibration: The temperature and what it changes; None where it was not asked for or not possible.
        baselines: Simple baselines on the same area.
    """

    validation: Validation
    calibration: CalibrationChange | None
    baselines: tuple[BaselineResult, ...]

    def comparison(self) -> tuple[str, bool]:
        """Return how the network compares with the best baseline, in words, and whether it is worse."""
        best = max(self.baselines, key=lambda b: (b.overall_accuracy, b.mean_iou))
        own = self.validation.tally
        gain, iou = own.overall_accuracy - best.overall_accuracy, own.mean_iou - best.mean_iou
        return (
            f"on the validation area the model reaches an overall accuracy of {own.overall_accuracy:.3f} "
            f"and a mean IoU of {own.mean_iou:.3f}: {gain:+.3f} and {iou:+.3f} against the {best.name}",
            gain < 0,
        )


def make_bundle(
    network: nn.Module,
    spec: ModelSpec,
    train: Source,
    preprocess: Preprocess,
    *,
    loop: Loop,
    checked: Checked,
    options: TrainOptions,
) -> Bundle:
    """Put together what is saved: weights, what they need, and where they come from.

    Args:
        network: With the kept weights.
        spec: What makes the network anew.
        train: What it was trained on.
        preprocess: Raw image to the network's input.
        loop: The training's history.
        checked: What was found about it.
        options: How it was trained.
    """
    validation, change = checked.validation, checked.calibration
    return Bundle(
        spec=spec,
        state={k: v.detach().cpu().contiguous() for k, v in network.state_dict().items()},
        bands=train.bands,
        classes=train.classes,
        preprocess=preprocess.to_json(),
        resolution_m=resolution_m(train),
        crs=str(train.scenes()[0].geobox.crs),
        tile_px=_TILE_PX,
        halo_px=halo_of(network, _TILE_PX),
        temperature=1.0 if change is None else change.temperature,
        training_area=area(train),
        sources=sources(train.dataset),
        metrics={
            "validation_overall_accuracy": validation.tally.overall_accuracy,
            "validation_mean_iou": validation.tally.mean_iou,
            "validation_iou": dict(zip(train.classes.names, validation.tally.iou, strict=True)),
            "validation_loss": validation.loss,
            "calibration": None if change is None else change.to_json(),
            "best_epoch": loop.best_epoch,
            "options": options.to_json(),
        },
        history=tuple(loop.history),
        baseline=tuple(b.to_json() for b in checked.baselines),
        versions=software_versions(),
        created=datetime.now(UTC).isoformat(timespec="seconds"),
    )
