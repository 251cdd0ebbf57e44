"""Scores against scikit-learn, and what they say where they are undefined."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from sklearn import metrics as sk

from geotoolbox.errors import BadInput
from geotoolbox.metrics import ConfusionMatrix, Scores, compute_scores, confusion_matrix
from geotoolbox.trainers.counts import Tally

K = 5
NAMES = [f"class {i}" for i in range(K)]
masks = arrays(np.int64, (7, 9), elements=st.integers(-1, K - 1))


def random_pair(seed: int = 3, size: int = 4000) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(seed)
    truth = generator.choice(K, size, p=[0.5, 0.25, 0.15, 0.07, 0.03])
    predicted = np.where(generator.random(size) < 0.7, truth, generator.integers(0, K, size))
    return truth, predicted


def test_confusion_matrix_equals_scikit_learn() -> None:
    truth, predicted = random_pair()
    expected = sk.confusion_matrix(truth, predicted, labels=range(K))
    assert np.array_equal(confusion_matrix(truth, predicted, K), expected)


@pytest.mark.parametrize("average", ["macro", "weighted"])
def test_means_equal_scikit_learn(average: str) -> None:
    truth, predicted = random_pair()
    scores = compute_scores(confusion_matrix(truth, predicted, K), NAMES)
    precision, recall, f1, _ = sk.precision_recall_fscore_support(truth, predicted, average=average)
    iou = sk.jaccard_score(truth, predicted, average=average)
    found = [getattr(scores, f"{average}_{s}") for s in ("precision", "recall", "f1")]
    found.append(scores.mean_iou if average == "macro" else scores.weighted_iou)
    assert found == pytest.approx([precision, recall, f1, iou], abs=1e-12)


def test_each_class_equals_scikit_learn() -> None:
    truth, predicted = random_pair(seed=8)
    scores = compute_scores(confusion_matrix(truth, predicted, K), NAMES)
    precision, recall, f1, support = sk.precision_recall_fscore_support(truth, predicted, labels=range(K))
    assert scores.precision == pytest.approx(precision)
    assert scores.recall == pytest.approx(recall)
    assert scores.f1 == pytest.approx(f1)
    assert scores.iou == pytest.approx(sk.jaccard_score(truth, predicted, average=None))
    assert scores.support == tuple(support)
    assert scores.overall_accuracy == pytest.approx(sk.accuracy_score(truth, predicted))
    assert scores.macro_recall == pytest.approx(sk.balanced_accuracy_score(truth, predicted))


@settings(max_examples=25, deadline=None)
@given(masks, masks)
def test_streaming_in_pieces_equals_counting_at_once(truth: np.ndarray, predicted: np.ndarray) -> None:
    whole, left, right = ConfusionMatrix(K), ConfusionMatrix(K), ConfusionMatrix(K)
    whole.update(truth, predicted)
    left.update(truth[:, :4], predicted[:, :4])
    right.update(truth[:, 4:], predicted[:, 4:])
    assert left + right == whole
    inside = (truth >= 0) & (predicted >= 0)
    assert whole.pixels == inside.sum()
    assert whole.unlabelled == ((truth < 0) & (predicted >= 0)).sum()
    assert whole.unmapped == ((truth >= 0) & (predicted < 0)).sum()


@settings(max_examples=25, deadline=None)
@given(masks, masks, st.permutations(range(K)))
def test_scores_do_not_depend_on_the_order_of_classes(
    truth: np.ndarray, predicted: np.ndarray, order: list[int]
) -> None:
    place = np.argsort(order)
    swapped = [np.where(m >= 0, place[m], -1) for m in (truth, predicted)]
    one = compute_scores(confusion_matrix(truth, predicted, K), NAMES)
    two = compute_scores(confusion_matrix(*swapped, K), [NAMES[i] for i in order])
    assert two.iou == pytest.approx([one.iou[i] for i in order], nan_ok=True)
    for name in ("overall_accuracy", "mean_iou", "macro_precision", "weighted_f1"):
        assert getattr(two, name) == pytest.approx(getattr(one, name), nan_ok=True)


@settings(max_examples=25, deadline=None)
@given(masks, masks)
def test_the_scores_of_the_training_loop_are_these(truth: np.ndarray, predicted: np.ndarray) -> None:
    tally = Tally(K)
    for part in (np.s_[:3], np.s_[3:]):
        tally.add(truth[part], predicted[part])
    scores = compute_scores(confusion_matrix(truth, predicted, K), NAMES)
    found = (tally.overall_accuracy, tally.mean_iou, *tally.iou)
    assert found == pytest.approx((scores.overall_accuracy, scores.mean_iou, *scores.iou), nan_ok=True)


def test_pixels_outside_the_classes_or_not_valid_do_not_count() -> None:
    truth, predicted = np.array([[0, 1, -100, 1, 7]]), np.array([[0, 0, 1, -100, 1]])
    valid = np.array([[False, True, True, True, True]])
    assert confusion_matrix(truth, predicted, 2).tolist() == [[1, 0], [1, 0]]
    assert confusion_matrix(truth, predicted, 2, valid=valid).tolist() == [[0, 0], [1, 0]]


def test_small_types_do_not_wrap_around() -> None:
    truth = predicted = np.full(10, 40, dtype=np.uint8)
    assert confusion_matrix(truth, predicted, 60)[40, 40] == 10


def test_r66_one_class_only_is_nan_with_the_reason() -> None:
    scores = compute_scores(np.array([[100]]), ["field"])
    for value in (scores.overall_accuracy, scores.mean_iou, scores.iou[0], scores.recall[0]):
        assert math.isnan(value)
    assert scores.reasons["overall_accuracy"] == "one class only: every pixel is right by construction"


def test_r67_a_class_missing_in_the_reference_is_nan_with_the_reason() -> None:
    scores = compute_scores(np.array([[8, 0, 2], [1, 9, 0], [0, 0, 0]]), ["field", "forest", "water"])
    assert [math.isnan(v) for v in (scores.recall[2], scores.f1[2], scores.iou[2])] == [True] * 3
    assert scores.reasons["iou/water"] == "no reference pixel of this class among those compared"
    assert scores.precision[2] == 0.0  # two pixels were mapped as water, none is
    assert scores.mean_iou == pytest.approx((8 / 11 + 9 / 10) / 2)


def test_a_class_that_is_never_mapped_has_no_precision() -> None:
    scores = compute_scores(np.array([[8, 0], [2, 0]]), ["field", "water"])
    assert math.isnan(scores.precision[1])
    assert scores.reasons["precision/water"] == "the map gives no compared pixel to this class"
    assert (scores.recall[1], scores.iou[1], scores.f1[1]) == (0.0, 0.0, 0.0)


def test_nothing_compared_is_nan_throughout() -> None:
    scores = compute_scores(np.zeros((2, 2), dtype=np.int64), ["a", "b"])
    assert math.isnan(scores.overall_accuracy) and math.isnan(scores.mean_iou)
    assert scores.reasons["mean_iou"] == "no pixel was compared"


def test_json_has_null_and_reads_back() -> None:
    scores = compute_scores(np.array([[8, 2], [0, 0]]), ["field", "water"])
    text = json.dumps(scores.to_json(), allow_nan=False)
    again = Scores.from_json(json.loads(text))
    assert json.loads(text)["classes"][1]["iou"] is None
    assert again.iou == pytest.approx(scores.iou, nan_ok=True)
    assert again.to_json() == scores.to_json()


def test_mean_iou_over_frequent_classes_only() -> None:
    scores = compute_scores(np.array([[900, 100, 0], [50, 950, 0], [5, 5, 0]]), ["a", "b", "rare"])
    assert scores.mean_iou_of(1000) == pytest.approx((900 / 1055 + 950 / 1105) / 2)


@pytest.mark.parametrize(
    ("truth", "predicted", "words"),
    [
        (np.zeros(3, int), np.zeros(4, int), "differ in shape"),
        (np.zeros(3), np.zeros(3, int), "no class indices"),
    ],
)
def test_unfit_arrays_are_refused(truth: np.ndarray, predicted: np.ndarray, words: str) -> None:
    with pytest.raises(BadInput, match=words):
        confusion_matrix(truth, predicted, 2)


def test_negative_counts_are_refused() -> None:
    with pytest.raises(BadInput, match="negative"):
        compute_scores(np.array([[1, -1], [0, 1]]), ["a", "b"])
