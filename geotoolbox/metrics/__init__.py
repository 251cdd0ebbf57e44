"""How good a map is: confusion matrices, scores, and maps compared block by block.

Names that need slow imports are loaded on first use.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from geotoolbox.metrics.agreement import KAPPA_NOTE, Disagreement, cohen_kappa, disagreement
from geotoolbox.metrics.areas import AreaEstimate
from geotoolbox.metrics.blocks import BlockConfusion, BlockCounts
from geotoolbox.metrics.change import (
    TransitionEstimate,
    TransitionMatrix,
    count_transitions,
    estimate_transitions,
)
from geotoolbox.metrics.confusion import ConfusionMatrix, confusion_matrix
from geotoolbox.metrics.design_based import ACCURACY_MEANINGS, AccuracyEstimate, assess_accuracy
from geotoolbox.metrics.drawing import DrawnPoints, draw_points, draw_systematic
from geotoolbox.metrics.estimators import DesignSample, Estimate, estimate_ratio
from geotoolbox.metrics.maps import MapComparison, Overview, RegionComparison, compare_maps, match_classes
from geotoolbox.metrics.planning import allocate, plan_sample_size, plan_simple_sample_size
from geotoolbox.metrics.population import Population, measure
from geotoolbox.metrics.regression import RegressionMoments, RegressionScores, regression_scores
from geotoolbox.metrics.scores import MEANINGS, Scores, compute_scores
from geotoolbox.metrics.value_maps import compare_values

if TYPE_CHECKING:
    from geotoolbox.metrics.applicability import Applicability, fit_applicability
    from geotoolbox.metrics.bootstrap import Intervals, bootstrap_scores
    from geotoolbox.metrics.boundary import BoundaryCounts, BoundaryScores
    from geotoolbox.metrics.calibration import Calibration, CalibrationCounts, temper
    from geotoolbox.metrics.certainty import Certainty, compare_probabilities
    from geotoolbox.metrics.curves import Curve, Curves, ScoreCounts
    from geotoolbox.metrics.objects import ObjectCounts, ObjectScores
    from geotoolbox.metrics.shapes import ShapeComparison, compare_shapes
    from geotoolbox.prediction.seams import seam_ratio

__all__ = [
    "ACCURACY_MEANINGS",
    "KAPPA_NOTE",
    "MEANINGS",
    "AccuracyEstimate",
    "Applicability",
    "AreaEstimate",
    "BlockConfusion",
    "BlockCounts",
    "BoundaryCounts",
    "BoundaryScores",
    "Calibration",
    "CalibrationCounts",
    "Certainty",
    "ConfusionMatrix",
    "Curve",
    "Curves",
    "DesignSample",
    "Disagreement",
    "DrawnPoints",
    "Estimate",
    "Intervals",
    "MapComparison",
    "ObjectCounts",
    "ObjectScores",
    "Overview",
    "Population",
    "RegionComparison",
    "RegressionMoments",
    "RegressionScores",
    "ScoreCounts",
    "Scores",
    "ShapeComparison",
    "TransitionEstimate",
    "TransitionMatrix",
    "allocate",
    "assess_accuracy",
    "bootstrap_scores",
    "cohen_kappa",
    "compare_maps",
    "compare_probabilities",
    "compare_shapes",
    "compare_values",
    "compute_scores",
    "confusion_matrix",
    "count_transitions",
    "disagreement",
    "draw_points",
    "draw_systematic",
    "estimate_ratio",
    "estimate_transitions",
    "fit_applicability",
    "match_classes",
    "measure",
    "plan_sample_size",
    "plan_simple_sample_size",
    "regression_scores",
    "seam_ratio",
    "temper",
]

_HOMES = {
    "geotoolbox.metrics.applicability": (
        "Applicability",
        "fit_applicability",
    ),
    "geotoolbox.metrics.bootstrap": (
        "Intervals",
        "bootstrap_scores",
    ),
    "geotoolbox.metrics.boundary": (
        "BoundaryCounts",
        "BoundaryScores",
    ),
    "geotoolbox.metrics.calibration": (
        "Calibration",
        "CalibrationCounts",
        "temper",
    ),
    "geotoolbox.metrics.certainty": (
        "Certainty",
        "compare_probabilities",
    ),
    "geotoolbox.metrics.curves": (
        "Curve",
        "Curves",
        "ScoreCounts",
    ),
    "geotoolbox.metrics.objects": (
        "ObjectCounts",
        "ObjectScores",
    ),
    "geotoolbox.metrics.shapes": (
        "ShapeComparison",
        "compare_shapes",
    ),
    "geotoolbox.prediction.seams": ("seam_ratio",),
}


def __getattr__(name: str) -> Any:
    for home, names in _HOMES.items():
        if name in names:
            return getattr(import_module(home), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
