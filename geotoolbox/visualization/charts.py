"""Charts of numbers: confusion matrix, scores, history, baselines, class balance."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator, PercentFormatter
from numpy.typing import NDArray

from geotoolbox.core.classes import ClassTable
from geotoolbox.errors import BadInput, explain
from geotoolbox.metrics.scores import Scores
from geotoolbox.visualization.style import ACCENT, LIGHT, Theme, new_axes, plain, rgb

__all__ = ["plot_baselines", "plot_class_balance", "plot_confusion_matrix", "plot_history", "plot_scores"]

Normalize = Literal["truth", "predicted", "none"]
_SERIES = ("#2e8fb0", "#d55e00", "#8a6fb3", "#009e73")  # each legible on a light and on a dark page
_MAX_NUMBERS = 16  # beyond, the numbers in the cells would not be legible


def plot_confusion_matrix(
    counts: NDArray[Any],
    classes: ClassTable,
    normalize: Normalize = "truth",
    *,
    ax: Axes | None = None,
    theme: Theme = LIGHT,
) -> Axes:
    """Draw a confusion matrix; rows are the reference, columns the map.

    Args:
        counts: (K, K), row = true class, column = predicted class.
        classes: The K classes.
        normalize: ``"truth"``: shares of each row (the diagonal is recall); ``"predicted"``: shares of each
            column (the diagonal is precision); ``"none"``: counts.
        ax: Where to draw; a new figure when None.
        theme: Colours of lines and text.

    Returns:
        The axes.
    """
    k = len(classes)
    if counts.shape != (k, k):
        raise BadInput(explain("the matrix does not fit the classes", got=counts.shape, expected=(k, k)))
    side = min(9.0, 2.2 + 0.56 * k) if k <= _MAX_NUMBERS else 9.0
    ax = new_axes(ax, theme, (side + 0.9, side))
    total = {"truth": counts.sum(axis=1, keepdims=True), "predicted": counts.sum(axis=0, keepdims=True)}
    below = total.get(normalize, np.asarray([[max(counts.max(initial=0), 1)]]))
    share = np.divide(counts, below, out=np.zeros((k, k)), where=below > 0)
    cells = np.zeros((k, k, 4))
    cells[..., :3], cells[..., 3] = to_rgb(ACCENT), share
    ax.imshow(cells, interpolation="none", aspect="equal")
    _matrix_axes(ax, classes, theme)
    if k <= _MAX_NUMBERS:
        _cell_numbers(ax, counts, share, normalize, theme)
    return ax


def _matrix_axes(ax: Axes, classes: ClassTable, theme: Theme) -> None:
    k = len(classes)
    names = [plain(n, 24) for n in classes.names]
    size = 9 if k <= 24 else max(4.0, 216 / k)
    ax.set_xticks(range(k), names, rotation=40 if k <= 24 else 90, ha="left" if k <= 24 else "center", fontsize=size,
                  rotation_mode="anchor" if k <= 24 else "default")  # fmt: skip
    ax.set_yticks(range(k), names, fontsize=size)
    ax.xaxis.tick_top()
    ax.tick_params(length=0)
    ax.set_xticks(np.arange(k + 1) - 0.5, minor=True)
    ax.set_yticks(np.arange(k + 1) - 0.5, minor=True)
    ax.grid(which="minor", color=theme.line, linewidth=0.6)
    ax.tick_params(which="minor", length=0)
    for spine in ax.spines.values():
        spine.set_visible(False)
    ax.set_ylabel("Reference", color=theme.muted)
    ax.set_xlabel("Map", color=theme.muted)
    ax.xaxis.set_label_position("top")


def _cell_numbers(
    ax: Axes, counts: NDArray[Any], share: NDArray[np.float64], normalize: Normalize, theme: Theme
) -> None:
    sums = {"truth": counts.sum(axis=1, keepdims=True), "predicted": counts.sum(axis=0, keepdims=True)}
    known = np.broadcast_to(sums.get(normalize, np.ones((1, 1))) > 0, counts.shape)
    for (row, column), count in np.ndenumerate(counts):
        value = share[row, column]
        if not known[row, column]:
            text = "–" if row == column else ""
        elif normalize == "none":
            text = _short(int(count))
        else:
            text = "0" if count == 0 else ("<1" if value < 0.005 else f"{100 * value:.0f}")
        color = "#ffffff" if value > 0.55 else (theme.muted if value < 0.005 else theme.ink)
        weight = "bold" if row == column else "normal"
        ax.text(column, row, text, ha="center", va="center", color=color, fontsize=9, fontweight=weight)


def _short(count: int) -> str:
    for unit, letter in ((1_000_000, "M"), (1_000, "k")):
        if count >= 10 * unit:
            return f"{count / unit:.0f}{letter}"
        if count >= unit:
            return f"{count / unit:.1f}{letter}"
    return str(count)


def plot_scores(scores: Scores, classes: ClassTable, *, ax: Axes | None = None, theme: Theme = LIGHT) -> Axes:
    """Draw each class's IoU as a bar, with its precision and recall as marks, the most frequent class on top."""
    k = len(classes)
    ax = new_axes(ax, theme, (6.2, 0.9 + 0.36 * k))
    order = np.argsort([-n for n in scores.support], kind="stable")
    for place, index in enumerate(order):
        iou, precision, recall = scores.iou[index], scores.precision[index], scores.recall[index]
        if np.isfinite(iou):
            ax.barh(
                place,
                iou,
                height=0.62,
                color=rgb(classes.colors[index]),
                edgecolor=theme.muted,
                linewidth=0.5,
            )
        else:
            ax.text(
                0.01,
                place,
                "not in the reference",
                va="center",
                fontsize=8.5,
                color=theme.muted,
                style="italic",
            )
        for value, mark in ((precision, "o"), (recall, "D")):
            if np.isfinite(value):
                ax.plot(value, place, mark, markersize=5, markerfacecolor=theme.surface, markeredgecolor=theme.ink,
                        markeredgewidth=1.1, clip_on=False)  # fmt: skip
    ax.set_yticks(range(k), [plain(classes.names[i], 28) for i in order])
    ax.invert_yaxis()
    ax.set_xlim(0, 1)
    ax.xaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
    ax.grid(axis="x", color=theme.line, linewidth=0.6)
    ax.set_axisbelow(True)
    ax.tick_params(axis="y", length=0)
    handles = [
        Patch(color=theme.muted, label="IoU"),
        *ax.plot([], [], "o", mfc=theme.surface, mec=theme.ink, ms=5, label="precision"),
        *ax.plot([], [], "D", mfc=theme.surface, mec=theme.ink, ms=5, label="recall"),
    ]
    ax.legend(handles=handles, loc="lower right", bbox_to_anchor=(1, 1), ncols=3, frameon=False, fontsize=8.5,
              labelcolor=theme.ink)  # fmt: skip
    return ax


def plot_history(
    history: Sequence[Mapping[str, Any]],
    keys: Sequence[str] | None = None,
    *,
    best_epoch: int | None = None,
    label: str = "",
    ax: Axes | None = None,
    theme: Theme = LIGHT,
) -> Axes:
    """Draw columns of a training history over the epochs.

    Args:
        history: One mapping an epoch; ``epoch`` counts from 0 where given.
        keys: The columns to draw; those that end in ``loss`` when None.
        best_epoch: The epoch whose weights were kept; marked with a line.
        label: What the values are, on the vertical axis.
        ax: Where to draw; a new figure when None.
        theme: Colours of lines and text.
    """
    ax = new_axes(ax, theme, (5.2, 3.0))
    columns = (
        list(keys) if keys is not None else [k for k in (history[0] if history else {}) if k.endswith("loss")]
    )
    epochs = [int(row.get("epoch", i)) for i, row in enumerate(history)]
    for number, key in enumerate(columns):
        values = [float("nan") if row.get(key) is None else float(row[key]) for row in history]
        ax.plot(epochs, values, color=_SERIES[number % 4], linewidth=1.8, marker="o",
                markersize=3 if len(epochs) < 40 else 0, linestyle="-" if number % 2 == 0 else "--",
                label=plain(key.replace("_", " ")))  # fmt: skip
    if best_epoch is not None:
        ax.axvline(best_epoch, color=theme.muted, linewidth=0.9, linestyle=":")
        ax.annotate(f"kept: epoch {best_epoch}", (best_epoch, 1), xycoords=("data", "axes fraction"), xytext=(0, 2),
                    textcoords="offset points", fontsize=8.5, color=theme.muted, va="bottom", ha="center")  # fmt: skip
    ax.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=8))
    ax.grid(axis="y", color=theme.line, linewidth=0.6)
    ax.set_xlabel("epoch", color=theme.muted)
    ax.set_ylabel(plain(label), color=theme.muted)
    if columns:
        ax.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=3, frameon=False, fontsize=8.5, labelcolor=theme.ink,
                  borderaxespad=0.2)  # fmt: skip
    return ax


def plot_baselines(
    rows: Sequence[tuple[str, float, float]], *, ax: Axes | None = None, theme: Theme = LIGHT
) -> Axes:
    """Draw accuracy and mean IoU of the model (first row) beside those of its baselines.

    Args:
        rows: (name, overall accuracy, mean IoU) each; shares from 0 to 1.
        ax: Where to draw; a new figure when None.
        theme: Colours of lines and text.
    """
    ax = new_axes(ax, theme, (6.2, 0.8 + 0.62 * len(rows)))
    for place, (_, accuracy, mean_iou) in enumerate(rows):
        strength = 1.0 if place == 0 else 0.42
        for offset, value, color in ((-0.19, accuracy, ACCENT), (0.19, mean_iou, _SERIES[1])):
            if not np.isfinite(value):
                continue
            ax.barh(place + offset, value, height=0.34, color=color, alpha=strength)
            ax.text(value + 0.008, place + offset, f"{value:.3f}", va="center", fontsize=8.5, color=theme.ink,
                    fontweight="bold" if place == 0 else "normal")  # fmt: skip
    ax.set_yticks(range(len(rows)), [plain(r[0], 30) for r in rows])
    ax.invert_yaxis()
    ax.set_xlim(0, 1.08)
    ax.set_xticks([0, 0.25, 0.5, 0.75, 1.0])
    ax.grid(axis="x", color=theme.line, linewidth=0.6)
    ax.set_axisbelow(True)
    ax.tick_params(axis="y", length=0)
    marks = [Patch(color=c, label=n) for c, n in ((ACCENT, "overall accuracy"), (_SERIES[1], "mean IoU"))]
    ax.legend(handles=marks, loc="lower right", bbox_to_anchor=(1, 1), ncols=2, frameon=False, fontsize=8.5,
              labelcolor=theme.ink)  # fmt: skip
    return ax


def plot_class_balance(
    counts: Mapping[str, Sequence[int]],
    classes: ClassTable,
    *,
    ax: Axes | None = None,
    theme: Theme = LIGHT,
) -> Axes:
    """Draw the share of each class in each split, as one stacked bar a split.

    Args:
        counts: Pixels of each class, by the split's name.
        classes: The classes, in the order of the counts.
        ax: Where to draw; a new figure when None.
        theme: Colours of lines and text.
    """
    ax = new_axes(ax, theme, (6.2, 0.7 + 0.42 * len(counts)))
    for place, pixels in enumerate(counts.values()):
        total, left = max(sum(pixels), 1), 0.0
        for index, count in enumerate(pixels):
            ax.barh(place, count / total, left=left, height=0.66, color=rgb(classes.colors[index]),
                    edgecolor=theme.surface, linewidth=0.5)  # fmt: skip
            left += count / total
    ax.set_yticks(range(len(counts)), [f"{plain(n)} ({_short(sum(c))})" for n, c in counts.items()])
    ax.invert_yaxis()
    ax.set_xlim(0, 1)
    ax.xaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
    ax.tick_params(axis="y", length=0)
    return ax
