"""The job *indices*: spectral indices of an image as a GeoTIFF."""

from __future__ import annotations

from pydantic import Field

from geotoolbox.core.events import SILENT, Reporter
from geotoolbox.jobs.results import FileResult
from geotoolbox.jobs.spec import InputFiles, JobSpec, OutputFile

__all__ = ["Spec", "run"]


class Spec(JobSpec):
    """Settings of the indices."""

    images: InputFiles = Field(description="image files")
    indices: tuple[str, ...] = Field(
        ("ndvi",), description="ndvi, evi2, ndwi, ndbi, savi, or 'name = expression' of band names"
    )
    output: OutputFile = Field("indices.tif", description="the GeoTIFF to write, one band an index, float32")
    bands: tuple[str, ...] = Field((), description="the bands to use, by name; or new names for all")
    allow_vrt: bool = Field(False, description="open virtual rasters (they can read other files)")
    allow_remote: bool = Field(False, description="open remote files (http, s3, …)")


def run(spec: Spec, events: Reporter = SILENT) -> FileResult:
    """Compute and write block by block."""
    from geotoolbox.jobs.deriving import indices_job

    return indices_job(spec, events)
