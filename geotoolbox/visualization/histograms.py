"""Histograms of pixel values, per band and per class."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from numpy.typing import NDArray

from geotoolbox.core.classes import ClassTable
from geotoolbox.errors import BadInput, explain
from geotoolbox.visualization.style import LIGHT, Theme, new_axes, plain, rgb

__all__ = ["plot_class_histograms", "plot_histograms"]

_BAND_COLORS = {"blue": "#0072b2", "green": "#009e73", "red": "#d55e00", "nir": "#8a6fb3"}
_OTHERS = ("#56b4e9", "#e69f00", "#cc79a7", "#999933", "#1b6f8a", "#882255")


def plot_histograms(
    image: NDArray[Any],
    valid: NDArray[np.bool_] | None = None,
    names: Sequence[str] = (),
    *,
    bins: int = 96,
    ax: Axes | None = None,
    theme: Theme = LIGHT,
) -> Axes:
    """Draw how often each value occurs, one line a band; pixels that are not valid do not count.

    Args:
        image: (C, H, W).
        valid: (H, W), or all when None.
        names: The bands' names.
        bins: How many steps from the 0.1th to the 99.9th percentile.
        ax: Where to draw; a new figure when None.
        theme: Colours of lines and text.

    Raises:
        BadInput: When no pixel is valid.
    """
    values = _valid_values(image, valid)
    edges = _edges(values, bins)
    ax = new_axes(ax, theme, (6.4, 3.0))
    labels = list(names) or [f"band {i + 1}" for i in range(len(values))]
    for number, (band, name) in enumerate(zip(values, labels, strict=True)):
        color = _BAND_COLORS.get(name.lower(), _OTHERS[number % len(_OTHERS)])
        _line(ax, band, edges, color, plain(name))
    return _finish(ax, theme)


def plot_class_histograms(
    band: NDArray[Any],
    mask: NDArray[Any],
    classes: ClassTable,
    *,
    valid: NDArray[np.bool_] | None = None,
    bins: int = 64,
    ax: Axes | None = None,
    theme: Theme = LIGHT,
) -> Axes:
    """Draw how the values of one band (H, W) are spread within each class: apart is easy to tell apart."""
    keep = np.isfinite(band) & (mask >= 0) & (mask < len(classes))
    keep &= True if valid is None else valid
    if not keep.any():
        raise BadInput(explain("no labelled and valid pixel", expected="pixels to count"))
    edges = _edges(band[keep][None].astype(np.float64), bins)
    ax = new_axes(ax, theme, (6.4, 3.0))
    for index, info in enumerate(classes):
        values = band[keep & (mask == index)]
        if values.size:
            _line(ax, values, edges, rgb(classes.colors[index]), plain(info.name))
    return _finish(ax, theme)


def _valid_values(image: NDArray[Any], valid: NDArray[np.bool_] | None) -> NDArray[np.float64]:
    seen = np.isfinite(image).all(axis=0)
    seen = seen if valid is None else seen & valid
    if not seen.any():
        raise BadInput(explain("no valid pixel", where="histogram", expected="pixels to count"))
    return image[:, seen].astype(np.float64)


def _edges(values: NDArray[np.float64], bins: int) -> NDArray[np.float64]:
    low, high = np.percentile(values, (0.1, 99.9))
    return np.linspace(low, high if high > low else low + 1, bins + 1)


def _line(ax: Axes, values: NDArray[Any], edges: NDArray[np.float64], color: Any, name: str) -> None:
    counts, _ = np.histogram(values, edges)
    share = counts / max(values.size, 1)
    ax.stairs(share, edges, color=color, linewidth=1.5, label=name)
    ax.stairs(share, edges, color=color, alpha=0.10, fill=True)


def _finish(ax: Axes, theme: Theme) -> Axes:
    ax.set_yticks([])
    ax.spines["left"].set_visible(False)
    ax.set_ylim(bottom=0)
    ax.set_xlabel("pixel value", color=theme.muted)
    ax.legend(frameon=False, fontsize=8.5, labelcolor=theme.ink, loc="upper left", bbox_to_anchor=(1.01, 1))
    return ax
