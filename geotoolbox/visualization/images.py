"""Pictures of pixels: an image, a mask, and where two masks differ. North is up, axes are in map units."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.patches import Patch
from numpy.typing import NDArray

from geotoolbox.core.classes import ClassTable
from geotoolbox.visualization.mapframe import Bounds, fit_map
from geotoolbox.visualization.pixels import RIGHT, WRONG, error_rgba, mask_rgba, stretch
from geotoolbox.visualization.style import LIGHT, Theme, legend_right, new_axes, plain, rgb

__all__ = ["agreement_handles", "class_handles", "show_error", "show_image", "show_mask"]


def show_image(
    image: NDArray[Any],
    valid: NDArray[np.bool_] | None = None,
    bands: Sequence[int] = (0, 1, 2),
    *,
    percentiles: tuple[float, float] = (2.0, 98.0),
    gamma: float = 0.75,
    bounds: Bounds | None = None,
    crs: str = "",
    title: str = "",
    ax: Axes | None = None,
    theme: Theme = LIGHT,
) -> Axes:
    """Show an image, its bands stretched between two percentiles of their valid pixels.

    Args:
        image: (C, H, W).
        valid: (H, W); pixels without data are left out.
        bands: One band (grey) or three (red, green, blue); :func:`rgb_bands` finds them by name.
        percentiles: The values that become black and white.
        gamma: Below 1 brightens what lies between.
        bounds: (left, bottom, right, top) of the image in map units.
        crs: With ``bounds``: adds map units, a scale bar and an arrow to true north.
        title: Stands above.
        ax: Where to draw; a new figure when None.
        theme: Colours of lines and text.

    Returns:
        The axes.
    """
    return _picture(
        stretch(image, valid, bands, percentiles, gamma),
        bounds=bounds,
        crs=crs,
        title=title,
        ax=ax,
        theme=theme,
    )


def show_mask(
    mask: NDArray[Any],
    classes: ClassTable,
    *,
    legend: bool = True,
    bounds: Bounds | None = None,
    crs: str = "",
    title: str = "",
    ax: Axes | None = None,
    theme: Theme = LIGHT,
) -> Axes:
    """Show class indices (H, W) in the classes' colours, with a legend of those that occur.

    Other arguments as in :func:`show_image`.
    """
    ax = _picture(mask_rgba(mask, classes), bounds=bounds, crs=crs, title=title, ax=ax, theme=theme)
    if legend:
        present = [int(i) for i in np.unique(mask) if 0 <= i < len(classes)]
        legend_right(ax, theme, class_handles(classes, theme, present))
    return ax


def show_error(
    truth: NDArray[Any],
    predicted: NDArray[Any],
    *,
    legend: bool = True,
    bounds: Bounds | None = None,
    crs: str = "",
    title: str = "",
    ax: Axes | None = None,
    theme: Theme = LIGHT,
) -> Axes:
    """Show where two masks (H, W) differ; pixels that lack a class in either are left out.

    Other arguments as in :func:`show_image`.
    """
    ax = _picture(error_rgba(truth, predicted), bounds=bounds, crs=crs, title=title, ax=ax, theme=theme)
    if legend:
        legend_right(ax, theme, agreement_handles(theme))
    return ax


def class_handles(classes: ClassTable, theme: Theme, present: Sequence[int] | None = None) -> list[Patch]:
    """Return a legend's patches for the classes at these positions (all when None)."""
    shown = range(len(classes)) if present is None else present
    return [_patch(rgb(classes.colors[i]), classes.names[i], theme) for i in shown]


def agreement_handles(theme: Theme) -> list[Patch]:
    """Return a legend's patches for what :func:`error_rgba` shows."""
    return [_patch(rgb(c), n, theme) for c, n in ((RIGHT, "agree"), (WRONG, "differ"))]


def _patch(color: tuple[float, float, float], name: str, theme: Theme) -> Patch:
    return Patch(facecolor=color, edgecolor=theme.muted, linewidth=0.4, label=plain(name, 40))


def _picture(
    rgba: NDArray[np.uint8], *, bounds: Bounds | None, crs: str, title: str, ax: Axes | None, theme: Theme
) -> Axes:
    ratio = min(max(rgba.shape[0] / rgba.shape[1], 0.4), 1.6)
    ax = new_axes(ax, theme, (5.2, 0.6 + 4.4 * ratio))
    extent = None if bounds is None else (bounds[0], bounds[2], bounds[1], bounds[3])
    ax.imshow(_thinned(rgba), extent=extent, interpolation="none")
    for spine in ax.spines.values():
        spine.set_visible(True)
    if bounds is None:
        ax.set_xticks([])
        ax.set_yticks([])
    elif crs:
        fit_map(ax, bounds, crs, theme=theme)
    else:
        ax.ticklabel_format(style="plain", useOffset=False)
        ax.tick_params(labelsize=8)
    ax.set_title(plain(title), loc="left", color=theme.ink, fontsize=9.5)
    return ax


def _thinned(rgba: NDArray[np.uint8], longest_px: int = 4000) -> NDArray[np.uint8]:
    """Keep every n-th pixel of what no figure could show anyway."""
    step = math.ceil(max(rgba.shape[:2]) / longest_px)
    return rgba[::step, ::step]
