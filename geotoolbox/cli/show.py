"""How the terminal shows events: a line that is rewritten, plain lines in a pipe, or JSON lines."""

from __future__ import annotations

import json
import logging
import math
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import Any, TextIO

from geotoolbox.core.events import Artifact, Event, Log, Metric, Progress, to_json

__all__ = ["EventHandler", "JsonLines", "PlainLines", "Terminal", "catch_signals", "ends_at_once", "give_up"]


class _Base:
    def __init__(self, stream: TextIO) -> None:
        self.stream = stream
        self._stop = threading.Event()
        self._warned: set[str] = set()
        self._deaf = False

    @property
    def cancelled(self) -> bool:
        """Whether the person asked to stop."""
        return self._stop.is_set()

    def cancel(self) -> None:
        """Ask the job to stop at its next event."""
        self._stop.set()

    def close(self) -> None:
        """End the output cleanly."""

    def _again(self, event: Event) -> bool:
        """Tell whether a warning was shown before (the engine's log and its events may say the same)."""
        if not isinstance(event, Log) or event.level == "info":
            return False
        known = event.message in self._warned
        self._warned.add(event.message)
        return known

    def _line(self, text: str) -> None:
        self._put(text + "\n")

    def _put(self, text: str) -> None:
        """Write; when nobody reads any more (``… | head``), be silent from now on and ask the job to stop."""
        if self._deaf:
            return
        try:
            self.stream.write(text)
            self.stream.flush()
        except BrokenPipeError:
            self._deaf = True
            give_up(self.stream)
            self.cancel()


class JsonLines(_Base):
    """One JSON object a line, for programs."""

    def emit(self, event: Event) -> None:
        """Write one event."""
        if self._again(event):
            return
        self._json(to_json(event))

    def result(self, values: dict[str, Any]) -> None:
        """Write the last line: how the job ended."""
        self._json({"kind": "result", **values})

    def _json(self, values: dict[str, Any]) -> None:
        whole = {"time": round(time.time(), 3), **_finite(values)}
        self._line(json.dumps(whole, default=str, ensure_ascii=False, allow_nan=False))


def _finite(value: Any) -> Any:
    """Return plain data with null in place of NaN and infinity, which JSON does not have."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return value


class PlainLines(_Base):
    """Plain text for a pipe or a log file: a line when a stage starts, each tenth, and at its end."""

    def __init__(self, stream: TextIO) -> None:
        super().__init__(stream)
        self._tenth: dict[str, int] = {}

    def emit(self, event: Event) -> None:
        """Write one event, where it says something new."""
        if self._again(event):
            return
        match event:
            case Log(level=level):
                if level != "debug":
                    self._line(event.message if level == "info" else f"{level}: {event.message}")
            case Artifact():
                self._line(f"wrote {event.path}")
            case Progress():
                self._progress(event)
            case Metric():
                pass

    def _progress(self, event: Progress) -> None:
        tenth = int(10 * event.done / event.total) if event.total else 10
        if self._tenth.get(event.stage) != tenth:
            self._tenth[event.stage] = tenth
            self._line(describe_progress(event))


class Terminal(PlainLines):
    """A terminal: the progress line is rewritten in place."""

    def __init__(self, stream: TextIO) -> None:
        super().__init__(stream)
        self._open = False
        self._last = 0.0

    def emit(self, event: Event) -> None:
        """Show one event."""
        if not isinstance(event, Progress | Metric):
            self.close()
        super().emit(event)

    def _progress(self, event: Progress) -> None:
        now, finished = time.monotonic(), event.done >= event.total
        if now - self._last < 0.1 and not finished:
            return
        self._last = now
        self._put("\r\x1b[2K" + describe_progress(event))
        self._open = True
        if finished:
            self.close()

    def close(self) -> None:
        """Leave the progress line as it is and go to a new one."""
        if self._open:
            self._put("\n")
            self._open = False


class EventHandler(logging.Handler):
    """Shows what the engine logs among the events."""

    def __init__(self, reporter: Any) -> None:
        super().__init__()
        self.reporter = reporter

    def emit(self, record: logging.LogRecord) -> None:
        """Turn a log record into an event."""
        level = record.levelname.lower()
        shown: Any = level if level in ("debug", "info", "warning", "error") else "error"
        self.reporter.emit(Log(record.getMessage(), shown))


def describe_progress(event: Progress) -> str:
    """Return a progress event as one line of text.

    Example:
        >>> describe_progress(Progress("predict", 5, 20, 90.0))
        'predict    25 %  [#####---------------]  1:30 left'
    """
    share = event.done / event.total if event.total else 1.0
    bar = "#" * round(20 * share)
    text = f"{event.stage:<9} {100 * share:3.0f} %  [{bar:-<20}]"
    if event.seconds_left is not None and event.done < event.total:
        minutes, seconds = divmod(round(event.seconds_left), 60)
        text += f"  {minutes}:{seconds:02d} left"
    return text + (f"  {event.message}" if event.message else "")


def give_up(stream: TextIO) -> None:
    """Let what is still to be written to a closed pipe go nowhere, so that the end of the program says nothing."""
    with suppress(OSError, ValueError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, stream.fileno())
        os.close(nowhere)


def catch_signals(reporter: _Base) -> None:
    """Let Ctrl-C and SIGTERM ask the job to stop; a second one stops at once."""

    def stop(number: int, frame: FrameType | None) -> None:
        if reporter.cancelled:
            sys.exit(130)
        reporter.cancel()

    for name in (signal.SIGINT, signal.SIGTERM):
        signal.signal(name, stop)


@contextmanager
def ends_at_once() -> Iterator[None]:
    """Let Ctrl-C and SIGTERM end the process themselves, while it loads large modules and has begun nothing yet.

    A handler of ours would wait until the library that is being loaded gives the interpreter back.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {name: signal.signal(name, signal.SIG_DFL) for name in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for name, handler in before.items():
            signal.signal(name, handler)
