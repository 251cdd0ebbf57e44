"""The job *predict*: a model and images in, a map (and probabilities, polygons) out."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from geotoolbox.core.events import SILENT, Reporter
from geotoolbox.jobs.results import PredictJobResult, ShardJobResult
from geotoolbox.jobs.spec import InputFile, InputFiles, JobSpec, OutputFile

__all__ = ["PredictSettings", "Spec", "run"]


class PredictSettings(JobSpec):
    """How to predict, whatever the data: shared by the job and the Python door."""

    probabilities: OutputFile | None = Field(None, description="also write the probability of each class")
    confidence: OutputFile | None = Field(None, description="also write the largest probability")
    entropy: OutputFile | None = Field(None, description="also write the entropy (0 sure, 1 unsure)")
    polygons: OutputFile | None = Field(None, description="also write polygons (.gpkg, .parquet or .geojson)")
    minimum_area_m2: float = Field(0.0, ge=0, description="leave out smaller polygons, in m²")
    simplify_m: float = Field(0.0, ge=0, description="simplify polygon edges by at most this, in m")
    crs: str | None = Field(None, description="CRS of the map (default: that of the first image)")
    overlap_px: int | None = Field(None, ge=0, description="overlap of neighbouring tiles, in pixels")
    batch_size: int | None = Field(
        None, ge=1, le=4096, description="tiles in one step (default: 1 on a CPU, 8 on a GPU)"
    )
    augment: bool = Field(
        False, description="average over flips and turns (8 times the work, a little better)"
    )
    strict: bool = Field(False, description="stop at the first block that fails")
    resume: bool = Field(True, description="go on where a run that was stopped has ended")
    device: Literal["auto", "cpu", "cuda", "mps"] = Field("auto", description="where to predict")
    threads: int | None = Field(
        None, ge=1, le=1024, description="threads of one forward pass, the same in all of a run"
    )
    executor: Literal["local", "dask"] = Field(
        "local", description="who makes the blocks: this process, or the workers of a Dask cluster"
    )
    scheduler: str | None = Field(
        None, description="address of a Dask scheduler (default: a cluster of our own on this machine)"
    )
    workers: int = Field(2, ge=1, le=1024, description="processes of a Dask cluster of our own")


class Spec(PredictSettings):
    """Settings of a prediction."""

    model: InputFile = Field(description="the model bundle (.gtb)")
    images: InputFiles = Field(
        description="image files or folders, with the bands that the model was trained on"
    )
    output: OutputFile = Field("map.tif", description="the class map to write (a COG)")
    area: InputFile | None = Field(None, description="predict only inside these polygons")
    bands: tuple[str, ...] = Field((), description="the bands to use, by name; or new names for all")
    allow_vrt: bool = Field(False, description="open virtual rasters (they can read other files)")
    allow_remote: bool = Field(False, description="open remote files (http, s3, …)")
    shard: str | None = Field(
        None, pattern=r"^\d+/\d+$", description="make only the blocks of part i of n, as i/n; then --finish"
    )
    finish: bool = Field(False, description="make no block: write the map from what all shards have made")


def run(spec: Spec, events: Reporter = SILENT) -> PredictJobResult | ShardJobResult:
    """Predict and write the map and what else is asked for; or make the blocks of one shard.

    Raises:
        BandMismatch: When the images do not have the model's bands.
        BlocksFailed: When some blocks could not be made; the map is there, with nodata in their place.
    """
    from geotoolbox.jobs.predicting import predict_job

    return predict_job(spec, events)
