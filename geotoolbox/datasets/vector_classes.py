"""From a column of a table to class indices: each problem by its name, never class 0 by accident."""

from __future__ import annotations

import logging
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from geotoolbox.core.classes import IGNORE_INDEX, ClassInfo, ClassTable
from geotoolbox.datasets.labels import ClassesLike, as_table
from geotoolbox.errors import BadLabels, explain

__all__ = ["classes_of_column"]

_logger = logging.getLogger(__name__)
_MOST_CLASSES = 1000


def classes_of_column(
    column: Any, classes: ClassesLike | None, *, background: str | None, where: str
) -> tuple[ClassTable, NDArray[np.int64]]:
    """Return the class table and the class index of each row.

    Text makes classes with the values 1, 2, … in alphabetical order; whole numbers are the values themselves.
    A row without a class gets ``IGNORE_INDEX`` and is told; so does a row whose class is not in the table given.

    Args:
        column: A pandas Series of text or numbers.
        classes: The classes, where they are known beforehand.
        background: A class for what is not labelled; joins the table (value 0 where that is free).
        where: The file and column, for messages.

    Raises:
        BadLabels: When values are neither text nor whole numbers, or none is left.
    """
    empty = column.isna().to_numpy()
    text = column.dtype == object or isinstance(column.dtype, (pd.StringDtype, pd.CategoricalDtype))
    if text:
        words = column.astype("string").str.strip()
        empty = empty | (words.fillna("") == "").to_numpy()
        keys: list[Any] = [None if e else str(w) for w, e in zip(words, empty, strict=True)]
    else:
        keys = _whole_numbers(column, empty, where)
    if empty.any():
        rows = np.flatnonzero(empty)
        _logger.warning(
            "%s: %d of %d features have no class (first: row %d); their area is ignored, it is no class",
            where, len(rows), len(empty), rows[0],
        )  # fmt: skip
    table = as_table(classes) if classes is not None else _table(keys, text, where)
    if background is not None and background not in table.names:
        free = 0 if 0 not in table.values else max(table.values) + 1
        table = ClassTable((ClassInfo(free, background), *table.classes))
    return table, _indices(keys, table, text, where)


def _whole_numbers(column: Any, empty: NDArray[np.bool_], where: str) -> list[Any]:
    try:
        numbers = column.astype("float64").to_numpy()
    except (TypeError, ValueError) as error:
        raise BadLabels(
            explain("classes are text or whole numbers", where=where, got=str(column.dtype))
        ) from error
    broken = ~empty & (~np.isfinite(numbers) | (numbers != np.rint(numbers)))
    if broken.any():
        raise BadLabels(
            explain(
                "classes are text or whole numbers",
                where=where,
                got=f"{numbers[broken][0]} in row {np.flatnonzero(broken)[0]}",
                fix="choose another column, or make classes of these numbers first",
            )
        )
    return [None if e else int(v) for v, e in zip(column, empty, strict=True)]


def _table(keys: list[Any], text: bool, where: str) -> ClassTable:
    found = sorted({k for k in keys if k is not None})
    if not found or len(found) > _MOST_CLASSES:
        raise BadLabels(
            explain(
                "this column gives no usable classes",
                where=where,
                got=f"{len(found)} different values",
                expected=f"1 to {_MOST_CLASSES}",
                fix="choose another column, or pass classes=",
            )
        )
    if text:
        return ClassTable(tuple(ClassInfo(i, n) for i, n in enumerate(found, start=1)))
    return ClassTable.from_values(found)


def _indices(keys: list[Any], table: ClassTable, text: bool, where: str) -> NDArray[np.int64]:
    known: dict[Any, int] = {n: i for i, n in enumerate(table.names)}
    if not text:
        known = {v: i for i, v in enumerate(table.values)}
    elif not any(k in known for k in keys if k is not None):
        known |= {str(v): i for i, v in enumerate(table.values)}
    indices = np.array([known.get(k, IGNORE_INDEX) for k in keys], dtype=np.int64)
    strangers = {k for k in keys if k is not None and k not in known}
    if strangers:
        count = sum(k in strangers for k in keys)
        _logger.warning(
            "%s: %d features are of no class in the table and are ignored: %s",
            where,
            count,
            sorted(strangers, key=str)[:10],
        )
    if not len(indices) or (indices == IGNORE_INDEX).all():
        raise BadLabels(
            explain(
                "no feature has a class of the table",
                where=where,
                got=", ".join(map(str, sorted(strangers, key=str)[:10])) or "no values",
                expected=", ".join(table.names[:10]),
                fix="check classes= and the column",
            )
        )
    return indices
