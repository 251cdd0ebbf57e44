"""How *rasterize*, *indices* and *stack* write their rasters."""

from __future__ import annotations

from pathlib import Path

from odc.geo.geobox import GeoBox

from geotoolbox.core.events import Artifact, Reporter
from geotoolbox.core.files import check_writable
from geotoolbox.core.header import describe
from geotoolbox.jobs import indices, rasterize, stack
from geotoolbox.jobs.class_style import restyled
from geotoolbox.jobs.layers import open_images, open_labels
from geotoolbox.jobs.recipe import write_recipe
from geotoolbox.jobs.results import FileResult
from geotoolbox.jobs.spec import JobSpec, existing
from geotoolbox.prediction.derive import compute_indices, rasterize_labels, stack_layers

__all__ = ["indices_job", "rasterize_job", "stack_job"]


def rasterize_job(spec: rasterize.Spec, events: Reporter) -> FileResult:
    """Do what the job *rasterize* says."""
    check_writable(Path(spec.output))
    labels = open_labels(
        spec.labels,
        column=spec.label_column,
        layer=spec.label_layer,
        where=spec.label_filter,
        unlabelled=spec.unlabelled,
        all_touched=spec.all_touched,
        crs=spec.label_crs,
        encoding=spec.label_encoding,
        buffer_m=spec.label_buffer_m,
        order=spec.label_order,
    )
    labels = restyled(labels, spec.class_style)
    rasterize_labels(labels, _grid_of(spec.like), Path(spec.output), reporter=events)
    return _finish("rasterize", spec, spec.output, f"{len(labels.classes or ())} classes", events)


def indices_job(spec: indices.Spec, events: Reporter) -> FileResult:
    """Do what the job *indices* says."""
    check_writable(Path(spec.output))
    images = open_images(
        spec.images, bands=spec.bands, allow_vrt=spec.allow_vrt, allow_remote=spec.allow_remote
    )
    compute_indices(images, spec.indices, Path(spec.output), reporter=events)
    return _finish("indices", spec, spec.output, ", ".join(spec.indices), events)


def stack_job(spec: stack.Spec, events: Reporter) -> FileResult:
    """Do what the job *stack* says."""
    check_writable(Path(spec.output))
    images = open_images(
        spec.images, bands=spec.bands, allow_vrt=spec.allow_vrt, allow_remote=spec.allow_remote
    )
    grid = _grid_of(spec.like) if spec.like else None
    stack_layers(images, Path(spec.output), geobox=grid, reporter=events)
    names = ", ".join(b.name for b in images.bands)
    return _finish("stack", spec, spec.output, f"{len(images.bands)} bands: {names}", events)


def _grid_of(path: str) -> GeoBox:
    return describe(str(existing(path))).geobox


def _finish(job: str, spec: JobSpec, output: str, note: str, events: Reporter) -> FileResult:
    recipe = write_recipe(job, spec, output)
    events.emit(Artifact(job, output, "image/tiff"))
    return FileResult((output,), str(recipe), note)
