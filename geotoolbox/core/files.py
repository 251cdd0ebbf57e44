"""Files that are whole or not there: written beside, verified, flushed, then renamed."""

from __future__ import annotations

import errno
import hashlib
import os
import re
import shutil
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from geotoolbox.errors import BadInput, CannotWrite, GeoToolboxError, NoSpace, explain

__all__ = [
    "NEARLY_FULL_BYTES",
    "atomic_path",
    "check_apart",
    "check_space",
    "check_writable",
    "free_bytes",
    "fsync",
    "sha256_of",
]

NEARLY_FULL_BYTES = 1 << 20
"""With less room than this, a write that fails is taken to have failed for want of room."""

STALE_AFTER_S = 600.0
"""Temporary files of dead processes are swept up after this time, in seconds."""


def free_bytes(folder: Path) -> int:
    """Return the bytes that are free where ``folder`` is (or would be)."""
    place = folder
    while not place.exists():
        place = place.parent
    return shutil.disk_usage(place).free


def check_space(path: Path, needed_bytes: int) -> None:
    """Raise :class:`NoSpace` before work starts, when the disk cannot hold the result."""
    free = free_bytes(path.parent)
    if free < needed_bytes:
        raise NoSpace(
            explain(
                "not enough room on the disk",
                where=path,
                got=f"{free:,} bytes free",
                expected=f"at least {needed_bytes:,} bytes",
                fix="free some space or choose another output folder, then run the same command again",
            )
        )


def check_writable(path: Path) -> None:
    """Raise :class:`CannotWrite` before work starts, when ``path`` cannot be made.

    The folder is created where it is missing; an empty probe file is made and removed, since
    permission bits alone do not tell (root, network file systems, read-only mounts).
    """
    probe = path.with_name(path.name[:100] + f".{os.getpid()}.probe")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise CannotWrite(
            explain(
                "cannot write here",
                where=path,
                got=error.strerror or str(error),
                expected="a folder that can be written to",
                fix="choose another output path or change the folder's permissions",
            )
        ) from error
    if path.is_dir():
        raise CannotWrite(
            explain("the output is a folder", where=path, expected="a file name", fix="add a name")
        )


def check_apart(outputs: Iterable[str | Path], inputs: Iterable[str | Path]) -> None:
    """Raise :class:`BadInput` when an output would take the place of a file that is read, or of another output.

    Links to one file are one file.

    Args:
        outputs: Files that will be written.
        inputs: Files that are read, and must stay as they are.

    Example:
        >>> check_apart(["map.tif"], ["image.tif"])
        >>> check_apart(["map.tif", "./map.tif"], [])
        Traceback (most recent call last):
        geotoolbox.errors.BadInput: two outputs are one file: ./map.tif. Expected a name for each.
    """
    written: set[object] = set()
    for path in outputs:
        if _same_as(path) in written:
            raise BadInput(explain("two outputs are one file", where=path, expected="a name for each"))
        written.add(_same_as(path))
    there = any(isinstance(place, tuple) for place in written)
    for path in inputs if there else ():  # what is not there yet is no input
        if _same_as(path) in written:
            raise BadInput(
                explain(
                    "the output would take the place of an input",
                    where=path,
                    expected="another name",
                    fix="choose an output path that is not among the files that are read",
                )
            )


def _same_as(path: str | Path) -> object:
    """Return what two paths to one file share."""
    place = Path(path).expanduser()
    try:
        found = place.stat()
    except (OSError, ValueError):
        return os.path.realpath(place)
    return found.st_dev, found.st_ino


def fsync(path: Path) -> None:
    """Flush a file, and the folder entry, to the disk."""
    for place, flags in ((path, os.O_RDONLY), (path.parent, os.O_RDONLY)):
        handle = os.open(place, flags)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def sha256_of(path: Path, chunk_bytes: int = 1 << 20) -> str:
    """Return the SHA-256 of a file's bytes, as hex."""
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        while chunk := stream.read(chunk_bytes):
            digest.update(chunk)
    return digest.hexdigest()


@contextmanager
def atomic_path(
    path: Path, verify: Callable[[Path], None] | None = None, *, tag: str = "", sweep: bool = True
) -> Iterator[Path]:
    """Give a path beside ``path`` to write to, and rename it at the end.

    The temporary name ends in ``.part`` plus the final suffix (so that drivers know the format). When the
    body or ``verify`` raises, the temporary file goes and ``path`` is what it was before. What a killed run
    left beside ``path`` is swept up.

    Args:
        path: The file to make.
        verify: Looks at the finished temporary file, and may raise.
        tag: A word in the temporary name, for folders that several machines write to.
        sweep: Whether to look for what killed runs left (a listing of the folder, for each file).

    Raises:
        NoSpace: When the disk is full.

    Example:
        >>> import tempfile
        >>> target = Path(tempfile.mkdtemp()) / "a.txt"
        >>> with atomic_path(target) as part:
        ...     _ = part.write_text("whole")
        >>> target.read_text()
        'whole'
    """
    path = Path(path)
    part = path.with_name(f"{path.stem}.{tag and tag + '.'}{os.getpid()}.part{path.suffix}")
    if sweep:
        _sweep(path)
    try:
        yield part
        if verify is not None:
            verify(part)
        fsync(part)
        os.replace(part, path)
        fsync(path)
    except GeoToolboxError:
        raise
    except Exception as error:  # GDAL and SQLite have errors of their own for a full disk
        if _is_full(error) or free_bytes(path.parent) < NEARLY_FULL_BYTES:
            raise NoSpace(
                explain(
                    "the disk is full",
                    where=path,
                    got=f"{free_bytes(path.parent):,} bytes free",
                    fix="free some space, then run the same command again",
                )
            ) from error
        raise
    finally:
        for left in (part, part.with_name(part.name + ".aux.xml")):
            left.unlink(missing_ok=True)


def _sweep(path: Path) -> None:
    """Remove temporary files of ``path`` whose process is gone and that nobody has touched for a while.

    The age keeps the files of other machines that share the folder: their process numbers say nothing here.
    """
    pattern = re.compile(re.escape(path.stem) + r"\.(\d+)\.(part|work)\b.*")
    for left in path.parent.iterdir() if path.parent.is_dir() else ():
        match = pattern.fullmatch(left.name)
        if match and not _alive(int(match[1])):
            with suppress(OSError):
                if time.time() - left.stat().st_mtime > STALE_AFTER_S:
                    left.unlink()


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True


def _is_full(error: BaseException) -> bool:
    full = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
    if isinstance(error, OSError) and error.errno in full:
        return True
    words = str(error).lower()
    return any(w in words for w in ("no space left", "disk is full", "disk full"))
