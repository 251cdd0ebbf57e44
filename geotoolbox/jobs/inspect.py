"""The job *inspect*: what files hold, and how GeoToolbox would put them together."""

from __future__ import annotations

from pydantic import Field

from geotoolbox.core.events import SILENT, Reporter
from geotoolbox.jobs.results import TextResult
from geotoolbox.jobs.spec import InputFiles, JobSpec

__all__ = ["Spec", "run"]


class Spec(JobSpec):
    """Which files to look at."""

    files: InputFiles = Field(description="raster and vector files, or folders of rasters")
    allow_vrt: bool = Field(False, description="open virtual rasters (they can read other files)")
    allow_remote: bool = Field(False, description="open remote files (http, s3, …)")


def run(spec: Spec, events: Reporter = SILENT) -> TextResult:
    """Describe each file, then how the rasters would be read together.

    A file that cannot be read is described by what is wrong with it; the others are still shown, and the exit code is
    that of bad input.
    """
    from geotoolbox.jobs.inspecting import describe_files

    return describe_files(spec.files, allow_vrt=spec.allow_vrt, allow_remote=spec.allow_remote)
