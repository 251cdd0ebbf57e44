"""The parts of the metrics explorer: reading an evaluation, its numbers at a glance, its table, its curves."""

from __future__ import annotations

import html
import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from geotoolbox.core.classes import ClassTable
from geotoolbox.errors import BadInput, CannotRead, explain
from geotoolbox.metrics import Scores
from geotoolbox.visualization import plot_precision_recall, plot_reliability, plot_roc
from geotoolbox.visualization.style import PAGE
from geotoolbox_widgets.frame import chip, figure, share, table, tiles

__all__ = ["class_table", "curve_charts", "read_metrics", "score_tiles"]


def read_metrics(path: Path) -> dict[str, Any]:
    """Read a ``metrics.json``.

    Raises:
        CannotRead: When there is no such file.
        BadInput: When it is no evaluation.
    """
    if not path.is_file():
        raise CannotRead(explain("no such file", where=path, fix="run 'geotoolbox evaluate --metrics'"))
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, UnicodeDecodeError) as error:
        raise BadInput(explain("this is no metrics file", where=path, got=str(error)[:200])) from None
    if not isinstance(found, dict) or not {"confusion", "class_table", "classes"} <= set(found):
        raise BadInput(
            explain("this is no evaluation", where=path, expected="what 'evaluate --metrics' writes")
        )
    return found


def _interval(pair: Sequence[float | None] | None) -> str:
    if not pair or any(v is None for v in pair):
        return ""
    return f"{share(pair[0])} – {share(pair[1])}"


def score_tiles(found: Mapping[str, Any], scores: Scores) -> str:
    """Return the scores of a whole map, with their intervals where there are any, as HTML."""
    intervals = found.get("intervals") or {}
    said = intervals.get("scores") or {}
    level = f"{100 * float(intervals.get('level', 0.95)):.0f} % interval: "
    rows = []
    for name, key, value in (
        ("overall accuracy", "overall_accuracy", scores.overall_accuracy),
        ("mean IoU", "mean_iou", scores.mean_iou),
    ):
        span = _interval(said.get(key))
        rows.append((name, share(value), level + span if span else ""))
    rows.append(("compared", f"{scores.pixels:,}", "pixels"))
    return tiles(rows)


def class_table(found: Mapping[str, Any], scores: Scores, classes: ClassTable) -> str:
    """Return the scores of each class as an HTML table, the class with the most reference pixels first."""
    spans = {row["name"]: row for row in (found.get("intervals") or {}).get("classes", [])}
    rows = []
    for i in sorted(range(len(classes)), key=lambda i: -scores.support[i]):
        name = scores.names[i]
        row: list[Any] = [(chip(classes.colors[i]) + html.escape(name),)]
        for key in ("precision", "recall", "f1", "iou"):
            why = html.escape(scores.reasons.get(f"{key}/{name}", ""), quote=True)
            span = html.escape(_interval(spans.get(name, {}).get(key)))
            detail = f'<br><span class="gt-remark">{span}</span>' if span else ""
            row.append((f'<span title="{why}">{share(getattr(scores, key)[i])}</span>{detail}',))
        rows.append([*row, f"{scores.support[i]:,}", f"{scores.predicted[i]:,}"])
    heads = ["Class", "Precision (user's)", "Recall (producer's)", "F1", "IoU", "Reference px", "Map px"]
    caption = "Scores of each class" + (", with 95 % intervals by bootstrap over blocks" if spans else "")
    return table(caption, heads, rows)


def curve_charts(found: Mapping[str, Any], classes: ClassTable, prefix: str) -> str:
    """Return ROC, precision over recall and reliability as HTML, or what they need.

    Args:
        found: The evaluation.
        classes: Its classes.
        prefix: What the names inside the drawings begin with, so that two on a page do not mix.
    """
    curves, calibration = found.get("curves") or {}, found.get("calibration") or {}
    rows = [row for row in curves.get("classes", []) if row.get("roc") and row.get("precision_recall")]
    drawn = []
    colors = dict(zip(classes.names, classes.colors, strict=True))
    if rows:
        names = [row["name"] for row in rows]
        own = [colors.get(name, (110, 110, 110)) for name in names]
        areas = {key: [_number(row.get(key)) for row in rows] for key in ("auc", "average_precision")}
        roc = plot_roc([r["roc"]["fpr"] for r in rows], [r["roc"]["tpr"] for r in rows], names, areas["auc"], own,
                       theme=PAGE)  # fmt: skip
        recall = plot_precision_recall(
            [r["precision_recall"]["recall"] for r in rows], [r["precision_recall"]["precision"] for r in rows],
            names, areas["average_precision"], own, theme=PAGE,
        )  # fmt: skip
        alt = "; ".join(f"{n}: area {share(a)}" for n, a in zip(names, areas["auc"], strict=True))
        drawn.append(figure(roc, f"{prefix}roc", f"ROC curves. {alt}", "ROC: each class against the rest"))
        alt = "; ".join(f"{n}: {share(a)}" for n, a in zip(names, areas["average_precision"], strict=True))
        drawn.append(figure(recall, f"{prefix}pr", f"Precision over recall. {alt}", "Precision over recall"))
    bins = calibration.get("bins") or []
    if bins:
        ece = _number(calibration.get("ece"))
        axes = plot_reliability(
            [_number(b["confidence"]) for b in bins], [_number(b["accuracy"]) for b in bins],
            [int(b["pixels"]) for b in bins], error=ece, theme=PAGE,
        )  # fmt: skip
        alt = f"Reliability in {len(bins)} bins; expected calibration error {share(ece)}"
        drawn.append(
            figure(axes, f"{prefix}rel", alt, "Reliability: how often it is right when it is this sure")
        )
    if not drawn:
        return (
            '<p class="gt-remark">Curves need the probabilities of the classes: predict with <code>probabilities</code>, '
            "and evaluate with them.</p>"
        )
    return f'<div class="gt-charts">{"".join(drawn)}</div>'


def _number(value: Any) -> float:
    return math.nan if value is None else float(value)
