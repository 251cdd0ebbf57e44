"""What is read in one go: the sources of all bands of one place at one time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import reduce
from itertools import groupby
from os.path import commonprefix
from pathlib import Path

from odc.geo.geobox import GeoBox

from geotoolbox.alignment import Source
from geotoolbox.core.query import TimeInterval
from geotoolbox.datasets.groups import FileGroup
from geotoolbox.indexing.geometry import same_crs, transform_geometry
from geotoolbox.indexing.records import FileRecord

__all__ = ["Unit", "make_units"]


@dataclass(frozen=True, slots=True)
class Unit:
    """One image or tile.

    Attributes:
        name: For people.
        geobox: Its native grid: that of its finest band.
        sources: What to read, in channel order, each with the record of its file.
        record: The record of the first finest file; its footprints are where all bands have data.
        time: When it is from.
    """

    name: str
    geobox: GeoBox
    sources: tuple[tuple[Source, FileRecord], ...]
    record: FileRecord
    time: TimeInterval

    @property
    def paths(self) -> tuple[str, ...]:
        """The files, each once."""
        return tuple(dict.fromkeys(s.path for s, _ in self.sources))


def make_units(
    groups: Sequence[FileGroup],
    nodata: float | None,
    *,
    categorical: bool,
    allow_vrt: bool,
    allow_remote: bool,
) -> tuple[Unit, ...]:
    """Turn groups of files into what is read."""
    units = []
    for group in groups:
        sources = []
        for record, channels in groupby(group.channels, key=lambda c: c.record):
            source = Source.from_header(
                record.header,
                bands=[c.number for c in channels],
                nodata=nodata,
                footprint=record.native_footprint,
                categorical=categorical,
                allow_vrt=allow_vrt,
                allow_remote=allow_remote,
            )
            sources.append((source, record))
        lead = min((r for _, r in sources), key=lambda r: abs(r.header.transform.determinant))
        record = reduce(_both, (r for _, r in sources), lead)
        units.append(Unit(_name(group.paths), lead.header.geobox, tuple(sources), record, group.time))
    return tuple(units)


def _both(first: FileRecord, second: FileRecord) -> FileRecord:
    if first.path == second.path or first.native_footprint.equals(second.native_footprint):
        return first
    other = second.native_footprint
    if not same_crs(first.header.crs, second.header.crs):
        other = transform_geometry(other, second.header.crs, first.header.crs)
    native = first.native_footprint.intersection(other)
    return replace(first, native_footprint=native, footprint=first.footprint.intersection(second.footprint))


def _name(paths: tuple[str, ...]) -> str:
    stems = [Path(p).stem for p in paths]
    shared = commonprefix(stems)  # noqa: RUF071 - the letters are meant
    shared = shared.rstrip("_-. ")
    return stems[0] if len(stems) == 1 else shared or stems[0]
