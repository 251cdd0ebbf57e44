"""The job *crossvalidate*: how well a model does on ground that it has not seen, fold by fold."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from pydantic import Field

from geotoolbox.core.events import SILENT, Reporter
from geotoolbox.jobs.results import JobResult
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

__all__ = ["CrossvalidateJobResult", "Spec", "run"]


class Spec(JobSpec):
    """Settings of a cross-validation by space."""

    images: InputFiles = Field(description="image files or folders of any CRS and resolution")
    labels: InputFiles = Field(description="label files: polygons, or a raster of classes, in any CRS")
    output: OutputFile = Field("crossvalidation.json", description="the numbers as JSON")
    folds_output: OutputFile | None = Field(
        None, description="the test areas of the folds (GeoPackage, GeoParquet or GeoJSON)"
    )
    method: Literal["blocks", "regions", "nearest"] = Field(
        "blocks",
        description="what is left out: square blocks, whole regions, or blocks chosen so that test ground is as far "
        "from training ground as the map will be from the labels (kNNDM)",
    )
    folds: int = Field(5, ge=2, le=100, description="rounds, for blocks and nearest")
    block_size_m: float | None = Field(
        None, gt=0, description="side of the blocks, in metres (default: about 100 blocks in all)"
    )
    buffer_m: float | None = Field(
        None,
        ge=0,
        description="training ground stays this far from test ground, in metres (default: 1/16 of a block; for a "
        "network, the diagonal of a patch)",
    )
    regions: InputFile | None = Field(None, description="polygons to leave out one by one, for regions")
    region_column: str = Field("name", description="the column of the regions' names")
    predict_area: InputFile | None = Field(
        None, description="where the map will be made, for nearest (default: all of the images)"
    )
    model: str = Field(
        "forest",
        description="what is judged: forest (a random forest on pixels, quick), or a network, as --model of train",
        examples=["forest", "auto", "small", "unet"],
    )
    maximum_minutes: float = Field(
        3.0, gt=0, description="training of a network stops after this time, in minutes a fold"
    )
    points: int = Field(
        20_000, ge=100, le=1_000_000, description="labelled pixels drawn for the forest, in all"
    )
    indices: tuple[str, ...] = Field(
        ("auto",), description="spectral indices to add, as for train: auto, none, or names"
    )
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
    class_style: tuple[str, ...] = Field(
        (),
        description="names and colours of classes, each 'class=name', 'class=#rrggbb' or 'class=name #rrggbb', the class "
        "by its value or name",
    )
    area: InputFile | None = Field(None, description="use only ground inside these polygons")
    bands: tuple[str, ...] = Field((), description="the bands to use, by name; or new names for all")
    device: Literal["auto", "cpu", "cuda", "mps"] = Field("auto", description="where a network is trained")
    seed: int = Field(0, ge=0, description="one number that repeats the run")
    allow_vrt: bool = Field(False, description="open virtual rasters (they can read other files)")
    allow_remote: bool = Field(False, description="open remote files (http, s3, …)")


@dataclass(frozen=True, slots=True)
class CrossvalidateJobResult(JobResult):
    """Transfer skill: scores on ground left out, and what random folds would have claimed."""

    output: str
    recipe: str
    model: str
    method: str
    folds: int
    overall_accuracy: float
    mean_iou: float
    forest_overall_accuracy: float
    forest_mean_iou: float
    random_overall_accuracy: float
    random_mean_iou: float
    files: tuple[str, ...]

    @property
    def gap_overall_accuracy(self) -> float:
        """By how much random folds flatter the forest's overall accuracy."""
        return self.random_overall_accuracy - self.forest_overall_accuracy

    @property
    def gap_mean_iou(self) -> float:
        """By how much random folds flatter the forest's mean IoU."""
        return self.random_mean_iou - self.forest_mean_iou

    def summary(self) -> str:
        """Say the transfer skill and the gap to random folds."""
        lines = [
            f"transfer skill of {self.model} ({self.method}, {self.folds} folds): overall accuracy "
            f"{self.overall_accuracy:.3f}, mean IoU {self.mean_iou:.3f}",
            f"random folds would claim {self.random_overall_accuracy:.3f} and {self.random_mean_iou:.3f} for the forest, "
            f"whose transfer skill is {self.forest_overall_accuracy:.3f} and {self.forest_mean_iou:.3f}: "
            f"{self.gap_overall_accuracy:+.3f} and {self.gap_mean_iou:+.3f} of flattery",
            "this is no map accuracy: for that, draw a probability sample (geotoolbox sample-reference)",
            *(f"wrote      {name}" for name in self.files),
        ]
        return "\n".join([*lines, f"repeat     geotoolbox run {self.recipe}"])


def run(spec: Spec, events: Reporter = SILENT) -> CrossvalidateJobResult:
    """Train and test once a fold, and say how much random folds would have flattered.

    Raises:
        BadInput: When the layers do not fit together, or the folds cannot be made.
    """
    from geotoolbox.jobs.crossvalidating import crossvalidate_job

    return crossvalidate_job(spec, events)
