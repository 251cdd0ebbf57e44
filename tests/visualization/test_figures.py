"""Figures: what is drawn is what was given."""

from __future__ import annotations

import sys
from subprocess import run

import numpy as np
import pytest
from matplotlib.colors import to_rgb
from shapely.geometry import box

from geotoolbox import visualization as viz
from geotoolbox.core.classes import IGNORE_INDEX, ClassTable
from geotoolbox.errors import BadInput
from geotoolbox.metrics import compute_scores
from geotoolbox.visualization.style import ACCENT

TABLE = ClassTable.from_names({1: "water", 2: "forest"}, {1: (10, 20, 200), 2: (0, 120, 0)})


def test_mask_has_the_classes_own_colours_and_no_class_is_transparent() -> None:
    shown = viz.mask_rgba(np.array([[0, 1], [IGNORE_INDEX, 7]]), TABLE)
    assert shown.tolist() == [[[10, 20, 200, 255], [0, 120, 0, 255]], [[0, 0, 0, 0], [0, 0, 0, 0]]]


def test_stretch_ignores_what_is_not_valid() -> None:
    image = np.array([[[100.0, 200.0, 9999.0, np.nan]]] * 3)
    shown = viz.stretch(image, np.array([[True, True, False, True]]), percentiles=(0, 100))
    assert shown[0, :, 0].tolist() == [0, 255, 0, 0]
    assert shown[0, :, 3].tolist() == [255, 255, 0, 0]


def test_stretch_takes_bands_in_the_order_asked_for() -> None:
    image = np.stack([np.full((1, 2), v) * [1, 2] for v in (1.0, 2.0, 4.0)])
    image[0] = [[5, 5]]
    shown = viz.stretch(image, bands=(2, 1, 0), percentiles=(0, 100))
    assert shown[0, 1, :3].tolist() == [255, 255, 0]


def test_rgb_bands_by_name_number_or_place() -> None:
    assert viz.rgb_bands(["landsat_b2", "landsat_b3", "landsat_b4", "landsat_b5"]) == (2, 1, 0)
    assert viz.rgb_bands(["B08", "B04", "B03", "B02"]) == (1, 2, 3)
    assert viz.rgb_bands(["a", "b", "c"]) == (0, 1, 2)
    assert viz.rgb_bands(["elevation"]) == (0,)


def test_image_stands_north_up_in_map_units() -> None:
    ax = viz.show_image(np.random.default_rng(0).random((3, 4, 6)), bounds=(100, 200, 160, 240))
    assert ax.get_xlim() == (100, 160) and ax.get_ylim() == (200, 240)


def test_confusion_matrix_is_coloured_and_labelled_by_rows() -> None:
    ax = viz.plot_confusion_matrix(np.array([[3, 1], [0, 0]]), TABLE, "truth")
    cells = ax.images[0].get_array()
    assert np.allclose(cells[..., 3], [[0.75, 0.25], [0, 0]])
    assert np.allclose(cells[0, 0, :3], to_rgb(ACCENT))
    assert [t.get_text() for t in ax.texts] == ["75", "25", "", "–"]


@pytest.mark.parametrize("count", [2, 16, 17, 60])
def test_confusion_matrix_of_many_classes_stays_legible(count: int) -> None:
    table = ClassTable.from_values(range(count))
    ax = viz.plot_confusion_matrix(np.eye(count, dtype=int), table)
    assert len(ax.texts) == (count * count if count <= 16 else 0)
    assert min(t.get_fontsize() for t in ax.get_yticklabels()) >= 4


def test_scores_put_the_most_frequent_class_on_top() -> None:
    counts = np.array([[10, 0], [10, 90]])
    ax = viz.plot_scores(compute_scores(counts, TABLE.names), TABLE)
    assert [t.get_text() for t in ax.get_yticklabels()] == ["forest", "water"]
    assert ax.patches[0].get_width() == pytest.approx(0.9)


def test_a_class_without_reference_is_said_not_drawn_as_zero() -> None:
    ax = viz.plot_scores(compute_scores(np.array([[5, 1], [0, 0]]), TABLE.names), TABLE)
    assert [t.get_text() for t in ax.texts] == ["not in the reference"]


def test_history_draws_gaps_where_a_value_is_missing() -> None:
    rows = [{"epoch": 0, "train_loss": 1.0}, {"epoch": 1, "train_loss": 0.5, "val_loss": None}]
    ax = viz.plot_history(rows, ["train_loss", "val_loss"], best_epoch=1)
    assert ax.lines[0].get_ydata().tolist() == [1.0, 0.5]
    assert np.isnan(ax.lines[1].get_ydata()).all()


def test_prediction_has_a_panel_for_each_thing_given() -> None:
    mask = np.zeros((5, 5), dtype=int)
    image = np.zeros((4, 5, 5))
    titles = [a.get_title(loc="left") for a in viz.show_prediction(mask, TABLE, image=image, truth=mask)]
    assert titles == ["Image", "Reference", "Map", "Where they differ"]
    assert len(viz.show_prediction(mask, TABLE)) == 1


def test_samples_and_batches_of_tensors_are_shown() -> None:
    torch = pytest.importorskip("torch")
    sample = {"image": torch.rand(4, 8, 8), "mask": torch.zeros(8, 8, dtype=torch.long),
              "valid": torch.ones(8, 8, dtype=torch.bool)}  # fmt: skip
    assert len(viz.show_sample(sample, TABLE)) == 2
    batch = {key: torch.stack([value] * 3) for key, value in sample.items()}
    assert len(viz.show_batch(batch, TABLE)) == 6


def test_histograms_leave_out_what_is_not_valid() -> None:
    image = np.concatenate([np.full((1, 1, 50), 10.0), np.full((1, 1, 50), 1e6)], axis=2)
    valid = np.arange(100).reshape(1, 100) < 50
    ax = viz.plot_histograms(image, valid, ["red"])
    assert ax.get_xlim()[1] < 100
    with pytest.raises(BadInput, match="no valid pixel"):
        viz.plot_histograms(image, np.zeros_like(valid))


def test_class_histograms_have_a_line_for_each_class_present() -> None:
    band, mask = np.arange(20.0).reshape(4, 5), np.zeros((4, 5), dtype=int)
    ax = viz.plot_class_histograms(band, mask, TABLE)
    assert [t.get_text() for t in ax.get_legend().get_texts()] == ["water"]


def test_scale_bar_is_as_long_as_it_says() -> None:
    scene = box(300_000, 4_100_000, 340_000, 4_140_000)
    ax = viz.plot_footprints([scene], "EPSG:32612", patches=[scene.buffer(-15_000)])
    left, right = ax.get_xlim()
    bar = next(line for line in ax.lines if len(line.get_xdata()) == 2)
    share = bar.get_xdata()[1] - bar.get_xdata()[0]
    assert ax.texts[0].get_text() == "10 km"
    assert share * (right - left) == pytest.approx(10_000, rel=2e-3)


def test_names_with_dollars_are_not_mathematics() -> None:
    odd = ClassTable.from_names({0: "$\\frac$", 1: "a_b$"})
    ax = viz.plot_confusion_matrix(np.eye(2, dtype=int), odd, theme=viz.PAGE)
    drawn = viz.to_svg(ax.figure, "x")
    assert "$\\frac$" in drawn


def test_drawings_follow_the_page_and_repeat() -> None:
    def draw() -> str:
        return viz.to_svg(viz.plot_confusion_matrix(np.eye(2, dtype=int), TABLE, theme=viz.PAGE).figure, "a")

    assert draw() == draw()
    assert "var(--ink)" in draw() and "#010203" not in draw()
    assert 'id="figure_1"' not in draw()


def test_drawing_leaves_pyplot_alone() -> None:
    code = (
        "import sys, numpy as np; from geotoolbox import visualization as v;"
        "v.to_png(v.show_image(np.zeros((3, 4, 4))).figure);"
        "assert 'matplotlib.pyplot' not in sys.modules and 'torch' not in sys.modules"
    )
    assert run([sys.executable, "-c", code], check=False).returncode == 0
