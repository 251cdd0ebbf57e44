"""Tables of an evaluation report: all pixels, intervals of classes, regions, edges and objects."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from geotoolbox.core.classes import ClassTable
from geotoolbox.metrics.agreement import Disagreement
from geotoolbox.metrics.bootstrap import Interval, Intervals
from geotoolbox.metrics.boundary import BoundaryScores
from geotoolbox.metrics.maps import RegionComparison
from geotoolbox.metrics.objects import ObjectScores
from geotoolbox.metrics.scores import MEANINGS, Scores
from geotoolbox.visualization.report import Block, Cell, Note, Paragraph, Section, Table
from geotoolbox.visualization.wording import number, percent, share

__all__ = ["SHAPE_MEANINGS", "interval_table", "overall_table", "region_section", "shape_section"]

_HEADS = {"precision": "Precision", "recall": "Recall", "f1": "F1", "iou": "IoU"}
_BOUNDS = {
    "From": "The lower end of the interval.",
    "To": "The upper end of the interval.",
    "By true area": "The same score with each pixel weighted by its true area: on a grid in degrees, the one to quote.",
}
SHAPE_MEANINGS: Mapping[str, str] = {
    "Boundary IoU": "The IoU of the edges alone: pixels that lie near the edge of a class in both layers, over those that "
    "do in either.",
    "Objects": "Pixels of one class that touch. An object is found when the other layer has one of the same class that "
    "overlaps it well enough; each is matched at most once.",
}
"""What the numbers on shape mean, in a sentence each."""


def overall_table(
    scores: Scores,
    *,
    intervals: Intervals | None = None,
    split: Disagreement | None = None,
    by_area: Scores | None = None,
) -> Table:
    """Put the scores of all compared pixels into a table.

    Args:
        scores: Of all pixels.
        intervals: Of the scores.
        split: The disagreement, in quantity and in place.
        by_area: The scores weighted by true pixel area, where pixels differ in area.
    """
    known = None if intervals is None or intervals.reason else intervals
    columns = ["Score", "Value", *(["From", "To"] if known else []), *(["By true area"] if by_area else [])]
    rows = []
    for name, key in (
        ("Overall accuracy", "overall_accuracy"),
        ("Mean IoU", "mean_iou"),
        ("Mean F1", "macro_f1"),
    ):
        row = [Cell(name), _score(getattr(scores, key), scores.reasons.get(key, ""), strong=True)]
        row += _bounds(known.scores.get(key)) if known else []
        row += [_score(getattr(by_area, key))] if by_area else []
        rows.append(row)
    if split is not None:
        for name, value in (("Quantity", split.quantity), ("Allocation", split.allocation)):
            empty = [Cell("", "") for _ in columns[2:]]
            rows.append([Cell(f"{name} disagreement"), _score(value, strong=True), *empty])
    caption = "All compared pixels" + (f", with {100 * known.level:g} % intervals" if known else "")
    return Table(caption, columns, rows, {c: t for c, t in _BOUNDS.items() if c in columns})


def interval_table(intervals: Intervals, classes: ClassTable) -> list[Block]:
    """Show the intervals of each class's scores, or say why there are none."""
    if intervals.reason:
        return [Note(f"There are no intervals: {intervals.reason}.")]
    columns = ["Class", *(f"{head}, {end}" for head in _HEADS.values() for end in ("from", "to"))]
    rows = [
        [
            Cell(name, color=color),
            *(c for s in _HEADS for c in _bounds(intervals.classes[s][i], "undefined in every draw")),
        ]
        for i, (name, color) in enumerate(zip(classes.names, classes.colors, strict=True))
    ]
    caption = (
        f"{100 * intervals.level:g} % intervals of each class, by drawing {number(intervals.blocks)} blocks anew "
        f"{number(intervals.resamples)} times"
    )
    meanings = {f"{h}, {e}": MEANINGS[k] for k, h in _HEADS.items() for e in ("from", "to")}
    return [Table(caption, columns, rows, meanings, folded=True)]


def region_section(
    regions: Sequence[RegionComparison], intervals: Mapping[str, Intervals], classes: ClassTable
) -> Section:
    """Show the scores of each named region, and the IoU of each class in it.

    Args:
        regions: In the order to show.
        intervals: By the region's name, where there are any.
        classes: The K classes.
    """
    if not regions:
        return Section("Region by region", [])
    scores = {r.name: r.scores for r in regions}
    known = {n: i for n, i in intervals.items() if not i.reason}
    ends = ["From", "To"] if known else []
    names = ["accuracy", "IoU"]
    columns = ["Region", *(c for head, short in zip(("Overall accuracy", "Mean IoU"), names, strict=True)
                           for c in (head, *(f"{short} {e.lower()}" for e in ends))), "Compared px"]  # fmt: skip
    rows = []
    for name, found in scores.items():
        row, one = [Cell(name)], intervals.get(name)
        for key in ("overall_accuracy", "mean_iou"):
            row.append(_score(getattr(found, key), found.reasons.get(key, ""), strong=True))
            row += _bounds(one.scores[key] if one else None, one.reason if one else "") if ends else []
        rows.append([*row, Cell(number(found.pixels), found.pixels)])
    meanings = {"Overall accuracy": MEANINGS["overall_accuracy"], "Mean IoU": MEANINGS["mean_iou"]}
    meanings |= {f"{s} {e.lower()}": _BOUNDS[e] for s in names for e in ends}
    level = f", with {100 * next(iter(known.values())).level:g} % intervals" if known else ""
    each = [
        [Cell(name), *(_score(v, found.reasons.get(f"iou/{c}", "")) for v, c in zip(found.iou, found.names, strict=True))]
        for name, found in scores.items()
    ]  # fmt: skip
    return Section(
        "Region by region",
        [
            *_best_and_worst(scores),
            Table(f"Scores of each region{level}", columns, rows, meanings),
            Table("IoU of each class in each region", ["Region", *classes.names], each, folded=True),
        ],
    )


def _best_and_worst(scores: Mapping[str, Scores]) -> list[Block]:
    known = {n: s.overall_accuracy for n, s in scores.items() if math.isfinite(s.overall_accuracy)}
    if len(known) < 2:
        return []
    best, worst = max(known, key=lambda n: known[n]), min(known, key=lambda n: known[n])
    if known[best] == known[worst]:
        return []
    return [
        Paragraph(
            f"The map agrees best with the reference in {best} ({percent(known[best])} of the pixels), and least in "
            f"{worst} ({percent(known[worst])})."
        )
    ]


def shape_section(
    boundary: BoundaryScores | None, objects: ObjectScores | None, classes: ClassTable
) -> Section:
    """Show how well edges and objects agree, as far as that was measured."""
    blocks: list[Block] = []
    if boundary is not None:
        blocks += _boundary(boundary, classes)
    if objects is not None:
        blocks += _objects(objects, classes)
    return Section("Edges and objects", blocks)


def _boundary(found: BoundaryScores, classes: ClassTable) -> list[Block]:
    rows = [
        [Cell(n, color=c), _score(v, "the reference has no edge of this class" if math.isnan(v) else ""),
         *(Cell(number(p), p) for p in pixels)]
        for n, c, v, *pixels in zip(found.names, classes.colors, found.iou, found.reference, found.mapped, found.both,
                                    strict=True)
    ]  # fmt: skip
    rows.append(
        [
            Cell("Mean over classes", strong=True),
            _score(found.mean, strong=True),
            *(Cell("", "") for _ in range(3)),
        ]
    )
    columns = ["Class", "Boundary IoU", "Reference edge px", "Map edge px", "Both px"]
    wide = f"{found.width_px} pixel{'s' if found.width_px > 1 else ''}"
    metres = "" if math.isnan(found.width_m) else f" ({found.width_m:.4g}\u00a0m)"
    said = (
        f"Inside large areas most maps are right; edges tell them apart. Here an edge is {wide}{metres} wide on each side, "
        "and ground without data makes none."
    )
    meanings = {
        "Boundary IoU": SHAPE_MEANINGS["Boundary IoU"],
        "Reference edge px": "Pixels of the class within this width of another class, in the reference.",
        "Map edge px": "The same on the map.",
        "Both px": "Pixels that are such an edge in both.",
    }
    return [Paragraph(said), Table("Edges of each class", columns, rows, meanings)]


def _objects(found: ObjectScores, classes: ClassTable) -> list[Block]:
    rows, areas = [], []
    for name, color, row in zip(found.names, classes.colors, found.to_json()["classes"], strict=True):
        counts = [Cell(number(row[k]), row[k]) for k in ("reference", "map", "matched")]
        shares = [
            _score(math.nan if row[k] is None else row[k], f"the {layer} has no object of this class")
            for k, layer in (("precision", "map"), ("recall", "reference"), ("f1", "reference"))
        ]
        rows.append([Cell(name, color=color), *counts, *shares])
        for layer in ("reference", "map"):
            steps = row[f"{layer}_area_deciles_m2"]
            if steps is not None:
                areas.append((Cell(name, color=color), Cell(layer), [steps[i] for i in (0, 1, 5, 9, 10)]))
    columns = ["Class", "In the reference", "On the map", "The same", "Precision", "Recall", "F1"]
    meanings = {
        "The same": f"Objects of both layers whose IoU is {found.iou:g} or more.",
        "Precision": "Of the map's objects, the share that the reference has.",
        "Recall": "Of the reference's objects, the share that the map has.",
        "F1": "The harmonic mean of both.",
    }
    unit, size_m2 = _unit([a for *_, steps in areas for a in steps])
    table = [[*heads, *(_area(a / size_m2) for a in steps)] for *heads, steps in areas]
    sizes = ["Class", "Layer", "Smallest", "10 %", "Median", "90 %", "Largest"]
    means = {"10 %": "One object of ten is smaller.", "90 %": "One object of ten is larger."}
    return [
        Table(f"Objects of each class; the same from an IoU of {found.iou:g} on", columns, rows, meanings),
        Table(f"Areas of objects ({unit})", sizes, table, means, folded=True, text_columns=("Layer",)),
    ]


def _score(value: float, why: str = "", *, strong: bool = False) -> Cell:
    return Cell(share(value), value, why if math.isnan(value) else "", strong=strong)


def _bounds(pair: Interval | None, why: str = "") -> list[Cell]:
    return [Cell("", ""), Cell("", "")] if pair is None else [_score(v, why) for v in pair]


def _unit(areas_m2: Sequence[float]) -> tuple[str, float]:
    """Return the unit that suits areas, and its size in m²."""
    return ("ha", 10_000.0) if max(areas_m2, default=0.0) >= 100_000 else ("m²", 1.0)


def _area(value: float) -> Cell:
    return Cell(number(round(value)) if value >= 100 else f"{value:.3g}", value)
