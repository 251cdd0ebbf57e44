"""The job *rasterize*: burn vector labels onto the grid of an image."""

from __future__ import annotations

from pydantic import Field

from geotoolbox.core.events import SILENT, Reporter
from geotoolbox.jobs.results import FileResult
from geotoolbox.jobs.spec import (
    InputFile,
    InputFiles,
    JobSpec,
    LabelBuffer,
    LabelCrs,
    LabelEncoding,
    LabelOrder,
    OutputFile,
)

__all__ = ["Spec", "run"]


class Spec(JobSpec):
    """Settings of a rasterisation."""

    labels: InputFiles = Field(description="vector files")
    like: InputFile = Field(description="the image whose grid is used")
    output: OutputFile = Field("labels.tif", description="the class raster to write (a COG)")
    label_column: str | None = Field(None, description="the column of the classes")
    label_layer: str | None = Field(None, description="the layer to read")
    label_filter: str | None = Field(None, description="which features to take (an SQL WHERE)")
    unlabelled: str = Field(
        "ignore", description="what unlabelled ground means: 'ignore', or the name of a class"
    )
    all_touched: bool = Field(False, description="a polygon takes every pixel it touches, not just centres")
    label_crs: LabelCrs = None
    label_encoding: LabelEncoding = None
    label_buffer_m: LabelBuffer = None
    label_order: LabelOrder = "file"
    class_style: tuple[str, ...] = Field(
        (),
        description="names and colours of classes, each 'class=name', 'class=#rrggbb' or 'class=name #rrggbb', the class "
        "by its value or name",
    )


def run(spec: Spec, events: Reporter = SILENT) -> FileResult:
    """Write the labels as a class raster with palette and names."""
    from geotoolbox.jobs.deriving import rasterize_job

    return rasterize_job(spec, events)
