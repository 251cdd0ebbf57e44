"""When each file is from: from the groups of its name's pattern, or from a table."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from datetime import date, datetime
from pathlib import Path
from typing import Any

from geotoolbox.core.query import TimeInterval
from geotoolbox.datasets.queries import moment
from geotoolbox.errors import BadInput, explain
from geotoolbox.indexing.times import interval_from_text

__all__ = ["Dates", "times_of"]

DateLike = str | date | datetime | TimeInterval | tuple[Any, Any]
Dates = Mapping[str, DateLike]


def times_of(
    files: Sequence[str], matches: Mapping[str, re.Match[str]] | None, date_format: str, dates: Dates | None
) -> dict[str, TimeInterval]:
    """Return the time of each file for which a table or its name tells one.

    Args:
        files: Paths.
        matches: Matches of their names, where a pattern was given.
        date_format: Of dates in names.
        dates: A table by path, file name or stem; it wins.

    Raises:
        BadInput: When a date does not fit its format, or the table misses a file.
    """
    found: dict[str, TimeInterval] = {}
    for path in files:
        if dates is not None:
            found[path] = _from_table(path, dates)
            continue
        named = matches[path].groupdict() if matches is not None else {}
        if named.get("date"):
            found[path] = interval_from_text(named["date"], date_format)
        elif named.get("start") and named.get("stop"):
            start = interval_from_text(named["start"], date_format)
            found[path] = TimeInterval(start.start, interval_from_text(named["stop"], date_format).end)
    return found


def _from_table(path: str, dates: Dates) -> TimeInterval:
    for key in (path, os.path.basename(path), Path(path).stem):
        if key in dates:
            return _interval(dates[key])
    raise BadInput(
        explain(
            "the table of dates misses a file",
            where=path,
            expected="its path, name or stem as a key",
            fix="add it, with (None, None) where the time does not matter",
        )
    )


def _interval(value: DateLike) -> TimeInterval:
    if isinstance(value, TimeInterval):
        return value
    if isinstance(value, tuple):
        return TimeInterval(moment(value[0]), moment(value[1]))
    whole_day = isinstance(value, date) and not isinstance(value, datetime)
    if whole_day or (isinstance(value, str) and len(value) == 10):
        return interval_from_text(str(value), "%Y-%m-%d")
    at = moment(value)
    return TimeInterval(at, at)
