"""From the engine's stages to one bar that only goes forward. Standard library only."""

from __future__ import annotations

from typing import Any, Dict, Mapping, Optional, Tuple

__all__ = ["Bar", "MetricLines"]

# The share of a job's time at which each stage starts and ends, in percent; a guess that only shapes the bar.
_SPANS: Dict[str, Dict[str, Tuple[float, float]]] = {
    "train": {
        "statistics": (1, 4),
        "class statistics": (4, 6),
        "read": (6, 9),
        "train": (10, 86),
        "baseline": (87, 95),
        "predict": (95, 99),
    },
    "predict": {"predict": (2, 85), "write": (85, 92), "polygonize": (92, 99)},
}


class Bar:
    """One bar over all stages of some jobs.

    Args:
        jobs: The jobs with the part of the bar that each gets; the parts are scaled to 100.
    """

    def __init__(self, jobs: Mapping[str, float]) -> None:
        whole = sum(jobs.values())
        self._parts: Dict[str, Tuple[float, float]] = {}
        start = 0.0
        for job, part in jobs.items():
            self._parts[job] = (start, start + 100 * part / whole)
            start += 100 * part / whole
        self.percent = 0.0
        self._stage = ""

    def take(self, job: str, event: Mapping[str, Any]) -> Tuple[float, Optional[str]]:
        """Return the percent to show, and a new text where the stage is new."""
        stage, total = str(event.get("stage", "")), float(event.get("total") or 0)
        share = min(max(float(event.get("done") or 0) / total, 0.0), 1.0) if total > 0 else 0.0
        low, high = _SPANS.get(job, {}).get(stage, (2.0, 98.0) if job not in _SPANS else (0.0, 0.0))
        start, end = self._parts[job]
        self.percent = max(self.percent, start + (end - start) * (low + (high - low) * share) / 100)
        if stage == self._stage:
            return self.percent, None
        self._stage = stage
        return self.percent, stage.capitalize()

    def done(self, job: str) -> float:
        """Return the percent at the end of a job."""
        self.percent = max(self.percent, self._parts[job][1])
        return self.percent


class MetricLines:
    """Gathers the numbers of a step into one line for the log."""

    def __init__(self) -> None:
        self._step: Optional[int] = None
        self._numbers: Dict[str, float] = {}

    def take(self, event: Mapping[str, Any]) -> Optional[str]:
        """Take a metric, or any other event; return the line of the step before, when it is complete."""
        if event.get("kind") != "metric":
            return self.rest()
        line = self.rest() if event.get("step") != self._step else None
        self._step = event.get("step")
        self._numbers[str(event.get("name", ""))] = float(event.get("value") or 0.0)
        return line

    def rest(self) -> Optional[str]:
        """Return what is not told yet."""
        if not self._numbers:
            return None
        start = "" if self._step is None else f"Epoch {self._step}: "
        line = start + ", ".join(
            f"{name.replace('_', ' ')} {value:.4g}" for name, value in self._numbers.items()
        )
        self._numbers = {}
        return line
