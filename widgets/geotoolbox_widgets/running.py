"""Jobs that run beside the kernel: in a thread, or in a process that outlives the page and the kernel."""

from __future__ import annotations

import json
import logging
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import traitlets as t

from geotoolbox.core.events import Event, to_json
from geotoolbox.core.files import atomic_path, check_writable
from geotoolbox.errors import BadInput, Cancelled, GeoToolboxError, explain
from geotoolbox.jobs.recipe import read_recipe, recipe_text
from geotoolbox.jobs.registry import find_job
from geotoolbox.jobs.spec import JobSpec

__all__ = ["JobRun", "ProcessRun", "ThreadRun"]

_LOG = logging.getLogger(__name__)
_POLL_S = 0.15
_KEEP_LINES = 200
_BUSY = ("running", "pausing", "cancelling")


class JobRun(t.HasTraits):
    """How a job stands: what every door hears of it, as traits.

    Attributes:
        job: The job's name.
        state: ``idle``, ``running``, ``pausing``, ``paused``, ``cancelling``, ``cancelled``, ``done``, ``failed``.
        stage: What is being done.
        fraction: How much of the stage is done, 0 to 1.
        seconds_left: Of the stage, where it is known.
        message: The last thing said about the progress.
        log: What was said so far: mappings with ``level`` and ``message``.
        metrics: For each number its (step, value) pairs.
        artifacts: The files made so far: mappings with ``name``, ``path`` and ``media_type``.
        result: What the job gave back, as plain values; empty before its end.
        error: Why it failed; empty where it did not.
    """

    job = t.Unicode()
    state = t.Enum(
        ("idle", "running", "pausing", "paused", "cancelling", "cancelled", "done", "failed"), "idle"
    )
    stage = t.Unicode()
    fraction = t.Float(0.0)
    seconds_left = t.Float(None, allow_none=True)
    message = t.Unicode()
    log: t.List[Any] = t.List()
    metrics = t.Dict()
    artifacts: t.List[Any] = t.List()
    result = t.Dict()
    error = t.Unicode()

    @property
    def busy(self) -> bool:
        """Whether the job is at work."""
        return self.state in _BUSY

    def wait(self, timeout_s: float | None = None) -> str:
        """Wait until the job rests, and return its state.

        Raises:
            TimeoutError: When it is still at work after ``timeout_s`` seconds.
        """
        end = None if timeout_s is None else time.monotonic() + timeout_s
        while self.busy:
            if end is not None and time.monotonic() > end:
                raise TimeoutError(f"the job {self.job} is still {self.state} after {timeout_s:g} s")
            time.sleep(0.05)
        return str(self.state)

    def _begin(self, job: str, *, keep: bool = False) -> None:
        with self.hold_trait_notifications():
            self.job, self.error, self.result = job, "", {}
            self.stage, self.message, self.fraction, self.seconds_left = "start", "", 0.0, None
            if not keep:
                self.log, self.metrics, self.artifacts = [], {}, []
            self.state = "running"

    def _take(self, event: dict[str, Any]) -> None:
        """Take one event, as it stands on a JSON line."""
        kind = event.get("kind")
        if kind == "progress":
            total = float(event["total"])
            self.stage, self.message = str(event["stage"]), str(event.get("message") or "")
            self.fraction = min(1.0, float(event["done"]) / total) if total else 1.0
            left = event.get("seconds_left")
            self.seconds_left = None if left is None else float(left)
        elif kind == "metric":
            name, step = str(event["name"]), event.get("step")
            rows = [row for row in self.metrics.get(name, []) if row[0] != step or step is None]
            self.metrics = {**self.metrics, name: [*rows, (step, float(event["value"]))]}
        elif kind == "log":
            line = {"level": str(event.get("level", "info")), "message": str(event["message"])}
            self.log = [*self.log, line][-_KEEP_LINES:]
        elif kind == "artifact":
            made = {k: str(event.get(k, "")) for k in ("name", "path", "media_type")}
            self.artifacts = [*self.artifacts, made]

    def _end(self, code: int, message: str, result: dict[str, Any]) -> None:
        asked = {"pausing": "paused", "cancelling": "cancelled"}
        state = "done" if code in (0, 3) else "cancelled" if code == 130 else "failed"
        if code != 0 and self.state in asked:
            state = asked[self.state]
        with self.hold_trait_notifications():
            self.result = result
            self.error = message if state == "failed" or code == 3 else ""
            self.message = message.splitlines()[0] if message else ""
            self.seconds_left = None
            if state == "done":
                self.fraction = 1.0
            self.state = state


class ThreadRun(JobRun):
    """A job in a thread of the kernel: starts at once, for work of seconds."""

    def __init__(self) -> None:
        super().__init__()
        self._stop = threading.Event()
        self._last_s = 0.0

    def start(self, job: str, spec: JobSpec, *, done: Callable[[Any], None] | None = None) -> None:
        """Start a job.

        Args:
            job: Its name.
            spec: Its settings.
            done: Is called with the job's result, in the job's thread.

        Raises:
            BadInput: When a job is at work already.
        """

        def work() -> Any:
            return find_job(job).run(spec, self)

        self.call(job, work, done=done)

    def call(self, name: str, work: Callable[[], Any], *, done: Callable[[Any], None] | None = None) -> None:
        """Run a function as if it were a job; it reports to this run as its ``events``."""
        _refuse_second(self)
        self._stop.clear()
        self._begin(name)
        threading.Thread(target=self._run, args=(work, done), name=f"geotoolbox {name}", daemon=True).start()

    def emit(self, event: Event) -> None:
        """Take an event; progress at most ten times a second."""
        values = to_json(event)
        now = time.monotonic()
        if values["kind"] == "progress" and values["done"] < values["total"] and now - self._last_s < 0.1:
            return
        self._last_s = now
        self._take(values)

    @property
    def cancelled(self) -> bool:
        """Whether the job shall stop."""
        return self._stop.is_set()

    def cancel(self) -> None:
        """Ask the job to stop at its next event."""
        if self.busy:
            self.state = "cancelling"
            self._stop.set()

    def _run(self, work: Callable[[], Any], done: Callable[[Any], None] | None) -> None:
        try:
            result = work()
            if done is not None:
                done(result)
        except Cancelled as error:
            self._end(130, str(error), {})
        except GeoToolboxError as error:
            self._end(2, str(error), {})
        except Exception as error:
            _LOG.debug("the job %s failed", self.job, exc_info=True)
            self._end(1, f"{type(error).__name__}: {error}", {})
        else:
            values = result.to_json() if hasattr(result, "to_json") else {}
            summary = result.summary() if hasattr(result, "summary") else ""
            self._end(0, summary, values)


class ProcessRun(JobRun):
    """A job as a process of its own: ``geotoolbox run RECIPE``, its events in a file.

    The process reads its recipe from, and writes its events to, a folder beside the job's output. So it goes
    on when the page is closed or the kernel dies, and :meth:`attach` finds it again.

    Args:
        folder: Where recipe and events are kept.

    Example:
        >>> import tempfile
        >>> run = ProcessRun(Path(tempfile.mkdtemp()) / "model.gtb.run")
        >>> run.attach(), run.state
        (False, 'idle')
    """

    def __init__(self, folder: str | Path) -> None:
        super().__init__()
        self.folder = Path(folder)
        self._process: subprocess.Popen[bytes] | None = None
        self._known: dict[str, Any] = {}
        self._read = 0
        self._last: dict[str, Any] | None = None

    @property
    def recipe_path(self) -> Path:
        """The recipe that the process runs."""
        return self.folder / "job.recipe.yaml"

    def start(self, job: str, spec: JobSpec, *, keep: bool = False) -> None:
        """Start a job.

        Args:
            job: Its name.
            spec: Its settings.
            keep: Keep the log and the curves of the part before, for a job that goes on.

        Raises:
            BadInput: When this job is at work already, here or in another kernel.
            CannotWrite: When the folder cannot be written to.
        """
        _refuse_second(self)
        if self._alive(self._record()):
            raise BadInput(
                explain("this job is at work already", where=self.folder, fix="attach to it, or cancel it")
            )
        check_writable(self.recipe_path)
        with atomic_path(self.recipe_path) as part:
            part.write_text(recipe_text(job, spec, self.folder), encoding="utf-8")
        self._begin(job, keep=keep)
        if not keep:
            self._events.unlink(missing_ok=True)
        self._read = self._events.stat().st_size if self._events.exists() else 0
        self._last = None
        self._launch()

    def pause(self) -> None:
        """Stop at the last checkpoint, to go on from it with :meth:`resume`."""
        self._ask("pausing")

    def cancel(self) -> None:
        """Stop. What is finished stays on the disk."""
        if self.state == "paused":
            self.state = "cancelled"
            self._note(asked="cancelled")
            return
        self._ask("cancelling")

    def resume(self) -> None:
        """Go on from the last checkpoint, also in another kernel than the one that started.

        Raises:
            BadInput: When there is nothing to go on with.
            CannotRead: When the recipe cannot be read.
        """
        job, spec = read_recipe(self.recipe_path)
        if "resume" in type(spec).model_fields:
            spec = spec.model_copy(update={"resume": True})
        self.start(job, spec, keep=True)

    def attach(self) -> bool:
        """Take up a job that another kernel has started; tell whether there was one."""
        record = self._record()
        if self.busy or not record:
            return False
        self._begin(str(record.get("job", "")))
        self._known, self._read, self._last = record, 0, None
        asked = str(record.get("asked", ""))
        if asked in _BUSY:
            self.state = asked
        if self._alive(record):
            self._watch()
        else:
            self._finish()
            if asked == "cancelled":
                self.state = asked
        return True

    @property
    def _events(self) -> Path:
        return self.folder / "events.jsonl"

    def _launch(self) -> None:
        words = [sys.executable, "-m", "geotoolbox", "run", str(self.recipe_path), "--events", "jsonl"]
        with self._events.open("ab") as out, (self.folder / "errors.txt").open("wb") as errors:
            self._process = subprocess.Popen(  # noqa: S603  our own command, without a shell
                words, stdin=subprocess.DEVNULL, stdout=out, stderr=errors, start_new_session=True
            )
        try:
            since = psutil.Process(self._process.pid).create_time()
        except psutil.Error:  # it has ended already
            since = time.time()
        self._known = {"job": self.job, "pid": self._process.pid, "since": since, "asked": ""}
        self._note(asked="")
        self._watch()

    def _note(self, asked: str) -> None:
        self._known = {**self._known, "asked": asked}
        with atomic_path(self.folder / "run.json") as part:
            part.write_text(json.dumps(self._known), encoding="utf-8")

    def _record(self) -> dict[str, Any]:
        try:
            found = json.loads((self.folder / "run.json").read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return {}
        return found if isinstance(found, dict) else {}

    def _alive(self, record: dict[str, Any]) -> bool:
        """Tell whether the process of a record runs; a number that went to another process is not it."""
        if self._process is not None and self._process.pid == record.get("pid"):
            return self._process.poll() is None
        try:
            found = psutil.Process(int(record["pid"]))
            same = abs(found.create_time() - float(record["since"])) < 1.0
            return same and found.status() != psutil.STATUS_ZOMBIE
        except (psutil.Error, KeyError, ValueError, TypeError):
            return False

    def _ask(self, state: str) -> None:
        if self.state != "running":
            return
        self.state = state
        self._note(asked=state)
        if self._alive(self._known):
            os.kill(int(self._known["pid"]), signal.SIGTERM)

    def _watch(self) -> None:
        threading.Thread(target=self._follow, name="geotoolbox events", daemon=True).start()

    def _follow(self) -> None:
        while self._alive(self._known):
            self._drain()
            time.sleep(_POLL_S)
        self._finish()

    def _drain(self) -> None:
        """Take the lines that have come."""
        progress: dict[str, Any] | None = None
        for event in self._lines():
            if event.get("kind") == "result":
                self._last = event
                continue
            if event.get("kind") != "log":
                self._last = None  # the end of a part before: the job went on
            if event.get("kind") == "progress":
                progress = event  # of many at once, only the newest is worth showing
            else:
                self._take(event)
        if progress is not None:
            self._take(progress)

    def _lines(self) -> list[dict[str, Any]]:
        if not self._events.exists():
            return []
        with self._events.open("rb") as stream:
            stream.seek(self._read)
            data = stream.read()
        whole = data[: data.rfind(b"\n") + 1]
        self._read += len(whole)
        found = []
        for line in whole.splitlines():
            try:
                event = json.loads(line)
            except ValueError:
                continue  # what a library has printed
            if isinstance(event, dict):
                found.append(event)
        return found

    def _finish(self) -> None:
        self._drain()
        last = self._last
        if last is None:
            self._end(-1, self._why(), {})
        else:
            told = {k: v for k, v in last.items() if k not in ("time", "kind", "exit_code", "message")}
            self._end(int(last["exit_code"]), str(last.get("message", "")), told)

    def _why(self) -> str:
        code = None if self._process is None else self._process.poll()
        try:
            words = (self.folder / "errors.txt").read_text(encoding="utf-8", errors="replace").strip()
        except OSError:
            words = ""
        how = "" if code is None else f" (exit code {code})"
        tail = f" It said: {words.splitlines()[-1][:300]}" if words else ""
        return f"the process ended before the job did{how}.{tail} Finished epochs are kept: start again to go on."


def _refuse_second(run: JobRun) -> None:
    if run.busy:
        raise BadInput(explain("a job is at work already", got=run.job, fix="wait for it, or cancel it"))
