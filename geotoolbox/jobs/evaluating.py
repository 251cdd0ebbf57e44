"""How *evaluate* compares, reports and writes."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from geotoolbox import __version__
from geotoolbox.core.classes import ClassTable
from geotoolbox.core.events import SILENT, Artifact, Log, Reporter
from geotoolbox.core.files import atomic_path, check_writable
from geotoolbox.core.query import Query, Region
from geotoolbox.datasets import GeoDataset, RasterDataset
from geotoolbox.datasets.regions import read_named_regions
from geotoolbox.errors import GeoToolboxError
from geotoolbox.jobs.class_style import restyled
from geotoolbox.jobs.evaluate import Spec
from geotoolbox.jobs.evaluation_parts import EvaluationParts, PartOptions, measure_parts
from geotoolbox.jobs.layers import open_images, open_labels, open_region
from geotoolbox.jobs.recipe import read_recipe, recipe_beside, recipe_path, write_recipe
from geotoolbox.jobs.results import EvaluateJobResult
from geotoolbox.jobs.seen_ground import trained_share
from geotoolbox.jobs.spec import existing
from geotoolbox.metrics import MapComparison, Scores, compare_maps
from geotoolbox.metrics.block_file import block_file_of
from geotoolbox.metrics.bootstrap import Intervals
from geotoolbox.models.bundle import Bundle, load_bundle, software_versions
from geotoolbox.visualization import Preview, evaluation_report
from geotoolbox.visualization.wording import percent

__all__ = ["FORMAT", "Evaluation", "compare", "evaluate_job", "write_text"]


_LOG = logging.getLogger(__name__)
FORMAT = "geotoolbox-evaluation/1"
"""What metrics files say that they are."""


@dataclass(frozen=True, slots=True)
class Evaluation:
    """A map compared with a reference.

    Attributes:
        comparison: The counts, the counts of each block, and small pictures.
        title: The map's name.
        sources: The files compared.
        area: The area compared, in words; empty for all.
        trained_share: Share of the map's ground in the area that its model was trained on; None where not known.
        parts: What was measured beside the counts: intervals, curves, calibration, boundaries, objects.
        in_training: How the model and its baselines did when it was trained, in words; empty where not known.
    """

    comparison: MapComparison
    title: str
    sources: tuple[str, ...] = ()
    area: str = ""
    trained_share: float | None = None
    parts: EvaluationParts = field(default_factory=EvaluationParts)
    in_training: str = ""

    @property
    def held_out(self) -> bool | None:
        """Whether the model never saw the area compared; None where that is not known."""
        return None if self.trained_share is None else self.trained_share == 0

    @property
    def scores(self) -> Scores:
        """Overall accuracy, and precision, recall, F1 and IoU of each class."""
        return self.comparison.scores

    @property
    def classes(self) -> ClassTable:
        """The classes that both layers share."""
        return self.comparison.classes

    @property
    def intervals(self) -> Intervals | None:
        """95 % intervals of the scores by bootstrap over blocks, where they were asked for."""
        return self.parts.intervals

    def _repr_html_(self) -> str:
        from geotoolbox.core.reprs import evaluation_html

        return evaluation_html(self.title, self.scores, self.classes, self.held_out)

    def to_json(self) -> dict[str, Any]:
        """Return all numbers as plain data; docs/evaluation.md says what each key is."""
        found = self.comparison
        return {
            "format": FORMAT,
            "map": self.title,
            "geotoolbox": __version__,
            **found.to_json(),
            "blocks": {"file": None, "block_px": found.block_px, "count": len(found.patches)},
            "errors": None,
            **self.parts.to_json(found),
        }

    def save(self, path: str | Path, *, errors: str | Path | None = None) -> tuple[Path, Path]:
        """Write the numbers as JSON, and the blocks beside them.

        Args:
            path: The metrics file.
            errors: The error raster that was written with the comparison, to be named in the file.

        Returns:
            The metrics file and the block file.
        """
        path = Path(path)
        blocks = self.comparison.patches.save(block_file_of(path))
        content = self.to_json()
        content["blocks"]["file"] = blocks.name
        if errors is not None:
            folder = path.resolve().parent
            content["errors"] = {
                "file": _relative(Path(errors).resolve(), folder),
                "classes": len(self.classes),
            }
        text = json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False)
        return write_text(path, text), blocks

    def to_html(
        self,
        path: str | Path,
        *,
        images: GeoDataset | None = None,
        recipe_yaml: str = "",
        recipe_name: str = "",
    ) -> Path:
        """Write the report as one self-contained HTML file and return its path.

        Args:
            path: The file to write.
            images: Imagery to show beside the map.
            recipe_yaml: The recipe that repeats the evaluation, with paths as seen from the report.
            recipe_name: The file that holds it, as seen from the report; empty where there is none.
        """
        found = self.comparison
        page = evaluation_report(
            title=self.title,
            classes=self.classes,
            confusion=found.confusion.counts,
            previews=_previews(found, images),
            held_out=self.held_out,
            trained_share=self.trained_share,
            in_training=self.in_training,
            area=self.area,
            unlabelled_px=found.confusion.unlabelled,
            unmapped_px=found.confusion.unmapped,
            compared_area_m2=found.compared_area_m2,
            blocks=found.patches,
            intervals=self.parts.intervals,
            regions=found.regions,
            region_intervals=self.parts.region_intervals,
            split=found.disagreement,
            area_scores=found.area_scores if found.geographic else None,
            boundary=self.parts.boundary,
            objects=self.parts.objects,
            curves=self.parts.curves,
            calibration=self.parts.calibration,
            temperature=self.parts.temperature,
            sources=self.sources,
            notes=found.notes,
            recipe_yaml=recipe_yaml,
            recipe_name=recipe_name,
            versions=software_versions(),
        )
        return write_text(Path(path), page)


def compare(
    map_layer: GeoDataset,
    reference: GeoDataset,
    *,
    region: Region | None = None,
    regions: Mapping[str, Region] | None = None,
    area: str = "",
    model: Bundle | None = None,
    options: PartOptions | None = None,
    block_px: int = 256,
    errors: Path | None = None,
    reporter: Reporter = SILENT,
) -> Evaluation:
    """Compare a map with a reference on the map's grid.

    Args:
        map_layer: The map.
        reference: The truth.
        region: Compare only inside this area.
        regions: Named areas to score one by one, too.
        area: The region's name, for the report.
        model: What made the map, where known: it tells where it was trained, and how well that went.
        options: What to measure beside the counts; by default intervals.
        block_px: Side of the blocks that are scored one by one.
        errors: Where to write what was taken for what.
        reporter: Hears of the progress.

    Raises:
        NoOverlap: When not one pixel has both a map class and a reference class.
    """
    found = compare_maps(
        map_layer,
        reference,
        region=region,
        regions=regions,
        errors=errors,
        block_px=block_px,
        reporter=reporter,
    )
    parts = measure_parts(
        map_layer, reference, found, options or PartOptions(), region=region, reporter=reporter
    )
    files = (*map_layer.source_files(), *reference.source_files())
    title = Path(map_layer.source_files()[0]).name if map_layer.source_files() else "map"
    seen = None if model is None else trained_share(map_layer, region, model.training_area)
    return Evaluation(found, title, files, area, seen, parts, _in_training(model))


def _relative(path: Path, folder: Path) -> str:
    try:
        return Path(os.path.relpath(path, folder)).as_posix()
    except ValueError:  # another drive on Windows
        return str(path)


def _in_training(model: Bundle | None) -> str:
    """Say how a model and its baselines did on the ground that was held out when it was trained."""
    if model is None or not model.baseline:
        return ""
    own = {"name": "the model", "overall_accuracy": model.metrics.get("validation_overall_accuracy")}
    known = [row for row in (own, *model.baseline) if isinstance(row.get("overall_accuracy"), float)]
    found = ", ".join(f"{row['name']} {percent(row['overall_accuracy'])}" for row in known)
    return f"When the model was trained, on ground held out then, these labelled correctly: {found}."


def _maker(map_path: str) -> Bundle | None:
    """Find the model that made a map, by the recipe beside the map."""
    try:
        _, made = read_recipe(recipe_path(map_path, "predict"))
        return load_bundle(made.model)  # type: ignore[attr-defined]
    except (GeoToolboxError, AttributeError):
        return None  # a map from elsewhere: the report says that it is not known


def evaluate_job(spec: Spec, events: Reporter) -> EvaluateJobResult:
    """Do what the job *evaluate* says."""
    outputs = [p for p in (spec.report, spec.metrics, spec.errors) if p]
    for path in outputs:
        check_writable(Path(path))
    map_layer = RasterDataset([str(existing(spec.map))], kind="labels", allow_vrt=spec.allow_vrt)
    reference = open_labels(
        spec.reference,
        column=spec.label_column,
        layer=spec.label_layer,
        where=spec.label_filter,
        unlabelled=spec.unlabelled,
        all_touched=spec.all_touched,
        crs=spec.label_crs,
        encoding=spec.label_encoding,
        buffer_m=spec.label_buffer_m,
        order=spec.label_order,
        allow_vrt=spec.allow_vrt,
        allow_remote=spec.allow_remote,
        footprints=False,
    )
    mapped = map_layer.classes.names if map_layer.classes else ()
    reference = restyled(reference, spec.class_style, known=mapped)
    found = compare(
        map_layer,
        reference,
        region=open_region(spec.area),
        regions=_regions(spec),
        area=Path(spec.area).stem if spec.area else "",
        model=_maker(spec.map),
        options=_options(spec),
        block_px=spec.block_px,
        errors=Path(spec.errors) if spec.errors else None,
        reporter=events,
    )
    recipe = str(write_recipe("evaluate", spec, outputs[0])) if outputs else ""
    for note in found.comparison.notes:
        events.emit(Log(note, "warning"))
    scores, intervals = found.scores, found.intervals
    return EvaluateJobResult(
        scores.overall_accuracy,
        scores.mean_iou,
        scores.pixels,
        scores.to_json(),
        _write(found, spec, events),
        recipe,
        None if intervals is None else intervals.to_json(),
    )


def _write(found: Evaluation, spec: Spec, events: Reporter) -> tuple[str, ...]:
    """Write what a spec asks for (the error raster is there already) and return the paths."""
    written = []
    if spec.report:
        images = open_images(spec.images, allow_vrt=spec.allow_vrt) if spec.images else None
        text, name = recipe_beside("evaluate", spec, recipe_path(spec.report, "evaluate"), spec.report)
        found.to_html(spec.report, images=images, recipe_yaml=text, recipe_name=name)
        written.append(("report", spec.report, "text/html"))
    if spec.metrics:
        _, blocks = found.save(spec.metrics, errors=spec.errors)
        written.append(("metrics", spec.metrics, "application/json"))
        written.append(("blocks", str(blocks), "application/geopackage+sqlite3"))
    if spec.errors:
        written.append(("errors", spec.errors, "image/tiff"))
    for artifact in written:
        events.emit(Artifact(*artifact))
    return tuple(path for _, path, _ in written)


def _options(spec: Spec) -> PartOptions:
    return PartOptions(
        probabilities=None if spec.probabilities is None else str(existing(spec.probabilities)),
        boundary_m=spec.boundary_m,
        object_iou=spec.object_iou if spec.objects else None,
        resamples=spec.resamples,
        seed=spec.seed,
        allow_vrt=spec.allow_vrt,
    )


def _regions(spec: Spec) -> dict[str, Region]:
    if spec.regions is None:
        return {}
    return read_named_regions(existing(spec.regions), spec.region_column)


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
