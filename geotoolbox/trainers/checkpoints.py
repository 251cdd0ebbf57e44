"""Checkpoints that survive a kill: written whole, with a checksum, and the newest good one is found again."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from pathlib import Path

from geotoolbox.core.files import atomic_path, sha256_of

__all__ = ["clear_parts", "last_good", "write_checkpoint"]

_log = logging.getLogger(__name__)
_PATTERN = "epoch-??????.ckpt"


def write_checkpoint(folder: Path, epoch: int, save: Callable[[Path], None], keep: int = 2) -> Path:
    """Write the checkpoint of an epoch, and remove the oldest beyond ``keep``.

    Args:
        folder: Where the checkpoints of this run are.
        epoch: Epochs that are done.
        save: Writes the checkpoint to the path it is given.
        keep: How many stay.

    Raises:
        NoSpace: When the disk is full; the checkpoints before stay.
    """
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"epoch-{epoch:06d}.ckpt"
    with atomic_path(path) as part:
        save(part)
        digest = sha256_of(part)
        # The sum comes first: a checkpoint without one is never taken.
        with atomic_path(_sum_of(path)) as sums:
            sums.write_text(digest, encoding="ascii")
    for old in sorted(folder.glob(_PATTERN))[:-keep]:
        _sum_of(old).unlink(missing_ok=True)
        old.unlink(missing_ok=True)
    return path


def last_good(folder: Path) -> Path | None:
    """Return the newest checkpoint whose checksum is right, or None; damaged ones are named in a warning (R01)."""
    for path in sorted(folder.glob(_PATTERN), reverse=True):
        noted = _sum_of(path)
        if noted.exists() and noted.read_text(encoding="ascii") == sha256_of(path):
            return path
        _log.warning("the checkpoint %s is damaged; going on from the one before it", path)
    return None


def clear_parts(folder: Path) -> None:
    """Remove what a killed process of ours left half written; those of living processes stay."""
    for part in folder.glob("*.part*"):
        number = part.name.split(".")[-3] if part.name.count(".") >= 3 else ""
        if not (number.isdigit() and _alive(int(number))):
            part.unlink(missing_ok=True)


def _sum_of(path: Path) -> Path:
    return path.with_suffix(".sha256")


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True
