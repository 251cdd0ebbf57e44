"""How *demo* walks the whole path: with the same jobs that a person would run one by one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from geotoolbox.core.events import Artifact, Log, Reporter
from geotoolbox.core.files import check_writable
from geotoolbox.jobs import evaluate, predict, train
from geotoolbox.jobs.demo import Spec
from geotoolbox.jobs.demo_scene import DemoScene, make_demo_scene
from geotoolbox.jobs.results import TextResult

__all__ = ["demonstrate"]


def demonstrate(spec: Spec, events: Reporter) -> TextResult:
    """Make the scene, train in the west, map all of it, evaluate in the east, draw the result."""
    folder = Path(spec.output)
    check_writable(folder / "map.tif")
    scene = make_demo_scene(folder / "scene", seed=spec.seed, size_px=spec.size_px, reporter=events)
    images = tuple(str(p) for p in scene.images)
    events.emit(
        Log(f"scene made in {folder / 'scene'}: two UTM zones, polygons in EPSG:4326, clouds as nodata")
    )
    trained = train.run(
        train.Spec(
            images=images,
            labels=(str(scene.label_polygons),),
            label_column="class",
            area=str(scene.train_area),
            output=str(folder / "model.gtb"),
            report=str(folder / "training.html"),
            maximum_minutes=spec.maximum_minutes,
            seed=spec.seed,
        ),
        events,
    )
    mapped = predict.run(
        predict.Spec(
            model=str(folder / "model.gtb"),
            images=images,
            output=str(folder / "map.tif"),
            confidence=str(folder / "confidence.tif"),
            polygons=str(folder / "map.gpkg"),
            minimum_area_m2=1000.0,
        ),
        events,
    )
    judged = evaluate.run(
        evaluate.Spec(
            map=str(folder / "map.tif"),
            reference=(str(scene.label_raster),),
            area=str(scene.test_area),
            report=str(folder / "report.html"),
            metrics=str(folder / "metrics.json"),
            images=images,
        ),
        events,
    )
    picture = _draw(folder / "demo.png", folder / "map.tif", scene)
    events.emit(Artifact("picture", str(picture), "image/png"))
    return TextResult(
        _closing(folder, trained, mapped, judged),
        {"train": trained.to_json(), "predict": mapped.to_json(), "evaluate": judged.to_json()},
    )


def _closing(folder: Path, trained: Any, mapped: Any, judged: Any) -> str:
    forest = trained.baselines.get("random forest")
    compare = f" (a random forest: {forest['overall_accuracy']:.1%})" if forest else ""
    return "\n".join(
        (
            "",
            f"map        {mapped.map}   polygons {folder / 'map.gpkg'}   picture {folder / 'demo.png'}",
            f"held out   {trained.overall_accuracy:.1%} of the pixels right in the west's held-out blocks{compare}",
            f"the east   {judged.overall_accuracy:.1%} of {judged.pixels:,} pixels agree with the reference, "
            f"mean IoU {judged.mean_iou:.3f}",
            "",
            f"Open the report: {(folder / 'report.html').resolve()}",
            f"     and beside: {(folder / 'training.html').resolve()}",
        )
    )


def _draw(path: Path, map_path: Path, scene: DemoScene) -> Path:
    """Draw image, reference, map and error side by side."""
    from geotoolbox.core.files import atomic_path
    from geotoolbox.core.query import Query
    from geotoolbox.datasets import RasterDataset
    from geotoolbox.metrics import match_classes
    from geotoolbox.visualization import rgb_bands, show_prediction, to_png
    from geotoolbox.visualization.style import figure_of

    layer = RasterDataset([str(map_path)], kind="labels")
    grid = layer.scenes()[0].geobox
    step = max(1, round(max(grid.shape) / 700))
    grid = grid.zoom_out(step)
    images = RasterDataset([str(p) for p in scene.images], kind="image")
    reference = RasterDataset([str(scene.label_raster)], kind="labels")
    assert layer.classes is not None and reference.classes is not None
    match = match_classes(layer.classes, reference.classes)
    image, mapped, truth = (layer_.read(Query(grid)) for layer_ in (images, layer, reference))
    assert mapped.mask is not None and truth.mask is not None and image.image is not None
    axes = show_prediction(
        match.map_index(mapped.mask),
        match.classes,
        image=image.image,
        valid=image.valid,
        bands=rgb_bands([b.name for b in images.bands]),
        truth=match.reference_index(truth.mask),
    )
    with atomic_path(path) as part:
        part.write_bytes(to_png(figure_of(axes[0])))
    return path
