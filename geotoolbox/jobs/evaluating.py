"""How *evaluate* compares, reports and writes."""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from shapely.geometry import shape

from geotoolbox import __version__
from geotoolbox.core.classes import ClassTable
from geotoolbox.core.events import SILENT, Artifact, Log, Reporter
from geotoolbox.core.files import atomic_path, check_writable
from geotoolbox.core.query import Query, Region
from geotoolbox.datasets import GeoDataset, RasterDataset
from geotoolbox.errors import GeoToolboxError
from geotoolbox.jobs.evaluate import Spec
from geotoolbox.jobs.layers import open_images, open_labels, open_region
from geotoolbox.jobs.recipe import read_recipe, recipe_path, recipe_text, write_recipe
from geotoolbox.jobs.results import EvaluateJobResult
from geotoolbox.jobs.spec import existing
from geotoolbox.metrics import MapComparison, Scores, compare_maps
from geotoolbox.models.bundle import load_bundle, software_versions
from geotoolbox.sampling.areas import project
from geotoolbox.visualization import Preview, evaluation_report

__all__ = ["Evaluation", "compare", "evaluate_job", "write_text"]


_LOG = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Evaluation:
    """A map compared with a reference.

    Attributes:
        comparison: The counts, the counts of each block, and small pictures.
        title: The map's name.
        sources: The files compared.
        area: The area compared, in words; empty for all.
        held_out: Whether the model never saw the area compared; None where that is not known.
    """

    comparison: MapComparison
    title: str
    sources: tuple[str, ...] = ()
    area: str = ""
    held_out: bool | None = None

    @property
    def scores(self) -> Scores:
        """Overall accuracy, and precision, recall, F1 and IoU of each class."""
        return self.comparison.scores

    @property
    def classes(self) -> ClassTable:
        """The classes that both layers share."""
        return self.comparison.classes

    def to_json(self) -> dict[str, Any]:
        """Return the scores and the confusion matrix as plain data."""
        return {"map": self.title, "geotoolbox": __version__, **self.comparison.to_json()}

    def to_html(self, path: str | Path, *, images: GeoDataset | None = None, recipe_yaml: str = "") -> Path:
        """Write the report as one self-contained HTML file and return its path.

        Args:
            path: The file to write.
            images: Imagery to show beside the map.
            recipe_yaml: The recipe that repeats the evaluation.
        """
        found = self.comparison
        page = evaluation_report(
            title=self.title,
            classes=self.classes,
            confusion=found.confusion.counts,
            previews=_previews(found, images),
            held_out=self.held_out,
            area=self.area,
            unlabelled_px=found.confusion.unlabelled,
            unmapped_px=found.confusion.unmapped,
            compared_area_m2=found.compared_area_m2,
            sources=self.sources,
            notes=found.notes,
            recipe_yaml=recipe_yaml,
            versions=software_versions(),
        )
        return write_text(Path(path), page)


def compare(
    map_layer: GeoDataset,
    reference: GeoDataset,
    *,
    region: Region | None = None,
    area: str = "",
    training_area: dict[str, Any] | None = None,
    reporter: Reporter = SILENT,
) -> Evaluation:
    """Compare a map with a reference on the map's grid.

    Args:
        map_layer: The map.
        reference: The truth.
        region: Compare only inside this area.
        area: The region's name, for the report.
        training_area: Where the map's model was trained (GeoJSON in longitude and latitude), where known.
        reporter: Hears of the progress.

    Raises:
        NoOverlap: When not one pixel has both a map class and a reference class.
    """
    found = compare_maps(map_layer, reference, region=region, reporter=reporter)
    files = (*map_layer.source_files(), *reference.source_files())
    title = Path(map_layer.source_files()[0]).name if map_layer.source_files() else "map"
    return Evaluation(found, title, files, area, _held_out(map_layer, region, training_area))


def _held_out(map_layer: GeoDataset, region: Region | None, trained: dict[str, Any] | None) -> bool | None:
    if trained is None:
        return None
    compared = [place for place, _ in (map_layer.coverage() if region is None else ())]
    if region is not None:
        compared.append(project(region.geometry, region.crs, "EPSG:4326"))
    ground = shape(trained)
    return not any(ground.intersects(place) for place in compared)


def _training_area(map_path: str) -> dict[str, Any] | None:
    """Find where the map's model was trained, by the recipe beside the map."""
    try:
        _, made = read_recipe(recipe_path(map_path))
        return load_bundle(made.model).training_area  # type: ignore[attr-defined]
    except (GeoToolboxError, AttributeError):
        return None  # a map from elsewhere: the report says that it is not known


def evaluate_job(spec: Spec, events: Reporter) -> EvaluateJobResult:
    """Do what the job *evaluate* says."""
    outputs = [p for p in (spec.report, spec.metrics) if p]
    for path in outputs:
        check_writable(Path(path))
    map_layer = RasterDataset([str(existing(spec.map))], kind="labels", allow_vrt=spec.allow_vrt)
    reference = open_labels(
        spec.reference,
        column=spec.label_column,
        layer=spec.label_layer,
        unlabelled=spec.unlabelled,
        allow_vrt=spec.allow_vrt,
        allow_remote=spec.allow_remote,
    )
    area = Path(spec.area).stem if spec.area else ""
    found = compare(
        map_layer,
        reference,
        region=open_region(spec.area),
        area=area,
        training_area=_training_area(spec.map),
        reporter=events,
    )
    if spec.metrics:
        write_text(Path(spec.metrics), json.dumps(found.to_json(), indent=2, ensure_ascii=False))
        events.emit(Artifact("metrics", spec.metrics, "application/json"))
    if spec.report:
        images = open_images(spec.images, allow_vrt=spec.allow_vrt) if spec.images else None
        found.to_html(spec.report, images=images, recipe_yaml=recipe_text("evaluate", spec))
        events.emit(Artifact("report", spec.report, "text/html"))
    recipe = str(write_recipe("evaluate", spec, outputs[0])) if outputs else ""
    for note in found.comparison.notes:
        events.emit(Log(note, "warning"))
    scores = found.scores
    return EvaluateJobResult(
        scores.overall_accuracy, scores.mean_iou, scores.pixels, scores.to_json(), tuple(outputs), recipe
    )


def write_text(path: Path, text: str) -> Path:
    """Write a text file, whole or not at all."""
    check_writable(path)
    with atomic_path(path) as part:
        part.write_text(text, encoding="utf-8")
    return path


def _previews(found: MapComparison, images: GeoDataset | None) -> Sequence[Preview]:
    previews = []
    for view in found.overviews:
        image, valid = None, None
        if images is not None:
            try:
                reading = images.read(Query(view.geobox))
                image, valid = reading.image, np.asarray(reading.valid)
            except GeoToolboxError as error:  # a picture less is no reason to lose the report
                _LOG.warning("the report shows no imagery: %s", error)
        previews.append(Preview(view.scene, view.predicted, view.truth, image, valid, _rgb(images)))
    return previews


def _rgb(images: GeoDataset | None) -> tuple[int, ...]:
    from geotoolbox.visualization import rgb_bands

    return (0, 1, 2) if images is None else tuple(rgb_bands([b.name for b in images.bands]))
