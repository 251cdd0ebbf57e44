"""Events: how long work tells its progress, and hears that it shall stop.

The engine reports to a :class:`Reporter`; a door decides how to show it. The default,
:data:`SILENT`, shows nothing and is never cancelled.
"""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass, field
from typing import Any, Literal, Protocol

from geotoolbox.errors import Cancelled

__all__ = ["SILENT", "Artifact", "Event", "Log", "Metric", "Progress", "Reporter", "Silent", "Stage"]

Level = Literal["debug", "info", "warning", "error"]


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a stage is: ``done`` of ``total`` units, seconds left where known."""

    stage: str
    done: float
    total: float
    seconds_left: float | None = None
    message: str = ""
    kind: str = field(default="progress", init=False)


@dataclass(frozen=True, slots=True)
class Log:
    """A sentence for the person."""

    message: str
    level: Level = "info"
    kind: str = field(default="log", init=False)


@dataclass(frozen=True, slots=True)
class Metric:
    """A number with a name, at a step (an epoch, where it is about training)."""

    name: str
    value: float
    step: int | None = None
    kind: str = field(default="metric", init=False)


@dataclass(frozen=True, slots=True)
class Artifact:
    """A file that the job has finished."""

    name: str
    path: str
    media_type: str = ""
    kind: str = field(default="artifact", init=False)


Event = Progress | Log | Metric | Artifact


class Reporter(Protocol):
    """Whoever listens to a job."""

    def emit(self, event: Event) -> None:
        """Take one event."""

    @property
    def cancelled(self) -> bool:
        """Whether the job shall stop."""


class Silent:
    """A reporter that shows nothing and never cancels."""

    def emit(self, event: Event) -> None:
        """Drop the event."""

    @property
    def cancelled(self) -> bool:
        """Never."""
        return False


SILENT: Reporter = Silent()


class Stage:
    """Progress of one stage, with the time left, and a check for cancellation at each step.

    Example:
        >>> stage = Stage(SILENT, "predict", total=10)
        >>> stage.advance(4)
        >>> stage.done
        4.0
    """

    def __init__(self, reporter: Reporter, name: str, total: float) -> None:
        self.reporter, self.name, self.total, self.done = reporter, name, float(total), 0.0
        self._start = time.monotonic()
        reporter.emit(Progress(name, 0.0, self.total))

    def advance(self, units: float = 1.0, message: str = "") -> None:
        """Count units as done and report; raises :class:`Cancelled` when asked to stop."""
        self.done += units
        spent = time.monotonic() - self._start
        left = spent / self.done * (self.total - self.done) if self.done > 0 else None
        self.reporter.emit(Progress(self.name, self.done, self.total, left, message))
        check_cancelled(self.reporter)


def check_cancelled(reporter: Reporter) -> None:
    """Raise :class:`Cancelled` when the reporter asks the job to stop."""
    if reporter.cancelled:
        raise Cancelled("cancelled: finished work is kept; run the same command to go on.")


def to_json(event: Event) -> dict[str, Any]:
    """Return an event as a plain dict for a JSON line."""
    return asdict(event)
