"""A confusion matrix that answers clicks."""

from __future__ import annotations

from typing import Any

import numpy as np
import traitlets as t
from numpy.typing import NDArray

from geotoolbox.core.classes import ClassTable
from geotoolbox.errors import BadInput, explain
from geotoolbox_widgets.base import EsmWidget, script, style

__all__ = ["ConfusionMatrixTable"]


class ConfusionMatrixTable(EsmWidget):
    """A confusion matrix as a table; row = reference, column = map.

    A click, Enter or Space on a cell selects it, and once more lets it go; arrow keys walk.

    Args:
        counts: (K, K) pixels; row = true class, column = mapped class.
        classes: The K classes.

    Attributes:
        cell: The selected (reference, map) indices, or empty.
        normalize: Shares of each row (``truth``), of each column (``predicted``), or counts (``none``).

    Raises:
        BadInput: When the matrix does not fit the classes.

    Example:
        >>> table = ConfusionMatrixTable(np.array([[3, 1], [0, 2]]), ClassTable.from_names(["a", "b"]))
        >>> table.counts, table.cell
        ([[3, 1], [0, 2]], ())
    """

    _esm = script("matrix.js")
    _css = style("matrix.css")

    names = t.List(t.Unicode()).tag(sync=True)
    colors: t.List[Any] = t.List().tag(sync=True)
    counts: t.List[Any] = t.List().tag(sync=True)
    normalize = t.Enum(("truth", "predicted", "none"), "truth").tag(sync=True)
    cell = t.Tuple(default_value=()).tag(sync=True)

    def __init__(self, counts: NDArray[Any] | None = None, classes: ClassTable | None = None) -> None:
        super().__init__()
        if counts is not None and classes is not None:
            self.show(counts, classes)

    def show(self, counts: NDArray[Any], classes: ClassTable) -> None:
        """Show another matrix; nothing is selected then."""
        k = len(classes)
        if counts.shape != (k, k):
            raise BadInput(explain("the matrix does not fit the classes", got=counts.shape, expected=(k, k)))
        with self.hold_sync():
            self.cell = ()
            self.names = list(classes.names)
            self.colors = [list(map(int, c)) for c in classes.colors]
            self.counts = np.asarray(counts, dtype=np.int64).tolist()

    @t.validate("cell")
    def _fits(self, proposal: Any) -> tuple[int, ...]:
        cell = tuple(int(v) for v in proposal["value"])
        k = len(self.names)
        if cell and (len(cell) != 2 or not all(0 <= v < k for v in cell)):
            raise t.TraitError(f"no such cell: {cell}; expected two indices below {k}, or nothing")
        return cell
