"""The job *demo-scene*: only the files of the demo, for whoever wants to train on them by hand."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field

from geotoolbox.core.events import SILENT, Artifact, Reporter
from geotoolbox.jobs.results import FileResult
from geotoolbox.jobs.spec import JobSpec, OutputFile

__all__ = ["Spec", "run"]


class Spec(JobSpec):
    """Settings of the demo scene."""

    output: OutputFile = Field("demo-scene", description="the folder to fill")
    size_px: int = Field(1000, ge=128, le=6000, description="side of the scene, in pixels of 10 m")
    seed: int = Field(7, ge=0, description="one number that makes the scene")


def run(spec: Spec, events: Reporter = SILENT) -> FileResult:
    """Write two images, label polygons, a label raster, and the areas to train and to test in."""
    from geotoolbox.jobs.demo_scene import make_demo_scene
    from geotoolbox.jobs.recipe import write_recipe

    folder = Path(spec.output)
    scene = make_demo_scene(folder, seed=spec.seed, size_px=spec.size_px, reporter=events)
    for path in scene.paths:
        events.emit(Artifact(path.stem, str(path)))
    recipe = write_recipe("demo-scene", spec, folder / "demo-scene")
    note = f"a scene of {spec.size_px} × {spec.size_px} pixels; its labels are exact"
    return FileResult(tuple(map(str, scene.paths)), str(recipe), note)
