"""Reading files for the index: their headers one by one, their outlines many at once."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from rasterio.io import DatasetReader
from shapely.geometry.base import BaseGeometry

from geotoolbox.core.header import RasterHeader, describe, header_of
from geotoolbox.core.opening import many_files, open_raster
from geotoolbox.indexing.alike import AlikeFiles
from geotoolbox.indexing.geometry import geobox_polygon, side_steps, transform_geometry
from geotoolbox.indexing.outlines import native_outlines, quick_outlines
from geotoolbox.indexing.records import FileRecord
from geotoolbox.indexing.times import interval_from_tags

__all__ = ["Reading", "read_each", "read_one"]

_logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Reading:
    """How files are read for the index.

    Attributes:
        footprints: Whether to read the pixels' validity.
        allow_vrt: As for :func:`~geotoolbox.core.opening.open_raster`.
        allow_remote: As for :func:`~geotoolbox.core.opening.open_raster`.
    """

    footprints: bool = True
    allow_vrt: bool = False
    allow_remote: bool = False


@dataclass(frozen=True, slots=True)
class _Found:
    """A file's header, and the polygon of its valid data where that was read."""

    header: RasterHeader
    native: BaseGeometry | None = None


def read_one(name: str, how: Reading) -> FileRecord:
    """Read one file.

    Raises:
        CannotRead: When it cannot be read.
        CannotAlign: When it has no place on the ground.
    """
    return _record(_found(name, how, AlikeFiles()))


def read_each(
    names: Sequence[str],
    how: Reading,
    *,
    alike: AlikeFiles | None = None,
    kept: Callable[[str], FileRecord | None] = lambda name: None,
    stopped: Callable[[], bool] = lambda: False,
) -> tuple[list[FileRecord], Exception | None]:
    """Read files in turn, up to the first that cannot be read.

    Args:
        names: The files.
        how: How to read them.
        alike: What is known of files made alike; this is added to.
        kept: Gives the record of a file that need not be read.
        stopped: Asked before each file whether to leave the rest.

    Returns:
        The records, and the error of the file after the last of them.
    """
    found: list[_Found | FileRecord] = []
    error: Exception | None = None
    alike = AlikeFiles() if alike is None else alike
    with many_files():
        for name in names:
            if stopped():
                break
            try:
                found.append(kept(name) or _found(name, how, alike))
            except (
                Exception
            ) as failure:  # raised in the order of the files, after those before it were reported
                error = failure
                break
    records, failure_after = _records(found)
    return records, failure_after or error


def _found(name: str, how: Reading, alike: AlikeFiles) -> _Found:
    mark = alike.mark(name)
    header = None if mark is None else alike.header(name, mark)
    if header is not None and not (how.footprints and _is_masked(header)):
        return _placed(header)
    with open_raster(name, allow_vrt=how.allow_vrt, allow_remote=how.allow_remote) as dataset:
        if header is None:
            header = header_of(name, dataset, allow_vrt=how.allow_vrt, allow_remote=how.allow_remote)
            if mark is not None:
                alike.learn(mark, header)
        found = _placed(header)
        return _Found(header, _valid(dataset, name)) if how.footprints and _is_masked(header) else found


def _is_masked(header: RasterHeader) -> bool:
    return not all("all_valid" in flags for flags in header.mask_flags)


def _placed(header: RasterHeader) -> _Found:
    """Return what was found of a file that has a place on the ground."""
    if header.cannot_align() is not None:
        header.geobox  # noqa: B018 - raises, with the reason
    return _Found(header)


def _valid(dataset: DatasetReader, name: str) -> BaseGeometry:
    from rasterio.errors import RasterioError

    from geotoolbox.indexing.footprints import valid_polygon

    try:
        return valid_polygon(dataset)
    except RasterioError as error:
        # The index stays usable; a read of the damaged block raises, with the block's name.
        _logger.warning("%s: its pixels cannot all be read (%s); its whole outline counts", name, error)
        return geobox_polygon(describe(name).geobox)


def _records(found: Sequence[_Found | FileRecord]) -> tuple[list[FileRecord], Exception | None]:
    """Return the records up to the first that fails; the outlines of all files in few calls."""
    headers = [f.header for f in found if isinstance(f, _Found)]
    places = iter(zip(native_outlines(headers), quick_outlines(headers), strict=True))
    records: list[FileRecord] = []
    for one in found:
        try:
            records.append(one if isinstance(one, FileRecord) else _placed_record(one, *next(places)))
        except Exception as error:  # raised by the caller, in the order of the files
            return records, error
    return records, None


def _placed_record(found: _Found, outline: BaseGeometry, lonlat: BaseGeometry | None) -> FileRecord:
    """Return a record from the outlines of its file; from :func:`_record` where they do not say all."""
    whole = found.native is None or found.native.equals(outline)
    if lonlat is None or not whole:
        return _record(found)
    native = outline if found.native is None else found.native
    return FileRecord(found.header, native, lonlat, interval_from_tags(found.header.tags))


def _record(found: _Found) -> FileRecord:
    """Return the record of one file, whatever its size, place and shape."""
    header, geobox = found.header, found.header.geobox
    outline: BaseGeometry = geobox_polygon(geobox)
    native = outline if found.native is None else found.native
    steps = side_steps(geobox)
    place = geobox_polygon(geobox, steps) if native is outline or native.equals(outline) else native
    longest = max(geobox.shape) * max(abs(v) for v in geobox.affine[:2]) / steps
    lonlat = transform_geometry(place, header.crs, "EPSG:4326", max_edge=longest or None)
    return FileRecord(header, native, lonlat, interval_from_tags(header.tags))
