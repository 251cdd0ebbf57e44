"""One writer for one output: a lock that dies with its process."""

from __future__ import annotations

import errno
import json
import os
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from geotoolbox.errors import CannotWrite, Locked, explain

__all__ = ["hold"]


@contextmanager
def hold(path: Path, output: Path, *, shared: bool = False) -> Iterator[None]:
    """Hold the lock file ``path`` while the body runs.

    Processes that ask for a shared lock hold it together, and none that asks for it alone.

    The operating system holds the lock, not the file's existence: what a killed process leaves
    behind locks nobody out.

    Raises:
        Locked: When another process writes ``output``; says which, where and since when.
        CannotWrite: When the folder's file system has no locks.

    Example:
        >>> import tempfile
        >>> lock = Path(tempfile.mkdtemp()) / "lock"
        >>> with hold(lock, Path("map.tif")):
        ...     lock.exists()
        True
    """
    handle = _open(path, output, shared)
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


def _open(path: Path, output: Path, shared: bool) -> int:
    while True:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            mine = _try_lock(handle, shared)
        except OSError as error:
            os.close(handle)
            raise CannotWrite(
                explain(
                    "this folder's file system has no locks",
                    where=path.parent,
                    got=error.strerror or str(error),
                    fix="choose an output folder that has them (NFS 4, Lustre with -o flock, a local disk)",
                )
            ) from error
        if not mine:
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

    def _try_lock(handle: int, shared: bool) -> bool:
        if shared:
            raise OSError("locks cannot be shared on Windows")
        os.lseek(handle, 1 << 20, os.SEEK_SET)
        try:
            msvcrt.locking(handle, msvcrt.LK_NBLCK, 1)
        except OSError:
            return False
        os.lseek(handle, 0, os.SEEK_SET)
        return True
else:
    import fcntl

    def _try_lock(handle: int, shared: bool) -> bool:
        try:
            fcntl.flock(handle, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno in (errno.EWOULDBLOCK, errno.EAGAIN, errno.EACCES):
                return False
            raise
        return True
