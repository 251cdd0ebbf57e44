"""The job *applicability*: where images resemble what a model was trained on."""

from __future__ import annotations

from dataclasses import dataclass

from pydantic import Field

from geotoolbox.core.events import SILENT, Reporter
from geotoolbox.jobs.results import JobResult
from geotoolbox.jobs.spec import InputFile, InputFiles, JobSpec, OutputFile

__all__ = ["ApplicabilityJobResult", "Spec", "run"]


class Spec(JobSpec):
    """Settings of the area of applicability."""

    model: InputFile = Field(description="the model bundle (.gtb)")
    images: InputFiles = Field(
        description="image files or folders, with the bands that the model was trained on"
    )
    output: OutputFile = Field(
        "dissimilarity.tif",
        description="the dissimilarity index to write: 0 is like a training pixel, 1 as far from all as these are apart",
    )
    inside: OutputFile | None = Field(
        None, description="a map of where the model is applicable and where not, to write"
    )
    area: InputFile | None = Field(None, description="only inside these polygons")
    bands: tuple[str, ...] = Field((), description="the bands to use, by name; or new names for all")
    crs: str | None = Field(
        None, description="CRS of the raster, for images on several grids (default: that of the first)"
    )
    allow_vrt: bool = Field(False, description="open virtual rasters (they can read other files)")
    allow_remote: bool = Field(False, description="open remote files (http, s3, …)")


@dataclass(frozen=True, slots=True)
class ApplicabilityJobResult(JobResult):
    """Where a model is applicable."""

    output: str
    recipe: str
    files: tuple[str, ...]
    threshold: float
    share_inside: float
    pixels: int

    def summary(self) -> str:
        """Say the share of known ground."""
        lines = [
            f"{self.share_inside:.1%} of {self.pixels:,} pixels resemble the training pixels "
            f"(dissimilarity up to {self.threshold:.3f}); elsewhere the model's scores say nothing",
            *(f"wrote      {name}" for name in self.files),
        ]
        return "\n".join([*lines, f"repeat     geotoolbox run {self.recipe}"])


def run(spec: Spec, events: Reporter = SILENT) -> ApplicabilityJobResult:
    """Compare the images with the training pixels that the model knows of (Meyer & Pebesma 2021).

    Raises:
        BadInput: When the model holds no training pixels.
        BandMismatch: When the images do not have the model's bands.
    """
    from geotoolbox.jobs.applying import applicability_job

    return applicability_job(spec, events)
