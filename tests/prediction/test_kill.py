"""R02: killed at any point and run again, the files are the same, byte for byte."""

from __future__ import annotations

import multiprocessing as mp
import os
import signal
import sys
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.prediction.work import contents, predict_small

KILLS = 20


class Killer:
    """Counts how often Python is about to touch a file, and kills its process at one of these points.

    Points are counted, not timed: a slow or busy machine is killed at the same places as a quick one.
    """

    def __init__(self, point: int = 0, delay_s: float = 0.0) -> None:
        self.seen, self.point, self.delay_s = 0, point, delay_s

    def __call__(self, event: str, arguments: tuple[Any, ...]) -> None:
        if event != "open" and not event.startswith(("os.", "shutil.", "sqlite3.")):
            return
        self.seen += 1
        if self.seen == self.point and self.delay_s:  # in the midst of what GDAL or torch does then
            timer = threading.Timer(self.delay_s, os.kill, (os.getpid(), signal.SIGKILL))
            timer.daemon = True
            timer.start()
        elif self.seen == self.point:
            os.kill(os.getpid(), signal.SIGKILL)


def predict_and_count(folder: Path, count: Path) -> None:
    killer = Killer()
    sys.addaudithook(killer)
    predict_small(folder)
    count.write_text(str(killer.seen))


def predict_and_die(folder: Path, point: int, delay_s: float) -> None:
    sys.addaudithook(Killer(point, delay_s))
    predict_small(folder)


def run(target: Any, *arguments: object) -> int | None:
    """Run a function in a process of its own, and return its exit code."""
    process = mp.get_context("forkserver").Process(target=target, args=arguments)
    process.start()
    process.join()
    return process.exitcode


def test_r02_law_4_kill_minus_9_at_20_points_and_rerun_gives_the_same_bytes(tmp_path: Path) -> None:
    if "forkserver" not in mp.get_all_start_methods():
        pytest.skip("needs a start method that forks")
    mp.get_context("forkserver").set_forkserver_preload([__name__, "tests.prediction.warmed"])
    whole, folder, count = tmp_path / "whole", tmp_path / "killed", tmp_path / "count"
    whole.mkdir()
    folder.mkdir()
    predict_small(whole)
    expected = contents(whole)
    assert {"map.tif", "map.tif.aux.xml", "map.qml", "p.tif"} <= set(expected)
    assert run(predict_and_count, folder, count) == 0
    assert contents(folder) == expected
    _clear(folder)
    total, draw = int(count.read_text()), np.random.default_rng(7)
    assert total > 100
    killed = 0
    for tried in range(3 * KILLS):
        delay_s = float(draw.uniform(0, 0.02)) if tried % 2 else 0.0
        code = run(predict_and_die, folder, int(draw.integers(1, total // 2)), delay_s)
        assert code in (0, -signal.SIGKILL)
        killed += code != 0
        found = {n: b for n, b in contents(folder).items() if ".part" not in n}
        assert all(expected[name] == data for name, data in found.items() if name.endswith(".tif"))
        if "map.tif" in found:
            _clear(folder)
        if killed == KILLS:
            break
    assert killed == KILLS
    result = predict_small(folder)
    assert {n: b for n, b in contents(folder).items() if ".part" not in n} == expected
    assert not result.failed and not list(folder.glob(".*.work"))


def _clear(folder: Path) -> None:
    """Remove what was finished; working folders stay."""
    for path in folder.iterdir():
        if not path.name.startswith("."):
            path.unlink()
