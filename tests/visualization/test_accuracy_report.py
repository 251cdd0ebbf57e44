"""The report of an accuracy assessment: what it says, and that it says it safely."""

from __future__ import annotations

import re
from datetime import UTC, datetime

import numpy as np

from geotoolbox.core.classes import ClassTable
from geotoolbox.metrics import DesignSample, assess_accuracy
from geotoolbox.visualization.accuracy_report import accuracy_report, plot_class_accuracies

NAMES = {1: "deforestation", 2: "gain <b>", 3: "stable forest", 4: "other"}
CLASSES = ClassTable.from_names(NAMES)
COUNTS = np.array([[66, 0, 5, 4], [0, 55, 8, 12], [1, 0, 153, 11], [2, 1, 9, 313]])
SIZES = np.array([200_000, 150_000, 3_200_000, 6_450_000])


def page(counts: np.ndarray = COUNTS, sizes: np.ndarray = SIZES, **options: object) -> str:
    found = assess_accuracy(DesignSample.from_matrix(counts, sizes), CLASSES.names, total_area_ha=900_000)
    moment = datetime(2026, 1, 2, tzinfo=UTC)
    return accuracy_report(  # type: ignore[arg-type]
        title="a & b.tif", classes=CLASSES, estimate=found, design="by hand", created=moment, **options
    )


def words(html: str) -> str:
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", re.sub("[\u202f\u00a0]", " ", html)))


def test_it_says_the_published_numbers() -> None:
    said = words(page())
    assert "The map is right on 94.7 % of the ground (95 % interval 92.8 to 96.5 %)" in said
    assert "640 points" in said
    assert "21 158" in said and "6 158" in said
    assert "18 000" in said  # pixels counted
    assert "quantity 0.4 %, allocation 4.9 %" in said
    assert "Kappa" not in said


def test_it_warns_where_pixel_counting_is_off_by_more_than_chance() -> None:
    off = page(
        np.array([[50, 0, 0, 0], [0, 50, 0, 0], [20, 0, 80, 0], [0, 0, 0, 50]]), np.array([1, 1, 4, 4])
    )
    assert "Pixel counting overstates stable forest by about" in words(off)
    assert "Pixel counting" not in words(page()).split("Overall accuracy")[0]


def test_undefined_has_its_reason_and_text_is_escaped() -> None:
    counts = COUNTS.copy()
    counts[1], counts[:, 1] = 0, 0
    counts[1, 1] = 1
    html = page(counts)
    assert "one sample point only in stratum gain &lt;b&gt;" in html
    assert "gain &lt;b&gt;" in html and "gain <b>" not in html
    assert "a &amp; b.tif" in html
    assert not re.search(r'(src|href)="https?:', html)


def test_a_class_that_no_point_met_shows_no_zero() -> None:
    counts = COUNTS.copy()
    counts[:, 1] = 0
    said = words(page(counts))
    assert "– no point was of this class – " in said


def test_kappa_comes_with_its_note() -> None:
    said = words(page(kappa=True))
    assert "0.889" in said and "Pontius" in said


def test_accuracies_are_drawn_where_they_are() -> None:
    found = assess_accuracy(DesignSample.from_matrix(COUNTS, SIZES), CLASSES.names)
    ax = plot_class_accuracies(found, CLASSES)
    users = {
        round(float(line.get_xdata()[0]), 6)
        for line in ax.lines
        if line.get_marker() == "o" and len(line.get_xdata())
    }
    assert users == {0.88, 0.733333, 0.927273, 0.963077}
    assert next(t.get_text() for t in ax.get_yticklabels()) == "other"  # the largest class on top
