"""Building the index: in parallel, from what changed only, with progress."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

from shapely.geometry.base import BaseGeometry

from geotoolbox.core.events import SILENT, Reporter, Stage
from geotoolbox.core.header import describe
from geotoolbox.core.opening import open_raster
from geotoolbox.core.query import TimeInterval
from geotoolbox.errors import CannotRead, CannotWrite
from geotoolbox.indexing.footprints import valid_polygon
from geotoolbox.indexing.geometry import geobox_polygon, transform_geometry
from geotoolbox.indexing.index import FileIndex
from geotoolbox.indexing.records import FileRecord, file_state
from geotoolbox.indexing.times import interval_from_tags

__all__ = ["build_index", "refresh_index"]

_logger = logging.getLogger(__name__)


def build_index(
    paths: Sequence[str | Path],
    *,
    cache: Path | None = None,
    footprints: bool = True,
    times: Mapping[str, TimeInterval] | None = None,
    reporter: Reporter = SILENT,
    workers: int | None = None,
    allow_vrt: bool = False,
    allow_remote: bool = False,
) -> FileIndex:
    """Index raster files: headers, true footprints, times.

    Args:
        paths: The files, in the order in which they win.
        cache: A GeoParquet file to read known files from and to write the index to. Nothing is written
            anywhere without it; never beside the data by itself.
        footprints: Whether to read the pixels' validity; else a footprint is the whole outline.
        times: A table of intervals by path; else the acquisition date in the tags, else always.
        reporter: Hears of the progress, and can cancel.
        workers: Threads; by default as many as there are processors, at most 8.
        allow_vrt: As for :func:`~geotoolbox.core.opening.open_raster`.
        allow_remote: As for :func:`~geotoolbox.core.opening.open_raster`.

    Returns:
        The index, in the order of ``paths``.

    Raises:
        CannotRead: When a file cannot be read; the message names it.
        CannotAlign: When a file has no place on the ground.
    """
    names = [str(p) for p in paths]
    known = _known(cache)
    stage = Stage(reporter, "index", len(names))

    def one(name: str) -> FileRecord:
        old = known.get(name)
        if old is not None and _same_file(old):
            record = old
        else:
            record = _record(name, footprints, allow_vrt, allow_remote)
        # Never the time in the cache: it may come from a table that is no longer given.
        time = (times or {}).get(name) or interval_from_tags(record.header.tags)
        return record if time == record.time else replace(record, time=time)

    records = []
    with ThreadPoolExecutor(workers or min(8, os.cpu_count() or 1)) as pool:
        try:
            for record in pool.map(one, names):
                records.append(record)
                stage.advance(1, record.path)
        except BaseException:
            pool.shutdown(wait=True, cancel_futures=True)
            raise
    index = FileIndex(records)
    if cache is not None and any(known.get(r.path) is not r for r in records):
        _keep(index, Path(cache))
    return index


def refresh_index(index: FileIndex, *, reporter: Reporter = SILENT, footprints: bool = True) -> FileIndex:
    """Return the index with the files that changed read again, and those that are gone left out.

    What is gone is logged with its count.
    """
    stage = Stage(reporter, "refresh index", len(index))
    fresh, gone = [], []
    for record in index:
        try:
            same = _same_file(record)
        except CannotRead:
            gone.append(record.path)
        else:
            fresh.append(record if same else _again(record, footprints))
        stage.advance()
    if gone:
        _logger.warning("%d files are gone from the index; first: %s", len(gone), gone[0])
    return FileIndex(fresh)


def _again(record: FileRecord, footprints: bool) -> FileRecord:
    new = _record(record.path, footprints, allow_vrt=record.header.driver == "VRT", allow_remote=False)
    return FileRecord(new.header, new.native_footprint, new.footprint, record.time)


def _record(name: str, footprints: bool, allow_vrt: bool, allow_remote: bool) -> FileRecord:
    header = describe(name, allow_vrt=allow_vrt, allow_remote=allow_remote)
    geobox = header.geobox
    native: BaseGeometry = geobox_polygon(geobox)
    if footprints:
        with open_raster(name, allow_vrt=allow_vrt, allow_remote=allow_remote) as dataset:
            native = _valid(dataset, name)
    place = geobox_polygon(geobox, 64) if native.equals(geobox_polygon(geobox)) else native
    longest = max(geobox.shape) * max(abs(v) for v in geobox.affine[:6:1][:2]) / 64
    lonlat = transform_geometry(place, header.crs, "EPSG:4326", max_edge=longest or None)
    return FileRecord(header, native, lonlat, interval_from_tags(header.tags))


def _valid(dataset: object, name: str) -> BaseGeometry:
    from rasterio.errors import RasterioError

    try:
        return valid_polygon(dataset)  # type: ignore[arg-type]
    except RasterioError as error:
        # The index stays usable; a read of the damaged block raises, with the block's name.
        _logger.warning("%s: its pixels cannot all be read (%s); its whole outline counts", name, error)
        return geobox_polygon(describe(name).geobox)


def _same_file(record: FileRecord) -> bool:
    state = file_state(record.path)
    return state is not None and state == (record.header.size_bytes, record.header.mtime_ns)


def _known(cache: Path | None) -> dict[str, FileRecord]:
    if cache is None or not Path(cache).exists():
        return {}
    try:
        return {r.path: r for r in FileIndex.open(Path(cache))}
    except CannotRead as error:
        _logger.warning("%s It is built again.", error)
        return {}


def _keep(index: FileIndex, cache: Path) -> None:
    try:
        index.save(cache)
    except CannotWrite as error:
        _logger.warning("the index is not kept: %s", error)
