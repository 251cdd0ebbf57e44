"""What a set-up would do, in words, before it does it; refused at once where it cannot be. Standard library only."""

from __future__ import annotations

import json
import os
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Callable, Iterator, List, Tuple

from .engine_source import bundled_version
from .environment import engine_command, managed_folder, read_engine
from .runner import EngineError, run_tool

__all__ = ["GIGABYTES", "UV_PYTHON", "Asked", "Plan", "Request", "check_disk", "make_plan", "somewhere"]

Asked = Callable[[], bool]

GIGABYTES = {"cpu": (0.6, 3.0), "cuda": (3.5, 8.0)}
"""What is to be downloaded, and what it takes on the disk."""

UV_PYTHON = "3.12"
"""The Python that uv brings where there is none."""

_PYTHONS = ("python3.13", "python3.12", "python3.11", "python3", "python")
_OLDEST = (3, 11)
_ASK = "import json, sys, venv; print(json.dumps([list(sys.version_info[:2]), sys.executable]))"


@dataclass(frozen=True)
class Request:
    """What a person asks for.

    Attributes:
        device: ``auto``, ``cpu`` or ``cuda``.
        python: A Python to use; one that has geotoolbox already is used as it is.
        source: Where geotoolbox comes from: a folder or wheel; empty for what came with the plugin (never the
            package of this name on an index, which is somebody else's).
        folder: Where the environment goes; empty for the usual place.
        index: Another package index, as a mirror of an organisation has it.
        update: Install again although an engine is there.
        version: The version of geotoolbox that this plugin goes with.
    """

    device: str = "auto"
    python: str = ""
    source: str = ""
    folder: str = ""
    index: str = ""
    update: bool = False
    version: str = ""


@dataclass(frozen=True)
class Plan:
    """What would be done.

    Attributes:
        request: What it is for.
        device: ``cpu`` or ``cuda``.
        base: The Python that the environment is made from; empty where uv brings one.
        ready: A Python that has the engine already; then nothing is downloaded.
        folder: Where the environment goes.
        sentence: The plan in words.
    """

    request: Request
    device: str
    base: str
    ready: str
    folder: Path
    sentence: str


def make_plan(request: Request, is_cancelled: Asked) -> Plan:
    """Find out what is to be done, and refuse at once where it cannot be.

    Raises:
        EngineError: When a path is wrong, or the disk has too little room.
    """
    device = _device(request.device)
    folder = Path(request.folder).expanduser() if request.folder else managed_folder()
    folder = folder / f"engine-{request.version}"
    ready = _ready(request, is_cancelled)
    if ready:
        return Plan(
            request, device, "", ready, folder, f"Nothing is downloaded: {ready} has the engine already."
        )
    if request.source and not Path(request.source).exists():
        raise EngineError(f"There is no file or folder {request.source} to install geotoolbox from.")
    base = next(_pythons(request, is_cancelled), "")
    if not base and request.python:
        raise EngineError(
            f"{request.python} is no Python of version 3.11 or newer. Fix: choose another, or leave Python empty."
        )
    if not request.source and not bundled_version():
        raise EngineError(
            "This copy of the plugin came without the engine's sources. Fix: install the plugin from the zip that "
            "'make plugin' makes, or name a folder or a wheel under 'Source of geotoolbox'."
        )
    check_disk(folder, GIGABYTES[device][1])
    return Plan(request, device, base, "", folder, _sentence(request, device, base, folder))


def _sentence(request: Request, device: str, base: str, folder: Path) -> str:
    what = "PyTorch for graphics cards of NVIDIA" if device == "cuda" else "PyTorch for processors"
    place = "the package index you named" if request.index else "the Python Package Index"
    libraries = f"{what} comes from PyTorch's own index, the other libraries from {place}"
    if request.index:
        libraries = f"{what} and the other libraries come from {place}"
    origin = f"is installed from {request.source}" if request.source else "comes with this plugin"
    python = (
        f"The Python at {base} is used"
        if base
        else f"Python {UV_PYTHON} is downloaded by uv (30 MB, from the releases of its makers)"
    )
    download, disk = GIGABYTES[device]
    return (
        f"{python}. geotoolbox {origin}. {libraries}: about {download:g} GB to download "
        f"and {disk:g} GB on the disk, in {folder}. Nothing else on this computer is changed; no account is needed."
    )


def _device(asked: str) -> str:
    if asked in ("cpu", "cuda"):
        return asked
    return "cuda" if sys.platform != "darwin" and shutil.which("nvidia-smi") else "cpu"


def check_disk(folder: Path, needed_gb: float) -> None:
    """Refuse where a folder's disk has too little room.

    Raises:
        EngineError: With how much is free, and how much is needed.
    """
    place = folder
    while not place.exists():
        place = place.parent
    free = shutil.disk_usage(place).free / 1e9
    if free < needed_gb:
        raise EngineError(
            f"Too little room: {free:.1f} GB are free in {place}, the engine needs about {needed_gb:g} GB. "
            "Fix: free some, or choose another folder."
        )


def _ready(request: Request, is_cancelled: Asked) -> str:
    """Return a Python that has the engine already and may stay as it is."""
    known = read_engine()
    if request.python and not request.update:
        return request.python if _has_engine(request.python, is_cancelled) else ""
    if known and not request.update and _numbers(known.version) >= _numbers(request.version):
        return known.python if _has_engine(known.python, is_cancelled) else ""
    return ""


def _numbers(version: str) -> Tuple[int, ...]:
    """Return major and minor version."""
    return tuple(int(part) for part in version.split(".")[:2] if part.isdigit())


def _has_engine(python: str, is_cancelled: Asked) -> bool:
    words: List[str] = []
    code = "import importlib.util as u; print('engine', u.find_spec('geotoolbox.cli.worker') is not None)"
    try:
        ended, _ = run_tool(
            engine_command(python, "-c", code), folder=somewhere(), on_line=words.append, is_cancelled=is_cancelled,
            wait_s=60,
        )  # fmt: skip
    except EngineError:
        return False
    return ended == 0 and "engine True" in words


def _pythons(request: Request, is_cancelled: Asked) -> Iterator[str]:
    """Yield Pythons that the environment can be made from: each is started and asked."""
    names = (request.python,) if request.python else _PYTHONS
    for name in names:
        path = name if os.path.isfile(name) else shutil.which(name)
        if not path:
            continue
        lines: List[str] = []
        try:
            code, _ = run_tool(
                [path, "-I", "-c", _ASK],
                folder=somewhere(),
                on_line=lines.append,
                is_cancelled=is_cancelled,
                wait_s=20,
            )
            version, executable = json.loads(lines[-1])
        except (EngineError, ValueError, IndexError):
            continue
        if code == 0 and tuple(version) >= _OLDEST:
            yield str(executable)


def somewhere() -> Path:
    """Return a folder to stand in that is nobody's: neither QGIS's nor the plugin's."""
    folder = managed_folder()
    folder.mkdir(parents=True, exist_ok=True)
    return folder
