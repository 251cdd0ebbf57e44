"""Semantic segmentation as a Lightning module, with the arguments that users of TorchGeo know."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

import lightning.pytorch as pl
import torch
from torch import Tensor, nn

from geotoolbox.core.classes import IGNORE_INDEX
from geotoolbox.models.factory import ModelSpec, create_model
from geotoolbox.trainers.counts import Tally
from geotoolbox.trainers.losses import SegmentationLoss

__all__ = ["SemanticSegmentationTask", "one_cycle"]

Batch = dict[str, Any]
Preparation = Callable[[Tensor, Tensor], Tensor]
Change = Callable[[Batch], Batch]


class SemanticSegmentationTask(pl.LightningModule):
    """Trains a network on batches of ``image`` (N, C, H, W), ``mask`` (N, H, W) and ``valid`` (N, H, W).

    Pixels that are not valid reach neither the network (they become 0) nor the loss nor the scores.

    Args:
        model: An architecture's name (see ``list_architectures``), or a network.
        backbone: The encoder, for architectures that have one.
        weights: Name of pretrained encoder weights, or None.
        in_channels: Channels of the network's input (after ``preprocess``).
        num_classes: Channels of its output.
        width: Channels of the first stage of the small network and FCN-8s; 0 is their default.
        loss: ``ce``, ``focal``, ``dice``, ``jaccard``, or a sum such as ``ce+dice``.
        class_weights: One weight a class.
        ignore_index: The mask value without a label.
        label_smoothing: Share of the truth spread over all classes (cross entropy).
        lr: Learning rate; the peak for ``one-cycle``.
        patience: Epochs without a better ``val_loss`` until ``plateau`` divides the rate by ten.
        weight_decay: Of AdamW, on weights with more than one dimension.
        schedule: ``plateau``, ``one-cycle`` (needs ``total_steps``) or ``constant``.
        total_steps: Steps of the whole training.
        freeze_backbone: Leave the encoder's weights as they are.
        preprocess: Raw image and valid to the network's input, such as ``Preprocess``.
        augment: Changes a prepared training batch, such as ``Augment``.

    Example:
        >>> task = SemanticSegmentationTask("fcn8s", in_channels=1, num_classes=2, width=2)
        >>> batch = {"image": torch.ones(1, 1, 8, 8), "mask": torch.zeros(1, 8, 8, dtype=torch.long)}
        >>> float(task.training_step(batch, 0).detach()) > 0
        True
    """

    def __init__(
        self,
        model: str | nn.Module = "unet",
        backbone: str | None = "resnet18",
        weights: str | None = None,
        in_channels: int = 3,
        num_classes: int = 2,
        *,
        width: int = 0,
        loss: str = "ce",
        class_weights: Sequence[float] | Tensor | None = None,
        ignore_index: int = IGNORE_INDEX,
        label_smoothing: float = 0.0,
        lr: float = 1e-3,
        patience: int = 10,
        weight_decay: float = 1e-2,
        schedule: Literal["plateau", "one-cycle", "constant"] = "plateau",
        total_steps: int | None = None,
        freeze_backbone: bool = False,
        preprocess: Preparation | None = None,
        augment: Change | None = None,
    ) -> None:
        super().__init__()
        if isinstance(model, str):
            spec = ModelSpec(model, backbone, in_channels, num_classes, weights, width)
            model = create_model(spec)
        # Channels last: the same sums in another order in memory, a quarter to a third quicker on processors.
        self.model = model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.criterion = SegmentationLoss(loss, class_weights, ignore_index, label_smoothing)
        self.num_classes, self.ignore_index = num_classes, ignore_index
        self.lr, self.patience, self.weight_decay = lr, patience, weight_decay
        self.schedule, self.total_steps, self.least_share = schedule, total_steps, 0.0
        self.preprocess, self.augment = preprocess, augment
        self._tallies = {"val": Tally(num_classes), "test": Tally(num_classes)}
        if freeze_backbone:
            _freeze(self.model)

    def forward(self, image: Tensor) -> Tensor:
        """Map a prepared image (N, C, H, W) to logits (N, K, H, W)."""
        logits: Tensor = self.model(image)
        return logits

    def prepare(self, batch: Mapping[str, Any]) -> Batch:
        """Return a batch with a prepared image, and a mask that is ignored where not valid."""
        image = batch["image"]
        valid = batch.get("valid")
        if valid is None:
            valid = torch.ones_like(image[:, 0], dtype=torch.bool)
        out: Batch = {**batch, "valid": valid}
        if "mask" in batch:
            out["mask"] = torch.where(valid, batch["mask"], self.ignore_index)
        prepared = image if self.preprocess is None else self.preprocess(image, valid)
        whole = torch.where(valid[:, None], prepared, 0.0)
        out["image"] = whole.contiguous(memory_format=torch.channels_last)
        return out

    def training_step(self, batch: Mapping[str, Any], batch_idx: int) -> Tensor:
        """Return the loss of a batch."""
        ready = self.prepare(batch)
        if self.augment is not None:
            ready = self.augment(ready)
        loss: Tensor = self.criterion(self(ready["image"]), ready["mask"])
        self._note("train_loss", loss, len(ready["image"]), on_step=True)
        return loss

    def validation_step(self, batch: Mapping[str, Any], batch_idx: int) -> Tensor:
        """Count a validation batch and return its loss."""
        return self._evaluate("val", batch)

    def test_step(self, batch: Mapping[str, Any], batch_idx: int) -> Tensor:
        """Count a test batch and return its loss."""
        return self._evaluate("test", batch)

    def predict_step(self, batch: Mapping[str, Any], batch_idx: int) -> Tensor:
        """Return class probabilities (N, K, H, W) of a batch."""
        return torch.softmax(self(self.prepare(batch)["image"]).float(), dim=1)

    def on_validation_epoch_start(self) -> None:
        """Start a new count."""
        self._tallies["val"] = Tally(self.num_classes)

    def on_test_epoch_start(self) -> None:
        """Start a new count."""
        self._tallies["test"] = Tally(self.num_classes)

    def on_validation_epoch_end(self) -> None:
        """Log ``val_mean_iou`` and ``val_overall_accuracy``."""
        self._note_scores("val")

    def on_test_epoch_end(self) -> None:
        """Log ``test_mean_iou`` and ``test_overall_accuracy``."""
        self._note_scores("test")

    def configure_optimizers(self) -> Any:
        """Return AdamW and the schedule."""
        trained = [p for p in self.parameters() if p.requires_grad]
        groups = [
            {"params": [p for p in trained if p.ndim > 1], "weight_decay": self.weight_decay},
            {"params": [p for p in trained if p.ndim <= 1], "weight_decay": 0.0},
        ]
        optimizer = torch.optim.AdamW(groups, lr=self.lr)
        if self.schedule == "one-cycle":
            factor = torch.optim.lr_scheduler.LambdaLR(optimizer, self._learning_rate_factor)
            return {"optimizer": optimizer, "lr_scheduler": {"scheduler": factor, "interval": "step"}}
        if self.schedule == "plateau":
            plateau = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, patience=self.patience)
            return {
                "optimizer": optimizer,
                "lr_scheduler": {"scheduler": plateau, "monitor": "val_loss", "strict": False},
            }
        return optimizer

    def _learning_rate_factor(self, step: int) -> float:
        """Follow the steps, or the share that the time limit asks for where that is further."""
        total = self.total_steps or 1
        return one_cycle(max(step, self.least_share * total), total)

    def _evaluate(self, stage: Literal["val", "test"], batch: Mapping[str, Any]) -> Tensor:
        ready = self.prepare(batch)
        logits = self(ready["image"])
        loss: Tensor = self.criterion(logits, ready["mask"])
        self._tallies[stage].add(ready["mask"].cpu().numpy(), logits.argmax(dim=1).cpu().numpy())
        self._note(f"{stage}_loss", loss, len(logits), on_step=False)
        return loss

    def _note_scores(self, stage: Literal["val", "test"]) -> None:
        tally = self._tallies[stage]
        self.log(f"{stage}_mean_iou", tally.mean_iou, prog_bar=True)
        self.log(f"{stage}_overall_accuracy", tally.overall_accuracy)

    def _note(self, name: str, value: Tensor, count: int, *, on_step: bool) -> None:
        if self._trainer is not None:
            self.log(name, value, batch_size=count, prog_bar=True, on_epoch=True, on_step=on_step)


def one_cycle(step: float, total_steps: int, warm_up: float = 0.2) -> float:
    """Return the factor of the learning rate: up from 1/25 in the first part, then down to 1/10,000 (cosine).

    Example:
        >>> round(one_cycle(0, 100), 3), round(one_cycle(20, 100), 3), round(one_cycle(100, 100), 3)
        (0.04, 1.0, 0.0)
    """
    peak = max(warm_up * total_steps, 1.0)
    if step < peak:
        low, share = 0.04, step / peak
        return low + (1 - low) * (1 - math.cos(math.pi * share)) / 2
    share = min((step - peak) / max(total_steps - peak, 1.0), 1.0)
    return 1e-4 + (1 - 1e-4) * (1 + math.cos(math.pi * share)) / 2


def _freeze(model: nn.Module) -> None:
    network = getattr(model, "network", model)
    encoder = getattr(network, "encoder", None)
    for parameter in encoder.parameters() if isinstance(encoder, nn.Module) else ():
        parameter.requires_grad = False
