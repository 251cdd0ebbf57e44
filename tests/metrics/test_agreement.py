"""Agreement: equal to scikit-learn and torchmetrics, and split into quantity and allocation."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from sklearn import metrics as sk
from torchmetrics.functional import classification as tm

from geotoolbox.errors import BadInput
from geotoolbox.metrics import KAPPA_NOTE, cohen_kappa, compute_scores, confusion_matrix, disagreement

labels = arrays(np.int64, 200, elements=st.integers(0, 3))
quick = settings(max_examples=25, deadline=None)


@quick
@given(labels, labels)
def test_kappa_equals_scikit_learn_and_torchmetrics(truth: np.ndarray, predicted: np.ndarray) -> None:
    found = cohen_kappa(confusion_matrix(truth, predicted, 4))
    theirs = tm.multiclass_cohen_kappa(torch.tensor(predicted), torch.tensor(truth), 4)
    if len(np.unique(np.concatenate([truth, predicted]))) > 1:
        assert found == pytest.approx(sk.cohen_kappa_score(truth, predicted), abs=1e-9)
        assert found == pytest.approx(float(theirs), abs=1e-6)
    else:
        assert math.isnan(found)


@quick
@given(labels, labels)
def test_scores_equal_scikit_learn_on_classes_that_occur(truth: np.ndarray, predicted: np.ndarray) -> None:
    scores = compute_scores(confusion_matrix(truth, predicted, 4), list("abcd"))
    present = [k for k in range(4) if (truth == k).any()]
    recall = sk.recall_score(truth, predicted, labels=present, average=None, zero_division=0)
    np.testing.assert_allclose([scores.recall[k] for k in present], recall, atol=1e-9)
    jaccard = sk.jaccard_score(truth, predicted, labels=present, average=None, zero_division=0)
    np.testing.assert_allclose([scores.iou[k] for k in present], jaccard, atol=1e-9)
    f1 = sk.f1_score(truth, predicted, labels=present, average="macro", zero_division=0)
    assert scores.macro_f1 == pytest.approx(f1, abs=1e-9)
    weighted = sk.f1_score(truth, predicted, labels=present, average="weighted", zero_division=0)
    assert scores.weighted_f1 == pytest.approx(weighted, abs=1e-9)
    if len(present) > 1:
        assert scores.macro_recall == pytest.approx(sk.balanced_accuracy_score(truth, predicted), abs=1e-9)


@quick
@given(arrays(np.int64, (4, 4), elements=st.integers(0, 50)), st.permutations(range(4)))
def test_quantity_and_allocation_add_up_whatever_the_order(matrix: np.ndarray, order: list[int]) -> None:
    found, other = disagreement(matrix), disagreement(matrix[order][:, order])
    if not matrix.sum():
        assert math.isnan(found.quantity)
        return
    assert found.total == pytest.approx(1 - np.trace(matrix) / matrix.sum())
    assert (found.quantity, found.allocation) == pytest.approx((other.quantity, other.allocation))
    assert disagreement(matrix.T).quantity == pytest.approx(found.quantity)


def test_a_map_shifted_as_a_whole_is_wrong_in_place_not_in_quantity() -> None:
    truth = np.zeros((20, 20), dtype=int)
    truth[:, :10] = 1
    found = disagreement(confusion_matrix(truth, np.roll(truth, 2, axis=1), 2))
    assert found.quantity == 0
    assert found.allocation == pytest.approx(0.2)


def test_one_class_only_and_nothing_at_all_cannot_disagree() -> None:
    for matrix in (np.array([[7]]), np.zeros((3, 3))):
        found = disagreement(matrix)
        assert all(math.isnan(v) for v in (found.quantity, found.allocation, *found.quantity_of))


def test_kappa_says_why_not() -> None:
    assert "Pontius" in KAPPA_NOTE
    with pytest.raises(BadInput, match="not square"):
        cohen_kappa(np.ones((2, 3)))
