"""How two layers disagree: in quantity, or in place (Pontius & Millones 2011); and kappa, for those who must.

All work on counts of pixels, and on the area shares that a probability sample gives. Never put the raw
counts of a stratified sample in: they describe the sample, not the map.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geotoolbox.errors import BadInput, explain

__all__ = ["KAPPA_NOTE", "Disagreement", "cohen_kappa", "disagreement"]

KAPPA_NOTE = (
    "Kappa compares with a map that was coloured at random, which nobody would make, and a worse map can have a "
    "higher kappa (Pontius & Millones 2011; Delgado & Tibau 2019; Foody 2020). Quantity and allocation "
    "disagreement say more: whether classes have the wrong area, or stand in the wrong place."
)
"""Why kappa is given on request only; stands beside it wherever it is shown."""


@dataclass(frozen=True, slots=True)
class Disagreement:
    """Disagreement of a map with its reference, as shares of the ground.

    Attributes:
        quantity: What no rearrangement of the map could mend: classes with too much or too little area.
        allocation: What rearranging the map would mend: classes in the wrong place.
        quantity_of: The same for each class (they sum to twice ``quantity``).
        allocation_of: The same for each class (they sum to twice ``allocation``).
    """

    quantity: float
    allocation: float
    quantity_of: tuple[float, ...]
    allocation_of: tuple[float, ...]

    @property
    def total(self) -> float:
        """One minus the overall accuracy."""
        return self.quantity + self.allocation


def disagreement(matrix: NDArray[Any]) -> Disagreement:
    """Split disagreement into quantity and allocation.

    Args:
        matrix: (K, K) counts or area shares; which of map and reference stands in the rows does not matter.

    Returns:
        The parts; NaN for an empty matrix, and for one class only, where nothing can be wrong.

    Raises:
        BadInput: When the matrix is not square or holds negative values.

    Example:
        >>> found = disagreement(np.array([[1, 14], [0, 1]]))
        >>> found.quantity, found.allocation
        (0.875, 0.0)
    """
    share = _shares(matrix)
    share = share if len(share) > 1 else np.full(share.shape, np.nan)
    rows, columns, right = share.sum(axis=1), share.sum(axis=0), np.diag(share)
    quantity = np.abs(rows - columns)
    allocation = 2 * np.minimum(rows - right, columns - right)
    return Disagreement(
        float(quantity.sum() / 2),
        float(allocation.sum() / 2),
        tuple(map(float, quantity)),
        tuple(map(float, allocation)),
    )


def cohen_kappa(matrix: NDArray[Any]) -> float:
    """Return Cohen's kappa; see :data:`KAPPA_NOTE` before using it.

    Args:
        matrix: (K, K) counts or area shares.

    Returns:
        Kappa; NaN when all is of one class, so that agreement by chance is complete.

    Example:
        >>> round(cohen_kappa(np.array([[0, 1], [1, 14]])), 6)
        -0.066667
    """
    share = _shares(matrix)
    chance = float(share.sum(axis=1) @ share.sum(axis=0))
    agreed = float(np.trace(share))
    return math.nan if math.isnan(chance) or chance >= 1 else (agreed - chance) / (1 - chance)


def _shares(matrix: NDArray[Any]) -> NDArray[np.float64]:
    table = np.asarray(matrix, dtype=np.float64)
    if table.ndim != 2 or table.shape[0] != table.shape[1]:
        raise BadInput(explain("the matrix is not square", got=table.shape, expected="(K, K)"))
    if (table < 0).any():
        raise BadInput(explain("the matrix holds negative values", got=float(np.nanmin(table))))
    total = table.sum()
    return table / total if total > 0 else np.full(table.shape, np.nan)
