"""The zip keeps the rules of plugins.qgis.org, and the plugin those of the design: no library but QGIS's."""

from __future__ import annotations

import ast
import importlib.metadata
import importlib.util
import json
import re
import runpy
import shutil
import subprocess
import sys
import zipfile
from configparser import ConfigParser
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement

import geotoolbox

from .conftest import PLUGIN

from geotoolbox_qgis.engine_source import bundled_version, make_wheel  # isort: skip

ROOT = PLUGIN.parent
SOURCES = sorted((PLUGIN / "geotoolbox_qgis").rglob("*.py"))
NOT_OURS = {"qgis", "processing"}  # both are QGIS
STDLIB_ONLY = {
    "about", "definition", "definitions", "engine_source", "environment", "install", "jobs", "lock", "planning",
    "progress", "records", "runner", "uv",
}  # fmt: skip


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    make = runpy.run_path(str(ROOT / "scripts" / "make_plugin.py"))["make_plugin"]
    folder = tmp_path_factory.mktemp("package")
    first = make(folder).read_bytes()
    assert make(folder).read_bytes() == first, "the same files give the same bytes"
    found: Path = folder / "geotoolbox_qgis.zip"
    return found


def imported(path: Path) -> set[str]:
    names = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            names.add(node.module or "")
    return names


@pytest.mark.parametrize("path", SOURCES, ids=lambda p: p.stem)
def test_only_the_standard_library_and_pyqgis_are_imported(path: Path) -> None:
    tops = {name.split(".")[0] for name in imported(path)}
    assert tops <= set(sys.stdlib_module_names) | NOT_OURS
    if path.parent.name == "geotoolbox_qgis" and path.stem in STDLIB_ONLY:
        assert not tops & NOT_OURS, "this module is tested without QGIS"
    assert not {name for name in imported(path) if name.startswith(("PyQt", "qgis.PyQt.QtWebKit"))}


@pytest.mark.parametrize("path", SOURCES, ids=lambda p: p.stem)
def test_python_3_9_can_read_it(path: Path) -> None:
    tree = ast.parse(path.read_text(encoding="utf-8"), feature_version=(3, 9))
    assert not any(isinstance(node, getattr(ast, "Match", ())) for node in ast.walk(tree))
    future = [n for n in tree.body if isinstance(n, ast.ImportFrom) and n.module == "__future__"]
    written = any(isinstance(node, (ast.FunctionDef, ast.AnnAssign)) for node in ast.walk(tree))
    assert future or not written, "annotations of later versions are texts there"


def test_no_flag_or_enum_of_qt5_only() -> None:
    short = r"QgsProcessing\.Type|\bQt\.(Right|Left|Top|Bottom|Horizontal|Vertical|Align(?!mentFlag))|FlagNoThreading"
    for path in SOURCES:
        text = path.read_text(encoding="utf-8")
        assert not re.findall(rf"{short}|\.exec_\(|\bQRegExp\b|\bQVariant\.", text), path.name


def test_the_zip_has_one_folder_and_what_the_site_asks_for(package: Path) -> None:
    with zipfile.ZipFile(package) as archive:
        names = archive.namelist()
        assert archive.testzip() is None
        assert sum(info.file_size for info in archive.infolist()) < 25e6
    assert {name.split("/")[0] for name in names} == {"geotoolbox_qgis"}
    inner = {name.partition("/")[2] for name in names}
    assert {"__init__.py", "metadata.txt", "LICENSE", "jobs.json", "icons/geotoolbox.svg"} <= inner
    assert {
        "engine/METADATA",
        "engine/LICENSE",
        "engine/constraints.txt",
        "engine/geotoolbox/py.typed",
    } <= inner
    binaries = (".pyc", ".so", ".dll", ".exe", ".sh", ".bat", ".ps1", ".whl", ".png", ".pyd")
    assert not [
        n for n in names if n.endswith(binaries) or "__" in n.split("/")[-2] or "/." in n or "\\" in n
    ]
    assert "GNU GENERAL PUBLIC LICENSE" in zipfile.ZipFile(package).read("geotoolbox_qgis/LICENSE").decode()


def test_metadata_is_complete_and_says_what_is_downloaded() -> None:
    parser = ConfigParser(interpolation=None)
    parser.read(PLUGIN / "geotoolbox_qgis" / "metadata.txt", encoding="utf-8")
    values = parser["general"]
    needed = "name description version qgisMinimumVersion qgisMaximumVersion author email about tracker repository homepage"
    assert all(values.get(name) for name in f"{needed} icon category tags changelog license".split())
    assert values.getboolean("hasProcessingProvider")
    assert (values["qgisMinimumVersion"], values["qgisMaximumVersion"]) == ("3.22", "4.99")
    assert "plugin" not in values["name"].lower() and "GPL" in values["license"]
    assert (PLUGIN / "geotoolbox_qgis" / values["icon"]).is_file()
    about = values["about"]
    assert all(
        word in about for word in ("downloads", "GB", "Python Package Index", "folder", "Nothing leaves")
    )
    version = json.loads((PLUGIN / "geotoolbox_qgis" / "jobs.json").read_text(encoding="utf-8"))["engine"]
    assert values["version"].split(".")[:2] == version.split(".")[:2]


@pytest.fixture(scope="module")
def unpacked(package: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The zip as QGIS unpacks it."""
    folder = tmp_path_factory.mktemp("unpacked")
    with zipfile.ZipFile(package) as archive:
        for member in archive.infolist():
            target = folder / member.filename
            assert target.resolve().is_relative_to(folder.resolve())
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(archive.read(member))
    return folder


def test_all_is_text_that_a_reviewer_can_read(unpacked: Path) -> None:
    for path in unpacked.rglob("*"):
        if path.is_file():
            assert "\0" not in path.read_text(encoding="utf-8"), path


# What plugins.qgis.org blocks: exec, passwords, tar files, pickle, eval, TLS unchecked, shells, unpinned downloads.
MANDATORY = "B102,B105,B106,B107,B202,B301,B307,B323,B501,B602,B604,B605,B615"


def scanned(folder: Path, *words: str) -> dict[str, Any]:
    scan = [sys.executable, "-m", "bandit", "-q", "-r", "-f", "json", *words, "geotoolbox_qgis"]
    done = subprocess.run(scan, cwd=folder, capture_output=True, text=True, check=False)
    found: dict[str, Any] = json.loads(done.stdout)
    assert found["errors"] == []
    return found


def test_bandit_and_detect_secrets_find_nothing(unpacked: Path) -> None:
    """The engine's part is scanned for all that the site blocks; ``make plugin`` scans the zip for the rest, too."""
    found = scanned(unpacked, "-x", "*/engine/*")
    assert found["results"] == []
    # What is marked as looked at: a program is started from a list, without a shell. Nothing else is.
    assert found["metrics"]["_totals"]["skipped_tests"] <= 3
    found = scanned(unpacked, "-t", MANDATORY)
    assert found["results"] == [] and found["metrics"]["_totals"]["loc"] > 20_000, "with the engine"
    scan = [sys.executable, "-m", "detect_secrets", "scan", "--all-files", "--exclude-files", "/geotoolbox/"]
    done = subprocess.run(
        [*scan, "geotoolbox_qgis"], cwd=unpacked, capture_output=True, text=True, check=True
    )
    assert json.loads(done.stdout)["results"] == {}


def test_the_engine_in_the_zip_is_the_one_of_this_project_and_installs(
    unpacked: Path, tmp_path: Path
) -> None:
    engine = unpacked / "geotoolbox_qgis" / "engine"
    here = sorted(path.relative_to(ROOT) for path in (ROOT / "geotoolbox").rglob("*.py"))
    assert sorted(path.relative_to(engine) for path in engine.rglob("*.py")) == here
    assert bundled_version(engine) == geotoolbox.__version__ and bundled_version() == ""
    wheel = make_wheel(tmp_path, engine)
    assert wheel.stat().st_size < 2e6
    words = [
        sys.executable,
        "-m",
        "pip",
        "install",
        "-q",
        "--no-deps",
        "--no-index",
        "--target",
        str(tmp_path / "site"),
    ]
    if importlib.util.find_spec("pip") is None:  # an environment that uv has made
        words = [
            shutil.which("uv") or str(Path(sys.executable).with_name("uv")),
            *words[2:],
            "--python",
            sys.executable,
        ]
    subprocess.run([*words, str(wheel)], check=True, capture_output=True)
    (found,) = importlib.metadata.distributions(name="geotoolbox", path=[str(tmp_path / "site")])
    own = importlib.metadata.distribution("geotoolbox")  # as the project's build tool says it
    needs = [
        {str(Requirement(text)) for text in one.requires or [] if "extra" not in text} for one in (found, own)
    ]
    assert needs[0] == needs[1] and len(needs[0]) > 20
    assert found.metadata["Requires-Python"] == own.metadata["Requires-Python"]
    assert {e.value for e in found.entry_points} == {"geotoolbox.cli:main"}
    code = "import sys; sys.path.insert(0, sys.argv[1]); import geotoolbox.cli.worker as w; print(w.__file__)"
    said = subprocess.run(
        [sys.executable, "-s", "-c", code, str(tmp_path / "site")],
        check=True,
        capture_output=True,
        text=True,
        cwd=tmp_path,
    )
    assert said.stdout.startswith(str(tmp_path / "site"))
