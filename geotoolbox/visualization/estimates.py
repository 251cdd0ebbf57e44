"""Areas of classes with their confidence intervals."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from geotoolbox.errors import BadInput, explain
from geotoolbox.metrics.areas import AreaEstimate
from geotoolbox.visualization.style import LIGHT, Theme, label_outside, legend_top, new_axes, plain, rgb

__all__ = ["plot_area_estimates"]


def plot_area_estimates(
    estimates: Sequence[AreaEstimate],
    *,
    log: bool = False,
    by_size: bool = True,
    ax: Axes | None = None,
    theme: Theme = LIGHT,
) -> Axes:
    """Draw the area of each class with its confidence interval, beside what counting the map's pixels gives.

    Args:
        estimates: From a probability sample.
        log: Whether the axis is logarithmic, where areas differ by orders of magnitude.
        by_size: Whether the largest area stands on top; else the estimates keep their order.
        ax: Where to draw; a new figure when None.
        theme: Colours of lines and text.

    Raises:
        BadInput: When there is no estimate.
    """
    if not estimates:
        raise BadInput(explain("there is no estimate to draw", got="none", expected="at least one class"))
    ax = new_axes(ax, theme, (6.4, 1.0 + 0.42 * len(estimates)))
    rows = list(estimates)
    if by_size:
        rows.sort(key=lambda e: -e.area_ha if math.isfinite(e.area_ha) else math.inf)
    largest = max(
        (v for e in rows for v in (e.area_ha, e.ci_high, e.map_area_ha) if math.isfinite(v)), default=1.0
    )
    for place, one in enumerate(rows):
        _row(ax, place, one, theme, largest)
    ax.set_yticks(range(len(rows)), [plain(e.name, 28) for e in rows])
    ax.set_ylim(len(rows) - 0.45, -0.55)
    if log:
        ax.set_xscale("log")
    else:
        ax.set_xlim(min(0.0, *(e.ci_low for e in rows if math.isfinite(e.ci_low)), 0.0), 1.04 * largest)
        ax.axvline(0, color=theme.line, linewidth=0.8)
    ax.xaxis.set_major_formatter(lambda v, _: f"{v:,.10g}".replace(",", "\u202f"))
    ax.grid(axis="x", color=theme.line, linewidth=0.6)
    ax.set_axisbelow(True)
    ax.tick_params(axis="y", length=0)
    label_outside(ax, theme, "area (ha)")
    legend_top(ax, theme, _handles(theme))
    return ax


def _row(ax: Axes, place: int, one: AreaEstimate, theme: Theme, largest: float) -> None:
    if not math.isfinite(one.area_ha):
        beside = one.map_area_ha if math.isfinite(one.map_area_ha) else 0.0
        right = beside < 0.6 * largest  # of the mark, unless that stands far to the right
        ax.annotate("no estimate: no sample in this class", (beside, place), (8 if right else -8, 0),
                    textcoords="offset points", va="center", ha="left" if right else "right", fontsize=8.5,
                    color=theme.muted, style="italic")  # fmt: skip
    else:
        if np.isfinite([one.ci_low, one.ci_high]).all():
            ax.plot(
                [one.ci_low, one.ci_high],
                [place, place],
                color=theme.muted,
                linewidth=2.2,
                solid_capstyle="butt",
            )
            for end in (one.ci_low, one.ci_high):
                ax.plot([end, end], [place - 0.16, place + 0.16], color=theme.muted, linewidth=1.4)
        ax.plot(one.area_ha, place, "o", markersize=9, color=rgb(one.color), markeredgecolor=theme.ink,
                markeredgewidth=0.9, zorder=3)  # fmt: skip
    if math.isfinite(one.map_area_ha):
        ax.plot(one.map_area_ha, place, "D", markersize=5.5, markerfacecolor=theme.surface,
                markeredgecolor=theme.ink, markeredgewidth=1.1, zorder=4)  # fmt: skip


def _handles(theme: Theme) -> list[Line2D]:
    return [
        Line2D([], [], marker="o", linestyle="", color=theme.muted, markeredgecolor=theme.ink, markersize=8,
               label="estimate"),
        Line2D([], [], color=theme.muted, linewidth=2.2, label="confidence interval"),
        Line2D([], [], marker="D", linestyle="", markerfacecolor=theme.surface, markeredgecolor=theme.ink,
               markersize=5.5, label="the map's pixels, counted"),
    ]  # fmt: skip
