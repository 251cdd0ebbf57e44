"""Folds for cross-validation by space: blocks, given regions, or matched distances (kNNDM)."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import geopandas as gpd
import numpy as np
import shapely
from numpy.typing import NDArray
from shapely.geometry.base import BaseGeometry

from geotoolbox.core.query import Region
from geotoolbox.datasets.base import GeoDataset
from geotoolbox.errors import BadInput, NoOverlap, explain
from geotoolbox.sampling.areas import AreaPoints, project
from geotoolbox.sampling.assign import assign, block_classes
from geotoolbox.sampling.disjoint import metric_crs, region_of
from geotoolbox.sampling.ground_blocks import (
    block_side_m,
    check_buffer,
    lattice_blocks,
    lattice_origin,
    pixel_m,
)
from geotoolbox.sampling.nearest import MatchedFolds, match_folds
from geotoolbox.sampling.samplelist import write_frame

__all__ = ["Fold", "Folds", "block_folds", "nearest_folds", "region_folds"]

_TARGET_POINTS = 2000


@dataclass(frozen=True, slots=True)
class Fold:
    """One round of a cross-validation: where to learn and where to test, a buffer apart."""

    name: str
    train: Region
    test: Region

    def split(self, dataset: GeoDataset) -> tuple[GeoDataset, GeoDataset]:
        """Return the dataset's training part and its test part; no pixel is in both."""
        return dataset.within(self.train), dataset.within(self.test)


@dataclass(frozen=True, slots=True)
class Folds:
    """The rounds of a cross-validation by space.

    Attributes:
        folds: The rounds; each place is tested at most once.
        buffer_m: The least distance between the training and the test area of a round, in metres.
        method: ``blocks``, ``regions`` or ``nearest``.
        matched: How well distances were matched, for ``nearest``.
    """

    folds: tuple[Fold, ...]
    buffer_m: float
    method: str
    matched: MatchedFolds | None = None

    def __len__(self) -> int:
        return len(self.folds)

    def to_geodataframe(self) -> gpd.GeoDataFrame:
        """Return the test area of each fold: its ``fold`` and the polygon."""
        rows = [{"fold": f.name, "buffer_m": self.buffer_m} for f in self.folds]
        return gpd.GeoDataFrame(
            rows, geometry=[f.test.geometry for f in self.folds], crs=self.folds[0].test.crs
        )

    def save(self, path: str | Path) -> None:
        """Write the test areas: ``.parquet``, ``.gpkg`` or ``.geojson``."""
        write_frame(self.to_geodataframe(), Path(path), "folds")


def block_folds(
    dataset: GeoDataset,
    count: int = 5,
    *,
    block_size_m: float | None = None,
    buffer_m: float | None = None,
    stratify: bool = False,
    seed: int = 0,
) -> Folds:
    """Deal square blocks of the ground to folds (Roberts et al. 2017).

    Args:
        dataset: What is cross-validated.
        count: How many folds.
        block_size_m: Side of the blocks, in metres; by default such that there are about 100.
        buffer_m: Training stays this far from what is tested, in metres; by default 1/16 of a block, at least
            two pixels. For patches, take a patch's diagonal or the network's receptive field.
        stratify: Give each fold its share of every class, as far as blocks allow. Reads the labels.
        seed: What repeats the deal.

    Raises:
        BadInput: When there are fewer blocks than folds, or the buffer leaves nothing to train on.
    """
    ground = _Ground.of(dataset, block_size_m, buffer_m)
    _check_count(count, len(ground.blocks), "blocks")
    amounts = np.asarray([[b.intersection(ground.valid).area] for b in ground.blocks])
    if stratify:
        amounts = block_classes(dataset, ground.blocks, ground.crs)
    parts = assign(amounts, [1 / count] * count, seed)
    return ground.folds(np.asarray(parts), "blocks")


def region_folds(dataset: GeoDataset, regions: Mapping[str, Region], *, buffer_m: float = 0.0) -> Folds:
    """Leave one region out: each is tested with all others as training area.

    Args:
        dataset: What is cross-validated.
        regions: Areas by name, which must not overlap.
        buffer_m: Training stays this far from what is tested, in metres.

    Raises:
        BadInput: When there are fewer than two, two overlap, or the buffer leaves nothing to train on.
        NoOverlap: When a region has no data.
    """
    _check_count(2, len(regions), "regions")
    crs = metric_crs(dataset.scenes())
    valid = region_of(dataset, crs)
    shapes = {name: project(r.geometry, r.crs, crs).intersection(valid) for name, r in regions.items()}
    empty = [name for name, shape in shapes.items() if not shape.area > 0]
    if empty:
        raise NoOverlap(explain("regions without data", got=", ".join(empty), fix="leave them out"))
    names = list(shapes)
    for i, j in itertools.combinations(range(len(names)), 2):
        if shapes[names[i]].intersection(shapes[names[j]]).area > 1e-6 * shapes[names[i]].area:
            raise BadInput(explain("two regions overlap", where=f"{names[i]} and {names[j]}"))
    return _make(shapes, crs, float(buffer_m), "regions")


def nearest_folds(
    dataset: GeoDataset,
    count: int = 5,
    *,
    target: Region | None = None,
    block_size_m: float | None = None,
    buffer_m: float | None = None,
    seed: int = 0,
) -> Folds:
    """Deal blocks so that distances from test to training are as far as from the map to the labels (kNNDM).

    Blocks rather than pixels are dealt, so that no patch lies in two folds (Linnenbrink et al. 2024).

    Args:
        dataset: What is cross-validated: images with labels.
        count: How many folds.
        target: Where the map will be made; by default the dataset's own valid area.
        block_size_m: Side of the blocks, in metres; by default such that there are about 100.
        buffer_m: As in :func:`block_folds`.
        seed: What repeats the draw of points in the target.

    Raises:
        BadInput: When fewer blocks hold labels than there are folds, or a fold would hold more than half of them.
    """
    ground = _Ground.of(dataset, block_size_m, buffer_m)
    labelled = block_classes(dataset, ground.blocks, ground.crs).sum(axis=1) > 0
    blocks = [b for b, has in zip(ground.blocks, labelled, strict=True) if has]
    _check_count(count, len(blocks), "blocks with labels")
    area = ground.valid if target is None else project(target.geometry, target.crs, ground.crs)
    points = AreaPoints(area).draw(_TARGET_POINTS, np.random.default_rng(seed))
    middles = np.array([(b.centroid.x, b.centroid.y) for b in blocks])
    matched = match_folds(middles, points, count, seed=seed)
    own = _Ground(ground.crs, ground.valid, blocks, ground.buffer_m)
    return own.folds(matched.folds, "nearest", matched)


@dataclass(frozen=True, slots=True)
class _Ground:
    """A dataset's ground, cut into blocks."""

    crs: str
    valid: BaseGeometry
    blocks: Sequence[BaseGeometry]
    buffer_m: float

    @classmethod
    def of(cls, dataset: GeoDataset, block_size_m: float | None, buffer_m: float | None) -> _Ground:
        crs = metric_crs(dataset.scenes())
        valid, pixel = region_of(dataset, crs), pixel_m(dataset, crs)
        side = block_side_m(block_size_m, None, valid, pixel)
        buffer = max(side / 16, 2 * pixel) if buffer_m is None else float(buffer_m)
        if buffer_m is None:
            check_buffer(buffer, side, dataset)
        return cls(crs, valid, lattice_blocks(valid, side, lattice_origin(dataset, crs)), buffer)

    def folds(self, parts: NDArray[np.int64], method: str, matched: MatchedFolds | None = None) -> Folds:
        """Join the blocks of each part."""
        shapes = {
            f"fold {n + 1}": shapely.union_all([b for b, p in zip(self.blocks, parts, strict=True) if p == n])
            for n in range(int(parts.max()) + 1)
        }
        return _make(shapes, self.crs, self.buffer_m, method, matched)


def _make(
    shapes: Mapping[str, BaseGeometry],
    crs: str,
    buffer_m: float,
    method: str,
    matched: MatchedFolds | None = None,
) -> Folds:
    if buffer_m < 0:
        raise BadInput(
            explain("a buffer is no distance", where="buffer_m", got=buffer_m, expected="0 or more")
        )
    folds = []
    for name, test in shapes.items():
        rest = shapely.union_all([s for other, s in shapes.items() if other != name])
        # A chord of a rounded corner is a little inside the arc: a hair more keeps the distance.
        near = test.buffer(buffer_m * 1.002, quad_segs=32) if buffer_m > 0 else test
        train = rest.difference(near)
        if not train.area > 0:
            raise BadInput(
                explain("the buffer leaves nothing to train on", where=name, fix="pass a smaller buffer_m")
            )
        folds.append(Fold(name, Region(train, crs), Region(test, crs)))
    return Folds(tuple(folds), buffer_m, method, matched)


def _check_count(count: int, there: int, what: str) -> None:
    if count < 2 or there < count:
        raise BadInput(
            explain(
                "these folds cannot be made",
                got=f"{count} folds of {there} {what}",
                expected="2 folds or more, and at least one each",
                fix="pass fewer folds or a smaller block_size_m",
            )
        )
