"""Area of applicability against its formulas; test_reference_tables.py has the published cases."""

from __future__ import annotations

import json

import numpy as np
import pytest
from scipy.spatial.distance import cdist

from geotoolbox.errors import BadInput
from geotoolbox.metrics.applicability import Applicability, fit_applicability


def test_index_and_density_equal_the_formulas_on_all_pairs() -> None:
    rng = np.random.default_rng(0)
    points, new, weights = rng.normal(size=(60, 4)), rng.normal(size=(25, 4)), np.array([1.0, 0.5, 2, 0.1])
    folds = rng.integers(0, 5, 60)
    found = fit_applicability(points, weights=weights, folds=folds)
    z = (points - points.mean(0)) / points.std(0, ddof=1) * weights
    gaps = cdist(z, z)
    mean = (gaps.sum(1) / 59).mean()
    own = np.where(folds[:, None] == folds, np.inf, gaps).min(1) / mean
    assert found.mean_distance == pytest.approx(mean)
    assert found.training_index == pytest.approx(own)
    far = cdist((new - points.mean(0)) / points.std(0, ddof=1) * weights, z) / mean
    assert found.dissimilarity(new) == pytest.approx(far.min(1))
    assert found.local_density(new).tolist() == (far < found.threshold).sum(1).tolist()


def test_training_points_are_like_themselves_and_unknown_rows_are_nan() -> None:
    points = np.random.default_rng(1).normal(size=(30, 3))
    found = fit_applicability(points)
    rows = np.vstack([points[:5], [[np.nan, 0, 0]]])
    index = found.dissimilarity(rows)
    assert index[:5] == pytest.approx(0, abs=1e-9) and np.isnan(index[5])
    assert found.inside(index).tolist() == [True] * 5 + [False]


def test_units_of_a_predictor_do_not_matter_and_weightless_ones_are_not_looked_at() -> None:
    rng = np.random.default_rng(2)
    points, new = rng.normal(size=(40, 3)), rng.normal(size=(10, 3))
    one = fit_applicability(points, weights=[1, 2, 0]).dissimilarity(new)
    scale = np.array([100.0, 0.01, 1])
    two = fit_applicability(points * scale + 7, weights=[1, 2, 0]).dissimilarity(new * scale + 7)
    assert two == pytest.approx(one)
    moved = new.copy()
    moved[:, 2] += 50
    assert fit_applicability(points, weights=[1, 2, 0]).dissimilarity(moved) == pytest.approx(one)


def test_json_reads_back() -> None:
    points = np.random.default_rng(3).normal(size=(50, 3))
    found = fit_applicability(points, names=("red", "nir", "ndvi"))
    again = Applicability.from_json(json.loads(json.dumps(found.to_json(), allow_nan=False)))
    new = np.random.default_rng(4).normal(size=(20, 3))
    assert again.names == ("red", "nir", "ndvi")
    assert again.dissimilarity(new) == pytest.approx(found.dissimilarity(new), rel=1e-4)
    with pytest.raises(BadInput, match="no area of applicability"):
        Applicability.from_json({"names": []})


@pytest.mark.parametrize(
    ("points", "folds", "words"),
    [
        (np.zeros((2, 2)), None, "too few training points"),
        (np.ones((5, 2)), None, "all training points are the same"),
        (np.eye(4), np.zeros(4), "folds do not fit"),
    ],
)
def test_unfit_points_are_refused(points: np.ndarray, folds: np.ndarray | None, words: str) -> None:
    with pytest.raises(BadInput, match=words):
        fit_applicability(points, folds=folds)
