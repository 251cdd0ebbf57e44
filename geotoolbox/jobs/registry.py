"""Which jobs there are. Nothing heavy is imported until a job is asked for."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from difflib import get_close_matches
from functools import wraps
from importlib import import_module
from typing import TYPE_CHECKING, Any

from geotoolbox.core.events import SILENT, Reporter
from geotoolbox.errors import BadInput, explain

if TYPE_CHECKING:  # pydantic is loaded with the first spec, not for --help
    from geotoolbox.jobs.spec import JobSpec

__all__ = ["JOBS", "SPELLINGS", "Job", "find_job"]


@dataclass(frozen=True, slots=True)
class Job:
    """A job: its name at every door, one line on what it does, where it lives, and what it works with."""

    name: str
    summary: str
    module: str
    positional: str | None = None
    engine: str = ""

    def load(self) -> None:
        """Import what the job works with, which takes seconds where that is PyTorch."""
        import_module(self.engine or self.module)

    @property
    def spec(self) -> type[JobSpec]:
        """The class of its settings."""
        found: type[JobSpec] = import_module(self.module).Spec
        return found

    @property
    def run(self) -> Callable[[Any, Reporter], Any]:
        """The function that does it: ``run(spec, events) -> result``; no output may be an input of it."""
        found: Callable[[Any, Reporter], Any] = import_module(self.module).run

        @wraps(found)
        def checked(spec: Any, events: Reporter = SILENT) -> Any:
            from geotoolbox.jobs.spec import check_paths

            check_paths(spec)
            return found(spec, events)

        return checked


_HERE = "geotoolbox.jobs"

JOBS: dict[str, Job] = {
    job.name: job
    for job in (
        Job(
            "inspect",
            "Say what files hold, and how they fit together",
            f"{_HERE}.inspect",
            "files",
            engine=f"{_HERE}.inspecting",
        ),
        Job(
            "train",
            "Train a model on images and labels",
            f"{_HERE}.train",
            engine=f"{_HERE}.training",
        ),
        Job(
            "predict",
            "Make a map, and polygons, with a trained model",
            f"{_HERE}.predict",
            engine=f"{_HERE}.predicting",
        ),
        Job(
            "evaluate",
            "Compare a map with a reference, and write a report",
            f"{_HERE}.evaluate",
            engine=f"{_HERE}.evaluating",
        ),
        Job(
            "sample-reference",
            "Draw reference points from a map, to judge it by",
            f"{_HERE}.sample_reference",
            engine=f"{_HERE}.drawing_reference",
        ),
        Job(
            "accuracy",
            "Accuracy and areas with intervals, from labelled sample points",
            f"{_HERE}.accuracy",
            engine=f"{_HERE}.assessing",
        ),
        Job(
            "crossvalidate",
            "Judge a model on ground left out, fold by fold",
            f"{_HERE}.crossvalidate",
            engine=f"{_HERE}.crossvalidating",
        ),
        Job(
            "applicability",
            "Show where images resemble what a model was trained on",
            f"{_HERE}.applicability",
            engine=f"{_HERE}.applying",
        ),
        Job(
            "polygonise",
            "Turn a class map into polygons",
            f"{_HERE}.polygonise",
            engine="geotoolbox.prediction.polygons",
        ),
        Job(
            "sample",
            "Export patches (chips) with their footprints",
            f"{_HERE}.sample",
            engine=f"{_HERE}.chips",
        ),
        Job(
            "rasterize",
            "Burn labels onto the grid of an image",
            f"{_HERE}.rasterize",
            engine=f"{_HERE}.deriving",
        ),
        Job(
            "indices",
            "Compute spectral indices (NDVI, …) as a GeoTIFF",
            f"{_HERE}.indices",
            engine=f"{_HERE}.deriving",
        ),
        Job(
            "stack",
            "Bring layers onto one grid as a multi-band GeoTIFF",
            f"{_HERE}.stack",
            engine=f"{_HERE}.deriving",
        ),
        Job(
            "check",
            "Say whether this installation works, with versions",
            f"{_HERE}.check",
            engine=f"{_HERE}.checking",
        ),
        Job("run", "Run a recipe that any job has written", f"{_HERE}.run", "recipe"),
        Job(
            "demo",
            "Make a scene, train, predict, evaluate: the whole path",
            f"{_HERE}.demo",
            engine=f"{_HERE}.demonstration",
        ),
        Job(
            "demo-scene",
            "Make the demo's scene only: images, labels, areas",
            f"{_HERE}.scene",
            engine=f"{_HERE}.demo_scene",
        ),
        Job("notebooks", "Copy the notebooks that come with it, to open in Jupyter", f"{_HERE}.notebooks"),
    )
}

SPELLINGS = {"polygonize": "polygonise", "rasterise": "rasterize"}
"""Other spellings of jobs' names that are understood."""


def find_job(name: str) -> Job:
    """Return the job of that name.

    Raises:
        BadInput: When there is none.
    """
    name = SPELLINGS.get(name, name)
    if name not in JOBS:
        near = get_close_matches(name, JOBS, 1, 0.5)
        fix = f"did you mean {near[0]!r}?" if near else "'geotoolbox --help' tells what each one does"
        raise BadInput(explain("no such job", got=repr(name), expected=f"one of {', '.join(JOBS)}", fix=fix))
    return JOBS[name]
