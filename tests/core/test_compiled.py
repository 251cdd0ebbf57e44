"""Compiled loops: the same numbers as the Python they are written in, in threads, pickled, and without a cache folder."""

from __future__ import annotations

import math
import os
import pickle
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from geotoolbox.core import compiled as module
from geotoolbox.core.compiled import Compiled, compiled


@compiled
def _twice(value: float) -> float:
    return value * 2.0


@compiled
def _sum_of_doubles(values: np.ndarray) -> float:
    total = 0.0
    for n in range(values.size):
        total += _twice(values[n])
    return total


def test_one_compiled_function_calls_another() -> None:
    values = np.random.default_rng(0).normal(size=1001)
    truth = 0.0
    for value in values:
        truth += float(value) * 2.0
    assert _sum_of_doubles(values) == truth


def test_it_is_made_once_by_many_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    made = []
    real = module._machine_code
    monkeypatch.setattr(module, "_machine_code", lambda f: made.append(f) or real(f))
    fresh = Compiled(_twice.__wrapped__)
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(fresh, [1.5] * 64)) == [3.0] * 64
    assert len(made) == 1


def test_it_is_pickled_by_name() -> None:
    assert pickle.loads(pickle.dumps(_twice)) is _twice


def test_it_runs_where_no_folder_can_be_written(monkeypatch: pytest.MonkeyPatch) -> None:
    import numba

    real = numba.njit

    def njit(*args: object, cache: bool = False, **words: object) -> object:
        if cache:
            raise RuntimeError("cannot cache function: no locator available")
        return real(*args, **words)

    monkeypatch.setattr(numba, "njit", njit)
    assert Compiled(_twice.__wrapped__)(math.pi) == 2 * math.pi


def test_as_plain_python_where_that_is_asked_for(tmp_path: Path) -> None:
    program = tmp_path / "program.py"
    program.write_text(
        "import numpy as np\n"
        "from geotoolbox.alignment.loops import spread\n"
        "out = np.empty((3, 5))\n"
        "spread(np.array([[0.0, 4.0], [2.0, 6.0]]), (0.0, 2.0), (0.0, 4.0), out)\n"
        "print(out.tolist())\n"
    )
    found = [
        subprocess.run(
            [sys.executable, str(program)],
            env={**os.environ, **more},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for more in ({}, {"NUMBA_DISABLE_JIT": "1"})
    ]
    assert (
        found[0]
        == found[1]
        == "[[0.0, 1.0, 2.0, 3.0, 4.0], [1.0, 2.0, 3.0, 4.0, 5.0], [2.0, 3.0, 4.0, 5.0, 6.0]]\n"
    )


def test_it_gets_ready_in_a_thread_of_its_own() -> None:
    thread = module.get_ready()
    assert thread.daemon
    thread.join(timeout=60)
    assert not thread.is_alive()
    assert module._nothing._made is not None


def test_a_child_made_meanwhile_can_use_it(tmp_path: Path) -> None:
    program = tmp_path / "program.py"
    program.write_text(
        "import os, sys\n"
        "from geotoolbox.core import compiled as c\n"
        "thread = c.get_ready()\n"
        "child = os.fork()\n"
        "if child == 0:\n"
        "    os._exit(c._nothing())\n"
        "_, status = os.waitpid(child, 0)\n"
        "thread.join()\n"
        "sys.exit(os.waitstatus_to_exitcode(status))\n"
    )
    done = subprocess.run(
        [sys.executable, str(program)], timeout=120, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
