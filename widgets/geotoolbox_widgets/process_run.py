"""A job in a process that outlives the page and the kernel."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import psutil

from geotoolbox.core.files import atomic_path, check_writable
from geotoolbox.errors import BadInput, explain
from geotoolbox.jobs.recipe import read_recipe, recipe_text
from geotoolbox.jobs.spec import JobSpec
from geotoolbox_widgets.running import BUSY, JobRun, refuse_second

__all__ = ["ProcessRun"]

_POLL_S = 0.15
_NICENESS = 5


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
        refuse_second(self)
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
        if asked in BUSY:
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
            started = psutil.Process(self._process.pid)
            since = started.create_time()
            # The page and the kernel go first: a long job takes what they leave.
            started.nice(getattr(psutil, "BELOW_NORMAL_PRIORITY_CLASS", _NICENESS))
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
        if last is None and self._process is not None and self._process.poll() == -signal.SIGTERM:
            self._end(130, "stopped while it was starting", {})
        elif last is None:
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
