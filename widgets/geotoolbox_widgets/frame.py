"""What the panels share: their look, their line for messages, and how numbers and names are shown."""

from __future__ import annotations

import html
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import ipywidgets as w
from matplotlib.axes import Axes

from geotoolbox.visualization import to_svg
from geotoolbox.visualization.style import figure_of
from geotoolbox_widgets.base import MessageLine, script, style
from geotoolbox_widgets.running import JobRun

__all__ = ["Frame", "button", "chip", "duration", "figure", "hectares", "percent", "progress_html", "share",
           "table", "tiles"]  # fmt: skip


class _Message(MessageLine):
    """The line for messages; it also brings the style sheet of the panels."""

    _css = style("message.css") + script("frames.css")


class Frame(w.VBox):
    """A box with a line for messages at its foot.

    Attributes:
        message: What the person should know; bad input is answered here.
    """

    def __init__(self, children: Sequence[w.Widget] = ()) -> None:
        self.message = _Message()
        super().__init__([*children, self.message])
        self.add_class("gt")
        self.add_class("gt-board")


def figure(axes: Axes, prefix: str, alt: str, caption: str = "") -> str:
    """Return a chart as HTML in the page's own colours; ``alt`` says in words what it shows."""
    said = f"<figcaption>{html.escape(caption)}</figcaption>" if caption else ""
    label = html.escape(alt, quote=True)
    drawing = to_svg(figure_of(axes), prefix).replace("<svg", f'<svg role="img" aria-label="{label}"', 1)
    return f'<figure class="gt-figure" style="margin:0">{drawing}{said}</figure>'


def chip(color: tuple[int, int, int]) -> str:
    """Return a small square of a class's colour."""
    red, green, blue = (int(c) for c in color)
    return f'<span class="gt-chip" aria-hidden="true" style="background:rgb({red},{green},{blue})"></span>'


def table(caption: str, heads: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    """Return a table; every cell is escaped, but one that is given as ``(html,)``.

    Example:
        >>> "&lt;b&gt;" in table("Areas", ["Class", "ha"], [["<b>", "1.0"]])
        True
    """
    top = "".join(f'<th scope="col">{html.escape(str(head))}</th>' for head in heads)
    body = ""
    for row in rows:
        first, *others = (cell[0] if isinstance(cell, tuple) else html.escape(str(cell)) for cell in row)
        cells = "".join(f"<td>{cell}</td>" for cell in others)
        body += f'<tr><th scope="row">{first}</th>{cells}</tr>'
    return (
        f'<div class="gt-scroll"><table class="gt-table"><caption>{html.escape(caption)}</caption>'
        f"<thead><tr>{top}</tr></thead><tbody>{body}</tbody></table></div>"
    )


def tiles(pairs: Iterable[tuple[str, str, str]]) -> str:
    """Return numbers to see at a glance: label, value, and a detail below it."""
    cells = "".join(
        f"<div><span>{html.escape(label)}</span><b>{html.escape(value)}</b><span>{html.escape(detail)}</span></div>"
        for label, value, detail in pairs
    )
    return f'<div class="gt-tiles">{cells}</div>'


def share(value: float | None) -> str:
    """Return a score with three decimals, or ``n/a`` where it is not defined.

    Example:
        >>> share(0.81234), share(float("nan")), share(None)
        ('0.812', 'n/a', 'n/a')
    """
    return "n/a" if value is None or math.isnan(value) else f"{value:.3f}"


def percent(value: float) -> str:
    """Return a share as per cent, with a decimal below ten.

    Example:
        >>> percent(0.034), percent(0.342), percent(0.0)
        ('3.4 %', '34 %', '0 %')
    """
    if value == 0 or 100 * value >= 10:
        return f"{100 * value:.0f} %"
    return f"{100 * value:.1f} %"


def hectares(value: float) -> str:
    """Return an area in hectares, with thousands apart."""
    return f"{value:,.1f} ha"


def duration(seconds: float) -> str:
    """Return minutes and seconds.

    Example:
        >>> duration(95.2)
        '1:35'
    """
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes}:{rest:02d}"


def button(text: str, icon: str, kind: str, tip: str, handler: Callable[[Any], Any]) -> w.Button:
    """Return a button that has its words as a class, for style sheets and tests."""
    made = w.Button(description=text, icon=icon, button_style=kind, tooltip=tip or text)
    made.add_class("gt-" + text.lower().replace(" ", "-"))
    made.on_click(handler)
    return made


def progress_html(run: JobRun, words: Mapping[str, str]) -> str:
    """Say how a job stands: its state in ``words``, and while it works the stage, the share and the time left."""
    said = words.get(run.state, run.state)
    parts = [f"<b>{html.escape(said)}</b>"] if said else []
    if run.busy:
        left = "" if run.seconds_left is None else f"{duration(run.seconds_left)} left"
        shown = (f"{run.stage} {100 * run.fraction:.0f} %", run.message, left)
        parts += [f"<span>{html.escape(part)}</span>" for part in shown if part]
    return f'<div class="gt-status" role="status" aria-live="polite">{"".join(parts)}</div>'
