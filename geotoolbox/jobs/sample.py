"""The job *sample*: export patches (chips) of images and labels, with their footprints."""

from __future__ import annotations

from typing import Literal

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
    """Settings of an export of patches."""

    images: InputFiles = Field(description="image files or folders")
    labels: InputFiles = Field((), description="label files, to export masks as well")
    label_column: str | None = Field(None, description="the column of the classes, for vector labels")
    label_layer: str | None = Field(None, description="the layer to read, for vector labels with several")
    label_filter: str | None = Field(
        None, description="which features to take, for vector labels (an SQL WHERE)"
    )
    unlabelled: str = Field(
        "ignore", description="what unlabelled ground means: 'ignore', or the name of a class"
    )
    all_touched: bool = Field(False, description="a polygon takes every pixel it touches, not just centres")
    label_crs: LabelCrs = None
    label_encoding: LabelEncoding = None
    label_buffer_m: LabelBuffer = None
    label_order: LabelOrder = "file"
    output: OutputFile = Field("chips", description="the folder to fill")
    area: InputFile | None = Field(None, description="only inside these polygons")
    bands: tuple[str, ...] = Field((), description="the bands to use, by name; or new names for all")
    size_px: int = Field(256, ge=8, le=8192, description="side of a patch, in pixels")
    method: Literal["random", "grid", "balanced"] = Field("random", description="how patches are placed")
    count: int = Field(100, ge=1, le=10_000_000, description="how many, for random and balanced")
    overlap_px: int = Field(0, ge=0, description="overlap of neighbours, for grid")
    maximum_nodata_percent: float = Field(
        50.0, ge=0, le=100, description="leave out patches with more nodata"
    )
    seed: int = Field(0, ge=0, description="one number that repeats the draw")
    allow_vrt: bool = Field(False, description="open virtual rasters (they can read other files)")
    allow_remote: bool = Field(False, description="open remote files (http, s3, …)")


def run(spec: Spec, events: Reporter = SILENT) -> FileResult:
    """Write one GeoTIFF a patch (and a mask), and a GeoPackage of the footprints."""
    from geotoolbox.jobs.chips import export_chips

    return export_chips(spec, events)
