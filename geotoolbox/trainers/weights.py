"""Weights of the classes in the loss, from how often they occur."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

__all__ = ["class_weights"]

_RARE = 1e-4  # a class rarer than this weighs as one of this share


def class_weights(counts: Sequence[int] | NDArray[np.int64], power: float) -> list[float] | None:
    """Return one weight a class, frequency to the minus ``power``, so that the mean over pixels is 1.

    Args:
        counts: Labelled training pixels of each class.
        power: 0 gives no weights, 1 makes all classes count alike.

    Returns:
        A weight for each class, 0 for one that does not occur; None for ``power`` 0.

    Example:
        >>> class_weights([80, 20], 1.0)
        [0.625, 2.5]
    """
    if power == 0:
        return None
    share = np.asarray(counts, dtype=np.float64) / max(float(np.sum(counts)), 1.0)
    weights = np.where(share > 0, np.maximum(share, _RARE) ** -power, 0.0)
    mean = float((weights * share).sum())
    return [float(w) for w in weights / (mean or 1.0)]
