"""Looks shared by all figures: themes, new axes, safe text, and figures as SVG or PNG."""

from __future__ import annotations

import io
import re
import threading
import unicodedata
import warnings
from dataclasses import dataclass
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from geotoolbox.errors import BadInput, explain

__all__ = [
    "ACCENT",
    "DARK",
    "LIGHT",
    "PAGE",
    "Theme",
    "figure_of",
    "new_axes",
    "plain",
    "rgb",
    "to_png",
    "to_svg",
]

ACCENT = "#1b6f8a"
"""The colour of what is measured; dark enough for white text on it, light enough for a dark page."""


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

_SVG_LOCK = threading.Lock()  # matplotlib reads the SVG settings from process-wide rcParams


def new_axes(ax: Axes | None, theme: Theme = LIGHT, size_in: tuple[float, float] = (6.4, 4.0)) -> Axes:
    """Return ``ax``, or the axes of a new figure without pyplot; dressed in the theme's colours."""
    if ax is None:
        figure = Figure(figsize=size_in, layout="constrained")
        FigureCanvasAgg(figure)
        figure.set_facecolor(theme.surface)
        ax = figure.add_subplot()
    return dress(ax, theme)


def figure_of(ax: Axes) -> Figure:
    """Return the whole figure that axes stand in."""
    figure = ax.get_figure(root=True)
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


def to_png(figure: Figure, dpi: int = 144) -> bytes:
    """Draw a figure as PNG."""
    stream = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # a glyph that the font lacks
        FigureCanvasAgg(figure)
        figure.savefig(stream, format="png", dpi=dpi, metadata={"Software": None})
    return stream.getvalue()


def to_svg(figure: Figure, prefix: str) -> str:
    """Draw a figure as an SVG element for an HTML page.

    Args:
        figure: A figure drawn with the theme :data:`PAGE`.
        prefix: Makes the ids of this drawing unique on the page.

    Returns:
        ``<svg …>…</svg>`` whose text is text, in the page's own font and colours.
    """
    stream = io.StringIO()
    settings: Any = {
        "svg.fonttype": "none",
        "svg.hashsalt": "geotoolbox",
        "svg.image_inline": True,
    }
    figure.set_facecolor("none")
    with _SVG_LOCK, mpl.rc_context(settings), warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        figure.savefig(stream, format="svg", metadata={"Date": None, "Creator": None}, transparent=True)
    text = stream.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    for name in ("ink", "muted", "line", "surface"):
        text = text.replace(getattr(PAGE, name), f"var(--{name})")
    text = re.sub(r"(font: [^;\"]*?px) [^;\"]*", r"\1 var(--sans)", text)
    text = re.sub(r'\bid="', f'id="{prefix}-', text)
    text = re.sub(r'href="#', f'href="#{prefix}-', text)
    return text.replace("url(#", f"url(#{prefix}-").strip()
