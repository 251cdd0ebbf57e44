"""The confusion matrix as a picture, from 2 to 60 classes."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.patches import Rectangle
from numpy.typing import NDArray
from scipy.cluster.hierarchy import leaves_list, linkage
from scipy.spatial.distance import squareform

from geotoolbox.core.classes import ClassTable
from geotoolbox.errors import BadInput, explain
from geotoolbox.visualization.style import ACCENT, LIGHT, Theme, ink_on, label_outside, new_axes, plain

__all__ = ["matrix_order", "plot_confusion_matrix", "short_count"]

Normalize = Literal["truth", "predicted", "none"]
Sort = Literal["given", "frequency", "confusion"]
_ALL_NUMBERS = 16  # beyond, only cells that matter have their number
_SMALL_SHARE = 0.05


def plot_confusion_matrix(
    counts: NDArray[Any],
    classes: ClassTable,
    normalize: Normalize = "truth",
    *,
    sort: Sort = "given",
    ax: Axes | None = None,
    theme: Theme = LIGHT,
) -> Axes:
    """Draw a confusion matrix; rows are the reference, columns the map.

    Args:
        counts: (K, K), row = true class, column = predicted class; counts or areas.
        classes: The K classes.
        normalize: ``"truth"``: shares of each row (the diagonal is recall); ``"predicted"``: shares of each
            column (the diagonal is precision); ``"none"``: counts.
        sort: See :func:`matrix_order`.
        ax: Where to draw; a new figure when None.
        theme: Colours of lines and text.

    Returns:
        The axes. Beyond 16 classes only the diagonal and shares of 5 % or more have their number. A row (or
        column) without a pixel is hatched: nothing is known about it.

    Raises:
        BadInput: When matrix and classes do not fit.
    """
    k = len(classes)
    if counts.shape != (k, k):
        raise BadInput(explain("the matrix does not fit the classes", got=counts.shape, expected=(k, k)))
    order = matrix_order(counts, sort)
    counts = counts[np.ix_(order, order)]
    cell_in = float(np.clip(9.0 / k, 0.19, 0.56))
    ax = new_axes(ax, theme, (cell_in * k + 2.4, cell_in * k + 1.7))
    share, known = _shares(counts, normalize)
    cells = np.zeros((k, k, 4))
    cells[..., :3], cells[..., 3] = to_rgb(ACCENT), np.where(known, share, 0)
    ax.imshow(cells, interpolation="none", aspect="equal")
    _label(ax, [plain(classes.names[i], 24) for i in order], cell_in, theme)
    _numbers(ax, counts, share, known, normalize=normalize, cell_in=cell_in, theme=theme)
    _hatch(ax, known, normalize, theme)
    return ax


def matrix_order(counts: NDArray[Any], sort: Sort) -> list[int]:
    """Return the order of the classes in a drawn matrix.

    Args:
        counts: (K, K), row = true class.
        sort: ``"given"``: the table's; ``"frequency"``: the most frequent in the reference first;
            ``"confusion"``: classes that are taken for each other side by side.

    Example:
        >>> matrix_order(np.array([[9, 0, 5], [0, 8, 0], [5, 0, 90]]), "frequency")
        [2, 0, 1]
        >>> order = matrix_order(np.array([[9, 0, 5], [0, 8, 0], [5, 0, 90]]), "confusion")
        >>> abs(order.index(0) - order.index(2))
        1
    """
    k = len(counts)
    if sort == "frequency":
        return [int(i) for i in np.argsort(-counts.sum(axis=1), kind="stable")]
    if sort == "given" or k < 3:
        return list(range(k))
    if sort != "confusion":
        raise BadInput(explain("this order is not known", got=sort, expected="given, frequency or confusion"))
    share, known = _shares(counts, "truth")
    share = np.where(known, share, 0)
    far = 1 - np.minimum(1, share + share.T)
    np.fill_diagonal(far, 0)
    return [
        int(i) for i in leaves_list(linkage(squareform(far, checks=False), "average", optimal_ordering=True))
    ]


def _shares(counts: NDArray[Any], normalize: Normalize) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Return each cell's share of its row, column or the largest cell, and whether that is defined."""
    if normalize not in ("truth", "predicted", "none"):
        raise BadInput(explain("unknown shares", got=normalize, expected="truth, predicted or none"))
    largest = np.asarray([[max(counts.max(initial=0), 1)]])
    sums = {"truth": counts.sum(axis=1, keepdims=True), "predicted": counts.sum(axis=0, keepdims=True)}
    below = np.broadcast_to(sums.get(normalize, largest), counts.shape)
    share = np.divide(counts, below, out=np.zeros(counts.shape), where=below > 0)
    return share, below > 0


def _label(ax: Axes, names: list[str], cell_in: float, theme: Theme) -> None:
    k, size = len(names), float(np.clip(cell_in * 72 * 0.5, 6.0, 9.0))
    slanted = k <= 24
    ax.set_xticks(range(k), names, rotation=40 if slanted else 90, ha="left" if slanted else "center",
                  fontsize=size, rotation_mode="anchor" if slanted else "default")  # fmt: skip
    ax.set_yticks(range(k), names, fontsize=size)
    ax.xaxis.tick_top()
    ax.set_xticks(np.arange(k + 1) - 0.5, minor=True)
    ax.set_yticks(np.arange(k + 1) - 0.5, minor=True)
    ax.grid(which="minor", color=theme.line, linewidth=0.6 if k <= 24 else 0.35)
    ax.tick_params(which="both", length=0)
    for spine in ax.spines.values():
        spine.set_visible(False)
    label_outside(ax, theme, "Map", "Reference")
    ax.xaxis.set_label_position("top")


def _numbers(
    ax: Axes,
    counts: NDArray[Any],
    share: NDArray[np.float64],
    known: NDArray[np.bool_],
    *,
    normalize: Normalize,
    cell_in: float,
    theme: Theme,
) -> None:
    size = float(np.clip(cell_in * 72 * 0.36, 4.8, 9.0))
    for (row, column), count in np.ndenumerate(counts):
        value = float(share[row, column])
        if len(counts) > _ALL_NUMBERS and row != column and (value < _SMALL_SHARE or not known[row, column]):
            continue
        if not known[row, column]:
            text = "–" if row == column else ""
        elif normalize == "none":
            text = short_count(float(count))
        else:
            text = "0" if count == 0 else ("<1" if value < 0.005 else f"{100 * value:.0f}")
        color = theme.muted if value < 0.005 else ink_on(ACCENT, value, theme)
        weight = "bold" if row == column else "normal"
        ax.text(column, row, text, ha="center", va="center", color=color, fontsize=size, fontweight=weight)


def _hatch(ax: Axes, known: NDArray[np.bool_], normalize: Normalize, theme: Theme) -> None:
    k = len(known)
    for place in range(k):
        if normalize == "truth" and not known[place, 0]:
            corner, width, height = (-0.5, place - 0.5), k, 1
        elif normalize == "predicted" and not known[0, place]:
            corner, width, height = (place - 0.5, -0.5), 1, k
        else:
            continue
        ax.add_patch(
            Rectangle(corner, width, height, fill=False, hatch="////", edgecolor=theme.line, linewidth=0)
        )


def short_count(count: float) -> str:
    """Write a count in at most four characters.

    Example:
        >>> short_count(950), short_count(1_234), short_count(12_345), short_count(7_654_321)
        ('950', '1.2k', '12k', '7.7M')
    """
    for unit, letter in ((1_000_000, "M"), (1_000, "k")):
        if count >= 10 * unit:
            return f"{count / unit:.0f}{letter}"
        if count >= unit:
            return f"{count / unit:.1f}{letter}"
    return f"{count:.0f}"
