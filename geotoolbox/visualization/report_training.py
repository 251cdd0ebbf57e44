"""The report of a training, made from plain results."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from itertools import combinations
from typing import Any

from numpy.typing import NDArray

from geotoolbox.core.classes import ClassTable
from geotoolbox.metrics.scores import compute_scores
from geotoolbox.visualization.cartography import plot_areas
from geotoolbox.visualization.charts import plot_class_balance, plot_history
from geotoolbox.visualization.evaluation_sections import MORE_MEANINGS
from geotoolbox.visualization.framing import (
    frame,
    key_tiles,
    picture_section,
    source_tables,
    with_majority,
    within_limit,
)
from geotoolbox.visualization.parts import (
    Preview,
    SplitMap,
    baseline_section,
    class_section,
    facts_block,
    matrix_section,
    meaning_section,
)
from geotoolbox.visualization.report import (
    Block,
    Cell,
    Legend,
    Note,
    Paragraph,
    Picture,
    Report,
    Section,
    Table,
)
from geotoolbox.visualization.style import PAGE
from geotoolbox.visualization.wording import (
    BaselineLike,
    baseline_sentences,
    number,
    percent,
    share,
)

__all__ = ["training_report"]

_CALIBRATION = {"cross_entropy": "Cross-entropy", "ece": "Expected calibration error"}


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
    calibration: Mapping[str, float] | None = None,
    facts: Mapping[str, str] | None = None,
    sources: Sequence[str] = (),
    notes: Sequence[str] = (),
    recipe_yaml: str = "",
    recipe_name: str = "",
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
        calibration: ``temperature``, and ``cross_entropy`` and ``ece`` on held-out blocks, ``_before`` and ``_after``.
        facts: What else to tell: network, parameters, time, device.
        sources: The files used.
        notes: Warnings that came up.
        recipe_yaml: The recipe that repeats the run, with paths as seen from the report.
        recipe_name: The file that holds it, as seen from the report; empty where there is none.
        versions: Package versions, by name.
        created: When; now when None.

    Returns:
        HTML, under 5 MB.
    """
    scores = compute_scores(confusion, classes.names)
    others = with_majority(scores, baselines)
    summary = (
        f"The model labels {percent(scores.overall_accuracy)} of {number(scores.pixels)} held-out pixels correctly "
        f"(mean IoU {share(scores.mean_iou)}). {baseline_sentences(scores, others, 'It')}"
    )

    def make(longest_px: int) -> Report:
        sections = [
            picture_section("Held-out places", previews, classes, longest_px),
            class_section(scores, classes),
            matrix_section(confusion, classes, scores),
            baseline_section(scores, others, "this model"),
            _calibration_section(calibration or {}),
            _training_section(history, best_epoch, facts or {}),
            _data_section(split, class_pixels, classes, sources),
            meaning_section({t: MORE_MEANINGS[k] for k, t in _CALIBRATION.items()} if calibration else None),
        ]
        tiles = key_tiles(scores, others, "held-out pixels")
        return frame("Training report", title, summary, tiles=tiles, sections=sections, notes=notes,
                     recipe_yaml=recipe_yaml, recipe_name=recipe_name, versions=versions, created=created)  # fmt: skip

    return within_limit(make)


def _calibration_section(found: Mapping[str, float]) -> Section:
    if not found:
        return Section("How far its probabilities can be believed", [])
    rows = [
        [Cell(title), *(Cell(f"{v:.4f}", v) for v in (found[f"{key}_before"], found[f"{key}_after"]))]
        for key, title in _CALIBRATION.items()
    ]
    said = (
        f"When it predicts, its logits are divided by {found['temperature']:.2f}. That changes no class, but how sure it says it "
        "is. The number was fitted to held-out blocks; the scores after were measured on blocks that it was not fitted to."
    )
    return Section(
        "How far its probabilities can be believed",
        [Paragraph(said), Table("Calibration on held-out blocks", ["Number", "Before", "After"], rows)],
    )


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
        figure = plot_class_balance(class_pixels, classes, legend=False, theme=PAGE)
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
    return Section("What it was trained on", [*blocks, *source_tables(sources)])


def _split_words(split: SplitMap) -> Block:
    """Say whether the areas lie apart; measured on the polygons, not taken on trust."""
    shared = []
    for (a, one), (b, two) in combinations(split.areas.items(), 2):
        both = one.intersection(two)  # areas that only touch share a sliver by rounding
        if not both.buffer(-max(split.pixel / 2, 1e-9 * both.length)).is_empty:
            shared.append(f"{a} and {b} ({percent(both.area / two.area)} of the latter)")
    if shared:
        text = f"These areas overlap: {', '.join(shared)}. Pixels that were trained on may be in the scores."
        return Note(text, "warning")
    return Paragraph("These areas do not overlap, so no pixel that was trained on is counted in the scores.")
