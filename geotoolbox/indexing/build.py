"""Building the index: in parallel, from what changed only, with progress."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from itertools import chain
from pathlib import Path

import numpy as np
from shapely.geometry.base import BaseGeometry

from geotoolbox.core.cluster import Cluster, connected, map_on
from geotoolbox.core.events import SILENT, Reporter, Stage
from geotoolbox.core.header import describe, header_of
from geotoolbox.core.opening import open_raster
from geotoolbox.core.query import TimeInterval
from geotoolbox.errors import CannotRead, CannotWrite
from geotoolbox.indexing.footprints import valid_polygon
from geotoolbox.indexing.geometry import geobox_polygon, side_steps, transform_geometry
from geotoolbox.indexing.index import FileIndex
from geotoolbox.indexing.records import FileRecord, file_state
from geotoolbox.indexing.table import RecordTable, seconds_of
from geotoolbox.indexing.times import interval_from_tags

__all__ = ["build_index", "refresh_index"]

_logger = logging.getLogger(__name__)
_CHUNK = 32
_Read = Callable[[str], FileRecord]


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
    cluster: Cluster | None = None,
) -> FileIndex:
    """Index raster files: headers, true footprints, times.

    Args:
        paths: The files, in the order in which they win.
        cache: A GeoParquet file to read known files from and to write the index to. Nothing is written
            anywhere without it; never beside the data by itself. Remote files that it knows are not asked for
            again: delete it when they have changed.
        footprints: Whether to read the pixels' validity; else a footprint is the whole outline.
        times: A table of intervals by path; else the acquisition date in the tags, else always.
        reporter: Hears of the progress, and can cancel.
        workers: Threads; by default as many as there are processors, at most 8.
        allow_vrt: As for :func:`~geotoolbox.core.opening.open_raster`.
        allow_remote: As for :func:`~geotoolbox.core.opening.open_raster`.
        cluster: A Dask cluster that reads the files, in place of threads; it must see them under these paths.

    Returns:
        The index, in the order of ``paths``.

    Raises:
        CannotRead: When a file cannot be read; the message names it.
        CannotAlign: When a file has no place on the ground.
    """
    names = [str(p) for p in paths]
    kept = _opened(cache)
    stage = Stage(reporter, "index", len(names))
    if kept is not None and _still_holds(kept, names, times):
        stage.advance(len(names), "nothing has changed")
        return kept
    known = {} if kept is None else {r.path: r for r in kept}

    read = partial(_record, footprints=footprints, allow_vrt=allow_vrt, allow_remote=allow_remote)
    if cluster is None:
        found = _on_threads(read, names, known, workers or min(8, os.cpu_count() or 1))
    else:
        found = _on_cluster(read, names, known, cluster, reporter)
    records = []
    for record in found:
        # Never the time in the cache: it may come from a table that is no longer given.
        time = (times or {}).get(record.path) or interval_from_tags(record.header.tags)
        records.append(record if time == record.time else replace(record, time=time))
        stage.advance(1, record.path)
    index = FileIndex(records)
    if cache is not None and any(known.get(r.path) is not r for r in records):
        return _keep(index, Path(cache))
    return index


def _on_threads(
    read: _Read, names: Sequence[str], known: Mapping[str, FileRecord], workers: int
) -> Iterator[FileRecord]:
    with ThreadPoolExecutor(workers) as pool:
        try:
            yield from pool.map(lambda name: _kept_record(known, name) or read(name), names)
        except BaseException:
            pool.shutdown(wait=True, cancel_futures=True)
            raise


def _on_cluster(
    read: _Read, names: Sequence[str], known: Mapping[str, FileRecord], cluster: Cluster, reporter: Reporter
) -> Iterator[FileRecord]:
    """Read what is not known in chunks of files, so that a task is longer than its way there."""
    kept = {name: _kept_record(known, name) for name in names}
    new = [name for name, record in kept.items() if record is None]
    chunks = [new[i : i + _CHUNK] for i in range(0, len(new), _CHUNK)]
    with ExitStack() as stack:
        fresh: Iterator[FileRecord] = iter(())
        if chunks:
            client = stack.enter_context(connected(cluster, preload=[__name__]))
            lists = map_on(client, partial(_read_all, read), chunks, reporter=reporter, name=", ".join)
            fresh = chain.from_iterable(lists)
        for name in names:
            record = kept[name]
            if record is None:
                record = kept[name] = next(fresh)
            yield record


def _read_all(read: _Read, names: Sequence[str]) -> list[FileRecord]:
    return [read(name) for name in names]


def _kept_record(known: Mapping[str, FileRecord], name: str) -> FileRecord | None:
    old = known.get(name)
    return old if old is not None and _same_file(old) else None


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
    with open_raster(name, allow_vrt=allow_vrt, allow_remote=allow_remote) as dataset:
        header = header_of(name, dataset, allow_vrt=allow_vrt, allow_remote=allow_remote)
        geobox = header.geobox
        outline: BaseGeometry = geobox_polygon(geobox)
        masked = footprints and not all("all_valid" in flags for flags in header.mask_flags)
        native = _valid(dataset, name) if masked else outline
    steps = side_steps(geobox)
    place = geobox_polygon(geobox, steps) if native is outline or native.equals(outline) else native
    longest = max(geobox.shape) * max(abs(v) for v in geobox.affine[:2]) / steps
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
    # A remote file is what it was when it was indexed: to ask each server again would cost as much as to read.
    return state is None or state == (record.header.size_bytes, record.header.mtime_ns)


def _opened(cache: Path | None) -> FileIndex | None:
    if cache is None or not Path(cache).exists():
        return None
    try:
        return FileIndex.open(Path(cache))
    except CannotRead as error:
        _logger.warning("%s It is built again.", error)
        return None


def _still_holds(index: FileIndex, names: Sequence[str], times: Mapping[str, TimeInterval] | None) -> bool:
    """Tell whether an opened index is that of these files as they are now, without making its records."""
    table = index.records
    if not isinstance(table, RecordTable) or table.paths != list(names):
        return False
    wanted = table.tag_times
    if times:
        wanted = wanted.copy()
        for row, name in enumerate(names):
            if name in times:
                wanted[row] = seconds_of(times[name])
    if not np.array_equal(wanted, table.times, equal_nan=True):
        return False
    for name, (size, changed) in zip(names, table.states.tolist(), strict=True):
        if file_state(name) not in (None, (size, changed)):
            return False
    return True


def _keep(index: FileIndex, cache: Path) -> FileIndex:
    """Write an index, and return it as it will be opened next time: as columns."""
    try:
        index.save(cache)
    except CannotWrite as error:
        _logger.warning("the index is not kept: %s", error)
        return index
    return _opened(cache) or index
