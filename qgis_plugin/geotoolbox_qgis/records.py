"""A folder for each run: what was asked, what happened, how it ended. Standard library only.

``spec.json``, ``events.jsonl``, ``log.txt`` and ``result.json`` are written by the run; ``alive`` is touched while
it goes on; a file named ``cancel`` that somebody else puts there asks it to stop.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import time
from pathlib import Path
from typing import Any, Dict, Mapping, Optional, TextIO

__all__ = ["CANCELLED", "DONE", "FAILED", "Record"]

DONE, FAILED, CANCELLED = "done", "failed", "cancelled"
_ALIVE_EVERY_S = 2.0
_KEEP = 100


class Record:
    """The record of one run.

    Args:
        root: The folder of all runs.
        algorithm: The id of the algorithm.
    """

    def __init__(self, root: Path, algorithm: str) -> None:
        self.algorithm = algorithm
        self.started = time.time()
        self._touched = 0.0
        self.folder = _new_folder(Path(root), algorithm, self.started)
        self._events: Optional[TextIO] = open(self.folder / "events.jsonl", "w", encoding="utf-8")
        self._log: Optional[TextIO] = open(self.folder / "log.txt", "w", encoding="utf-8")
        self.alive()

    def asked(self, jobs: Mapping[str, Any], engine: str) -> None:
        """Write what was asked: each job's name with its settings."""
        first = next(iter(jobs), "")
        content = {
            "algorithm": self.algorithm,
            "job": first,
            "jobs": jobs,
            "engine": engine,
            "started": self.started,
        }
        _write(self.folder / "spec.json", content)

    def event(self, event: Mapping[str, Any]) -> None:
        """Write one event of the engine."""
        if self._events is not None:
            self._events.write(json.dumps(event, ensure_ascii=False) + "\n")
            self._events.flush()

    def line(self, text: str) -> None:
        """Write a line that the engine printed beside its events."""
        if self._log is not None:
            self._log.write(text.rstrip("\n") + "\n")
            self._log.flush()

    def alive(self) -> None:
        """Show that the run goes on."""
        now = time.monotonic()
        if now - self._touched > _ALIVE_EVERY_S:
            self._touched = now
            (self.folder / "alive").touch()

    @property
    def cancel_asked(self) -> bool:
        """Whether somebody has asked the run to stop, by a file."""
        return (self.folder / "cancel").exists()

    def finish(
        self, status: str, message: str, outputs: Mapping[str, Any], result: Mapping[str, Any]
    ) -> None:
        """Write how it ended, and close the files; only the first call counts."""
        if self._events is None:
            return
        for stream in (self._events, self._log):
            if stream is not None:
                stream.close()
        self._events = self._log = None
        content: Dict[str, Any] = {"algorithm": self.algorithm, "status": status, "message": message}
        content.update(started=self.started, ended=time.time(), outputs=dict(outputs), result=dict(result))
        _write(self.folder / "result.json", content)
        (self.folder / "alive").unlink()


def _new_folder(root: Path, algorithm: str, started: float) -> Path:
    root.mkdir(parents=True, exist_ok=True)
    _prune(root)
    stamp = time.strftime("%Y%m%dT%H%M%S", time.localtime(started))
    for number in range(1000):
        folder = root / (f"{stamp}-{algorithm}" + (f"-{number + 1}" if number else ""))
        try:
            folder.mkdir()
        except FileExistsError:
            continue
        return folder
    raise FileExistsError(f"no free name for a run in {root}")


def _prune(root: Path) -> None:
    """Remove the oldest records, so that the profile does not grow for ever."""
    names = sorted(p.name for p in root.iterdir() if re.match(r"\d{8}T\d{6}-", p.name))
    for name in names[: max(0, len(names) - _KEEP + 1)]:
        if not (root / name / "alive").exists():
            shutil.rmtree(root / name, ignore_errors=True)


def _write(path: Path, content: Mapping[str, Any]) -> None:
    part = path.with_name(path.name + ".part")
    part.write_text(json.dumps(content, indent=1, ensure_ascii=False, default=str), encoding="utf-8")
    os.replace(part, path)
