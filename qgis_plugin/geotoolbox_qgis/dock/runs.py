"""Runs on disk: what the runner wrote about a job, read as it grows.

A run is a folder with ``spec.json`` (what was asked), ``events.jsonl`` (what happened, a line each),
``result.json`` (how it ended) and, while the engine is watched, ``alive``. Standard library only.
"""

from __future__ import annotations

import json
import math
import os
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

__all__ = ["CANCELLED", "DONE", "FAILED", "LOST", "RUNNING", "Progress", "Run", "RunReader", "list_runs"]

RUNNING, DONE, FAILED, CANCELLED, LOST = "running", "done", "failed", "cancelled", "lost"

_SILENT_S = 30.0  # the runner touches "alive" every two seconds; a laptop that slept gets some grace
_MAX_READ = 4 << 20
_MAX_LOGS = 200


@dataclass(frozen=True)
class Progress:
    """How far a stage is."""

    stage: str
    done: float
    total: float
    seconds_left: float | None = None
    message: str = ""

    @property
    def share(self) -> float:
        """The part that is done, 0 to 1."""
        return min(1.0, max(0.0, self.done / self.total)) if self.total > 0 else 0.0


@dataclass
class Run:
    """What is known about one run so far."""

    folder: Path
    algorithm: str = ""
    started: float = 0.0
    ended: float | None = None
    status: str = RUNNING
    message: str = ""
    progress: Progress | None = None
    stages: list[str] = field(default_factory=list)
    series: dict[str, list[tuple[float, float]]] = field(default_factory=dict)
    artifacts: dict[str, str] = field(default_factory=dict)
    logs: list[tuple[str, str]] = field(default_factory=list)
    outputs: dict[str, Any] = field(default_factory=dict)
    result: dict[str, Any] = field(default_factory=dict)
    asked: dict[str, Any] = field(default_factory=dict)

    @property
    def running(self) -> bool:
        """Whether the engine is still at work."""
        return self.status == RUNNING

    @property
    def seconds(self) -> float:
        """How long it took, or has taken so far."""
        return max(0.0, (self.ended if self.ended is not None else time.time()) - self.started)

    def file(self, name: str) -> Path | None:
        """Return a file of the run that is really there: by artifact name, else by output name."""
        for found in (self.artifacts.get(name), self.outputs.get(name.upper()), self.result.get(name)):
            if isinstance(found, str) and found and Path(found).is_file():
                return Path(found)
        return None

    @property
    def matrix(self) -> Path | None:
        """The file that holds the run's confusion matrix; the numbers of a sample hold none of pixels."""
        return None if self.algorithm == "accuracyreport" else self.file("metrics")

    def score(self, name: str) -> float | None:
        """Return a number of the result, such as ``mean_iou``."""
        value = self.result.get(name, self.outputs.get(name.upper()))
        return float(value) if isinstance(value, (int, float)) and not isinstance(value, bool) else None

    def cancel(self) -> None:
        """Ask the runner to stop the engine."""
        (self.folder / "cancel").touch()

    @property
    def cancel_asked(self) -> bool:
        """Whether somebody has asked for it."""
        return (self.folder / "cancel").exists()


class RunReader:
    """Follows one run: :meth:`poll` reads only what is new.

    Attributes:
        run: What is known so far.
    """

    def __init__(self, folder: Path) -> None:
        self.run = Run(Path(folder))
        self._offset = 0
        self._rest = b""
        self._asked = False

    def poll(self) -> bool:
        """Read what is new; return whether anything was."""
        before = self.run.status
        changed = self._read_spec()
        result = _load(self.run.folder / "result.json") if before in (RUNNING, LOST) else None
        changed |= self._read_events()  # after looking for the result: nothing that came before it is missed
        if result is not None:
            self._finish(result)
        elif before in (RUNNING, LOST):
            self._notice_silence()
        return changed or self.run.status != before

    def _read_spec(self) -> bool:
        if self._asked:
            return False
        found = _load(self.run.folder / "spec.json")
        if found is None:
            self.run.algorithm = self.run.algorithm or self.run.folder.name.split("-", 1)[-1]
            self.run.started = self.run.started or _changed(self.run.folder)
            return False
        self._asked = True
        self.run.algorithm = str(found.get("algorithm") or found.get("job") or self.run.folder.name)
        self.run.started = _number(found.get("started")) or _changed(self.run.folder / "spec.json")
        jobs = found.get("jobs")
        specs = [spec for spec in (jobs.values() if isinstance(jobs, dict) else ()) if isinstance(spec, dict)]
        self.run.asked = {name: value for spec in specs for name, value in spec.items()}
        return True

    def _read_events(self) -> bool:
        any_new = False
        while True:
            try:
                with open(self.run.folder / "events.jsonl", "rb") as stream:
                    stream.seek(self._offset)
                    new = stream.read(_MAX_READ)
            except OSError:
                return any_new
            if not new:
                return any_new
            any_new = True
            self._offset += len(new)
            *lines, self._rest = (self._rest + new).split(b"\n")
            for line in lines:
                self._take(line)

    def _take(self, line: bytes) -> None:
        try:
            event = json.loads(line.decode("utf-8"))
        except ValueError:
            return  # a line of noise is no event
        if not isinstance(event, dict):
            return
        take = {
            "progress": self._progress,
            "metric": self._metric,
            "artifact": self._artifact,
            "log": self._log,
        }.get(str(event.get("kind")))
        if take is not None:
            take(event)

    def _progress(self, event: dict[str, Any]) -> None:
        stage = str(event.get("stage", ""))
        done, total = _number(event.get("done")) or 0.0, _number(event.get("total")) or 0.0
        left = _number(event.get("seconds_left"))
        self.run.progress = Progress(stage, done, total, left, str(event.get("message") or ""))
        if stage not in self.run.stages:
            self.run.stages.append(stage)

    def _metric(self, event: dict[str, Any]) -> None:
        name, value = str(event.get("name", "")), _number(event.get("value"))
        points = self.run.series.setdefault(name, [])
        step = _number(event.get("step"))
        if value is not None:
            points.append((len(points) + 1.0 if step is None else step, value))

    def _artifact(self, event: dict[str, Any]) -> None:
        self.run.artifacts[str(event.get("name", ""))] = str(event.get("path", ""))

    def _log(self, event: dict[str, Any]) -> None:
        entry = (str(event.get("level") or "info"), str(event.get("message", "")))
        if entry[0] != "debug" and len(self.run.logs) < _MAX_LOGS:
            self.run.logs.append(entry)

    def _finish(self, found: dict[str, Any]) -> None:
        status = str(found.get("status"))
        self.run.status = status if status in (DONE, FAILED, CANCELLED) else FAILED
        self.run.message = str(found.get("message") or "")
        self.run.ended = _number(found.get("ended")) or _changed(self.run.folder / "result.json")
        outputs, result = found.get("outputs"), found.get("result")
        self.run.outputs = outputs if isinstance(outputs, dict) else {}
        self.run.result = result if isinstance(result, dict) else {}

    def _notice_silence(self) -> None:
        """Tell a run whose QGIS died from one that works; one that speaks again is running again."""
        last = max(_changed(self.run.folder / name) for name in ("alive", "events.jsonl", "spec.json"))
        silent = time.time() - last > _SILENT_S
        self.run.status = LOST if silent else RUNNING
        self.run.ended = last if silent else None
        self.run.message = "QGIS ended before the run did." if silent else ""


def list_runs(folder: Path) -> list[Path]:
    """Return the folders of all runs, the newest first."""
    try:
        found = [Path(entry.path) for entry in os.scandir(folder) if entry.is_dir()]
    except OSError:
        return []
    return sorted((p for p in found if (p / "spec.json").exists()), key=lambda p: p.name, reverse=True)


def _load(path: Path) -> dict[str, Any] | None:
    """Read a JSON object; None while it is not there, or not whole yet."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return found if isinstance(found, dict) else None


def _number(value: Any) -> float | None:
    """Return a finite number, or None."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    return float(value) if math.isfinite(value) else None


def _changed(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except OSError:
        return 0.0
