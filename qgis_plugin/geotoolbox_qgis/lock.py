"""One at a time. Standard library only."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from .runner import EngineError

__all__ = ["Lock"]


class Lock:
    """Keeps two set-ups from filling one folder."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __enter__(self) -> None:
        for _ in range(2):
            try:
                handle = os.open(self.path, os.O_CREAT | os.O_EXCL | os.O_WRONLY)
            except FileExistsError:
                if not _is_stale(self.path):
                    raise EngineError(
                        "The engine is being set up by another QGIS just now. Wait for it."
                    ) from None
                self.path.unlink()
                continue
            os.write(handle, str(os.getpid()).encode())
            os.close(handle)
            return
        raise EngineError(f"The lock {self.path} cannot be made.")

    def __exit__(self, *_: object) -> None:
        try:
            self.path.unlink()
        except FileNotFoundError:
            return


def _is_stale(path: Path) -> bool:
    try:
        pid = int(path.read_text())
        if sys.platform == "win32":  # there, signal 0 would end the process
            return False
        os.kill(pid, 0)
    except (ValueError, ProcessLookupError):
        return True
    except OSError:
        return False
    return False
