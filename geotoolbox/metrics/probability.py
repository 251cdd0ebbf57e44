"""Is this a probability sample? What is not is refused, with the reason in words.

Accuracy and area with an interval can be estimated only where every pixel had a known chance of being drawn.
Training pixels, digitised polygons, points placed by hand, and random points of which some were moved,
added or taken away since, do not qualify: their numbers look alike and mean nothing.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from geotoolbox.errors import NotProbabilitySample, explain

__all__ = ["check_all_there", "check_distinct", "check_not_clustered", "check_not_moved"]

_RADII_PX = (1, 3, 10)
_SHOWN = 5


def check_all_there(drawn: NDArray[Any], found: NDArray[Any]) -> None:
    """Refuse points that were added to a drawn sample, or taken away from it.

    Args:
        drawn: (n,) the ids that were drawn.
        found: (m,) the ids in the labelled file.

    Raises:
        NotProbabilitySample: When the two differ, or an id stands twice.
    """
    names, counts = np.unique(found, return_counts=True)
    double, added, gone = names[counts > 1], np.setdiff1d(names, drawn), np.setdiff1d(drawn, names)
    for what, ids, fix in (
        ("points stand twice in the sample", double, "keep each point once"),
        (
            "points were added to the sample after it was drawn",
            added,
            "remove them; to have more, draw a new sample",
        ),
        (
            "points of the sample are gone",
            gone,
            "bring them back; a point that cannot be labelled stays, with an empty reference "
            "(then unlabelled=drop says so in the report)",
        ),
    ):
        if len(ids):
            raise NotProbabilitySample(
                explain(
                    f"{len(ids)} {what}, so it is no probability sample any more",
                    got=f"id {_some(ids)}",
                    expected=f"the {len(drawn)} points that were drawn",
                    fix=fix,
                )
            )


def check_not_moved(ids: NDArray[Any], offset_px: NDArray[Any]) -> None:
    """Refuse points that were moved off the pixel that was drawn.

    Args:
        ids: (n,) the ids.
        offset_px: (n,) how far each point is from its pixel's centre, in pixels, along rows or columns.

    Raises:
        NotProbabilitySample: When a point is outside its pixel.
    """
    moved = np.asarray(ids)[~(np.asarray(offset_px) <= 0.51)]
    if len(moved):
        raise NotProbabilitySample(
            explain(
                f"{len(moved)} points were moved after they were drawn, so it is no probability sample any more",
                got=f"id {_some(moved)}",
                fix="label the pixel that was drawn, however awkward it is; the original places are in the layer 'frame'",
            )
        )


def check_distinct(rows: NDArray[Any], columns: NDArray[Any]) -> None:
    """Refuse two points in one pixel.

    Raises:
        NotProbabilitySample: When there are such.
    """
    places = np.column_stack([rows, columns])
    single, counts = np.unique(places, axis=0, return_counts=True)
    if (counts > 1).any():
        row, column = single[counts > 1][0]
        raise NotProbabilitySample(
            explain(
                f"{int((counts > 1).sum())} pixels hold more than one point",
                got=f"{int(counts.max())} points in the pixel at row {row}, column {column}",
                expected="points drawn without replacement, one a pixel",
                fix="were these digitised, or taken from training data? Draw a sample with sample-reference",
            )
        )


def check_not_clustered(rows: NDArray[Any], columns: NDArray[Any], population_px: int) -> None:
    """Refuse points that lie closer together than random points would.

    However patchy a class is, n points drawn at random from its N pixels have at most about
    n²/2 · (pixels within reach)/N pairs within reach of each other. Digitised training points have far more.

    Args:
        rows: (n,) pixel rows of the points of one stratum.
        columns: (n,) pixel columns.
        population_px: N, the pixels that they were drawn from.

    Raises:
        NotProbabilitySample: When the points come in clusters.
    """
    n = len(rows)
    if n < 2:
        return
    tree = cKDTree(np.column_stack([rows, columns]).astype(np.float64))
    for radius in _RADII_PX:
        reach = (2 * radius + 1) ** 2 - 1
        expected = n * (n - 1) / 2 * min(1.0, reach / max(population_px - 1, 1))
        pairs = (int(tree.count_neighbors(tree, radius + 0.5, p=np.inf)) - n) // 2
        if pairs > expected + 6 * np.sqrt(expected) + 3:
            raise NotProbabilitySample(
                explain(
                    "these points lie in clusters, as training pixels and digitised polygons do, so they are no "
                    "probability sample",
                    got=f"{pairs} pairs of points within {radius} px of each other",
                    expected=f"about {expected:.0f} at most from {n} random points among {population_px:,} pixels",
                    fix="draw a sample with sample-reference, and label that",
                )
            )


def _some(ids: NDArray[Any]) -> str:
    shown = ", ".join(map(str, ids[:_SHOWN].tolist()))
    return shown + (f" and {len(ids) - _SHOWN} more" if len(ids) > _SHOWN else "")
