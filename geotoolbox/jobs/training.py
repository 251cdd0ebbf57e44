"""How *train* runs: split, train, compare with baselines, report, bundle."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
from odc.geo.geobox import GeoBox
from shapely.ops import unary_union

from geotoolbox import __version__
from geotoolbox.core.events import SILENT, Artifact, Log, Reporter
from geotoolbox.core.files import check_apart, check_writable
from geotoolbox.core.query import Reading
from geotoolbox.datasets import GeoDataset
from geotoolbox.jobs.applying import with_applicability
from geotoolbox.jobs.class_style import restyled
from geotoolbox.jobs.evaluating import write_text
from geotoolbox.jobs.layers import check_column, open_images, open_labels, open_region
from geotoolbox.jobs.pictures import EpochPictures
from geotoolbox.jobs.recipe import recipe_beside, recipe_path, write_recipe
from geotoolbox.jobs.results import TrainJobResult
from geotoolbox.jobs.seen_ground import pixel_side
from geotoolbox.jobs.spec import existing
from geotoolbox.jobs.train import Spec, TrainSettings
from geotoolbox.metrics import Scores, compute_scores
from geotoolbox.models.bundle import software_versions
from geotoolbox.models.predictor import Predictor
from geotoolbox.prediction import PredictOptions, predict_array
from geotoolbox.sampling import SampleList, Split, spatial_split
from geotoolbox.trainers import TrainOptions, TrainResult, train_segmentation
from geotoolbox.trainers.ranks import launched
from geotoolbox.trainers.validation import EpochHook
from geotoolbox.transforms import default_indices
from geotoolbox.visualization import Preview, SplitMap, rgb_bands, training_report

__all__ = ["Training", "fit", "train_job"]

_PREVIEW_PX = 128
_PREVIEWS = 4
_TOLD = (
    "calibration on held-out blocks:",
    "on the validation area the model reaches",
)  # the report has sections on these
_LONG = {"val": "validation"}
_PICTURE_PX = 64  # small, so that a held-out block fills most of it


class Training:
    """A finished training: the result, the split it was judged on, and its report.

    Attributes:
        result: Bundle, network, history, baselines and the confusion matrix of the held-out blocks.
        split: Which ground was trained on and which was held out.
        settings: What was asked for.
    """

    def __init__(
        self, result: TrainResult, split: Split, dataset: GeoDataset, settings: TrainSettings
    ) -> None:
        self.result, self.split, self.dataset, self.settings = result, split, dataset, settings

    @property
    def scores(self) -> Scores:
        """The scores on the held-out blocks."""
        return compute_scores(self.result.confusion, self.result.bundle.classes.names)

    def report(self, title: str, recipe_yaml: str = "", recipe_name: str = "") -> str:
        """Return the training report as HTML."""
        result = self.result
        return training_report(
            title=title,
            classes=result.bundle.classes,
            confusion=result.confusion,
            baselines=result.baselines,
            history=result.history,
            best_epoch=result.best_epoch,
            previews=self._previews(),
            split=self._split_map(),
            class_pixels={"train": result.class_pixels, "validation": result.confusion.sum(axis=1).tolist()},
            calibration=result.bundle.metrics.get("calibration"),
            facts=self._facts(),
            sources=self.dataset.source_files(),
            notes=[note for note in result.notes if not note.startswith(_TOLD)],
            recipe_yaml=recipe_yaml,
            recipe_name=recipe_name,
            versions=software_versions() | {"geotoolbox": __version__},
        )

    def _facts(self) -> dict[str, str]:
        bundle, result = self.result.bundle, self.result
        count = sum(p.numel() for p in result.module.parameters())
        return {
            "Network": f"{bundle.spec.architecture}, {count:,} parameters",
            "Bands": ", ".join(b.name for b in bundle.bands),
            "Indices": ", ".join(_indices(self.settings, self.dataset)) or "none",
            "Training time": f"{result.seconds:,.0f} s",
            "Epochs": str(len(result.history)),
            "Seed": str(self.settings.seed),
        }

    def _split_map(self) -> SplitMap:
        regions = self.split.regions
        crs = next(iter(regions.values())).crs
        areas = {_LONG.get(name, name): region.geometry for name, region in regions.items()}
        return SplitMap(areas, crs, pixel=pixel_side(self.dataset.scenes()[0].geobox, crs))

    def _previews(self) -> list[Preview]:
        model = Predictor(self.result.bundle)
        bands = rgb_bands([b.name for b in self.result.bundle.bands])
        previews = []
        held_out = self.split["val"]
        for reading in _places(held_out, self.settings.seed):
            probabilities, valid, _ = predict_array(
                held_out, model, geobox=reading.geobox, options=PredictOptions(batch_size=1)
            )
            predicted = np.where(valid, probabilities.argmax(axis=0), -1)
            place = _place_name(reading)
            previews.append(Preview(place, predicted, reading.mask, reading.image, reading.valid, bands))
        return previews


def fit(
    dataset: GeoDataset,
    settings: TrainSettings,
    work_dir: Path,
    *,
    validation: GeoDataset | None = None,
    reporter: Reporter = SILENT,
    samples: SampleList | None = None,
) -> Training:
    """Train on a dataset of images and labels.

    Args:
        dataset: Images with labels (``images & labels``).
        settings: How.
        work_dir: Where checkpoints are kept, so that a stopped run can go on.
        validation: What to judge on; default: blocks of ``dataset``, a buffer apart from the rest.
        reporter: Hears of the progress, and can cancel.
        samples: The windows to train on; default: windows at random.
    """
    share = settings.validation_percent / 100
    if validation is None:
        split = spatial_split(dataset, {"train": 1 - share, "val": share}, stratify=True, seed=settings.seed)
    else:
        split = _given_split(dataset, validation)
    reporter.emit(
        Log(f"held out {share:.0%} of the ground in blocks, {split.buffer_m:,.0f} m apart from training")
    )
    result = train_segmentation(
        split["train"],
        split["val"],
        options=_options(settings, dataset),
        work_dir=work_dir,
        reporter=reporter,
        each_epoch=_pictures(split["val"], settings, work_dir, reporter),
        samples=samples,
    )
    return Training(with_applicability(result, settings.seed), split, dataset, settings)


def _pictures(
    held_out: GeoDataset, settings: TrainSettings, work_dir: Path, reporter: Reporter
) -> EpochHook | None:
    """Return what draws held-out places after each epoch, where that is asked for."""
    if not settings.pictures:
        return None
    assert held_out.classes is not None
    readings = _places(held_out, settings.seed, settings.pictures, _PICTURE_PX)
    return EpochPictures(
        readings,
        held_out.classes,
        rgb_bands([b.name for b in held_out.bands]),
        work_dir / "pictures",
        reporter,
    )


def train_job(spec: Spec, events: Reporter) -> TrainJobResult:
    """Do what the job *train* says; of several processes that a launcher has started, the first one writes."""
    first = launched().first
    events = events if first else SILENT
    output = Path(spec.output)
    report_path = Path(spec.report) if spec.report else output.with_suffix(".html")
    check_apart((output, report_path), ())
    for path in (output, report_path):
        check_writable(path)
    dataset = _open(spec)
    work = output.with_name(output.name + ".work")
    samples = None if spec.samples is None else SampleList.open(existing(spec.samples))
    done = fit(dataset, spec, work, reporter=events, samples=samples)
    recipe = recipe_path(output, "train")
    if first:
        write_recipe("train", spec, output)
        html = done.report(output.stem, *recipe_beside("train", spec, recipe, report_path))
        replace(done.result.bundle, report_html=html).save(output)
        write_text(report_path, html)
    events.emit(Artifact("model", str(output)))
    events.emit(Artifact("report", str(report_path), "text/html"))
    scores = done.scores
    return TrainJobResult(
        model=str(output),
        report=str(report_path),
        recipe=str(recipe),
        overall_accuracy=scores.overall_accuracy,
        mean_iou=scores.mean_iou,
        epochs=len(done.result.history),
        seconds=done.result.seconds,
        baselines={
            b.name: {"overall_accuracy": b.overall_accuracy, "mean_iou": b.mean_iou}
            for b in done.result.baselines
        },
    )


def _open(spec: Spec) -> GeoDataset:
    images = open_images(
        spec.images, bands=spec.bands, allow_vrt=spec.allow_vrt, allow_remote=spec.allow_remote
    )
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
        allow_vrt=spec.allow_vrt,
        allow_remote=spec.allow_remote,
    )
    if not spec.allow_single_class:
        check_column(labels, spec.label_column)
    labels = restyled(labels, spec.class_style)
    dataset: GeoDataset = images & labels
    region = open_region(spec.area)
    return dataset if region is None else dataset.within(region)


def _indices(settings: TrainSettings, dataset: GeoDataset) -> tuple[str, ...]:
    if settings.indices == ("auto",):
        return default_indices([b.name for b in dataset.bands])
    return () if settings.indices == ("none",) else settings.indices


def _options(settings: TrainSettings, dataset: GeoDataset) -> TrainOptions:
    """Turn the job's settings into the trainer's options; what is left open keeps the trainer's default."""
    given = {
        "patch_px": settings.patch_px,
        "batch_size": settings.batch_size,
        "epochs": settings.epochs,
        "learning_rate": settings.learning_rate,
        "loss": None if settings.loss == "auto" else settings.loss,
        "class_weights": None if settings.class_weights == "auto" else settings.class_weights,
    }
    chosen = {name: value for name, value in given.items() if value is not None}
    return replace(
        TrainOptions(),
        model=settings.model,
        encoder=settings.encoder,
        encoder_weights=settings.encoder_weights,
        indices=_indices(settings, dataset),
        max_minutes=settings.maximum_minutes,
        augment=settings.augment,
        baseline=settings.baseline,
        allow_single_class=settings.allow_single_class,
        device=settings.device,
        precision=settings.precision,
        processes=settings.processes,
        resume=settings.resume,
        seed=settings.seed,
        **chosen,  # type: ignore[arg-type]
    )


def _given_split(train: GeoDataset, validation: GeoDataset) -> Split:
    from geotoolbox.core.query import Region
    from geotoolbox.sampling import check_disjoint

    check_disjoint(train, validation)
    parts = {"train": train, "val": validation}
    regions = {
        name: Region(unary_union([shape for shape, _ in part.coverage()]), "EPSG:4326")
        for name, part in parts.items()
    }
    return Split(parts, regions, 0.0)


def _place_name(reading: Reading) -> str:
    lon, lat = reading.geobox.extent.to_crs("EPSG:4326").centroid.coords[0]
    side = f"{abs(lat):.4f}° {'N' if lat >= 0 else 'S'}, {abs(lon):.4f}° {'E' if lon >= 0 else 'W'}"
    return f"Held out: around {side}"


def _places(
    held_out: GeoDataset, seed: int, count: int = _PREVIEWS, side_px: int = _PREVIEW_PX
) -> list[Reading]:
    """Read some held-out places with many classes, apart from each other, to look at."""
    from geotoolbox.sampling import RandomGeoSampler

    queries = RandomGeoSampler(held_out, size=side_px, length=24 * count, seed=seed)
    readings = sorted(map(held_out.read, queries), key=_richness, reverse=True)
    chosen: list[Reading] = []
    for reading in readings:
        if len(chosen) < count and not any(_meet(reading.geobox, other.geobox) for other in chosen):
            chosen.append(reading)
    return chosen


def _meet(one: GeoBox, other: GeoBox) -> bool:
    a, b = one.boundingbox, other.boundingbox
    apart = a.right <= b.left or b.right <= a.left or a.top <= b.bottom or b.top <= a.bottom
    return one.crs == other.crs and not apart


def _richness(reading: Reading) -> float:
    """How many classes a place shows, and how much of it has labels (squared: there should be much to see)."""
    assert reading.mask is not None
    labelled = reading.mask[(reading.mask >= 0) & reading.valid]
    return len(np.unique(labelled)) * (labelled.size / reading.mask.size) ** 2
