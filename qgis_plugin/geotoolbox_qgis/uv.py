"""Brings ``uv``, which installs packages, and Python itself where there is none. Standard library only.

It comes by a Python that has pip; else it is taken from the package index through QGIS's own connection, and its
checksum is compared with the one that the index names.
"""

from __future__ import annotations

import hashlib
import io
import os
import platform
import re
import shutil
import sys
import zipfile
from html import unescape
from pathlib import Path
from typing import Callable, List, Sequence, Tuple
from urllib.parse import urljoin

from .runner import EngineError

__all__ = ["INDEX", "Fetch", "bring_uv", "choose_file", "uv_inside"]

Fetch = Callable[[str], bytes]
Run = Callable[[Sequence[str]], int]

INDEX = "https://pypi.org/simple"
_PROGRAM = "uv.exe" if sys.platform == "win32" else "uv"
_LINK = re.compile(r"<a\s([^>]*)>\s*(uv-(\d+(?:\.\d+)*)-py3-none-([\w.]+)\.whl)\s*</a>")
_MACHINES = {"amd64": "x86_64", "x64": "x86_64", "arm64": "aarch64"}
_TAGS = {
    ("linux", "x86_64"): r"manylinux\w*_x86_64",
    ("linux", "aarch64"): r"manylinux\w*_aarch64",
    ("darwin", "x86_64"): r"macosx_\w+_x86_64",
    ("darwin", "aarch64"): r"macosx_\w+_arm64",
    ("win32", "x86_64"): r"win_amd64",
    ("win32", "aarch64"): r"win_arm64",
}


def uv_inside(python: str) -> str:
    """Return the uv that is installed beside a Python; empty where there is none."""
    path = Path(python).with_name(_PROGRAM)
    return str(path) if path.is_file() else ""


def bring_uv(place: Path, pythons: Sequence[str], index: str, run: Run, fetch: Fetch) -> str:
    """Return the path of uv: the one on the path, the one brought before, or one brought now.

    Args:
        place: A folder of the engine for it.
        pythons: Pythons that may have pip.
        index: The package index; empty for the usual one.
        run: Runs a command and returns its exit code.
        fetch: Gets an address through QGIS's own connection.

    Raises:
        EngineError: When it cannot be had, or is not what the index says it is.
    """
    program = place / "bin" / _PROGRAM
    found = shutil.which("uv") or (str(program) if program.is_file() else "")
    if found:
        return found
    for python in pythons:
        options = ["--index-url", index] if index else []
        run([python, "-I", "-m", "pip", "install", "--no-input", *options, "--target", str(place), "uv"])
        if program.is_file():
            return str(program)
    address, checksum = choose_file(fetch, index or INDEX)
    _unpack(fetch(address), checksum, program)
    return str(program)


def choose_file(fetch: Fetch, index: str, system: str = "", machine: str = "") -> Tuple[str, str]:
    """Return address and SHA-256 of the newest uv for this kind of computer, as the index lists it.

    Args:
        fetch: Gets an address.
        index: The package index (PEP 503).
        system: As ``sys.platform`` says.
        machine: As ``platform.machine()`` says.

    Raises:
        EngineError: When the index has none.
    """
    system, machine = system or sys.platform, (machine or platform.machine()).lower()
    tag = _TAGS.get((system, _MACHINES.get(machine, machine)), "")
    page = index.rstrip("/") + "/uv/"
    found: List[Tuple[Tuple[int, ...], str, str]] = []
    for attributes, _, version, tags in _LINK.findall(fetch(page).decode("utf-8", "replace")):
        link = re.search(r'href="([^"#]+)#sha256=([0-9a-f]{64})"', attributes)
        fits = tag and any(re.fullmatch(tag, one) for one in tags.split("."))
        if link and fits and "data-yanked" not in attributes:
            numbers = tuple(int(part) for part in version.split("."))
            found.append((numbers, urljoin(page, unescape(link.group(1))), link.group(2)))
    if not found:
        raise EngineError(f"There is no uv for this computer ({system}, {machine}) in the index {page}.")
    return max(found)[1:]


def _unpack(wheel: bytes, checksum: str, program: Path) -> None:
    """Write the program that is in a wheel, once its checksum is right."""
    if hashlib.sha256(wheel).hexdigest() != checksum:
        raise EngineError(
            "The download of uv is not what the package index says it is; nothing of it was kept."
        )
    with zipfile.ZipFile(io.BytesIO(wheel)) as archive:
        inner = [name for name in archive.namelist() if name.endswith(f".data/scripts/{_PROGRAM}")]
        if len(inner) != 1:
            raise EngineError("The download of uv does not hold the program.")
        content = archive.read(inner[0])
    program.parent.mkdir(parents=True, exist_ok=True)
    part = program.with_suffix(".part")
    part.write_bytes(content)
    part.chmod(0o700)
    os.replace(part, program)
