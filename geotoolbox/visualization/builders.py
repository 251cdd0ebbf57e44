"""Reports made from plain results: of a training, and of a map compared with a reference."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geotoolbox.core.classes import ClassTable
from geotoolbox.errors import TooLarge
from geotoolbox.metrics.scores import Scores, compute_scores
from geotoolbox.visualization.cartography import plot_areas
from geotoolbox.visualization.charts import plot_class_balance, plot_history
from geotoolbox.visualization.parts import (
    Preview,
    SplitMap,
    baseline_section,
    class_section,
    facts_block,
    matrix_section,
    meaning_section,
    preview_section,
)
from geotoolbox.visualization.report import (
    Block,
    Cell,
    Code,
    Facts,
    Legend,
    Note,
    Paragraph,
    Picture,
    Report,
    Section,
    Table,
    Tile,
    render_report,
)
from geotoolbox.visualization.style import PAGE
from geotoolbox.visualization.wording import (
    BaselineLike,
    baseline_sentences,
    majority_baseline,
    number,
    percent,
    share,
)

__all__ = ["evaluation_report", "training_report"]


def training_report(
    *,
    title: str,
    classes: ClassTable,
    confusion: NDArray[Any],
    baselines: Sequence[BaselineLike] = (),
    history: Sequence[Mapping[str, Any]] = (),
    best_epoch: int | None = None,
    previews: Sequence[Preview] = (),
    split: SplitMap | None = None,
    class_pixels: Mapping[str, Sequence[int]] | None = None,
    facts: Mapping[str, str] | None = None,
    sources: Sequence[str] = (),
    notes: Sequence[str] = (),
    recipe_yaml: str = "",
    versions: Mapping[str, str] | None = None,
    created: datetime | None = None,
) -> str:
    """Build the report of a training, as one HTML document.

    Args:
        title: The model's name.
        classes: The K classes.
        confusion: (K, K) counts on held-out pixels; row = true class, column = predicted class.
        baselines: How simple methods do on the same pixels; the majority class is added when missing.
        history: One mapping an epoch (``epoch``, ``…loss``, ``…iou``, ``…accuracy``).
        best_epoch: The epoch whose weights were kept.
        previews: Places to look at, held out from training.
        split: Where was trained and tested.
        class_pixels: Pixels of each class, by split.
        facts: What else to tell: network, parameters, time, device.
        sources: The files used.
        notes: Warnings that came up.
        recipe_yaml: The recipe that repeats the run.
        versions: Package versions, by name.
        created: When; now when None.

    Returns:
        HTML, under 5 MB.
    """
    scores = compute_scores(confusion, classes.names)
    others = _with_majority(scores, baselines)
    summary = (
        f"The model labels {percent(scores.overall_accuracy)} of {number(scores.pixels)} held-out pixels correctly "
        f"(mean IoU {share(scores.mean_iou)}). {baseline_sentences(scores, others, 'It')}"
    )

    def make(longest_px: int) -> Report:
        sections = [
            _pictures("Held-out places", previews, classes, longest_px),
            class_section(scores, classes),
            matrix_section(confusion, classes, scores),
            baseline_section(scores, others, "this model"),
            _training_section(history, best_epoch, facts or {}),
            _data_section(split, class_pixels, classes, sources),
            meaning_section(),
            _repeat_section(recipe_yaml, versions or {}),
        ]
        return Report(
            "Training report",
            title,
            summary,
            _tiles(scores, others, "held-out pixels"),
            _noted(notes, [s for s in sections if s.blocks]),
            _footer(created, versions or {}),
        )

    return _within_limit(make)


def evaluation_report(
    *,
    title: str,
    classes: ClassTable,
    confusion: NDArray[Any],
    baselines: Sequence[BaselineLike] = (),
    previews: Sequence[Preview] = (),
    held_out: bool | None = None,
    area: str = "",
    unlabelled_px: int = 0,
    unmapped_px: int = 0,
    compared_area_m2: float | None = None,
    facts: Mapping[str, str] | None = None,
    sources: Sequence[str] = (),
    notes: Sequence[str] = (),
    recipe_yaml: str = "",
    versions: Mapping[str, str] | None = None,
    created: datetime | None = None,
) -> str:
    """Build the report of a map compared with a reference, as one HTML document.

    Args:
        title: The map's name.
        classes: The K classes.
        confusion: (K, K) counts; row = reference class, column = map class.
        baselines: How simple methods do on the same pixels; the majority class is added when missing.
        previews: Pictures of map and reference.
        held_out: Whether the pixels were kept from training; None when that is not known.
        area: The area that was compared, in words; empty for all.
        unlabelled_px: Map pixels without a reference.
        unmapped_px: Reference pixels without a map.
        compared_area_m2: The ground area of the compared pixels.
        facts: What else to tell.
        sources: The files compared.
        notes: Warnings that came up.
        recipe_yaml: The recipe that repeats the run.
        versions: Package versions, by name.
        created: When; now when None.

    Returns:
        HTML, under 5 MB.
    """
    scores = compute_scores(confusion, classes.names)
    others = _with_majority(scores, baselines)
    pixels = "held-out pixels" if held_out else "compared pixels"
    summary = (
        f"The map agrees with the reference on {percent(scores.overall_accuracy)} of {number(scores.pixels)} {pixels}"
        f"{' in ' + area if area else ''} (mean IoU {share(scores.mean_iou)}). "
        f"{baseline_sentences(scores, others, 'It')}"
    )
    pairs = dict(facts or {})
    if compared_area_m2:
        pairs["Compared area"] = f"{number(round(compared_area_m2 / 10_000))} ha"
    pairs["Map pixels without a reference"] = number(unlabelled_px)
    pairs["Reference pixels without a map"] = number(unmapped_px)
    warnings = [*_held_out_notes(held_out), *notes]

    def make(longest_px: int) -> Report:
        compared: list[Block] = [Facts(pairs), *_sources(sources)]
        sections = [
            _pictures("Map and reference", previews, classes, longest_px),
            class_section(scores, classes),
            matrix_section(confusion, classes, scores),
            baseline_section(scores, others, "this map"),
            Section("What was compared", compared),
            meaning_section(),
            _repeat_section(recipe_yaml, versions or {}),
        ]
        return Report(
            "Evaluation report",
            title,
            summary,
            _tiles(scores, others, pixels),
            _noted(warnings, [s for s in sections if s.blocks]),
            _footer(created, versions or {}),
        )

    return _within_limit(make)


def _within_limit(make: Callable[[int], Report]) -> str:
    """Render with pictures as sharp as the size limit lets them be."""
    for longest_px in (600, 400, 256):
        try:
            return render_report(make(longest_px))
        except TooLarge:
            continue
    return render_report(make(128))


def _with_majority(scores: Scores, baselines: Sequence[BaselineLike]) -> list[BaselineLike]:
    has = any("majority" in b.name.lower() or b.name.startswith("everything ") for b in baselines)
    return list(baselines) if has else [*baselines, majority_baseline(scores)]


def _tiles(scores: Scores, baselines: Sequence[BaselineLike], pixels: str) -> list[Tile]:
    known = [b for b in baselines if np.isfinite(b.overall_accuracy)]
    tiles = []
    for label, value, key, text in (
        ("Overall accuracy", scores.overall_accuracy, "overall_accuracy", percent(scores.overall_accuracy)),
        ("Mean IoU", scores.mean_iou, "mean_iou", share(scores.mean_iou)),
    ):
        best = max((float(getattr(b, key)) for b in known), default=float("nan"))
        gain = value - best
        if np.isfinite(gain):
            size = f"{100 * abs(gain):.1f} points" if key == "overall_accuracy" else f"{abs(gain):.3f}"
            detail = f"{size} {'above' if gain > 0 else 'below'} the best baseline"
            tone = "good" if gain > 0 else "bad"
        else:
            detail, tone = "", ""
        tiles.append(Tile(label, text, detail, tone))
    present = sum(n > 0 for n in scores.support)
    tiles.append(
        Tile(pixels.capitalize(), number(scores.pixels), f"{present} of {len(scores.support)} classes occur")
    )
    if np.isfinite(scores.iou).any():
        worst = int(np.nanargmin(scores.iou))
        tiles.append(Tile("Weakest class", scores.names[worst], f"IoU {scores.iou[worst]:.3f}"))
    return tiles


def _pictures(heading: str, previews: Sequence[Preview], classes: ClassTable, longest_px: int) -> Section:
    return Section(heading, preview_section(previews, classes, longest_px))


def _training_section(
    history: Sequence[Mapping[str, Any]], best_epoch: int | None, facts: Mapping[str, str]
) -> Section:
    blocks: list[Block] = facts_block(facts)
    if history:
        names = list(dict.fromkeys(k for row in history for k in row))
        losses = [n for n in names if n.endswith("loss")]
        scored = [n for n in names if ("iou" in n.lower() or "accuracy" in n.lower()) and n not in losses]
        for keys, what in ((losses, "loss"), (scored, "score")):
            if keys:
                figure = plot_history(history, keys, best_epoch=best_epoch, label=what, theme=PAGE)
                blocks.append(Picture(figure, _history_alt(history, keys)))
        rows = [[Cell(_value(row.get(n)), row.get(n)) for n in names] for row in history]
        blocks.append(Table("Every epoch", [n.replace("_", " ") for n in names], rows, folded=True))
    return Section("How it was trained", blocks)


def _history_alt(history: Sequence[Mapping[str, Any]], keys: Sequence[str]) -> str:
    parts = [
        f"{k.replace('_', ' ')} from {_value(history[0].get(k))} to {_value(history[-1].get(k))}"
        for k in keys
    ]
    return f"Over {len(history)} epochs: " + ", ".join(parts)


def _value(value: Any) -> str:
    if value is None:
        return "–"
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _data_section(
    split: SplitMap | None,
    class_pixels: Mapping[str, Sequence[int]] | None,
    classes: ClassTable,
    sources: Sequence[str],
) -> Section:
    blocks: list[Block] = []
    if split is not None and split.areas:
        figure = plot_areas(split.areas, split.crs, footprints=split.footprints, theme=PAGE)
        blocks += [
            _split_words(split),
            Picture(figure, f"Map of the areas: {', '.join(split.areas)}"),
        ]
    if class_pixels:
        figure = plot_class_balance(class_pixels, classes, theme=PAGE)
        rows = [
            [Cell(n, color=c), *(Cell(number(int(p[i])), int(p[i])) for p in class_pixels.values())]
            for i, (n, c) in enumerate(zip(classes.names, classes.colors, strict=True))
        ]
        alt = f"Shares of the classes in {', '.join(class_pixels)}; the table below has the counts"
        blocks += [
            Legend(classes),
            Picture(figure, alt),
            Table("Labelled pixels", ["Class", *class_pixels], rows),
        ]
    return Section("What it was trained on", [*blocks, *_sources(sources)])


def _split_words(split: SplitMap) -> Block:
    """Say whether the areas lie apart; measured on the polygons, not taken on trust."""
    pairs = list(combinations(split.areas.items(), 2))
    shared = [f"{a} and {b}" for (a, one), (b, two) in pairs if one.intersection(two).area > 0]
    if shared:
        text = f"These areas overlap: {', '.join(shared)}. Pixels that were trained on may be in the scores."
        return Note(text, "warning")
    return Paragraph("These areas do not overlap, so no pixel that was trained on is counted in the scores.")


def _sources(sources: Sequence[str]) -> list[Block]:
    if not sources:
        return []
    rows = [[Cell(s)] for s in sources]
    return [Table(f"Source files ({len(sources)})", ["File"], rows, folded=len(sources) > 12)]


def _held_out_notes(held_out: bool | None) -> list[str]:
    if held_out is None:
        return [
            "It is not known whether the model was trained on these pixels; if it was, the scores flatter it."
        ]
    if not held_out:
        return [
            "Some of these pixels were trained on, so the scores flatter the map. Evaluate on an area of its own."
        ]
    return []


def _noted(notes: Sequence[str], sections: list[Section]) -> list[Section]:
    if not notes:
        return sections
    return [Section("Before you use these numbers", [Note(n, "warning") for n in notes]), *sections]


def _repeat_section(recipe_yaml: str, versions: Mapping[str, str]) -> Section:
    blocks: list[Block] = []
    if recipe_yaml:
        blocks += [
            Paragraph("Save this as recipe.yaml and run: geotoolbox run recipe.yaml"),
            Code(recipe_yaml, "Recipe"),
        ]
    return Section("Repeat it", [*blocks, *facts_block(versions)])


def _footer(created: datetime | None, versions: Mapping[str, str]) -> str:
    moment = (created or datetime.now(UTC)).astimezone(UTC)
    version = versions.get("geotoolbox", "")
    return f"Made by GeoToolbox {version} on {moment:%Y-%m-%d at %H:%M} UTC.".replace("  ", " ")
