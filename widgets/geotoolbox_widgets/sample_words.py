"""What is said of samples: in the gallery, on the map, in detail, and all of them together."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from geotoolbox.core.classes import ClassTable
from geotoolbox.indexing.geometry import lonlat_polygon
from geotoolbox.sampling.facts import class_balance
from geotoolbox_widgets.drawn import DrawnSamples

__all__ = [
    "balance_chart",
    "class_shares",
    "counts_words",
    "detail_rows",
    "footprint",
    "legend",
    "mark",
    "note",
    "part_color",
    "spoken",
]

_PART_COLORS = ("#146cb0", "#ca5614", "#14987c", "#9682fe", "#fe407c")
_DASHES = ("", "6 4", "2 4", "8 3 2 3", "1 5")


def legend(classes: ClassTable) -> list[tuple[str, str]]:
    """Return (name, colour) of each class.

    Example:
        >>> legend(ClassTable.from_json([{"value": 1, "name": "lake", "color": [0, 16, 255]}]))
        [('lake', '#0010ff')]
    """
    return [(n, "#{:02x}{:02x}{:02x}".format(*c)) for n, c in zip(classes.names, classes.colors, strict=True)]


def part_color(drawn: DrawnSamples, part: str) -> str:
    """Return the colour of a part of the split; grey for none."""
    names = _part_names(drawn)
    return _PART_COLORS[names.index(part) % len(_PART_COLORS)] if part in names else "#77808a"


def class_shares(drawn: DrawnSamples, number: int) -> list[list[Any]]:
    """Return [name, colour, share in words, share] of the classes in a sample, the largest first."""
    classes = drawn.dataset.classes
    if classes is None:
        return []
    facts = drawn.facts[number]
    rows: list[list[Any]] = []
    for (name, color), count in zip(legend(classes), facts.class_pixels, strict=True):
        share = count / facts.pixels
        if count:
            words = f"{100 * share:.1f} %" if share < 0.1 else f"{100 * share:.0f} %"
            rows.append([name, color, words, share])
    return sorted(rows, key=lambda row: -row[3])


def spoken(drawn: DrawnSamples, number: int) -> str:
    """Return a sample in a sentence, for screen readers and as a tooltip."""
    classes = ", ".join(f"{name} {words}" for name, _, words, _ in class_shares(drawn, number)[:4])
    text = f"Sample {number + 1}: {classes or 'no labels'}"
    text += f"; {100 * drawn.facts[number].nodata_share:.0f} % without data"
    part = drawn.parts[number]
    return text + (f"; in {part}" if part else "")


def note(drawn: DrawnSamples, number: int) -> str:
    """Return the few words below a picture."""
    empty = 100 * drawn.facts[number].nodata_share
    return f"{number + 1}" + (f" · ∅ {empty:.0f} %" if empty >= 0.5 else "")


def mark(number: int, excluded: Collection[int], weights: Mapping[int, float]) -> str:
    """Return what was decided about a sample.

    Example:
        >>> mark(1, (1,), {}), mark(2, (1,), {2: 2.5}), mark(3, (1,), {})
        ('excluded', '×2.5', '')
    """
    if number in excluded:
        return "excluded"
    weight = weights.get(number, 1.0)
    return "" if weight == 1.0 else f"×{weight:g}"


def counts_words(drawn: DrawnSamples, loaded: int, shown: int, excluded: int, weighted: int) -> str:
    """Return how many samples there are, are shown, are left out and are weighted."""
    done = "" if loaded >= len(drawn) else f"reading {loaded} of "
    text = f"{done}{len(drawn)} samples drawn, {shown} shown, {excluded} left out"
    if weighted:
        text += f", {weighted} weighted"
    if any(f.nodata_share >= 0.005 for f in list(drawn.facts.values())):
        text += " (∅: share without data)"
    return text


def detail_rows(drawn: DrawnSamples, number: int) -> list[list[str]]:
    """Return [name, value] of what is known of a sample."""
    height, width = (int(n) for n in drawn.reading(number).geobox.shape)
    grid, facts = drawn.queries[number].geobox, drawn.facts[number]
    lon, lat = lonlat_polygon(grid).centroid.coords[0]
    return [
        ["Size", f"{width} × {height} px, pixel {grid.resolution.x:g} {_unit(grid)}"],
        ["Place", f"{lat:.5f}°, {lon:.5f}°"],
        ["Without data", f"{100 * facts.nodata_share:.1f} %"],
        ["Labelled", f"{100 * facts.labelled_share:.1f} %"],
        *([["Split", drawn.parts[number] or "none"]] if drawn.split is not None else []),
    ]


def footprint(drawn: DrawnSamples, number: int, *, excluded: bool) -> dict[str, Any]:
    """Return a sample's outline as a GeoJSON feature, in the colour of its part."""
    part, names = drawn.parts[number], _part_names(drawn)
    return {
        "type": "Feature",
        "properties": {
            "id": number,
            "color": part_color(drawn, part) if names else "#ffb000",
            "dash": _DASHES[names.index(part) % len(_DASHES)] if part in names else "",
            "muted": excluded,
            "weight": 1 if excluded else 2,
            "group": part,
        },
        "geometry": drawn.outline(number),
    }


def balance_chart(
    drawn: DrawnSamples, excluded: Collection[int], weights: Mapping[int, float], prefix: str
) -> tuple[str, str]:
    """Return the class balance of what is kept, weights counted, as SVG and in words; empty without any.

    Args:
        drawn: The samples.
        excluded: Those that are left out.
        weights: How often those are drawn that are not drawn once.
        prefix: What the names inside the SVG begin with, so that two on a page do not mix.
    """
    kept = [n for n in sorted(drawn.facts) if n not in excluded]
    classes = drawn.dataset.classes
    if classes is None or not kept:
        return "", ""
    from geotoolbox.visualization import PAGE, plot_class_balance, to_svg

    parts = [drawn.parts[n] or "samples" for n in kept]
    factors = [float(weights.get(n, 1.0)) for n in kept]
    counts = class_balance([drawn.facts[n] for n in kept], parts, factors)
    figure = plot_class_balance(counts, classes, theme=PAGE).get_figure(root=True)
    assert figure is not None
    words = "; ".join(_balance_words(p, c, classes.names) for p, c in counts.items())
    return to_svg(figure, prefix), words


def _part_names(drawn: DrawnSamples) -> list[str]:
    return [] if drawn.split is None else list(drawn.split.regions)


def _unit(grid: Any) -> str:
    return str(grid.crs.units[0]).replace("metre", "m").replace("degree", "°")


def _balance_words(part: str, counts: Sequence[float], names: Sequence[str]) -> str:
    values = list(counts)
    total = max(sum(values), 1)
    shares = [f"{n} {100 * c / total:.0f} %" for n, c in zip(names, values, strict=True) if c]
    return f"{part}: {', '.join(shares)}"
