"""How classes look in the bands: their spectral signatures, and features in two dimensions."""

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
    MARKERS,
    Theme,
    label_outside,
    legend_right,
    new_axes,
    outline,
    plain,
    rgb,
)

__all__ = ["plot_features", "plot_signatures"]


def plot_signatures(
    image: NDArray[Any],
    mask: NDArray[Any],
    classes: ClassTable,
    *,
    names: Sequence[str] = (),
    wavelengths_nm: Sequence[float] = (),
    valid: NDArray[np.bool_] | None = None,
    label: str = "pixel value",
    ax: Axes | None = None,
    theme: Theme = LIGHT,
) -> Axes:
    """Draw the spectral signature of each class: the median in each band, and the middle half around it.

    Args:
        image: (C, H, W).
        mask: (H, W) class indices.
        classes: The classes; one that has no pixel is not drawn.
        names: The bands' names.
        wavelengths_nm: The bands' centres, in nanometres; evenly spaced bands when empty.
        valid: (H, W), or all when None.
        label: What the values are.
        ax: Where to draw; a new figure when None.
        theme: Colours of lines and text.

    Raises:
        BadInput: When no pixel is both labelled and valid, or names or wavelengths are not as many as the bands.
    """
    count = len(image)
    for given in (names, wavelengths_nm):
        if given and len(given) != count:
            raise BadInput(explain("this does not fit the bands", got=len(given), expected=f"{count} values"))
    keep = np.isfinite(image).all(axis=0) & (mask >= 0) & (mask < len(classes))
    keep &= True if valid is None else valid
    if not keep.any():
        raise BadInput(explain("no labelled and valid pixel", expected="pixels to count"))
    ax = new_axes(ax, theme, (6.4, 3.6))
    at = np.asarray(wavelengths_nm or range(count), dtype=np.float64)
    order = np.argsort(at)
    for index in np.unique(mask[keep]):
        low, middle, high = np.percentile(image[:, keep & (mask == index)], (25, 50, 75), axis=1)
        color = rgb(classes.colors[index])
        ax.fill_between(at[order], low[order], high[order], color=color, alpha=0.22, linewidth=0)
        ax.plot(at[order], middle[order], color=color, linewidth=1.8, label=plain(classes.names[index]),
                marker=MARKERS[int(index) % len(MARKERS)], markersize=5.5, markeredgecolor=theme.surface,
                markeredgewidth=0.7, path_effects=outline(color, theme))  # fmt: skip
    labels = [plain(n, 14) for n in names] or [str(i + 1) for i in range(count)]
    if wavelengths_nm:
        label_outside(ax, theme, "wavelength (nm)", plain(label))
    else:
        ax.set_xticks(at, labels)
        label_outside(ax, theme, "band", plain(label))
    ax.grid(axis="y", color=theme.line, linewidth=0.6)
    ax.set_axisbelow(True)
    legend_right(ax, theme)
    return ax


def plot_features(
    features: NDArray[Any],
    labels: NDArray[Any],
    classes: ClassTable,
    *,
    limit: int = 3000,
    seed: int = 0,
    ax: Axes | None = None,
    theme: Theme = LIGHT,
) -> Axes:
    """Draw features of pixels or patches on their two main axes (PCA): apart is easy to tell apart.

    Args:
        features: (N, D); each column is scaled to unit deviation first, as columns may differ in unit.
        labels: (N,) class indices; rows without a class are left out.
        classes: The classes; each has a shape of its own besides its colour.
        limit: How many points are drawn at most; the axes come from all.
        seed: Which ones.
        ax: Where to draw; a new figure when None.
        theme: Colours of lines and text.

    Raises:
        BadInput: When there are fewer than three labelled rows, or fewer than two columns.
    """
    keep = np.isfinite(features).all(axis=1) & (labels >= 0) & (labels < len(classes))
    points, share = _main_axes(np.asarray(features[keep], dtype=np.float64))
    known = labels[keep]
    shown = np.sort(np.random.default_rng(seed).permutation(len(points))[:limit])
    ax = new_axes(ax, theme, (6.4, 4.2))
    size = float(np.clip(24000 / max(len(shown), 1), 9, 42))
    for index in np.unique(known[shown]):
        here = shown[known[shown] == index]
        ax.scatter(points[here, 0], points[here, 1], s=size, color=rgb(classes.colors[index]), alpha=0.75,
                   marker=MARKERS[int(index) % len(MARKERS)], edgecolor=theme.ink, linewidth=0.2,
                   label=plain(classes.names[index]))  # fmt: skip
    said = [f"main axis {i + 1} ({100 * s:.0f} % of the variance)" for i, s in enumerate(share)]
    label_outside(ax, theme, said[0], said[1])
    ax.set_xticks([])
    ax.set_yticks([])
    legend_right(ax, theme)
    return ax


def _main_axes(values: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the rows on the two axes of largest variance, and their shares of it."""
    if values.ndim != 2 or len(values) < 3 or values.shape[1] < 2:
        raise BadInput(
            explain("too little to project", got=values.shape, expected="3 rows and 2 columns or more")
        )
    deviation = values.std(axis=0)
    scaled = (values - values.mean(axis=0)) / np.where(deviation > 0, deviation, 1)
    variance, directions = np.linalg.eigh(scaled.T @ scaled / len(scaled))
    best = np.argsort(-variance)[:2]
    chosen = directions[:, best]
    chosen = chosen * np.sign(chosen[np.abs(chosen).argmax(axis=0), [0, 1]])  # else the sign is chance
    return scaled @ chosen, variance[best] / max(float(variance.sum()), 1e-300)
