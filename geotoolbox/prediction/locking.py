"""One writer for one output: a lock that dies with its process."""

from __future__ import annotations

import json
import os
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from geotoolbox.errors import Locked, explain

__all__ = ["hold"]


@contextmanager
def hold(path: Path, output: Path) -> Iterator[None]:
    """Hold the lock file ``path`` while the body runs.

    The operating system holds the lock, not the file's existence: what a killed process leaves
    behind locks nobody out.

    Raises:
        Locked: When another process writes ``output``; says which, where and since when.

    Example:
        >>> import tempfile
        >>> lock = Path(tempfile.mkdtemp()) / "lock"
        >>> with hold(lock, Path("map.tif")):
        ...     lock.exists()
        True
    """
    handle = _open(path, output)
    try:
        me = {
            "pid": os.getpid(),
            "host": socket.gethostname(),
            "since": datetime.now(UTC).isoformat("T", "seconds"),
        }
        os.ftruncate(handle, 0)
        os.pwrite(handle, json.dumps(me).encode(), 0) if hasattr(os, "pwrite") else os.write(
            handle, json.dumps(me).encode()
        )
        yield
    finally:
        os.close(handle)


def _open(path: Path, output: Path) -> int:
    while True:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        if not _try_lock(handle):
            os.close(handle)
            raise Locked(
                explain(
                    "another process is writing this output",
                    where=output,
                    got=f"locked by {_holder(path)}",
                    fix="wait for it to end, or choose another output",
                )
            )
        try:
            same = os.stat(path).st_ino == os.fstat(handle).st_ino
        except FileNotFoundError:
            same = False
        if same:
            return handle
        os.close(handle)  # its holder removed the file between our open and our lock


def _holder(path: Path) -> str:
    try:
        facts = json.loads(path.read_text())
        return f"process {int(facts['pid'])} on {facts['host']} since {facts['since']}"
    except (OSError, ValueError, KeyError, TypeError):
        return "an unknown process"


if sys.platform == "win32":
    import msvcrt

    def _try_lock(handle: int) -> bool:
        os.lseek(handle, 1 << 20, os.SEEK_SET)
        try:
            msvcrt.locking(handle, msvcrt.LK_NBLCK, 1)
        except OSError:
            return False
        os.lseek(handle, 0, os.SEEK_SET)
        return True
else:
    import fcntl

    def _try_lock(handle: int) -> bool:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            return False
        return True
