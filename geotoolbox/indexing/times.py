"""Dates of files: from their names and from their tags."""

from __future__ import annotations

import calendar
import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

from geotoolbox.core.query import ALWAYS, TimeInterval
from geotoolbox.errors import BadInput, explain

__all__ = ["interval_from_tags", "interval_from_text"]

_TAGS = ("ACQUISITIONDATETIME", "ACQUISITION_DATE", "DATE_ACQUIRED", "SENSING_TIME")
_FORMATS = ("%Y:%m:%d %H:%M:%S", "%Y-%m-%dT%H:%M:%S", "%Y-%m-%d", "%Y%m%d")
_TICK = timedelta(microseconds=1)


def interval_from_text(text: str, date_format: str = "%Y%m%d") -> TimeInterval:
    """Return the interval that a date stands for: a day, a month, a year or a moment, as the format says.

    Args:
        text: The date as it stands in the file name.
        date_format: As for :func:`datetime.datetime.strptime`.

    Raises:
        BadInput: When the text does not fit the format.

    Example:
        >>> interval_from_text("201602", "%Y%m").end.isoformat()
        '2016-02-29T23:59:59.999999+00:00'
    """
    try:
        start = datetime.strptime(text, date_format)
    except ValueError as error:
        raise BadInput(
            explain(
                "a date does not fit its format",
                got=repr(text),
                expected=f"a date like {date_format!r}",
                fix="pass date_format=, or dates= as a table",
            )
        ) from error
    start = start.replace(tzinfo=start.tzinfo or UTC).astimezone(UTC)
    return TimeInterval(start, start + _length(start, date_format) - _TICK)


def _length(start: datetime, date_format: str) -> timedelta:
    names = set(re.findall(r"%-?([a-zA-Z])", date_format))
    if names & set("fsS"):
        return timedelta(seconds=1)
    if names & set("MHIcXT"):
        return timedelta(minutes=1) if "M" in names else timedelta(hours=1)
    if names & set("djxuwD"):
        return timedelta(days=1)
    if names & set("mbB"):
        return timedelta(days=calendar.monthrange(start.year, start.month)[1])
    return timedelta(days=366 if calendar.isleap(start.year) else 365)


def interval_from_tags(tags: Mapping[str, str]) -> TimeInterval:
    """Return the day in a file's metadata, or always when there is none.

    ``TIFFTAG_DATETIME`` does not count: more often than not it is when the file was written.
    """
    upper = {k.upper(): v for k, v in tags.items()}
    for name in _TAGS:
        text = upper.get(name, "").strip()
        if not text:
            continue
        for date_format in _FORMATS:
            try:
                found = datetime.strptime(text[:19].rstrip("Z"), date_format)
            except ValueError:
                continue
            day = datetime(found.year, found.month, found.day, tzinfo=UTC)
            return TimeInterval(day, day + timedelta(days=1) - _TICK)
    return ALWAYS
