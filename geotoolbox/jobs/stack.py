"""The job *stack*: layers of any CRS and resolution on one grid, as a multi-band GeoTIFF."""

from __future__ import annotations

from pydantic import Field

from geotoolbox.core.events import SILENT, Reporter
from geotoolbox.jobs.results import FileResult
from geotoolbox.jobs.spec import InputFile, InputFiles, JobSpec, OutputFile

__all__ = ["Spec", "run"]


class Spec(JobSpec):
    """Settings of a stack."""

    images: InputFiles = Field(description="image files of any CRS and resolution")
    like: InputFile | None = Field(None, description="the file whose grid is used (default: the first image)")
    output: OutputFile = Field("stack.tif", description="the GeoTIFF to write (a COG, float32, nodata NaN)")
    bands: tuple[str, ...] = Field((), description="the bands to take, by name; or new names for all")
    allow_vrt: bool = Field(False, description="open virtual rasters (they can read other files)")
    allow_remote: bool = Field(False, description="open remote files (http, s3, …)")


def run(spec: Spec, events: Reporter = SILENT) -> FileResult:
    """Read every layer onto the grid, once, and write block by block."""
    from geotoolbox.jobs.deriving import stack_job

    return stack_job(spec, events)
