"""Validation on whole blocks: each pixel once, with context around it; and calibration."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from geotoolbox.core.query import Reading
from geotoolbox.trainers.counts import Tally
from geotoolbox.trainers.source import Source, labelled
from geotoolbox.trainers.task import Preparation

__all__ = ["EpochHook", "Validation", "fit_temperature", "predict_reading", "validate"]

EpochHook = Callable[[int, Callable[[Reading], NDArray[np.int64]]], None]
"""What may be called after each epoch: its number, and a function that predicts a reading's class indices."""

_BLOCK_PX, _HALO_PX = 224, 16
_LOGITS = 50_000
_MOST_PX = 4_000_000


@dataclass(slots=True)
class Validation:
    """What a network does on a validation area.

    Attributes:
        tally: Confusion counts and scores.
        loss: Mean cross entropy (natural logarithm) of the labelled pixels, without weights.
        logits: (n, K) logits of a sample of labelled pixels.
        truth: (n,) their classes.
        block: (n,) the number of the block that each is from.
    """

    tally: Tally
    loss: float = math.nan
    logits: Tensor = field(default_factory=lambda: torch.zeros(0))
    truth: Tensor = field(default_factory=lambda: torch.zeros(0, dtype=torch.long))
    block: Tensor = field(default_factory=lambda: torch.zeros(0, dtype=torch.long))


def validate(
    network: nn.Module,
    source: Source,
    preprocess: Preparation,
    *,
    device: torch.device | None = None,
    seed: int = 0,
) -> Validation:
    """Run a network over the labelled blocks of a source, in evaluation mode.

    Args:
        network: Prepared images to logits; its mode is restored.
        source: Where to validate; of very large areas, a random part of the blocks.
        preprocess: Raw image and valid to the network's input.
        device: Where the network is.
        seed: What repeats the choice of blocks and of sampled logits.
    """
    out = Validation(Tally(len(source.classes)))
    rng = np.random.default_rng(seed)
    logits_kept, truth_kept, loss, pixels = [], [], 0.0, 0
    blocks_kept: list[Tensor] = []
    training = network.training
    network.eval()
    try:
        with torch.inference_mode():
            for reading, core in source.blocks(_BLOCK_PX, _HALO_PX, most_px=_MOST_PX, seed=seed):
                here = np.s_[core.row : core.row + core.height, core.col : core.col + core.width]
                truth = torch.from_numpy(labelled(reading)[here])
                known = truth >= 0
                if not bool(known.any()):
                    continue
                assert reading.image is not None
                image, valid = torch.from_numpy(reading.image)[None], torch.from_numpy(reading.valid)[None]
                ready = torch.where(valid[:, None], preprocess(image, valid), 0.0)
                answer = network(ready.to(device)).cpu().float()[0][:, here[0], here[1]]
                out.tally.add(truth.numpy(), answer.argmax(dim=0).numpy())
                flat, classes = answer.movedim(0, -1)[known], truth[known]
                loss += float(F.cross_entropy(flat, classes, reduction="sum"))
                pixels += len(classes)
                chosen = torch.from_numpy(rng.permutation(len(classes))[:1000].copy())
                logits_kept.append(flat[chosen])
                truth_kept.append(classes[chosen])
                blocks_kept.append(torch.full((len(chosen),), len(blocks_kept)))
    finally:
        network.train(training)
    if pixels:
        out.loss = loss / pixels
        parts = [torch.cat(kept) for kept in (logits_kept, truth_kept, blocks_kept)]
        some = torch.from_numpy(rng.permutation(len(parts[1]))[:_LOGITS].copy())  # of all blocks alike
        out.logits, out.truth, out.block = (part[some] for part in parts)
    return out


def predict_reading(network: nn.Module, preprocess: Preparation, reading: Reading) -> NDArray[np.int64]:
    """Return the class index (H, W) that a network gives each pixel of a reading; -1 where it has no data."""
    assert reading.image is not None
    device = next(network.parameters()).device
    image, valid = torch.from_numpy(reading.image)[None], torch.from_numpy(reading.valid)[None]
    training = network.training
    network.eval()
    try:
        with torch.inference_mode():
            ready = torch.where(valid[:, None], preprocess(image, valid), 0.0)
            answer = network(ready.to(device)).argmax(dim=1)[0].cpu().numpy()
    finally:
        network.train(training)
    found: NDArray[np.int64] = np.where(reading.valid, answer, -1)
    return found


def fit_temperature(logits: Tensor, truth: Tensor) -> float:
    """Return the temperature at which the likelihood of the truth is greatest (Guo et al. 2017).

    Args:
        logits: (n, K).
        truth: (n,) class indices.

    Returns:
        Between 0.25 and 4; 1 without pixels, and where nothing is better.

    Example:
        >>> sure = torch.tensor([[8.0, 0.0]] * 10)  # always certain, and right in 8 of 10
        >>> round(fit_temperature(sure, torch.tensor([0] * 8 + [1] * 2)), 1)
        4.0
    """
    if len(truth) == 0:
        return 1.0
    low, high = math.log(0.25), math.log(4.0)
    ratio = (math.sqrt(5) - 1) / 2
    for _ in range(40):  # golden section: the likelihood has one top in 1/temperature
        left, right = high - ratio * (high - low), low + ratio * (high - low)
        if _surprise(logits, truth, left) < _surprise(logits, truth, right):
            high = right
        else:
            low = left
    best = (low + high) / 2
    return math.exp(best) if _surprise(logits, truth, best) < _surprise(logits, truth, 0.0) else 1.0


def _surprise(logits: Tensor, truth: Tensor, log_temperature: float) -> float:
    return float(F.cross_entropy(logits.double() / math.exp(log_temperature), truth))
