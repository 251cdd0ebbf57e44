"""The report of an accuracy assessment: accuracies and areas with their intervals, and how they came about."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from datetime import datetime

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import PercentFormatter

from geotoolbox.core.classes import ClassTable
from geotoolbox.metrics.agreement import KAPPA_NOTE
from geotoolbox.metrics.design_based import ACCURACY_MEANINGS, AccuracyEstimate
from geotoolbox.metrics.estimators import Estimate
from geotoolbox.visualization.estimates import plot_area_estimates
from geotoolbox.visualization.framing import frame, source_tables
from geotoolbox.visualization.report import (
    Block,
    Cell,
    Facts,
    Note,
    Paragraph,
    Picture,
    Section,
    Table,
    Terms,
    Tile,
    render_report,
)
from geotoolbox.visualization.style import LIGHT, PAGE, Theme, label_outside, legend_top, new_axes, plain, rgb
from geotoolbox.visualization.wording import number, percent, share

__all__ = ["accuracy_report", "plot_class_accuracies"]


def accuracy_report(
    *,
    title: str,
    classes: ClassTable,
    estimate: AccuracyEstimate,
    design: str,
    kappa: bool = False,
    sources: Sequence[str] = (),
    recipe_yaml: str = "",
    recipe_name: str = "",
    versions: Mapping[str, str] | None = None,
    created: datetime | None = None,
) -> str:
    """Build the report of a design-based accuracy assessment, as one HTML document.

    Args:
        title: The map's name.
        classes: The K classes.
        estimate: What was estimated.
        design: Sample and estimator, in words.
        kappa: Whether kappa is shown, with the note why better not.
        sources: The files used.
        recipe_yaml: The recipe that repeats the run, with paths as seen from the report.
        recipe_name: The file that holds it, as seen from the report; empty where there is none.
        versions: Package versions, by name.
        created: When; now when None.

    Returns:
        HTML, under 5 MB.
    """
    level = f"{estimate.confidence_percent:g}\u00a0%"  # the number and its sign stay on one line
    sections = [
        _area_section(estimate, classes, level),
        _class_section(estimate, classes, level),
        _matrix_section(estimate, classes),
        _how_section(estimate, design, kappa, sources),
        _meaning_section(level),
    ]
    tiles, summary = _tiles(estimate, level), _summary(estimate, level)
    return render_report(
        frame("Accuracy assessment", title, summary, tiles=tiles, sections=sections, notes=estimate.notes,
              recipe_yaml=recipe_yaml, recipe_name=recipe_name, versions=versions, created=created)
    )  # fmt: skip


def plot_class_accuracies(
    estimate: AccuracyEstimate,
    classes: ClassTable,
    *,
    by_size: bool = True,
    ax: Axes | None = None,
    theme: Theme = LIGHT,
) -> Axes:
    """Draw user's and producer's accuracy of each class with their intervals.

    Args:
        estimate: Of the K classes.
        classes: The K classes.
        by_size: Whether the largest class stands on top; else the classes keep their order.
        ax: Where to draw; a new figure when None.
        theme: Colours of lines and text.
    """
    k = len(classes)
    ax = new_axes(ax, theme, (6.4, 1.1 + 0.5 * k))
    sizes = [e.value if math.isfinite(e.value) else -math.inf for e in estimate.area_shares]
    order = np.argsort([-size if by_size else 0 for size in sizes], kind="stable")
    for place, i in enumerate(order):
        color = rgb(classes.colors[i])
        for offset, marker, one in ((-0.14, "o", estimate.users[i]), (0.14, "D", estimate.producers[i])):
            if not math.isfinite(one.value):
                continue
            if math.isfinite(one.standard_error):
                ax.plot(
                    [max(one.low, 0), min(one.high, 1)], [place + offset] * 2, color=theme.ink, linewidth=1.2
                )
            ax.plot(
                one.value,
                place + offset,
                marker,
                color=color,
                markersize=7,
                markeredgecolor=theme.ink,
                markeredgewidth=0.8,
            )
    ax.set_yticks(range(k), [plain(classes.names[i], 28) for i in order])
    ax.set_ylim(k - 0.5, -0.5)
    ax.set_xlim(-0.02, 1.02)
    ax.xaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
    ax.grid(axis="x", color=theme.line, linewidth=0.6)
    ax.set_axisbelow(True)
    ax.tick_params(axis="y", length=0)
    known = [e for e in (*estimate.users, *estimate.producers) if math.isfinite(e.standard_error)]
    cut = ", drawn from 0 to 100 %" if any(e.low < 0 or e.high > 1 for e in known) else ""
    label_outside(ax, theme, f"accuracy, with its interval{cut}")
    handles = [
        ax.plot([], [], marker, color=theme.muted, markersize=7, linestyle="none", label=name)[0]
        for marker, name in (("o", "user's accuracy"), ("D", "producer's accuracy"))
    ]
    legend_top(ax, theme, handles)
    return ax


def _summary(found: AccuracyEstimate, level: str) -> str:
    points = int(found.points.sum())
    text = (
        f"The map is right on {percent(found.overall.value)} of the ground"
        f"{_within(found.overall, level)}, judged at {number(points)} points of a probability sample."
    )
    off = [
        (abs(mapped - e.value) * found.total_area_ha, name, mapped - e.value)
        for name, mapped, e in zip(found.names, found.map_shares, found.area_shares, strict=True)
        if e.standard_error > 0 and (mapped < e.low or mapped > e.high)
    ]
    if off:
        size, name, sign = max(off)
        text += (
            f" Pixel counting {'over' if sign > 0 else 'under'}states {name} by about {_ha(size)} ha, "
            "more than chance explains: take areas from the estimates below."
        )
    return text


def _within(one: Estimate, level: str) -> str:
    if math.isnan(one.standard_error):
        return f" (no interval: {one.reason})" if one.reason else ""
    return f" ({level} interval {100 * one.low:.1f} to {100 * one.high:.1f} %)"


def _tiles(found: AccuracyEstimate, level: str) -> list[Tile]:
    half = found.overall.half_width
    tiles = [
        Tile(
            "Overall accuracy",
            percent(found.overall.value),
            f"± {100 * half:.1f} points at {level}" if math.isfinite(half) else "no interval",
        ),
        Tile("Sample points", number(int(found.points.sum())), f"of {len(found.names)} classes"),
    ]
    split = found.disagreement
    if math.isfinite(split.total):
        detail = f"quantity {percent(split.quantity)}, allocation {percent(split.allocation)}"
        tiles.append(Tile("Disagreement", percent(split.total), detail))
    known = [
        (e.value, n) for n, e in zip(found.names, found.producers, strict=True) if math.isfinite(e.value)
    ]
    if known:
        value, name = min(known)
        tiles.append(Tile("Most often missed", name, f"{percent(value, 0)} of its ground found"))
    return tiles


def _area_section(found: AccuracyEstimate, classes: ClassTable, level: str) -> Section:
    if not math.isfinite(found.total_area_ha):
        return Section("Areas", [])
    figure = plot_area_estimates(found.area_estimates(classes), by_size=False, theme=PAGE)
    rows = []
    alt = []
    for i, (name, area) in enumerate(zip(found.names, found.areas_ha, strict=True)):
        mapped = found.map_shares[i] * found.total_area_ha
        known = math.isfinite(area.value)
        alt.append(f"{name} " + (f"{_ha(area.value)} ± {_ha(area.half_width)} ha" if known else "not known"))
        rows.append(
            [
                Cell(name, color=classes.colors[i]),
                Cell(_ha(area.value), area.value, area.reason if known else "", strong=True),
                Cell(_ha(area.half_width) if known else area.reason, area.half_width),
                Cell(_percent(found.area_shares[i].value), found.area_shares[i].value),
                Cell(_ha(mapped), mapped),
            ]
        )
    columns = ["Class", "Area (ha)", f"± at {level} (ha)", "Share of ground", "Pixels counted (ha)"]
    meanings = {"Area (ha)": ACCURACY_MEANINGS["area"], "Pixels counted (ha)": ACCURACY_MEANINGS["map_area"]}
    meanings |= {
        columns[2]: ACCURACY_MEANINGS["interval"],
        "Share of ground": "The estimated area, as a share of all ground judged.",
    }
    said = "What the map gets wrong makes areas counted from its pixels wrong too. The sample shows how much, and sets it right."
    return Section(
        "Areas",
        [
            Paragraph(said),
            Picture(figure, "Areas of classes: " + "; ".join(alt)),
            Table("Area of each class", columns, rows, meanings),
        ],
    )


def _class_section(found: AccuracyEstimate, classes: ClassTable, level: str) -> Section:
    kinds = {"User's": found.users, "Producer's": found.producers, "F1": found.f1, "IoU": found.iou}
    rows = []
    for i, name in enumerate(found.names):
        row = [Cell(name, color=classes.colors[i])]
        for kind, estimates in kinds.items():
            one = estimates[i]
            row += [Cell(share(one.value), one.value, one.reason if math.isnan(one.value) else "")]
            if kind in ("User's", "Producer's"):
                row += [Cell(share(one.half_width), one.half_width)]
        row += [Cell(number(int(n)), int(n)) for n in (found.points[i].sum(), found.points[:, i].sum())]
        rows.append(row)
    columns = [
        "Class",
        "User's",
        "± User's",
        "Producer's",
        "± Producer's",
        "F1",
        "IoU",
        "Map points",
        "True points",
    ]
    alt = "User's and producer's accuracy: " + "; ".join(
        f"{n} {share(u.value)} and {share(p.value)}"
        for n, u, p in zip(found.names, found.users, found.producers, strict=True)
    )
    meanings = {
        "User's": ACCURACY_MEANINGS["users_accuracy"],
        "Producer's": ACCURACY_MEANINGS["producers_accuracy"],
    }
    meanings |= {f"± {kind}": ACCURACY_MEANINGS["interval"] for kind in ("User's", "Producer's")}
    meanings |= {
        "Map points": "Sample points that the map calls this class.",
        "True points": "Sample points that truly are this class.",
    }
    meanings |= {"F1": ACCURACY_MEANINGS["f1"], "IoU": ACCURACY_MEANINGS["iou"]}
    figure = plot_class_accuracies(found, classes, by_size=False, theme=PAGE)
    table = Table(f"Accuracy of each class, ± half of the {level} interval", columns, rows, meanings)
    return Section("Class by class", [Picture(figure, alt), table])


def _matrix_section(found: AccuracyEstimate, classes: ClassTable) -> Section:
    heads = ["Map", *found.names, "Map total"]
    rows = []
    for i, name in enumerate(found.names):
        cells = [Cell(percent(v, 2), float(v), strong=i == j) for j, v in enumerate(found.shares[i])]
        rows.append(
            [
                Cell(name, color=classes.colors[i]),
                *cells,
                Cell(percent(found.map_shares[i], 2), found.map_shares[i]),
            ]
        )
    truth = [Cell(_percent(e.value, 2), e.value, e.reason, strong=True) for e in found.area_shares]
    rows.append([Cell("Truly", strong=True), *truth, Cell("100 %", 1.0)])
    points = [
        [
            Cell(name, color=classes.colors[i]),
            *(Cell(number(int(n)), int(n), strong=i == j) for j, n in enumerate(row)),
        ]
        for i, (name, row) in enumerate(zip(found.names, found.points, strict=True))
    ]
    said = (
        "Each cell is the share of the ground that the map calls the row's class and that truly is the column's. Points "
        "were weighted by the ground that they stand for, so this describes the map and not the sample."
    )
    return Section(
        "What is taken for what",
        [
            Paragraph(said),
            Table("Error matrix in shares of the ground (row: map, column: reference)", heads, rows),
            Table(
                "Sample points, not weighted (row: map, column: reference)",
                ["Map", *found.names],
                points,
                folded=True,
            ),
        ],
    )


def _how_section(found: AccuracyEstimate, design: str, kappa: bool, sources: Sequence[str]) -> Section:
    split = found.disagreement
    facts = {
        "Sample and estimator": design,
        "Intervals": f"{found.confidence_percent:g} %",
        "Quantity disagreement": percent(split.quantity, 2),
        "Allocation disagreement": percent(split.allocation, 2),
    }
    if math.isfinite(found.total_area_ha):
        facts["Ground judged"] = f"{_ha(found.total_area_ha)} ha"
    blocks: list[Block] = []
    if kappa:
        facts["Kappa"] = share(found.kappa)
        blocks.append(Note(KAPPA_NOTE, "warning"))
    return Section("How it was estimated", [Facts(facts), *blocks, *source_tables(sources)])


def _meaning_section(level: str) -> Section:
    titles = {
        "overall_accuracy": "Overall accuracy", "users_accuracy": "User's accuracy", "producers_accuracy": "Producer's accuracy",
        "f1": "F1", "iou": "IoU", "area": "Area", "map_area": "Pixels counted", "quantity": "Quantity disagreement",
        "allocation": "Allocation disagreement", "interval": f"{level} interval",
    }  # fmt: skip
    return Section("What each number means", [Terms({t: ACCURACY_MEANINGS[k] for k, t in titles.items()})])


def _percent(value: float, digits: int = 1) -> str:
    return "–" if math.isnan(value) else percent(value, digits)


def _ha(value: float) -> str:
    if math.isnan(value):
        return "–"
    return f"{value:,.0f}".replace(",", "\u202f") if abs(value) >= 100 else f"{value:.3g}"
