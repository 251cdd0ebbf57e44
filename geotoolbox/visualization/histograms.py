"""Histograms of pixel values: per band, per class, and before and after normalisation."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from numpy.typing import NDArray

from geotoolbox.core.classes import ClassTable
from geotoolbox.errors import BadInput, explain
from geotoolbox.visualization.style import (
    LIGHT,
    SERIES,
    AxesGrid,
    Theme,
    label_outside,
    legend_right,
    new_axes,
    new_grid,
    outline,
    plain,
    rgb,
)

__all__ = ["plot_class_histograms", "plot_histograms", "plot_normalisation"]

_BAND_COLORS = {"blue": SERIES[0], "green": SERIES[2], "red": SERIES[1], "nir": SERIES[3]}
_OTHERS = ("#4898b0", "#fe407c", "#8a7f2c", "#7a8791", "#a0569b", "#5f7fd6")
_DASHES: tuple[Any, ...] = ("-", (0, (5, 1.2)), (0, (1.5, 1)), (0, (6, 1.5, 1.5, 1.5)))


def plot_histograms(
    image: NDArray[Any],
    valid: NDArray[np.bool_] | None = None,
    names: Sequence[str] = (),
    *,
    bins: int = 96,
    label: str = "pixel value",
    legend: bool = True,
    ax: Axes | None = None,
    theme: Theme = LIGHT,
) -> Axes:
    """Draw how often each value occurs, one line a band; pixels that are not valid do not count.

    Args:
        image: (C, H, W).
        valid: (H, W), or all when None.
        names: The bands' names.
        bins: How many steps from the 0.1th to the 99.9th percentile; what lies beyond is in the first and last.
        label: What the values are.
        legend: Whether the bands are named beside.
        ax: Where to draw; a new figure when None.
        theme: Colours of lines and text.

    Raises:
        BadInput: When no pixel is valid, or the names are not as many as the bands.
    """
    values = _valid_values(image, valid)
    edges = _edges(values, bins)
    labels = list(names) or [f"band {i + 1}" for i in range(len(values))]
    if len(labels) != len(values):
        raise BadInput(explain("each band needs one name", got=len(labels), expected=f"{len(values)} names"))
    ax = new_axes(ax, theme, (6.4, 3.0))
    for number, (band, name) in enumerate(zip(values, labels, strict=True)):
        color = _BAND_COLORS.get(name.lower(), _OTHERS[number % len(_OTHERS)])
        _line(ax, band, edges, color, name=plain(name), number=number, theme=theme)
    return _finish(ax, theme, label, legend)


def plot_class_histograms(
    band: NDArray[Any],
    mask: NDArray[Any],
    classes: ClassTable,
    *,
    valid: NDArray[np.bool_] | None = None,
    bins: int = 64,
    label: str = "pixel value",
    ax: Axes | None = None,
    theme: Theme = LIGHT,
) -> Axes:
    """Draw how the values of one band are spread within each class: apart is easy to tell apart.

    Heights are square roots of shares, so that wide classes can be seen beside narrow ones.

    Args:
        band: (H, W).
        mask: (H, W) class indices.
        classes: The classes.
        valid: (H, W), or all when None.
        bins: How many steps from the 0.1th to the 99.9th percentile; what lies beyond is in the first and last.
        label: What the values are.
        ax: Where to draw; a new figure when None.
        theme: Colours of lines and text.

    Raises:
        BadInput: When no pixel is both labelled and valid.
    """
    keep = np.isfinite(band) & (mask >= 0) & (mask < len(classes))
    keep &= True if valid is None else valid
    if not keep.any():
        raise BadInput(explain("no labelled and valid pixel", expected="pixels to count"))
    edges = _edges(band[keep][None].astype(np.float64), bins)
    ax = new_axes(ax, theme, (6.4, 3.0))
    for index, info in enumerate(classes):
        values = band[keep & (mask == index)]
        if values.size:
            _line(
                ax,
                values,
                edges,
                rgb(classes.colors[index]),
                name=plain(info.name),
                number=index,
                theme=theme,
            )
    ax.set_yscale("function", functions=(_root, np.square))  # one narrow class would flatten all others
    _finish(ax, theme, label, legend=True)
    ax.set_ylabel("share of pixels (√ scale)")
    return ax


def plot_normalisation(
    image: NDArray[Any],
    normalised: NDArray[Any],
    valid: NDArray[np.bool_] | None = None,
    names: Sequence[str] = (),
    *,
    axes: Sequence[Axes] | None = None,
    theme: Theme = LIGHT,
) -> AxesGrid:
    """Draw the bands' histograms before and after normalisation, side by side.

    Args:
        image: (C, H, W) as it was read.
        normalised: (C, H, W) as the network gets it; near 0 ± 1 when all is well.
        valid: (H, W), or all when None.
        names: The bands' names.
        axes: Two axes to draw into; a new figure when None.
        theme: Colours of lines and text.

    Raises:
        BadInput: When the images differ in shape, or no pixel is valid.
    """
    if image.shape != normalised.shape:
        raise BadInput(explain("the images differ in shape", got=normalised.shape, expected=image.shape))
    pair = new_grid(1, 2, theme, (8.6, 2.8)) if axes is None else AxesGrid(axes)
    plot_histograms(image, valid, names, label="as read", legend=False, ax=pair[0], theme=theme)
    plot_histograms(normalised, valid, names, label="normalised", ax=pair[1], theme=theme)
    for at in (-1, 0, 1):
        pair[1].axvline(at, color=theme.muted, linewidth=0.8, linestyle=":" if at else "-", zorder=0)
    return pair


def _root(values: NDArray[Any]) -> NDArray[Any]:
    return np.sqrt(np.maximum(values, 0))


def _valid_values(image: NDArray[Any], valid: NDArray[np.bool_] | None) -> NDArray[np.float64]:
    seen = np.isfinite(image).all(axis=0)
    seen = seen if valid is None else seen & valid
    if not seen.any():
        raise BadInput(explain("no valid pixel", where="histogram", expected="pixels to count"))
    return image[:, seen].astype(np.float64)


def _edges(values: NDArray[np.float64], bins: int) -> NDArray[np.float64]:
    low, high = np.percentile(values, (0.1, 99.9))
    return np.linspace(low, high if high > low else low + 1, bins + 1)


def _line(
    ax: Axes,
    values: NDArray[Any],
    edges: NDArray[np.float64],
    color: Any,
    *,
    name: str,
    number: int,
    theme: Theme,
) -> None:
    counts, _ = np.histogram(np.clip(values, edges[0], edges[-1]), edges)
    share = counts / max(values.size, 1)
    ax.stairs(share, edges, color=color, linewidth=1.6, label=name, linestyle=_DASHES[number % len(_DASHES)],
              path_effects=outline(color, theme))  # fmt: skip
    ax.stairs(share, edges, color=color, alpha=0.10, fill=True)


def _finish(ax: Axes, theme: Theme, label: str, legend: bool) -> Axes:
    ax.set_yticks([])
    ax.spines["left"].set_visible(False)
    ax.set_ylim(bottom=0)
    label_outside(ax, theme, plain(label), "share of pixels")
    if legend:
        legend_right(ax, theme)
    return ax
