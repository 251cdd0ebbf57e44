"""The job *evaluate*: a map against a reference, with a report."""

from __future__ import annotations

from pydantic import Field

from geotoolbox.core.events import SILENT, Reporter
from geotoolbox.jobs.results import EvaluateJobResult
from geotoolbox.jobs.spec import InputFile, InputFiles, JobSpec, OutputFile

__all__ = ["Spec", "run"]


class Spec(JobSpec):
    """Settings of an evaluation."""

    map: InputFile = Field(description="the class map")
    reference: InputFiles = Field(description="the reference: polygons, or a raster of classes, in any CRS")
    label_column: str | None = Field(None, description="the column of the classes, for a vector reference")
    label_layer: str | None = Field(
        None, description="the layer to read, for a vector reference with several"
    )
    unlabelled: str = Field(
        "ignore", description="what unlabelled ground means: 'ignore', or the name of a class"
    )
    area: InputFile | None = Field(None, description="evaluate only inside these polygons")
    report: OutputFile | None = Field(None, description="the HTML report to write")
    metrics: OutputFile | None = Field(None, description="the numbers as JSON")
    images: InputFiles = Field((), description="images to show in the report")
    allow_vrt: bool = Field(False, description="open virtual rasters (they can read other files)")
    allow_remote: bool = Field(False, description="open remote files (http, s3, …)")


def run(spec: Spec, events: Reporter = SILENT) -> EvaluateJobResult:
    """Compare block by block, on the map's own grid.

    Raises:
        NoOverlap: When map and reference have no place in common.
    """
    from geotoolbox.jobs.evaluating import evaluate_job

    return evaluate_job(spec, events)
