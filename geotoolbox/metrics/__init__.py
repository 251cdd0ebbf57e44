"""How good a map is: confusion matrices, scores, and maps compared block by block."""

from geotoolbox.metrics.confusion import ConfusionMatrix, confusion_matrix
from geotoolbox.metrics.maps import BlockCounts, MapComparison, Overview, compare_maps, match_classes
from geotoolbox.metrics.scores import MEANINGS, Scores, compute_scores

__all__ = [
    "MEANINGS",
    "BlockCounts",
    "ConfusionMatrix",
    "MapComparison",
    "Overview",
    "Scores",
    "compare_maps",
    "compute_scores",
    "confusion_matrix",
    "match_classes",
]
