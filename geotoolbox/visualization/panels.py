"""Pictures beside each other: a map with its image, reference and error; samples; batches."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from numpy.typing import NDArray

from geotoolbox.core.classes import ClassTable
from geotoolbox.errors import BadInput, explain
from geotoolbox.visualization.images import (
    agreement_handles,
    class_handles,
    show_error,
    show_image,
    show_mask,
)
from geotoolbox.visualization.style import LIGHT, AxesGrid, Theme, figure_of, new_grid

__all__ = ["show_batch", "show_prediction", "show_sample"]


def show_prediction(
    predicted: NDArray[Any],
    classes: ClassTable,
    *,
    image: NDArray[Any] | None = None,
    valid: NDArray[np.bool_] | None = None,
    bands: Sequence[int] = (0, 1, 2),
    truth: NDArray[Any] | None = None,
    legend: bool = True,
    axes: Sequence[Axes] | None = None,
    theme: Theme = LIGHT,
) -> AxesGrid:
    """Show image, reference, map and error side by side; what is not given has no panel.

    Args:
        predicted: (H, W) class indices.
        classes: The classes.
        image: (C, H, W).
        valid: (H, W), the pixels of the image with data.
        bands: The bands to show of the image.
        truth: (H, W) class indices.
        legend: Whether a legend of the classes that occur stands below.
        axes: Where to draw, one a panel; a new figure when None.
        theme: Colours of lines and text.

    Returns:
        One axes a panel, in the order above.

    Raises:
        BadInput: When ``axes`` are not as many as the panels.
    """
    count = 1 + (image is not None) + 2 * (truth is not None)
    panels = _row(count, predicted.shape, theme) if axes is None else AxesGrid(axes)
    if len(panels) != count:
        raise BadInput(explain("the panels do not fit", got=len(panels), expected=f"{count} axes"))
    free = iter(panels)
    if image is not None:
        show_image(image, valid, bands, title="Image", ax=next(free), theme=theme)
    if truth is not None:
        show_mask(truth, classes, legend=False, title="Reference", ax=next(free), theme=theme)
    show_mask(predicted, classes, legend=False, title="Map", ax=next(free), theme=theme)
    if truth is not None:
        show_error(truth, predicted, legend=False, title="Where they differ", ax=next(free), theme=theme)
    if legend:
        masks = [predicted] if truth is None else [truth, predicted]
        extra = [] if truth is None else agreement_handles(theme)
        _legend_below(panels, [*class_handles(classes, theme, _present(masks, classes)), *extra], theme)
    return panels


def show_sample(
    sample: Mapping[str, Any],
    classes: ClassTable | None = None,
    *,
    bands: Sequence[int] = (0, 1, 2),
    axes: Sequence[Axes] | None = None,
    theme: Theme = LIGHT,
) -> AxesGrid:
    """Show one sample: the image, and its mask beside it.

    Args:
        sample: ``image`` (C, H, W), ``mask`` (H, W) and ``valid`` (H, W), as far as there are; tensors or arrays.
        classes: What the mask's indices mean; made from the mask when None.
        bands: The bands to show; the first alone where there are fewer than three.
        axes: Where to draw, one a panel; a new figure when None.
        theme: Colours of lines and text.
    """
    arrays = {k: np.asarray(sample[k]) for k in ("image", "mask", "valid") if k in sample}
    image, mask = arrays.get("image"), arrays.get("mask")
    shape = (arrays["mask"] if image is None else image).shape[-2:]
    count = (image is not None) + (mask is not None)
    ratio = min(max(shape[0] / shape[1], 0.3), 3.0)
    size_in = (3.0 * count + 1.3 * (mask is not None), 3.0 * ratio + 0.4)
    panels = new_grid(1, count, theme, size_in) if axes is None else AxesGrid(axes)
    free = iter(panels)
    if image is not None:
        shown = bands if image.shape[0] >= 3 else (0,)
        show_image(image, arrays.get("valid"), shown, title="Image", ax=next(free), theme=theme)
    if mask is not None:
        table = classes or ClassTable.from_values(range(int(mask.max(initial=0)) + 1))
        show_mask(mask, table, title="Mask", ax=next(free), theme=theme)
    return panels


def show_batch(
    batch: Mapping[str, Any],
    classes: ClassTable | None = None,
    *,
    bands: Sequence[int] = (0, 1, 2),
    limit: int = 8,
    legend: bool = True,
    theme: Theme = LIGHT,
) -> AxesGrid:
    """Show the first samples of a batch as a grid: images above, their masks below, at most eight in a row.

    Args:
        batch: ``image`` (N, C, H, W), ``mask`` and ``valid`` (N, H, W), as far as there are.
        classes: What the mask's indices mean; made from the masks when None.
        bands: The bands to show; the first alone where there are fewer than three.
        limit: How many samples at most.
        legend: Whether a legend of the classes that occur stands below.
        theme: Colours of lines and text.

    Returns:
        The axes, row by row; those of a last row that is not full are hidden.
    """
    images = np.asarray(batch["image"])[:limit]
    masks = None if batch.get("mask") is None else np.asarray(batch["mask"])[:limit]
    valid = None if batch.get("valid") is None else np.asarray(batch["valid"])[:limit]
    columns, layers = min(len(images), 8), 1 if masks is None else 2
    rows = math.ceil(len(images) / columns) * layers
    side = min(2.4, 11.0 / columns)
    ratio = min(max(images.shape[-2] / images.shape[-1], 0.3), 3.0)
    size_in = (columns * side, rows * side * ratio + 0.1 + 0.35 * (legend and masks is not None))
    grid = new_grid(rows, columns, theme, size_in)
    table = classes
    if table is None and masks is not None:
        table = ClassTable.from_values(range(int(masks.max(initial=0)) + 1))
    for i, image in enumerate(images):
        place = (i // columns) * layers * columns + i % columns
        shown = bands if image.shape[0] >= 3 else (0,)
        show_image(image, None if valid is None else valid[i], shown, ax=grid[place], theme=theme)
        if masks is not None and table is not None:
            show_mask(masks[i], table, legend=False, ax=grid[place + columns], theme=theme)
    for ax in grid:
        ax.set_visible(ax.has_data())
    if legend and masks is not None and table is not None:
        _legend_below(grid, class_handles(table, theme, _present([masks], table)), theme)
    return grid


def _present(masks: Sequence[NDArray[Any]], classes: ClassTable) -> list[int]:
    found = np.unique(np.concatenate([np.unique(m) for m in masks]))
    return [int(i) for i in found if 0 <= i < len(classes)]


def _legend_below(panels: AxesGrid, handles: Sequence[Any], theme: Theme) -> None:
    figure = figure_of(panels)
    width = float(figure.get_size_inches()[0])
    longest = max((len(h.get_label()) for h in handles), default=1)
    columns = max(1, min(len(handles), int(width / (0.45 + 0.075 * longest))))
    figure.legend(handles=handles, loc="outside lower center", ncols=columns, frameon=False, fontsize=8.5,
                  labelcolor=theme.ink, handlelength=1.2, columnspacing=1.4)  # fmt: skip


def _row(count: int, shape: tuple[int, ...], theme: Theme) -> AxesGrid:
    side = min(3.0, 11.0 / max(count, 1))
    ratio = min(max(shape[0] / shape[1], 0.3), 3.0)
    return new_grid(1, count, theme, (count * side, side * ratio + 0.55))
