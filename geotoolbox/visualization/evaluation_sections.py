"""Report sections on where a map is good and how far its probabilities can be believed."""

from __future__ import annotations

import math

import numpy as np

from geotoolbox.core.classes import ClassTable
from geotoolbox.metrics.blocks import BlockConfusion
from geotoolbox.metrics.calibration import Calibration
from geotoolbox.metrics.curves import Curves
from geotoolbox.visualization.cartography import plot_block_scores
from geotoolbox.visualization.curves import plot_precision_recall, plot_reliability, plot_roc
from geotoolbox.visualization.report import Block, Cell, Paragraph, Picture, Section, Table
from geotoolbox.visualization.style import PAGE
from geotoolbox.visualization.wording import number, percent, share

__all__ = ["MORE_MEANINGS", "certainty_section", "place_section"]

_LEAST_PX = 50  # of a block, to be named among the weakest
_WORST = 8
MORE_MEANINGS = {
    "interval": "If such places were drawn again and again, about this share of the intervals would hold the score. It "
    "comes from drawing whole blocks anew, as neighbouring pixels are alike.",
    "auc": "The chance that a pixel of the class gets a higher probability than one of "
    "another class. 0.5 is guessing.",
    "average_precision": "The mean precision over all thresholds. Guessing reaches the class's share.",
    "ece": "How far, on average, the stated probability is from how often the map is right.",
    "mce": "The same gap, in the bin of probabilities where it is largest.",
    "brier": "The mean squared error of all class probabilities of a pixel. 0 is perfect, 2 the worst.",
    "cross_entropy": "How surprised the model is by the truth. 0 is perfect; it has no upper limit.",
}
"""What each further number means, in one sentence."""


def place_section(blocks: BlockConfusion) -> Section:
    """Show the share of right pixels in each block on a map, and name the weakest blocks."""
    if len(blocks) < 2:
        return Section("Where it is good", [])
    scores = blocks.overall_accuracy()
    figure = plot_block_scores(scores, blocks.polygons, blocks.crs, theme=PAGE)
    known = scores[np.isfinite(scores)]
    low, middle, high = np.percentile(known, (10, 50, 90))
    said = (
        f"Half of the {number(len(known))} blocks have more than {percent(float(middle))} of their pixels right; the "
        f"weakest tenth less than {percent(float(low))}, the best tenth more than {percent(float(high))}."
    )
    order = np.argsort(scores, kind="stable")
    worst = [int(i) for i in order if blocks.pixels[i] >= _LEAST_PX and np.isfinite(scores[i])][:_WORST]
    rows = []
    for i in worst:
        centre = blocks.polygons[i].centroid
        cells = [
            Cell(blocks.scene[i]),
            *(Cell(f"{v:.10g}", v) for v in (round(centre.x, 6), round(centre.y, 6))),
        ]
        rows.append([*cells, Cell(share(float(scores[i])), float(scores[i])),
                     Cell(number(int(blocks.pixels[i])), int(blocks.pixels[i]))])  # fmt: skip
    columns = ["Scene", f"x ({blocks.crs})", "y", "Overall accuracy", "Compared px"]
    alt = f"Map of the overall accuracy in {len(known)} blocks. {said}"
    table = Table("The weakest blocks, by their centre", columns, rows, folded=True)
    return Section("Where it is good", [Paragraph(said), Picture(figure, alt), table])


def certainty_section(
    classes: ClassTable,
    curves: Curves | None,
    calibration: Calibration | None,
    temperature: float | None = None,
) -> Section:
    """Show ROC, precision-recall and reliability, as far as there are."""
    blocks: list[Block] = []
    if calibration is not None:
        blocks += _reliability(calibration, temperature)
    if curves is not None:
        blocks += _curves(curves, classes)
    return Section("How far its probabilities can be believed", blocks)


def _reliability(found: Calibration, temperature: float | None) -> list[Block]:
    figure = plot_reliability(
        found.confidence, found.accuracy, found.counts, error=found.ece, label="this map", theme=PAGE
    )
    sure = float(np.nansum(found.confidence * found.counts) / max(found.pixels, 1))
    right = float(np.nansum(found.accuracy * found.counts) / max(found.pixels, 1))
    how = "too sure" if sure > right else "not sure enough"
    said = (
        f"On average the map is {percent(sure)} sure and {percent(right)} right: it is {how} by "
        f"{100 * abs(sure - right):.1f} points (expected calibration error {share(found.ece)})."
    )
    if temperature is not None and math.isfinite(temperature):
        said += f" Dividing its logits by {temperature:.2f} would set this right as far as one number can."
    values = {
        "Expected calibration error": found.ece, "Largest calibration gap": found.mce,
        "Brier score": found.brier, "Cross-entropy": found.cross_entropy,
    }  # fmt: skip
    rows = [[Cell(name), Cell(f"{v:.4f}" if math.isfinite(v) else "–", v)] for name, v in values.items()]
    alt = f"Reliability in {int((found.counts > 0).sum())} bins. {said}"
    return [Paragraph(said), Picture(figure, alt), Table("Calibration", ["Number", "Value"], rows)]


def _curves(found: Curves, classes: ClassTable) -> list[Block]:
    thin = [curve.thin() for curve in found.classes]
    roc, both = [c.roc() for c in thin], [c.precision_recall() for c in thin]
    areas = [c.auc for c in found.classes]
    precise = [c.average_precision for c in found.classes]
    names, colors = classes.names, classes.colors
    first = plot_roc([r[0] for r in roc], [r[1] for r in roc], names, areas, colors, theme=PAGE)
    shares = [curve.positives / max(curve.positives + curve.negatives, 1) for curve in found.classes]
    second = plot_precision_recall(
        [b[1] for b in both], [b[0] for b in both], names, precise, colors, shares=shares, theme=PAGE
    )
    rows = [
        [Cell(n, color=c), Cell(share(a), a), Cell(share(p), p), Cell(number(int(curve.positives)), int(curve.positives))]
        for n, c, a, p, curve in zip(names, colors, areas, precise, found.classes, strict=True)
    ]  # fmt: skip
    rows.append(
        [Cell("Mean over classes", strong=True), Cell(share(found.auc()), found.auc(), strong=True),
         Cell(share(found.average_precision()), found.average_precision(), strong=True), Cell("", "")]
    )  # fmt: skip
    said = "; ".join(f"{n} {share(a)}" for n, a in zip(names, areas, strict=True))
    other = "; ".join(f"{n} {share(p)}" for n, p in zip(names, precise, strict=True))
    columns = ["Class", "Area under ROC", "Average precision", "Reference px"]
    meanings = {
        "Area under ROC": MORE_MEANINGS["auc"],
        "Average precision": MORE_MEANINGS["average_precision"],
    }
    guessing = "A dotted line is the precision that guessing reaches: how frequent the class is."
    return [
        Picture(first, f"ROC curves, area under them: {said}"),
        Picture(second, f"Precision over recall, average precision: {other}", guessing),
        Table("Each class against the rest", columns, rows, meanings),
    ]
