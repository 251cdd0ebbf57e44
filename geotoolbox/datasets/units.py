"""What is read in one go: the sources of all bands of one place at one time."""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import reduce
from itertools import groupby
from os.path import basename, commonprefix, splitext

from odc.geo.geobox import GeoBox

from geotoolbox.alignment import Source
from geotoolbox.core.query import Query, TimeInterval
from geotoolbox.datasets.groups import FileGroup
from geotoolbox.indexing.geometry import same_crs, transform_geometry
from geotoolbox.indexing.records import FileRecord

__all__ = ["Unit", "distance", "excess", "holds", "make_units", "tell_of_strips"]

_logger = logging.getLogger(__name__)

_PATCH_PX = 256
_LARGE_PX = 4_000_000  # smaller files are read in no time however they are stored
_SLOW = 8.0  # a patch reads so many times its pixels: worth a warning


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
    warn: bool = True,
) -> tuple[Unit, ...]:
    """Turn groups of files into what is read; warn of files whose windows are slow to read."""
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
    if warn:
        _warn_of_strips([source for unit in units for source, _ in unit.sources])
    return tuple(units)


def _warn_of_strips(sources: Sequence[Source]) -> None:
    pairs = {s.path: excess(s.block_shape, s.geobox.shape) for s in sources}
    tell_of_strips([(path, factor, 1) for path, factor in pairs.items()])


def tell_of_strips(found: Sequence[tuple[str, float, int]]) -> None:
    """Say once that files are stored in strips, so that small windows read far more than they need.

    Args:
        found: A file, how many times its pixels a patch reads, and how many files are like it.
    """
    slow = [each for each in found if each[1] >= _SLOW]
    if slow:
        _logger.warning(
            "%d files are stored in strips or large blocks, such as %s: a patch of %d px reads up to %.0f times "
            "the pixels it needs, and is that much slower; gdal_translate -of COG in.tif out.tif mends that",
            sum(count for _, _, count in slow),
            slow[0][0],
            _PATCH_PX,
            max(factor for _, factor, _ in slow),
        )


def excess(blocks: tuple[int, int], shape: Sequence[int]) -> float:
    """Return how many times its pixels a patch reads, when it lies in the fewest blocks; 1 for small files.

    Args:
        blocks: (rows, columns) of the file's own blocks.
        shape: (rows, columns) of the file.
    """
    if math.prod(shape) < _LARGE_PX:
        return 1.0
    sides = [(block, min(_PATCH_PX, whole)) for block, whole in zip(blocks, shape, strict=True)]
    read = math.prod(math.ceil(patch / block) * block for block, patch in sides)
    return read / math.prod(patch for _, patch in sides)


def _both(first: FileRecord, second: FileRecord) -> FileRecord:
    if first.path == second.path or first.native_footprint.equals(second.native_footprint):
        return first
    other = second.native_footprint
    if not same_crs(first.header.crs, second.header.crs):
        other = transform_geometry(other, second.header.crs, first.header.crs)
    native = first.native_footprint.intersection(other)
    return replace(first, native_footprint=native, footprint=first.footprint.intersection(second.footprint))


def _name(paths: tuple[str, ...]) -> str:
    stems = [splitext(basename(p))[0] for p in paths]
    shared = commonprefix(stems)  # noqa: RUF071 - the letters are meant
    shared = shared.rstrip("_-. ")
    return stems[0] if len(stems) == 1 else shared or stems[0]


def holds(unit: Unit, query: Query) -> bool:
    """Tell whether a query is a window inside a unit's own grid, of a time that the unit has."""
    grid, asked = unit.geobox, query.geobox
    a, b = grid.affine, asked.affine
    upright = not (a.b or a.d or b.b or b.d)
    if not (upright and a.a == b.a and a.e == b.e and unit.time.overlaps(query.time)):
        return False
    col, row = (b.c - a.c) / a.a, (b.f - a.f) / a.e
    (height, width), (rows, cols) = grid.shape, asked.shape
    if not (-0.5 < col < width - cols + 0.5 and -0.5 < row < height - rows + 0.5):
        return False
    return abs(col - round(col)) < 1e-3 and abs(row - round(row)) < 1e-3 and same_crs(grid.crs, asked.crs)


def distance(own: GeoBox, asked: GeoBox) -> int:
    """Return 0 for a grid that the question is a window of, 1 for the same CRS, else 2."""
    if not same_crs(own.crs, asked.crs):
        return 2
    relative = ~own.affine * asked.affine
    whole = abs(relative.c - round(relative.c)) < 1e-3 and abs(relative.f - round(relative.f)) < 1e-3
    same = max(abs(relative.a - 1), abs(relative.e - 1), abs(relative.b), abs(relative.d)) < 1e-6
    return 0 if whole and same else 1
