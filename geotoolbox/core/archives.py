"""Unpacking zip and tar files as if a stranger had made them.

Every entry is looked at before a byte of it is written. Only regular files and folders come out, under plain
relative names, into a new private folder that is renamed at the end: so no name and no link can lead
elsewhere, and the target is whole or not there.
"""

from __future__ import annotations

import bz2
import gzip
import lzma
import os
import shutil
import stat
import tarfile
import tempfile
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from geotoolbox.core.entries import EntryNames
from geotoolbox.core.files import check_space, check_writable
from geotoolbox.errors import CannotRead, CannotWrite, UnsafeInput, explain

__all__ = ["ArchiveLimits", "unpack"]

_CHUNK_BYTES = 1 << 18
_TAR_HEADER_BYTES = 1 << 20  # no honest name or attribute of an entry is longer
_SMALL_BYTES = 1 << 20  # below this, no compression ratio is a danger
_FIX = "unpack it by hand if you trust where it comes from"
_DAMAGED = (zipfile.BadZipFile, tarfile.TarError, zlib.error, lzma.LZMAError, EOFError, gzip.BadGzipFile)


@dataclass(frozen=True, slots=True)
class ArchiveLimits:
    """How much an archive may hold.

    Attributes:
        entries: Most files and folders.
        size_bytes: Most bytes of all files together, unpacked.
        ratio: Most bytes unpacked for each byte packed, beyond the first mebibyte.
    """

    entries: int = 100_000
    size_bytes: int = 64 << 30
    ratio: int = 100


@dataclass(slots=True)
class _Budget:
    """What is left of the limits while an archive is read."""

    path: Path
    limits: ArchiveLimits
    entries: int = 0
    size_bytes: int = 0
    packed_bytes: int = field(init=False)

    def __post_init__(self) -> None:
        self.packed_bytes = self.path.stat().st_size

    def take(self, name: str, size_bytes: int, packed_bytes: int | None = None) -> None:
        """Count one entry, and refuse the one that is too much."""
        self.entries += 1
        self.size_bytes += size_bytes
        if size_bytes < 0:
            refuse(self.path, f"the entry {name!r} of {size_bytes} bytes", "a size")
        if self.entries > self.limits.entries:
            refuse(self.path, f"more than {self.limits.entries:,} entries", "fewer")
        if self.size_bytes > self.limits.size_bytes:
            refuse(
                self.path, f"more than {self.limits.size_bytes:,} bytes unpacked ({name!r})", "fewer bytes"
            )
        self.check_ratio(name, size_bytes, packed_bytes)

    def check_ratio(self, name: str, size_bytes: int, packed_bytes: int | None) -> None:
        """Refuse an entry, or an archive, that grows too much."""
        size, packed = (
            (self.size_bytes, self.packed_bytes) if packed_bytes is None else (size_bytes, packed_bytes)
        )
        if size > _SMALL_BYTES and size > self.limits.ratio * max(packed, 1):
            refuse(
                self.path,
                f"{name!r} packed to less than 1/{self.limits.ratio}",
                "no decompression bomb",
            )


def unpack(path: Path, folder: Path, *, limits: ArchiveLimits | None = None) -> tuple[Path, ...]:
    """Unpack a zip or tar file (plain, gzip, bzip2 or xz) into a new folder.

    Args:
        path: The archive.
        folder: Where its entries go. It must not be there yet, or be empty.
        limits: How much the archive may hold.

    Returns:
        The files, in the order of the archive.

    Raises:
        UnsafeInput: When an entry is a link, a device or encrypted; when its name is absolute, has ``..``, a
            backslash or a drive, or clashes with another's; or when the archive is larger than the limits.
        CannotRead: When the archive is missing, damaged, or no archive.
        CannotWrite: When the folder holds something already, or cannot be written.
        NoSpace: When the disk is too small.

    Example:
        >>> place = Path(tempfile.mkdtemp())
        >>> with zipfile.ZipFile(place / "a.zip", "w") as archive:
        ...     archive.writestr("deep/a.txt", "whole")
        >>> [file.relative_to(place).as_posix() for file in unpack(place / "a.zip", place / "out")]
        ['out/deep/a.txt']
    """
    path, folder = Path(path), Path(folder)
    if folder.is_symlink() or (folder.exists() and (not folder.is_dir() or any(folder.iterdir()))):
        raise CannotWrite(explain("the folder to unpack into is not empty", where=folder, fix="name another"))
    start = _first_bytes(path)
    check_writable(folder / "probe") if folder.exists() else check_writable(folder)
    with _staging(folder) as content:
        try:
            budget = _Budget(path, limits or ArchiveLimits())
            names = EntryNames(path)
            if start.startswith((b"PK\x03\x04", b"PK\x05\x06")):
                made = _unzip(budget, names, content)
            else:
                made = _untar(budget, names, content, start)
        except (*_DAMAGED, NotImplementedError, RuntimeError, ValueError) as error:
            if isinstance(error, UnsafeInput):
                raise
            raise CannotRead(
                explain(
                    "the archive is damaged, or no zip or tar",
                    where=path,
                    got=str(error) or type(error).__name__,
                    fix="copy or download it again",
                )
            ) from error
    return tuple(folder / name for name in made)


def refuse(path: Path, got: str, expected: str) -> None:
    """Raise the error for an archive that is not safe to unpack."""
    raise UnsafeInput(
        explain("the archive is not safe to unpack", where=path, got=got, expected=expected, fix=_FIX)
    )


def _first_bytes(path: Path) -> bytes:
    try:
        with path.open("rb") as stream:
            return stream.read(16)
    except OSError as error:
        raise CannotRead(
            explain("cannot open the archive", where=path, got=error.strerror or error)
        ) from error


@contextmanager
def _staging(folder: Path) -> Iterator[Path]:
    """Give a new folder inside a private one, and rename it to ``folder`` when the body succeeds."""
    private = Path(tempfile.mkdtemp(prefix=f".{folder.name[:50]}.", suffix=".part", dir=folder.parent))
    content = private / "content"
    try:
        content.mkdir()
        yield content
        if folder.exists():
            folder.rmdir()
        content.rename(folder)
    finally:
        shutil.rmtree(private, ignore_errors=True)


def _write(content: Path, name: str, stream: IO[bytes], size_bytes: int) -> None:
    """Write exactly the bytes that the entry announced, into a file that was not there."""
    target = content / name
    target.parent.mkdir(parents=True, exist_ok=True)
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0)
    left = size_bytes
    with os.fdopen(os.open(target, flags, 0o666), "wb") as out:
        while left and (chunk := stream.read(min(left, _CHUNK_BYTES))):
            out.write(chunk)
            left -= len(chunk)
    if left or stream.read(1):
        raise EOFError(f"{name} has not the {size_bytes:,} bytes that it announces")


def _unzip(budget: _Budget, names: EntryNames, content: Path) -> list[str]:
    made = []
    with zipfile.ZipFile(budget.path) as archive:
        wanted = [(info, _checked_zip_entry(budget, names, info)) for info in archive.infolist()]
        check_space(content / "x", budget.size_bytes)
        for info, name in wanted:
            if info.is_dir():
                (content / name).mkdir(parents=True, exist_ok=True)
                continue
            with archive.open(info) as stream:
                _write(content, name, stream, info.file_size)
            made.append(name)
    return made


def _checked_zip_entry(budget: _Budget, names: EntryNames, info: zipfile.ZipInfo) -> str:
    """Return the clean name of an entry that may be written."""
    name = info.orig_filename
    kind = stat.S_IFMT(info.external_attr >> 16)
    if kind not in (0, stat.S_IFDIR if info.is_dir() else stat.S_IFREG):
        refuse(budget.path, f"the entry {name!r}, which is a link or a device", "plain files")
    if info.flag_bits & 0x1:
        refuse(budget.path, f"the encrypted entry {name!r}", "plain files")
    if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        refuse(budget.path, f"the entry {name!r}, packed in a rare way", "stored or deflated entries")
    if info.is_dir() and info.file_size:
        refuse(budget.path, f"the folder {name!r} with content", "plain files")
    budget.take(name, info.file_size, info.compress_size)
    return names.add(name, is_folder=info.is_dir())


class _Bounded:
    """An unpacked tar stream that refuses to be read in one huge piece: a header may ask for that."""

    def __init__(self, stream: IO[bytes], path: Path) -> None:
        self._stream, self._path = stream, path

    def read(self, size: int = -1) -> bytes:
        if not 0 <= size <= _TAR_HEADER_BYTES:
            refuse(self._path, f"a header of {size:,} bytes", f"at most {_TAR_HEADER_BYTES:,}")
        return self._stream.read(size)

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        return self._stream.seek(offset, whence)

    def tell(self) -> int:
        return self._stream.tell()


def _unpacked(path: Path, start: bytes) -> Any:
    if start.startswith(b"\x1f\x8b"):
        return gzip.open(path, "rb")
    if start.startswith(b"BZh"):
        return bz2.open(path, "rb")
    if start.startswith(b"\xfd7zXZ\0"):
        return lzma.open(path, "rb")
    return path.open("rb")


def _untar(budget: _Budget, names: EntryNames, content: Path, start: bytes) -> list[str]:
    made = []
    with _unpacked(budget.path, start) as raw:
        bounded: Any = _Bounded(raw, budget.path)
        with tarfile.open(fileobj=bounded, mode="r:", errorlevel=2) as archive:
            while (info := archive.next()) is not None:
                archive.members.clear()  # type: ignore[attr-defined]  # else each entry stays in memory
                name = _take_tar_entry(budget, names, content, archive, info)
                made += [name] if name else []
    return made


def _take_tar_entry(
    budget: _Budget, names: EntryNames, content: Path, archive: tarfile.TarFile, info: tarfile.TarInfo
) -> str | None:
    """Write one entry, and return its name where it is a file."""
    if info.type not in (tarfile.REGTYPE, tarfile.AREGTYPE, tarfile.DIRTYPE) or info.issparse():
        refuse(budget.path, f"the entry {info.name!r}, which is a link or a device", "plain files")
    budget.take(info.name, info.size if info.isreg() else 0)
    if info.isdir() and info.name in (".", "./"):
        return None
    clean = names.add(info.name, is_folder=info.isdir())
    if info.isdir():
        (content / clean).mkdir(parents=True, exist_ok=True)
        return None
    check_space(content / "x", info.size)
    stream = archive.extractfile(info)
    assert stream is not None
    _write(content, clean, stream, info.size)
    return clean
