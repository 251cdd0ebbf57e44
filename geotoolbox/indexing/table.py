"""The rows of an index as columns: what a look-up needs at hand, and the rest made when a row is asked for."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, fields
from typing import Any, overload

import numpy as np
import shapely
from affine import Affine
from numpy.typing import NDArray

from geotoolbox.core.header import RasterHeader
from geotoolbox.core.query import TimeInterval
from geotoolbox.indexing.records import FileRecord, facts_from_json, time_from_seconds

__all__ = ["FOREVER_S", "RecordTable", "extents", "seconds_of"]

FOREVER_S = 1e12
"""What stands for an open end of an interval, in seconds since 1970."""


@dataclass(slots=True)
class RecordTable(Sequence[FileRecord]):
    """Records that are kept as columns; a record is made when it is asked for, and kept.

    Attributes:
        paths: The files.
        facts: What files made alike share, as JSON, each once.
        kinds: (n,) which of the facts a file has.
        tags: The files' own metadata and date as JSON, each once.
        tagged: (n,) which of the tags a file has.
        shapes: (n, 2) rows and columns.
        transforms: (n, 6) pixel corner to CRS coordinates.
        native: The footprints in the files' own CRS, as WKB.
        footprints: (n,) polygons in longitude and latitude.
        times: (n, 2) start and end in seconds since 1970, NaN where open.
        tag_times: The same, as the files themselves say.
        states: (n, 2) size in bytes and time of change in ns.
    """

    paths: list[str]
    facts: list[str]
    kinds: NDArray[np.int64]
    tags: list[str]
    tagged: NDArray[np.int64]
    shapes: NDArray[np.int64]
    transforms: NDArray[np.float64]
    native: Sequence[Any]
    footprints: NDArray[np.object_]
    times: NDArray[np.float64]
    tag_times: NDArray[np.float64]
    states: NDArray[np.int64]
    _made: dict[int, FileRecord] = field(default_factory=dict)
    _read: dict[int, dict[str, Any]] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.paths)

    @overload
    def __getitem__(self, index: int) -> FileRecord: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[FileRecord]: ...
    def __getitem__(self, index: int | slice) -> FileRecord | Sequence[FileRecord]:
        """Return a record, or several."""
        if isinstance(index, slice):
            return tuple(self[i] for i in range(*index.indices(len(self))))
        if not -len(self) <= index < len(self):
            raise IndexError(index)
        index %= len(self)
        found = self._made.get(index)
        if found is None:
            found = self._made[index] = self._record(index)
        return found

    def __iter__(self) -> Iterator[FileRecord]:
        return (self[i] for i in range(len(self)))

    def __getstate__(self) -> dict[str, Any]:
        """Send columns only: polygons as bytes, which is many times as fast."""
        kept = {f.name: getattr(self, f.name) for f in fields(self) if not f.name.startswith("_")}
        return {**kept, "footprints": shapely.to_wkb(self.footprints)}

    def __setstate__(self, state: dict[str, Any]) -> None:
        for name, value in state.items():
            setattr(self, name, value)
        self.footprints = np.asarray(shapely.from_wkb(state["footprints"]), dtype=object)
        self._made, self._read = {}, {}

    def crs(self, index: int) -> str | None:
        """Return a file's CRS."""
        found: str | None = self._shared(index)["crs"]
        return found

    def time(self, index: int) -> TimeInterval:
        """Return when a file is from."""
        return time_from_seconds(self.times[index])

    def natives(self) -> NDArray[np.object_]:
        """Return all footprints in the files' own CRSs."""
        return np.asarray(shapely.from_wkb(np.asarray(self.native, dtype=object)), dtype=object)

    def _shared(self, index: int) -> dict[str, Any]:
        kind = int(self.kinds[index])
        found = self._read.get(kind)
        if found is None:
            found = self._read[kind] = facts_from_json(self.facts[kind])
        return found

    def _record(self, index: int) -> FileRecord:
        tags = json.loads(self.tags[self.tagged[index]])
        (height, width), (size, changed) = self.shapes[index].tolist(), self.states[index].tolist()
        header = RasterHeader(
            path=self.paths[index], width=width, height=height,
            transform=Affine(*self.transforms[index].tolist()), tags=tags["tags"],
            datetime_tag=tags["date"], size_bytes=size, mtime_ns=changed, **self._shared(index),
        )  # fmt: skip
        native, footprint = shapely.from_wkb(_plain(self.native[index])), self.footprints[index]
        if shapely.equals_identical(native, footprint):
            native = footprint
        return FileRecord(header, native, footprint, self.time(index))


def _plain(value: Any) -> Any:
    return value.as_py() if hasattr(value, "as_py") else value


def seconds_of(time: TimeInterval) -> tuple[float, float]:
    """Return (start, end) in seconds since 1970, NaN where open."""
    nan = math.nan
    return (
        nan if time.start is None else time.start.timestamp(),
        nan if time.end is None else time.end.timestamp(),
    )


def extents(footprints: NDArray[np.object_]) -> NDArray[np.float64]:
    """Return the longer side of each footprint's box, in degrees; 0 for an empty one."""
    west, south, east, north = shapely.bounds(footprints).T
    with np.errstate(invalid="ignore"):
        longest = np.maximum(np.minimum(east - west, 360.0), north - south)
    return np.nan_to_num(longest, nan=0.0)
