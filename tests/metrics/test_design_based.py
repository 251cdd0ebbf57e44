"""Design-based accuracy: laws, what is undefined, and intervals that cover the truth as often as they say."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from geotoolbox.core.classes import ClassTable
from geotoolbox.errors import BadInput
from geotoolbox.metrics import AccuracyEstimate, DesignSample, assess_accuracy

NAMES = ("field", "forest", "water")
matrices = arrays(np.int64, (3, 3), elements=st.integers(0, 40)).map(lambda m: m + 2 * np.eye(3, dtype=int))
sizes = arrays(np.float64, 3, elements=st.floats(1, 1e6))
quick = settings(max_examples=25, deadline=None)


def assess(counts: object, weights: object) -> AccuracyEstimate:
    return assess_accuracy(DesignSample.from_matrix(np.asarray(counts), np.asarray(weights)), NAMES)


def numbers(found: AccuracyEstimate) -> np.ndarray:
    rows = (found.users, found.producers, found.f1, found.iou, found.area_shares)
    return np.array([[(e.value, e.standard_error, e.low, e.high) for e in row] for row in rows])


@quick
@given(matrices, sizes, st.permutations(range(3)))
def test_the_order_of_the_classes_changes_nothing(
    counts: np.ndarray, weights: np.ndarray, order: list[int]
) -> None:
    first, second = assess(counts, weights), assess(counts[order][:, order], weights[order])
    np.testing.assert_allclose(numbers(first)[:, order], numbers(second), rtol=1e-9, atol=1e-12)
    assert first.overall.standard_error == pytest.approx(second.overall.standard_error)


@quick
@given(matrices, sizes)
def test_shares_sum_to_one_and_rows_to_the_map(counts: np.ndarray, weights: np.ndarray) -> None:
    found = assess(counts, weights)
    assert found.shares.sum() == pytest.approx(1)
    np.testing.assert_allclose(found.shares.sum(axis=1), weights / weights.sum())
    np.testing.assert_allclose(found.shares.sum(axis=0), [e.value for e in found.area_shares])
    assert np.trace(found.shares) == pytest.approx(found.overall.value)
    assert found.disagreement.total == pytest.approx(1 - found.overall.value)
    np.testing.assert_allclose(
        [e.value for e in found.producers], np.diag(found.shares) / found.shares.sum(axis=0)
    )


@quick
@given(matrices, sizes)
def test_map_classes_as_strata_are_a_special_case_of_any_strata(
    counts: np.ndarray, weights: np.ndarray
) -> None:
    i, j = (a.ravel() for a in np.indices((3, 3)))
    mapped, reference = np.repeat(i, counts.ravel()), np.repeat(j, counts.ravel())
    points = DesignSample.from_points(mapped, mapped, reference, weights, 3)
    other = assess_accuracy(points, NAMES)
    np.testing.assert_allclose(numbers(assess(counts, weights)), numbers(other), rtol=1e-9, atol=1e-12)


@quick
@given(matrices)
def test_one_stratum_is_simple_random_sampling(counts: np.ndarray) -> None:
    i, j = (a.ravel() for a in np.indices((3, 3)))
    mapped, reference = np.repeat(i, counts.ravel()), np.repeat(j, counts.ravel())
    n = counts.sum()
    found = assess_accuracy(
        DesignSample.from_points(0 * mapped, mapped, reference, np.array([7.0]), 3), NAMES
    )
    right = np.trace(counts) / n
    assert found.overall.value == pytest.approx(right)
    assert found.overall.standard_error == pytest.approx(math.sqrt(right * (1 - right) / (n - 1)), abs=1e-12)
    np.testing.assert_allclose(found.shares, counts / n)
    np.testing.assert_allclose(found.share_errors, np.sqrt(counts / n * (1 - counts / n) / (n - 1)))


@quick
@given(matrices, sizes, st.floats(0.01, 100))
def test_units_of_size_and_of_equal_points_do_not_matter(
    counts: np.ndarray, weights: np.ndarray, unit: float
) -> None:
    i, j = (a.ravel() for a in np.indices((3, 3)))
    mapped, reference = np.repeat(i, counts.ravel()), np.repeat(j, counts.ravel())
    sample = DesignSample.from_points(
        mapped, mapped, reference, weights * unit, 3, unit_sizes=np.full(len(mapped), unit), by_map_class=True
    )
    np.testing.assert_allclose(
        numbers(assess(counts, weights)), numbers(assess_accuracy(sample, NAMES)), atol=1e-9
    )


def test_weights_of_points_give_the_same_as_so_many_points() -> None:
    """A pixel twice as large counts as two pixels: the estimate of the share, not its error."""
    reference, mapped = np.array([0, 1, 1, 0]), np.array([0, 0, 1, 1])
    weighted = DesignSample.from_points(
        0 * mapped, mapped, reference, np.array([1.0]), 2, unit_sizes=np.array([2, 1, 1, 2])
    )
    doubled = np.repeat(np.arange(4), [2, 1, 1, 2])
    repeated = DesignSample.from_points(0 * doubled, mapped[doubled], reference[doubled], np.array([1.0]), 2)
    first, second = (assess_accuracy(s, ("a", "b")) for s in (weighted, repeated))
    np.testing.assert_allclose(first.shares, second.shares)
    assert first.overall.value == pytest.approx(0.5)


def test_one_point_in_a_stratum_leaves_errors_undefined_never_zero() -> None:
    found = assess([[9, 1, 0], [0, 1, 0], [1, 0, 9]], [50, 10, 40])
    assert found.overall.value == pytest.approx(0.5 * 0.9 + 0.1 + 0.4 * 0.9)
    assert math.isnan(found.overall.standard_error)
    assert found.overall.reason == "one sample point only in stratum forest"
    assert not math.isnan(found.users[0].standard_error)  # the strata of other classes do not matter to it
    assert math.isnan(found.users[1].standard_error) and math.isnan(found.share_errors[1, 1])
    assert found.to_json()["overall_accuracy"]["standard_error"] is None


def test_a_class_without_reference_points_has_no_producers_accuracy() -> None:
    found = assess([[9, 1, 0], [1, 9, 0], [5, 5, 0]], [50, 10, 40])
    assert math.isnan(found.producers[2].value)
    assert found.producers[2].reason == "no sample point has this reference class"
    assert found.users[2].value == 0
    assert any("Producer's accuracy of water" in note for note in found.notes)


def test_a_class_that_no_point_met_has_no_area_and_its_notes_are_one() -> None:
    found = assess([[9, 0, 0], [10, 0, 0], [10, 0, 0]], [50, 10, 40])
    for one in found.area_shares[1:]:
        assert math.isnan(one.value) and one.reason == "no point was of this class"
    row = found.to_json()["classes"][2]["area_ha"]
    assert row["value"] is None and row["low"] is None and row["reason"] == "no point was of this class"
    missing = [n for n in found.notes if n.startswith("Producer's accuracy")]
    names = ", ".join(found.names[1:])
    assert missing == [f"Producer's accuracy of {names}: no sample point has this reference class."]


def test_a_class_that_is_nowhere_in_ground_drawn_whole_has_no_area_at_all() -> None:
    stratum = np.array([0, 0, 0])
    sample = DesignSample.from_points(
        stratum, stratum, stratum, np.array([3.0]), 2, population_px=np.array([3])
    )
    assert assess_accuracy(sample, ("a", "b")).area_shares[1].value == 0


def test_an_area_interval_below_0_is_said_and_left() -> None:
    found = assess([[9, 1, 0], [0, 10, 0], [1, 0, 9]], [900, 1, 99])
    assert found.area_shares[1].low < 0
    said = [n for n in found.notes if n.startswith("The area's interval reaches below 0 for: ")]
    assert len(said) == 1 and found.names[1] in said[0]


def test_a_class_that_the_map_lacks_has_no_users_accuracy_but_an_area() -> None:
    found = assess([[8, 1, 1], [1, 8, 1], [0, 0, 0]], [60, 40, 0])
    assert math.isnan(found.users[2].value) and found.users[2].reason == "the map has none of it"
    assert found.producers[2].value == 0
    assert found.area_shares[2].value == pytest.approx(0.1)


def test_a_stratum_without_points_leaves_totals_undefined() -> None:
    found = assess([[9, 1, 0], [0, 0, 0], [1, 0, 9]], [50, 10, 40])
    assert math.isnan(found.overall.value) and "no sample point in stratum forest" in found.overall.reason
    assert found.users[0].value == 0.9


def test_a_stratum_drawn_whole_adds_no_error() -> None:
    stratum, reference = np.array([0, 0, 0, 0, 1, 1]), np.array([0, 0, 1, 0, 1, 0])
    sample = DesignSample.from_points(
        stratum,
        stratum,
        reference,
        np.array([100.0, 2.0]),
        2,
        population_px=np.array([100, 2]),
        by_map_class=True,
    )
    found = assess_accuracy(sample, ("a", "b"))
    assert found.users[1].standard_error == 0
    assert found.users[0].standard_error == pytest.approx(math.sqrt(0.75 * 0.25 / 3))


def test_no_error_found_is_said_to_be_too_good() -> None:
    found = assess([[30, 0, 0], [0, 30, 0], [1, 0, 29]], [1, 1, 1])
    assert found.users[0].standard_error == 0
    assert any("field (30 points)" in note and "3/n" in note for note in found.notes)


@pytest.mark.parametrize(
    ("counts", "weights", "words"),
    [
        ([[1, 2]], [1.0], "do not fit"),
        ([[1.5, 0], [0, 1]], [1.0, 1.0], "whole numbers"),
        ([[-1, 0], [0, 1]], [1.0, 1.0], "whole numbers"),
        ([[1, 0], [0, 1]], [1.0, 0.0], "strata of size 0"),
        ([[0, 0], [0, 0]], [0.0, 0.0], "no area"),
        ([[1, 0], [0, 1]], [1.0, math.nan], "must be known"),
    ],
)
def test_what_is_no_error_matrix_is_refused(counts: object, weights: object, words: str) -> None:
    with pytest.raises(BadInput, match=words):
        DesignSample.from_matrix(np.asarray(counts), np.asarray(weights))


def test_areas_for_figures_carry_names_colours_and_the_map() -> None:
    sample = DesignSample.from_matrix(np.array([[9, 1], [2, 8]]), np.array([30.0, 70.0]))
    found = assess_accuracy(sample, ("water", "forest"), total_area_ha=1000)
    water = found.area_estimates(ClassTable.from_names({1: "water", 2: "forest"}))[0]
    assert (water.name, water.map_area_ha) == ("water", pytest.approx(300))
    assert water.area_ha == pytest.approx(1000 * (0.3 * 0.9 + 0.7 * 0.2))
    assert water.ci_high - water.area_ha == pytest.approx(water.area_ha - water.ci_low)


def test_confidence_of_other_levels() -> None:
    sample = DesignSample.from_matrix(np.array([[90, 10], [5, 95]]), np.array([1.0, 1.0]))
    wide, usual = (assess_accuracy(sample, ("a", "b"), confidence_percent=p).overall for p in (99, 95))
    assert usual.half_width == pytest.approx(1.96 * usual.standard_error)
    assert wide.half_width == pytest.approx(2.5758293 * usual.standard_error)


TRUTH = np.array(
    [[0.16, 0.02, 0.02], [0.03, 0.40, 0.07], [0.01, 0.04, 0.25]]
)  # map × reference, shares of the ground


@pytest.mark.parametrize("design", ["stratified", "simple", "post-stratified"])
def test_intervals_cover_the_truth_about_95_times_in_100(design: str) -> None:
    """400 samples; ±3.5 standard errors of 400 draws at 95 %, less a little for what is approximate."""
    generator, covered, runs = np.random.default_rng(7), np.zeros(6), 400
    weights = TRUTH.sum(axis=1)
    truths = [
        np.trace(TRUTH),
        TRUTH[0, 0] / weights[0],
        *np.diag(TRUTH) / TRUTH.sum(axis=0),
        TRUTH[:, 2].sum(),
    ]
    for _ in range(runs):
        if design == "stratified":
            counts = np.array([generator.multinomial(120, row / row.sum()) for row in TRUTH])
        else:
            counts = generator.multinomial(400, TRUTH.ravel()).reshape(3, 3)
        if design == "simple":
            i, j = (np.repeat(a.ravel(), counts.ravel()) for a in np.indices((3, 3)))
            sample = DesignSample.from_points(0 * i, i, j, np.array([1.0]), 3)
        else:
            sample = DesignSample.from_matrix(counts, weights)
        found = assess_accuracy(sample, NAMES)
        estimates = [found.overall, found.users[0], *found.producers, found.area_shares[2]]
        covered += [e.low <= t <= e.high for e, t in zip(estimates, truths, strict=True)]
    assert (covered / runs > 0.91).all(), covered / runs
    assert (covered / runs < 0.99).all(), covered / runs
