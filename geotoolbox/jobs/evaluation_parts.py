"""What *evaluate* adds to the counts: intervals, regions, shape, curves and calibration."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

from geotoolbox.core.events import SILENT, Reporter
from geotoolbox.core.query import Region
from geotoolbox.datasets import GeoDataset
from geotoolbox.metrics import MapComparison
from geotoolbox.metrics.bootstrap import Intervals, bootstrap_scores
from geotoolbox.metrics.boundary import BoundaryScores
from geotoolbox.metrics.calibration import Calibration
from geotoolbox.metrics.certainty import Certainty, compare_probabilities
from geotoolbox.metrics.curves import Curves
from geotoolbox.metrics.objects import ObjectScores
from geotoolbox.metrics.shapes import compare_shapes

__all__ = ["EvaluationParts", "PartOptions", "measure_parts"]


@dataclass(frozen=True, slots=True)
class PartOptions:
    """What to measure beside the confusion matrix.

    Attributes:
        probabilities: The raster of class probabilities; None for no curves and calibration.
        boundary_m: Width of boundaries in metres; None for no Boundary IoU.
        object_iou: From which IoU on objects are the same; None for no object scores.
        resamples: Draws of the bootstrap; 0 for no intervals.
        seed: What repeats the draws.
        allow_vrt: Whether the probabilities may be a VRT.
    """

    probabilities: str | None = None
    boundary_m: float | None = None
    object_iou: float | None = None
    resamples: int = 1000
    seed: int = 0
    allow_vrt: bool = False


@dataclass(frozen=True, slots=True)
class EvaluationParts:
    """What was measured beside the confusion matrix; None for what was not asked for.

    Attributes:
        intervals: 95 % intervals of the scores, by bootstrap over blocks.
        region_intervals: The same for each region, by name.
        curves: ROC and precision-recall.
        calibration: How well probabilities tell how often they are right.
        temperature: What logits would have to be divided by; 1 is calibrated.
        boundary: Boundary IoU.
        objects: Objects found and missed.
    """

    intervals: Intervals | None = None
    region_intervals: dict[str, Intervals] = field(default_factory=dict)
    curves: Curves | None = None
    calibration: Calibration | None = None
    temperature: float | None = None
    boundary: BoundaryScores | None = None
    objects: ObjectScores | None = None

    def to_json(self, found: MapComparison) -> dict[str, Any]:
        """Return plain data; see docs/evaluation.md."""
        regions = []
        for region in found.regions:
            interval = self.region_intervals.get(region.name)
            regions.append(
                {
                    "name": region.name,
                    **region.scores.to_json(),
                    "confusion": region.confusion.counts.tolist(),
                    "intervals": None if interval is None else interval.to_json(),
                }
            )
        calibration = None if self.calibration is None else self.calibration.to_json()
        if calibration is not None:
            calibration["temperature"] = self.temperature
        return {
            "intervals": None if self.intervals is None else self.intervals.to_json(),
            "regions": regions,
            "curves": None if self.curves is None else self.curves.to_json(),
            "calibration": calibration,
            "boundary": None if self.boundary is None else self.boundary.to_json(),
            "objects": None if self.objects is None else self.objects.to_json(),
        }


def measure_parts(
    map_layer: GeoDataset,
    reference: GeoDataset,
    found: MapComparison,
    options: PartOptions,
    *,
    region: Region | None = None,
    reporter: Reporter = SILENT,
) -> EvaluationParts:
    """Measure what is asked for, each in one pass over the map.

    Args:
        map_layer: The map.
        reference: The truth.
        found: Their comparison.
        options: What to measure.
        region: Measure only inside this area.
        reporter: Hears of the progress, and can cancel.
    """
    parts = EvaluationParts()
    if options.resamples:
        draw = {"resamples": options.resamples, "seed": options.seed}
        parts = replace(
            parts,
            intervals=bootstrap_scores(found.patches, **draw),
            region_intervals={r.name: bootstrap_scores(r.blocks, **draw) for r in found.regions},
        )
    if options.boundary_m is not None or options.object_iou is not None:
        shapes = compare_shapes(
            map_layer,
            reference,
            found.match,
            boundary_m=options.boundary_m,
            object_iou=options.object_iou,
            region=region,
            reporter=reporter,
        )
        parts = replace(parts, boundary=shapes.boundary, objects=shapes.objects)
    if options.probabilities is not None:
        certainty = compare_probabilities(
            options.probabilities,
            map_layer,
            reference,
            found.match,
            region=region,
            seed=options.seed,
            allow_vrt=options.allow_vrt,
            reporter=reporter,
        )
        parts = replace(
            parts,
            curves=certainty.curves,
            calibration=certainty.calibration,
            temperature=_temperature(certainty),
        )
    return parts


def _temperature(certainty: Certainty) -> float:
    import torch

    from geotoolbox.trainers.validation import fit_temperature

    return fit_temperature(torch.from_numpy(certainty.log_probabilities), torch.from_numpy(certainty.truth))
