"""How a job stands, as traits; and jobs in a thread of the kernel."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from typing import Any

import traitlets as t

from geotoolbox.core.events import Event, to_json
from geotoolbox.errors import BadInput, Cancelled, GeoToolboxError, explain
from geotoolbox.jobs.registry import find_job
from geotoolbox.jobs.spec import JobSpec

__all__ = ["BUSY", "JobRun", "ThreadRun", "refuse_second"]

_LOG = logging.getLogger(__name__)
_KEEP_LINES = 200
BUSY = ("running", "pausing", "cancelling")


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
        return self.state in BUSY

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
        refuse_second(self)
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


def refuse_second(run: JobRun) -> None:
    """Refuse to start a job beside one that is at work.

    Raises:
        BadInput: When there is one.
    """
    if run.busy:
        raise BadInput(explain("a job is at work already", got=run.job, fix="wait for it, or cancel it"))
