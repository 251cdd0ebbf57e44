"""One row of the index: what a file says about itself, where its valid data is, and when."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Sequence
from dataclasses import dataclass, fields
from datetime import UTC, datetime
from operator import attrgetter
from typing import Any

from shapely.geometry.base import BaseGeometry

from geotoolbox.core.header import RasterHeader
from geotoolbox.core.query import ALWAYS, TimeInterval
from geotoolbox.core.sniffing import local_path
from geotoolbox.errors import CannotRead, explain

__all__ = ["FileRecord", "facts_from_json", "facts_to_json", "file_state", "time_from_seconds"]


@dataclass(frozen=True, slots=True)
class FileRecord:
    """What the index knows about one file.

    Attributes:
        header: The header's facts, file size and time of change among them.
        native_footprint: The polygon of valid data in the file's own CRS.
        footprint: The same in longitude and latitude (EPSG:4326), cut at the antimeridian.
        time: When the data is from.
    """

    header: RasterHeader
    native_footprint: BaseGeometry
    footprint: BaseGeometry
    time: TimeInterval = ALWAYS

    @property
    def path(self) -> str:
        """The path of the file."""
        return self.header.path

    def check_unchanged(self) -> None:
        """Raise :class:`CannotRead` when the file is gone or was replaced after indexing."""
        state = file_state(self.path)
        if state is None or state == (self.header.size_bytes, self.header.mtime_ns):
            return
        raise CannotRead(
            explain(
                "the file was replaced after it was indexed",
                where=self.path,
                got=f"{state[0]:,} bytes",
                expected=f"{self.header.size_bytes:,} bytes and the same time of change",
                fix="make the dataset again (its index refreshes itself)",
            )
        )


def file_state(path: str) -> tuple[int, int] | None:
    """Return (size in bytes, time of change in ns) of a local file; None for a remote one.

    Raises:
        CannotRead: When the file is gone.
    """
    local = local_path(path)
    if local is None:
        return None
    try:
        facts = os.stat(local)
    except (OSError, ValueError) as error:
        raise CannotRead(
            explain(
                "the file is gone or cannot be reached",
                where=path,
                got=getattr(error, "strerror", None) or str(error),
                fix="put it back, or make the dataset without it",
            )
        ) from error
    return facts.st_size, facts.st_mtime_ns


_OWN = ("path", "width", "height", "transform", "tags", "datetime_tag", "size_bytes", "mtime_ns")


_SHARED = tuple(f.name for f in fields(RasterHeader) if f.name not in _OWN)
_shared_values = attrgetter(*_SHARED)


def facts_to_json(headers: Sequence[RasterHeader]) -> list[str]:
    """Return as JSON what files made alike share: all of each header but place, size, time and tags."""
    texts: dict[
        tuple[int, ...], str
    ] = {}  # by the very objects, which headers of files made alike have in common
    found = []
    for header in headers:
        values = _shared_values(header)
        which = tuple(map(id, values))
        text = texts.get(which)
        if text is None:
            plain = dict(zip(_SHARED, values, strict=True))
            text = texts[which] = json.dumps(plain, ensure_ascii=False, allow_nan=True)
        found.append(text)
    return found


def facts_from_json(text: str) -> dict[str, Any]:
    """Read what :func:`facts_to_json` wrote, as arguments of :class:`RasterHeader`."""
    plain: dict[str, Any] = json.loads(text)
    for name in ("colormap", "category_names"):
        if plain[name] is not None:
            plain[name] = {int(k): tuple(v) if isinstance(v, list) else v for k, v in plain[name].items()}
    plain["mask_flags"] = [tuple(f) for f in plain["mask_flags"]]
    return {k: tuple(v) if isinstance(v, list) else v for k, v in plain.items()}


def time_from_seconds(pair: Sequence[float | None]) -> TimeInterval:
    """Return an interval from (start, end) in seconds since 1970; None is open."""
    start, end = (None if s is None or math.isnan(s) else datetime.fromtimestamp(s, UTC) for s in pair)
    return TimeInterval(start, end)
