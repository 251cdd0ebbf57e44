"""The index: which files cover a place and a time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import shapely
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox
from rtree import index as rtree_index
from rtree.exceptions import RTreeError
from shapely.geometry import box
from shapely.geometry.base import BaseGeometry

from geotoolbox.core.query import ALWAYS, TimeInterval
from geotoolbox.indexing.geometry import lonlat_outline
from geotoolbox.indexing.records import FileRecord
from geotoolbox.indexing.store import load_records, save_records
from geotoolbox.indexing.table import FOREVER_S, RecordTable, extents, seconds_of

__all__ = ["FileIndex"]

# Edges are straight lines between exactly transformed points; these shares of the extent bound their error.
_QUERY_SLACK, _RECORD_SLACK = 0.01, 2e-4


class FileIndex:
    """Files by place and time: an R-tree over x, y and t, then the true footprints.

    The index never changes; :func:`~geotoolbox.indexing.build.refresh_index` makes a new one.

    Args:
        records: One record a file, in the order in which they win.
    """

    def __init__(self, records: Sequence[FileRecord]) -> None:
        self.records: Sequence[FileRecord] = records if isinstance(records, RecordTable) else tuple(records)
        self._columns: _Columns | None = None

    def __len__(self) -> int:
        return len(self.records)

    def __iter__(self) -> Iterator[FileRecord]:
        return iter(self.records)

    def __getstate__(self) -> Sequence[FileRecord]:
        return self.records

    def __setstate__(self, state: Sequence[FileRecord]) -> None:
        self.records, self._columns = state, None

    def query(
        self,
        place: GeoBox | BaseGeometry | tuple[float, float, float, float] | None = None,
        time: TimeInterval = ALWAYS,
    ) -> tuple[FileRecord, ...]:
        """Return the records whose valid data meets a place and a time, in the order of the index.

        Args:
            place: A grid; a polygon or a box (west, south, east, north) in longitude and latitude; None is
                everywhere. A box with west > east goes across the antimeridian.
            time: The interval; a file without a time is there always.
        """
        return tuple(self.records[i] for i in self.find(place, time))

    def find(
        self,
        place: GeoBox | BaseGeometry | tuple[float, float, float, float] | None = None,
        time: TimeInterval = ALWAYS,
    ) -> tuple[int, ...]:
        """As :meth:`query`, but return the positions of the records."""
        polygon = _polygon(place)
        columns = self._at_hand()
        if polygon is None:
            return tuple(np.flatnonzero(columns.overlap(slice(None), time)).tolist())
        if polygon.is_empty or not self.records:
            return ()
        slack = _extent(polygon) * _QUERY_SLACK
        reach = slack + columns.slack
        start, end = _ends(time)
        near: set[int] = set()
        parts = shapely.get_parts(polygon) if polygon.geom_type == "MultiPolygon" else (polygon,)
        for part in parts:
            west, south, east, north = part.bounds
            bounds = (west - reach, south - reach, start, east + reach, north + reach, end)
            near.update(columns.tree.intersection(bounds))
        if not near:
            return ()
        found = np.array(sorted(near))
        within = shapely.dwithin(
            columns.footprints[found], polygon, slack + columns.extents[found] * _RECORD_SLACK
        )
        return tuple(found[within & columns.overlap(found, time)].tolist())

    def _at_hand(self) -> _Columns:
        if self._columns is None:
            self._columns = _Columns.of(self.records)
        return self._columns

    def save(self, path: Path) -> None:
        """Write the index as GeoParquet (footprints in EPSG:4326), whole or not at all.

        Raises:
            CannotWrite: When the folder cannot be written to.
        """
        save_records(self.records, path)

    @classmethod
    def open(cls, path: Path) -> FileIndex:
        """Read an index that :meth:`save` wrote.

        Raises:
            CannotRead: When the file is missing or is no such index.
        """
        return cls(load_records(path))


@dataclass(frozen=True, slots=True)
class _Columns:
    """What a look-up needs: footprints, their extents, times (n, 2) with far ends for open ones, and the tree."""

    footprints: NDArray[np.object_]
    extents: NDArray[np.float64]
    times: NDArray[np.float64]
    tree: rtree_index.Index
    slack: float

    @classmethod
    def of(cls, records: Sequence[FileRecord]) -> _Columns:
        if isinstance(records, RecordTable):
            footprints, times = records.footprints, records.times
        else:
            footprints = np.empty(len(records), dtype=object)
            footprints[:] = [r.footprint for r in records]
            times = np.array([seconds_of(r.time) for r in records], dtype=float).reshape(-1, 2)
        times = np.where(np.isnan(times), (-FOREVER_S, FOREVER_S), times)
        sizes = extents(footprints)
        slack = float(sizes.max(initial=0.0)) * _RECORD_SLACK
        return cls(footprints, sizes, times, _bulk_tree(footprints, times), slack)

    def overlap(self, which: NDArray[np.int64] | slice, time: TimeInterval) -> NDArray[np.bool_]:
        """Tell which records share a moment with an interval."""
        start, end = _ends(time)
        own = self.times[which]
        return np.asarray((own[:, 0] <= end) & (own[:, 1] >= start))


def _bulk_tree(footprints: NDArray[np.object_], times: NDArray[np.float64]) -> rtree_index.Index:
    parts, owner = footprints, np.arange(len(footprints), dtype=np.int64)
    if (
        shapely.get_type_id(footprints) != shapely.GeometryType.POLYGON
    ).any():  # taking apart copies all of them
        parts, owner = shapely.get_parts(footprints, return_index=True)
    keep = ~shapely.is_empty(parts)
    parts, owner = parts[keep], owner[keep].astype(np.int64)
    properties = rtree_index.Property(dimension=3)
    if not len(parts):
        return rtree_index.Index(properties=properties)
    bounds, own = shapely.bounds(parts), times[owner]
    low = np.ascontiguousarray(np.column_stack([bounds[:, :2], own[:, 0]]))
    high = np.ascontiguousarray(np.column_stack([bounds[:, 2:], own[:, 1]]))
    try:
        return rtree_index.Index((owner, low, high), properties=properties)
    except (NotImplementedError, RTreeError, TypeError):  # libspatialindex before 2.1: one by one
        rows = ((int(i), (*a, *b), None) for i, a, b in zip(owner, low.tolist(), high.tolist(), strict=True))
        return rtree_index.Index(rows, properties=properties)


def _polygon(
    place: GeoBox | BaseGeometry | tuple[float, float, float, float] | None,
) -> BaseGeometry | None:
    if place is None or isinstance(place, BaseGeometry):
        return place
    if isinstance(place, GeoBox):
        return lonlat_outline(place)
    west, south, east, north = place
    if west <= east:
        return box(west, south, east, north)
    return shapely.MultiPolygon([box(west, south, 180.0, north), box(-180.0, south, east, north)])


def _ends(time: TimeInterval) -> tuple[float, float]:
    start = -FOREVER_S if time.start is None else time.start.timestamp()
    return start, FOREVER_S if time.end is None else time.end.timestamp()


def _extent(geometry: BaseGeometry) -> float:
    if geometry.is_empty:
        return 0.0
    west, south, east, north = geometry.bounds
    return float(max(min(east - west, 360.0), north - south))
