"""Simple baselines on the same pixels: what any network has to beat."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray

from geotoolbox.core.events import SILENT, Reporter, Stage, check_cancelled
from geotoolbox.trainers.counts import Counts, Tally
from geotoolbox.trainers.source import Source, labelled
from geotoolbox.trainers.task import Preparation

if TYPE_CHECKING:
    from sklearn.ensemble import RandomForestClassifier

__all__ = ["BaselineResult", "new_forest", "run_baselines"]

_BLOCK_PX = 512
_MOST_PX = 4_000_000
_TREES, _DEPTH, _TRAIN_PX = 100, 18, 40_000
Features = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class BaselineResult:
    """How a baseline does on the validation pixels.

    Attributes:
        name: ``majority class`` or ``random forest``.
        overall_accuracy: Share of right pixels, 0 to 1.
        mean_iou: Mean IoU over the classes that the reference has.
        iou: IoU by class; NaN where the reference has no such pixel.
        counts: (K, K) confusion counts, rows are the truth.
    """

    name: str
    overall_accuracy: float
    mean_iou: float
    iou: tuple[float, ...]
    counts: Counts

    def to_json(self) -> dict[str, Any]:
        """Return plain data."""
        return {
            "name": self.name,
            "overall_accuracy": self.overall_accuracy,
            "mean_iou": self.mean_iou,
            "iou": list(self.iou),
            "counts": self.counts.tolist(),
        }


def run_baselines(
    train: Source,
    validation: Source,
    preprocess: Preparation,
    *,
    seed: int = 0,
    reporter: Reporter = SILENT,
) -> tuple[BaselineResult, ...]:
    """Fit the majority class and a random forest on training pixels, and test both on the validation blocks.

    The forest sees what the network sees of one pixel: normalised bands and indices.

    Args:
        train: Where to learn.
        validation: Where to test; every labelled pixel, or a random part of the blocks of large areas.
        preprocess: Raw image and valid to features.
        seed: What repeats the drawing and the forest.
        reporter: Hears of progress and can cancel.
    """
    stage = Stage(reporter, "baseline", 3)
    counts = train.class_counts()
    features, classes = _draw(train, preprocess, 3 * _TRAIN_PX / max(int(counts.sum()), 1), seed)
    stage.advance(1, f"{len(classes):,} training pixels")
    most = int(counts.argmax())
    forest = new_forest(seed)
    forest.fit(features, classes)
    stage.advance(1, "random forest")
    models: dict[str, Callable[[Features], NDArray[np.int64]]] = {
        "majority class": lambda x: np.full(len(x), most, dtype=np.int64),
        "random forest": lambda x: forest.predict(x).astype(np.int64),
    }
    results = _test(validation, preprocess, models, seed, reporter)
    stage.advance(1)
    return results


def new_forest(seed: int, trees: int = _TREES) -> RandomForestClassifier:
    """Return the random forest that baselines and cross-validation use, not fitted yet."""
    from sklearn.ensemble import RandomForestClassifier

    return RandomForestClassifier(trees, max_depth=_DEPTH, n_jobs=2, random_state=seed)


def _draw(
    source: Source, preprocess: Preparation, share: float, seed: int
) -> tuple[Features, NDArray[np.int64]]:
    """Draw training pixels, each labelled pixel with the same chance: a share of each block, then what is needed."""
    rng = np.random.default_rng(seed)
    features, classes = [], []
    for x, y in _pixels(source, preprocess, seed):
        kept = rng.random(len(y)) < share
        features.append(x[kept])
        classes.append(y[kept])
    x, y = np.concatenate(features), np.concatenate(classes)
    chosen = rng.permutation(len(y))[:_TRAIN_PX]
    return x[chosen], y[chosen]


def _test(
    source: Source,
    preprocess: Preparation,
    models: dict[str, Callable[[Features], NDArray[np.int64]]],
    seed: int,
    reporter: Reporter,
) -> tuple[BaselineResult, ...]:
    tallies = {name: Tally(len(source.classes)) for name in models}
    for x, y in _pixels(source, preprocess, seed):
        check_cancelled(reporter)
        for name, predict in models.items():
            tallies[name].add(y, predict(x))
    return tuple(
        BaselineResult(name, t.overall_accuracy, t.mean_iou, t.iou, t.counts) for name, t in tallies.items()
    )


def _pixels(source: Source, preprocess: Preparation, seed: int) -> Any:
    """Yield features (n, C) and class indices (n,) of labelled pixels, block by block."""
    for reading, core in source.blocks(_BLOCK_PX, most_px=_MOST_PX, seed=seed):
        truth = labelled(reading)[: core.height, : core.width]
        known = truth >= 0
        if not known.any():
            continue
        assert reading.image is not None
        image, valid = torch.from_numpy(reading.image)[None], torch.from_numpy(reading.valid)[None]
        ready = preprocess(image, valid)[0].numpy()[:, : core.height, : core.width]
        yield ready[:, known].T.astype(np.float32), truth[known]
