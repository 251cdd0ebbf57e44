"""Folds by nearest-neighbour-distance matching (kNNDM; Linnenbrink et al. 2024, GMD 17:5897)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from geotoolbox.errors import BadInput, explain

__all__ = ["MatchedFolds", "fold_distances", "match_folds"]

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

_MOST_POINTS = 5000
_TRIES = 100


@dataclass(frozen=True, slots=True, eq=False)
class MatchedFolds:
    """Folds whose test-to-training distances are like those from the target to all training points.

    Attributes:
        folds: (N,) the fold of each training point, from 0.
        clusters: Into how many groups of neighbours points were put before they were dealt; N when each is one.
        distance: Wasserstein distance between the two distributions, in units of the coordinates.
        distance_random: The same for folds drawn at random.
        is_random: Whether labels lie so that random folds are right.
    """

    folds: Ints
    clusters: int
    distance: float
    distance_random: float
    is_random: bool


def fold_distances(points: Floats, folds: Ints) -> Floats:
    """Return each point's distance to the nearest of another fold.

    Example:
        >>> fold_distances(np.array([[0.0, 0], [1, 0], [5, 0]]), np.array([0, 0, 1])).tolist()
        [5.0, 4.0, 4.0]
    """
    from scipy.spatial import cKDTree  # scipy's parts are slow to import, and few need them

    found = np.full(len(points), np.inf)
    for fold in np.unique(folds):
        mine = folds == fold
        if not mine.all():
            found[mine], _ = cKDTree(points[~mine]).query(points[mine])
    return found


def match_folds(
    points: Floats, target: Floats, count: int, *, largest_share: float | None = None, seed: int = 0
) -> MatchedFolds:
    """Deal points to folds so that the folds ask what the map will ask.

    Where labels are spread over the target as at random, folds are random. Else neighbours are clustered
    (Ward), clusters dealt to folds in the order of the first principal component, and the number of clusters
    taken whose distances match best (random folds, where these do).

    Args:
        points: (N, 2) places of training data, in metres.
        target: (M, 2) places that will be predicted.
        count: How many folds.
        largest_share: The most that one fold may hold; by default half, and 0.6 of two folds.
        seed: What repeats random folds.

    Raises:
        BadInput: When there are fewer points than folds or too many, or no number of clusters fits.
    """
    from scipy.spatial import cKDTree
    from scipy.stats import ks_2samp, wasserstein_distance

    size = len(points)
    if not 2 <= count <= size or size > _MOST_POINTS or not len(target):
        raise BadInput(
            explain(
                "distances cannot be matched",
                got=f"{size} points, {count} folds, {len(target)} target points",
                expected=f"2 folds or more, at most {_MOST_POINTS} points",
                fix="deal larger blocks",
            )
        )
    wanted, _ = cKDTree(points).query(target)
    own, _ = cKDTree(points).query(points, k=2)
    drawn = np.random.default_rng(seed).permutation(np.arange(size) % count).astype(np.int64)
    random_gap = float(wasserstein_distance(fold_distances(points, drawn), wanted))
    if ks_2samp(own[:, 1], wanted, alternative="greater").pvalue >= 0.05:
        return MatchedFolds(drawn, size, random_gap, random_gap, True)
    largest_share = max(0.5, 1.2 / count) if largest_share is None else largest_share
    best = _best_clusters(points, wanted, count, largest_share)
    if best is None:
        raise BadInput(
            explain(
                "one cluster of labels holds more than a fold may",
                expected=f"at most {largest_share:.0%} of the blocks in one fold",
                fix="deal smaller blocks or use blocks instead of matched distances",
            )
        )
    if best[2] >= random_gap:
        return MatchedFolds(drawn, size, random_gap, random_gap, True)
    return MatchedFolds(*best, random_gap, False)


def _best_clusters(
    points: Floats, wanted: Floats, count: int, largest_share: float
) -> tuple[Ints, int, float] | None:
    from scipy.cluster.hierarchy import fcluster, linkage
    from scipy.stats import wasserstein_distance

    tree = linkage(points, method="ward")
    centred = points - points.mean(axis=0)
    axis = np.linalg.svd(centred, full_matrices=False)[2][0]
    along = centred @ (axis * np.sign(axis[np.argmax(np.abs(axis))]))
    top = max(count, len(points) - 2)
    best: tuple[Ints, int, float] | None = None
    for number in np.unique(np.round(np.geomspace(count, top, _TRIES)).astype(int)):
        clusters = fcluster(tree, number, criterion="maxclust") - 1
        folds = _deal(clusters.astype(np.int64), along, count, largest_share)
        if folds is None:
            continue
        gap = float(wasserstein_distance(fold_distances(points, folds), wanted))
        if best is None or gap < best[2]:
            best = folds, int(clusters.max()) + 1, gap
    return best


def _deal(clusters: Ints, along: Floats, count: int, largest_share: float) -> Ints | None:
    """Deal clusters to folds in turn, from one end to the other; big ones get a fold of their own."""
    sizes = np.bincount(clusters)
    middles = np.bincount(clusters, weights=along) / sizes
    order = np.argsort(middles, kind="stable")
    big = [c for c in order if sizes[c] >= largest_share * len(clusters)]
    small = [c for c in order if sizes[c] < largest_share * len(clusters)]
    if len(big) >= count or len(sizes) < count:
        return None
    fold_of = np.zeros(len(sizes), dtype=np.int64)
    fold_of[big] = np.arange(len(big))
    fold_of[small] = len(big) + np.arange(len(small)) % (count - len(big))
    folds = fold_of[clusters]
    shares = np.bincount(folds, minlength=count) / len(clusters)
    return None if shares.max() > largest_share or shares.min() == 0 else folds
