"""How *predict* runs: the model on the images, then polygons."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from odc.geo.geobox import GeoBox

from geotoolbox.core.cluster import Cluster
from geotoolbox.core.events import SILENT, Artifact, Event, Log, Progress, Reporter
from geotoolbox.core.files import check_apart, check_writable
from geotoolbox.core.query import Region
from geotoolbox.datasets import GeoDataset
from geotoolbox.errors import BadInput, BlocksFailed, explain
from geotoolbox.jobs.layers import open_images, open_region
from geotoolbox.jobs.predict import PredictSettings, Spec
from geotoolbox.jobs.recipe import write_recipe
from geotoolbox.jobs.results import PredictJobResult, ShardJobResult
from geotoolbox.jobs.spec import existing
from geotoolbox.models.bundle import Bundle, load_bundle
from geotoolbox.models.devices import find_device
from geotoolbox.models.predictor import Predictor, check_bands
from geotoolbox.prediction import PredictionResult, PredictOptions, Window, predict_scene
from geotoolbox.prediction.grids import map_grid, pixel_area_m2
from geotoolbox.prediction.polygons import polygonize
from geotoolbox.prediction.sharding import Shard, predict_shard

__all__ = ["predict_job", "predict_map"]


def predict_job(spec: Spec, events: Reporter) -> PredictJobResult | ShardJobResult:
    """Do what the job *predict* says."""
    if spec.shard and spec.finish:
        raise BadInput(
            explain("shard and finish", expected="one of them", fix="finish when all shards are made")
        )
    bundle = load_bundle(existing(spec.model))
    images = open_images(
        spec.images, bands=spec.bands, allow_vrt=spec.allow_vrt, allow_remote=spec.allow_remote
    )
    check_bands([b.name for b in bundle.bands], [b.name for b in images.bands], options=True)
    region = open_region(spec.area)
    if spec.shard:
        return _shard(bundle, images, spec, region, events)
    result = predict_map(
        bundle, images, Path(spec.output), spec, region=region, reporter=events, finish=spec.finish
    )
    recipe = write_recipe("predict", spec, spec.output)
    others = [str(p) for name, p in result.paths.items() if name != "classes"]
    if spec.polygons:
        others.append(spec.polygons)
    if result.failed:
        raise BlocksFailed(_failures(result))
    return PredictJobResult(
        map=spec.output,
        recipe=str(recipe),
        files=tuple(others),
        class_areas_ha={name: area / 10_000 for name, area in result.class_areas_m2.items()},
        seam_ratio=result.seam_ratio,
        failed_blocks=(),
        seconds=result.seconds,
    )


def predict_map(
    bundle: Bundle,
    images: GeoDataset,
    output: Path,
    settings: PredictSettings,
    *,
    region: Region | None = None,
    reporter: Reporter = SILENT,
    finish: bool = False,
) -> PredictionResult:
    """Predict a map of all scenes of a dataset, and polygons where they are asked for.

    Scenes on several grids make one map, on the first one's grid or in the CRS asked for; the reporter
    hears which.

    Raises:
        BandMismatch: When the images do not have the model's bands.
    """
    _check_polygons(settings, output, images)
    model, grid = _prepared(bundle, images, settings, reporter)
    options = _options(settings, output, finish)
    with _unasked(options, settings, reporter) as quiet:
        result = predict_scene(
            images, model, output, geobox=grid, region=region, options=options, reporter=quiet
        )
        if settings.polygons:
            polygonize(
                output,
                Path(settings.polygons),
                classes=bundle.classes,
                confidence_path=options.confidence,
                min_area_m2=settings.minimum_area_m2,
                simplify_m=settings.simplify_m,
                reporter=reporter,
                cluster=options.cluster if settings.executor == "dask" else None,
            )
    if options.confidence != _path(settings.confidence):
        result = replace(result, paths={k: v for k, v in result.paths.items() if k != "confidence"})
    return result


@contextmanager
def _unasked(options: PredictOptions, settings: PredictSettings, reporter: Reporter) -> Iterator[Reporter]:
    """Give a reporter that is silent about the confidence that only the polygons need, and remove that at the end."""
    path = options.confidence
    if path is None or path == _path(settings.confidence):
        yield reporter
        return
    try:
        yield _Discreet(reporter, str(path))
    finally:
        for left in (path, path.with_suffix(".qml")):
            left.unlink(missing_ok=True)


@dataclass(frozen=True, slots=True)
class _Discreet:
    """A reporter that does not tell of one file."""

    reporter: Reporter
    path: str

    def emit(self, event: Event) -> None:
        if isinstance(event, Artifact) and event.path == self.path:
            return
        if isinstance(event, Progress) and event.message == Path(self.path).name:
            event = replace(event, message="")
        self.reporter.emit(event)

    @property
    def cancelled(self) -> bool:
        return self.reporter.cancelled


def _prepared(
    bundle: Bundle, images: GeoDataset, settings: PredictSettings, reporter: Reporter
) -> tuple[Predictor, GeoBox | None]:
    """Return the model, and the grid of the map where the scenes do not share one."""
    model = Predictor(bundle, device=find_device(settings.device))
    _tell_resolution(bundle, images, reporter)
    scenes = images.scenes()
    grids = {(str(s.geobox.crs), s.geobox.affine[:6]) for s in scenes}
    grid = map_grid(scenes, settings.crs) if len(grids) > 1 or settings.crs else None
    if grid is not None and settings.crs is None:
        reporter.emit(
            Log(f"{len(scenes)} scenes on several grids: the map is in {grid.crs}; --crs chooses another")
        )
    return model, grid


def _options(settings: PredictSettings, output: Path, finish: bool = False) -> PredictOptions:
    confidence = _path(settings.confidence)
    if settings.polygons and confidence is None:  # each polygon tells its mean confidence
        confidence = output.with_name(f".{output.name}.confidence.tif")
    return PredictOptions(
        overlap_px=settings.overlap_px,
        batch_size=settings.batch_size or _batch_size(settings),
        threads=settings.threads,
        probabilities=_path(settings.probabilities),
        confidence=confidence,
        entropy=_path(settings.entropy),
        tta=settings.augment,
        strict=settings.strict,
        resume=settings.resume,
        retry_failed=True,
        executor=settings.executor,
        cluster=Cluster(settings.scheduler, settings.workers),
        finish=finish,
    )


def _batch_size(settings: PredictSettings) -> int:
    """A CPU computes a tile faster alone, from its caches, and a small area is not filled up to a large batch."""
    return 1 if find_device(settings.device) == "cpu" else 8


def _shard(
    bundle: Bundle, images: GeoDataset, spec: Spec, region: Region | None, events: Reporter
) -> ShardJobResult:
    """Make the blocks of one shard."""
    model, grid = _prepared(bundle, images, spec, events)
    result = predict_shard(
        images, model, Path(spec.output), Shard.parse(spec.shard or ""),
        geobox=grid, region=region, options=_options(spec, Path(spec.output)), reporter=events,
    )  # fmt: skip
    if result.failed_blocks:
        raise BlocksFailed(
            explain(
                f"shard {result.shard} is made, but tiles failed in {len(result.failed_blocks)} of its blocks",
                where=f"first: block {result.failed_blocks[0]}",
                got=result.reason,
                fix="mend the cause and run this shard again; --finish writes nodata there otherwise",
            )
        )
    return ShardJobResult(
        shard=str(result.shard),
        output=spec.output,
        blocks=result.blocks,
        blocks_resumed=result.blocks_resumed,
        seconds=result.seconds,
    )


def _path(text: str | None) -> Path | None:
    return None if text is None else Path(text)


def _check_polygons(settings: PredictSettings, output: Path, images: GeoDataset) -> None:
    """Look at the polygons' path before the work begins."""
    if settings.polygons is None:
        return
    suffixes = (".gpkg", ".parquet", ".geojson")
    if Path(settings.polygons).suffix.lower() not in suffixes:
        raise BadInput(
            explain(
                "polygons cannot be written in this format",
                where=settings.polygons,
                expected=f"a name that ends in {', '.join(suffixes)}",
            )
        )
    check_apart((output, settings.polygons), images.source_files())
    check_writable(Path(settings.polygons))


def _tell_resolution(bundle: Bundle, images: GeoDataset, reporter: Reporter) -> None:
    if bundle.resolution_m is None:
        return
    grid = images.scenes()[0].geobox
    row, column = (n // 2 for n in grid.shape)
    area_m2 = pixel_area_m2(grid, Window(row, row + 1, column, column + 1))
    ratio = float(area_m2[0]) ** 0.5 / bundle.resolution_m
    if not 0.5 <= ratio <= 2.0:
        reporter.emit(
            Log(
                f"the images' pixels are {ratio:.2g} times those that the model was trained on "
                f"({bundle.resolution_m:g} m); expect a worse map",
                "warning",
            )
        )


def _failures(result: PredictionResult) -> str:
    first = result.failed[0]
    return explain(
        f"the map is written, but {len(result.failed)} tiles failed and are nodata",
        where=f"first: row {first.row}, column {first.column}",
        got=first.reason,
        fix="mend the cause and run the same command again: only these blocks are made anew",
    )
