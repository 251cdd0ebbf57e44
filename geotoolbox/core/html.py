"""Small pieces of HTML for notebooks: cards that fold, tables, outlines, bars. Everything is escaped here.

Colours follow the notebook's theme; no script, nothing from elsewhere.
"""

from __future__ import annotations

import html
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from shapely.geometry import Polygon, box
from shapely.geometry.base import BaseGeometry

__all__ = ["bars", "card", "chip", "facts", "outlines", "rows", "section"]

Color = tuple[int, int, int]
_MOST_DRAWING = 9_000

_STYLE = """<style>
.gt-repr{color:var(--jp-ui-font-color1,var(--vscode-editor-foreground,inherit));font-family:var(--jp-ui-font-family,
var(--vscode-font-family,system-ui,sans-serif));font-size:13px;line-height:1.45;max-width:60em}
.gt-repr header{padding:0 0 5px;border-bottom:1px solid var(--jp-border-color2,rgba(128,128,128,.35));margin:0 0 5px}
.gt-repr header b{font-weight:600}.gt-repr header span,.gt-repr caption,.gt-repr .gt-dim{color:var(--jp-ui-font-color2,
var(--vscode-descriptionForeground,inherit))}
.gt-repr dl{display:grid;grid-template-columns:max-content minmax(0,1fr);gap:1px 14px;margin:4px 0}
.gt-repr dt{color:var(--jp-ui-font-color2,var(--vscode-descriptionForeground,inherit));font-weight:400}
.gt-repr dd{margin:0;overflow-wrap:anywhere}
.gt-repr details{margin:3px 0}.gt-repr summary{cursor:pointer}
.gt-repr summary span{color:var(--jp-ui-font-color2,var(--vscode-descriptionForeground,inherit))}
.gt-repr table{border-collapse:collapse;margin:3px 0;font-size:12.5px;font-variant-numeric:tabular-nums;background:transparent}
.gt-repr th,.gt-repr td{padding:2px 10px 2px 0;text-align:left!important;background:transparent;border:0;
color:inherit;font-weight:400;vertical-align:top}
.gt-repr thead th{color:var(--jp-ui-font-color2,var(--vscode-descriptionForeground,inherit))}
.gt-repr td.gt-n,.gt-repr th.gt-n{text-align:right!important}
.gt-repr i.gt-c{display:inline-block;width:.8em;height:.8em;border-radius:3px;margin-right:.5em;
box-shadow:inset 0 0 0 1px rgba(128,128,128,.5)}
.gt-repr .gt-bar{display:inline-block;height:.75em;border-radius:2px;vertical-align:-1px;box-shadow:inset 0 0 0 1px rgba(128,128,128,.4)}
.gt-repr .gt-two{display:flex;flex-wrap:wrap;gap:4px 24px;align-items:flex-start}
.gt-repr svg{max-width:100%;height:auto}
</style>"""


def card(title: str, subtitle: str, parts: Iterable[str]) -> str:
    """Return a card: a title, what it is in a few words, and its parts (HTML already).

    Example:
        >>> "&lt;b&gt;" in card("<b>", "a dataset", [])
        True
    """
    head = f"<b>{html.escape(title)}</b> <span>{html.escape(subtitle)}</span>"
    return f'{_STYLE}<div class="gt-repr"><header>{head}</header>{"".join(parts)}</div>'


def facts(pairs: Mapping[str, Any]) -> str:
    """Return pairs of name and value; what is None or empty is left out."""
    shown = {name: value for name, value in pairs.items() if value not in (None, "")}
    cells = "".join(f"<dt>{html.escape(n)}</dt><dd>{html.escape(str(v))}</dd>" for n, v in shown.items())
    return f"<dl>{cells}</dl>"


def section(title: str, detail: str, body: str, *, unfolded: bool = False) -> str:
    """Return a part that folds; ``body`` is HTML already."""
    state = " open" if unfolded else ""
    head = f"{html.escape(title)} <span>{html.escape(detail)}</span>"
    return f"<details{state}><summary>{head}</summary>{body}</details>"


def rows(
    heads: Sequence[str], lines: Sequence[Sequence[Any]], *, numbers: Sequence[int] = (), most: int = 12
) -> str:
    """Return a table; a cell given as ``(html,)`` is HTML already. Rows beyond ``most`` are counted, not shown.

    Args:
        heads: The columns' names.
        lines: The rows.
        numbers: Which columns are set to the right.
        most: How many rows are shown.
    """
    kinds = [' class="gt-n"' if i in numbers else "" for i in range(len(heads))]
    top = "".join(f"<th scope='col'{k}>{html.escape(h)}</th>" for h, k in zip(heads, kinds, strict=True))
    body = ""
    for line in lines[:most]:
        cells = (c[0] if isinstance(c, tuple) else html.escape(str(c)) for c in line)
        body += "<tr>" + "".join(f"<td{k}>{c}</td>" for c, k in zip(cells, kinds, strict=True)) + "</tr>"
    left = len(lines) - most
    more = f'<p class="gt-dim">… and {left:,} more</p>' if left > 0 else ""
    return f"<table><thead><tr>{top}</tr></thead><tbody>{body}</tbody></table>{more}"


def chip(color: Color) -> str:
    """Return a small square of a colour."""
    red, green, blue = (int(c) for c in color)
    return f'<i class="gt-c" aria-hidden="true" style="background:rgb({red},{green},{blue})"></i>'


def bars(names: Sequence[str], values: Sequence[float], colors: Sequence[Color], *, unit: str = "") -> str:
    """Return one bar a name, as long as its value; NaN has none.

    Example:
        >>> "n/a" in bars(["a"], [float("nan")], [(0, 0, 0)])
        True
    """
    known = [v for v in values if not math.isnan(v)]
    top = max(known, default=0) or 1
    lines = []
    for name, value, color in zip(names, values, colors, strict=True):
        red, green, blue = (int(c) for c in color)
        if math.isnan(value):
            lines.append([(chip(color) + html.escape(name),), "n/a", ""])
            continue
        said = f"{value:,.1f}" if abs(value) > 1 else f"{value:.3f}"
        width = round(160 * value / top)
        bar = f'<span class="gt-bar" style="width:{width}px;background:rgb({red},{green},{blue})"></span>'
        lines.append([(chip(color) + html.escape(name),), said + unit, (bar,)])
    return rows(["", "", ""], lines, numbers=(1,), most=30)


def _outline(one: tuple[BaseGeometry, Color, str], place: Callable[[float, float], str], fine: float) -> str:
    """Draw one polygon; bends and holes smaller than ``fine`` (in degrees) are left out."""
    shape, (red, green, blue), name = one
    slim = shape.simplify(fine) if fine else shape
    steps = []
    for piece in getattr(slim, "geoms", [slim]):
        for ring in [piece.exterior, *piece.interiors] if hasattr(piece, "exterior") else []:
            if abs(Polygon(ring).area) >= fine**2:
                steps.append("M" + "L".join(place(x, y) for x, y, *_ in ring.coords) + "Z")
    color = f"rgb({red},{green},{blue})"
    return (
        f'<path d="{"".join(steps)}" fill="{color}" fill-opacity=".3" fill-rule="evenodd" stroke="{color}">'
        f"<title>{html.escape(name)}</title></path>"
    )


def outlines(shapes: Sequence[tuple[BaseGeometry, Color, str]], *, label: str, longest_px: int = 220) -> str:
    """Draw polygons in longitude and latitude as SVG, north up, nearly in true proportion.

    Args:
        shapes: Polygon, colour and name each; the name shows on hover.
        label: What is shown, in words.
        longest_px: The longer side.
    """
    kept = [(shape, color, name) for shape, color, name in shapes if not shape.is_empty]
    if not kept:
        return ""
    boxes = [shape.bounds for shape, _, _ in kept]
    west, south = min(b[0] for b in boxes), min(b[1] for b in boxes)
    east, north = max(b[2] for b in boxes), max(b[3] for b in boxes)
    squeeze = max(math.cos(math.radians((south + north) / 2)), 0.05)
    wide, tall = max((east - west) * squeeze, 1e-12), max(north - south, 1e-12)
    scale = (longest_px - 4) / max(wide, tall)

    def place(x: float, y: float) -> str:
        return f"{2 + (x - west) * squeeze * scale:.1f} {2 + (north - y) * scale:.1f}"

    drawn = ""
    for coarse_px in (0.5, 1.5, 4.0):  # coarser until it is small enough for a notebook
        drawn = "".join(_outline(one, place, coarse_px / scale) for one in kept[:200])
        if len(drawn) <= _MOST_DRAWING:
            break
    else:
        drawn = "".join(_outline((box(*s.bounds), c, n), place, 0.0) for s, c, n in kept[:40])
    size = f'width="{wide * scale + 4:.0f}" height="{tall * scale + 4:.0f}"'
    return f'<svg {size} role="img" aria-label="{html.escape(label, quote=True)}">{drawn}</svg>'
