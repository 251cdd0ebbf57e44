"""Setting up the engine: plans, refusals, and a real environment from a wheel of a few lines. Nothing is downloaded."""

from __future__ import annotations

import base64
import hashlib
import io
import os
import subprocess
import sys
import time
import zipfile
from collections.abc import Sequence
from pathlib import Path

import pytest

from .conftest import HELLO, MakeEngine

from geotoolbox_qgis import planning  # isort: skip
from geotoolbox_qgis.engine_source import make_wheel  # isort: skip
from geotoolbox_qgis.environment import find_engine, managed_folder, read_engine  # isort: skip
from geotoolbox_qgis.install import Hands, install  # isort: skip
from geotoolbox_qgis.planning import GIGABYTES, Request, make_plan  # isort: skip
from geotoolbox_qgis.runner import Cancelled, EngineError  # isort: skip
from geotoolbox_qgis.uv import Fetch, bring_uv, choose_file  # isort: skip

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


@pytest.fixture
def from_zip(monkeypatch: pytest.MonkeyPatch) -> None:
    """The plugin as its zip brings it, with the engine's sources."""
    monkeypatch.setattr(planning, "bundled_version", lambda: "0.1.0")


def test_a_plugin_without_the_sources_never_takes_the_package_of_this_name_from_an_index() -> None:
    with pytest.raises(
        EngineError, match=r"without the engine's sources. Fix: install the plugin from the zip"
    ):
        make_plan(ask(python=sys.executable, update=True), never)


def test_the_plan_says_what_is_downloaded_from_where_and_how_big(own_home: Path, from_zip: None) -> None:
    plan = make_plan(ask(), never)
    assert Path(plan.base).is_file() and plan.device == "cpu"
    for words in ("Python Package Index", "0.6 GB to download", "3 GB on the disk", str(own_home), plan.base):
        assert words in plan.sentence
    assert "graphics cards" in make_plan(Request(version="0.1.0", device="cuda"), never).sentence
    assert not own_home.joinpath("GeoToolbox", "engine-0.1.0").exists(), "a plan makes nothing"


def test_too_little_room_is_refused_before_anything_is_done(
    monkeypatch: pytest.MonkeyPatch, from_zip: None
) -> None:
    monkeypatch.setitem(GIGABYTES, "cpu", (1e6, 1e7))
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
    found = install(plan, Hands(str, never), list)
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
    monkeypatch.setattr(planning, "_has_engine", lambda python, asked: False)  # this Python has the real one
    said: list[str] = []
    found = install(make_plan(request, never), Hands(said.append, never), list)
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
    monkeypatch.setattr(planning, "_has_engine", lambda python, asked: False)
    plan = make_plan(ask(source=str(wheel), python=sys.executable), never)
    started = time.monotonic()
    with pytest.raises(Cancelled):
        install(plan, Hands(str, lambda: time.monotonic() - started > 0.3), list)
    assert read_engine() is None and not (plan.folder / "setup.lock").exists()
    (plan.folder / "setup.lock").write_text(str(os.getpid()))
    with pytest.raises(EngineError, match="being set up by another QGIS"):
        install(plan, Hands(str, never), list)
    (plan.folder / "setup.lock").write_text("999999999")  # of one that died
    with pytest.raises(Cancelled):
        install(plan, Hands(str, lambda: True), list)


def test_what_came_with_the_plugin_is_installed_where_no_source_is_named(
    wheel: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, from_zip: None
) -> None:
    monkeypatch.setattr(planning, "_has_engine", lambda python, asked: False)
    plan = make_plan(ask(python=sys.executable), never)
    assert "geotoolbox comes with this plugin." in plan.sentence
    own = tmp_path / "engine"
    own.mkdir()
    with zipfile.ZipFile(wheel) as packed:
        for name in packed.namelist():
            inner = Path(own, *(part for part in Path(name).parts if not part.endswith(".dist-info")))
            inner.parent.mkdir(parents=True, exist_ok=True)
            inner.write_bytes(packed.read(name))
    (own / "LICENSE").write_text("free")
    (own / "entry_points.txt").write_text("")
    made = make_wheel(tmp_path / "a", own)
    assert made.name == wheel.name and made.read_bytes() == make_wheel(tmp_path / "b", own).read_bytes()
    with zipfile.ZipFile(made) as again:
        assert again.read("geotoolbox/cli/worker.py").decode() == WORKER
        record = again.read("geotoolbox-0.1.0.dist-info/RECORD").decode().splitlines()
    assert [row.split(",")[0] for row in record] == zipfile.ZipFile(made).namelist()
    code = hashlib.sha256(WORKER.encode()).digest()
    words = base64.urlsafe_b64encode(code).decode().rstrip("=")
    assert f"geotoolbox/cli/worker.py,sha256={words},{len(WORKER.encode())}" in record


def uv_wheel(program: str) -> bytes:
    """A package of uv as the index has it, with a program of one's own."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as out:
        out.writestr("uv/__init__.py", "")
        out.writestr("uv-0.9.9.data/scripts/uv", program)
    return stream.getvalue()


def index_page(checksum: str) -> bytes:
    rows = [
        ("uv-0.9.9-py3-none-manylinux_2_17_x86_64.manylinux2014_x86_64.whl", "../../f/new.whl", ""),
        ("uv-0.10.0-py3-none-manylinux_2_17_x86_64.manylinux2014_x86_64.whl", "../../f/taken-back.whl", ' data-yanked=""'),
        ("uv-0.9.10-py3-none-manylinux_2_17_aarch64.manylinux2014_aarch64.whl", "../../f/arm.whl", ""),
        ("uv-0.9.10-py3-none-musllinux_1_1_x86_64.whl", "../../f/musl.whl", ""),
        ("uv-0.9.10-py3-none-win_amd64.whl", "../../f/windows.whl", ""),
        ("uv-0.9.10-py3-none-macosx_11_0_arm64.whl", "../../f/mac.whl", ""),
        ("uv-0.9.2-py3-none-manylinux_2_17_x86_64.manylinux2014_x86_64.whl", "../../f/old.whl", ""),
        ("uv-0.11.0rc1-py3-none-manylinux_2_17_x86_64.manylinux2014_x86_64.whl", "../../f/next.whl", ""),
        ("uv-0.9.10.tar.gz", "../../f/source.tar.gz", ""),
    ]  # fmt: skip
    return "".join(
        f'<a href="{link}#sha256={checksum}"{more}>{name}</a><br/>\n' for name, link, more in rows
    ).encode()


@pytest.mark.parametrize(
    ("system", "machine", "file"),
    [
        ("linux", "x86_64", "new.whl"),
        ("linux", "aarch64", "arm.whl"),
        ("win32", "AMD64", "windows.whl"),
        ("darwin", "arm64", "mac.whl"),
    ],
)
def test_the_uv_for_this_computer_is_chosen_from_the_index(system: str, machine: str, file: str) -> None:
    asked: list[str] = []

    def fetch(address: str) -> bytes:
        asked.append(address)
        return index_page("0" * 64)

    found = choose_file(fetch, "https://mirror.example/simple/", system, machine)
    assert found == (f"https://mirror.example/f/{file}", "0" * 64)
    assert asked == ["https://mirror.example/simple/uv/"]
    with pytest.raises(EngineError, match="no uv for this computer"):
        choose_file(fetch, "https://mirror.example/simple", "sunos5", "sparc")


@pytest.mark.skipif(sys.platform != "linux", reason="the package in this test is for Linux")
def test_uv_is_brought_without_pip_and_only_as_the_index_says_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr("platform.machine", lambda: "x86_64")
    package = uv_wheel("#!/bin/sh\necho uv $1\n")
    right = hashlib.sha256(package).hexdigest()
    commands: list[list[str]] = []

    def fetch_for(checksum: str) -> Fetch:
        return lambda address: package if address.endswith(".whl") else index_page(checksum)

    def no_pip(command: Sequence[str]) -> int:
        commands.append(list(command))
        return 1

    with pytest.raises(EngineError, match="not what the package index says"):
        bring_uv(tmp_path / "uv", ["/python"], "", no_pip, fetch_for("0" * 64))
    assert not list((tmp_path / "uv").rglob("*")) and "pip" in commands[0]
    program = bring_uv(tmp_path / "uv", ["/python"], "", no_pip, fetch_for(right))
    said = subprocess.run([program, "hello"], capture_output=True, text=True, check=True)
    assert said.stdout == "uv hello\n"
    assert bring_uv(tmp_path / "uv", ["/python"], "", no_pip, lambda address: b"") == program, (
        "once is enough"
    )
