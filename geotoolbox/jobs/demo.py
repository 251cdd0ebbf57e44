"""The job *demo*: the main path on a scene made on the spot."""

from __future__ import annotations

from pydantic import Field

from geotoolbox.core.events import SILENT, Reporter
from geotoolbox.jobs.results import TextResult
from geotoolbox.jobs.spec import JobSpec, OutputFile

__all__ = ["Spec", "run"]


class Spec(JobSpec):
    """Settings of the demonstration."""

    output: OutputFile = Field("demo", description="the folder to fill")
    size_px: int = Field(1000, ge=128, le=20_000, description="side of the scene, in pixels of 10 m")
    maximum_minutes: float = Field(3.0, gt=0, description="time for training, in minutes")
    seed: int = Field(7, ge=0, description="one number that makes the scene")


def run(spec: Spec, events: Reporter = SILENT) -> TextResult:
    """Make the scene, train in the west, predict everything, evaluate in the east."""
    from geotoolbox.jobs.demonstration import demonstrate

    return demonstrate(spec, events)
