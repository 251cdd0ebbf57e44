"""R02: killed at any point and run again, the files are the same, byte for byte."""

from __future__ import annotations

import multiprocessing as mp
import time
from pathlib import Path

import numpy as np
import pytest

from tests.prediction.work import contents, predict_small


def test_r02_law_4_kill_minus_9_at_20_points_and_rerun_gives_the_same_bytes(tmp_path: Path) -> None:
    if "forkserver" not in mp.get_all_start_methods():
        pytest.skip("needs a start method that forks")
    context = mp.get_context("forkserver")
    context.set_forkserver_preload(["tests.prediction.work", "geotoolbox.prediction.engine"])
    whole = tmp_path / "whole"
    whole.mkdir()
    predict_small(whole)
    expected = contents(whole)
    assert {"map.tif", "map.tif.aux.xml", "map.qml", "p.tif"} <= set(expected)
    folder = tmp_path / "killed"
    folder.mkdir()
    process = context.Process(target=predict_small, args=(folder,))
    process.start()  # the first one also starts the server, and tells how long a run takes
    process.join()
    assert contents(folder) == expected
    start = time.monotonic()
    _clear(folder)
    process = context.Process(target=predict_small, args=(folder,))
    process.start()
    process.join()
    duration = time.monotonic() - start
    _clear(folder)
    killed = 0
    for tried, point in enumerate(np.random.default_rng(7).uniform(0.05, 0.95, 80)):
        if tried >= 20 and killed >= 5:  # a machine that gets quicker meanwhile needs more tries
            break
        process = context.Process(target=predict_small, args=(folder,))
        process.start()
        process.join(point * duration)
        if process.exitcode is None:
            process.kill()
            process.join()
            killed += 1
        found = {n: b for n, b in contents(folder).items() if ".part" not in n}
        assert all(expected[name] == data for name, data in found.items() if name.endswith(".tif"))
        if "map.tif" in found:
            _clear(folder)
    assert killed >= 5
    result = predict_small(folder)
    assert {n: b for n, b in contents(folder).items() if ".part" not in n} == expected
    assert not result.failed and not list(folder.glob(".*.work"))


def _clear(folder: Path) -> None:
    """Remove what was finished; working folders stay."""
    for path in folder.iterdir():
        if not path.name.startswith("."):
            path.unlink()
