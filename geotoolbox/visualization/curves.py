"""Curves of a classifier: ROC, precision and recall, and how far its probabilities can be believed."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from numpy.typing import NDArray

from geotoolbox.core.classes import Color
from geotoolbox.errors import BadInput, explain
from geotoolbox.visualization.style import (
    ACCENT,
    LIGHT,
    MARKERS,
    SERIES,
    Theme,
    label_outside,
    legend_right,
    new_axes,
    outline,
    plain,
    rgb,
)

__all__ = ["plot_precision_recall", "plot_reliability", "plot_roc"]

Curve = Sequence[float] | NDArray[Any]
_DASHES: tuple[Any, ...] = ("-", (0, (5, 1.5)), (0, (1.5, 1)), (0, (6, 1.5, 1.5, 1.5)))


def plot_roc(
    false_positive_rates: Sequence[Curve],
    true_positive_rates: Sequence[Curve],
    names: Sequence[str],
    areas: Sequence[float] = (),
    colors: Sequence[Color] = (),
    *,
    ax: Axes | None = None,
    theme: Theme = LIGHT,
) -> Axes:
    """Draw the receiver operating characteristic of each class against the rest.

    Args:
        false_positive_rates: One array a class, rising from 0 to 1.
        true_positive_rates: One array a class, as long.
        names: The classes'.
        areas: Under each curve, for the legend; NaN where undefined.
        colors: The classes' (RGB, 0–255); colours for colour-blind readers where there are none.
        ax: Where to draw; a new figure when None.
        theme: Colours of lines and text.

    Raises:
        BadInput: When these do not fit each other.
    """
    ax = new_axes(ax, theme, (6.0, 4.0))
    ax.plot([0, 1], [0, 1], color=theme.muted, linewidth=0.9, linestyle=":", label="by chance")
    _curves(ax, false_positive_rates, true_positive_rates, _named(names, areas, "AUC"), colors, theme=theme)
    return _unit_square(ax, theme, "false positive rate", "true positive rate (recall)")


def plot_precision_recall(
    recalls: Sequence[Curve],
    precisions: Sequence[Curve],
    names: Sequence[str],
    areas: Sequence[float] = (),
    colors: Sequence[Color] = (),
    *,
    shares: Sequence[float] = (),
    ax: Axes | None = None,
    theme: Theme = LIGHT,
) -> Axes:
    """Draw precision over recall of each class against the rest, as the steps that they are.

    Args:
        recalls: One array a class.
        precisions: One array a class, as long.
        names: The classes'.
        areas: The average precision of each class, for the legend; NaN where undefined.
        colors: The classes' (RGB, 0–255); colours for colour-blind readers where there are none.
        shares: How frequent each class is: the precision of guessing, drawn as a dotted line.
        ax: Where to draw; a new figure when None.
        theme: Colours of lines and text.

    Raises:
        BadInput: When these do not fit each other.
    """
    ax = new_axes(ax, theme, (6.0, 4.0))
    for number, share in enumerate(shares):
        color = _color(number, colors)
        ax.axhline(share, color=color, linewidth=1.1, linestyle=":", path_effects=outline(color, theme, 1.9))
    _curves(ax, recalls, precisions, _named(names, areas, "AP"), colors, theme=theme, steps=True)
    return _unit_square(ax, theme, "recall", "precision")


def plot_reliability(
    confidence: Curve,
    accuracy: Curve,
    counts: Sequence[int] | NDArray[Any],
    *,
    error: float = math.nan,
    label: str = "model",
    color: str = ACCENT,
    ax: Axes | None = None,
    theme: Theme = LIGHT,
) -> Axes:
    """Draw how often a model is right where it says that it is this sure; on the diagonal it can be believed.

    Drawing twice on the same ``ax`` (before and after calibration) compares two models.

    Args:
        confidence: (B,) mean confidence of the pixels in each bin; NaN where it has none.
        accuracy: (B,) the share of them that is right.
        counts: (B,) how many they are; a mark's area grows with it.
        error: The expected calibration error, for the legend.
        label: Which model.
        color: Of its line.
        ax: Where to draw; a new figure when None.
        theme: Colours of lines and text.

    Raises:
        BadInput: When these do not fit each other.
    """
    x, y, n = (np.asarray(v, dtype=np.float64) for v in (confidence, accuracy, counts))
    if not x.shape == y.shape == n.shape:
        raise BadInput(
            explain("the bins do not fit", got=[len(x), len(y), len(n)], expected="as many of each")
        )
    fresh = ax is None or not ax.lines
    ax = new_axes(ax, theme, (6.0, 4.0))
    if fresh:
        ax.plot([0, 1], [0, 1], color=theme.muted, linewidth=0.9, linestyle=":", label="as sure as right")
    known = np.isfinite(x) & np.isfinite(y) & (n > 0)
    x, y, n = x[known], y[known], n[known]
    name = plain(label) + (f" (ECE {error:.3f})" if math.isfinite(error) else "")
    ax.vlines(x, x, y, color=color, linewidth=3.0, alpha=0.25)
    shape = MARKERS[(len(ax.lines) - 1) % len(MARKERS)]
    ax.plot(x, y, color=color, linewidth=1.6, label=name, marker=shape, markersize=0.01)
    size = 14 + 130 * n / max(n.max(initial=0), 1)
    ax.scatter(x, y, s=size, color=color, marker=shape, edgecolor=theme.surface, linewidth=0.7, zorder=3,
               clip_on=False)  # fmt: skip
    return _unit_square(ax, theme, "confidence (how sure)", "accuracy (how often right)")


def _curves(
    ax: Axes,
    xs: Sequence[Curve],
    ys: Sequence[Curve],
    names: Sequence[str],
    colors: Sequence[Color],
    *,
    theme: Theme,
    steps: bool = False,
) -> None:
    if not len(xs) == len(ys) == len(names) or (colors and len(colors) != len(names)):
        raise BadInput(
            explain("curves, names and colours do not fit", got=[len(xs), len(ys), len(names), len(colors)],
                    expected="as many of each")
        )  # fmt: skip
    for number, (x, y, name) in enumerate(zip(xs, ys, names, strict=True)):
        along, style = np.asarray(x, dtype=np.float64), "default"
        if steps:  # a precision holds from its own recall down to the next lower one
            style = "steps-pre" if len(along) and along[0] < along[-1] else "steps-post"
        color = _color(number, colors)
        ax.plot(along, np.asarray(y, dtype=np.float64), color=color, linewidth=1.8, label=name, drawstyle=style, clip_on=False,
                linestyle=_DASHES[number % len(_DASHES)], path_effects=outline(color, theme))  # fmt: skip


def _color(number: int, colors: Sequence[Color]) -> Any:
    return rgb(colors[number]) if colors else SERIES[number % len(SERIES)]


def _named(names: Sequence[str], areas: Sequence[float], what: str) -> list[str]:
    if areas and len(areas) != len(names):
        raise BadInput(explain("each curve needs one area", got=len(areas), expected=len(names)))
    if not len(areas):
        return [plain(n) for n in names]
    said = [f"{a:.3f}" if math.isfinite(a) else "undefined" for a in areas]
    return [f"{plain(n)} ({what} {a})" for n, a in zip(names, said, strict=True)]


def _unit_square(ax: Axes, theme: Theme, x: str, y: str) -> Axes:
    ax.set_xlim(0, 1)
    ax.set_ylim(0, 1.005)
    ax.set_aspect("equal")
    ax.set_xticks([0, 0.25, 0.5, 0.75, 1])
    ax.set_yticks([0, 0.25, 0.5, 0.75, 1])
    ax.grid(color=theme.line, linewidth=0.5)
    ax.set_axisbelow(True)
    label_outside(ax, theme, x, y)
    legend_right(ax, theme)
    return ax
