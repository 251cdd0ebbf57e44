"""Charts: the numbers that are drawn are those that were given."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.colors import to_hex, to_rgb
from numpy.typing import NDArray
from sklearn.decomposition import PCA
from sklearn.metrics import precision_recall_curve, roc_auc_score, roc_curve

from geotoolbox import visualization as viz
from geotoolbox.core.classes import ClassTable
from geotoolbox.errors import BadInput
from geotoolbox.metrics import compute_scores
from geotoolbox.metrics.areas import AreaEstimate
from geotoolbox.visualization.style import ACCENT, SERIES
from tests.visualization.test_images import TABLE, texts

COUNTS = np.array([[90, 0, 10], [0, 5, 0], [30, 0, 870]])
THREE = ClassTable.from_names(["field", "water", "forest"])


def values(ax: Axes) -> NDArray[np.float64]:
    """The strength of each cell of a matrix."""
    return np.asarray(ax.images[0].get_array())[..., 3]


def cell_texts(ax: Axes) -> list[str]:
    return [t.get_text() for t in ax.texts]


@pytest.mark.parametrize(
    ("normalize", "expected", "said"),
    [
        ("truth", [[0.9, 0, 0.1], [0, 1, 0], [1 / 30, 0, 29 / 30]], "90"),
        ("predicted", [[0.75, 0, 1 / 88], [0, 1, 0], [0.25, 0, 87 / 88]], "75"),
        ("none", COUNTS / 870, "90"),
    ],
)
def test_confusion_matrix_has_the_shares_asked_for(normalize: str, expected: object, said: str) -> None:
    ax = viz.plot_confusion_matrix(COUNTS, THREE, normalize)
    assert values(ax) == pytest.approx(np.array(expected))
    assert np.allclose(np.asarray(ax.images[0].get_array())[0, 0, :3], to_rgb(ACCENT))
    assert cell_texts(ax)[0] == said
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("Map", "Reference")


def test_confusion_matrix_is_sorted_in_rows_columns_and_names() -> None:
    ax = viz.plot_confusion_matrix(COUNTS, THREE, "none", sort="frequency")
    assert [t.get_text() for t in ax.get_yticklabels()] == ["forest", "field", "water"]
    assert [t.get_text() for t in ax.get_xticklabels()] == ["forest", "field", "water"]
    assert cell_texts(ax) == ["870", "30", "0", "10", "90", "0", "0", "0", "5"]


def test_classes_that_are_confused_stand_side_by_side() -> None:
    counts = np.diag([50, 50, 50, 50])
    counts[0, 3], counts[3, 0], counts[1, 2], counts[2, 1] = 40, 45, 30, 35
    order = viz.matrix_order(counts, "confusion")
    assert abs(order.index(0) - order.index(3)) == 1 and abs(order.index(1) - order.index(2)) == 1


def test_a_class_without_reference_is_hatched_and_not_zero() -> None:
    ax = viz.plot_confusion_matrix(np.array([[3, 1], [0, 0]]), TABLE, "truth")
    assert cell_texts(ax) == ["75", "25", "", "–"]
    (hatched,) = [p for p in ax.patches if p.get_hatch()]
    assert hatched.get_xy() == (-0.5, 0.5) and (hatched.get_width(), hatched.get_height()) == (2, 1)


@pytest.mark.parametrize("count", [2, 16, 17, 60])
def test_confusion_matrix_of_many_classes_stays_legible(count: int) -> None:
    table = ClassTable.from_values(range(count))
    counts = np.eye(count, dtype=int) * 20
    counts[0, 1] = 5
    ax = viz.plot_confusion_matrix(counts, table)
    figure = viz.figure_of(ax)
    figure.canvas.draw()
    labels = [*ax.get_xticklabels(), *ax.get_yticklabels()]
    assert min(t.get_fontsize() for t in labels) >= 6
    assert min(t.get_fontsize() for t in ax.texts) >= 4.8
    assert len(ax.texts) == (count * count if count <= 16 else count + 1)
    boxes = [t.get_window_extent() for t in ax.get_yticklabels()]
    assert all(a.y0 >= b.y1 - 1 for a, b in pairwise(boxes))  # no name covers the next
    assert float(figure.get_size_inches().max()) <= 14.5


def test_a_matrix_that_does_not_fit_is_refused() -> None:
    with pytest.raises(BadInput, match="does not fit the classes"):
        viz.plot_confusion_matrix(COUNTS, TABLE)
    with pytest.raises(BadInput, match="truth, predicted or none"):
        viz.plot_confusion_matrix(COUNTS, THREE, "rows")  # type: ignore[arg-type]
    with pytest.raises(BadInput, match="given, frequency or confusion"):
        viz.plot_confusion_matrix(COUNTS, THREE, sort="names")  # type: ignore[arg-type]


def test_scores_put_the_most_frequent_class_on_top() -> None:
    ax = viz.plot_scores(compute_scores(np.array([[10, 0], [10, 90]]), TABLE.names), TABLE)
    assert [t.get_text() for t in ax.get_yticklabels()] == ["forest", "water"]
    assert ax.patches[0].get_width() == pytest.approx(0.9)
    assert np.allclose(ax.patches[0].get_facecolor()[:3], np.array(TABLE.colors[1]) / 255)
    assert texts(ax) == ["IoU", "precision", "recall"]


def test_a_class_without_reference_is_said_not_drawn_as_zero() -> None:
    ax = viz.plot_scores(compute_scores(np.array([[5, 1], [0, 0]]), TABLE.names), TABLE)
    assert cell_texts(ax) == ["not in the reference"]
    assert len(ax.patches) == 1


def test_history_draws_gaps_where_a_value_is_missing() -> None:
    rows = [{"epoch": 0, "train_loss": 1.0}, {"epoch": 1, "train_loss": 0.5, "val_loss": None}]
    ax = viz.plot_history(rows, ["train_loss", "val_loss"], best_epoch=1)
    train, val, kept = ax.lines
    assert train.get_ydata().tolist() == [1.0, 0.5]
    assert np.isnan(val.get_ydata()).all()
    assert kept.get_xdata() == [1, 1] and cell_texts(ax) == ["kept: epoch 1"]
    assert train.get_linestyle() != val.get_linestyle() and train.get_color() != val.get_color()


def test_baselines_show_the_model_strong_and_what_is_undefined_not_at_all() -> None:
    ax = viz.plot_baselines([("model", 0.9, 0.6), ("forest", 0.8, math.nan)])
    below, bars = (
        ax.patches[::2],
        ax.patches[1::2],
    )  # the surface, so that no grid shines through, and the bar
    assert [p.get_width() for p in below] == [p.get_width() for p in bars] == [0.9, 0.6, 0.8]
    assert [p.get_alpha() for p in bars] == [1.0, 1.0, 0.42]
    assert cell_texts(ax) == ["0.900", "0.600", "0.800"]


def test_class_balance_stacks_shares_and_writes_the_large_ones() -> None:
    ax = viz.plot_class_balance({"train": [30, 70], "test": [1, 199]}, TABLE)
    assert [p.get_x() for p in ax.patches] == pytest.approx([0, 0.3, 0, 0.005])
    assert [p.get_width() for p in ax.patches] == pytest.approx([0.3, 0.7, 0.005, 0.995])
    assert cell_texts(ax) == ["30", "70", "100"]
    assert [t.get_text() for t in ax.get_yticklabels()] == ["train (100 px)", "test (200 px)"]
    assert texts(ax) == ["water", "forest"]
    assert texts(viz.plot_class_balance({"train": [1, 1]}, TABLE, legend=False)) == []


def test_roc_draws_the_curve_and_says_the_area() -> None:
    rng = np.random.default_rng(0)
    truth = rng.random(200) < 0.4
    score = truth + rng.normal(0, 1, 200)
    fpr, tpr, _ = roc_curve(truth, score)
    area = roc_auc_score(truth, score)
    ax = viz.plot_roc(
        [fpr, [0, 1]], [tpr, [math.nan] * 2], ["water", "none"], [area, math.nan], [(1, 2, 3), (9, 9, 9)]
    )
    chance, water, none = ax.lines
    assert chance.get_xydata().tolist() == [[0, 0], [1, 1]]
    assert np.array_equal(water.get_xdata(), fpr) and np.array_equal(water.get_ydata(), tpr)
    assert to_hex(water.get_color()) == "#010203"
    assert np.isnan(none.get_ydata()).all()
    assert texts(ax) == ["by chance", f"water (AUC {area:.3f})", "none (AUC undefined)"]
    assert ax.get_aspect() == 1


@pytest.mark.parametrize("turned", [False, True])
def test_precision_holds_down_to_the_next_lower_recall(turned: bool) -> None:
    truth, score = np.array([0, 1, 0, 1, 1]), np.array([0.1, 0.3, 0.35, 0.8, 0.9])
    precision, recall, _ = precision_recall_curve(truth, score)  # recall falls
    way = slice(None, None, -1) if turned else slice(None)
    ax = viz.plot_precision_recall([recall[way]], [precision[way]], ["water"], [0.9], shares=[0.6])
    line = next(a for a in ax.lines if a.get_label().startswith("water"))
    drawn = line.get_path().vertices[:, 0].size and line
    assert drawn.get_drawstyle() == ("steps-pre" if turned else "steps-post")
    guess = next(a for a in ax.lines if a is not line)
    assert list(guess.get_ydata()) == [0.6, 0.6] and guess.get_color() == line.get_color() == SERIES[0]
    assert texts(ax) == ["water (AP 0.900)"]


def test_curves_that_do_not_fit_are_refused() -> None:
    with pytest.raises(BadInput, match="do not fit"):
        viz.plot_roc([[0, 1]], [[0, 1]], ["a", "b"])
    with pytest.raises(BadInput, match="one area"):
        viz.plot_roc([[0, 1]], [[0, 1]], ["a"], [0.5, 0.6])
    with pytest.raises(BadInput, match="bins do not fit"):
        viz.plot_reliability([0.5], [0.5, 0.6], [1, 1])


def test_reliability_leaves_out_empty_bins_and_grows_with_the_pixels() -> None:
    ax = viz.plot_reliability(
        [0.2, math.nan, 0.9], [0.1, math.nan, 0.6], [10, 0, 1000], error=0.28, label="before"
    )
    ideal, line = ax.lines
    assert list(ideal.get_xdata()) == [0, 1]
    assert line.get_xydata().tolist() == [[0.2, 0.1], [0.9, 0.6]]
    small, large = ax.collections[1].get_sizes()
    assert large > 5 * small
    viz.plot_reliability([0.5], [0.5], [10], label="after", color=SERIES[1], ax=ax)
    assert texts(ax) == ["as sure as right", "before (ECE 0.280)", "after"]


def test_areas_stand_sorted_with_interval_and_pixel_count() -> None:
    ax = viz.plot_area_estimates(
        [AreaEstimate("small", (1, 2, 3), 10, 5, 15, 20), AreaEstimate("large", (200, 0, 0), 100, 90, 110, 80),
         AreaEstimate("unknown", (0, 0, 0), math.nan, math.nan, math.nan, 3)]
    )  # fmt: skip
    assert [t.get_text() for t in ax.get_yticklabels()] == ["large", "small", "unknown"]
    spans = [tuple(line.get_xdata()) for line in ax.lines if len(line.get_xdata()) == 2]
    assert (90, 110) in spans and (5, 15) in spans
    marks = {
        (line.get_marker(), *line.get_xdata(), *line.get_ydata())
        for line in ax.lines
        if len(line.get_xdata()) == 1
    }
    assert marks == {("o", 100, 0), ("o", 10, 1), ("D", 80, 0), ("D", 20, 1), ("D", 3, 2)}
    assert "no estimate" in cell_texts(ax)[0]
    assert ax.get_xlim()[0] == 0 and texts(ax) == [
        "estimate",
        "confidence interval",
        "the map's pixels, counted",
    ]
    with pytest.raises(BadInput, match="no estimate"):
        viz.plot_area_estimates([])


def test_histograms_count_valid_pixels_only() -> None:
    image = np.concatenate([np.full((1, 1, 50), 10.0), np.full((1, 1, 50), 1e6)], axis=2)
    valid = np.arange(100).reshape(1, 100) < 50
    ax = viz.plot_histograms(image, valid, ["red"], bins=4)
    counts, edges, _ = ax.patches[0].get_data()
    assert counts.sum() == pytest.approx(1) and edges[-1] < 100
    assert texts(ax) == ["red"]
    with pytest.raises(BadInput, match="no valid pixel"):
        viz.plot_histograms(image, np.zeros_like(valid))
    with pytest.raises(BadInput, match="one name"):
        viz.plot_histograms(image, valid, ["red", "nir"])


def test_class_histograms_have_a_line_for_each_class_present() -> None:
    band = np.array([[0.0, 0.0, 1.0, 1.0]])
    ax = viz.plot_class_histograms(band, np.array([[0, 0, 1, -100]]), TABLE, bins=2)
    assert texts(ax) == ["water", "forest"]
    outlines = [p for p in ax.patches if not p.get_fill()]
    assert [p.get_data()[0].tolist() for p in outlines] == [[1, 0], [0, 1]]
    assert ax.transData.transform((0, 0.25))[1] == pytest.approx(
        ax.transData.transform([(0, 0), (0, 1)])[:, 1].mean()
    )
    assert to_hex(outlines[0].get_edgecolor()) == "#0a14c8"


def test_normalisation_is_shown_before_and_after() -> None:
    image = np.random.default_rng(0).normal(500, 100, (2, 20, 20))
    before, after = viz.plot_normalisation(image, (image - 500) / 100, names=["red", "nir"])
    assert before.get_xlim()[1] > 600 and after.get_xlim()[1] < 5
    assert texts(before) == [] and texts(after) == ["red", "nir"]
    with pytest.raises(BadInput, match="differ in shape"):
        viz.plot_normalisation(image, image[:1])


def test_signatures_are_medians_and_the_middle_half_over_wavelength() -> None:
    image = np.zeros((2, 1, 6))
    image[0, 0], image[1, 0] = [1, 2, 3, 4, 5, 999], [10, 20, 30, 40, 50, 999]
    mask, valid = np.array([[0, 0, 0, 0, 0, 0]]), np.array([[True] * 5 + [False]])
    ax = viz.plot_signatures(image, mask, TABLE, wavelengths_nm=[842, 490], valid=valid)
    assert ax.lines[0].get_xydata().tolist() == [[490, 30], [842, 3]]
    assert ax.collections[0].get_datalim(ax.transData).extents == pytest.approx([490, 2, 842, 40])
    assert texts(ax) == ["water"] and ax.get_xlabel() == "wavelength (nm)"
    with pytest.raises(BadInput, match="2 values"):
        viz.plot_signatures(image, mask, TABLE, names=["red"])


def test_features_lie_on_their_main_axes() -> None:
    rng = np.random.default_rng(0)
    features = rng.normal(size=(300, 4)) @ rng.normal(size=(4, 4)) * [1, 10, 100, 1000]
    labels = np.arange(300) % 2
    labels[0] = -100
    ax = viz.plot_features(features, labels, TABLE)
    scaled = (features[1:] - features[1:].mean(axis=0)) / features[1:].std(axis=0)
    expected = PCA(2).fit(scaled)
    shown = ax.collections[1].get_offsets()  # forest: odd rows
    assert np.allclose(np.abs(shown), np.abs(expected.transform(scaled)[0::2]), atol=1e-9)
    first = 100 * expected.explained_variance_ratio_[0]
    assert ax.get_xlabel() == f"main axis 1 ({first:.0f} % of the variance)"
    shapes = [c.get_paths()[0].vertices.tobytes() for c in ax.collections]
    assert shapes[0] != shapes[1] and texts(ax) == ["water", "forest"]
    assert (
        sum(len(c.get_offsets()) for c in viz.plot_features(features, labels, TABLE, limit=50).collections)
        == 50
    )
    with pytest.raises(BadInput, match="too little"):
        viz.plot_features(features[:2], labels[:2], TABLE)


def test_names_with_dollars_are_not_mathematics() -> None:
    odd = ClassTable.from_names({0: "$\\frac$", 1: "a_b$"})
    ax = viz.plot_confusion_matrix(np.eye(2, dtype=int), odd, theme=viz.PAGE)
    assert "$\\frac$" in viz.to_svg(ax.figure, "x")


def test_drawings_follow_the_page_and_repeat() -> None:
    def draw() -> str:
        return viz.to_svg(viz.plot_confusion_matrix(np.eye(2, dtype=int), TABLE, theme=viz.PAGE).figure, "a")

    assert draw() == draw()
    assert "var(--ink)" in draw() and "#010203" not in draw()
    assert 'id="figure_1"' not in draw()


def test_pale_lines_get_an_edge_on_white_and_dark_ones_on_dark() -> None:
    def edged(color: tuple[int, int, int], theme: viz.Theme) -> bool:
        ax = viz.plot_roc([[0, 1]], [[0, 1]], ["a"], colors=[color], theme=theme)
        return bool(ax.lines[1].get_path_effects())

    pale, dark = (250, 240, 200), (20, 40, 20)
    assert [edged(pale, t) for t in (viz.LIGHT, viz.DARK, viz.PAGE)] == [True, False, True]
    assert [edged(dark, t) for t in (viz.LIGHT, viz.DARK, viz.PAGE)] == [False, True, True]
