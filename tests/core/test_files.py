"""Files that are whole or not there, and nothing is left lying about."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from geotoolbox.core.files import STALE_AFTER_S, atomic_path

DEAD = 2**22 + 1
"""A process number that no system gives: one of a process that has ended may be given anew."""


def leave(path: Path, age_s: float) -> Path:
    path.write_text("half")
    then = time.time() - age_s
    os.utime(path, (then, then))
    return path


def test_what_a_killed_run_left_is_swept_and_nothing_else(tmp_path: Path) -> None:
    dead, old = DEAD, STALE_AFTER_S + 60
    swept = [
        leave(tmp_path / name.format(dead), old)
        for name in (
            "map.{}.part.tif",
            "map.{}.work.tif",
            "map.{}.part.tif.ovr.tmp",
            "map.{}.part.tif.aux.xml",
        )
    ]
    kept = [
        leave(tmp_path / f"map.{dead}.part2.tif", old),
        leave(tmp_path / f"other.{dead}.part.tif", old),
        leave(tmp_path / f"map.{dead}.tif", old),
        leave(tmp_path / f"map.{os.getppid()}.part.tif", old),
    ]
    with atomic_path(tmp_path / "map.tif") as part:
        part.write_text("whole")
    assert not [path.name for path in swept if path.exists()]
    assert all(path.exists() for path in kept)
    assert (tmp_path / "map.tif").read_text() == "whole"


def test_a_fresh_temporary_file_may_be_another_machine_s_and_stays(tmp_path: Path) -> None:
    fresh = leave(tmp_path / f"map.{DEAD}.part.tif", 1)
    with atomic_path(tmp_path / "map.tif") as part:
        part.write_text("whole")
    assert fresh.exists()


def test_a_failure_leaves_the_old_file(tmp_path: Path) -> None:
    target = tmp_path / "a.txt"
    target.write_text("old")
    with pytest.raises(RuntimeError, match="stop"), atomic_path(target) as part:
        part.write_text("new")
        raise RuntimeError("stop")
    assert target.read_text() == "old" and list(tmp_path.iterdir()) == [target]
