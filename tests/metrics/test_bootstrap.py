"""Intervals by bootstrap over blocks."""

from __future__ import annotations

import json

import numpy as np
import pytest
import shapely

from geotoolbox.core.classes import ClassTable
from geotoolbox.errors import BadInput
from geotoolbox.metrics import BlockConfusion, compute_scores
from geotoolbox.metrics.blocks import Cells
from geotoolbox.metrics.bootstrap import bootstrap_scores

NAMES = ["a", "b", "c"]


def blocks(counts: np.ndarray) -> BlockConfusion:
    """Blocks from (N, K, K) counts."""
    n = len(counts)
    block, truth, predicted = np.nonzero(counts)
    cells = Cells(block, truth, predicted, counts[block, truth, predicted])
    return BlockConfusion(
        ClassTable.from_names(NAMES), "EPSG:32612", ("s",) * n,
        np.zeros((n, 4), np.int64), shapely.box(np.arange(n), 0, np.arange(n) + 1, 1), np.ones(n), cells,
    )  # fmt: skip


def test_draws_are_those_of_whole_blocks() -> None:
    """Against a plain loop over the same draws."""
    counts = np.random.default_rng(0).integers(0, 50, (12, 3, 3))
    found = bootstrap_scores(blocks(counts), resamples=400, seed=5)
    times = np.random.default_rng(5).multinomial(12, np.full(12, 1 / 12), 400)
    loop = [compute_scores(np.tensordot(t, counts, 1), NAMES) for t in times]
    for key in ("overall_accuracy", "mean_iou"):
        assert found.scores[key] == pytest.approx(
            np.quantile([getattr(s, key) for s in loop], [0.025, 0.975])
        )
    for key in ("precision", "recall", "f1", "iou"):
        wanted = np.quantile([getattr(s, key) for s in loop], [0.025, 0.975], axis=0)
        assert np.allclose(np.array(found.classes[key]).T, wanted)


def test_equal_blocks_leave_no_doubt_and_unequal_ones_do() -> None:
    same = np.tile(np.array([[80, 10, 10], [5, 90, 5], [0, 20, 30]]), (30, 1, 1))
    low, high = bootstrap_scores(blocks(same), resamples=100).scores["overall_accuracy"]
    assert low == high == pytest.approx(200 / 250)
    mixed = same.copy()
    mixed[::2] = mixed[::2, [1, 0, 2]]
    low, high = bootstrap_scores(blocks(mixed), resamples=300).scores["overall_accuracy"]
    assert high - low > 0.1


def test_too_few_blocks_are_nan_with_the_reason() -> None:
    found = bootstrap_scores(blocks(np.ones((4, 3, 3), int)))
    assert np.isnan(found.scores["overall_accuracy"]).all() and "too few" in found.reason
    data = json.loads(json.dumps(found.to_json(), allow_nan=False))
    assert data["scores"]["mean_iou"] is None and data["classes"][0]["iou"] is None


def test_intervals_cover_about_as_often_as_they_say() -> None:
    """Blocks whose accuracy varies: nine in ten 90 % intervals hold the true mean."""
    rng, hits, trials = np.random.default_rng(0), 0, 300
    for trial in range(trials):
        right = rng.binomial(100, rng.beta(8, 2, 60))
        counts = np.zeros((60, 3, 3), int)
        counts[:, 0, 0], counts[:, 0, 1] = right, 100 - right
        found = bootstrap_scores(blocks(counts), level=0.9, resamples=200, seed=trial)
        low, high = found.scores["overall_accuracy"]
        hits += low <= 0.8 <= high
    assert 0.84 <= hits / trials <= 0.95  # 0.9, less a little for 60 blocks, give or take three deviations


def test_what_is_no_level_is_refused() -> None:
    with pytest.raises(BadInput, match="not a bootstrap"):
        bootstrap_scores(blocks(np.ones((6, 3, 3), int)), level=95)
