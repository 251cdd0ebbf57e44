"""Setting up the engine: plans, refusals, and a real environment from a wheel of a few lines. Nothing is downloaded."""

from __future__ import annotations

import os
import sys
import time
import zipfile
from pathlib import Path

import pytest

from .conftest import HELLO, MakeEngine

from geotoolbox_qgis import install as installing  # isort: skip
from geotoolbox_qgis.environment import find_engine, managed_folder, read_engine  # isort: skip
from geotoolbox_qgis.install import Request, install, make_plan  # isort: skip
from geotoolbox_qgis.runner import Cancelled, EngineError  # isort: skip

WORKER = f"""
import json, sys
print({HELLO!r}, flush=True)
json.loads(sys.stdin.readline())
print(json.dumps(dict(kind="result", exit_code=0, engine="0.1.0", device="cpu", text="GeoToolbox 0.1.0")), flush=True)
"""


@pytest.fixture(autouse=True)
def own_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    monkeypatch.delenv("GEOTOOLBOX_PYTHON", raising=False)
    return tmp_path / "data"


@pytest.fixture
def wheel(tmp_path: Path) -> Path:
    """A wheel named geotoolbox that stands on nothing; its worker answers any job."""
    path = tmp_path / "geotoolbox-0.1.0-py3-none-any.whl"
    info = "geotoolbox-0.1.0.dist-info"
    with zipfile.ZipFile(path, "w") as out:
        out.writestr("geotoolbox/__init__.py", "")
        out.writestr("geotoolbox/cli/__init__.py", "")
        out.writestr("geotoolbox/cli/worker.py", WORKER)
        out.writestr(f"{info}/METADATA", "Metadata-Version: 2.1\nName: geotoolbox\nVersion: 0.1.0\n")
        out.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        out.writestr(f"{info}/RECORD", "")
    return path


def ask(**more: object) -> Request:
    return Request(version="0.1.0", device="cpu", **more)  # type: ignore[arg-type]


def never() -> bool:
    return False


def test_the_plan_says_what_is_downloaded_from_where_and_how_big(own_home: Path) -> None:
    plan = make_plan(ask(), never)
    assert Path(plan.base).is_file() and plan.device == "cpu"
    for words in ("Python Package Index", "0.6 GB to download", "3 GB on the disk", str(own_home), plan.base):
        assert words in plan.sentence
    assert "graphics cards" in make_plan(Request(version="0.1.0", device="cuda"), never).sentence
    assert not own_home.joinpath("GeoToolbox", "engine-0.1.0").exists(), "a plan makes nothing"


def test_too_little_room_is_refused_before_anything_is_done(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(installing._GB, "cpu", (1e6, 1e7))
    with pytest.raises(EngineError, match=r"Too little room: .* GB are free .* Fix: free some"):
        make_plan(ask(), never)


def test_a_python_that_is_too_old_or_none_is_refused(fake_engine: MakeEngine) -> None:
    old = fake_engine("print('[[3, 9], \"/usr/bin/python3.9\"]')")
    for python in (old, "/no/python"):
        with pytest.raises(EngineError, match=r"no Python of version 3.11 or newer"):
            make_plan(ask(python=python), never)


def test_a_python_with_the_engine_is_used_as_it_is(fake_engine: MakeEngine) -> None:
    python = fake_engine(f"if '-m' in sys.argv:\n    exec({WORKER!r})\nelse:\n    print('engine True')\n")
    plan = make_plan(ask(python=python), never)
    assert plan.ready == python and plan.sentence.startswith("Nothing is downloaded")
    found = install(plan, str, lambda event: None, never)
    assert (found.version, found.device, found.text) == ("0.1.0", "cpu", "GeoToolbox 0.1.0")
    engine = find_engine()
    assert engine is not None and (engine.python, engine.origin) == (python, "managed")
    assert find_engine("/option") != engine
    assert find_engine("/option", {"GEOTOOLBOX_PYTHON": "/variable"}).python == "/variable"  # type: ignore[union-attr]


def test_an_environment_is_made_filled_checked_and_recorded_and_only_once(
    wheel: Path, own_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PIP_NO_INDEX", "1")  # nothing but the wheel
    request = ask(source=str(wheel), index=(own_home / "empty").as_uri(), python=sys.executable)
    monkeypatch.setattr(
        installing, "_has_engine", lambda python, asked: False
    )  # this Python has the real one
    said: list[str] = []
    found = install(make_plan(request, never), said.append, lambda event: None, never)
    home = managed_folder() / "engine-0.1.0"
    assert Path(found.python).is_relative_to(home) and found.version == "0.1.0"
    assert read_engine().python == found.python  # type: ignore[union-attr]
    assert not (home / "setup.lock").exists()
    monkeypatch.undo()
    monkeypatch.setenv("XDG_DATA_HOME", str(own_home))
    assert make_plan(ask(), never).ready == found.python, "the next time there is nothing to do"


def test_a_stopped_set_up_goes_on_and_two_at_once_are_refused(
    wheel: Path, own_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(installing, "_has_engine", lambda python, asked: False)
    plan = make_plan(ask(source=str(wheel), python=sys.executable), never)
    started = time.monotonic()
    with pytest.raises(Cancelled):
        install(plan, str, lambda event: None, lambda: time.monotonic() - started > 0.3)
    assert read_engine() is None and not (plan.folder / "setup.lock").exists()
    (plan.folder / "setup.lock").write_text(str(os.getpid()))
    with pytest.raises(EngineError, match="being set up by another QGIS"):
        install(plan, str, lambda event: None, never)
    (plan.folder / "setup.lock").write_text("999999999")  # of one that died
    with pytest.raises(Cancelled):
        install(plan, str, lambda event: None, lambda: True)
