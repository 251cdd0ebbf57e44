"""Opening rasters safely: what may be opened, how, and for how long it stays open.

GDAL opens whatever looks like a raster, whatever its name: a text file that reads other files, or one that
calls a web service. So a file is looked at before it is opened, only drivers that read pixels from the
file itself are allowed, and a path is a local file unless the caller says otherwise.
"""

from __future__ import annotations

import errno
import math
import os
import threading
from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field

import numpy as np
import rasterio
from rasterio.errors import RasterioError

from geotoolbox.core.plain import PlainBlocks
from geotoolbox.core.sniffing import check_source, local_path
from geotoolbox.errors import CannotRead, TooLarge, explain

__all__ = [
    "DRIVERS",
    "MAX_READ_BYTES",
    "HandleCache",
    "check_read_size",
    "check_source",
    "handles",
    "many_files",
    "open_raster",
]

DRIVERS: tuple[str, ...] = (
    "GTiff", "JP2OpenJPEG", "PNG", "JPEG", "HFA", "netCDF", "HDF5Image", "HDF5", "NITF", "PCIDSK",
    "ENVI", "EHdr", "SRTMHGT", "DTED", "AAIGrid", "USGSDEM", "RST", "SAGA",
)  # fmt: skip
"""Drivers whose pixels stand in the file itself (or in its own data file)."""

_DRIVER_OF = {
    "TIFF": ("GTiff",), "BigTIFF": ("GTiff",), "JPEG 2000": ("JP2OpenJPEG",), "PNG": ("PNG",), "JPEG": ("JPEG",),
    "Erdas Imagine": ("HFA",), "netCDF": ("netCDF",), "HDF5": ("netCDF", "HDF5Image", "HDF5"),
    "a GDAL virtual raster (VRT)": ("VRT",),
}  # fmt: skip

MAX_READ_BYTES = 4 * 1024**3
"""The most bytes that one read may take in memory."""

# One stat per side file instead of a listing of the folder: folders of scenes hold many thousand files.
_LOCAL_OPTIONS = {"GDAL_DISABLE_READDIR_ON_OPEN": "TRUE", "GDAL_VRT_ENABLE_PYTHON": "NO"}
_REMOTE_OPTIONS = {
    "GDAL_DISABLE_READDIR_ON_OPEN": "EMPTY_DIR",
    "GDAL_VRT_ENABLE_PYTHON": "NO",
    "GDAL_HTTP_MAX_RETRY": "3",
    "GDAL_HTTP_RETRY_DELAY": "1",
    "GDAL_HTTP_CONNECTTIMEOUT": "10",
    "GDAL_HTTP_LOW_SPEED_TIME": "20",
    "GDAL_HTTP_LOW_SPEED_LIMIT": "100",
    "VSI_CACHE": "TRUE",
}


def open_raster(
    path: str,
    *,
    allow_vrt: bool = False,
    allow_remote: bool = False,
    overview_level: int | None = None,
) -> rasterio.DatasetReader:
    """Open a raster to read from it, after :func:`check_source`.

    Side files (``.aux.xml``, ``.ovr``, ``.msk``) are read; nothing is ever written beside the data.

    Args:
        path: A local file, or a subdataset such as ``NETCDF:file.nc:temperature``.
        allow_vrt: Also open VRT files, whose sources are checked in turn.
        allow_remote: Also open http(s), s3 and /vsi paths.
        overview_level: Open this overview (0 is the finest) in place of the full resolution.

    Raises:
        UnsafeInput: For what would read elsewhere or open a network connection without the flag.
        CannotRead: When the file is missing, empty, damaged or no raster; the message names it.
    """
    kind = check_source(path, allow_vrt=allow_vrt, allow_remote=allow_remote)
    local = local_path(path)
    # An absolute path is never taken for a URL or a driver's own syntax, whatever characters it has.
    name = os.path.abspath(path) if local == path else path
    options = _REMOTE_OPTIONS if local is None else _LOCAL_OPTIONS
    more = {} if overview_level is None else {"overview_level": overview_level}
    failure: Exception | None = None
    with _settings(options):
        for driver in _DRIVER_OF.get(kind, DRIVERS):
            try:
                return rasterio.open(name, driver=driver, **more)
            except (RasterioError, OSError, ValueError) as error:
                failure = failure or error
    raise CannotRead(
        explain(
            "this file cannot be opened as a raster",
            where=path,
            got=f"{kind}; {_cause(failure, name)}",
            fix="check the file with 'gdalinfo', copy it again, or leave it out",
        )
    ) from failure


def many_files() -> rasterio.Env:
    """Return a context for opening many local files in turn: GDAL's settings are made once, not for each of them."""
    return rasterio.Env(**_LOCAL_OPTIONS)


def _settings(options: Mapping[str, str]) -> AbstractContextManager[object]:
    if rasterio.env.hasenv() and options.items() <= rasterio.env.getenv().items():
        return nullcontext()
    return rasterio.Env(**options)


def check_read_size(
    shape: Sequence[int], dtype: str | np.dtype[np.generic], *, where: str, limit: int = MAX_READ_BYTES
) -> None:
    """Refuse a read before it takes its memory.

    Raises:
        TooLarge: When an array of ``shape`` and ``dtype`` would have more than ``limit`` bytes.

    Example:
        >>> check_read_size((4, 256, 256), "uint16", where="a.tif")
    """
    needed = math.prod(int(n) for n in shape) * np.dtype(dtype).itemsize
    if needed > limit:
        raise TooLarge(
            explain(
                "one read would take too much memory",
                where=where,
                got=f"{' × '.join(map(str, shape))} {np.dtype(dtype)} = {needed:,} bytes",
                expected=f"at most {limit:,} bytes",
                fix="read a smaller area, fewer bands, or a coarser grid",
            )
        )


def _cause(error: BaseException | None, path: str) -> str:
    """Return the words of the cause, without the path (which stands elsewhere)."""
    cause = error.__cause__ or error if error is not None else None
    return str(cause).replace(path, "it").strip().rstrip(".") or type(cause).__name__


@dataclass(slots=True)
class OpenRaster:
    """An open raster of a :class:`HandleCache`.

    Attributes:
        dataset: The GDAL dataset.
        plain: Its blocks, where they are plain bytes in a local file; else None.
        users: How many reads are using it now.
    """

    dataset: rasterio.DatasetReader
    plain: PlainBlocks | None = None
    users: int = 0

    def close(self) -> None:
        """Close both."""
        if self.plain is not None:
            self.plain.close()
        self.dataset.close()


@dataclass(slots=True)
class _Shelf:
    """The handles of one thread of one process."""

    pid: int
    handles: OrderedDict[tuple[object, ...], OpenRaster] = field(default_factory=OrderedDict)


class HandleCache:
    """Open rasters, kept for the next read: for one process and one thread, least recently used out.

    A handle that crosses a fork gives wrong pixels in silence, so a new process starts with none. A file
    that has changed on disk (time of change or size) is opened again.

    Args:
        size: How many rasters a thread keeps open.
    """

    def __init__(self, size: int = 128) -> None:
        self.size = size
        self._local = threading.local()
        self._inherited: list[_Shelf] = []

    def __len__(self) -> int:
        return len(self._shelf().handles)

    @contextmanager
    def get(
        self,
        path: str,
        *,
        allow_vrt: bool = False,
        allow_remote: bool = False,
        overview_level: int | None = None,
    ) -> Iterator[rasterio.DatasetReader]:
        """Give an open raster for the body of a ``with`` statement; it stays open afterwards.

        Raises:
            UnsafeInput, CannotRead: As :func:`open_raster`.
        """
        options = {"allow_vrt": allow_vrt, "allow_remote": allow_remote}
        with self.hold(path, overview_level=overview_level, **options) as handle:
            yield handle.dataset

    @contextmanager
    def hold(
        self,
        path: str,
        *,
        allow_vrt: bool = False,
        allow_remote: bool = False,
        overview_level: int | None = None,
    ) -> Iterator[OpenRaster]:
        """As :meth:`get`, with the blocks that can be read without GDAL."""
        shelf = self._shelf()
        key = (path, overview_level, allow_vrt, allow_remote, *_version(path))
        handle = shelf.handles.get(key)
        if handle is None:
            dataset = open_raster(
                path, allow_vrt=allow_vrt, allow_remote=allow_remote, overview_level=overview_level
            )
            plain = (
                PlainBlocks.of(dataset, path) if overview_level is None and path == local_path(path) else None
            )
            handle = shelf.handles[key] = OpenRaster(dataset, plain)
            self._forget_old_versions(shelf, key)
        shelf.handles.move_to_end(key)
        handle.users += 1
        try:
            yield handle
        finally:
            handle.users -= 1
            self._trim(shelf)

    def clear(self) -> None:
        """Close the handles of this thread that nobody is using."""
        shelf = self._shelf()
        for key in [k for k, h in shelf.handles.items() if h.users == 0]:
            shelf.handles.pop(key).close()

    def _shelf(self) -> _Shelf:
        shelf: _Shelf | None = getattr(self._local, "shelf", None)
        if shelf is None or shelf.pid != os.getpid():
            if shelf is not None:
                # Neither used nor closed here: closing could wait for a lock that a dead thread holds.
                self._inherited.append(shelf)
            shelf = self._local.shelf = _Shelf(os.getpid())
        return shelf

    def _trim(self, shelf: _Shelf) -> None:
        if len(shelf.handles) <= self.size:
            return
        idle = [k for k, h in shelf.handles.items() if h.users == 0]
        for key in idle[: len(shelf.handles) - self.size]:
            shelf.handles.pop(key).close()

    @staticmethod
    def _forget_old_versions(shelf: _Shelf, key: tuple[object, ...]) -> None:
        old = [k for k, h in shelf.handles.items() if k[:4] == key[:4] and k != key and h.users == 0]
        for one in old:
            shelf.handles.pop(one).close()


def _version(path: str) -> tuple[int, int]:
    """Return (time of change in ns, bytes) of a local file; (0, 0) for a remote one."""
    local = local_path(path)
    if local is None:
        return (0, 0)
    try:
        facts = os.stat(local)
    except (OSError, ValueError) as error:
        number = getattr(error, "errno", None)
        what = "the file is missing" if number == errno.ENOENT else "the file cannot be read"
        raise CannotRead(
            explain(what, where=path, got=getattr(error, "strerror", None) or str(error))
        ) from error
    return (facts.st_mtime_ns, facts.st_size)


_HANDLES = HandleCache()


def handles() -> HandleCache:
    """Return the cache of open rasters that all reads of this process share."""
    return _HANDLES
