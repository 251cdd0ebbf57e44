"""What QGIS and the record of a run hear from the engine."""

from __future__ import annotations

from typing import Any, Dict, Mapping

from qgis.core import QgsProcessingFeedback

from .progress import Bar, MetricLines
from .records import Record
from .texts import tr

__all__ = ["Listener"]


class Listener:
    """Hears the engine's events and tells QGIS and the record."""

    def __init__(self, feedback: QgsProcessingFeedback, record: Record, bar: Bar) -> None:
        self.feedback, self.record, self.bar = feedback, record, bar
        self.metrics, self.job = MetricLines(), ""

    def is_cancelled(self) -> bool:
        """Tell whether to stop; also shows that the run goes on."""
        self.record.alive()
        return bool(self.feedback.isCanceled()) or self.record.cancel_asked

    def event(self, event: Dict[str, Any]) -> None:
        """Take one event."""
        self.record.event(event)
        line = self.metrics.take(event)
        if line:
            self.feedback.pushInfo(line)
        kind = event.get("kind")
        if kind == "progress":
            percent, text = self.bar.take(self.job, event)
            self.feedback.setProgress(percent)
            if text:
                self.feedback.setProgressText(text)
        elif kind == "log":
            self._log(str(event.get("level", "info")), str(event.get("message", "")))
        elif kind == "artifact":
            self.feedback.pushInfo(tr("Wrote {}").format(event.get("path", "")))

    def _log(self, level: str, message: str) -> None:
        if level in ("warning", "error"):
            self.feedback.pushWarning(message)
        elif level == "info":
            self.feedback.pushInfo(message)
        else:
            self.feedback.pushDebugInfo(message)

    def finish(self, result: Mapping[str, Any]) -> None:
        """Tell how a job ended."""
        line = self.metrics.rest()
        if line:
            self.feedback.pushInfo(line)
        self.feedback.setProgress(self.bar.done(self.job))
        for text in str(result.get("message", "")).splitlines():
            self.feedback.pushInfo(text)
