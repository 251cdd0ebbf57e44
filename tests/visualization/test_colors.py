"""Colours that colour-blind readers can tell apart, measured."""

from __future__ import annotations

from itertools import combinations, pairwise

import numpy as np
import pytest
from matplotlib.colors import to_rgb

from geotoolbox.core.classes import DEFAULT_COLORS, ClassTable
from geotoolbox.jobs.demo_scene import DEMO_CLASSES
from geotoolbox.visualization.pixels import RIGHT, WRONG
from geotoolbox.visualization.style import DARK, LIGHT, SERIES
from tests.visualization.vision import MATRICES, ciede2000, difference, lab, linear, simulate

KINDS = sorted(MATRICES)


@pytest.mark.parametrize(
    ("one", "two", "expected"),
    [  # Sharma, Wu & Dalal 2005, table 1
        ((50, 2.6772, -79.7751), (50, 0, -82.7485), 2.0425),
        ((50, 2.5, 0), (61, -5, 29), 22.8977),
        ((50, 2.5, 0), (56, -27, -3), 31.9030),
        ((60.2574, -34.0099, 36.2677), (60.4626, -34.1751, 39.4387), 1.2644),
        ((22.7233, 20.0904, -46.6940), (23.0331, 14.9730, -42.5619), 2.0373),
        ((2.0776, 0.0795, -1.1350), (0.9033, -0.0636, -0.5514), 0.9082),
    ],
)
def test_the_ruler_measures_right(one: tuple[float, ...], two: tuple[float, ...], expected: float) -> None:
    assert ciede2000(one, two) == pytest.approx(expected, abs=6e-5)


def test_the_simulation_keeps_greys_and_confuses_red_with_green() -> None:
    assert lab((255, 255, 255)) == pytest.approx([100, 0, 0], abs=0.02)
    for kind in ("deuteranopia", "protanopia"):
        assert simulate((128, 128, 128), kind) == pytest.approx([128] * 3, abs=1)
    red, green = (200, 80, 40), (120, 120, 40)
    assert difference(red, green) > 30 > 15 > difference(red, green, "deuteranopia")


@pytest.mark.parametrize("kind", KINDS)
def test_neighbouring_default_colours_lie_apart(kind: str) -> None:
    assert min(difference(a, b, kind) for a, b in pairwise(DEFAULT_COLORS)) >= 12


@pytest.mark.parametrize("kind", KINDS)
def test_any_two_default_colours_lie_apart(kind: str) -> None:
    assert min(difference(a, b, kind) for a, b in combinations(DEFAULT_COLORS, 2)) >= 11


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    "names",
    [DEMO_CLASSES.names, ("water", "forest", "shrub", "grass", "crops", "urban", "bare", "snow", "wetland")],
)
def test_the_usual_colours_of_land_cover_lie_apart(names: tuple[str, ...], kind: str) -> None:
    colors = ClassTable.from_names(list(names)).colors
    assert min(difference(a, b, kind) for a, b in combinations(colors, 2)) >= 13


@pytest.mark.parametrize("kind", KINDS)
def test_series_and_errors_lie_apart(kind: str) -> None:
    series = [tuple(255 * v for v in to_rgb(c)) for c in SERIES]
    assert min(difference(a, b, kind) for a, b in combinations(series, 2)) >= 11
    assert difference(RIGHT, WRONG, kind) >= 30


@pytest.mark.parametrize("theme", [LIGHT, DARK])
def test_series_and_text_are_legible(theme: object) -> None:
    def contrast(one: str, two: str) -> float:
        light = sorted(
            float(linear(255 * np.array(to_rgb(c))) @ (0.2126, 0.7152, 0.0722)) for c in (one, two)
        )
        return (light[1] + 0.05) / (light[0] + 0.05)

    assert min(contrast(c, theme.surface) for c in SERIES) >= 3  # WCAG 2.2, graphics
    assert min(contrast(c, theme.surface) for c in (theme.ink, theme.muted)) >= 4.5  # WCAG 2.2, text


def test_sixty_classes_have_sixty_colours() -> None:
    colors = ClassTable.from_values(range(60)).colors
    assert len(set(colors)) == 60
    assert colors[:16] == DEFAULT_COLORS
    assert colors[16] == (128, 184, 216)
