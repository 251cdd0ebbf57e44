"""Pictures of pixels: images, masks, and predictions beside the truth."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from numpy.typing import NDArray

from geotoolbox.core.classes import ClassTable
from geotoolbox.errors import BadInput, explain
from geotoolbox.visualization.style import LIGHT, Theme, dress, new_axes, plain, rgb

__all__ = ["error_rgba", "mask_rgba", "rgb_bands", "show_batch", "show_error", "show_image", "show_mask", "show_prediction",
           "show_sample", "stretch"]  # fmt: skip

Bounds = tuple[float, float, float, float]
RIGHT, WRONG = (178, 196, 204), (213, 62, 14)  # told apart by lightness too, for colour-blind readers


def rgb_bands(names: Sequence[str], count: int | None = None) -> tuple[int, ...]:
    """Choose the bands to show as red, green and blue: by name, by Landsat or Sentinel number, or the first.

    Returns:
        Three 0-based positions, or one where the image has fewer than three bands.

    Example:
        >>> rgb_bands(["blue", "green", "red", "nir"]), rgb_bands(["x_b2", "x_b3", "x_b4"])
        ((2, 1, 0), (2, 1, 0))
    """
    low = [str(n).lower() for n in names]
    for patterns in (("red", "green", "blue"), ("r", "g", "b")):
        if all(p in low for p in patterns):
            return tuple(low.index(p) for p in patterns)
    found = [[i for i, n in enumerate(low) if re.search(rf"(^|[_\W])b(and)?_?0?{d}$", n)] for d in (4, 3, 2)]
    if all(found):
        return tuple(f[0] for f in found)
    total = len(names) if count is None else count
    return (0, 1, 2) if total >= 3 else (0,)


def stretch(
    image: NDArray[Any],
    valid: NDArray[np.bool_] | None = None,
    bands: Sequence[int] = (0, 1, 2),
    percentiles: tuple[float, float] = (2.0, 98.0),
    gamma: float = 1.0,
) -> NDArray[np.uint8]:
    """Stretch bands between two percentiles of their valid pixels.

    Args:
        image: (C, H, W).
        valid: (H, W); pixels without data become transparent and do not count.
        bands: One band (grey) or three (red, green, blue).
        percentiles: The values that become black and white.
        gamma: Below 1 brightens what lies between; scenes with a few very bright pixels need it.

    Returns:
        (H, W, 4) RGBA.
    """
    if image.ndim != 3 or not all(0 <= b < image.shape[0] for b in bands) or len(bands) not in (1, 3):
        raise BadInput(
            explain("these bands cannot be shown", got=f"bands {tuple(bands)} of shape {image.shape}",
                    expected="one or three bands of a (C, H, W) image")
        )  # fmt: skip
    shown = image[list(bands)].astype(np.float64)
    seen = np.isfinite(shown).all(axis=0)
    seen = seen if valid is None else seen & valid
    out = np.zeros((*image.shape[1:], 4), dtype=np.uint8)
    if seen.any():
        low, high = np.percentile(shown[:, seen], percentiles, axis=1)
        span = np.where(high > low, high - low, 1.0)
        scaled = (np.where(seen, shown, 0) - low[:, None, None]) / span[:, None, None]
        levels = np.rint(np.clip(scaled, 0, 1) ** gamma * 255).astype(np.uint8)
        out[..., :3] = np.moveaxis(levels if len(bands) == 3 else np.repeat(levels, 3, axis=0), 0, -1)
    out[..., 3] = np.where(seen, 255, 0)
    return out


def mask_rgba(mask: NDArray[Any], classes: ClassTable) -> NDArray[np.uint8]:
    """Colour class indices (H, W) as (H, W, 4) RGBA; no class is transparent."""
    table = np.array([(*c, 255) for c in classes.colors] + [(0, 0, 0, 0)], dtype=np.uint8)
    inside = (mask >= 0) & (mask < len(classes))
    return table[np.where(inside, mask, len(classes))]


def error_rgba(truth: NDArray[Any], predicted: NDArray[Any]) -> NDArray[np.uint8]:
    """Colour where two masks (H, W) agree and differ, as (H, W, 4) RGBA; transparent where either is empty."""
    both = (truth >= 0) & (predicted >= 0)
    out = np.zeros((*truth.shape, 4), dtype=np.uint8)
    out[both & (truth == predicted)] = (*RIGHT, 255)
    out[both & (truth != predicted)] = (*WRONG, 255)
    return out


def show_image(
    image: NDArray[Any],
    valid: NDArray[np.bool_] | None = None,
    bands: Sequence[int] = (0, 1, 2),
    *,
    percentiles: tuple[float, float] = (2.0, 98.0),
    gamma: float = 0.75,
    bounds: Bounds | None = None,
    title: str = "",
    ax: Axes | None = None,
    theme: Theme = LIGHT,
) -> Axes:
    """Show an image (C, H, W); arguments as in :func:`stretch`, ``bounds`` in map units."""
    return _picture(stretch(image, valid, bands, percentiles, gamma), bounds, title, ax, theme)


def show_mask(
    mask: NDArray[Any],
    classes: ClassTable,
    *,
    legend: bool = True,
    bounds: Bounds | None = None,
    title: str = "",
    ax: Axes | None = None,
    theme: Theme = LIGHT,
) -> Axes:
    """Show class indices (H, W) in their colours, with a legend of the classes that occur."""
    ax = _picture(mask_rgba(mask, classes), bounds, title, ax, theme)
    if legend:
        present = [i for i in np.unique(mask) if 0 <= i < len(classes)]
        marks = [
            Patch(
                facecolor=rgb(classes.colors[i]),
                edgecolor=theme.muted,
                linewidth=0.4,
                label=plain(classes[i].name),
            )
            for i in present
        ]
        if marks:
            ax.legend(handles=marks, loc="upper left", bbox_to_anchor=(1.01, 1), frameon=False,
                      fontsize=8.5, labelcolor=theme.ink, borderaxespad=0)  # fmt: skip
    return ax


def show_error(
    truth: NDArray[Any],
    predicted: NDArray[Any],
    *,
    bounds: Bounds | None = None,
    title: str = "",
    ax: Axes | None = None,
    theme: Theme = LIGHT,
) -> Axes:
    """Show where two masks (H, W) differ; pixels that lack a class in either are left out."""
    return _picture(error_rgba(truth, predicted), bounds, title, ax, theme)


def show_prediction(
    predicted: NDArray[Any],
    classes: ClassTable,
    *,
    image: NDArray[Any] | None = None,
    valid: NDArray[np.bool_] | None = None,
    bands: Sequence[int] = (0, 1, 2),
    truth: NDArray[Any] | None = None,
    axes: Sequence[Axes] | None = None,
    theme: Theme = LIGHT,
) -> list[Axes]:
    """Show image, truth, prediction and error side by side; what is not given has no panel.

    Returns:
        One axes a panel, in that order.
    """
    count = 1 + (image is not None) + 2 * (truth is not None)
    height, width = predicted.shape
    panels = list(axes) if axes is not None else _row(count, height / width, theme)
    if len(panels) != count:
        raise BadInput(explain("the panels do not fit", got=len(panels), expected=f"{count} axes"))
    free = iter(panels)
    if image is not None:
        show_image(image, valid, bands, title="Image", ax=next(free), theme=theme)
    if truth is not None:
        show_mask(truth, classes, legend=False, title="Reference", ax=next(free), theme=theme)
    show_mask(predicted, classes, legend=False, title="Map", ax=next(free), theme=theme)
    if truth is not None:
        show_error(truth, predicted, title="Where they differ", ax=next(free), theme=theme)
    return panels


def show_sample(
    sample: Mapping[str, Any], classes: ClassTable | None = None, *, bands: Sequence[int] = (0, 1, 2),
    theme: Theme = LIGHT,
) -> list[Axes]:  # fmt: skip
    """Show one sample (``image``, ``mask``, ``valid``; tensors or arrays): the image, and its mask beside it."""
    arrays = {k: np.asarray(sample[k]) for k in ("image", "mask", "valid") if k in sample}
    image, mask = arrays.get("image"), arrays.get("mask")
    shape = (image if image is not None else arrays["mask"]).shape
    panels = _row((image is not None) + (mask is not None), shape[-2] / shape[-1], theme)
    free = iter(panels)
    if image is not None:
        shown = bands if image.shape[0] >= 3 else (0,)
        show_image(image, arrays.get("valid"), shown, title="Image", ax=next(free), theme=theme)
    if mask is not None:
        table = classes or ClassTable.from_values(int(v) for v in np.unique(mask) if v >= 0)
        show_mask(mask, table, title="Mask", ax=next(free), theme=theme)
    return panels


def show_batch(
    batch: Mapping[str, Any], classes: ClassTable | None = None, *, bands: Sequence[int] = (0, 1, 2),
    limit: int = 8, theme: Theme = LIGHT,
) -> list[Axes]:  # fmt: skip
    """Show the first samples of a batch (N, C, H, W): images above, masks below."""
    images, masks = np.asarray(batch["image"])[:limit], batch.get("mask")
    valid = batch.get("valid")
    rows = 1 if masks is None else 2
    grid = _grid(rows, len(images), images.shape[-2] / images.shape[-1], theme)
    for i, image in enumerate(images):
        seen = None if valid is None else np.asarray(valid[i])
        show_image(image, seen, bands if image.shape[0] >= 3 else (0,), ax=grid[i], theme=theme)
        if masks is not None:
            mask = np.asarray(masks[i])
            table = classes or ClassTable.from_values(range(int(np.asarray(masks).max(initial=0)) + 1))
            show_mask(mask, table, legend=False, ax=grid[len(images) + i], theme=theme)
    return grid


def _picture(
    rgba: NDArray[np.uint8], bounds: Bounds | None, title: str, ax: Axes | None, theme: Theme
) -> Axes:
    ax = new_axes(ax, theme, (4.6, 4.2))
    extent = None if bounds is None else (bounds[0], bounds[2], bounds[1], bounds[3])
    ax.imshow(rgba, extent=extent, interpolation="none")
    for spine in ax.spines.values():
        spine.set_visible(True)
    if bounds is None:
        ax.set_xticks([])
        ax.set_yticks([])
    else:
        ax.ticklabel_format(style="plain", useOffset=False)
    ax.set_title(plain(title), loc="left", color=theme.ink, fontsize=9.5)
    return ax


def _row(count: int, ratio: float, theme: Theme) -> list[Axes]:
    return _grid(1, count, ratio, theme)


def _grid(rows: int, columns: int, ratio: float, theme: Theme) -> list[Axes]:
    side = min(3.0, 10.0 / max(columns, 1))
    height = rows * side * min(max(ratio, 0.3), 3.0) + 0.35
    figure = Figure(figsize=(columns * side, height), layout="constrained")
    FigureCanvasAgg(figure)
    figure.set_facecolor(theme.surface)
    found = figure.subplots(rows, columns, squeeze=False)
    return [dress(a, theme) for a in found.flat]
