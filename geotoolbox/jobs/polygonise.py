"""The job *polygonise*: a class map in, polygons out."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field

from geotoolbox.core.cluster import Cluster
from geotoolbox.core.events import SILENT, Reporter
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
    executor: Literal["local", "dask"] = Field(
        "local", description="who polygonises the blocks: this process, or the workers of a Dask cluster"
    )
    scheduler: str | None = Field(
        None, description="address of a Dask scheduler (default: a cluster of our own on this machine)"
    )
    workers: int = Field(2, ge=1, le=1024, description="processes of a Dask cluster of our own")


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
        cluster=Cluster(spec.scheduler, spec.workers) if spec.executor == "dask" else None,
    )
    recipe = write_recipe("polygonise", spec, spec.output)
    return FileResult((spec.output,), str(recipe), f"{result.count:,} polygons")
