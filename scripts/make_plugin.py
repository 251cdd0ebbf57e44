"""Makes the plugin's zip: ``python scripts/make_plugin.py [FOLDER]``. The same files give the same bytes.

The engine's sources go along as plain files, with the lines about them that a wheel has: 'Set up the engine' packs
them as a wheel on the person's computer, so that it needs no package index for geotoolbox itself.
"""

from __future__ import annotations

import re
import sys
import tomllib
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
SOURCE = ROOT / "qgis_plugin" / "geotoolbox_qgis"
ENGINE = ROOT / "geotoolbox"
KINDS = (".py", ".json", ".txt", ".svg", ".qm", "")
_TOP = "geotoolbox_qgis"
_DAY = (2020, 1, 1, 0, 0, 0)


def plugin_files() -> list[Path]:
    """Return the plugin's own files, sorted."""
    return [path for path in _files(SOURCE) if path.suffix in KINDS]


def engine_files() -> list[Path]:
    """Return the engine's sources, sorted."""
    return [path for path in _files(ENGINE) if path.suffix != ".pyc"]


def _files(folder: Path) -> list[Path]:
    found = []
    for path in sorted(folder.rglob("*")):
        inner = path.relative_to(folder).parts
        if path.is_file() and not any(part.startswith((".", "__pycache__")) for part in inner):
            found.append(path)
    return found


def metadata() -> str:
    """Return the engine's core metadata (version 2.1), as ``pyproject.toml`` has it."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    lines = [
        "Metadata-Version: 2.1",
        f"Name: {project['name']}",
        f"Version: {engine_version()}",
        f"Summary: {project['description']}",
        f"License: {project['license']}",
        f"Requires-Python: {project['requires-python']}",
        *(f"Requires-Dist: {one}" for one in project["dependencies"]),
        *_extras(project["optional-dependencies"]),
    ]
    return "\n".join(lines) + "\n"


def _extras(extras: dict[str, list[str]]) -> Iterator[str]:
    for name, needs in extras.items():
        yield f"Provides-Extra: {name}"
        yield from (f"Requires-Dist: {one}; extra == '{name}'" for one in needs)


def engine_version() -> str:
    """Return the engine's version."""
    text = (ENGINE / "__init__.py").read_text(encoding="utf-8")
    found = re.search(r'^__version__ = "([^"]+)"', text, re.MULTILINE)
    if found is None:
        raise SystemExit("geotoolbox/__init__.py does not say its version")
    return found.group(1)


def _entry_points() -> str:
    project: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    return "[console_scripts]\n" + "".join(f"{k} = {v}\n" for k, v in project["scripts"].items())


def contents() -> Iterator[tuple[str, bytes]]:
    """Yield (path in the zip, content) of all that goes along."""
    for path in plugin_files():
        yield path.relative_to(SOURCE).as_posix(), path.read_bytes()
    for path in engine_files():
        yield f"engine/geotoolbox/{path.relative_to(ENGINE).as_posix()}", path.read_bytes()
    wheel = "Wheel-Version: 1.0\nGenerator: geotoolbox\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
    yield "engine/METADATA", metadata().encode()
    yield "engine/WHEEL", wheel.encode()
    yield "engine/entry_points.txt", _entry_points().encode()
    for name in ("LICENSE", "constraints.txt"):
        yield f"engine/{name}", (ROOT / name).read_bytes()


def make_plugin(folder: Path) -> Path:
    """Write ``geotoolbox_qgis.zip`` into a folder and return its path."""
    folder.mkdir(parents=True, exist_ok=True)
    target = folder / f"{_TOP}.zip"
    part = target.with_suffix(".part")
    with zipfile.ZipFile(part, "w", zipfile.ZIP_DEFLATED) as out:
        for name, content in contents():
            entry = zipfile.ZipInfo(f"{_TOP}/{name}", _DAY)
            entry.external_attr = 0o644 << 16
            entry.compress_type = zipfile.ZIP_DEFLATED
            out.writestr(entry, content)
    part.replace(target)
    return target


if __name__ == "__main__":
    made = make_plugin(Path(sys.argv[1] if len(sys.argv) > 1 else "dist"))
    sys.stdout.write(f"{made}\n")
