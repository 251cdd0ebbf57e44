"""Maps: lengths, directions, units and places are those of the ground."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.collections import PathCollection
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.offsetbox import AnchoredOffsetbox
from matplotlib.patches import Rectangle
from matplotlib.text import Text
from pyproj import Geod, Proj, Transformer
from shapely.geometry import MultiPolygon, Polygon, box

from geotoolbox import visualization as viz
from geotoolbox.errors import BadInput
from geotoolbox.visualization.mapframe import true_north_degrees
from geotoolbox.visualization.style import SERIES
from tests.visualization.test_images import pixel_of, render, texts

UTM = "EPSG:32612"
SCENE = box(300_000, 4_100_000, 340_000, 4_140_000)


def scale_bar(ax: Axes) -> tuple[str, float]:
    """What the bar says, and how long it is in data units."""
    (found,) = [a for a in ax.artists if isinstance(a, AnchoredOffsetbox)]
    parts: list[Any] = found.findobj(Rectangle)
    halves = [p for p in parts if p.get_transform().contains_branch(ax.transData) or p.get_width() > 0]
    (text,) = {t.get_text() for t in found.findobj(Text) if t.get_text()}
    return text, sum(p.get_width() for p in halves)


def test_scale_bar_is_as_long_as_it_says() -> None:
    ax = viz.plot_footprints([SCENE], UTM, patches=[SCENE.buffer(-15_000)])
    text, units = scale_bar(ax)
    assert text == "10 km"
    assert units == pytest.approx(10_000, rel=2e-3)  # UTM is off by up to 1 in 1000 here


def test_scale_bar_in_degrees_is_measured_on_the_ellipsoid() -> None:
    ax = viz.plot_footprints([box(10, 59, 12, 61)], "EPSG:4326")
    text, degrees = scale_bar(ax)
    _, _, metres = Geod(ellps="WGS84").inv(11, 60, 11 + degrees, 60)
    assert text == "20 km" and metres == pytest.approx(20_000, rel=1e-3)
    assert ax.get_aspect() == pytest.approx(2, rel=1e-6)  # a degree of longitude is half as long there


@pytest.mark.parametrize(
    ("crs", "bounds", "expected"),
    [
        (UTM, (300_000, 4_100_000, 340_000, 4_140_000), ("Easting (km)", "Northing (km)")),
        (UTM, (300_000, 4_100_000, 300_900, 4_100_900), ("Easting (m)", "Northing (m)")),
        ("EPSG:4326", (10, 59, 12, 61), ("Longitude", "Latitude")),
        ("EPSG:2229", (6_400_000, 1_800_000, 6_500_000, 1_900_000), ("Easting (US survey foot)", "Northing (US survey foot)")),
    ],
)  # fmt: skip
def test_axes_are_in_map_units(
    crs: str, bounds: tuple[float, float, float, float], expected: tuple[str, str]
) -> None:
    ax = viz.fit_map(Figure().add_subplot(), bounds, crs)
    assert (ax.get_xlabel(), ax.get_ylabel()) == expected
    assert ax.get_xlim() == (bounds[0], bounds[2]) and ax.get_ylim() == (bounds[1], bounds[3])


def test_ticks_say_where_they_are() -> None:
    figure = Figure()
    ax = viz.fit_map(figure.add_subplot(), (300_000, 4_100_000, 340_000, 4_140_000), UTM)
    figure.canvas.draw()
    ticks = dict(zip(ax.get_xticks(), [t.get_text() for t in ax.get_xticklabels()], strict=True))
    assert ticks[320_000] == "320"
    assert [t.get_text() for t in ax.get_yticklabels()][1].endswith("110")


@pytest.mark.parametrize(
    ("x", "y", "crs"),
    [
        (500_000, 4_100_000, UTM),  # on the zone's middle meridian
        (320_000, 4_100_000, UTM),
        (700_000, 8_100_000, UTM),
        (4_321_000, 3_210_000, "EPSG:3035"),
        (5_321_000, 3_210_000, "EPSG:3035"),
        (-2_000_000, 1_000_000, "EPSG:3031"),  # around the south pole
    ],
)
def test_the_arrow_points_to_true_north(x: float, y: float, crs: str) -> None:
    lon, lat = Transformer.from_crs(crs, "EPSG:4326", always_xy=True).transform(x, y)
    expected = Proj(crs).get_factors(lon, lat).meridian_convergence
    assert true_north_degrees(x, y, crs) == pytest.approx(expected, abs=0.01)
    assert true_north_degrees(12.0, 48.0, "EPSG:4326") == 0


def test_the_arrow_is_drawn_in_that_direction() -> None:
    ax = viz.fit_map(Figure().add_subplot(), (5_300_000, 3_200_000, 5_340_000, 3_220_000), "EPSG:3035")
    (arrow,) = [t for t in ax.texts if t.arrow_patch is not None]  # type: ignore[attr-defined]
    right, up = np.subtract(arrow.xy, arrow.xyann)  # type: ignore[attr-defined]
    turn = true_north_degrees(5_320_000, 3_210_000, "EPSG:3035")
    assert math.degrees(math.atan2(-right, up)) == pytest.approx(turn, abs=1e-6)
    assert turn > 10


def test_areas_are_drawn_where_they_are_in_colours_and_hatches_of_their_own() -> None:
    holed = Polygon([(0, 0), (10, 0), (10, 10), (0, 10)], [[(4, 4), (6, 4), (6, 6), (4, 6)]])
    areas = {"train": MultiPolygon([holed, box(20, 0, 30, 10)]), "test": box(12, 0, 18, 10)}
    ax = viz.plot_areas(areas, UTM, footprints=[box(0, 0, 30, 10)])
    assert texts(ax) == ["footprint", "train", "test"]
    train = [p for p in ax.patches if np.allclose(p.get_facecolor(), (*to_rgb(SERIES[0]), 0.5))]
    assert len(train) == 2
    drawn = render(ax)
    land, hole, outside = (drawn[pixel_of(ax, *place)][:3].tolist() for place in ((2, 2), (5, 5), (11, 2)))
    assert land != [255] * 3 and hole == outside == [255] * 3
    (test,) = [p for p in ax.patches if np.allclose(p.get_facecolor(), (*to_rgb(SERIES[1]), 0.5))]
    assert test.get_path().get_extents().extents.tolist() == [12, 0, 18, 10]
    assert test.get_hatch() and test.get_hatch() != train[0].get_hatch()


def test_backdrop_lies_below_in_its_own_place() -> None:
    rgba = np.full((2, 2, 4), 255, dtype=np.uint8)
    under = viz.Backdrop(rgba, (300_000, 4_100_000, 340_000, 4_140_000))
    ax = viz.plot_footprints([SCENE], UTM, patches=[SCENE.buffer(-1e4)] * 3, backdrop=under)
    assert ax.images[0].get_extent() == [300_000, 340_000, 4_100_000, 4_140_000]
    assert ax.images[0].get_zorder() < min(p.get_zorder() for p in ax.patches)
    assert texts(ax) == ["footprint of a scene", "3 patches"]


def test_nothing_to_draw_is_said() -> None:
    with pytest.raises(BadInput, match="nothing to draw"):
        viz.plot_areas({"train": Polygon()}, UTM)
    with pytest.raises(BadInput, match="no extent"):
        viz.fit_map(Figure().add_subplot(), (0, 0, 0, 1), UTM)


def test_block_scores_are_coloured_by_value_and_undefined_is_hatched() -> None:
    blocks = [box(i * 1000, 0, (i + 1) * 1000, 1000) for i in range(3)]
    ax = viz.plot_block_scores([0.5, np.nan, 1.0], blocks, UTM, label="mean IoU")
    filled, empty = (c for c in ax.collections if isinstance(c, PathCollection))
    assert filled.get_array().tolist() == [0.5, 1.0] and filled.get_cmap().name == "cividis"
    assert filled.get_clim() == (0.5, 1.0)
    assert empty.get_hatch() and empty.get_paths()[0].get_extents().extents.tolist() == [1000, 0, 2000, 1000]
    assert texts(ax) == ["undefined"]
    assert ax.figure.axes[1].get_ylabel() == "mean IoU"
    with pytest.raises(BadInput, match="3 values"):
        viz.plot_block_scores([1.0], blocks, UTM)


def test_very_many_blocks_stay_a_small_drawing() -> None:
    blocks = [box(i % 60, i // 60, i % 60 + 1, i // 60 + 1) for i in range(3600)]
    ax = viz.plot_block_scores(np.linspace(0, 1, 3600), blocks, UTM, theme=viz.PAGE)
    assert len(viz.to_svg(ax.figure, "x")) < 150_000
