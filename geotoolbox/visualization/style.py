"""Looks shared by all figures: themes, colours for series, new axes, safe text."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.patheffects import AbstractPathEffect, withStroke

from geotoolbox.errors import BadInput, explain

__all__ = [
    "ACCENT",
    "DARK",
    "LIGHT",
    "MARKERS",
    "PAGE",
    "SERIES",
    "AxesGrid",
    "Theme",
    "dress",
    "figure_of",
    "halo",
    "ink_on",
    "label_outside",
    "legend_right",
    "legend_top",
    "new_axes",
    "new_grid",
    "outline",
    "plain",
    "rgb",
]

ACCENT = "#1b6f8a"
"""The colour of what is measured; dark enough for white text on it, light enough for a dark page."""

SERIES = ("#146cb0", "#ca5614", "#14987c", "#9682fe", "#fe407c", "#4898b0")
"""For series that have no colour of their own: legible on white and on dark, apart for colour-blind readers."""

MARKERS = ("o", "s", "^", "D", "v", "P", "X", "<", ">", "*", "p", "h")
"""Shapes that tell series apart where colours do not."""


@dataclass(frozen=True, slots=True)
class Theme:
    """The colours of a figure's own lines and text; the data keeps its colours."""

    ink: str
    muted: str
    line: str
    surface: str


LIGHT = Theme(ink="#1c2328", muted="#5b6770", line="#d5dbdf", surface="#ffffff")
DARK = Theme(ink="#e6eaed", muted="#a3afb8", line="#3a444c", surface="#161b1f")
# Stand-ins that to_svg turns into the page's CSS variables, so one drawing serves light, dark and print.
PAGE = Theme(ink="#010203", muted="#010204", line="#010205", surface="#010206")


class _ShownAxes(Axes):
    """Axes that a notebook shows as the picture when they are a cell's last line."""

    def _repr_png_(self) -> bytes:
        from geotoolbox.visualization.export import to_png

        return to_png(figure_of(self))


class AxesGrid(list[Axes]):
    """The axes of one figure with several panels; a notebook shows the picture."""

    @property
    def figure(self) -> Figure:
        """The figure that all of them stand in."""
        return figure_of(self[0])

    def _repr_png_(self) -> bytes:
        from geotoolbox.visualization.export import to_png

        return to_png(self.figure)


def new_axes(ax: Axes | None, theme: Theme = LIGHT, size_in: tuple[float, float] = (6.4, 4.0)) -> Axes:
    """Return ``ax``, or the axes of a new figure without pyplot; dressed in the theme's colours."""
    if ax is None:
        ax = _new_figure(theme, size_in).add_subplot(axes_class=_ShownAxes)
    return dress(ax, theme)


def new_grid(rows: int, columns: int, theme: Theme, size_in: tuple[float, float]) -> AxesGrid:
    """Return the axes of a new figure with ``rows`` × ``columns`` panels, row by row."""
    found = _new_figure(theme, size_in).subplots(rows, columns, squeeze=False)
    return AxesGrid(dress(ax, theme) for ax in found.flat)


def _new_figure(theme: Theme, size_in: tuple[float, float]) -> Figure:
    figure = Figure(figsize=size_in, layout="constrained")
    FigureCanvasAgg(figure)
    figure.set_facecolor(theme.surface)
    return figure


def figure_of(ax: Axes | Sequence[Axes]) -> Figure:
    """Return the whole figure that axes (or the first of several) stand in."""
    figure = (ax if isinstance(ax, Axes) else ax[0]).get_figure(root=True)
    if figure is None:
        raise BadInput(explain("these axes belong to no figure", fix="draw into the axes of a figure"))
    return figure


def dress(ax: Axes, theme: Theme) -> Axes:
    """Give axes the theme's colours, and no frame but what is needed."""
    ax.set_facecolor("none")
    ax.tick_params(colors=theme.muted, labelcolor=theme.ink, labelsize=9, length=3, width=0.6)
    for side, spine in ax.spines.items():
        spine.set_color(theme.line)
        spine.set_visible(side in ("left", "bottom"))
    for label in (ax.xaxis.label, ax.yaxis.label, ax.title):
        label.set_color(theme.ink)
        label.set_fontsize(9.5)
    return ax


def legend_right(ax: Axes, theme: Theme, handles: Sequence[Any] | None = None) -> None:
    """Put the legend beside the axes, where it covers no data; in columns where there are many entries."""
    found = ax.get_legend_handles_labels()[0] if handles is None else list(handles)
    if found:
        columns = -(-len(found) // 20)
        ax.legend(handles=found, loc="upper left", bbox_to_anchor=(1.02, 1), frameon=False, ncols=columns,
                  fontsize=8.5 if columns == 1 else 7, labelcolor=theme.ink, borderaxespad=0)  # fmt: skip


def legend_top(ax: Axes, theme: Theme, handles: Sequence[Any] | None = None, columns: int = 3) -> None:
    """Put the legend in a line above the axes."""
    found = ax.get_legend_handles_labels()[0] if handles is None else list(handles)
    if found:
        ax.legend(handles=found, loc="lower left", bbox_to_anchor=(0, 1), ncols=columns, frameon=False,
                  fontsize=8.5, labelcolor=theme.ink, borderaxespad=0.2)  # fmt: skip


def label_outside(ax: Axes, theme: Theme, x: str = "", y: str = "") -> None:
    """Name what the axes measure."""
    ax.set_xlabel(x, color=theme.muted)
    ax.set_ylabel(y, color=theme.muted)


def halo(theme: Theme, width: float = 2.5) -> list[AbstractPathEffect]:
    """Outline text or lines in the colour of the surface, so that they stand out from what is below."""
    return [withStroke(linewidth=width, foreground=theme.surface)]


def outline(color: Any, theme: Theme, width: float = 2.8) -> list[AbstractPathEffect]:
    """Give a line an edge where its colour would be lost on the theme's surface (white, dark, or either)."""
    light, page = _lightness(color), _lightness(theme.surface)
    lost = (light > 0.75 and (theme == PAGE or page > 0.5)) or (light < 0.3 and (theme == PAGE or page < 0.5))
    return [withStroke(linewidth=width, foreground=theme.muted)] if lost else []


def _lightness(color: Any) -> float:
    red, green, blue = to_rgb(color)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def ink_on(color: Any, alpha: float, theme: Theme) -> str:
    """Return white where text on this colour would be hard to read in the theme's ink.

    Example:
        >>> ink_on("#1b6f8a", 0.9, LIGHT), ink_on("#1b6f8a", 0.2, LIGHT)
        ('#ffffff', '#1c2328')
    """
    return "#ffffff" if alpha > 0.55 and _lightness(color) < 0.6 else theme.ink


def plain(text: object, limit: int = 60) -> str:
    r"""Make a name safe to draw: no mathematics, no control characters, not endless.

    Example:
        >>> plain("a $x$ \x00 b")
        'a \\$x\\$  b'
    """
    kept = "".join(c for c in str(text) if unicodedata.category(c)[0] != "C")
    kept = kept if len(kept) <= limit else kept[: limit - 1] + "…"
    return kept.replace("$", r"\$")


def rgb(color: tuple[int, int, int]) -> tuple[float, float, float]:
    """Turn 0–255 into matplotlib's 0–1."""
    return color[0] / 255, color[1] / 255, color[2] / 255
