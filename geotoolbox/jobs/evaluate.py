"""The job *evaluate*: a map against a reference, with a report."""

from __future__ import annotations

from pydantic import Field

from geotoolbox.core.events import SILENT, Reporter
from geotoolbox.jobs.results import EvaluateJobResult
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
    """Settings of an evaluation."""

    map: InputFile = Field(description="the class map")
    reference: InputFiles = Field(description="the reference: polygons, or a raster of classes, in any CRS")
    label_column: str | None = Field(None, description="the column of the classes, for a vector reference")
    label_layer: str | None = Field(
        None, description="the layer to read, for a vector reference with several"
    )
    label_filter: str | None = Field(
        None, description="which features to take, for a vector reference (an SQL WHERE)"
    )
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
        description="names and colours of the reference's classes, each 'class=name', 'class=#rrggbb' or 'class=name "
        "#rrggbb', the class by its value or name",
    )
    area: InputFile | None = Field(None, description="evaluate only inside these polygons")
    regions: InputFile | None = Field(None, description="polygons to score one by one, too")
    region_column: str = Field("name", description="the column of the regions' names")
    probabilities: InputFile | None = Field(
        None, description="the class probabilities written with the map: adds curves and calibration"
    )
    boundary_m: float | None = Field(
        None, gt=0, description="adds Boundary IoU with boundaries of this width, in metres"
    )
    objects: bool = Field(False, description="adds objects found and missed, by class")
    object_iou: float = Field(0.5, gt=0, le=1, description="from which IoU on two objects are the same")
    block_px: int = Field(
        256,
        ge=8,
        le=65536,
        description="side of the blocks that are scored one by one and drawn for intervals",
    )
    resamples: int = Field(
        1000, ge=0, le=100_000, description="draws of the bootstrap over blocks (0: no intervals)"
    )
    seed: int = Field(0, ge=0, description="one number that repeats the intervals")
    report: OutputFile | None = Field(None, description="the HTML report to write")
    metrics: OutputFile | None = Field(
        None, description="the numbers as JSON; the blocks go beside it, as .blocks.gpkg"
    )
    errors: OutputFile | None = Field(
        None, description="a raster of what was taken for what (GeoTIFF), with a style"
    )
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
