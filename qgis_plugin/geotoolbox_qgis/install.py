"""Makes the engine's environment: an existing Python where there is one, else one that uv brings. Standard library only.

The steps can be repeated: what is there already is kept, and only the last step records the engine.
"""

from __future__ import annotations

import shutil
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Callable, Dict, Iterator, List, Mapping, Sequence, Tuple

from .engine_source import make_wheel, tried_versions
from .environment import write_engine
from .lock import Lock
from .planning import GIGABYTES, UV_PYTHON, Asked, Plan, check_disk, somewhere
from .runner import EngineError, run_engine, run_tool
from .uv import Fetch, bring_uv, uv_inside

__all__ = ["Hands", "Installed", "check_engine", "install"]

Say = Callable[[str], None]


def _no_connection(address: str) -> bytes:
    raise EngineError(f"{address} cannot be reached from here.")


@dataclass(frozen=True)
class Hands:
    """How a set-up touches the world.

    Attributes:
        say: Hears what the tools print.
        is_cancelled: Asked ten times a second.
        fetch: Gets an address through QGIS's own connection.
        variables: More variables for the tools, such as a proxy.
    """

    say: Say
    is_cancelled: Asked
    fetch: Fetch = _no_connection
    variables: Mapping[str, str] = field(default_factory=dict)

    def run(self, command: Sequence[str], plan: Plan) -> Tuple[int, List[str]]:
        """Run a tool in the engine's folder; return its exit code and last words."""
        return run_tool(
            command,
            folder=plan.folder,
            on_line=self.say,
            is_cancelled=self.is_cancelled,
            variables=self.variables,
        )


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


def install(plan: Plan, hands: Hands, on_event: Callable[[Dict[str, Any]], None]) -> Installed:
    """Do what the plan says, check the engine, and record it.

    Raises:
        EngineError: With the last words of the step that failed.
        Cancelled: When it was stopped; the next time goes on from there.
    """
    if plan.ready:
        found = check_engine(plan.ready, on_event, hands.say, hands.is_cancelled)
        write_engine(found.python, found.version, found.device)
        return found
    plan.folder.mkdir(parents=True, exist_ok=True)
    with Lock(plan.folder / "setup.lock"):
        python = _environment(plan, hands)
        _packages(plan, python, hands)
        hands.say("Checking the engine")
        found = check_engine(python, on_event, hands.say, hands.is_cancelled)
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
        folder=somewhere(),
    )
    return Installed(
        python, str(result.get("engine", "")), str(result.get("device", "")), str(result.get("text", ""))
    )


def _environment(plan: Plan, hands: Hands) -> str:
    """Make the environment where it is not there yet, and return its Python."""
    home = plan.folder / "env"
    python = home / ("Scripts/python.exe" if sys.platform == "win32" else "bin/python")
    if python.exists():
        hands.say(f"Going on with the environment in {home}")
        return str(python)
    hands.say(f"Making an environment in {home}")
    if plan.base:
        code, _ = hands.run([plan.base, "-I", "-m", "venv", str(home)], plan)
        if code == 0 and python.exists():
            return str(python)
        shutil.rmtree(home, ignore_errors=True)  # Debian's Python without python3-venv gets this far
        hands.say(
            "This Python cannot make environments by itself (nothing has to be done about that); uv does it"
        )
    uv = bring_uv(
        plan.folder / "uv",
        [*_pythons_of_qgis(), *([plan.base] if plan.base else [])],
        plan.request.index,
        lambda command: hands.run(command, plan)[0],
        hands.fetch,
    )
    choice = ["--python", plan.base] if plan.base else ["--managed-python", "--python", UV_PYTHON]
    code, tail = hands.run([uv, "venv", "--seed", *choice, str(home)], plan)
    if code != 0:
        raise EngineError(_failed("the environment could not be made", tail))
    return str(python)


def _packages(plan: Plan, python: str, hands: Hands) -> None:
    """Install geotoolbox and what it needs: one way after the other, until one works."""
    request = plan.request
    source = request.source or _own_source(plan)
    hands.say(f"Installing {source}: this takes some minutes")
    index = ["--index-url", request.index] if request.index else []
    tail: Sequence[str] = ()
    for number, way in enumerate(_ways(plan, python, [*index, source], hands)):
        if number:
            hands.say("That did not work; trying another way" + (_larger(plan) if number == 1 else ""))
        for command in way:
            code, tail = hands.run(command, plan)
            if code != 0:
                break
        else:
            return
    raise EngineError(_failed("geotoolbox could not be installed", tail))


def _own_source(plan: Plan) -> str:
    """Return what is installed where nobody names anything else: what came with the plugin."""
    return str(make_wheel(plan.folder))


def _ways(plan: Plan, python: str, what: List[str], hands: Hands) -> List[List[List[str]]]:
    """Return the commands of each way to install: uv with the versions that were tested, uv, pip."""
    update = plan.request.update
    tried = "" if plan.request.source else tried_versions()
    tested = ["--constraint", tried] if tried else []
    ways: List[List[List[str]]] = []
    uv = _uv_of(plan, python, hands)
    if uv:
        base = [uv, "pip", "install", "--python", python]
        base += ["--upgrade", "--reinstall-package", "geotoolbox"] if update else []
        if not plan.request.index:
            backend = "auto" if plan.device == "cuda" else "cpu"
            ways.append([[*base, f"--torch-backend={backend}", *tested, *what]])
        ways += [[[*base, *tested, *what]], *([[[*base, *what]]] if tested else [])]
    pip = [python, "-I", "-m", "pip", "install", "--no-input"]
    # pip takes a file of the same version for what is there already.
    again = [[*pip, "--force-reinstall", "--no-deps", *what]] if update else []
    ways.append([[*pip, *(["--upgrade"] if update else []), *what], *again])
    return ways


def _uv_of(plan: Plan, python: str, hands: Hands) -> str:
    """Return how uv is called, or nothing where it cannot be had: pip does it, too."""
    found = uv_inside(python)
    try:
        return found or bring_uv(
            plan.folder / "uv",
            [python],
            plan.request.index,
            lambda words: hands.run(words, plan)[0],
            hands.fetch,
        )
    except EngineError as error:
        hands.say(str(error))
        return ""


def _larger(plan: Plan) -> str:
    """Say what it means that PyTorch's own index cannot be reached; refuse where there is no room for it."""
    if plan.device == "cuda" or plan.request.index or sys.platform != "linux":
        return ""
    check_disk(plan.folder, GIGABYTES["cuda"][1])
    return ": the Python Package Index has PyTorch with the parts for graphics cards, about 3.5 GB"


def _pythons_of_qgis() -> Iterator[str]:
    """Yield the interpreters that belong to QGIS itself (``sys.executable`` may be QGIS)."""
    for name in ("python3.exe", "python.exe", "bin/python3", "python3"):
        path = Path(sys.exec_prefix) / name
        if path.is_file():
            yield str(path)


def _failed(what: str, tail: Sequence[str]) -> str:
    said = " / ".join([line for line in tail if line.strip()][-4:])
    return (
        f"{what[:1].upper() + what[1:]}: {said}. Fix: check the connection (a proxy of your organisation may need to be "
        "set), then run this again; it goes on where it stopped."
    )
