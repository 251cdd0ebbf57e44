"""Which block goes to which part, so that each part gets its share."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import shapely
from numpy.typing import NDArray
from shapely.geometry.base import BaseGeometry

from geotoolbox.errors import BadInput, explain
from geotoolbox.sampling.areas import areas_of, project, to_pixels
from geotoolbox.sampling.inventory import inside_mask
from geotoolbox.sampling.protocol import Sampled
from geotoolbox.sampling.windows import blocks as grid_blocks
from geotoolbox.sampling.windows import window_query

__all__ = ["assign", "block_classes"]

_READ_PX = 512


def assign(amounts: NDArray[np.float64], fractions: Sequence[float], seed: int) -> list[int]:
    """Assign blocks to parts by their amounts (iterative stratification, Sechidis et al. 2011).

    Args:
        amounts: (blocks, kinds): what each block has of each kind (area, or pixels of each class).
        fractions: The wanted share of each part; a rest to 1 is left out.
        seed: What repeats the order.

    Returns:
        The part of each block, ``len(fractions)`` where it is left out.

    Example:
        >>> parts = assign(np.ones((10, 1)), [0.7, 0.2, 0.1], seed=1)
        >>> [parts.count(p) for p in range(3)]
        [7, 2, 1]
    """
    rng = np.random.default_rng(seed)
    rest = max(0.0, 1.0 - sum(fractions))
    shares = np.asarray([*fractions, *([rest] if rest > 1e-9 else [])])
    scaled = amounts / np.maximum(amounts.sum(axis=0), 1e-12)
    wanted = np.outer(shares / shares.sum(), scaled.sum(axis=0))
    # Blocks of a rare kind go first, while every part still has room; equals in random order.
    order = rng.permutation(len(amounts))
    order = order[np.argsort(-_rounded(scaled.max(axis=1))[order], kind="stable")]
    out = [0] * len(amounts)
    counts = np.zeros(len(shares), dtype=int)
    for place, block in enumerate(order):
        need = (wanted * scaled[block]).sum(axis=1)
        empty = np.flatnonzero(counts[: len(fractions)] == 0)
        left = len(order) - place
        choice = int(empty[0]) if len(empty) and left <= len(empty) else _neediest(need, wanted, rng)
        out[block] = choice
        counts[choice] += 1
        wanted[choice] -= scaled[block]
    return out


def _rounded(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Round to two digits, so that blocks that hardly differ are in random order."""
    with np.errstate(divide="ignore"):
        digits = np.where(values > 0, 10.0 ** np.floor(np.log10(np.maximum(values, 1e-300))), 1.0)
    return np.asarray(np.round(values / digits) * digits)


def _neediest(need: NDArray[np.float64], wanted: NDArray[np.float64], rng: np.random.Generator) -> int:
    best = np.flatnonzero(need >= need.max() - 1e-12)
    if len(best) > 1:
        room = wanted[best].sum(axis=1)
        best = best[room >= room.max() - 1e-12]
    return int(best[rng.integers(len(best))])


def block_classes(dataset: Sampled, blocks: Sequence[BaseGeometry], crs: str) -> NDArray[np.float64]:
    """Count the labelled pixels of each class in each block.

    Raises:
        BadInput: When the dataset has no labels.
    """
    if dataset.classes is None:
        raise BadInput(
            explain("stratify needs labels", got="a dataset without classes", fix="join labels: a & b")
        )
    counts = np.zeros((len(blocks), len(dataset.classes)))
    for area in areas_of(dataset):
        grid = area.scene.geobox
        shapes = [to_pixels(project(b, crs, grid.crs), grid) for b in blocks]
        tree = shapely.STRtree(shapes)
        for window in grid_blocks(grid, _READ_PX):
            outline = shapely.box(
                window.col, window.row, window.col + window.width, window.row + window.height
            )
            hit = tree.query(outline, predicate="intersects")
            if not len(hit):
                continue
            reading = dataset.read(window_query(area.scene, window, area.time))
            if reading.mask is None:
                continue
            valid = reading.valid if reading.valid.ndim == 2 else reading.valid.any(axis=0)
            for block in hit:
                labels = reading.mask[inside_mask(shapes[block], window) & valid & (reading.mask >= 0)]
                counts[block] += np.bincount(labels, minlength=counts.shape[1])
    return counts
