"""Makes the engine's environment: an existing Python where there is one, else one that uv brings. Standard library only.

The steps can be repeated: what is there already is kept, and only the last step records the engine.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Callable, Dict, Iterator, List, Sequence

from .environment import engine_command, managed_folder, read_engine, write_engine
from .lock import Lock
from .runner import EngineError, run_engine, run_tool

__all__ = ["Installed", "Plan", "Request", "check_engine", "install", "make_plan"]

Say = Callable[[str], None]
Asked = Callable[[], bool]

_GB = {"cpu": (0.6, 3.0), "cuda": (3.5, 8.0)}  # to download, and on the disk
_PYTHONS = ("python3.13", "python3.12", "python3.11", "python3", "python")
_OLDEST = (3, 11)
_UV_PYTHON = "3.12"
_ASK = "import json, sys, venv; print(json.dumps([list(sys.version_info[:2]), sys.executable]))"


@dataclass(frozen=True)
class Request:
    """What a person asks for.

    Attributes:
        device: ``auto``, ``cpu`` or ``cuda``.
        python: A Python to use; one that has geotoolbox already is used as it is.
        source: Where geotoolbox comes from: empty for the Python Package Index, or a folder or wheel.
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


@dataclass(frozen=True)
class Installed:
    """An engine that works.

    Attributes:
        python: Its interpreter.
        version: Its version.
        device: What it computes on.
        text: All the facts.
    """

    python: str
    version: str
    device: str
    text: str


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
    _check_disk(folder, _GB[device][1])
    return Plan(request, device, base, "", folder, _sentence(request, device, base, folder))


def install(
    plan: Plan, say: Say, on_event: Callable[[Dict[str, Any]], None], is_cancelled: Asked
) -> Installed:
    """Do what the plan says, check the engine, and record it.

    Raises:
        EngineError: With the last words of the step that failed.
        Cancelled: When it was stopped; the next time goes on from there.
    """
    if plan.ready:
        found = check_engine(plan.ready, on_event, say, is_cancelled)
        write_engine(found.python, found.version, found.device)
        return found
    plan.folder.mkdir(parents=True, exist_ok=True)
    with Lock(plan.folder / "setup.lock"):
        python = _environment(plan, say, is_cancelled)
        _packages(plan, python, say, is_cancelled)
        say("Checking the engine")
        found = check_engine(python, on_event, say, is_cancelled)
    write_engine(found.python, found.version, found.device)
    return found


def check_engine(
    python: str,
    on_event: Callable[[Dict[str, Any]], None],
    say: Say,
    is_cancelled: Asked,
    *,
    train: bool = True,
) -> Installed:
    """Start the engine and let it try itself.

    Raises:
        EngineError: With what is wrong.
    """
    result = run_engine(
        python,
        "check",
        {"train": train},
        needs="0",
        on_event=on_event,
        on_line=say,
        is_cancelled=is_cancelled,
        folder=_somewhere(),
    )
    return Installed(
        python, str(result.get("engine", "")), str(result.get("device", "")), str(result.get("text", ""))
    )


def _sentence(request: Request, device: str, base: str, folder: Path) -> str:
    what = "PyTorch for graphics cards of NVIDIA" if device == "cuda" else "PyTorch for processors"
    place = "the package index you named" if request.index else "the Python Package Index"
    if not request.index:
        what += " (from PyTorch's own index)"
    origin = f"is installed from {request.source}" if request.source else f"comes from {place}"
    python = (
        f"The Python at {base} is used"
        if base
        else f"Python {_UV_PYTHON} is downloaded by uv (30 MB, from the releases of its makers)"
    )
    download, disk = _GB[device]
    return (
        f"{python}. geotoolbox {origin}. {what} and the other libraries, from {place}: about {download:g} GB to download "
        f"and {disk:g} GB on the disk, in {folder}. Nothing else on this computer is changed; no account is needed."
    )


def _device(asked: str) -> str:
    if asked in ("cpu", "cuda"):
        return asked
    return "cuda" if sys.platform != "darwin" and shutil.which("nvidia-smi") else "cpu"


def _check_disk(folder: Path, needed_gb: float) -> None:
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
    if known and not request.update and known.version.split(".")[:2] >= request.version.split(".")[:2]:
        return known.python if _has_engine(known.python, is_cancelled) else ""
    return ""


def _has_engine(python: str, is_cancelled: Asked) -> bool:
    words: List[str] = []
    code = "import importlib.util as u; print('engine', u.find_spec('geotoolbox.cli.worker') is not None)"
    try:
        ended, _ = run_tool(
            engine_command(python, "-c", code), folder=_somewhere(), on_line=words.append, is_cancelled=is_cancelled,
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
                folder=_somewhere(),
                on_line=lines.append,
                is_cancelled=is_cancelled,
                wait_s=20,
            )
            version, executable = json.loads(lines[-1])
        except (EngineError, ValueError, IndexError):
            continue
        if code == 0 and tuple(version) >= _OLDEST:
            yield str(executable)


def _environment(plan: Plan, say: Say, is_cancelled: Asked) -> str:
    """Make the environment where it is not there yet, and return its Python."""
    home = plan.folder / "env"
    python = home / ("Scripts/python.exe" if sys.platform == "win32" else "bin/python")
    if python.exists():
        say(f"Going on with the environment in {home}")
        return str(python)
    say(f"Making an environment in {home}")
    if plan.base:
        code, _ = run_tool([plan.base, "-I", "-m", "venv", str(home)], **_tool(plan, say, is_cancelled))
        if code == 0 and python.exists():
            return str(python)
        shutil.rmtree(home, ignore_errors=True)
    uv = _uv(plan, say, is_cancelled)
    choice = ["--python", plan.base] if plan.base else ["--managed-python", "--python", _UV_PYTHON]
    code, tail = run_tool([*uv, "venv", "--seed", *choice, str(home)], **_tool(plan, say, is_cancelled))
    if code != 0:
        raise EngineError(_failed("the environment could not be made", tail))
    return str(python)


def _packages(plan: Plan, python: str, say: Say, is_cancelled: Asked) -> None:
    """Install geotoolbox and what it needs."""
    source = plan.request.source or f"geotoolbox=={plan.request.version}"
    say(f"Installing {source}: this takes some minutes")
    index = ["--index-url", plan.request.index] if plan.request.index else []
    options = [*index, *(["--upgrade"] if plan.request.update else []), source]
    uv = _uv_for(plan, python, say, is_cancelled)
    commands: List[List[str]] = []
    if uv:
        base = [*uv, "pip", "install", "--python", python]
        if not plan.request.index:
            commands.append(
                [*base, f"--torch-backend={'auto' if plan.device == 'cuda' else 'cpu'}", *options]
            )
        commands.append([*base, *options])
    commands.append([python, "-I", "-m", "pip", "install", "--no-input", *options])
    tail: Sequence[str] = ()
    for number, command in enumerate(commands):
        if number:
            say("That did not work; trying another way" + (_larger(plan) if number == 1 else ""))
        code, tail = run_tool(command, **_tool(plan, say, is_cancelled))
        if code == 0:
            return
    raise EngineError(_failed("geotoolbox could not be installed", tail))


def _larger(plan: Plan) -> str:
    """Say what it means that PyTorch's own index cannot be reached; refuse where there is no room for it."""
    if plan.device == "cuda" or plan.request.index or sys.platform != "linux":
        return ""
    _check_disk(plan.folder, _GB["cuda"][1])
    return ": the Python Package Index has PyTorch with the parts for graphics cards, about 3.5 GB"


def _uv_for(plan: Plan, python: str, say: Say, is_cancelled: Asked) -> List[str]:
    """Return how uv is called, or nothing where it cannot be had."""
    found = shutil.which("uv")
    if found:
        return [found]
    inside = Path(python).with_name("uv.exe" if sys.platform == "win32" else "uv")
    if not inside.exists():
        index = ["--index-url", plan.request.index] if plan.request.index else []
        run_tool(
            [python, "-I", "-m", "pip", "install", "--no-input", *index, "uv"],
            **_tool(plan, say, is_cancelled),
        )
    return [str(inside)] if inside.exists() else []


def _uv(plan: Plan, say: Say, is_cancelled: Asked) -> List[str]:
    """Return how uv is called; it is brought into the engine's folder by a Python that has pip."""
    found = shutil.which("uv")
    if found:
        return [found]
    place = plan.folder / "uv"
    program = place / "bin" / ("uv.exe" if sys.platform == "win32" else "uv")
    for python in (*_pythons_of_qgis(), plan.base):
        if program.exists():
            break
        if python:
            command = [python, "-I", "-m", "pip", "install", "--no-input", "--target", str(place), "uv"]
            run_tool(command, **_tool(plan, say, is_cancelled))
    if not program.exists():
        raise EngineError(
            "There is no Python 3.11 or newer on this computer, and uv, which brings one, could not be installed. Fix: "
            "install Python 3.11 or newer (or uv) and run this again."
        )
    return [str(program)]


def _pythons_of_qgis() -> Iterator[str]:
    """Yield the interpreters that belong to QGIS itself (``sys.executable`` may be QGIS)."""
    for name in ("python3.exe", "python.exe", "bin/python3", "python3"):
        path = Path(sys.exec_prefix) / name
        if path.is_file():
            yield str(path)


def _tool(plan: Plan, say: Say, is_cancelled: Asked) -> Dict[str, Any]:
    return {"folder": plan.folder, "on_line": say, "is_cancelled": is_cancelled}


def _failed(what: str, tail: Sequence[str]) -> str:
    said = " / ".join([line for line in tail if line.strip()][-4:])
    return (
        f"{what[:1].upper() + what[1:]}: {said}. Fix: check the connection (a proxy of your organisation may need to be "
        "set), then run this again; it goes on where it stopped."
    )


def _somewhere() -> Path:
    """Return a folder to stand in that is nobody's: neither QGIS's nor the plugin's."""
    folder = managed_folder()
    folder.mkdir(parents=True, exist_ok=True)
    return folder
