"""The settings of a training run, with their units and defaults."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

from geotoolbox.errors import BadInput, explain

__all__ = ["CLASS_WEIGHT_POWERS", "TrainOptions"]

CLASS_WEIGHT_POWERS: Mapping[str, float] = {"none": 0.0, "soft": 0.25, "balanced": 1.0}
"""A class of frequency f gets the weight f to the power of minus this."""

_NO_MATTER = ("resume", "workers", "processes", "memory_mb", "baseline", "keep_checkpoints", "keep_best")


@dataclass(frozen=True, slots=True)
class TrainOptions:
    """How to train.

    The defaults are for a CPU with two cores and some minutes; they hold from a few hundred thousand to some
    million labelled pixels.

    Attributes:
        model: ``"auto"`` (the small network on a CPU, a U-Net on a GPU) or an architecture's name.
        encoder: The encoder, for architectures that have one.
        encoder_weights: Pretrained weights of the encoder, by name (needs the network), or None.
        width: Channels of the first stage of the small network and FCN-8s; 0 is their own default.
        indices: Spectral indices to append to the bands, by name or ``name = expression``.
        normalise: From which statistics of the training area: ``mean_std``, ``min_max``, ``percentile``.
        patch_px: Side of a training patch, in pixels.
        batch_size: Patches in one step.
        patches_per_epoch: Patches between two validations.
        epochs: Passes at most.
        max_minutes: Training is planned to end within this time, in minutes; None for no limit.
        learning_rate: The peak of the one-cycle schedule.
        weight_decay: Of AdamW, on weights with more than one dimension.
        loss: ``ce``, ``focal``, ``dice``, ``jaccard``, or several joined by ``+``.
        label_smoothing: Share of the truth spread over all classes (cross entropy), 0 to 1.
        class_weights: ``none``, ``soft`` (frequency^-0.25) or ``balanced`` (frequency^-1).
        class_balanced: Draw patches around each class alike.
        minimum_labelled: Patches with a smaller share of labelled pixels are drawn anew.
        augment: Flip, turn and brighten.
        ema_decay: How slowly the averaged weights follow (they are what is kept); 0 for no average.
        gradient_clip: The largest norm of a gradient.
        patience_epochs: Stop when the validation has not improved for so long; None for never.
        keep_best: Keep the epoch that validated best, instead of the last.
        calibrate: Fit a temperature on the validation pixels.
        baseline: Compare with the majority class and a random forest.
        allow_single_class: Train although there is one class only.
        device: ``auto``, ``cpu``, ``cuda`` or ``mps``.
        precision: ``auto``, ``32``, ``16-mixed`` or ``bf16-mixed``.
        workers: Processes that read patches; 0 reads in the main process.
        processes: Processes that train together, each on a part of every batch (one for each GPU, or on the
            processors); the losses are the same to rounding. Not for networks with parameters that a step does
            not use.
        memory_mb: Images and labels up to this size are read once and kept in memory, in MB.
        keep_checkpoints: How many checkpoints stay on the disk, at least 2.
        resume: Go on from the last good checkpoint of the same run.
        seed: One number that repeats the run.

    Raises:
        BadInput: At construction, when a value is out of range.

    Example:
        >>> TrainOptions(epochs=2).steps_per_epoch
        30
    """

    model: str = "auto"
    encoder: str | None = None
    encoder_weights: str | None = None
    width: int = 0
    indices: tuple[str, ...] = ()
    normalise: Literal["mean_std", "min_max", "percentile"] = "mean_std"
    patch_px: int = 96
    batch_size: int = 8
    patches_per_epoch: int = 240
    epochs: int = 28
    max_minutes: float | None = 8.0
    learning_rate: float = 4e-3
    weight_decay: float = 1e-2
    loss: str = "ce"
    label_smoothing: float = 0.05
    class_weights: Literal["none", "soft", "balanced"] = "soft"
    class_balanced: bool = False
    minimum_labelled: float = 0.3
    augment: bool = True
    ema_decay: float = 0.99
    gradient_clip: float = 1.0
    patience_epochs: int | None = None
    keep_best: bool = True
    calibrate: bool = True
    baseline: bool = True
    allow_single_class: bool = False
    device: Literal["auto", "cpu", "cuda", "mps"] = "auto"
    precision: Literal["auto", "32", "16-mixed", "bf16-mixed"] = "auto"
    workers: int = 0
    processes: int = 1
    memory_mb: int = 1500
    keep_checkpoints: int = 2
    resume: bool = True
    seed: int = 0

    def __post_init__(self) -> None:
        for name, least, most in (
            ("patch_px", 8, 4096), ("batch_size", 1, 4096), ("patches_per_epoch", 1, 10**9),
            ("epochs", 1, 10**6), ("learning_rate", 1e-9, 10), ("weight_decay", 0, 10),
            ("label_smoothing", 0, 0.99), ("minimum_labelled", 0, 1), ("ema_decay", 0, 0.99999),
            ("gradient_clip", 0, 1e6), ("workers", 0, 256), ("keep_checkpoints", 2, 10**6),
            ("seed", 0, 2**31 - 1), ("memory_mb", 0, 10**7), ("processes", 1, 256),
        ):  # fmt: skip
            self._check(name, least, most)
        for name in ("max_minutes", "patience_epochs"):
            if getattr(self, name) is not None:
                self._check(name, 1e-6, 10**6)
        if self.batch_size % self.processes:
            raise BadInput(
                explain(
                    "the batch cannot be shared evenly",
                    got=f"{self.batch_size} patches, {self.processes} processes",
                    fix=f"use a batch size that is a multiple of {self.processes}",
                )
            )
        if self.class_weights not in CLASS_WEIGHT_POWERS:
            raise BadInput(
                explain(
                    "unknown class weights", got=self.class_weights, expected=", ".join(CLASS_WEIGHT_POWERS)
                )
            )

    def _check(self, name: str, least: float, most: float) -> None:
        value = getattr(self, name)
        if not least <= value <= most:
            raise BadInput(
                explain(
                    "a training option is out of range", where=name, got=value, expected=f"{least} to {most}"
                )
            )

    @property
    def steps_per_epoch(self) -> int:
        """Steps between two validations."""
        return -(-self.patches_per_epoch // self.batch_size)

    def to_json(self) -> dict[str, Any]:
        """Return the options for JSON."""
        return asdict(self)

    def fingerprint(self, *more: object) -> str:
        """Return a short hash of all that changes the result, and of whatever else is given."""
        kept = {k: v for k, v in self.to_json().items() if k not in _NO_MATTER}
        text = json.dumps([kept, *map(str, more)], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:12]
