"""What the tests of the plugin share.

The tests in this folder run in the project's own Python, without QGIS: runner, set-up, package. Those in
``inside`` run in QGIS's Python (``make qgis``).
"""

from __future__ import annotations

import stat
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

PLUGIN = Path(__file__).resolve().parents[2] / "qgis_plugin"
sys.path.insert(0, str(PLUGIN))

collect_ignore = ["inside"]

HELLO = '{"kind": "hello", "protocol": 1, "engine": "0.1.0", "python": "3.11.2", "pid": 1}'

MakeEngine = Callable[[str], str]


@pytest.fixture
def fake_engine(tmp_path: Path) -> MakeEngine:
    """Make an executable that stands for the engine's Python; its folder has a space and an accent."""
    folder = tmp_path / "mön engine"
    folder.mkdir()

    def make(body: str) -> str:
        path = folder / f"python{len(list(folder.iterdir()))}"
        head = f"#!{sys.executable}\nimport json, os, signal, subprocess, sys, time\nHELLO = {HELLO!r}\n"
        head += "def say(**event): print(json.dumps(event), flush=True)\n"
        path.write_text(head + body, encoding="utf-8")
        path.chmod(path.stat().st_mode | stat.S_IXUSR)
        return str(path)

    return make
