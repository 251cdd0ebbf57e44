"""The HTML report: one self-contained file that a person is glad to open.

A report is plain data (:class:`Report`); :func:`render_report` turns it into HTML. Every text is escaped
here and nowhere else, the page may load nothing from elsewhere, and only its own script may run.
"""

from __future__ import annotations

import base64
import hashlib
import html
import io
import math
import re
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from matplotlib.axes import Axes
from matplotlib.image import imsave
from numpy.typing import NDArray

from geotoolbox.core.classes import ClassTable
from geotoolbox.errors import TooLarge, explain
from geotoolbox.visualization.export import to_svg
from geotoolbox.visualization.page import SCRIPT, STYLE
from geotoolbox.visualization.style import figure_of

__all__ = ["MAX_REPORT_BYTES", "Block", "Cell", "Code", "Facts", "Legend", "Note", "Panel", "Panels", "Paragraph", "Picture", "Report",
           "Section", "Table", "Terms", "Tile", "render_report"]  # fmt: skip

MAX_REPORT_BYTES = 5_000_000
_MANY_COLUMNS, _PAPER_COLUMNS = 7, 14
_TALL_PT, _LONG_VALUE = 576, 14


@dataclass(frozen=True, slots=True)
class Paragraph:
    """A paragraph of text."""

    text: str


@dataclass(frozen=True, slots=True)
class Note:
    """A remark that must not be overlooked; ``kind`` is ``"info"`` or ``"warning"``."""

    text: str
    kind: str = "info"


@dataclass(frozen=True, slots=True)
class Cell:
    """A table cell: what is shown, the exact value for the CSV, a reason to show on hover, a colour chip."""

    text: str
    value: float | int | str | None = None
    title: str = ""
    color: tuple[int, int, int] | None = None
    strong: bool = False


@dataclass(frozen=True, slots=True)
class Table:
    """A table; the first column names the row, the others are numbers unless ``text_columns`` names them.

    ``meanings`` explains the columns, by heading.
    """

    caption: str
    columns: Sequence[str]
    rows: Sequence[Sequence[Cell]]
    meanings: Mapping[str, str] = field(default_factory=dict)
    folded: bool = False
    text_columns: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class Picture:
    """Axes of a figure drawn with the theme ``PAGE``, what it shows in words (``alt``), and a caption."""

    axes: Axes
    alt: str
    caption: str = ""


@dataclass(frozen=True, slots=True)
class Panel:
    """One picture of pixels: (H, W, 4) RGBA, a title, and what it shows in words."""

    title: str
    rgba: NDArray[np.uint8]
    alt: str


@dataclass(frozen=True, slots=True)
class Panels:
    """Pictures of one place side by side; they wrap where the page is narrow."""

    panels: Sequence[Panel]
    caption: str = ""


@dataclass(frozen=True, slots=True)
class Terms:
    """Terms, and what each means."""

    pairs: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Legend:
    """The classes' colours."""

    classes: ClassTable
    extra: Sequence[tuple[str, tuple[int, int, int]]] = ()


@dataclass(frozen=True, slots=True)
class Facts:
    """Pairs of name and value."""

    pairs: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Code:
    """Preformatted text, such as a recipe."""

    text: str
    label: str


Block = Paragraph | Note | Table | Picture | Panels | Legend | Facts | Terms | Code


@dataclass(frozen=True, slots=True)
class Tile:
    """A number to see at a glance: ``tone`` is ``""``, ``"good"`` or ``"bad"``."""

    label: str
    value: str
    detail: str = ""
    tone: str = ""


@dataclass(frozen=True, slots=True)
class Section:
    """A heading and what stands below it."""

    heading: str
    blocks: Sequence[Block]


@dataclass(frozen=True, slots=True)
class Report:
    """A whole report.

    Attributes:
        kind: What it reports on, such as ``"Training report"``.
        title: The name of the model or map.
        summary: One to three sentences that answer how good it is.
        tiles: Four or so key numbers.
        sections: The rest.
        footer: A last line: made when, with which version.
    """

    kind: str
    title: str
    summary: str
    tiles: Sequence[Tile]
    sections: Sequence[Section]
    footer: str = ""


def render_report(report: Report) -> str:
    """Render a report as one HTML document.

    Raises:
        TooLarge: When it would exceed 5 MB; give smaller pictures.

    Example:
        >>> page = render_report(Report("Test", "<script>", "Good.", [], []))
        >>> "<h1>&lt;script&gt;</h1>" in page
        True
    """
    digest = base64.b64encode(hashlib.sha256(SCRIPT.encode()).digest()).decode()
    policy = f"default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'sha256-{digest}'"
    numbered = [(f"s{i}", s) for i, s in enumerate(report.sections, start=1)]
    links = "".join(f'<a href="#{key}">{_text(s.heading)}</a>' for key, s in numbered)
    sections = "".join(_section(key, s) for key, s in numbered)
    page = f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{policy}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>{_text(report.title)} · {_text(report.kind)}</title>
<style>{STYLE}</style>
</head>
<body>
<a class="skip" href="#main">Skip to the content</a>
<header>
<p class="kind">{_text(report.kind)}</p>
<h1>{_text(report.title)}</h1>
<p class="summary">{_text(report.summary)}</p>
</header>
<main id="main">
{_tiles(report.tiles)}
<nav aria-label="Contents">{links}</nav>
{sections}
</main>
<footer>{_text(report.footer)}</footer>
<div class="sr" id="said" role="status" aria-live="polite"></div>
<script>{SCRIPT}</script>
</body>
</html>
"""
    size = len(page.encode())
    if size > MAX_REPORT_BYTES:
        raise TooLarge(
            explain("the report is too large", got=f"{size:,} bytes", expected=f"{MAX_REPORT_BYTES:,} at most",
                    fix="show fewer or smaller pictures")
        )  # fmt: skip
    return page


def _text(value: object) -> str:
    """Escape a text, and drop what could not be printed."""
    kept = "".join(c for c in str(value) if c in "\n\t" or unicodedata.category(c)[0] != "C")
    return html.escape(kept, quote=True)


def _tiles(tiles: Sequence[Tile]) -> str:
    if not tiles:
        return ""
    cards = "".join(
        f'<div class="tile {_text(t.tone)}"><dt>{_text(t.label)}</dt><dd><b{_small(t.value)}>{_text(t.value)}</b>'
        f"<span>{_text(t.detail)}</span></dd></div>"
        for t in tiles
    )
    return f'<dl class="tiles">{cards}</dl>'


def _small(value: str) -> str:
    return ' class="long"' if len(value) > _LONG_VALUE else ""


def _section(key: str, section: Section) -> str:
    blocks = "\n".join(_block(b, f"{key}f{i}") for i, b in enumerate(section.blocks))
    heading = f'<h2 id="{key}h">{_text(section.heading)}</h2>'
    return f'<section id="{key}" aria-labelledby="{key}h">{heading}\n{blocks}</section>\n'


def _block(block: Block, key: str) -> str:  # noqa: PLR0911 - one answer a kind of block
    match block:
        case Paragraph(text):
            return f"<p>{_text(text)}</p>"
        case Note(text, kind):
            return f'<p class="note {_text(kind)}" role="note">{_text(text)}</p>'
        case Table():
            return _table(block)
        case Picture(axes, alt, caption):
            drawing = to_svg(figure_of(axes), key).replace(
                "<svg ", f'<svg role="img" aria-label="{_text(alt)}" ', 1
            )
            under = f"<figcaption>{_text(caption)}</figcaption>" if caption else ""
            return f"<figure><div{_natural_size(drawing)}>{drawing}</div>{under}</figure>"
        case Legend(classes, extra):
            pairs = [*zip(classes.names, classes.colors, strict=True), *extra]
            return f'<ul class="legend">{"".join(f"<li>{_chip(c)}{_text(n)}</li>" for n, c in pairs)}</ul>'
        case Facts(pairs_):
            rows = "".join(f"<div><dt>{_text(k)}</dt><dd>{_text(v)}</dd></div>" for k, v in pairs_.items())
            return f'<dl class="facts">{rows}</dl>'
        case Panels():
            return _panels(block)
        case Terms(pairs_):
            rows = "".join(f"<dt>{_text(k)}</dt><dd>{_text(v)}</dd>" for k, v in pairs_.items())
            return f'<dl class="terms">{rows}</dl>'
        case Code(text, label):
            return f'<pre tabindex="0" aria-label="{_text(label)}"><code>{_text(text)}</code></pre>'


def _natural_size(drawing: str) -> str:
    """Say how large a drawing is meant to be, so that a page shrinks it only as far as it can be read."""
    width, height = (re.search(rf'<svg [^>]*?{side}="([\d.]+)pt"', drawing) for side in ("width", "height"))
    tall = " tall" if height and float(height[1]) > _TALL_PT else ""
    return f' class="scroll{tall}"' + (f' style="--w:{float(width[1]) * 4 / 3:.0f}px"' if width else "")


def _panels(block: Panels) -> str:
    shown = "".join(
        f'<figure><figcaption>{_text(p.title)}</figcaption><img alt="{_text(p.alt)}" width="{p.rgba.shape[1]}" '
        f'height="{p.rgba.shape[0]}"{_pixelated(p.rgba)} src="data:image/png;base64,{_png(p.rgba)}"></figure>'
        for p in block.panels
    )
    under = f"<p>{_text(block.caption)}</p>" if block.caption else ""
    return f'<div class="panels">{under}<div class="row" style="--n:{len(block.panels)}">{shown}</div></div>'


def _pixelated(rgba: NDArray[np.uint8]) -> str:
    """Keep pixels sharp where the page will enlarge them."""
    return ' class="sharp"' if rgba.shape[1] < 256 else ""


def _png(rgba: NDArray[np.uint8]) -> str:
    stream = io.BytesIO()
    imsave(stream, rgba, format="png")
    return base64.b64encode(stream.getvalue()).decode()


def _table(table: Table) -> str:
    left = {0, *(i for i, c in enumerate(table.columns) if c in table.text_columns)}
    heads = "".join(
        f'<th scope="col"{_left(i in left)}{_attribute("title", table.meanings.get(c, ""))}>{_text(c)}</th>'
        for i, c in enumerate(table.columns)
    )
    rows = "".join(
        "<tr>" + "".join(_cell(c, i == 0, i in left) for i, c in enumerate(row)) + "</tr>"
        for row in table.rows
    )
    caption, wide = _text(table.caption), ' class="wide"' if len(table.columns) > _MANY_COLUMNS else ""
    broad = len(table.columns) > _PAPER_COLUMNS
    paper = '<p class="paper">Too wide for paper: copy it as CSV from the page.</p>' if broad else ""
    body = (
        f'<div class="table{" broad" if broad else ""}"><div class="bar"><span aria-hidden="true">{caption}</span>'
        f'<button type="button" class="copy" aria-label="Copy as CSV: {caption}" hidden>Copy as CSV</button></div>'
        f'<div class="scroll" tabindex="0" role="group" aria-label="{caption}">'
        f'<table{wide}><caption class="sr">{caption}</caption><thead><tr>{heads}</tr></thead><tbody>{rows}</tbody></table></div>{paper}</div>'
    )
    return f"<details><summary>{_text(table.caption)}</summary>{body}</details>" if table.folded else body


def _cell(cell: Cell, is_head: bool, left: bool) -> str:
    tag = 'th scope="row"' if is_head else "td"
    chip = "" if cell.color is None else _chip(cell.color)
    shown = f"<b>{_text(cell.text)}</b>" if cell.strong else _text(cell.text)
    exact = cell.value
    if isinstance(exact, float) and math.isnan(exact):
        exact = "NaN"
    raw = _attribute("data-value", "" if exact is None else str(exact))
    why = f'<span class="sr"> ({_text(cell.title)})</span>' if cell.title else ""
    hint = _attribute("title", cell.title)
    return f"<{tag}{_left(left)}{raw}{hint}>{chip}{shown}{why}</{tag[:2]}>"


def _left(yes: bool) -> str:
    return ' class="left"' if yes else ""


def _chip(color: tuple[int, int, int]) -> str:
    red, green, blue = (int(c) for c in color)
    return f'<i class="chip" style="background:rgb({red},{green},{blue})"></i>'


def _attribute(name: str, value: str) -> str:
    return f' {name}="{_text(value)}"' if value else ""
