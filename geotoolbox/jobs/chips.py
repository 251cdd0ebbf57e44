"""How *sample* draws and writes patches."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np

from geotoolbox.core.events import Artifact, Log, Reporter, Stage
from geotoolbox.core.files import check_writable
from geotoolbox.core.query import Query, Reading
from geotoolbox.datasets import GeoDataset
from geotoolbox.errors import BadInput, NoOverlap, explain
from geotoolbox.jobs.layers import open_images, open_labels, open_region
from geotoolbox.jobs.recipe import write_recipe
from geotoolbox.jobs.results import FileResult
from geotoolbox.jobs.sample import Spec
from geotoolbox.prediction.outputs import class_dtype, class_nodata, write_class_raster, write_raster_atomic
from geotoolbox.sampling import GridGeoSampler, RandomGeoSampler, SampleList

__all__ = ["export_chips"]


def export_chips(spec: Spec, events: Reporter) -> FileResult:
    """Do what the job *sample* says."""
    folder = Path(spec.output)
    check_writable(folder / "footprints.gpkg")
    dataset = _open(spec)
    queries = list(_sampler(spec, dataset))
    stage = Stage(events, "sample", len(queries))
    kept: list[Query] = []
    for query in queries:
        reading = dataset.read(query)
        if 100 * (1 - reading.valid.mean()) <= spec.maximum_nodata_percent:
            _write(dataset, reading, folder, len(kept))
            kept.append(query)
        stage.advance()
    if not kept:
        raise NoOverlap(
            explain(
                "no patch has enough data",
                where=f"{len(queries)} patches of {spec.size_px} px drawn",
                expected=f"at most {spec.maximum_nodata_percent:g} % nodata",
                fix="use a smaller --size-px, raise --maximum-nodata-percent, or check the area",
            )
        )
    if len(kept) < len(queries):
        events.emit(Log(f"{len(queries) - len(kept)} of {len(queries)} patches left out: too much nodata"))
    SampleList(tuple(kept)).save(folder / "footprints.gpkg")
    recipe = write_recipe("sample", spec, folder / "chips")
    events.emit(Artifact("footprints", str(folder / "footprints.gpkg")))
    return FileResult((str(folder),), str(recipe), f"{len(kept)} patches of {spec.size_px} px")


def _open(spec: Spec) -> GeoDataset:
    dataset = open_images(
        spec.images, bands=spec.bands, allow_vrt=spec.allow_vrt, allow_remote=spec.allow_remote
    )
    if spec.labels:
        dataset = dataset & open_labels(
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
            allow_vrt=spec.allow_vrt,
            allow_remote=spec.allow_remote,
        )
    region = open_region(spec.area)
    return dataset if region is None else dataset.within(region)


def _sampler(spec: Spec, dataset: GeoDataset) -> Iterable[Query]:
    if spec.method == "grid":
        if spec.overlap_px >= spec.size_px:
            raise BadInput(
                explain(
                    "patches overlap wholly", got=f"{spec.overlap_px} px", expected=f"< {spec.size_px} px"
                )
            )
        return GridGeoSampler(dataset, size=spec.size_px, stride=spec.size_px - spec.overlap_px)
    return RandomGeoSampler(
        dataset,
        size=spec.size_px,
        length=spec.count,
        seed=spec.seed,
        class_balanced=spec.method == "balanced",
    )


def _write(dataset: GeoDataset, reading: Reading, folder: Path, number: int) -> None:
    """Write one patch: the image as float32 with NaN where there is no data, and the mask as class values."""
    height, width = reading.valid.shape[-2:]
    whole = (slice(0, height), slice(0, width))
    if reading.image is not None:
        image = np.where(reading.valid, reading.image, np.float32(np.nan))
        names = [b.name for b in dataset.bands]
        path = folder / "images" / f"{number:06d}.tif"
        write_raster_atomic(
            path, [(whole, image)], reading.geobox, dtype="float32", bands=names, nodata=float("nan")
        )
    if reading.mask is not None and dataset.classes is not None:
        nodata = class_nodata(dataset.classes)
        values = dataset.classes.to_value(reading.mask, nodata).astype(class_dtype(dataset.classes, nodata))
        path = folder / "masks" / f"{number:06d}.tif"
        write_class_raster(path, [(whole, values)], reading.geobox, dataset.classes, nodata=nodata)
