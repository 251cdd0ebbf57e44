"""Pictures of pixels: the colours that are drawn are those of the data."""

from __future__ import annotations

import sys
from pathlib import Path
from subprocess import run

import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from matplotlib.text import Text
from numpy.typing import NDArray
from PIL import Image

from geotoolbox import visualization as viz
from geotoolbox.core.classes import IGNORE_INDEX, ClassTable
from geotoolbox.errors import BadInput
from geotoolbox.visualization.pixels import RIGHT, WRONG

TABLE = ClassTable.from_names({1: "water", 2: "forest"}, {1: (10, 20, 200), 2: (0, 120, 0)})
UTM = "EPSG:32612"
BOUNDS = (300_000.0, 4_100_000.0, 306_000.0, 4_104_000.0)


def texts(ax: Axes) -> list[str]:
    """What the legend says."""
    legend = ax.get_legend()
    return [] if legend is None else [t.get_text() for t in legend.get_texts()]


def pixels(ax: Axes) -> NDArray[np.uint8]:
    """What the picture holds."""
    return np.asarray(ax.images[0].get_array())


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


def test_stretch_is_robust_and_can_be_shared() -> None:
    image = np.arange(1000.0).reshape(1, 10, 100)
    image[0, 0, 0] = 1e9
    low, high = viz.stretch_limits(image, bands=(0,))
    assert low == pytest.approx([20.98], abs=1.1) and high == pytest.approx([979], abs=1.1)
    other = viz.stretch(
        np.array([[[low[0], (low[0] + high[0]) / 2, high[0]]]]), bands=(0,), limits=(low, high)
    )
    assert other[0, :, 0].tolist() == [0, 128, 255]


@pytest.mark.parametrize("bands", [(0, 1), (0, 1, 9), (-1,)])
def test_bands_that_are_not_there_are_refused(bands: tuple[int, ...]) -> None:
    with pytest.raises(BadInput, match="one or three bands"):
        viz.show_image(np.zeros((4, 2, 2)), bands=bands)


def test_an_image_without_a_valid_pixel_is_transparent() -> None:
    shown = viz.stretch(np.full((3, 2, 2), np.nan))
    assert not shown.any()


def test_rgb_bands_by_name_number_or_place() -> None:
    assert viz.rgb_bands(["landsat_b2", "landsat_b3", "landsat_b4", "landsat_b5"]) == (2, 1, 0)
    assert viz.rgb_bands(["B08", "B04", "B03", "B02"]) == (1, 2, 3)
    assert viz.rgb_bands(["a", "b", "c"]) == (0, 1, 2)
    assert viz.rgb_bands(["elevation"]) == (0,)


def test_image_stands_north_up_in_map_units() -> None:
    image = np.zeros((3, 4, 6))
    image[:, 0] = 9  # the northern row is bright
    ax = viz.show_image(image, bounds=BOUNDS, crs=UTM, percentiles=(0, 100))
    assert ax.images[0].get_extent() == [300_000, 306_000, 4_100_000, 4_104_000]
    assert ax.get_ylim() == (4_100_000, 4_104_000) and ax.images[0].origin == "upper"
    assert pixels(ax)[0, 0, 0] == 255 and pixels(ax)[-1, 0, 0] == 0
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("Easting (km)", "Northing (km)")
    drawn = render(ax)
    row, column = pixel_of(ax, 303_000, 4_103_800)
    assert drawn[row, column, 0] > 250  # and so it stands in the picture
    row, column = pixel_of(ax, 303_000, 4_100_900)
    assert drawn[row, column, 0] < 5


def render(ax: Axes) -> NDArray[np.uint8]:
    figure = viz.figure_of(ax)
    figure.canvas.draw()
    return np.asarray(figure.canvas.buffer_rgba())  # type: ignore[attr-defined]


def pixel_of(ax: Axes, x: float, y: float) -> tuple[int, int]:
    across, up = ax.transData.transform((x, y))
    return int(viz.figure_of(ax).bbox.height - up), int(across)


def test_mask_has_a_legend_of_the_classes_that_occur() -> None:
    table = ClassTable.from_names(["a", "b", "c"])
    ax = viz.show_mask(np.array([[2, 0], [IGNORE_INDEX, 0]]), table)
    assert texts(ax) == ["a", "c"]
    faces = [p.get_facecolor()[:3] for p in ax.get_legend().get_patches()]
    assert np.allclose(faces, np.array([table.colors[0], table.colors[2]]) / 255)
    assert texts(viz.show_mask(np.array([[0]]), table, legend=False)) == []


def test_error_shows_agreement_difference_and_nothing() -> None:
    ax = viz.show_error(np.array([[0, 1, IGNORE_INDEX]]), np.array([[0, 0, 0]]))
    assert pixels(ax)[0].tolist() == [[*RIGHT, 255], [*WRONG, 255], [0, 0, 0, 0]]
    assert texts(ax) == ["agree", "differ"]


def test_prediction_has_a_panel_for_each_thing_given_and_one_legend() -> None:
    truth, image = np.array([[0, 1], [1, IGNORE_INDEX]]), np.zeros((4, 2, 2))
    panels = viz.show_prediction(np.array([[0, 0], [1, 1]]), TABLE, image=image, truth=truth)
    assert [a.get_title(loc="left") for a in panels] == ["Image", "Reference", "Map", "Where they differ"]
    (legend,) = panels.figure.legends
    assert [t.get_text() for t in legend.get_texts()] == ["water", "forest", "agree", "differ"]
    alone = viz.show_prediction(np.array([[0]]), TABLE, legend=False)
    assert len(alone) == 1 and not alone.figure.legends


def test_panels_of_ones_own_must_fit() -> None:
    axes = Figure().subplots(1, 3)
    with pytest.raises(BadInput, match="2 axes"):
        viz.show_prediction(np.zeros((2, 2), int), TABLE, image=np.zeros((3, 2, 2)), axes=list(axes))
    two = viz.show_prediction(np.zeros((2, 2), int), TABLE, image=np.zeros((3, 2, 2)), axes=list(axes[:2]))
    assert two.figure is axes[0].figure


def test_samples_and_batches_of_tensors_are_shown() -> None:
    torch = pytest.importorskip("torch")
    mask = torch.zeros(8, 8, dtype=torch.long)
    mask[0] = 1
    sample = {"image": torch.rand(4, 8, 8), "mask": mask, "valid": torch.ones(8, 8, dtype=torch.bool)}
    shown = viz.show_sample(sample, TABLE)
    assert pixels(shown[1])[:2, 0].tolist() == [[0, 120, 0, 255], [10, 20, 200, 255]]
    batch = {key: torch.stack([value] * 3) for key, value in sample.items()}
    assert len(viz.show_batch(batch, TABLE)) == 6


def test_a_batch_of_ten_wraps_and_hides_what_is_empty() -> None:
    batch = {"image": np.random.default_rng(0).random((10, 3, 4, 4)), "mask": np.zeros((10, 4, 4), int)}
    batch["mask"][9] = 1
    grid = viz.show_batch(batch, TABLE, limit=10)
    assert [ax.get_visible() for ax in grid] == [True] * 16 + [True] * 2 + [False] * 6 + [True] * 2 + [
        False
    ] * 6
    assert pixels(grid[25])[0, 0].tolist() == [0, 120, 0, 255]  # the tenth mask, below the tenth image
    assert [t.get_text() for t in grid.figure.legends[0].get_texts()] == ["water", "forest"]


def test_time_series_is_a_gif_with_one_stretch(tmp_path: Path) -> None:
    images = np.zeros((3, 1, 8, 8))
    images[1], images[2] = 50, 100
    path = viz.animate_images(
        images, tmp_path / "a.gif", ["May", "June", "July"], bands=(0,), percentiles=(0, 100), gamma=1,
        seconds_per_image=0.5, dpi=50,
    )  # fmt: skip
    middle = []
    with Image.open(path) as gif:
        assert gif.format == "GIF" and gif.n_frames == 3 and gif.info["duration"] == 500
        for frame in range(3):
            gif.seek(frame)
            middle.append(gif.convert("L").getpixel((gif.width // 2, gif.height // 2)))
    assert middle[0] < 5 and middle[1] == pytest.approx(128, abs=8) and middle[2] > 250


def test_time_series_refuses_what_is_none(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"\.gif"):
        viz.animate_images(np.zeros((2, 3, 4, 4)), tmp_path / "a.mp4")
    with pytest.raises(BadInput, match="a title for each"):
        viz.animate_images(np.zeros((2, 3, 4, 4)), tmp_path / "a.gif", ["only one"])
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(("suffix", "start"), [("png", b"\x89PNG"), ("svg", b"<?xml"), ("pdf", b"%PDF")])
def test_figures_become_files_that_repeat(tmp_path: Path, suffix: str, start: bytes) -> None:
    def draw(name: str) -> bytes:
        ax = viz.show_mask(np.array([[0, 1]]), TABLE, bounds=BOUNDS, crs=UTM)
        return viz.save_figure(ax, tmp_path / f"{name}.{suffix}").read_bytes()

    first = draw("a")
    assert first.startswith(start) and first == draw("b")
    with pytest.raises(BadInput, match=r"svg or \.pdf"):
        viz.save_figure(viz.show_mask(np.array([[0]]), TABLE), tmp_path / "a.bmp")


def test_a_notebook_shows_what_is_returned() -> None:
    for shown in (viz.show_mask(np.array([[0, 1]]), TABLE), viz.show_prediction(np.array([[0]]), TABLE)):
        assert shown._repr_png_().startswith(b"\x89PNG")


@pytest.mark.parametrize("theme", [viz.LIGHT, viz.DARK])
def test_themes_colour_the_page_and_the_text(theme: viz.Theme) -> None:
    ax = viz.show_mask(np.array([[0]]), TABLE, title="here", theme=theme)
    assert to_hex(ax.figure.get_facecolor()) == theme.surface
    assert {to_hex(t.get_color()) for t in ax.get_legend().get_texts()} == {theme.ink}
    assert [t.get_color() for t in ax.findobj(Text) if t.get_text() == "here"] == [theme.ink]


def test_drawing_leaves_pyplot_alone() -> None:
    code = (
        "import sys, numpy as np; from geotoolbox import visualization as v;"
        "v.to_png(v.show_image(np.zeros((3, 4, 4))).figure);"
        "assert 'matplotlib.pyplot' not in sys.modules"
    )
    assert run([sys.executable, "-c", code], check=False).returncode == 0
