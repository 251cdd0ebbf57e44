"""Losses against values worked out by hand or by torch, and nothing from unlabelled pixels."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional as F

from geotoolbox.core.classes import IGNORE_INDEX
from geotoolbox.errors import BadInput
from geotoolbox.trainers.losses import LOSSES, SegmentationLoss


def logits_of(probabilities: list[list[float]]) -> torch.Tensor:
    """(1, K, 1, n) logits whose softmax is given by pixel."""
    return torch.tensor(probabilities).log().T[None, :, None, :]


def mask_of(*classes: int) -> torch.Tensor:
    return torch.tensor([[list(classes)]])


def test_cross_entropy_is_torchs() -> None:
    torch.manual_seed(0)
    logits, mask = torch.randn(2, 3, 5, 4), torch.randint(0, 3, (2, 5, 4))
    mask[0, :2] = IGNORE_INDEX
    weights = [0.5, 1.0, 2.0]
    expected = F.cross_entropy(logits, mask, torch.tensor(weights), label_smoothing=0.1)
    torch.testing.assert_close(SegmentationLoss("ce", weights, label_smoothing=0.1)(logits, mask), expected)


def test_focal_by_hand() -> None:
    loss = SegmentationLoss("focal")(logits_of([[0.8, 0.2], [0.4, 0.6]]), mask_of(0, 0))
    expected = (0.2**2 * -math.log(0.8) + 0.6**2 * -math.log(0.4)) / 2
    assert float(loss) == pytest.approx(expected, rel=1e-5)


def test_dice_and_jaccard_by_hand() -> None:
    logits, mask = logits_of([[0.8, 0.2], [0.4, 0.6]]), mask_of(0, 1)
    # Class 0: 0.8 of 1 pixel, mass 1.2; class 1: 0.6 of 1 pixel, mass 0.8.
    dice = 1 - (2 * 0.8 / 2.2 + 2 * 0.6 / 1.8) / 2
    jaccard = 1 - (0.8 / 1.4 + 0.6 / 1.2) / 2
    assert float(SegmentationLoss("dice")(logits, mask)) == pytest.approx(dice, rel=1e-5)
    assert float(SegmentationLoss("jaccard")(logits, mask)) == pytest.approx(jaccard, rel=1e-5)
    both = float(SegmentationLoss("dice + jaccard")(logits, mask))
    assert both == pytest.approx(dice + jaccard, rel=1e-5)


@pytest.mark.parametrize("name", [*LOSSES, "ce+dice"])
@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 1000))
def test_unlabelled_pixels_change_neither_loss_nor_gradient(name: str, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(2, 3, 4, 4, generator=generator)
    mask = torch.randint(0, 3, (2, 4, 4), generator=generator)
    unlabelled = torch.rand(2, 4, 4, generator=generator) < 0.4
    mask[unlabelled] = IGNORE_INDEX
    other = torch.where(unlabelled[:, None], torch.full_like(logits, 50.0), logits).requires_grad_()
    loss = SegmentationLoss(name, [1.0, 2.0, 3.0])
    torch.testing.assert_close(loss(other, mask), loss(logits, mask))
    loss(other, mask).backward()
    assert other.grad is not None and bool((other.grad.movedim(1, -1)[unlabelled] == 0).all())


@pytest.mark.parametrize("name", LOSSES)
def test_without_labels_the_loss_is_0_and_the_gradient_finite(name: str) -> None:
    logits = torch.randn(1, 3, 4, 4, requires_grad=True)
    loss = SegmentationLoss(name)(logits, torch.full((1, 4, 4), IGNORE_INDEX))
    loss.backward()
    assert loss.item() == 0 and logits.grad is not None and bool((logits.grad == 0).all())


def test_unknown_losses_and_wrong_weights_are_named() -> None:
    with pytest.raises(BadInput, match=r"'ce\+mse'"):
        SegmentationLoss("ce+mse")
    with pytest.raises(BadInput, match="Got 2, expected 3"):
        SegmentationLoss("ce", [1.0, 2.0])(torch.zeros(1, 3, 1, 1), mask_of(0))
