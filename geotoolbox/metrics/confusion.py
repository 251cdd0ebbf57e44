"""Confusion matrices: counted in one pass, or streamed over scenes of any size."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from geotoolbox.errors import BadInput, explain

__all__ = ["ConfusionMatrix", "confusion_matrix"]

_CHUNK = 1 << 20  # pixels a step: keeps the temporary arrays in the processor's cache


def confusion_matrix(
    truth: NDArray[Any],
    predicted: NDArray[Any],
    num_classes: int,
    *,
    valid: NDArray[np.bool_] | None = None,
) -> NDArray[np.int64]:
    """Count how often class j was predicted where class i is true.

    Args:
        truth: Class indices of any shape; anything outside 0 … ``num_classes - 1`` is not counted.
        predicted: Class indices of the same shape; the same rule.
        num_classes: How many classes there are.
        valid: Pixels that count, of the same shape; all when None.

    Returns:
        (K, K) int64; row = true class, column = predicted class.

    Raises:
        BadInput: When the shapes differ, or the arrays do not hold whole numbers.

    Example:
        >>> confusion_matrix(np.array([0, 0, 1, -100]), np.array([0, 1, 1, 1]), 2).tolist()
        [[1, 1], [0, 1]]
    """
    if num_classes < 1:
        raise BadInput(explain("a confusion matrix needs classes", got=num_classes, expected="1 or more"))
    shapes = [a.shape for a in (truth, predicted, valid) if a is not None]
    if len(set(shapes)) > 1:
        raise BadInput(explain("truth, prediction and valid differ in shape", got=shapes))
    for name, array in (("truth", truth), ("predicted", predicted)):
        if array.dtype.kind not in "iu":
            raise BadInput(
                explain(f"{name} holds no class indices", got=array.dtype, expected="whole numbers")
            )
    counts = np.zeros(num_classes * num_classes, dtype=np.int64)
    flat_truth, flat_predicted = truth.reshape(-1), predicted.reshape(-1)
    flat_valid = None if valid is None else valid.reshape(-1)
    for start in range(0, flat_truth.size, _CHUNK):
        part = slice(start, start + _CHUNK)
        inside = None if flat_valid is None else flat_valid[part]
        counts += _count(flat_truth[part], flat_predicted[part], num_classes, inside)
    return counts.reshape(num_classes, num_classes)


def _count(
    truth: NDArray[Any], predicted: NDArray[Any], k: int, valid: NDArray[np.bool_] | None
) -> NDArray[np.int64]:
    keep = (truth >= 0) & (truth < k) & (predicted >= 0) & (predicted < k)
    if valid is not None:
        keep &= valid
    if keep.all():
        cell = truth.astype(np.int64) * k + predicted
    else:
        cell = truth[keep].astype(np.int64) * k + predicted[keep]
    return np.bincount(cell.astype(np.intp, copy=False), minlength=k * k).astype(np.int64, copy=False)


class ConfusionMatrix:
    """A confusion matrix that is filled piece by piece, in bounded memory.

    Attributes:
        counts: (K, K) int64; row = true class, column = predicted class.
        unlabelled: Pixels with a prediction, but without a true class.
        unmapped: Pixels with a true class, but without a prediction.

    Example:
        >>> matrix = ConfusionMatrix(2)
        >>> matrix.update(np.array([0, 1, -100]), np.array([0, 0, 1]))
        >>> matrix.counts.tolist(), matrix.pixels, matrix.unlabelled
        ([[1, 0], [1, 0]], 2, 1)
    """

    __slots__ = ("counts", "unlabelled", "unmapped")

    def __init__(self, num_classes: int, counts: NDArray[np.int64] | None = None) -> None:
        if counts is None:
            counts = np.zeros((num_classes, num_classes), dtype=np.int64)
        if counts.shape != (num_classes, num_classes):
            raise BadInput(
                explain("counts are not square", got=counts.shape, expected=(num_classes, num_classes))
            )
        self.counts = counts.astype(np.int64)
        self.unlabelled = 0
        self.unmapped = 0

    @property
    def num_classes(self) -> int:
        """How many classes are counted."""
        return len(self.counts)

    @property
    def pixels(self) -> int:
        """How many pixels have been counted."""
        return int(self.counts.sum())

    def update(
        self, truth: NDArray[Any], predicted: NDArray[Any], valid: NDArray[np.bool_] | None = None
    ) -> None:
        """Add pixels; shapes and rules as in :func:`confusion_matrix`."""
        self.counts += confusion_matrix(truth, predicted, self.num_classes, valid=valid)
        k = self.num_classes
        labelled = (truth >= 0) & (truth < k)
        mapped = (predicted >= 0) & (predicted < k)
        if valid is not None:
            labelled, mapped = labelled & valid, mapped & valid
        self.unlabelled += int(np.count_nonzero(mapped & ~labelled))
        self.unmapped += int(np.count_nonzero(labelled & ~mapped))

    def __add__(self, other: ConfusionMatrix) -> ConfusionMatrix:
        """Return the sum of two matrices of the same classes; neither is changed."""
        if self.num_classes != other.num_classes:
            raise BadInput(
                explain("matrices of different classes", got=other.num_classes, expected=self.num_classes)
            )
        total = ConfusionMatrix(self.num_classes, self.counts + other.counts)
        total.unlabelled = self.unlabelled + other.unlabelled
        total.unmapped = self.unmapped + other.unmapped
        return total

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, ConfusionMatrix):
            return NotImplemented
        same = (self.unlabelled, self.unmapped) == (other.unlabelled, other.unmapped)
        return same and np.array_equal(self.counts, other.counts)

    __hash__ = None  # type: ignore[assignment]  # it changes while it is filled

    def __repr__(self) -> str:
        return f"ConfusionMatrix({self.num_classes} classes, {self.pixels:,} pixels)"
