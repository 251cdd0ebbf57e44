"""How the area of applicability is prepared in training and drawn for images."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import rasterio
import torch
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox
from rasterio.windows import Window

from geotoolbox.core.classes import ClassInfo, ClassTable
from geotoolbox.core.events import SILENT, Artifact, Reporter, Stage
from geotoolbox.core.files import check_writable
from geotoolbox.core.query import Query, Region
from geotoolbox.datasets import GeoDataset
from geotoolbox.errors import BadInput, explain
from geotoolbox.jobs.applicability import ApplicabilityJobResult, Spec
from geotoolbox.jobs.layers import open_images, open_region
from geotoolbox.jobs.recipe import write_recipe
from geotoolbox.jobs.spec import existing
from geotoolbox.metrics.applicability import Applicability, fit_applicability
from geotoolbox.models.bundle import Bundle, load_bundle
from geotoolbox.models.predictor import check_bands
from geotoolbox.prediction.grids import map_grid
from geotoolbox.prediction.outputs import write_class_raster, write_raster_atomic
from geotoolbox.prediction.sidecars import ramp_style_xml, write_text
from geotoolbox.trainers import TrainResult
from geotoolbox.trainers.baseline import new_forest
from geotoolbox.trainers.points import Points
from geotoolbox.transforms.preprocess import Preprocess

__all__ = [
    "applicability_job",
    "applicability_of",
    "draw_applicability",
    "with_applicability",
]

_BLOCK_PX = 512
_MOST_POINTS = 1000
_SQUARES = 10
_TREES = 50
_LEGEND = ClassTable((ClassInfo(0, "outside", (213, 94, 0)), ClassInfo(1, "inside", (0, 114, 178))))


def with_applicability(result: TrainResult, seed: int = 0) -> TrainResult:
    """Return a training whose bundle knows some of its training pixels, weighted by their bands' importance.

    Bands count as much as a random forest of the same pixels uses them. The threshold comes from distances to
    pixels of other squares of the ground, a tenth of its extent wide.
    """
    points = result.points[np.arange(min(len(result.points), _MOST_POINTS))]
    folds = _squares(points)
    if len(points) < 3 or len(np.unique(folds)) < 2 or not points.features.std(axis=0).any():
        return result
    forest = new_forest(seed, _TREES).fit(result.points.features, result.points.classes)
    weights = forest.feature_importances_
    bundle = result.bundle
    found = fit_applicability(
        points.features,
        names=_names(bundle),
        weights=weights if weights.any() else None,
        folds=folds,
    )
    metrics = {**bundle.metrics, "applicability": found.to_json()}
    return replace(result, bundle=replace(bundle, metrics=metrics))


def applicability_of(bundle: Bundle) -> Applicability:
    """Return what a bundle knows of its training pixels.

    Raises:
        BadInput: When it knows nothing.
    """
    data = bundle.metrics.get("applicability")
    if not isinstance(data, dict) or bundle.preprocess is None:
        raise BadInput(
            explain(
                "the model holds no training pixels to compare with",
                fix="train it again with this version of GeoToolbox",
            )
        )
    return Applicability.from_json(data)


def applicability_job(spec: Spec, events: Reporter) -> ApplicabilityJobResult:
    """Do what the job *applicability* says."""
    files = [spec.output, *([spec.inside] if spec.inside else [])]
    for path in files:
        check_writable(Path(path))
    bundle = load_bundle(existing(spec.model))
    images = open_images(
        spec.images, bands=spec.bands, allow_vrt=spec.allow_vrt, allow_remote=spec.allow_remote
    )
    found = applicability_of(bundle)
    pixels, inside = draw_applicability(
        bundle, images, Path(spec.output), crs=spec.crs, region=open_region(spec.area), reporter=events
    )
    write_text(Path(spec.output).with_suffix(".qml"), ramp_style_xml())
    events.emit(Artifact("dissimilarity", spec.output, "image/tiff"))
    if spec.inside:
        _write_inside(Path(spec.output), Path(spec.inside), found)
        events.emit(Artifact("inside", spec.inside, "image/tiff"))
    recipe = write_recipe("applicability", spec, spec.output)
    return ApplicabilityJobResult(
        spec.output, str(recipe), tuple(files), found.threshold, inside / max(pixels, 1), pixels
    )


def draw_applicability(
    bundle: Bundle,
    images: GeoDataset,
    output: Path,
    *,
    crs: str | None = None,
    region: Region | None = None,
    reporter: Reporter = SILENT,
) -> tuple[int, int]:
    """Write the dissimilarity index of every pixel (float32, NaN without data), in bounded memory.

    Args:
        bundle: The model.
        images: Images with its bands.
        output: The COG to write.
        crs: The CRS of the raster, for images on several grids.
        region: Only inside this area.
        reporter: Hears of the progress, and can cancel.

    Returns:
        Pixels with data, and those of them inside the area of applicability.

    Raises:
        BandMismatch: When the images do not have the model's bands.
        BadInput: When the model holds no training pixels.
    """
    check_bands([b.name for b in bundle.bands], [b.name for b in images.bands], options=True)
    found = applicability_of(bundle)
    assert bundle.preprocess is not None
    source = images if region is None else images.within(region)
    grid = map_grid(images.scenes(), crs)
    drawing = _Drawing(source, Preprocess.from_json(bundle.preprocess), found, grid, reporter)
    tags = {"GEOTOOLBOX_THRESHOLD": f"{found.threshold:.9g}"}
    write_raster_atomic(
        output,
        drawing.blocks(),
        grid,
        dtype="float32",
        bands=("dissimilarity",),
        nodata=float("nan"),
        tags=tags,
    )
    return drawing.pixels, drawing.inside


@dataclass(slots=True)
class _Drawing:
    images: GeoDataset
    preprocess: Preprocess
    found: Applicability
    grid: GeoBox
    reporter: Reporter
    pixels: int = 0
    inside: int = 0

    def blocks(self) -> Iterator[tuple[tuple[slice, slice], NDArray[np.float32]]]:
        places = list(_windows(self.grid))
        stage = Stage(self.reporter, "applicability", len(places))
        for rows, columns in places:
            reading = self.images.read(Query(self.grid[rows, columns]))
            assert reading.image is not None
            out = np.full(reading.valid.shape, np.nan, dtype=np.float32)
            if reading.valid.any():
                image, valid = torch.from_numpy(reading.image)[None], torch.from_numpy(reading.valid)[None]
                ready = self.preprocess(image, valid)[0].numpy()
                index = self.found.dissimilarity(ready[:, reading.valid].T).astype(np.float32)
                out[reading.valid] = index
                self.pixels += int(reading.valid.sum())
                self.inside += int(self.found.inside(index).sum())
            yield (rows, columns), out
            stage.advance()


def _write_inside(source: Path, output: Path, found: Applicability) -> None:
    """Write 1 where the index is within the threshold, 0 where not."""
    with rasterio.open(source) as raster:
        grid = GeoBox(raster.shape, raster.transform, raster.crs.to_wkt())

        def blocks() -> Iterator[tuple[tuple[slice, slice], NDArray[np.uint8]]]:
            for rows, columns in _windows(grid):
                index = raster.read(1, window=Window.from_slices(rows, columns))
                known = np.where(found.inside(index), 1, 0)
                yield (rows, columns), np.where(np.isnan(index), 255, known).astype(np.uint8)

        write_class_raster(output, blocks(), grid, _LEGEND)


def _windows(grid: GeoBox) -> Iterator[tuple[slice, slice]]:
    height, width = (int(n) for n in grid.shape)
    for top in range(0, height, _BLOCK_PX):
        for left in range(0, width, _BLOCK_PX):
            yield (
                slice(top, min(top + _BLOCK_PX, height)),
                slice(left, min(left + _BLOCK_PX, width)),
            )


def _squares(points: Points) -> NDArray[np.int64]:
    """Return the square of the ground that each point is in."""
    low = points.xy.min(axis=0)
    side = max(float((points.xy.max(axis=0) - low).max()) / _SQUARES, 1e-9)
    cell = ((points.xy - low) / side).astype(np.int64)
    return cell[:, 0] * (2 * _SQUARES) + cell[:, 1]


def _names(bundle: Bundle) -> tuple[str, ...]:
    assert bundle.preprocess is not None
    return Preprocess.from_json(bundle.preprocess).names
