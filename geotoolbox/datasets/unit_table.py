"""Many files as units without a look at each: judged by a few of each kind, and made when they are read."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from os.path import basename, splitext
from typing import Any, overload

import numpy as np
from affine import Affine
from numpy.typing import NDArray
from odc.geo.crs import CRS
from odc.geo.geobox import GeoBox
from shapely.geometry.base import BaseGeometry

from geotoolbox.core.query import Scene, TimeInterval
from geotoolbox.datasets.units import Unit, excess, tell_of_strips
from geotoolbox.indexing.records import FileRecord
from geotoolbox.indexing.table import FOREVER_S, RecordTable

__all__ = ["UnitTable", "likeness", "none_together", "typical"]

_EACH = 2  # of one alone, names would be made from its file name


def likeness(table: RecordTable) -> NDArray[np.int64]:
    """Return a number for each file; files of one number differ in place, extent, time and tags only.

    They have the same bands, data types, scales, CRS and (to six digits) resolution.
    """
    a, b, _, d, e, _ = table.transforms.T
    number = table.kinds
    for sizes in (np.hypot(a, d), np.hypot(b, e)):
        values, which = np.unique(sizes, return_inverse=True)
        rounded = np.array([float(f"{v:.6g}") for v in values])
        _, same = np.unique(rounded, return_inverse=True)
        number = number * (int(same.max(initial=0)) + 1) + same[which]
    return np.asarray(np.unique(number, return_inverse=True)[1], dtype=np.int64)


def typical(alike: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the first two rows of each number, in order.

    Example:
        >>> typical(np.array([1, 0, 1, 1, 0, 2])).tolist()
        [0, 1, 2, 4, 5]
    """
    order = np.argsort(alike, kind="stable")
    starts = np.searchsorted(alike[order], alike[order])
    return np.sort(order[np.arange(len(order)) - starts < _EACH])


def none_together(table: RecordTable, single: NDArray[np.bool_]) -> bool:
    """Tell whether no two of the files with a single band lie on one grid at one time.

    Args:
        table: The files.
        single: (n,) which have a single band.
    """
    times = np.where(np.isnan(table.times), (-FOREVER_S, FOREVER_S), table.times)
    systems: dict[str | None, int] = {}
    codes = np.zeros(len(table.facts), dtype=np.int64)
    for row, kind in _first_of(table.kinds):
        codes[kind] = systems.setdefault(table.crs(row), len(systems))
    facts = np.column_stack([table.transforms + 0.0, table.shapes, times])[single]
    whole = np.concatenate([facts.view(np.int64), codes[table.kinds][single, None]], axis=1)
    return len({row.tobytes() for row in whole}) == len(whole)


def _first_of(kinds: NDArray[np.int64]) -> Iterator[tuple[int, int]]:
    values, rows = np.unique(kinds, return_index=True)
    yield from zip(rows.tolist(), values.tolist(), strict=True)


class UnitTable(Sequence[Unit]):
    """Units of one file each; a unit is made when it is asked for, and kept.

    Args:
        table: The files.
        alike: (n,) their numbers, see :func:`likeness`.
        examples: A unit of each number, made from its file.
    """

    def __init__(self, table: RecordTable, alike: NDArray[np.int64], examples: dict[int, Unit]) -> None:
        self._table, self._alike, self._examples = table, alike, examples
        self._made: dict[int, Unit] = {}
        self._scenes: tuple[Scene, ...] | None = None

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_made": {}, "_scenes": None}

    def __len__(self) -> int:
        return len(self._table)

    @overload
    def __getitem__(self, index: int) -> Unit: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Unit]: ...
    def __getitem__(self, index: int | slice) -> Unit | Sequence[Unit]:
        """Return a unit, or several."""
        if isinstance(index, slice):
            return tuple(self[i] for i in range(*index.indices(len(self))))
        found = self._made.get(index)
        if found is None:
            found = self._made[index] = self._unit(index, self._table[index])
        return found

    def _unit(self, index: int, record: FileRecord) -> Unit:
        like, grid = self._examples[int(self._alike[index])].sources[0][0], record.header.geobox
        source = replace(like, path=record.path, geobox=grid, footprint=record.native_footprint)
        return Unit(_name(record.path), grid, ((source, record),), record, record.time)

    def paths(self) -> tuple[str, ...]:
        """Return the files, each once."""
        return tuple(dict.fromkeys(self._table.paths))

    def scenes(self) -> tuple[Scene, ...]:
        """Return one scene for each unit, without making the units."""
        if self._scenes is None:
            self._scenes = tuple(self._each_scene())
        return self._scenes

    def coverage(self) -> Iterator[tuple[BaseGeometry, TimeInterval]]:
        """Yield where and when each unit has data, as polygons in longitude and latitude."""
        for polygon, time in zip(self._table.footprints, self._times(), strict=True):
            if not polygon.is_empty:
                yield polygon, time

    def _each_scene(self) -> Iterator[Scene]:
        table = self._table
        systems = {kind: CRS(str(table.crs(row))) for row, kind in _first_of(table.kinds)}
        columns = zip(
            table.paths, table.shapes.tolist(), table.transforms.tolist(), table.kinds.tolist(),
            table.natives(), self._times(), strict=True,
        )  # fmt: skip
        for path, shape, six, kind, native, time in columns:
            yield Scene(_name(path), GeoBox(tuple(shape), Affine(*six), systems[kind]), native, time)

    def _times(self) -> Iterator[TimeInterval]:
        known: dict[tuple[float, float], TimeInterval] = {}
        pairs = np.where(np.isnan(self._table.times), FOREVER_S, self._table.times).tolist()
        for row, pair in enumerate(map(tuple, pairs)):
            if pair not in known:
                known[pair] = self._table.time(row)
            yield known[pair]

    def warn(self) -> None:
        """Say once that files are stored in strips, so that small windows read far more than they need."""
        pairs = np.column_stack([self._alike, self._table.shapes])
        different, rows, counts = np.unique(pairs, axis=0, return_index=True, return_counts=True)
        found = []
        for (number, height, width), row, count in zip(different.tolist(), rows, counts, strict=True):
            source = self._examples[number].sources[0][0]
            found.append((self._table.paths[row], excess(source.block_shape, (height, width)), int(count)))
        tell_of_strips(found)


def _name(path: str) -> str:
    return splitext(basename(path))[0]
