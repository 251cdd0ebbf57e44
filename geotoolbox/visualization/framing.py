"""What training and evaluation reports share: key numbers, notes, sources, recipe, size limit."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime

import numpy as np

from geotoolbox.core.classes import ClassTable
from geotoolbox.errors import TooLarge
from geotoolbox.metrics.scores import Scores
from geotoolbox.visualization.parts import Preview, facts_block, preview_section
from geotoolbox.visualization.report import (
    Block,
    Cell,
    Code,
    Note,
    Paragraph,
    Report,
    Section,
    Table,
    Tile,
    render_report,
)
from geotoolbox.visualization.wording import BaselineLike, called, majority_baseline, number, percent, share

__all__ = ["as_sentence", "footer", "frame", "key_tiles", "noted", "picture_section", "repeat_section", "source_tables",
           "with_majority", "within_limit"]  # fmt: skip


def within_limit(make: Callable[[int], Report]) -> str:
    """Render with pictures as sharp as the size limit lets them be."""
    for longest_px in (600, 400, 256):
        try:
            return render_report(make(longest_px))
        except TooLarge:
            continue
    return render_report(make(128))


def with_majority(scores: Scores, baselines: Sequence[BaselineLike]) -> list[BaselineLike]:
    """Add the baseline that needs no method, where it is missing."""
    has = any("majority" in b.name.lower() or b.name.startswith("everything ") for b in baselines)
    return list(baselines) if has else [*baselines, majority_baseline(scores)]


def key_tiles(scores: Scores, baselines: Sequence[BaselineLike], pixels: str) -> list[Tile]:
    """Return the numbers to see at a glance; ``pixels`` says which pixels were counted."""
    known = [b for b in baselines if np.isfinite(b.overall_accuracy)]
    beaten = called(known[0].name) if len(known) == 1 else "the best baseline"
    tiles = []
    for label, value, key, text in (
        ("Overall accuracy", scores.overall_accuracy, "overall_accuracy", percent(scores.overall_accuracy)),
        ("Mean IoU", scores.mean_iou, "mean_iou", share(scores.mean_iou)),
    ):
        best = max((float(getattr(b, key)) for b in known), default=float("nan"))
        gain = value - best
        if np.isfinite(gain):
            size = f"{100 * abs(gain):.1f} points" if key == "overall_accuracy" else f"{abs(gain):.3f}"
            detail = f"{size} {'above' if gain > 0 else 'below'} {beaten}"
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


def picture_section(
    heading: str, previews: Sequence[Preview], classes: ClassTable, longest_px: int
) -> Section:
    """Show places to look at, thinned to a longest side."""
    return Section(heading, preview_section(previews, classes, longest_px))


def source_tables(sources: Sequence[str]) -> list[Block]:
    """List the files used; folded where they are many."""
    if not sources:
        return []
    rows = [[Cell(s)] for s in sources]
    return [Table(f"Source files ({len(sources)})", ["File"], rows, folded=len(sources) > 12)]


def noted(notes: Sequence[str], sections: list[Section]) -> list[Section]:
    """Put what must be known before the numbers are used in front of the sections."""
    if not notes:
        return sections
    return [
        Section("Before you use these numbers", [Note(as_sentence(n), "warning") for n in notes]),
        *sections,
    ]


def frame(
    kind: str,
    title: str,
    summary: str,
    *,
    tiles: Sequence[Tile],
    sections: Sequence[Section],
    notes: Sequence[str] = (),
    recipe_yaml: str = "",
    recipe_name: str = "",
    versions: Mapping[str, str] | None = None,
    created: datetime | None = None,
) -> Report:
    """Put a report together: warnings first, sections that have anything, how to repeat it, and when it was made."""
    known = versions or {}
    filled = [s for s in (*sections, repeat_section(recipe_yaml, known, recipe_name)) if s.blocks]
    return Report(kind, title, summary, tiles, noted(notes, filled), footer(created, known))


def as_sentence(text: str) -> str:
    """Write a log line as a sentence, its numbers as :func:`number` does; a first word that is a name stays.

    Example:
        >>> as_sentence("the classes are unlike in size"), as_sentence("b2.tif has no CRS.")
        ('The classes are unlike in size.', 'b2.tif has no CRS.')
    """
    text = re.sub(r"(?<=\d),(?=\d{3}\b)", "\u202f", text)
    first = text.split(" ", maxsplit=1)[0].rstrip(",:;")
    start = text[:1].upper() + text[1:] if first.isalpha() and first.islower() else text
    return start if not start or start[-1] in ".!?…" else f"{start}."


def repeat_section(recipe_yaml: str, versions: Mapping[str, str], recipe_name: str = "") -> Section:
    """Show the recipe and the versions, so that the run can be repeated."""
    blocks: list[Block] = []
    if recipe_yaml:
        said = "Save this as recipe.yaml beside this report, and there run: geotoolbox run recipe.yaml"
        if recipe_name:
            where = "beside this report" if "/" not in recipe_name else "as seen from this report's folder"
            said = f"This recipe is the file {recipe_name} ({where}). There run: geotoolbox run {recipe_name}"
        blocks += [
            Paragraph(said),
            Code(recipe_yaml, "Recipe"),
        ]
    return Section("Repeat it", [*blocks, *facts_block(versions)])


def footer(created: datetime | None, versions: Mapping[str, str]) -> str:
    """Return a report's last line."""
    moment = (created or datetime.now(UTC)).astimezone(UTC)
    version = versions.get("geotoolbox", "")
    return f"Made by GeoToolbox {version} on {moment:%Y-%m-%d at %H:%M} UTC.".replace("  ", " ")
