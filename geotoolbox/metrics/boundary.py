"""Boundary IoU (Cheng et al. 2021): whether edges lie where they should, within a width set in metres."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import maximum_filter1d, minimum_filter1d

from geotoolbox.errors import BadInput, explain

__all__ = ["BoundaryCounts", "BoundaryScores", "boundary_ring"]


def boundary_ring(
    labels: NDArray[Any], width_px: int, *, num_classes: int, image_border: bool = False
) -> NDArray[np.bool_]:
    """Return the pixels of each class that lie within a distance of another class.

    It is the mask of each class less its erosion by ``width_px`` steps of a 3 × 3 element, for all classes
    at once. Ground without a class is not known, and makes no boundary.

    Args:
        labels: (H, W) class indices; anything outside 0 … K-1 is not known.
        width_px: The width of the ring, in pixels.
        num_classes: K.
        image_border: Whether the border of the array is a boundary, too, as in the paper; on a window of a
            scene it is none.

    Returns:
        (H, W) bool; false where no class is known.

    Example:
        >>> square = np.zeros((9, 9), dtype=int)
        >>> square[2:7, 2:7] = 1
        >>> int((boundary_ring(square, 1, num_classes=2) & (square == 1)).sum())
        16
    """
    if width_px < 1:
        raise BadInput(explain("a boundary's width is at least one pixel", got=width_px))
    known = (labels >= 0) & (labels < num_classes)
    dtype = np.uint8 if num_classes < 255 else np.int32
    low = np.where(known, labels, np.iinfo(dtype).max).astype(dtype)
    high = np.where(known, labels + 1, 0).astype(dtype)
    size = 2 * width_px + 1
    for axis in (0, 1):
        low = minimum_filter1d(low, size, axis=axis, mode="nearest")
        high = maximum_filter1d(high, size, axis=axis, mode="nearest")
    ring: NDArray[np.bool_] = known & (low.astype(np.int64) + 1 != high.astype(np.int64))
    if image_border:
        rim = np.ones(labels.shape, dtype=bool)
        rim[width_px:-width_px, width_px:-width_px] = False
        ring |= known & rim
    return ring


@dataclass(frozen=True, slots=True)
class BoundaryScores:
    """How well boundaries agree.

    Attributes:
        names: The K class names.
        width_px: The width of the rings, in pixels.
        width_m: The same in metres; NaN where not known.
        both: Pixels in both rings, by class.
        reference: Pixels in the ring of the reference.
        mapped: Pixels in the ring of the map.
    """

    names: tuple[str, ...]
    width_px: int
    width_m: float
    both: tuple[int, ...]
    reference: tuple[int, ...]
    mapped: tuple[int, ...]

    @property
    def iou(self) -> tuple[float, ...]:
        """Boundary IoU of each class; NaN where the reference has no boundary of it."""
        rows = zip(self.both, self.reference, self.mapped, strict=True)
        return tuple(b / (r + m - b) if r else float("nan") for b, r, m in rows)

    @property
    def mean(self) -> float:
        """The mean over the classes with a boundary in the reference."""
        found = [v for v in self.iou if not np.isnan(v)]
        return float(np.mean(found)) if found else float("nan")

    def to_json(self) -> dict[str, Any]:
        """Return plain data; NaN becomes null."""
        rows = zip(self.names, self.iou, self.both, self.reference, self.mapped, strict=True)
        return {
            "width_px": self.width_px,
            "width_m": None if np.isnan(self.width_m) else self.width_m,
            "mean": None if np.isnan(self.mean) else self.mean,
            "classes": [
                {"name": n, "boundary_iou": None if np.isnan(v) else v, "both": b, "reference": r, "map": m}
                for n, v, b, r, m in rows
            ],
        }


class BoundaryCounts:
    """Counts rings piece by piece; each piece comes with context of the ring's width around its core.

    Args:
        names: The K class names.
        width_px: The width of the rings, in pixels.
        width_m: The same in metres, for the record.

    Example:
        >>> truth = np.zeros((100, 100), dtype=int)
        >>> truth[30:70, 30:70] = 1
        >>> counts = BoundaryCounts(("land", "house"), 3)
        >>> counts.update(truth, np.roll(truth, 2, axis=1))
        >>> counts.result().iou[1]
        0.5
    """

    def __init__(self, names: Sequence[str], width_px: int, width_m: float = float("nan")) -> None:
        self.names, self.width_px, self.width_m = tuple(names), width_px, width_m
        self._counts = np.zeros((3, len(self.names)), dtype=np.int64)

    def update(
        self,
        truth: NDArray[Any],
        predicted: NDArray[Any],
        core: tuple[slice, slice] = (slice(None), slice(None)),
    ) -> None:
        """Add a piece.

        Args:
            truth: (H, W) class indices, with at least ``width_px`` pixels of context around the core (except
                where the scene ends).
            predicted: (H, W) class indices; pixels without both classes do not count, and make no boundary.
            core: What of the piece is counted.
        """
        if truth.shape != predicted.shape:
            raise BadInput(
                explain("truth and prediction differ in shape", got=(truth.shape, predicted.shape))
            )
        k = len(self.names)
        known = (truth >= 0) & (truth < k) & (predicted >= 0) & (predicted < k)
        here, rings = known[core], []
        for labels in (truth, predicted):
            ring = boundary_ring(np.where(known, labels, k), self.width_px, num_classes=k)[core]
            rings.append(np.where(ring & here, labels[core], k))
        joint = np.bincount((rings[0].astype(np.int64) * (k + 1) + rings[1]).ravel(), minlength=(k + 1) ** 2)
        table = joint.reshape(k + 1, k + 1)
        self._counts += np.stack([np.diag(table)[:k], table.sum(axis=1)[:k], table.sum(axis=0)[:k]])

    def result(self) -> BoundaryScores:
        """Return the scores of what was added."""
        both, reference, mapped = (tuple(map(int, row)) for row in self._counts)
        return BoundaryScores(self.names, self.width_px, self.width_m, both, reference, mapped)
