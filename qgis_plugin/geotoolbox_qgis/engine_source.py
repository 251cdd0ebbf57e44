"""The engine that comes with the plugin: its sources as plain files, packed as a wheel when it is set up.

A wheel is a zip of a package and a few lines about it; these lines, too, stand beside the sources (``make plugin``
writes them), so that nothing has to be built and no tool has to be downloaded for it. Standard library only.
"""

from __future__ import annotations

import hashlib
import zipfile
from base64 import urlsafe_b64encode
from pathlib import Path
from typing import Iterator, Tuple

__all__ = ["BUNDLED", "bundled_version", "make_wheel", "tried_versions"]

BUNDLED = Path(__file__).resolve().parent / "engine"
_ABOUT = ("METADATA", "WHEEL", "entry_points.txt")
_DAY = (2020, 1, 1, 0, 0, 0)


def bundled_version(source: Path = BUNDLED) -> str:
    """Return the version of the engine that came with the plugin; empty in a checkout, which has none."""
    try:
        lines = (source / "METADATA").read_text(encoding="utf-8").splitlines()
    except OSError:
        return ""
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("Version:")), "")


def tried_versions(source: Path = BUNDLED) -> str:
    """Return the file of the versions of other libraries that this engine was tested with; empty where there is none."""
    path = source / "constraints.txt"
    return str(path) if path.is_file() else ""


def make_wheel(folder: Path, source: Path = BUNDLED) -> Path:
    """Pack the engine that came with the plugin as a wheel, and return its path. The same files give the same bytes."""
    name = f"geotoolbox-{bundled_version(source)}"
    folder.mkdir(parents=True, exist_ok=True)
    target = folder / f"{name}-py3-none-any.whl"
    part = target.with_suffix(".part")
    record = ""
    with zipfile.ZipFile(part, "w", zipfile.ZIP_DEFLATED) as out:
        for inner, path in _members(source, f"{name}.dist-info"):
            content = path.read_bytes()
            code = urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode("ascii")
            record += f"{inner},sha256={code},{len(content)}\n"
            _write(out, inner, content)
        place = f"{name}.dist-info/RECORD"
        _write(out, place, f"{record}{place},,\n".encode())
    part.replace(target)
    return target


def _members(source: Path, about: str) -> Iterator[Tuple[str, Path]]:
    """Yield (path inside the wheel, file)."""
    for path in sorted((source / "geotoolbox").rglob("*")):
        if path.is_file() and "__pycache__" not in path.parts:
            yield path.relative_to(source).as_posix(), path
    for name in _ABOUT:
        yield f"{about}/{name}", source / name
    yield f"{about}/licenses/LICENSE", source / "LICENSE"


def _write(out: zipfile.ZipFile, name: str, content: bytes) -> None:
    entry = zipfile.ZipInfo(name, _DAY)
    entry.external_attr = 0o644 << 16
    entry.compress_type = zipfile.ZIP_DEFLATED
    out.writestr(entry, content)
