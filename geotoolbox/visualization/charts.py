"""Charts of numbers: scores of each class, training history, baselines, class balance."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator, PercentFormatter

from geotoolbox.core.classes import ClassTable
from geotoolbox.metrics.scores import Scores
from geotoolbox.visualization.images import class_handles
from geotoolbox.visualization.matrix import short_count
from geotoolbox.visualization.style import (
    ACCENT,
    LIGHT,
    MARKERS,
    SERIES,
    Theme,
    label_outside,
    legend_right,
    legend_top,
    new_axes,
    plain,
    rgb,
)

__all__ = ["plot_baselines", "plot_class_balance", "plot_history", "plot_scores"]

_DASHES = ("-", "--", "-.", ":")


def plot_scores(
    scores: Scores,
    classes: ClassTable,
    *,
    by_size: bool = True,
    ax: Axes | None = None,
    theme: Theme = LIGHT,
) -> Axes:
    """Draw each class's IoU as a bar, with its precision and recall as marks, the most frequent class on top.

    Args:
        scores: Of the K classes.
        classes: The K classes.
        by_size: Whether the most frequent class stands on top; else the classes keep their order.
        ax: Where to draw; a new figure when None.
        theme: Colours of lines and text.
    """
    k = len(classes)
    ax = new_axes(ax, theme, (6.2, 0.9 + 0.36 * k))
    order = np.argsort([-n if by_size else 0 for n in scores.support], kind="stable")
    for place, index in enumerate(order):
        iou, precision, recall = scores.iou[index], scores.precision[index], scores.recall[index]
        if np.isfinite(iou):
            color = rgb(classes.colors[index])
            ax.barh(place, iou, height=0.62, color=color, edgecolor=theme.muted, linewidth=0.5)
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
    _rows(ax, [plain(classes.names[i], 28) for i in order], theme)
    ax.tick_params(axis="y", pad=7)  # a mark at 0 covers no name
    ax.set_xlim(0, 1)
    ax.xaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
    handles = [
        Patch(color=theme.muted, label="IoU"),
        *ax.plot([], [], "o", mfc=theme.surface, mec=theme.ink, ms=5, label="precision"),
        *ax.plot([], [], "D", mfc=theme.surface, mec=theme.ink, ms=5, label="recall"),
    ]
    legend_top(ax, theme, handles)
    return ax


def _rows(ax: Axes, names: Sequence[str], theme: Theme) -> None:
    """Name the rows of a bar chart, the first on top."""
    ax.set_yticks(range(len(names)), names)
    ax.set_ylim(len(names) - 0.45, -0.55)
    ax.grid(axis="x", color=theme.line, linewidth=0.6)
    ax.set_axisbelow(True)
    ax.tick_params(axis="y", length=0)


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
        few = len(epochs) < 40
        ax.plot(epochs, values, color=SERIES[number % len(SERIES)], linewidth=1.8, linestyle=_DASHES[number % 4],
                marker=MARKERS[number % len(MARKERS)] if few else None, markersize=3.5,
                label=plain(key.replace("_", " ")))  # fmt: skip
    ax.margins(y=0.14)
    if best_epoch is not None:
        ax.axvline(best_epoch, color=theme.muted, linewidth=0.9, linestyle=":")
        past = epochs and best_epoch > sum(epochs) / len(epochs)
        ax.annotate(f"kept: epoch {best_epoch}", (best_epoch, 1), xycoords=("data", "axes fraction"),
                    xytext=(-4 if past else 4, -2), textcoords="offset points", fontsize=8.5, color=theme.muted,
                    va="top", ha="right" if past else "left")  # fmt: skip
    ax.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=8))
    ax.grid(axis="y", color=theme.line, linewidth=0.6)
    label_outside(ax, theme, "epoch", plain(label))
    if columns:
        legend_top(ax, theme)
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
        for offset, value, color in ((-0.19, accuracy, ACCENT), (0.19, mean_iou, SERIES[1])):
            if not np.isfinite(value):
                continue
            ax.barh(place + offset, value, height=0.34, color=theme.surface)  # no grid shines through
            ax.barh(place + offset, value, height=0.34, color=color, alpha=strength)
            ax.text(value + 0.008, place + offset, f"{value:.3f}", va="center", fontsize=8.5, color=theme.ink,
                    fontweight="bold" if place == 0 else "normal")  # fmt: skip
    _rows(ax, [plain(r[0], 30) for r in rows], theme)
    ax.set_xlim(0, 1.08)
    ax.set_xticks([0, 0.25, 0.5, 0.75, 1.0])
    marks = [Patch(color=c, label=n) for c, n in ((ACCENT, "overall accuracy"), (SERIES[1], "mean IoU"))]
    legend_top(ax, theme, marks)
    return ax


def plot_class_balance(
    counts: Mapping[str, Sequence[int]],
    classes: ClassTable,
    *,
    legend: bool = True,
    ax: Axes | None = None,
    theme: Theme = LIGHT,
) -> Axes:
    """Draw the share of each class in each split, as one stacked bar a split; shares of 6 % or more are written.

    Args:
        counts: Pixels of each class, by the split's name.
        classes: The classes, in the order of the counts.
        legend: Whether the classes' colours are named beside.
        ax: Where to draw; a new figure when None.
        theme: Colours of lines and text.
    """
    tall = max(0.7 + 0.5 * len(counts), 0.3 + 0.22 * len(classes) * legend)
    ax = new_axes(ax, theme, (6.4 + 1.6 * legend, tall))
    for place, pixels in enumerate(counts.values()):
        total, left = max(sum(pixels), 1), 0.0
        for index, count in enumerate(pixels):
            share, color = count / total, rgb(classes.colors[index])
            ax.barh(place, share, left=left, height=0.66, color=color, edgecolor=theme.surface, linewidth=0.6)
            if share >= 0.06:
                ax.text(left + share / 2, place, f"{100 * share:.0f}", ha="center", va="center", fontsize=8.5,
                        color="#ffffff" if np.dot(color, (0.3, 0.59, 0.11)) < 0.55 else "#1c2328")  # fmt: skip
            left += share
    _rows(ax, [f"{plain(n)} ({short_count(sum(c))} px)" for n, c in counts.items()], theme)
    ax.grid(visible=False)
    ax.set_xlim(0, 1)
    ax.xaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
    if legend:
        legend_right(ax, theme, class_handles(classes, theme))
    return ax
