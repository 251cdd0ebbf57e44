"""The job *polygonise*: a class map in, polygons out."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field

from geotoolbox.core.events import SILENT, Artifact, Reporter
from geotoolbox.jobs.recipe import write_recipe
from geotoolbox.jobs.results import FileResult
from geotoolbox.jobs.spec import InputFile, JobSpec, OutputFile, existing

__all__ = ["Spec", "run"]


class Spec(JobSpec):
    """Settings of a polygonisation."""

    map: InputFile = Field(description="the class map")
    output: OutputFile = Field("map.gpkg", description="the polygons (.gpkg, .parquet or .geojson)")
    confidence: InputFile | None = Field(None, description="a confidence raster on the same grid, to average")
    minimum_area_m2: float = Field(0.0, ge=0, description="leave out smaller polygons, in m²")
    simplify_m: float = Field(
        0.0, ge=0, description="simplify edges by at most this, in m; shared edges stay shared"
    )


def run(spec: Spec, events: Reporter = SILENT) -> FileResult:
    """Polygonise block by block; polygons run across block lines."""
    from geotoolbox.prediction.polygons import polygonize

    result = polygonize(
        existing(spec.map),
        Path(spec.output),
        confidence_path=existing(spec.confidence) if spec.confidence else None,
        min_area_m2=spec.minimum_area_m2,
        simplify_m=spec.simplify_m,
        reporter=events,
    )
    recipe = write_recipe("polygonise", spec, spec.output)
    events.emit(Artifact("polygons", spec.output))
    return FileResult((spec.output,), str(recipe), f"{result.count:,} polygons")
