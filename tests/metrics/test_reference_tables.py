"""The nine worked data sets of accuracy assessment come out to all printed digits.

A, B, C: Olofsson et al. 2014 (table 8) and 2013 (examples 1 and 2). D: Stehman 2014. E: AcATaMa's Tinigua data.
F: Pontius & Millones 2011, and the papers' raw counts as a contrast. G: Boundary IoU. H: CAST's vector. I: our own.
Where a paper misprints a number, what its own formula gives stands here.
"""

from __future__ import annotations

import numpy as np
import pytest

from geotoolbox.metrics.agreement import cohen_kappa, disagreement
from geotoolbox.metrics.applicability import fit_applicability, threshold_of
from geotoolbox.metrics.boundary import BoundaryCounts
from geotoolbox.metrics.calibration import CalibrationCounts, calibration_bins
from geotoolbox.metrics.design_based import AccuracyEstimate, assess_accuracy
from geotoolbox.metrics.estimators import DesignSample
from geotoolbox.metrics.planning import plan_sample_size

A_COUNTS = np.array([[66, 0, 5, 4], [0, 55, 8, 12], [1, 0, 153, 11], [2, 1, 9, 313]])
A_PIXELS = np.array([200_000, 150_000, 3_200_000, 6_450_000])


def assess(counts: object, sizes: object, total_area_ha: float = float("nan")) -> AccuracyEstimate:
    sample = DesignSample.from_matrix(np.asarray(counts), np.asarray(sizes, dtype=float))
    return assess_accuracy(
        sample, [f"{i + 1}" for i in range(len(sample.strata))], total_area_ha=total_area_ha
    )


def values(row: object) -> list[float]:
    return [e.value for e in row]  # type: ignore[attr-defined]


def halves(row: object) -> list[float]:
    return [e.half_width for e in row]  # type: ignore[attr-defined]


def errors(row: object) -> list[float]:
    return [e.standard_error for e in row]  # type: ignore[attr-defined]


def prints(found: object, printed: object, digits: int) -> None:
    """Every number rounds to what is printed."""
    assert np.round(np.asarray(found), digits).tolist() == np.round(np.asarray(printed), digits).tolist()


def test_golden_a_olofsson_2014_table_8() -> None:
    found = assess(A_COUNTS, A_PIXELS, 900_000)  # pixels of 0.09 ha
    prints(found.shares, [[0.017600, 0, 0.001333, 0.001067], [0, 0.011000, 0.001600, 0.002400],
                          [0.001939, 0, 0.296727, 0.021333], [0.003969, 0.001985, 0.017862, 0.621185]], 6)  # fmt: skip
    prints([found.overall.value, found.overall.half_width], [0.946512, 0.018484], 6)
    prints(found.overall.standard_error, 0.00943042, 8)
    prints(values(found.users), [0.880000, 0.733333, 0.927273, 0.963077], 6)
    prints(halves(found.users), [0.074041, 0.100757, 0.039745, 0.020534], 6)
    prints(values(found.producers), [0.748661, 0.847156, 0.934509, 0.961609], 6)
    prints(
        halves(found.producers), [0.213310, 0.254408, 0.034324, 0.018362], 6
    )  # printed as .23 and .01: misprints
    prints(values(found.area_shares), [0.023509, 0.012985, 0.317522, 0.645985], 6)
    prints(errors(found.area_shares), [0.003491, 0.002129, 0.008792, 0.009230], 6)
    pixels = [e.scaled(10_000_000) for e in found.area_shares]
    prints(values(pixels[:2]), [235086.25, 129846.15], 2)
    prints(halves(pixels[:2]), [68418.16, 41731.40], 2)
    prints(values(pixels[2:]), [3175221.4, 6459846.2], 1)
    prints(halves(pixels[2:]), [172331.5, 180907.3], 1)
    prints(values(found.areas_ha), [21157.76, 11686.15, 285769.93, 581386.15], 2)
    prints(halves(found.areas_ha), [6157.63, 3755.83, 15509.84, 16281.66], 2)
    prints(values(found.areas_ha), [21158, 11686, 285770, 581386], 0)  # as the paper prints them
    prints(halves(found.areas_ha), [6158, 3756, 15510, 16282], 0)


def test_golden_a_is_not_what_unweighted_counts_would_claim() -> None:
    found = assess(A_COUNTS, A_PIXELS)
    raw = np.diag(A_COUNTS) / A_COUNTS.sum(axis=0)
    prints(raw, [0.957, 0.982, 0.874, 0.921], 3)
    assert not np.allclose(values(found.producers), raw, atol=0.03)
    assert round(1 - 200_000 / found.area_shares[0].scaled(1e7).value, 2) == 0.15


def test_golden_b_olofsson_2013_example_1() -> None:
    found = assess([[97, 0, 3], [3, 279, 18], [2, 1, 97]], [22353, 1122543, 610228])
    prints(values(found.users), [0.970000, 0.930000, 0.970000], 6)
    prints(halves(found.users), [0.033604, 0.028921, 0.033604], 6)
    prints(values(found.producers), [0.480631, 0.994189, 0.896926], 6)
    prints(halves(found.producers), [0.224535, 0.011325, 0.041206], 6)
    prints(values(found.area_shares), [0.025703, 0.598287, 0.376010], 6)
    prints(errors(found.area_shares), [0.006126, 0.010057, 0.010618], 6)
    pixels = [e.scaled(22353 + 1122543 + 610228) for e in found.area_shares]
    prints(values(pixels), [45112.40, 1050067.27, 659944.33], 2)
    prints(halves(pixels), [21072.75, 34598.01, 36526.28], 2)
    prints([pixels[0].low, pixels[0].high], [24039.65, 66185.15], 2)  # the paper's lower bound is a misprint
    prints([found.overall.value, found.overall.half_width], [0.944417, 0.021882], 6)


def test_golden_c_olofsson_2013_example_2() -> None:
    found = assess([[127, 66, 54], [2, 322, 17], [0, 15, 540]], [0.007, 0.295, 0.698])
    prints(values(found.users), [0.514170, 0.944282, 0.972973], 6)
    prints(halves(found.users), [0.062457, 0.024382, 0.013504], 6)
    prints(values(found.producers), [0.675347, 0.930720, 0.976650], 6)
    prints(halves(found.producers), [0.304589, 0.029382, 0.009604], 6)
    prints(values(found.area_shares), [0.005329, 0.299298, 0.695372], 6)
    prints(halves(found.area_shares), [0.002434, 0.011863, 0.011642], 6)
    prints([found.overall.value, found.overall.half_width], [0.961297, 0.011864], 6)


STEHMAN = {
    1: "AA×5 AC×1 AB×1 BA×1 BB×1 BC×1",
    2: "AA×1 BB×5 BA×2 BB×2",
    3: "BC×2 CC×3 CD×2 CB×1 BB×1 BA×1",
    4: "DD×7 DC×2 DB×1",
}


def test_golden_d_stehman_2014_strata_that_are_not_the_map_classes() -> None:
    points = [
        (stratum - 1, "ABCD".index(pair[0]), "ABCD".index(pair[1]))
        for stratum, text in STEHMAN.items()
        for pair, times in (p.split("×") for p in text.split())
        for _ in range(int(times))
    ]
    stratum, mapped, reference = np.array(points).T
    sizes = np.array([40000, 30000, 20000, 10000])
    sample = DesignSample.from_points(stratum, mapped, reference, sizes, 4, population_px=sizes)
    assert sample.points.tolist() == [10] * 4
    found = assess_accuracy(sample, list("ABCD"), finite_population=True)
    prints(values(found.area_shares), [0.350000, 0.340000, 0.200000, 0.110000], 6)
    prints(errors(found.area_shares), [0.082248, 0.075853, 0.064280, 0.030722], 6)
    prints(values(found.users), [0.741935, 0.574468, 0.500000, 0.700000], 6)
    prints(errors(found.users), [0.164542, 0.124782, 0.215112, 0.152676], 6)
    prints(values(found.producers), [0.657143, 0.794118, 0.300000, 0.636364], 6)
    prints(
        errors(found.producers), [0.147710, 0.116548, 0.150411, 0.162280], 6
    )  # B prints as .114: a misprint
    prints([found.overall.value, found.overall.standard_error], [0.630000, 0.084642], 6)
    prints([found.shares[1, 2], found.share_errors[1, 2]], [0.080000, 0.048066], 6)
    prints(
        found.shares,
        [[0.23, 0.04, 0.04, 0], [0.12, 0.27, 0.08, 0], [0, 0.02, 0.06, 0.04], [0, 0.01, 0.02, 0.07]],
        6,
    )


def test_golden_e_tinigua() -> None:
    hectares = [145078.56, 5703.75, 64029.69]
    found = assess([[287, 1, 25], [3, 43, 4], [11, 1, 127]], hectares, sum(hectares))
    prints(values(found.users), [0.916933, 0.860000, 0.913669], 6)
    prints(errors(found.users), [0.015624, 0.049570, 0.023908], 6)
    prints(values(found.producers), [0.960926, 0.841466, 0.829274], 6)
    # AcATaMa prints .01056, .09383, .02542, with the column total where the paper's equation 7 has the row total
    prints(errors(found.producers), [0.01032, 0.09464, 0.02656], 5)
    prints(values(found.areas_ha), [138436.63, 5829.38, 70545.99], 2)
    prints(errors(found.areas_ha), [2709.38, 712.02, 2711.11], 2)
    prints(found.overall.value, 0.914448, 6)
    prints(found.overall.standard_error, 0.012801, 6)


@pytest.mark.parametrize(
    ("matrix", "accuracy", "kappa", "quantity", "allocation"),
    [
        ([[1, 14], [0, 1]], 0.125, 0.008850, 0.875, 0.0),
        ([[0, 1], [1, 14]], 0.875, -0.066667, 0.0, 0.125),
        ("weighted", 0.946512, 0.888814, 0.004493, 0.048995),
        ("raw", 0.917188, 0.869964, 0.039063, 0.043750),
    ],
)
def test_golden_f_kappa_quantity_and_allocation(
    matrix: object, accuracy: float, kappa: float, quantity: float, allocation: float
) -> None:
    given = {"weighted": assess(A_COUNTS, A_PIXELS).shares, "raw": A_COUNTS}
    table = given[matrix] if isinstance(matrix, str) else np.array(matrix)
    split = disagreement(table)
    assert round(1 - split.total, 6) == pytest.approx(accuracy, abs=1e-9)
    assert round(cohen_kappa(table), 6) == kappa
    # 0.0390625 lies between two printed digits: six decimals of it are .039062 or .039063
    assert split.quantity == pytest.approx(quantity, abs=5.1e-7)
    assert split.allocation == pytest.approx(allocation, abs=5.1e-7)
    assert sum(split.quantity_of) == pytest.approx(2 * split.quantity)
    assert sum(split.allocation_of) == pytest.approx(2 * split.allocation)


def test_planning_example() -> None:
    shares, expected = np.array([0.02, 0.015, 0.32, 0.645]), np.array([0.7, 0.6, 0.9, 0.95])
    assert plan_sample_size(shares, expected, 0.01) == 641
    assert round(float((shares * np.sqrt(expected * (1 - expected))).sum()), 6) == 0.253088


@pytest.mark.parametrize(
    ("first", "last", "iou", "ring", "both"), [(30, 69, 0.904762, 444, 296), (10, 89, 0.951220, 924, 616)]
)
def test_golden_g_boundary_iou_of_shifted_squares(
    first: int, last: int, iou: float, ring: int, both: int
) -> None:
    truth = np.zeros((100, 100), dtype=np.int64)
    truth[first : last + 1, first : last + 1] = 1
    shifted = np.roll(truth, 2, axis=1)
    prints(((truth & shifted).sum() / (truth | shifted).sum()), iou, 6)
    counts = BoundaryCounts(("ground", "square"), 3)
    counts.update(truth, shifted)
    found = counts.result()
    assert (found.reference[1], found.mapped[1], found.both[1]) == (ring, ring, both)
    assert found.iou[1] == 0.5


def test_calibration_of_two_classes() -> None:
    confidence, target = np.array([0.25, 0.25, 0.55, 0.75, 0.75]), np.array([0, 0, 1, 1, 1]) > 0
    pixels, summed, right = calibration_bins(confidence, target, 2)
    gaps, weights = np.abs(right - summed) / pixels, pixels / 5
    prints([gaps @ weights, np.sqrt(gaps**2 @ weights), gaps.max()], [0.2900, 0.2918, 0.3167], 4)


def test_calibration_of_many_classes() -> None:
    table = np.array([[0.25, 0.20, 0.55], [0.55, 0.05, 0.40], [0.10, 0.30, 0.60], [0.90, 0.05, 0.05]])
    counts = CalibrationCounts(3, bins=3)
    counts.update(table.T, np.array([0, 1, 2, 0]))
    found = counts.result()
    prints([found.ece, found.rms_error, found.mce], [0.2000, 0.2082, 0.2333], 4)


CAST_TRAIN_DI = [
    .09043580, .14046341, .16584582, .57617177, .26840303, .14353894, .19768329, .24022059, .06832037, .29150668,
    .18471625, .57617177, .12344463, .09043580, .14353894, .26896008, .22713731, .24022059, .20388725, .06832037,
    .23604264, .20388725, .91513568, .09558666, .14046341, .16214832, .37107762, .16214832, .18471625, .12344463,
]  # fmt: skip


def test_golden_h_threshold_of_the_area_of_applicability() -> None:
    index = np.array(CAST_TRAIN_DI)
    prints(np.quantile(index, [0.25, 0.75]), [0.14046341, 0.24022059], 8)
    prints(threshold_of(index), 0.38986, 5)
    assert int((index <= threshold_of(index)).sum()) == 27
    below = index[index <= threshold_of(index)]
    prints(below.max(), 0.37107762, 8)  # what earlier versions of CAST took for the threshold


def test_golden_i_dissimilarity_index() -> None:
    points = np.array([[0, 0], [1, 0], [0, 1], [1, 1], [5, 5]])
    found = fit_applicability(points, weights=[2, 1], folds=np.array([0, 0, 1, 1, 2]))
    prints(found.mean_distance, 2.449845, 6)
    prints(found.training_index, [0.196846] * 4 + [1.760647], 6)
    prints(found.threshold, 0.196846, 6)
    index = found.dissimilarity(np.array([[0.5, 0.5], [3, 3], [10, 0]]))
    prints(index, [0.220081, 0.880323, 2.200808], 6)
    assert not found.inside(index).any()
