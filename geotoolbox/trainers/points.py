"""Labelled pixels drawn as points: features, class and place, for forests and distances in feature space."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import shapely
import torch
from numpy.typing import NDArray
from pyproj import Transformer
from shapely.geometry.base import BaseGeometry

from geotoolbox.core.events import SILENT, Reporter, check_cancelled
from geotoolbox.core.query import Reading
from geotoolbox.errors import BadLabels, explain
from geotoolbox.indexing.geometry import same_crs
from geotoolbox.trainers.source import Source, labelled
from geotoolbox.trainers.task import Preparation

__all__ = ["Points", "draw_points"]

_BLOCK_PX = 512
_MOST_PX = 4_000_000


@dataclass(frozen=True, slots=True, eq=False)
class Points:
    """Labelled pixels.

    Attributes:
        features: (N, C) what a network sees of one pixel: normalised bands and indices.
        classes: (N,) class indices.
        xy: (N, 2) pixel centres, in the CRS asked for.
    """

    features: NDArray[np.float32]
    classes: NDArray[np.int64]
    xy: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.classes)

    def __getitem__(self, chosen: NDArray[np.bool_] | NDArray[np.int64]) -> Points:
        """Return some of the points."""
        return Points(self.features[chosen], self.classes[chosen], self.xy[chosen])

    def within(self, area: BaseGeometry) -> NDArray[np.bool_]:
        """Tell which points lie in an area, in their CRS."""
        shapely.prepare(area)
        return np.asarray(shapely.contains_xy(area, self.xy[:, 0], self.xy[:, 1]))


def draw_points(
    source: Source,
    preprocess: Preparation,
    count: int,
    crs: str,
    *,
    seed: int = 0,
    reporter: Reporter = SILENT,
) -> Points:
    """Draw labelled pixels, each with the same chance.

    Args:
        source: Images with labels; of very large areas, a random part of the blocks.
        preprocess: Raw image and valid to features.
        count: How many at most.
        crs: The CRS of the places.
        seed: What repeats the draw.
        reporter: Can cancel.

    Raises:
        BadLabels: When there is no labelled pixel.
    """
    rng = np.random.default_rng(seed)
    share = 1.5 * count / max(int(source.class_counts().sum()), 1)
    parts: list[Points] = []
    for reading, core in source.blocks(_BLOCK_PX, most_px=_MOST_PX, seed=seed):
        check_cancelled(reporter)
        truth = labelled(reading)[: core.height, : core.width]
        chosen = (truth >= 0) & (rng.random(truth.shape) < share)
        if chosen.any():
            parts.append(_points(reading, preprocess, truth, chosen, crs))
    if not parts:
        raise BadLabels(explain("no labelled pixel to draw", fix="choose a larger area"))
    features, classes, xy = zip(*((p.features, p.classes, p.xy) for p in parts), strict=True)
    drawn = Points(np.concatenate(features), np.concatenate(classes), np.concatenate(xy))
    return drawn[rng.permutation(len(drawn))[:count]]


def _points(
    reading: Reading,
    preprocess: Preparation,
    truth: NDArray[np.int64],
    chosen: NDArray[np.bool_],
    crs: str,
) -> Points:
    assert reading.image is not None
    image, valid = torch.from_numpy(reading.image)[None], torch.from_numpy(reading.valid)[None]
    ready = preprocess(image, valid)[0].numpy()[:, : truth.shape[0], : truth.shape[1]]
    rows, columns = np.nonzero(chosen)
    grid = reading.geobox.affine
    x = grid.a * (columns + 0.5) + grid.b * (rows + 0.5) + grid.c
    y = grid.d * (columns + 0.5) + grid.e * (rows + 0.5) + grid.f
    if not same_crs(reading.geobox.crs, crs):
        x, y = Transformer.from_crs(str(reading.geobox.crs), crs, always_xy=True).transform(x, y)
    return Points(ready[:, chosen].T.astype(np.float32), truth[chosen], np.column_stack([x, y]))
