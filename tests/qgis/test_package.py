"""The zip keeps the rules of plugins.qgis.org, and the plugin those of the design: no library but QGIS's."""

from __future__ import annotations

import ast
import json
import re
import runpy
import subprocess
import sys
import zipfile
from configparser import ConfigParser
from pathlib import Path

import pytest

from .conftest import PLUGIN

ROOT = PLUGIN.parent
SOURCES = sorted((PLUGIN / "geotoolbox_qgis").rglob("*.py"))
NOT_OURS = {"qgis", "processing"}  # both are QGIS
STDLIB_ONLY = {
    "about", "definition", "definitions", "environment", "install", "jobs", "lock", "progress", "records", "runner",
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


def test_bandit_and_detect_secrets_find_nothing(package: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(package) as archive:
        for member in archive.infolist():
            if not member.is_dir():
                target = tmp_path / member.filename
                assert target.resolve().is_relative_to(tmp_path.resolve())
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_bytes(archive.read(member))
    scan = [sys.executable, "-m", "bandit", "-q", "-r", "-f", "json", "geotoolbox_qgis"]
    done = subprocess.run(scan, cwd=tmp_path, capture_output=True, text=True, check=False)
    found = json.loads(done.stdout)
    assert found["errors"] == [] and found["results"] == []
    # What is marked as looked at: a program is started from a list, without a shell. Nothing else is.
    assert found["metrics"]["_totals"]["skipped_tests"] <= 3
    scan = [sys.executable, "-m", "detect_secrets", "scan", "--all-files", "geotoolbox_qgis"]
    done = subprocess.run(scan, cwd=tmp_path, capture_output=True, text=True, check=True)
    assert json.loads(done.stdout)["results"] == {}
