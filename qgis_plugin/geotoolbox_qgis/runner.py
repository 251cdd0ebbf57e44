"""Runs the engine in a process of its own. Standard library only; nothing of QGIS is imported here.

One process a job. The job goes in on standard input, events come out as JSON lines; two threads read, one loop
waits with an eye on cancellation. The process leads its own group, so that ending it ends its children; and it ends
by itself when this process is gone, because its input then ends.
"""

from __future__ import annotations

import json
import os
import queue
import signal
import subprocess  # nosec B404
import sys
import threading
import time
from collections import deque
from pathlib import Path
from typing import IO, Any, Callable, Deque, Dict, List, Mapping, Optional, Sequence, Tuple

from .environment import clean_environment, engine_command

__all__ = ["PROTOCOL", "Cancelled", "EngineError", "run_engine", "run_tool"]

PROTOCOL = 1
_POLL_S = 0.1
_GRACE_S = 0.6
_START_S = 180.0
_DRAIN_S = 1.0
_TAIL = 40
_END = object()

_EXITS = {
    -9: "it was killed; most often the memory was full. Try a smaller batch size or fewer other programs",
    137: "it was killed; most often the memory was full. Try a smaller batch size or fewer other programs",
    -11: "it crashed (segmentation fault)",
    139: "it crashed (segmentation fault)",
    0xC0000005: "it crashed (access violation)",
    0xC000007B: "one of its libraries is for another kind of processor",
    0xC0000135: "one of its libraries is missing",
}


class EngineError(Exception):
    """The engine could not be started, or says what is wrong with the job."""


class Cancelled(Exception):
    """The person stopped the job."""


def run_engine(
    python: str,
    job: str,
    spec: Mapping[str, Any],
    *,
    needs: str,
    on_event: Callable[[Dict[str, Any]], None],
    on_line: Callable[[str], None],
    is_cancelled: Callable[[], bool],
    folder: Path,
    outputs: Sequence[str] = (),
) -> Dict[str, Any]:
    """Run one job and return the values of its result.

    Args:
        python: The engine's interpreter.
        job: The job's name.
        spec: Its settings.
        needs: The oldest version of the engine that will do.
        on_event: Hears each event.
        on_line: Hears each line that is no event.
        is_cancelled: Asked ten times a second.
        folder: Where the process stands (never the plugin's own folder).
        outputs: Files and folders that the job writes; what a killed engine leaves half-written there is removed.

    Raises:
        EngineError: With a sentence for the person.
        Cancelled: When it was stopped.
    """
    process = _Process(engine_command(python), folder)
    try:
        hello = process.next_event(on_line, is_cancelled, wait_s=_START_S)
        if hello is None:
            raise EngineError(process.no_start(python))
        _check_hello(hello, needs, python)
        process.send({"job": job, "spec": dict(spec)})
        return _follow(process, on_event, on_line, is_cancelled)
    finally:
        process.end()
        remove_parts(outputs, process.pid)


def _follow(
    process: _Process,
    on_event: Callable[[Dict[str, Any]], None],
    on_line: Callable[[str], None],
    is_cancelled: Callable[[], bool],
) -> Dict[str, Any]:
    while True:
        event = process.next_event(on_line, is_cancelled)
        if event is None:
            raise EngineError(process.no_result())
        if event.get("kind") != "result":
            on_event(event)
            continue
        process.drain(on_line)
        code = event.get("exit_code")
        if code == 0:
            return event
        if code == 130:
            raise Cancelled(str(event.get("message", "")))
        raise EngineError(str(event.get("message", "")) or process.no_result())


def _check_hello(hello: Mapping[str, Any], needs: str, python: str) -> None:
    version = str(hello.get("engine", ""))
    if hello.get("kind") != "hello" or not version:
        raise EngineError(
            f"{python} answers, but not as the GeoToolbox engine. Fix: run 'Set up the engine'."
        )
    if hello.get("protocol") != PROTOCOL:
        older = isinstance(hello.get("protocol"), int) and hello["protocol"] < PROTOCOL
        side = "the engine ('Set up the engine' with Update)" if older else "this plugin"
        raise EngineError(
            f"Engine {version} and this plugin do not speak the same protocol "
            f"({hello.get('protocol')} and {PROTOCOL}). Fix: update {side}."
        )
    if _numbers(version)[:2] < _numbers(needs)[:2]:
        raise EngineError(
            f"The engine is version {version}, this plugin needs {needs} or newer. "
            "Fix: run 'Set up the engine' with Update."
        )


def _numbers(version: str) -> Tuple[int, ...]:
    return tuple(int(p) for p in version.split(".") if p.isdigit())


class _Process:
    """A process with lines in and lines out."""

    def __init__(
        self,
        command: Sequence[str],
        folder: Path,
        *,
        read_input: bool = True,
        variables: Optional[Mapping[str, str]] = None,
    ) -> None:
        self._lines: queue.Queue[Any] = queue.Queue()
        self.tail: Deque[str] = deque(maxlen=_TAIL)
        self._cancel_at: Optional[float] = None
        self._ended = 0
        try:
            # A list, made here, and no shell; the interpreter is the one that the person has chosen.
            self._process = subprocess.Popen(  # nosec B603
                list(command),
                stdin=subprocess.PIPE if read_input else subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                cwd=str(folder),
                env={**clean_environment(), **(variables or {})},
                **_own_group(),
            )
        except (OSError, ValueError) as error:
            raise EngineError(
                f"The engine's Python cannot be started: {command[0]} ({error}). Fix: run 'Set up the engine', or "
                "correct the path in Settings > Options > Processing > Providers > GeoToolbox."
            ) from error
        self.pid = self._process.pid
        streams = (self._process.stdout, self._process.stderr)
        self._readers = [threading.Thread(target=self._read, args=(one,), daemon=True) for one in streams]
        for reader in self._readers:
            reader.start()

    def _read(self, stream: IO[bytes]) -> None:
        main = stream is self._process.stdout
        with stream:
            for raw in iter(stream.readline, b""):
                self._lines.put((main, raw.decode("utf-8", "replace").rstrip("\r\n")))
        self._lines.put((main, _END))

    def send(self, order: Mapping[str, Any]) -> None:
        """Send one order; that the process has ended shows when its lines end."""
        stream = self._process.stdin
        if stream is None:
            return
        try:
            stream.write(json.dumps(order).encode("utf-8") + b"\n")
            stream.flush()
        except (OSError, ValueError):
            self.tail.append("(the engine's input is closed)")

    def next_event(
        self, on_line: Callable[[str], None], is_cancelled: Callable[[], bool], wait_s: Optional[float] = None
    ) -> Optional[Dict[str, Any]]:
        """Return the next event, or None when there will be none. Other lines go to ``on_line``."""
        until = None if wait_s is None else time.monotonic() + wait_s
        while until is None or time.monotonic() < until:
            self._watch(is_cancelled)
            try:
                main, line = self._lines.get(timeout=_POLL_S)
            except queue.Empty:
                continue
            if line is _END:
                self._ended += 1
                if main:
                    self.drain(on_line)
                    if self._cancel_at is not None:
                        raise Cancelled("")
                    return None
                continue
            event = _as_event(line) if main else None
            if event is not None:
                return event
            self.tail.append(line)
            on_line(line)
        return None

    def take_line(self, on_line: Callable[[str], None]) -> int:
        """Hand one line on, if there is one; return 1 when a stream has ended."""
        try:
            _, line = self._lines.get(timeout=_POLL_S)
        except queue.Empty:
            return 0
        if line is _END:
            return 1
        self.tail.append(line)
        on_line(line)
        return 0

    def drain(self, on_line: Callable[[str], None]) -> None:
        """Hand on what the process says last: until both streams end, or for a second when it does not end."""
        until = time.monotonic() + _DRAIN_S
        while self._ended < len(self._readers) and time.monotonic() < until:
            try:
                _, line = self._lines.get(timeout=_POLL_S)
            except queue.Empty:
                continue
            if line is _END:
                self._ended += 1
                continue
            self.tail.append(line)
            on_line(line)

    def _watch(self, is_cancelled: Callable[[], bool]) -> None:
        """Ask for an end when the person does; take it when the engine does not answer in time."""
        now = time.monotonic()
        if self._cancel_at is None:
            if is_cancelled():
                self._cancel_at = now
                self.send({"command": "cancel"})
        elif now - self._cancel_at > _GRACE_S:
            self.end()
            raise Cancelled("")

    def end(self) -> None:
        """End the process and its children, if they have not ended."""
        stream = self._process.stdin
        if stream is not None:
            try:
                stream.close()
            except OSError:
                self.tail.append("(the engine's input was closed)")
        if self._cancel_at is None:
            self._waited(1.0)
        _kill_group(self._process)  # of a process that has ended, a child may be left
        self._waited(5.0)
        for reader in self._readers:
            reader.join(1.0)

    def _waited(self, seconds: float) -> bool:
        try:
            self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            return False
        return True

    def code(self) -> Optional[int]:
        """Return the exit code; None while the process lives."""
        self._waited(2.0)
        return self._process.returncode

    def no_start(self, python: str) -> str:
        """Say why there is no engine at this Python."""
        said = "\n".join(self.tail)
        if "No module named" in said and "geotoolbox" in said:
            return (
                f"The Python {python} has no geotoolbox. Fix: run 'Set up the engine', or install it there "
                f"from its sources ('{python} -m pip install FOLDER')."
            )
        return f"The engine did not start ({_exit_words(self.code())}).{_last(self.tail)} Fix: run 'Check the engine'."

    def no_result(self) -> str:
        """Say how the engine ended without an answer."""
        return f"The engine stopped in the middle: {_exit_words(self.code())}.{_last(self.tail)}"


def run_tool(
    command: Sequence[str],
    *,
    folder: Path,
    on_line: Callable[[str], None],
    is_cancelled: Callable[[], bool],
    wait_s: Optional[float] = None,
    variables: Optional[Mapping[str, str]] = None,
) -> Tuple[int, List[str]]:
    """Run another program (pip, uv, a Python that is asked for its version) and return its exit code and last lines.

    Args:
        command: The program and its words.
        folder: Where it stands.
        on_line: Hears each line.
        is_cancelled: Asked ten times a second.
        wait_s: How long it may take, in seconds.
        variables: Variables of its environment beside QGIS's cleaned ones.

    Raises:
        EngineError: When it cannot be started, or takes longer than ``wait_s``.
        Cancelled: When it was stopped.
    """
    process = _Process(command, folder, read_input=False, variables=variables)
    try:
        until = None if wait_s is None else time.monotonic() + wait_s
        ends = 0
        while ends < 2:
            if is_cancelled():
                raise Cancelled("")
            if until is not None and time.monotonic() > until:
                raise EngineError(f"{command[0]} does not answer.")
            ends += process.take_line(on_line)
        return process.code() or 0, list(process.tail)
    finally:
        process.end()


def _as_event(line: str) -> Optional[Dict[str, Any]]:
    if not line.startswith("{"):
        return None
    try:
        found = json.loads(line)
    except ValueError:
        return None
    return found if isinstance(found, dict) and "kind" in found else None


def _own_group() -> Dict[str, Any]:
    if sys.platform == "win32":
        return {"creationflags": subprocess.CREATE_NO_WINDOW | subprocess.CREATE_NEW_PROCESS_GROUP}
    return {"start_new_session": True}


def _kill_group(process: subprocess.Popen[bytes]) -> None:
    if sys.platform == "win32":
        if process.poll() is None:
            tool = os.path.join(os.environ.get("SYSTEMROOT", "C:\\Windows"), "System32", "taskkill.exe")
            command = [tool, "/F", "/T", "/PID", str(process.pid)]
            subprocess.run(command, check=False, capture_output=True)  # nosec B603
        return
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except (ProcessLookupError, PermissionError):
        return


def _exit_words(code: Optional[int]) -> str:
    if code is None:
        return "it does not answer"
    return _EXITS.get(code, f"exit code {code}")


def _last(tail: Sequence[str]) -> str:
    said = [line for line in tail if line.strip()][-3:]
    return f" Its last words: {' / '.join(said)}." if said else ""


def remove_parts(outputs: Sequence[str], pid: int) -> List[Path]:
    """Remove what an engine of that process id has left half-written beside its outputs, and return the paths."""
    removed = []
    for place in {p if p.is_dir() else p.parent for p in map(Path, outputs)}:
        if not place.is_dir():
            continue
        for pattern in (f"*.{pid}.part*", f"*.{pid}.work.tif*", f"*.{pid}.probe"):
            for path in place.glob(pattern):
                if path.is_file():
                    path.unlink()
                    removed.append(path)
    return removed
