"""Looking at a file before it is opened: what it is, and whether it points elsewhere."""

from __future__ import annotations

import ipaddress
import os
import re
import socket
from pathlib import Path
from urllib.parse import urlsplit

from defusedxml import ElementTree

from geotoolbox.errors import CannotRead, UnsafeInput, explain

__all__ = ["check_source", "local_path", "what_is"]

_SUBDATASET = re.compile(r'^(NETCDF|HDF5):("?)(?P<file>.+?)\2(:(?P<inner>[^:"]*|//.*))?$')
_SCHEME = re.compile(r"^[A-Za-z][A-Za-z0-9+.-]+://")
_SNIFF_BYTES = 4096

# What GDAL takes as an order to read something else, wherever in the first bytes it stands.
_POINTERS: tuple[tuple[bytes, str], ...] = (
    (b"<vrtdataset", "a GDAL virtual raster (VRT)"),
    (b"<vrttableset", "a GDAL virtual raster (VRT)"),
    (b"<gdaltileindexdataset", "a GDAL tile index (GTI)"),
    (b"<gdal_wms", "a GDAL web map service (WMS)"),
    (b"<wms_tile_service", "a web map service (WMS)"),
    (b"<gdal_wmts", "a GDAL web map tile service (WMTS)"),
    (b"<wcs_gdal", "a GDAL web coverage service (WCS)"),
    (b"<wfs_gdal", "a GDAL web feature service"),
    (b"<ogrvrtdatasource", "an OGR virtual layer"),
    (b'"stac_version"', "a STAC document"),
)

_MAGIC: tuple[tuple[bytes, str], ...] = (
    (b"II*\0", "TIFF"), (b"MM\0*", "TIFF"), (b"II+\0", "BigTIFF"), (b"MM\0+", "BigTIFF"),
    (b"\0\0\0\x0cjP  ", "JPEG 2000"), (b"\xff\x4f\xff\x51", "JPEG 2000"),
    (b"\x89PNG", "PNG"), (b"\xff\xd8\xff", "JPEG"), (b"EHFA_HEADER_TAG", "Erdas Imagine"),
    (b"CDF\x01", "netCDF"), (b"CDF\x02", "netCDF"), (b"CDF\x05", "netCDF"), (b"\x89HDF\r\n\x1a\n", "HDF5"),
    (b"PK\x03\x04", "a ZIP archive"), (b"\x1f\x8b", "a gzip archive"), (b"%PDF", "a PDF document"),
    (b"SQLite format 3", "a SQLite or GeoPackage file"), (b"\x80\x04", "a Python pickle"),
    (b"\0\0\x27\x0a\0\0\0\0", "an ESRI shapefile"), (b"fgb\x03fgb", "a FlatGeobuf file"),
    (b"GIF8", "a GIF picture"), (b"PAR1", "a Parquet table"),
    (b"version https://git-lfs", "a Git LFS pointer, not the file itself"),
)  # fmt: skip

_VECTORS = (
    "an ESRI shapefile",
    "a FlatGeobuf file",
    "a SQLite or GeoPackage file",
    "a JSON document",
    "a Parquet table",
)


def what_is(head: bytes) -> str:
    r"""Say what kind of file starts with these bytes, in words for a message.

    Example:
        >>> what_is(b"<!DOCTYPE html><html>"), what_is(b"II*\0"), what_is(b"")
        ('a web page (HTML)', 'TIFF', 'an empty file (0 bytes)')
    """
    if not head:
        return "an empty file (0 bytes)"
    for magic, name in _MAGIC:
        if head.startswith(magic):
            return name
    return _text_kind(head.lstrip(b"\xef\xbb\xbf \t\r\n").lower())


def _text_kind(text: bytes) -> str:
    if text.startswith((b"<!doctype html", b"<html")) or b"<html" in text[:512]:
        return "a web page (HTML)"
    for words, name in _POINTERS:
        if words in text:
            return name
    if text.startswith(b"<"):
        return "an XML document"
    if text.startswith((b"{", b"[")):
        return "a JSON document"
    return "of an unknown kind"


def local_path(path: str) -> str | None:
    """Return the file on this machine that ``path`` names, or None when it names something remote.

    Example:
        >>> local_path("/data/a?b#c.tif"), local_path("NETCDF:a.nc:t"), local_path("https://x.org/a.tif")
        ('/data/a?b#c.tif', 'a.nc', None)
    """
    if path.startswith("/vsi") or _SCHEME.match(path):
        return None
    subdataset = _SUBDATASET.match(path)
    if subdataset and not os.path.exists(path):
        return local_path(subdataset["file"])
    return path


def check_source(
    path: str, *, allow_vrt: bool = False, allow_remote: bool = False, allow_private: bool = False
) -> str:
    """Look at what ``path`` is before anything opens it.

    Args:
        path: What the person gave.
        allow_vrt: Accept a VRT whose sources pass this check too.
        allow_remote: Accept http(s), s3 and /vsi paths.
        allow_private: Accept remote hosts of a private or local network.

    Returns:
        What the file is, in words.

    Raises:
        UnsafeInput: When it reads elsewhere or opens a connection, and no flag allows that.
        CannotRead: When it is missing, empty, or plainly no raster (a web page, an archive, …).
    """
    local = local_path(path)
    if local is None:
        _check_remote(path, allow_remote=allow_remote, allow_private=allow_private)
        return "a remote file"
    kind, head = _look(local, path)
    if kind.startswith(tuple(name for _, name in _POINTERS)):
        if not (allow_vrt and b"<vrtdataset" in head.lower()):
            _refuse_pointer(path, kind)
        _check_vrt(local, allow_remote=allow_remote, allow_private=allow_private)
    elif kind[0].islower() and kind not in ("of an unknown kind", "netCDF"):
        raise CannotRead(
            explain(
                "this file is not a raster",
                where=path,
                got=kind,
                expected="a raster file such as GeoTIFF",
                fix="give it as labels or as an area; images are rasters"
                if kind in _VECTORS
                else "download or copy the file again, or leave it out",
            )
        )
    _check_side_files(local)
    return kind


def _refuse_pointer(path: str, kind: str) -> None:
    vrt = "(VRT)" in kind
    raise UnsafeInput(
        explain(
            "this file would read other files or the network",
            where=path,
            got=kind,
            expected="a file that holds its own pixels",
            fix="pass --allow-vrt (allow_vrt=True) if you trust it"
            if vrt
            else "download or convert it to GeoTIFF first",
        )
    )


def _look(local: str, path: str) -> tuple[str, bytes]:
    """Read the first bytes of a local file, and name what it is."""
    try:
        if os.path.isdir(local):
            raise IsADirectoryError(None, "it is a folder")
        with open(local, "rb") as stream:
            head = stream.read(_SNIFF_BYTES)
    except (OSError, ValueError) as error:
        missing = isinstance(error, FileNotFoundError)
        raise CannotRead(
            explain(
                "the file does not exist" if missing else "the file cannot be read",
                where=repr(path) if "\0" in path else path,
                got=getattr(error, "strerror", None) or str(error),
                fix="check the path and its spelling" if missing else "check the path and its permissions",
            )
        ) from error
    return what_is(head), head


def _check_side_files(local: str) -> None:
    """Refuse overviews and masks beside a raster that are pointers: GDAL opens them with any driver."""
    for suffix in (".ovr", ".msk", ".msk.ovr"):
        side = local + suffix
        if os.path.isfile(side):
            kind, _ = _look(side, side)
            if kind not in ("TIFF", "BigTIFF", "Erdas Imagine"):
                _refuse_pointer(side, kind)
    side = local + ".aux.xml"
    if os.path.isfile(side) and b"OVERVIEW_FILE" in Path(side).read_bytes()[: 1 << 20]:
        _refuse_pointer(side, "side-car metadata that names another overview file")


def _check_vrt(local: str, *, allow_remote: bool, allow_private: bool) -> None:
    """Check what a VRT reads: no raw bands, no code, and only sources that pass in turn."""
    try:
        root = ElementTree.parse(local).getroot()
    except Exception as error:
        raise CannotRead(explain("the VRT is not valid XML", where=local, got=str(error))) from error
    for node in root.iter():
        code = node.tag in ("PixelFunctionCode", "PixelFunctionLanguage")
        if code or node.get("subClass") == "VRTRawRasterBand":
            _refuse_pointer(local, "a VRT with " + ("code" if code else "a raw band"))
        if node.tag in ("SourceFilename", "SourceDataset") and node.text:
            _check_vrt_source(
                local, node.text.strip(), node.get("relativeToVRT") == "1", allow_remote, allow_private
            )


def _check_vrt_source(local: str, name: str, relative: bool, allow_remote: bool, allow_private: bool) -> None:
    if relative and local_path(name) is not None:
        name = str(Path(local).parent / name)
    if os.path.realpath(name) == os.path.realpath(local):
        raise UnsafeInput(explain("a VRT names itself as its source", where=local))
    check_source(name, allow_vrt=False, allow_remote=allow_remote, allow_private=allow_private)


def _check_remote(path: str, *, allow_remote: bool, allow_private: bool) -> None:
    """Accept a remote path only with the flag, over a known scheme, and to a public host."""
    if not allow_remote:
        raise UnsafeInput(
            explain(
                "this path leads to the network or into an archive",
                where=_without_secrets(path),
                expected="a local file",
                fix="download it, or pass --allow-remote (allow_remote=True) if you trust it",
            )
        )
    url = re.sub(r"^/vsi(curl|zip|gzip|tar)(_streaming)?/", "", path)
    parts = urlsplit(url)
    if parts.scheme in ("s3", "gs", "az") or path.startswith(("/vsis3/", "/vsigs/", "/vsiaz/")):
        return
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise UnsafeInput(
            explain(
                "this kind of path is not opened", where=_without_secrets(path), expected="https:// or s3://"
            )
        )
    if not allow_private:
        _check_public(parts.hostname)


def _check_public(host: str) -> None:
    try:
        found = {info[4][0] for info in socket.getaddrinfo(host, None)}
    except OSError as error:
        raise CannotRead(explain("the host is not known", where=host, got=str(error))) from error
    private = sorted(str(a) for a in found if not ipaddress.ip_address(str(a).split("%")[0]).is_global)
    if private:
        raise UnsafeInput(
            explain(
                "this address is on a private or local network",
                where=host,
                got=", ".join(private),
                expected="a public host",
                fix="download the file first",
            )
        )


def _without_secrets(path: str) -> str:
    """Return a path without user, password and query, which may hold tokens."""
    parts = urlsplit(path)
    return path if not parts.netloc else f"{parts.scheme}://{parts.hostname}{parts.path}"
