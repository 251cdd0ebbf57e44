"""Curves and calibration against scikit-learn and torchmetrics, streamed and at once."""

from __future__ import annotations

import json

import numpy as np
import pytest
import sklearn.metrics as sk
import torch
import torchmetrics.functional.classification as tm
from hypothesis import given, settings
from hypothesis import strategies as st

from geotoolbox.errors import BadInput
from geotoolbox.metrics.calibration import CalibrationCounts, temper
from geotoolbox.metrics.curves import ScoreCounts

K = 4
NAMES = ("a", "b", "c", "d")


def pixels(seed: int = 0, count: int = 600, classes: int = K) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    logits = rng.normal(size=(classes, count)) * 2
    truth = np.array([rng.choice(classes, p=p) for p in (np.exp(logits) / np.exp(logits).sum(0)).T])
    logits += rng.normal(size=logits.shape)
    return np.exp(logits) / np.exp(logits).sum(axis=0), truth


def exact(probabilities: np.ndarray, truth: np.ndarray):
    counts = ScoreCounts(len(probabilities), bins=None)
    counts.update(probabilities, truth)
    return counts.curves(NAMES[: len(probabilities)])


@pytest.mark.parametrize("seed", [0, 1])
def test_areas_equal_scikit_learn(seed: int) -> None:
    p, truth = pixels(seed)
    found, hot = exact(p, truth), np.eye(K)[truth]
    for average in ("macro", "weighted", "micro"):
        assert found.auc(average) == pytest.approx(sk.roc_auc_score(hot, p.T, average=average), abs=1e-9)
        assert found.average_precision(average) == pytest.approx(
            sk.average_precision_score(hot, p.T, average=average), abs=1e-9
        )
    for k, curve in enumerate(found.classes):
        fpr, tpr, thresholds = sk.roc_curve(truth == k, p[k], drop_intermediate=False)
        assert np.allclose(curve.roc(), (fpr, tpr), atol=1e-12)
        assert np.array_equal(curve.thresholds, thresholds)
        precision, recall, _ = sk.precision_recall_curve(truth == k, p[k])
        mine = curve.precision_recall()
        assert np.allclose(mine[0][1:], precision[:-1][::-1]) and np.allclose(mine[1][1:], recall[:-1][::-1])


def test_tied_scores_are_one_step() -> None:
    p = np.array([[0.5, 0.5, 0.5, 0.2], [0.5, 0.5, 0.5, 0.8]])
    truth = np.array([0, 1, 1, 0])
    assert exact(p, truth).classes[1].auc == pytest.approx(sk.roc_auc_score(truth, p[1]))


@pytest.mark.parametrize("bins", [50, 250, 10_000])
def test_binned_curves_are_exact_for_scores_on_the_bins_edges(bins: int) -> None:
    p, truth = pixels(2)
    floored = np.floor(p * bins) / bins
    counts = ScoreCounts(K, bins)
    counts.update(p, truth)
    found, wanted = counts.curves(NAMES), exact(floored, truth)
    assert found.auc() == pytest.approx(wanted.auc(), abs=1e-12)
    assert found.average_precision("micro") == pytest.approx(wanted.average_precision("micro"), abs=1e-12)
    hot = np.eye(K)[truth]
    assert found.auc() == pytest.approx(sk.roc_auc_score(hot, p.T), abs=1 / bins)


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 1000), st.integers(0, 200), st.booleans())
def test_pieces_and_order_of_classes_change_nothing(seed: int, cut: int, binned: bool) -> None:
    p, truth = pixels(seed, 200)
    counts = ScoreCounts(K, 500 if binned else None)
    order = np.random.default_rng(seed).permutation(K)
    for part in (np.s_[:cut], np.s_[cut:]):
        counts.update(p[:, part], truth[part])
    swapped = ScoreCounts(K, 500 if binned else None)
    swapped.update(p[order], np.argsort(order)[truth])
    one, two = counts.curves(NAMES), swapped.curves([NAMES[i] for i in order])
    assert [two.classes[j].auc for j in range(K)] == pytest.approx([one.classes[i].auc for i in order])
    assert two.micro.auc == pytest.approx(one.micro.auc)


def test_a_class_without_pixels_is_nan_and_out_of_the_mean() -> None:
    p, truth = pixels(3)
    truth = np.where(truth == 2, -100, truth)
    found = exact(p, truth)
    assert np.isnan(found.classes[2].auc) and np.isnan(found.classes[2].average_precision)
    known = [found.classes[i].auc for i in (0, 1, 3)]
    assert found.auc() == pytest.approx(np.mean(known))
    data = json.loads(json.dumps(found.to_json(), allow_nan=False))
    assert data["classes"][2]["auc"] is None


def test_thinned_curves_keep_their_ends_and_hardly_change_the_area() -> None:
    p, truth = pixels(4, 5000)
    curve = exact(p, truth).classes[0]
    small = curve.thin(100)
    assert len(small.thresholds) <= 102
    assert small.roc()[0][-1] == small.roc()[1][-1] == 1.0
    assert small.auc == pytest.approx(curve.auc, abs=2e-3)


@pytest.mark.parametrize("bins", [5, 15])
@pytest.mark.parametrize("norm", ["l1", "l2", "max"])
def test_calibration_errors_equal_torchmetrics(bins: int, norm: str) -> None:
    p, truth = pixels(5)
    counts = CalibrationCounts(K, bins)
    for part in (np.s_[:100], np.s_[100:]):
        counts.update(p[:, part], truth[part])
    found = counts.result()
    wanted = tm.multiclass_calibration_error(
        torch.from_numpy(p.T), torch.from_numpy(truth), num_classes=K, n_bins=bins, norm=norm
    )
    mine = {"l1": found.ece, "l2": found.rms_error, "max": found.mce}[norm]
    assert mine == pytest.approx(float(wanted), abs=1e-6)


def test_cross_entropy_and_brier_equal_scikit_learn() -> None:
    p, truth = pixels(6)
    counts = CalibrationCounts(K)
    counts.update(p.reshape(K, 20, 30), truth.reshape(20, 30))
    found = counts.result()
    assert found.cross_entropy == pytest.approx(sk.log_loss(truth, p.T), abs=1e-9)
    assert found.brier == pytest.approx(((p - np.eye(K)[truth].T) ** 2).sum(axis=0).mean())
    assert found.brier == pytest.approx(
        sk.brier_score_loss(truth, p.T, labels=list(range(K)), scale_by_half=False), abs=1e-9
    )
    assert found.counts.sum() == found.pixels == 600


def test_unlabelled_pixels_do_not_count() -> None:
    p, truth = pixels(7)
    hidden = np.where(np.arange(600) % 3 == 0, -100, truth)
    one, two = CalibrationCounts(K), CalibrationCounts(K)
    one.update(p, hidden)
    two.update(p[:, hidden >= 0], truth[hidden >= 0])
    assert one.result().to_json() == two.result().to_json()
    assert exact(p, hidden).auc() == exact(p[:, hidden >= 0], truth[hidden >= 0]).auc()


def test_temper_is_a_softmax_of_divided_logits() -> None:
    logits = np.random.default_rng(0).normal(size=(K, 50)) * 3
    p = np.exp(logits) / np.exp(logits).sum(axis=0)
    wanted = torch.softmax(torch.from_numpy(logits) / 1.7, dim=0).numpy()
    assert np.allclose(temper(p, 1.7), wanted, atol=1e-6)
    assert np.array_equal(temper(p, 1.7).argmax(axis=0), p.argmax(axis=0))


def test_what_are_no_probabilities_is_refused() -> None:
    p, truth = pixels(8)
    with pytest.raises(BadInput, match="no probabilities"):
        ScoreCounts(K).update(p * 3, truth)
    with pytest.raises(BadInput, match="do not fit"):
        CalibrationCounts(K).update(p[:2], truth)
    nan = np.where(np.arange(600) == 5, np.nan, p)
    with pytest.raises(BadInput, match="no probabilities"):
        ScoreCounts(K).update(nan, truth)
    ScoreCounts(K).update(nan, np.where(np.arange(600) == 5, -1, truth))  # not counted, so not looked at
