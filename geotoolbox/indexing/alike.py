"""Files made alike: a TIFF that says the same as one read before, but for its corner, has the same header.

Many thousand tiles of one making differ in their corner and their pixels only. What GDAL makes of a header depends
on the bytes of its directories and on files beside it. So a file whose directories are the same, byte for byte, and
that can have no file beside it that counts, is not opened: it takes the header that GDAL gave for the first one.
Whatever is unusual here goes to GDAL.
"""

from __future__ import annotations

import hashlib
import math
import os
import struct
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from io import FileIO

from affine import Affine
from rasterio.env import get_gdal_config

from geotoolbox.core.header import RasterHeader
from geotoolbox.core.sniffing import local_path

__all__ = ["AlikeFiles", "Mark", "mark_of"]

_HEAD_BYTES = 4096
_MOST_DIRECTORIES, _MOST_VALUE_BYTES, _MOST_KINDS = 32, 1 << 16, 1024
_FEW_FILES = 32  # to list a folder for fewer would cost more than to open them
# Kinds of files of which GDAL looks for none beside a TIFF (it does for .ovr, .xml, .txt, .tfw, .rpb and many more).
_HARMLESS = (
    ".tif",
    ".tiff",
    ".json",
    ".geojson",
    ".gpkg",
    ".parquet",
    ".csv",
    ".md",
    ".html",
    ".png",
    ".zip",
)
_BYTES_OF = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4, 16: 8, 17: 8}
_OFFSETS = (273, 279, 324, 325)  # of strips and tiles, and their byte counts
_TIEPOINT, _COMPRESSION, _DOUBLE, _SHORT = 33922, 259, 12, 3
_KNOWN_TAGS = frozenset(
    {
        254, 256, 257, 258, 259, 262, 266, 269, 270, 274, 277, 278, 280, 281, 282, 283, 284, 296, 305, 306, 315, 316,
        317, 320, 322, 323, 338, 339, 33432, 33550, 34735, 34736, 34737, 42112, 42113, _TIEPOINT, *_OFFSETS,
    }
)  # fmt: skip
"""Tags that say all they say by their own value: none that points to more, such as EXIF or a JPEG's tables."""
_PLAIN, _LZW, _DEFLATE, _PACKBITS, _OLD_DEFLATE, _LZMA, _ZSTD = 1, 5, 8, 32773, 32946, 34925, 50000
_KNOWN_COMPRESSIONS = (_PLAIN, _LZW, _DEFLATE, _PACKBITS, _OLD_DEFLATE, _LZMA, _ZSTD)


@dataclass(frozen=True, slots=True)
class Mark:
    """What tells whether two TIFF files are alike.

    Attributes:
        kind: A digest of the directories, without the corner and without where the pixels stand.
        corner: Easting and northing of the first pixel's corner, as the file has them.
        size_bytes: Size of the file.
        mtime_ns: Time of the last change.
    """

    kind: bytes
    corner: tuple[float, float]
    size_bytes: int
    mtime_ns: int


class AlikeFiles:
    """The headers of kinds of files, each as GDAL read it from the first of them.

    Args:
        names: All files that will be asked for; the folders of many of them are listed, once.
    """

    def __init__(self, names: Sequence[str] = ()) -> None:
        counts = Counter(os.path.dirname(name) for name in names)
        many = [folder for folder, count in counts.items() if count >= _FEW_FILES]
        elsewhere = (
            get_gdal_config("GDAL_PAM_PROXY_DIR") is not None
        )  # side files that stand in another folder
        self._folders = set() if elsewhere else {f for f in many if _without_side_files(f)}
        self._headers: dict[bytes, RasterHeader] = {}

    def mark(self, name: str) -> Mark | None:
        """Return the mark of a file; None where a file beside it may count, or where GDAL must look."""
        if os.path.dirname(name) not in self._folders or local_path(name) != name:
            return None
        return mark_of(name)

    def header(self, name: str, mark: Mark) -> RasterHeader | None:
        """Return the header of a file from one that is alike, or None when there was none before."""
        found = self._headers.get(mark.kind)
        if found is None:
            return None
        grid = found.transform
        return replace(
            found,
            path=name,
            transform=Affine(grid.a, grid.b, mark.corner[0], grid.d, grid.e, mark.corner[1]),
            tags=dict(found.tags),
            size_bytes=mark.size_bytes,
            mtime_ns=mark.mtime_ns,
        )

    def learn(self, mark: Mark, header: RasterHeader) -> None:
        """Keep a header that GDAL read for the files that are alike."""
        same_corner = (header.transform.c, header.transform.f) == mark.corner
        same_file = (header.size_bytes, header.mtime_ns) == (mark.size_bytes, mark.mtime_ns)
        if same_corner and same_file and not _is_its_own(header) and len(self._headers) < _MOST_KINDS:
            self._headers[mark.kind] = header


def _is_its_own(header: RasterHeader) -> bool:
    """Tell whether a header holds more of its file: names of rasters inside, or overviews that pixels were asked for."""
    masked = any("per_dataset" in flags and "alpha" not in flags for flags in header.mask_flags)
    return masked or bool(header.subdatasets)


def _without_side_files(folder: str) -> bool:
    try:
        with os.scandir(folder or ".") as entries:
            return all(e.name.lower().endswith(_HARMLESS) or e.is_dir() for e in entries)
    except OSError:
        return False


def mark_of(path: str) -> Mark | None:
    """Return the mark of a TIFF file; None where GDAL must look at it, whatever the reason."""
    try:
        with open(path, "rb", buffering=0) as stream:
            facts = os.fstat(stream.fileno())
            found = _Directories(stream, facts.st_size).read()
    except (OSError, ValueError, struct.error, LookupError):
        return None  # what is wrong with it is told by who opens it
    return None if found is None else Mark(*found, facts.st_size, facts.st_mtime_ns)


@dataclass(frozen=True, slots=True)
class _Entry:
    """One entry of a directory: its first bytes (tag, type and count) and its value."""

    tag: int
    kind: int
    count: int
    begin: bytes
    value: bytes


class _Directories:
    """The directories of one open TIFF file; raises ValueError where they are unusual."""

    def __init__(self, stream: FileIO, size: int) -> None:
        self.stream, self.size = stream, size
        self.head = stream.read(_HEAD_BYTES)
        self.order = {b"II": "<", b"MM": ">"}[self.head[:2]]
        version = self._number("H", 2)
        self.big = version == 43
        if version not in (42, 43) or (self.big and self.head[4:8] != struct.pack(self.order + "HH", 8, 0)):
            raise ValueError("no TIFF")

    def read(self) -> tuple[bytes, tuple[float, float]] | None:
        """Return the digest and the corner."""
        digest = hashlib.sha256(self.head[:4])
        offset, corner = self._number("Q" if self.big else "I", 8 if self.big else 4), None
        for number in range(_MOST_DIRECTORIES + 1):
            if not offset:
                return None if corner is None else (digest.digest(), corner)
            entries, offset = self._directory(offset)
            if number == 0:
                corner = self._corner(entries)
            digest.update(struct.pack("<I", len(entries)))
            for entry in entries:
                digest.update(entry.begin)
                digest.update(self._counting(entry, entries, first=number == 0))
        return None

    def _directory(self, offset: int) -> tuple[list[_Entry], int]:
        """Return the entries of a directory, and where the next one is."""
        count_as, entry_bytes, word = ("Q", 20, "Q") if self.big else ("H", 12, "I")
        count = self._number(count_as, offset)
        offset += struct.calcsize(self.order + count_as)
        if count > len(_KNOWN_TAGS):
            raise ValueError("more tags than are known")
        raw = self._bytes(offset, count * entry_bytes)
        entries = [self._entry(raw[i : i + entry_bytes]) for i in range(0, len(raw), entry_bytes)]
        return entries, self._number(word, offset + len(raw))

    def _entry(self, raw: bytes) -> _Entry:
        tag, kind, count = struct.unpack_from(self.order + ("HHQ" if self.big else "HHI"), raw)
        start = 12 if self.big else 8
        length = _BYTES_OF[kind] * count
        if tag not in _KNOWN_TAGS:
            raise ValueError("a tag that only GDAL knows")
        if length <= len(raw) - start:
            return _Entry(tag, kind, count, raw[:start], raw[start : start + length])
        (offset,) = struct.unpack_from(self.order + ("Q" if self.big else "I"), raw, start)
        if tag in _OFFSETS:
            if offset + length > self.size:
                raise ValueError("values beyond the end of the file")
            return _Entry(tag, kind, count, raw[:start], b"")
        return _Entry(tag, kind, count, raw[:start], self._bytes(offset, length))

    def _counting(self, entry: _Entry, entries: Iterable[_Entry], *, first: bool) -> bytes:
        """Return what of a value tells kinds of files apart."""
        if first and entry.tag == _TIEPOINT:
            return entry.value[:24] + entry.value[40:]
        if entry.tag == _COMPRESSION and self._short(entry) not in _KNOWN_COMPRESSIONS:
            raise ValueError("a compression of which GDAL may read more")
        if entry.tag not in _OFFSETS:
            return entry.value
        if entry.count > 1:
            return b""
        # libtiff cuts one large plain strip into many, depending on how many bytes are said to be there.
        plain = next((self._short(e) == _PLAIN for e in entries if e.tag == _COMPRESSION), True)
        return entry.value + struct.pack("<Q", self.size) if plain else bytes([any(entry.value)])

    def _corner(self, entries: Iterable[_Entry]) -> tuple[float, float]:
        """Return the place of the first pixel's corner, where that is all that the file says of its place."""
        (point,) = (e for e in entries if e.tag == _TIEPOINT)
        if point.kind != _DOUBLE or point.count != 6:
            raise ValueError("not one tie point")
        column, row, _, x, y, _ = struct.unpack(self.order + "6d", point.value)
        if column or row or not (math.isfinite(x) and math.isfinite(y)):
            raise ValueError("not that of the first pixel")
        return x, y

    def _short(self, entry: _Entry) -> int:
        if entry.kind != _SHORT or entry.count != 1:
            raise ValueError("not one number")
        return int(struct.unpack(self.order + "H", entry.value)[0])

    def _number(self, form: str, offset: int) -> int:
        form = self.order + form
        return int(struct.unpack(form, self._bytes(offset, struct.calcsize(form)))[0])

    def _bytes(self, offset: int, length: int) -> bytes:
        if length > _MOST_VALUE_BYTES or offset + length > self.size:
            raise ValueError("too long, or beyond the end of the file")
        if offset + length <= len(self.head):
            return self.head[offset : offset + length]
        self.stream.seek(offset)
        found = self.stream.read(length)
        if len(found) != length:
            raise ValueError("cut short")
        return found
