"""The index: which files cover a place and a time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import shapely
from odc.geo.geobox import GeoBox
from rtree import index as rtree_index
from shapely.geometry import box
from shapely.geometry.base import BaseGeometry

from geotoolbox.core.query import ALWAYS, TimeInterval
from geotoolbox.indexing.geometry import lonlat_polygon
from geotoolbox.indexing.records import FileRecord
from geotoolbox.indexing.store import load_records, save_records

__all__ = ["FileIndex"]

_FOREVER_S = 1e12
# Edges are straight lines between exactly transformed points; these shares of the extent bound their error.
_QUERY_SLACK, _RECORD_SLACK = 0.01, 2e-4


class FileIndex:
    """Files by place and time: an R-tree over x, y and t, then the true footprints.

    The index never changes; :func:`~geotoolbox.indexing.build.refresh_index` makes a new one.

    Args:
        records: One record a file, in the order in which they win.
    """

    def __init__(self, records: Sequence[FileRecord]) -> None:
        self.records = tuple(records)
        self._tree: rtree_index.Index | None = None
        self._slack = 0.0

    def __len__(self) -> int:
        return len(self.records)

    def __iter__(self) -> Iterator[FileRecord]:
        return iter(self.records)

    def __getstate__(self) -> tuple[FileRecord, ...]:
        return self.records

    def __setstate__(self, state: tuple[FileRecord, ...]) -> None:
        self.records, self._tree, self._slack = state, None, 0.0

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
        if polygon is None:
            return tuple(i for i, r in enumerate(self.records) if r.time.overlaps(time))
        if polygon.is_empty or not self.records:
            return ()
        slack = _extent(polygon) * _QUERY_SLACK
        found: set[int] = set()
        tree = self._rtree()
        reach = slack + self._slack
        start, end = _seconds(time)
        for part in shapely.get_parts(polygon):
            west, south, east, north = part.bounds
            bounds = (west - reach, south - reach, start, east + reach, north + reach, end)
            found.update(tree.intersection(bounds))
        return tuple(i for i in sorted(found) if self._meets(i, polygon, time, slack))

    def _meets(self, position: int, polygon: BaseGeometry, time: TimeInterval, slack: float) -> bool:
        record = self.records[position]
        near = slack + _extent(record.footprint) * _RECORD_SLACK
        return record.time.overlaps(time) and bool(shapely.dwithin(record.footprint, polygon, near))

    def _rtree(self) -> rtree_index.Index:
        if self._tree is None:
            self._slack = max((_extent(r.footprint) for r in self.records), default=0.0) * _RECORD_SLACK
            self._tree = _bulk_tree(self.records)
        return self._tree

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


def _bulk_tree(records: Sequence[FileRecord]) -> rtree_index.Index:
    geometries = np.array([r.footprint for r in records], dtype=object)
    parts, owner = shapely.get_parts(geometries, return_index=True)
    keep = ~shapely.is_empty(parts)
    parts, owner = parts[keep], owner[keep]
    properties = rtree_index.Property(dimension=3)
    if not len(parts):
        return rtree_index.Index(properties=properties)
    times = np.array([_seconds(r.time) for r in records])[owner]
    bounds = shapely.bounds(parts)
    low = np.ascontiguousarray(np.column_stack([bounds[:, :2], times[:, 0]]))
    high = np.ascontiguousarray(np.column_stack([bounds[:, 2:], times[:, 1]]))
    rows = ((int(i), (*a, *b), None) for i, a, b in zip(owner, low.tolist(), high.tolist(), strict=True))
    return rtree_index.Index(rows, properties=properties)


def _polygon(
    place: GeoBox | BaseGeometry | tuple[float, float, float, float] | None,
) -> BaseGeometry | None:
    if place is None or isinstance(place, BaseGeometry):
        return place
    if isinstance(place, GeoBox):
        return lonlat_polygon(place)
    west, south, east, north = place
    if west <= east:
        return box(west, south, east, north)
    return shapely.MultiPolygon([box(west, south, 180.0, north), box(-180.0, south, east, north)])


def _seconds(time: TimeInterval) -> tuple[float, float]:
    start = -_FOREVER_S if time.start is None else time.start.timestamp()
    return start, _FOREVER_S if time.end is None else time.end.timestamp()


def _extent(geometry: BaseGeometry) -> float:
    if geometry.is_empty:
        return 0.0
    west, south, east, north = geometry.bounds
    return float(max(min(east - west, 360.0), north - south))
