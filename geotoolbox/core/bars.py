"""Progress bars: events shown by tqdm, in a terminal or in a notebook."""

from __future__ import annotations

from typing import Any

from geotoolbox.core.events import Artifact, Event, Log, Progress

__all__ = ["ProgressBars"]


class ProgressBars:
    """A reporter that shows a bar for each stage; pass it as ``events=``.

    It uses ``tqdm.auto``: a widget where the notebook has ipywidgets, text elsewhere.

    Args:
        disable: Show nothing.

    Example:
        >>> bars = ProgressBars(disable=True)
        >>> bars.emit(Progress("predict", 5, 20))
        >>> bars.cancelled
        False
    """

    def __init__(self, *, disable: bool = False) -> None:
        self.disable = disable
        self._bar: Any = None
        self._stage = ""

    def emit(self, event: Event) -> None:
        """Show one event."""
        if isinstance(event, Progress):
            self._progress(event)
        elif isinstance(event, Log) and event.level in ("warning", "error"):
            self._write(f"{event.level}: {event.message}")
        elif isinstance(event, Artifact) and event.name != "pictures":
            self._write(f"wrote {event.path}")

    @property
    def cancelled(self) -> bool:
        """Never: interrupt the kernel instead."""
        return False

    def close(self) -> None:
        """End the bar that is shown."""
        if self._bar is not None:
            self._bar.close()
        self._bar, self._stage = None, ""

    def _progress(self, event: Progress) -> None:
        from tqdm.auto import tqdm

        if self._bar is None or event.stage != self._stage:
            self.close()
            self._stage = event.stage
            form = "{desc}: {percentage:3.0f} %|{bar}| {remaining} left {postfix}"
            self._bar = tqdm(total=event.total, desc=event.stage, bar_format=form, disable=self.disable)
        self._bar.total = event.total
        if event.message:
            self._bar.set_postfix_str(event.message, refresh=False)
        self._bar.update(event.done - self._bar.n)
        if event.done >= event.total:
            self.close()

    def _write(self, text: str) -> None:
        from tqdm.auto import tqdm

        if not self.disable:
            tqdm.write(text)
