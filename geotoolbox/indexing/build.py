"""Building the index: in parallel, from what changed only, with progress."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from itertools import chain
from pathlib import Path
from threading import Event

import numpy as np

from geotoolbox.core.cluster import Cluster, connected, map_on
from geotoolbox.core.events import SILENT, Reporter, Stage, check_cancelled
from geotoolbox.core.query import TimeInterval
from geotoolbox.errors import CannotRead, CannotWrite
from geotoolbox.indexing.alike import AlikeFiles
from geotoolbox.indexing.index import FileIndex
from geotoolbox.indexing.reading import Reading, read_each, read_one
from geotoolbox.indexing.records import FileRecord, file_state
from geotoolbox.indexing.table import RecordTable, seconds_of
from geotoolbox.indexing.times import interval_from_tags

__all__ = ["build_index", "refresh_index"]

_logger = logging.getLogger(__name__)
_CHUNK = 32
_MOST_AT_ONCE, _CHUNKS_EACH, _LOOK_UP_S = 64, 128, 1.0


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

    how = Reading(footprints, allow_vrt, allow_remote)
    if cluster is None:
        found = _on_threads(names, how, known, workers or min(8, os.cpu_count() or 1), reporter)
    else:
        found = _on_cluster(names, how, known, cluster, reporter)
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
    names: Sequence[str], how: Reading, known: Mapping[str, FileRecord], workers: int, reporter: Reporter
) -> Iterator[FileRecord]:
    stop = Event()
    alike = AlikeFiles([name for name in names if name not in known])
    kept = partial(_kept_record, known)
    with ThreadPoolExecutor(workers) as pool:
        parts = [
            pool.submit(read_each, part, how, alike=alike, kept=kept, stopped=stop.is_set)
            for part in _chunks(names, _chunk_size(len(names), workers))
        ]
        try:
            for part in parts:
                while not wait([part], _LOOK_UP_S).done:
                    check_cancelled(reporter)
                records, error = part.result()
                yield from records
                if error is not None:
                    raise error
        except BaseException:
            stop.set()
            pool.shutdown(wait=True, cancel_futures=True)
            raise


def _chunk_size(count: int, workers: int) -> int:
    """Return how many files to read at a time: few where there are few, so that no thread waits for another."""
    return min(max(count // (workers * _CHUNKS_EACH), 1), _MOST_AT_ONCE)


def _chunks(names: Sequence[str], size: int) -> list[Sequence[str]]:
    return [names[i : i + size] for i in range(0, len(names), size)]


def _on_cluster(
    names: Sequence[str],
    how: Reading,
    known: Mapping[str, FileRecord],
    cluster: Cluster,
    reporter: Reporter,
) -> Iterator[FileRecord]:
    """Read what is not known in chunks of files, so that a task is longer than its way there."""
    kept = {name: _kept_record(known, name) for name in names}
    chunks = _chunks([name for name, record in kept.items() if record is None], _CHUNK)
    with ExitStack() as stack:
        fresh: Iterator[FileRecord] = iter(())
        if chunks:
            client = stack.enter_context(connected(cluster, preload=[__name__]))
            lists = map_on(client, partial(_read_all, how), chunks, reporter=reporter, name=", ".join)
            fresh = chain.from_iterable(lists)
        for name in names:
            record = kept[name]
            if record is None:
                record = kept[name] = next(fresh)
            yield record


def _read_all(how: Reading, names: Sequence[str]) -> list[FileRecord]:
    records, error = read_each(names, how)
    if error is not None:
        raise error
    return records


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
    new = read_one(record.path, Reading(footprints, allow_vrt=record.header.driver == "VRT"))
    return FileRecord(new.header, new.native_footprint, new.footprint, record.time)


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
