"""The parts that reports are put together from: class tables, matrices, pictures, maps of the split."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from shapely.geometry.base import BaseGeometry

from geotoolbox.core.classes import ClassTable
from geotoolbox.metrics.scores import MEANINGS, Scores
from geotoolbox.visualization.charts import plot_baselines, plot_scores
from geotoolbox.visualization.matrix import plot_confusion_matrix
from geotoolbox.visualization.pixels import RIGHT, WRONG, error_rgba, mask_rgba, stretch
from geotoolbox.visualization.report import (
    Block,
    Cell,
    Facts,
    Legend,
    Note,
    Panel,
    Panels,
    Paragraph,
    Picture,
    Section,
    Table,
    Terms,
)  # fmt: skip
from geotoolbox.visualization.style import PAGE
from geotoolbox.visualization.wording import BaselineLike, number, percent, share, weak_points

__all__ = ["Preview", "SplitMap", "baseline_section", "class_section", "matrix_section", "meaning_section",
           "preview_section"]  # fmt: skip


@dataclass(frozen=True, slots=True)
class Preview:
    """A place to look at: a map, and what it was made from and is compared with, all on one grid.

    Attributes:
        title: Where it is, in words.
        predicted: (H, W) class indices; negative where there is none.
        truth: (H, W) class indices, or None.
        image: (C, H, W), or None.
        valid: (H, W), the pixels of the image with data.
        bands: The positions of red, green and blue in the image.
    """

    title: str
    predicted: NDArray[Any]
    truth: NDArray[Any] | None = None
    image: NDArray[Any] | None = None
    valid: NDArray[np.bool_] | None = None
    bands: tuple[int, ...] = (0, 1, 2)

    def thinned(self, longest_px: int) -> Preview:
        """Keep every n-th pixel, so that the longest side has at most ``longest_px``."""
        step = math.ceil(max(self.predicted.shape) / longest_px)
        pick = (..., slice(None, None, step), slice(None, None, step))
        parts = [None if a is None else a[pick] for a in (self.truth, self.image, self.valid)]
        return Preview(self.title, self.predicted[pick], parts[0], parts[1], parts[2], self.bands)


@dataclass(frozen=True, slots=True)
class SplitMap:
    """Where was trained, validated and tested: polygons by name, all in one CRS, with a pixel's side in its units."""

    areas: Mapping[str, BaseGeometry]
    crs: str
    footprints: Sequence[BaseGeometry] = ()
    pixel: float = 0.0


def preview_section(previews: Sequence[Preview], classes: ClassTable, longest_px: int) -> list[Block]:
    """Show places as image, reference, map and error."""
    blocks: list[Block] = []
    differs = any(p.truth is not None for p in previews)
    extra = [("agree", RIGHT), ("differ", WRONG)] if differs else []
    for preview in previews:
        blocks.append(Panels(_panels(preview.thinned(longest_px), classes), preview.title))
    return [Legend(classes, extra), *blocks] if blocks else []


def _panels(preview: Preview, classes: ClassTable) -> list[Panel]:
    found = []
    if preview.image is not None:
        bands = preview.bands if preview.image.shape[0] > max(preview.bands) else (0,)
        picture = stretch(preview.image, preview.valid, bands, gamma=0.75)
        found.append(Panel("Image", picture, f"The image: {preview.title}"))
    if preview.truth is not None:
        said = f"The reference: {_most(preview.truth, classes)}"
        found.append(Panel("Reference", mask_rgba(preview.truth, classes), said))
    found.append(
        Panel("Map", mask_rgba(preview.predicted, classes), f"The map: {_most(preview.predicted, classes)}")
    )
    if preview.truth is not None:
        both = (preview.truth >= 0) & (preview.predicted >= 0)
        same = float((preview.truth == preview.predicted)[both].mean()) if both.any() else math.nan
        picture = error_rgba(preview.truth, preview.predicted)
        found.append(
            Panel(
                "Where they differ", picture, f"Map and reference agree on {percent(same, 0)} of the pixels"
            )
        )
    return found


def _most(mask: NDArray[Any], classes: ClassTable) -> str:
    counts = np.bincount(mask[(mask >= 0) & (mask < len(classes))].ravel(), minlength=len(classes))
    order = [int(i) for i in np.argsort(-counts, kind="stable")[:3] if counts[i]]
    total = max(int(counts.sum()), 1)
    return ", ".join(f"{classes.names[i]} {percent(float(counts[i]) / total, 0)}" for i in order) or "nothing"


def class_section(scores: Scores, classes: ClassTable) -> Section:
    """Show the scores of each class, as a chart and a table."""
    alt = "IoU by class: " + ", ".join(
        f"{n} {'undefined' if math.isnan(v) else f'{v:.2f}'}"
        for n, v in zip(scores.names, scores.iou, strict=True)
    )
    figure = plot_scores(scores, classes, by_size=False, theme=PAGE)  # the matrix's order
    notes: list[Block] = [Note(text, "warning") for text in weak_points(scores)]
    return Section("Class by class", [Picture(figure, alt), score_table(scores, classes), *notes])


def score_table(scores: Scores, classes: ClassTable) -> Table:
    """Put the scores of each class, and their means, into a table, in the classes' order."""
    heads = {"Precision": "precision", "Recall": "recall", "F1": "f1", "IoU": "iou"}
    rows = []
    for i in range(len(classes)):
        row = [Cell(scores.names[i], color=classes.colors[i])]
        for key in heads.values():
            value = getattr(scores, key)[i]
            row.append(Cell(share(value), value, scores.reasons.get(f"{key}/{scores.names[i]}", "")))
        row += [Cell(number(n), n) for n in (scores.support[i], scores.predicted[i])]
        rows.append(row)
    for kind in ("macro", "weighted"):
        values = [getattr(scores, f"{kind}_{s}") for s in ("precision", "recall", "f1")]
        values.append(scores.mean_iou if kind == "macro" else scores.weighted_iou)
        name = "Mean over classes" if kind == "macro" else "Mean weighted by pixels"
        cells = [Cell(share(v), v, strong=True) for v in values]
        rows.append(
            [Cell(name, strong=True), *cells, Cell(number(scores.pixels), scores.pixels), Cell("", "")]
        )
    meanings = {head: MEANINGS[key] for head, key in heads.items()}
    meanings |= {"Reference px": MEANINGS["support"], "Map px": MEANINGS["predicted"]}
    return Table("Scores of each class", ["Class", *heads, "Reference px", "Map px"], rows, meanings)


def matrix_section(counts: NDArray[Any], classes: ClassTable, scores: Scores) -> Section:
    """Show the confusion matrix, and the largest confusions in words."""
    figure = plot_confusion_matrix(counts, classes, "truth", theme=PAGE)
    worst = _largest_confusions(counts, classes)
    caption = "Each row is a class of the reference: of its pixels, how many per cent the map gives to each class. A good map has its colour on the diagonal."
    rows = [
        [
            Cell(name, color=classes.colors[i]),
            *(Cell(number(int(n)), int(n), strong=i == j) for j, n in enumerate(counts[i])),
        ]
        for i, name in enumerate(classes.names)
    ]
    table = Table(
        "Confusion matrix in pixels (row: reference, column: map)",
        ["Reference", *classes.names],
        rows,
        folded=True,
    )
    alt = f"Confusion matrix of {len(classes)} classes. {' '.join(worst)}"
    said: list[Block] = [Paragraph(" ".join(worst))] if worst else []
    return Section("What is taken for what", [*said, Picture(figure, alt, caption), table])


def _largest_confusions(counts: NDArray[Any], classes: ClassTable, limit: int = 3) -> list[str]:
    off = np.array(counts, dtype=np.int64)
    np.fill_diagonal(off, 0)
    wrong = int(off.sum())
    if not wrong:
        return []
    order = np.argsort(-off, axis=None, kind="stable")[:limit]
    cells = [np.unravel_index(i, off.shape) for i in order]
    parts = [
        f"{classes.names[r]} mapped as {classes.names[c]} ({percent(float(off[r, c]) / wrong, 0)})"
        for r, c in cells
        if off[r, c]
    ]
    return [f"Of the {number(wrong)} wrong pixels, most are " + ", ".join(parts) + "."]


def baseline_section(
    scores: Scores, baselines: Sequence[BaselineLike], name: str, in_training: str = ""
) -> Section:
    """Compare with simple baselines on the same pixels; ``in_training`` says how others did on other pixels."""
    rows = [(name, scores.overall_accuracy, scores.mean_iou)]
    rows += [(b.name, b.overall_accuracy, b.mean_iou) for b in baselines]
    figure = plot_baselines([(n[:1].upper() + n[1:], a, m) for n, a, m in rows], theme=PAGE)
    alt = "; ".join(f"{n}: overall accuracy {share(a)}, mean IoU {share(m)}" for n, a, m in rows)
    cells = [
        [
            Cell(n[:1].upper() + n[1:], strong=i == 0),
            Cell(share(a), a),
            Cell(share(m), m),
            Cell(
                "" if i == 0 else _signed(scores.overall_accuracy - a),
                "" if i == 0 else scores.overall_accuracy - a,
            ),
            Cell("" if i == 0 else _signed(scores.mean_iou - m), "" if i == 0 else scores.mean_iou - m),
        ]
        for i, (n, a, m) in enumerate(rows)
    ]
    columns = ["On the same pixels", "Overall accuracy", "Mean IoU", "Accuracy gained", "IoU gained"]
    said = "A map is worth its effort when it beats something simple on the very same pixels."
    return Section(
        "Against simple baselines",
        [
            Paragraph(said),
            Picture(figure, alt),
            Table("Baselines", columns, cells),
            *([Paragraph(in_training)] if in_training else []),
        ],
    )


def _signed(value: float) -> str:
    return "–" if math.isnan(value) else f"{value:+.3f}".replace("-", "\u2212")


def meaning_section(more: Mapping[str, str] | None = None) -> Section:
    """Explain each number in a sentence; ``more`` are further ones, by title."""
    names = {
        "overall_accuracy": "Overall accuracy", "mean_iou": "Mean IoU", "iou": "IoU", "precision": "Precision",
        "recall": "Recall", "f1": "F1", "support": "Reference pixels", "macro": "Mean over classes",
        "weighted": "Mean weighted by pixels",
    }  # fmt: skip
    careful = (
        "These numbers count pixels, and neighbouring pixels are alike: they describe this place, and are not the "
        "accuracy of a probability sample. Do not read areas off a map's pixel counts without such a sample."
    )
    pairs = {title: MEANINGS[key] for key, title in names.items()} | _GAINS | dict(more or {})
    return Section("What each number means", [Terms(pairs), Note(careful)])


_GAINS = {
    "Accuracy gained, IoU gained": "The score less that of the baseline, on the very same pixels. Below 0, the baseline is better.",
}


def facts_block(pairs: Mapping[str, str]) -> list[Block]:
    """Show pairs, or nothing where there are none."""
    return [Facts(pairs)] if pairs else []
