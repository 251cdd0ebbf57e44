"""The job *train*: images and labels in, a model bundle and its report out."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from geotoolbox.core.events import SILENT, Reporter
from geotoolbox.jobs.results import TrainJobResult
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

__all__ = ["Spec", "TrainSettings", "run"]


class TrainSettings(JobSpec):
    """How to train, whatever the data: shared by the job and the Python door."""

    indices: tuple[str, ...] = Field(
        ("auto",),
        description="spectral indices to add: ndvi, evi2, ndwi, ndbi, savi, or 'name = expression'; auto chooses by "
        "the bands' names, none adds none",
    )
    model: str = Field(
        "auto",
        description="the network: auto, small, unet, unetplusplus, manet, linknet, fpn, pspnet, deeplabv3, "
        "deeplabv3plus, pan, upernet, segformer or fcn8s",
        examples=[
            "auto",
            "small",
            "unet",
            "unetplusplus",
            "manet",
            "linknet",
            "fpn",
            "pspnet",
            "deeplabv3",
            "deeplabv3plus",
            "pan",
            "upernet",
            "segformer",
            "fcn8s",
        ],
    )
    encoder: str | None = Field(
        None,
        description="the encoder of the network, where it has one, such as resnet18 (default: resnet18); the whole list: "
        "https://smp.readthedocs.io/en/latest/encoders.html",
        examples=["resnet18", "resnet34", "resnet50", "mobilenet_v2", "efficientnet-b0"],
    )
    encoder_weights: str | None = Field(
        None,
        description="pretrained weights of the encoder, such as imagenet; which there are is in the encoders' list",
        examples=["imagenet"],
    )
    patch_px: int | None = Field(None, ge=16, le=4096, description="side of a training patch, in pixels")
    batch_size: int | None = Field(None, ge=1, le=4096, description="patches in one step")
    epochs: int | None = Field(
        None, ge=1, le=100_000, description="passes at most (default: by the time allowed)"
    )
    maximum_minutes: float = Field(8.0, gt=0, description="training stops after this time, in minutes")
    learning_rate: float | None = Field(None, gt=0, le=10, description="the largest learning rate")
    loss: str = Field("auto", description="the loss: auto, ce, focal, dice, jaccard, or sums such as ce+dice")
    class_weights: Literal["auto", "none", "balanced", "soft"] = Field(
        "auto", description="how much more rare classes count"
    )
    augment: bool = Field(True, description="flip, turn and brighten patches during training")
    validation_percent: float = Field(
        20.0, gt=0, lt=90, description="share of the ground held out, in blocks"
    )
    allow_single_class: bool = Field(False, description="train although there is one class only")
    baseline: bool = Field(True, description="also train a random forest and a majority vote to compare with")
    device: Literal["auto", "cpu", "cuda", "mps"] = Field("auto", description="where to train")
    precision: Literal["auto", "32", "16-mixed", "bf16-mixed"] = Field("auto", description="number format")
    processes: int = Field(
        1,
        ge=1,
        le=256,
        description="processes that train together, each on its part of every batch: one for each GPU, or several on "
        "the processors; the losses are the same to rounding",
    )
    resume: bool = Field(
        True,
        description="go on from the last checkpoint of a run that was stopped; checkpoints stay beside the model, in "
        "MODEL.work, where the same run made again finds its result: the folder may be deleted",
    )
    seed: int = Field(0, ge=0, description="one number that repeats the run")
    pictures: int = Field(
        0,
        ge=0,
        le=8,
        description="held-out places to predict and draw after each epoch, beside the checkpoints",
    )


class Spec(TrainSettings):
    """Settings of a training run."""

    images: InputFiles = Field(
        description="image files or folders of any CRS and resolution: bands in one file or one file a band; "
        "a file on another grid joins as one more image layer",
    )
    labels: InputFiles = Field(description="label files: polygons, or a raster of classes, in any CRS")
    output: OutputFile = Field("model.gtb", description="the model bundle to write")
    report: OutputFile | None = Field(
        None, description="the HTML report to write (default: beside the model)"
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
    samples: InputFile | None = Field(
        None,
        description="a sample list (GeoParquet, GeoPackage, GeoJSON) to draw patches from, by its weights, instead of "
        "at random; patch_px is then that of the list",
    )
    area: InputFile | None = Field(
        None, description="train only inside these polygons (GeoJSON, GeoPackage, …)"
    )
    bands: tuple[str, ...] = Field((), description="the bands to use, by name; or new names for all")
    allow_vrt: bool = Field(False, description="open virtual rasters (they can read other files)")
    allow_remote: bool = Field(False, description="open remote files (http, s3, …)")


def run(spec: Spec, events: Reporter = SILENT) -> TrainJobResult:
    """Train and write the bundle, the report and the recipe.

    Raises:
        BadInput: When the layers do not fit together, in words, before training starts.
        Cancelled: When asked to stop; the last checkpoint stays and the same spec goes on from it.
    """
    from geotoolbox.jobs.training import train_job

    return train_job(spec, events)
