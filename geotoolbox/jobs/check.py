"""The job *check*: whether this installation works, with the facts that a question about it needs."""

from __future__ import annotations

from dataclasses import dataclass

from pydantic import Field

from geotoolbox.core.events import SILENT, Reporter
from geotoolbox.jobs.results import JobResult
from geotoolbox.jobs.spec import JobSpec

__all__ = ["CheckJobResult", "Spec", "run"]


class Spec(JobSpec):
    """What to check."""

    train: bool = Field(
        True, description="also train a network of a few weights, and write and read a raster"
    )


@dataclass(frozen=True, slots=True)
class CheckJobResult(JobResult):
    """The facts about an installation.

    Attributes:
        text: All of them, to paste into a question; the home folder's name is left out.
        device: The device that ``auto`` means here.
        engine: The engine's version.
        free_gb: Free space where temporary files go, in GB.
    """

    text: str
    device: str
    engine: str
    free_gb: float

    def summary(self) -> str:
        """Return the text."""
        return self.text


def run(spec: Spec, events: Reporter = SILENT) -> CheckJobResult:
    """Import what the engine stands on, try it, and say what is there.

    Raises:
        BadInput: When a part is missing or does not work, with its name.
    """
    from geotoolbox.jobs.checking import check_installation

    return check_installation(spec, events)
