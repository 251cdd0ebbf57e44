"""Losses over labelled pixels: cross entropy, focal, Dice, Jaccard, and sums of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from geotoolbox.core.classes import IGNORE_INDEX
from geotoolbox.errors import BadInput, explain

__all__ = ["LOSSES", "SegmentationLoss"]

LOSSES = ("ce", "focal", "dice", "jaccard")
_EPSILON = 1e-6
_GAMMA = 2.0  # Lin et al. 2017


class SegmentationLoss(nn.Module):
    """A sum of losses, each a mean over the labelled pixels; 0 where there is no labelled pixel.

    Args:
        name: ``ce``, ``focal``, ``dice``, ``jaccard``, or several joined by ``+``, such as ``"ce+dice"``.
        class_weights: One weight a class; for Dice and Jaccard they weigh the classes' terms.
        ignore_index: The mask value without a label.
        label_smoothing: Share of the truth spread over all classes (cross entropy only).

    Raises:
        BadInput: For an unknown name.

    Example:
        >>> loss = SegmentationLoss("ce")
        >>> logits = torch.zeros(1, 4, 2, 2)
        >>> round(float(loss(logits, torch.zeros(1, 2, 2, dtype=torch.long))), 4)
        1.3863
    """

    weights: Tensor | None

    def __init__(
        self,
        name: str = "ce",
        class_weights: Sequence[float] | Tensor | None = None,
        ignore_index: int = IGNORE_INDEX,
        label_smoothing: float = 0.0,
    ) -> None:
        super().__init__()
        self.parts = tuple(p.strip() for p in name.split("+"))
        unknown = [p for p in self.parts if p not in LOSSES]
        if unknown:
            raise BadInput(
                explain("unknown loss", got=repr(name), expected=" or ".join(LOSSES) + ", or sums with +")
            )
        weights = None if class_weights is None else torch.as_tensor(class_weights, dtype=torch.float32)
        self.register_buffer("weights", weights, persistent=False)
        self.ignore_index, self.label_smoothing = ignore_index, label_smoothing
        self.total: Callable[[Tensor], Tensor] | None = None  # over all processes that share a batch

    def forward(self, logits: Tensor, mask: Tensor) -> Tensor:
        """Compute the loss of logits (N, K, H, W) against class indices (N, H, W)."""
        labelled = mask != self.ignore_index
        if self.total is None and not bool(labelled.any()):
            return logits.sum() * 0.0
        flat, truth = logits.movedim(1, -1), mask
        if bool(labelled.all()):  # no copy, forward and backward
            flat, truth = flat.flatten(0, 2).float(), truth.flatten()
        else:
            flat, truth = flat[labelled].float(), truth[labelled]
        if self.weights is not None and len(self.weights) != logits.shape[1]:
            raise BadInput(
                explain("not one weight a class", got=len(self.weights), expected=int(logits.shape[1]))
            )
        return torch.stack([self._part(p)(flat, truth) for p in self.parts]).sum()

    def _part(self, name: str) -> Callable[[Tensor, Tensor], Tensor]:
        return {"ce": self._ce, "focal": self._focal, "dice": self._dice, "jaccard": self._jaccard}[name]

    def _ce(self, logits: Tensor, truth: Tensor) -> Tensor:
        if self.total is not None:
            summed = F.cross_entropy(
                logits, truth, self.weights, label_smoothing=self.label_smoothing, reduction="sum"
            )
            return self._share(summed, self._weight_of(truth))
        if self.weights is not None and not bool(self.weights[truth].any()):
            return logits.sum() * 0.0
        return F.cross_entropy(logits, truth, self.weights, label_smoothing=self.label_smoothing)

    def _focal(self, logits: Tensor, truth: Tensor) -> Tensor:
        surprise = F.cross_entropy(logits, truth, reduction="none")
        focal = (1 - torch.exp(-surprise)) ** _GAMMA * surprise
        if self.total is not None:
            weight = self._weight_of(truth)
            return self._share((focal * weight).sum(), weight)
        if self.weights is None:
            return focal.mean()
        weight = self.weights[truth]
        return (focal * weight).sum() / weight.sum().clamp_min(_EPSILON)

    def _dice(self, logits: Tensor, truth: Tensor) -> Tensor:
        both, sums, present = self._overlaps(logits, truth)
        return self._mean(1 - (2 * both + _EPSILON) / (sums + _EPSILON), present)

    def _jaccard(self, logits: Tensor, truth: Tensor) -> Tensor:
        both, sums, present = self._overlaps(logits, truth)
        return self._mean(1 - (both + _EPSILON) / (sums - both + _EPSILON), present)

    def _mean(self, terms: Tensor, present: Tensor) -> Tensor:
        weight = present.float() if self.weights is None else present * self.weights
        return (terms * weight).sum() / weight.sum().clamp_min(_EPSILON)

    def _overlaps(self, logits: Tensor, truth: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return, by class, probability mass on the class's pixels, total mass of both, and presence."""
        probability = logits.softmax(dim=1)
        hot = F.one_hot(truth, logits.shape[1]).to(probability.dtype)
        both, sums, pixels = (probability * hot).sum(dim=0), probability.sum(dim=0), hot.sum(dim=0)
        if self.total is not None:
            both, sums, pixels = self.total(torch.stack([both, sums, pixels]))
        return both, sums + pixels, pixels > 0

    def _weight_of(self, truth: Tensor) -> Tensor:
        return torch.ones_like(truth, dtype=torch.float32) if self.weights is None else self.weights[truth]

    def _share(self, summed: Tensor, weight: Tensor) -> Tensor:
        """Return the mean over the pixels of all processes."""
        assert self.total is not None
        above, below = self.total(torch.stack([summed, weight.sum()]))
        return above / below.clamp_min(_EPSILON)
