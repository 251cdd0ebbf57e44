"""Figures as files: PNG for screens and other programs, SVG for pages, PDF for print."""

from __future__ import annotations

import io
import re
import threading
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from geotoolbox.core.files import atomic_path, check_writable
from geotoolbox.errors import BadInput, explain
from geotoolbox.visualization.style import PAGE, figure_of

__all__ = ["save_figure", "to_png", "to_svg"]

_TIGHT: Any = {"bbox_inches": "tight", "pad_inches": 0.06}  # nothing cut off, no empty rim
_SVG_LOCK = threading.Lock()  # matplotlib reads the SVG settings from process-wide rcParams


def save_figure(ax: Axes | Sequence[Axes], path: str | Path, *, dpi: int = 144) -> Path:
    """Write the figure that ``ax`` stands in as PNG, SVG or PDF, whole or not at all.

    Args:
        ax: What a function of this module returned.
        path: Where to write; its suffix says the format.
        dpi: Pixels to the inch (PNG).

    Returns:
        The path.

    Raises:
        BadInput: When the suffix is another.
        CannotWrite: When the file cannot be written.
    """
    target, kind = Path(path), Path(path).suffix.lower().removeprefix(".")
    if kind not in ("png", "svg", "pdf"):
        raise BadInput(
            explain("this is no format of a picture", got=target.name, expected=".png, .svg or .pdf")
        )
    check_writable(target)
    data = to_png(figure_of(ax), dpi) if kind == "png" else _vector(figure_of(ax), kind)
    with atomic_path(target) as part:
        part.write_bytes(data)
    return target


def to_png(figure: Figure, dpi: int = 144) -> bytes:
    """Draw a figure as PNG."""
    stream = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # a glyph that the font lacks
        FigureCanvasAgg(figure)
        figure.savefig(stream, format="png", dpi=dpi, metadata={"Software": None}, **_TIGHT)
    return stream.getvalue()


def _vector(figure: Figure, kind: str) -> bytes:
    stream = io.BytesIO()
    empty = {"Date": None, "Creator": None} if kind == "svg" else {"CreationDate": None, "Producer": None}
    settings: Any = {"svg.hashsalt": "geotoolbox", "pdf.fonttype": 42}
    with _SVG_LOCK, mpl.rc_context(settings), warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        figure.savefig(stream, format=kind, metadata=empty, **_TIGHT)
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
        figure.savefig(
            stream,
            format="svg",
            metadata={"Date": None, "Creator": None},
            transparent=True,
            dpi=144,
            **_TIGHT,
        )
    text = stream.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    for name in ("ink", "muted", "line", "surface"):
        text = text.replace(getattr(PAGE, name), f"var(--{name})")
    text = re.sub(r"(font: [^;\"]*?px) [^;\"]*", r"\1 var(--sans)", text)
    text = re.sub(r'\bid="', f'id="{prefix}-', text)
    text = re.sub(r'href="#', f'href="#{prefix}-', text)
    return text.replace("url(#", f"url(#{prefix}-").strip()
