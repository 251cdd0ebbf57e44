"""Sample sizes and allocation."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from geotoolbox.errors import BadInput
from geotoolbox.metrics import allocate, plan_sample_size, plan_simple_sample_size

OLOFSSON = np.array([0.02, 0.015, 0.32, 0.645])


def test_proportional_equal_neyman_and_balanced() -> None:
    assert allocate(640, OLOFSSON, "proportional").tolist() == [13, 9, 205, 413]
    assert allocate(641, OLOFSSON, "equal").tolist() == [161, 160, 160, 160]
    assert allocate(640, OLOFSSON, "balanced", minimum=75).tolist() == [75, 75, 162, 328]
    expected = np.array([0.7, 0.6, 0.9, 0.95])
    spread = OLOFSSON * np.sqrt(expected * (1 - expected))
    found = allocate(640, OLOFSSON, "neyman", expected_users_accuracy=expected)
    np.testing.assert_allclose(found, 640 * spread / spread.sum(), atol=1)
    assert found.sum() == 640


def test_no_stratum_gets_more_points_than_pixels_or_any_when_empty() -> None:
    found = allocate(100, np.array([10.0, 0.0, 990.0]), population_px=np.array([10, 0, 990]))
    assert found.tolist() == [10, 0, 90]


def test_simple_size_and_finite_population() -> None:
    assert plan_simple_sample_size(0.5, 0.05) == 385
    assert plan_simple_sample_size(0.5, 0.05, population_px=1000) == 278
    assert plan_sample_size(OLOFSSON, np.array([0.7, 0.6, 0.9, 0.95]), 0.01, population_px=2000) < 641


@settings(max_examples=25, deadline=None)
@given(
    arrays(np.float64, 5, elements=st.floats(0.001, 1)),
    st.integers(250, 5000),
    st.sampled_from(["balanced", "proportional", "equal"]),
)
def test_points_always_sum_and_keep_their_bounds(weights: np.ndarray, total: int, method: str) -> None:
    pixels = np.array([40, 400, 4000, 40_000, 400_000])
    found = allocate(total, weights, method, population_px=pixels)  # type: ignore[arg-type]
    assert found.sum() == total
    assert (found <= pixels).all()
    assert (found >= np.minimum(50 if method == "balanced" else 2, pixels)).all()
    bigger = np.argsort(weights, kind="stable")
    free = [i for i in bigger if found[i] < pixels[i]]
    assert (np.diff(found[free]) >= -1).all()  # a larger stratum never gets fewer


def test_impossible_wishes_are_refused() -> None:
    with pytest.raises(BadInput, match="at least 200"):
        allocate(100, OLOFSSON)
    with pytest.raises(BadInput, match="at most 30"):
        allocate(100, np.array([1.0, 1.0]), "equal", population_px=np.array([10, 20]))
    with pytest.raises(BadInput, match="Neyman"):
        allocate(640, OLOFSSON, "neyman")
    with pytest.raises(BadInput, match="0 or 1"):
        allocate(640, OLOFSSON, "neyman", expected_users_accuracy=np.array([0.7, 0.6, 1.0, 0.9]))
    with pytest.raises(BadInput, match="standard error"):
        plan_sample_size(OLOFSSON, np.full(4, 0.8), 0)
