"""The report of a map compared with a reference."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from numpy.typing import NDArray

from geotoolbox.core.classes import ClassTable
from geotoolbox.metrics.agreement import Disagreement, disagreement
from geotoolbox.metrics.blocks import BlockConfusion
from geotoolbox.metrics.bootstrap import Intervals
from geotoolbox.metrics.boundary import BoundaryScores
from geotoolbox.metrics.calibration import Calibration
from geotoolbox.metrics.curves import Curves
from geotoolbox.metrics.design_based import ACCURACY_MEANINGS
from geotoolbox.metrics.maps import RegionComparison
from geotoolbox.metrics.objects import ObjectScores
from geotoolbox.metrics.scores import Scores, compute_scores
from geotoolbox.visualization.evaluation_sections import (
    MORE_MEANINGS,
    certainty_section,
    place_section,
)
from geotoolbox.visualization.evaluation_tables import (
    SHAPE_MEANINGS,
    interval_table,
    overall_table,
    region_section,
    shape_section,
)
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
    baseline_section,
    class_section,
    matrix_section,
    meaning_section,
)
from geotoolbox.visualization.report import Block, Facts, Report, Section
from geotoolbox.visualization.wording import BaselineLike, baseline_sentences, number, percent, share

__all__ = ["evaluation_report"]


def evaluation_report(
    *,
    title: str,
    classes: ClassTable,
    confusion: NDArray[Any],
    baselines: Sequence[BaselineLike] = (),
    previews: Sequence[Preview] = (),
    held_out: bool | None = None,
    trained_share: float | None = None,
    in_training: str = "",
    area: str = "",
    unlabelled_px: int = 0,
    unmapped_px: int = 0,
    compared_area_m2: float | None = None,
    blocks: BlockConfusion | None = None,
    intervals: Intervals | None = None,
    regions: Sequence[RegionComparison] = (),
    region_intervals: Mapping[str, Intervals] | None = None,
    split: Disagreement | None = None,
    area_scores: Scores | None = None,
    boundary: BoundaryScores | None = None,
    objects: ObjectScores | None = None,
    curves: Curves | None = None,
    calibration: Calibration | None = None,
    temperature: float | None = None,
    facts: Mapping[str, str] | None = None,
    sources: Sequence[str] = (),
    notes: Sequence[str] = (),
    recipe_yaml: str = "",
    recipe_name: str = "",
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
        trained_share: Share of the map's ground here that was trained on, where known.
        in_training: How the model and its baselines did in training, in words; empty where not known.
        area: The area that was compared, in words; empty for all.
        unlabelled_px: Map pixels without a reference.
        unmapped_px: Reference pixels without a map.
        compared_area_m2: The ground area of the compared pixels.
        blocks: The confusion matrix of each block, for a map of the scores.
        intervals: Of the scores, by bootstrap over blocks.
        regions: The comparison of each named region.
        region_intervals: Of their scores, by the region's name.
        split: The disagreement in quantity and in place; that of the counted pixels when None.
        area_scores: The scores weighted by true pixel area, where pixels differ in area.
        boundary: How well edges agree.
        objects: How many objects were found.
        curves: ROC and precision-recall, where there are probabilities.
        calibration: How far the probabilities can be believed.
        temperature: What the logits would have to be divided by to be so.
        facts: What else to tell.
        sources: The files compared.
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
    warnings = [*_held_out_notes(held_out, trained_share), *notes]

    def make(longest_px: int) -> Report:
        compared: list[Block] = [Facts(pairs), *source_tables(sources)]
        each = class_section(scores, classes)
        more = [] if intervals is None else interval_table(intervals, classes)
        parts = split or disagreement(confusion)
        whole = overall_table(scores, intervals=intervals, split=parts, by_area=area_scores)
        sections = [
            picture_section("Map and reference", previews, classes, longest_px),
            Section(each.heading, [*each.blocks, whole, *more]),
            matrix_section(confusion, classes, scores),
            Section("Where it is good", []) if blocks is None else place_section(blocks),
            region_section(regions, region_intervals or {}, classes),
            shape_section(boundary, objects, classes),
            certainty_section(classes, curves, calibration, temperature),
            baseline_section(scores, others, "this map", in_training),
            Section("What was compared", compared),
            meaning_section(_further(intervals, curves, calibration, boundary, objects)),
        ]
        tiles = key_tiles(scores, others, pixels)
        return frame("Evaluation report", title, summary, tiles=tiles, sections=sections, notes=warnings,
                     recipe_yaml=recipe_yaml, recipe_name=recipe_name, versions=versions, created=created)  # fmt: skip

    return within_limit(make)


def _further(
    intervals: Intervals | None,
    curves: Curves | None,
    calibration: Calibration | None,
    boundary: BoundaryScores | None,
    objects: ObjectScores | None,
) -> dict[str, str]:
    """Return what the further numbers of a report mean."""
    found = {
        f"{kind.capitalize()} disagreement": ACCURACY_MEANINGS[kind] for kind in ("quantity", "allocation")
    }
    if boundary is not None:
        found["Boundary IoU"] = SHAPE_MEANINGS["Boundary IoU"]
    if objects is not None:
        found["Objects"] = SHAPE_MEANINGS["Objects"]
    if intervals is not None and not intervals.reason:
        found["Interval"] = MORE_MEANINGS["interval"]
    if curves is not None:
        found |= {
            "Area under ROC": MORE_MEANINGS["auc"],
            "Average precision": MORE_MEANINGS["average_precision"],
        }
    if calibration is not None:
        titles = {"ece": "Expected calibration error", "mce": "Largest calibration gap", "brier": "Brier score",
                  "cross_entropy": "Cross-entropy"}  # fmt: skip
        found |= {title: MORE_MEANINGS[key] for key, title in titles.items()}
    return found


def _held_out_notes(held_out: bool | None, trained_share: float | None) -> list[str]:
    if held_out is None:
        return [
            "It is not known whether the model was trained on these pixels; if it was, the scores flatter it."
        ]
    if not held_out:
        which = "Some of these pixels"
        if trained_share is not None:
            size = f"About {percent(trained_share)}" if trained_share >= 0.001 else "Less than 0.1 %"
            which = f"{size} of the map's ground here"
        verb = "was" if trained_share is not None else "were"
        return [f"{which} {verb} trained on, so the scores flatter the map. Evaluate on an area of its own."]
    return []
