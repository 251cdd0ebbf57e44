"""How *crossvalidate* makes folds, trains and tests."""

from __future__ import annotations

import json
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from shapely.ops import unary_union

from geotoolbox import __version__
from geotoolbox.core.classes import ClassTable
from geotoolbox.core.events import Artifact, Log, Reporter, Stage
from geotoolbox.core.files import check_writable
from geotoolbox.core.query import Region
from geotoolbox.datasets import GeoDataset
from geotoolbox.datasets.regions import read_named_regions
from geotoolbox.errors import BadInput, explain
from geotoolbox.jobs.class_style import restyled
from geotoolbox.jobs.crossvalidate import CrossvalidateJobResult, Spec
from geotoolbox.jobs.evaluating import write_text
from geotoolbox.jobs.layers import open_images, open_labels, open_region
from geotoolbox.jobs.recipe import write_recipe
from geotoolbox.jobs.spec import existing
from geotoolbox.metrics import Scores, compute_scores, confusion_matrix
from geotoolbox.sampling import Fold, Folds, block_folds, nearest_folds, region_folds
from geotoolbox.sampling.disjoint import metric_crs
from geotoolbox.sampling.ground_blocks import pixel_m
from geotoolbox.trainers import TrainOptions, train_segmentation
from geotoolbox.trainers.baseline import new_forest
from geotoolbox.trainers.points import Points, draw_points
from geotoolbox.trainers.source import Source
from geotoolbox.transforms import default_indices
from geotoolbox.transforms.preprocess import Preprocess
from geotoolbox.transforms.statistics import compute_statistics

__all__ = ["CrossValidation", "crossvalidate_job", "forest_scores"]

_MEMORY_MB = 1500
Counts = NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False)
class CrossValidation:
    """What a model does on the test part of each fold.

    Attributes:
        names: Of the folds.
        classes: The K classes.
        counts: (K, K) confusion counts of each fold; row = reference.
    """

    names: tuple[str, ...]
    classes: ClassTable
    counts: tuple[Counts, ...]

    @property
    def scores(self) -> Scores:
        """The scores of all folds' pixels together."""
        total: Counts = np.sum(self.counts, axis=0)
        return compute_scores(total, self.classes.names)

    def by_fold(self) -> list[Scores]:
        """Return the scores of each fold."""
        return [compute_scores(c, self.classes.names) for c in self.counts]

    def to_json(self) -> dict[str, Any]:
        """Return plain data: all folds together, and one by one."""
        rows = [
            {"fold": name, "confusion": c.tolist(), **s.to_json()}
            for name, c, s in zip(self.names, self.counts, self.by_fold(), strict=True)
        ]
        spread = {
            key: float(np.nanstd([getattr(s, key) for s in self.by_fold()], ddof=1))
            for key in ("overall_accuracy", "mean_iou")
            if np.isfinite([getattr(s, key) for s in self.by_fold()]).sum() > 1
        }
        total = np.sum(self.counts, axis=0)
        return {
            **self.scores.to_json(),
            "confusion": total.tolist(),
            "between_folds_sd": spread,
            "folds": rows,
        }


def crossvalidate_job(spec: Spec, events: Reporter) -> CrossvalidateJobResult:
    """Do what the job *crossvalidate* says."""
    files = [spec.output, *([spec.folds_output] if spec.folds_output else [])]
    for path in files:
        check_writable(Path(path))
    images, dataset = _open(spec)
    folds = make_folds(spec, images, dataset)
    if spec.folds_output:
        folds.save(spec.folds_output)
        events.emit(Artifact("folds", spec.folds_output))
    drawn, classes = _draw(spec, dataset, events)
    forest, random = forest_scores(drawn, classes, folds, seed=spec.seed, reporter=events)
    judged = forest
    if spec.model != "forest":
        judged = _network(spec, dataset, folds, events)
    content = _content(spec, folds, judged, forest, random)
    text = json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False)
    write_text(Path(spec.output), text)
    events.emit(Artifact("crossvalidation", spec.output, "application/json"))
    one, two, three = judged.scores, forest.scores, random.scores
    return CrossvalidateJobResult(
        spec.output, str(write_recipe("crossvalidate", spec, spec.output)), spec.model, spec.method, len(folds),
        one.overall_accuracy, one.mean_iou, two.overall_accuracy, two.mean_iou,
        three.overall_accuracy, three.mean_iou, tuple(files),
    )  # fmt: skip


def make_folds(spec: Spec, images: GeoDataset, dataset: GeoDataset) -> Folds:
    """Make the folds that a spec asks for."""
    size, buffer = spec.block_size_m, spec.buffer_m
    if buffer is None and spec.model != "forest":
        # A patch that starts in one fold must not reach another fold's ground by its context.
        buffer = TrainOptions().patch_px * 2**0.5 * pixel_m(dataset, metric_crs(dataset.scenes()))
    if spec.method == "regions":
        if spec.regions is None:
            raise BadInput(explain("no regions to leave out", fix="pass --regions with polygons"))
        regions = read_named_regions(existing(spec.regions), spec.region_column)
        return region_folds(dataset, regions, buffer_m=buffer or 0.0)
    if spec.method == "nearest":
        target = open_region(spec.predict_area) or Region(
            unary_union([shape for shape, _ in images.coverage()]), "EPSG:4326"
        )
        return nearest_folds(
            dataset, spec.folds, target=target, block_size_m=size, buffer_m=buffer, seed=spec.seed
        )
    return block_folds(dataset, spec.folds, block_size_m=size, buffer_m=buffer, stratify=True, seed=spec.seed)


def forest_scores(
    points: Points, classes: ClassTable, folds: Folds, *, seed: int, reporter: Reporter
) -> tuple[CrossValidation, CrossValidation]:
    """Judge a random forest by folds in space, and by as many random folds of the same points.

    Returns:
        By space, and at random.
    """
    stage = Stage(reporter, "forest", 2 * len(folds))
    by_space, counts = [], []
    for fold in folds.folds:
        train, test = points.within(fold.train.geometry), points.within(fold.test.geometry)
        by_space.append(_forest(points[train], points[test], len(classes), fold.name, seed))
        stage.advance(1, fold.name)
    order = np.random.default_rng(seed).permutation(len(points)) % len(folds)
    for number, fold in enumerate(folds.folds):
        test = order == number
        counts.append(_forest(points[~test], points[test], len(classes), fold.name, seed))
        stage.advance(1, "random folds")
    names = tuple(f.name for f in folds.folds)
    return CrossValidation(names, classes, tuple(by_space)), CrossValidation(names, classes, tuple(counts))


def _forest(train: Points, test: Points, num_classes: int, name: str, seed: int) -> Counts:
    if not len(train) or not len(test):
        raise BadInput(
            explain(
                "a fold has no labelled pixel",
                where=name,
                got=f"{len(train)} to train on, {len(test)} to test on",
                fix="use fewer folds, larger blocks or more points",
            )
        )
    forest = new_forest(seed)
    forest.fit(train.features, train.classes)
    return confusion_matrix(test.classes, forest.predict(test.features).astype(np.int64), num_classes)


def _network(spec: Spec, dataset: GeoDataset, folds: Folds, events: Reporter) -> CrossValidation:
    counts = []
    for fold in folds.folds:
        events.emit(Log(f"{fold.name}: training {spec.model} on the other ground"))
        counts.append(_train(spec, dataset, fold, events))
    assert dataset.classes is not None
    return CrossValidation(tuple(f.name for f in folds.folds), dataset.classes, tuple(counts))


def _train(spec: Spec, dataset: GeoDataset, fold: Fold, events: Reporter) -> Counts:
    """Train on a fold and return the counts of its test part, which chooses nothing: the last epoch is judged."""
    train, test = fold.split(dataset)
    options = TrainOptions(
        model=spec.model, indices=_indices(spec, dataset), max_minutes=spec.maximum_minutes,
        keep_best=False, calibrate=False, baseline=False, device=spec.device, seed=spec.seed,
    )  # fmt: skip
    with tempfile.TemporaryDirectory(prefix="geotoolbox-") as folder:
        result = train_segmentation(train, test, options=options, work_dir=folder, reporter=events)
    return result.confusion


def _open(spec: Spec) -> tuple[GeoDataset, GeoDataset]:
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
    dataset: GeoDataset = images & restyled(labels, spec.class_style)
    region = open_region(spec.area)
    return images, dataset if region is None else dataset.within(region)


def _draw(spec: Spec, dataset: GeoDataset, events: Reporter) -> tuple[Points, ClassTable]:
    source = Source(dataset, _MEMORY_MB, events)
    indices = _indices(spec, dataset)
    # A forest's answer does not depend on how features are scaled, so these statistics leak nothing.
    statistics = compute_statistics(source, indices=indices, seed=spec.seed, reporter=events)
    preprocess = Preprocess(tuple(b.name for b in dataset.bands), indices, statistics)
    crs = metric_crs(dataset.scenes())
    return draw_points(source, preprocess, spec.points, crs, seed=spec.seed, reporter=events), source.classes


def _indices(spec: Spec, dataset: GeoDataset) -> tuple[str, ...]:
    if spec.indices == ("auto",):
        return default_indices([b.name for b in dataset.bands])
    return () if spec.indices == ("none",) else spec.indices


def _content(
    spec: Spec, folds: Folds, judged: CrossValidation, forest: CrossValidation, random: CrossValidation
) -> dict[str, Any]:
    gap = {
        key: getattr(random.scores, key) - getattr(forest.scores, key)
        for key in ("overall_accuracy", "mean_iou")
    }
    matched = folds.matched
    return {
        "format": "geotoolbox-crossvalidation/1",
        "geotoolbox": __version__,
        "meaning": "Transfer skill: how well the model does on ground that it has not seen. Not map accuracy.",
        "method": folds.method,
        "buffer_m": folds.buffer_m,
        "model": spec.model,
        "transfer": judged.to_json(),
        "forest": forest.to_json(),
        "random": random.to_json(),
        "gap_of_random_folds": {k: None if np.isnan(v) else v for k, v in gap.items()},
        "matched_distances": None
        if matched is None
        else {
            "clusters": matched.clusters,
            "wasserstein_m": matched.distance,
            "wasserstein_random_m": matched.distance_random,
            "random_is_right": matched.is_random,
        },
    }
