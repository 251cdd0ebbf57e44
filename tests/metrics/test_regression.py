"""Regression scores: equal to scikit-learn and torchmetrics, in pieces or at once."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from shapely.geometry import box
from sklearn import metrics as sk
from torchmetrics.functional.regression import concordance_corrcoef

from geotoolbox.core.query import Region
from geotoolbox.datasets import RasterDataset
from geotoolbox.errors import BadInput, NoOverlap
from geotoolbox.metrics import RegressionMoments, compare_values, regression_scores, value_maps
from tests.make import NORTH_UP, UTM12, write_raster

NAMES = ("rmse", "mae", "bias", "r2", "concordance", "correlation")


def test_equals_scikit_learn_and_torchmetrics() -> None:
    generator = np.random.default_rng(2)
    truth = generator.normal(300, 12, 5000)
    predicted = 0.8 * truth + generator.normal(50, 5, 5000)
    found = regression_scores(truth, predicted)
    assert found.rmse == pytest.approx(sk.root_mean_squared_error(truth, predicted), abs=1e-9)
    assert found.mae == pytest.approx(sk.mean_absolute_error(truth, predicted), abs=1e-9)
    assert found.r2 == pytest.approx(sk.r2_score(truth, predicted), abs=1e-9)
    assert found.bias == pytest.approx((predicted - truth).mean(), abs=1e-9)
    assert found.correlation == pytest.approx(np.corrcoef(truth, predicted)[0, 1], abs=1e-9)
    theirs = concordance_corrcoef(torch.tensor(predicted), torch.tensor(truth))
    assert found.concordance == pytest.approx(float(theirs), abs=1e-6)


@settings(max_examples=25, deadline=None)
@given(
    arrays(np.float64, (2, 60), elements=st.floats(-1e3, 1e3)),
    st.lists(st.integers(1, 59), min_size=1, max_size=4),
)
def test_pieces_give_what_the_whole_gives(values: np.ndarray, cuts: list[int]) -> None:
    whole = regression_scores(values[0], values[1])
    parts = [
        RegressionMoments().update(t, p)
        for t, p in zip(np.split(values[0], sorted(cuts)), np.split(values[1], sorted(cuts)), strict=True)
    ]
    merged = parts[0]
    for part in parts[1:]:
        merged = merged + part
    assert merged.count == 60
    for name in ("rmse", "mae", "bias"):
        assert getattr(merged.scores(), name) == pytest.approx(getattr(whole, name), rel=1e-9, abs=1e-9)
    if np.ptp(values[0]) > 1 and np.ptp(values[1]) > 1:
        for name in ("r2", "concordance", "correlation"):
            assert getattr(merged.scores(), name) == pytest.approx(getattr(whole, name), rel=1e-6, abs=1e-9)


def test_large_values_lose_no_digits() -> None:
    small = np.array([0.1, 0.4, 0.2, 0.9])
    other = np.array([0.2, 0.3, 0.3, 0.8])
    near, far = (regression_scores(small + shift, other + shift) for shift in (0, 2**26))
    assert far.concordance == pytest.approx(near.concordance, abs=1e-6)
    assert far.r2 == pytest.approx(near.r2, abs=1e-6)


def test_nodata_does_not_count() -> None:
    truth = np.array([[1.0, np.nan], [3.0, 9.0]])
    predicted = np.array([[2.0, 5.0], [np.nan, 0.0]])
    found = regression_scores(truth, predicted, np.array([[True, True], [True, False]]))
    assert (found.count, found.rmse, found.bias) == (1, 1.0, 1.0)
    assert math.isnan(found.r2) and found.reasons["r2"] == "fewer than two pixels were compared"


def test_undefined_has_a_reason() -> None:
    nothing = regression_scores(np.array([np.nan]), np.array([1.0]))
    assert all(math.isnan(getattr(nothing, n)) and nothing.reasons[n] for n in NAMES)
    assert nothing.to_json()["rmse"] is None
    flat = regression_scores(np.ones(5), np.arange(5.0))
    assert math.isnan(flat.r2) and "one value" in flat.reasons["r2"]
    assert flat.concordance == 0


def test_infinite_and_unlike_shapes_are_refused() -> None:
    with pytest.raises(BadInput, match="infinite"):
        regression_scores(np.array([1.0, np.inf]), np.array([1.0, 2.0]))
    with pytest.raises(BadInput, match="shape"):
        regression_scores(np.zeros(3), np.zeros(4))


def test_layers_are_compared_block_by_block(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    generator = np.random.default_rng(4)
    truth = generator.normal(20, 5, (70, 90)).astype(np.float32)
    predicted = (truth + generator.normal(1, 2, truth.shape)).astype(np.float32)
    truth[:10], predicted[:, :5] = -99, -99
    layers = [
        RasterDataset([write_raster(tmp_path / f"{name}.tif", data, nodata=-99)], kind="image")
        for name, data in (("map", predicted), ("truth", truth))
    ]
    whole = compare_values(*layers)
    expected = regression_scores(truth[10:, 5:], predicted[10:, 5:])
    assert whole.count == expected.count == 60 * 85
    for name in NAMES:
        assert getattr(whole, name) == pytest.approx(getattr(expected, name), rel=1e-9)
    monkeypatch.setattr(value_maps, "_BLOCK_PX", 32)
    assert compare_values(*layers).rmse == pytest.approx(whole.rmse, rel=1e-12)
    area = box(NORTH_UP.c, NORTH_UP.f - 30 * 30, NORTH_UP.c + 30 * 40, NORTH_UP.f)
    assert compare_values(*layers, region=Region(area, UTM12)).count == 20 * 35
    with pytest.raises(NoOverlap):
        compare_values(*layers, region=Region(box(0, 0, 1, 1), UTM12))
    with pytest.raises(BadInput, match="no band 3"):
        compare_values(*layers, band=3)
