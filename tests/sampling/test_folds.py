"""Folds in space: apart by a buffer, each place tested once, distances matched."""

from __future__ import annotations

from pathlib import Path

import geopandas as gpd
import numpy as np
import pytest
import shapely

from geotoolbox.core.query import Query, Region
from geotoolbox.errors import BadInput, NoOverlap
from geotoolbox.sampling import block_folds, nearest_folds, region_folds
from geotoolbox.sampling.nearest import fold_distances, match_folds
from tests.sampling.memory import UTM, one


def times_tested(dataset, folds) -> np.ndarray:
    """How often each pixel is tested; asserts that train and test never share a pixel."""
    grid = dataset.scenes()[0].geobox
    count = np.zeros(grid.shape, int)
    for fold in folds.folds:
        train, test = (part.read(Query(grid)).valid for part in fold.split(dataset))
        assert not (train & test).any()
        if test.any() and train.any() and folds.buffer_m:
            places = [np.argwhere(v) * 30.0 for v in (test, train)]
            nearest = min(np.hypot(*(places[1] - p).T).min() for p in places[0][::7])
            assert nearest >= folds.buffer_m
        count += test
    return count


@pytest.mark.parametrize("stratify", [False, True])
def test_block_folds_test_every_pixel_once_a_buffer_apart(stratify: bool) -> None:
    dataset = one(60, 80)
    folds = block_folds(dataset, 4, block_size_m=300, buffer_m=90, stratify=stratify, seed=3)
    assert (times_tested(dataset, folds) == 1).all()
    again = block_folds(dataset, 4, block_size_m=300, buffer_m=90, stratify=stratify, seed=3)
    assert all(a.test.geometry.equals(b.test.geometry) for a, b in zip(folds.folds, again.folds, strict=True))
    areas = [f.test.geometry.area for f in folds.folds]
    assert max(areas) < 1.35 * min(areas)


def test_one_region_is_left_out_at_a_time() -> None:
    dataset = one(40, 60)
    west, south, east, north = dataset.scenes()[0].footprint.bounds
    edges = np.linspace(west, east, 4)
    regions = {
        name: Region(shapely.box(edges[i], south, edges[i + 1], north), UTM) for i, name in enumerate("abc")
    }
    folds = region_folds(dataset, regions)
    assert [f.name for f in folds.folds] == ["a", "b", "c"]
    assert (times_tested(dataset, folds) == 1).all()
    assert folds.folds[0].train.geometry.area == pytest.approx(2 / 3 * (east - west) * (north - south))
    with pytest.raises(BadInput, match="overlap"):
        region_folds(dataset, {**regions, "d": regions["a"]})
    with pytest.raises(NoOverlap, match=r"without data.*far"):
        region_folds(dataset, {**regions, "far": Region(shapely.box(0, 0, 9, 9), UTM)})


def test_folds_can_be_looked_at_as_a_file(tmp_path: Path) -> None:
    folds = block_folds(one(60, 80), 3, block_size_m=300)
    folds.save(tmp_path / "folds.gpkg")
    frame = gpd.read_file(tmp_path / "folds.gpkg")
    assert frame["fold"].tolist() == ["fold 1", "fold 2", "fold 3"]
    assert frame.geometry.area.to_numpy() == pytest.approx([f.test.geometry.area for f in folds.folds])


def test_labels_spread_like_the_target_get_random_folds() -> None:
    rng = np.random.default_rng(0)
    points, target = rng.uniform(0, 1000, (200, 2)), rng.uniform(0, 1000, (1500, 2))
    found = match_folds(points, target, 5)
    assert found.is_random and found.distance == found.distance_random
    assert np.bincount(found.folds).tolist() == [40] * 5


@pytest.mark.parametrize("seed", [0, 1])
def test_clustered_labels_get_folds_as_far_apart_as_the_target_is(seed: int) -> None:
    rng = np.random.default_rng(seed)
    centres = rng.uniform(0, 1000, (12, 2))
    points = (centres[:, None] + rng.normal(0, 8, (12, 20, 2))).reshape(-1, 2)
    target = rng.uniform(0, 1000, (1500, 2))
    found = match_folds(points, target, 4)
    assert not found.is_random
    assert found.distance < 0.5 * found.distance_random
    assert np.bincount(found.folds).max() <= len(points) / 2 and len(np.unique(found.folds)) == 4
    assert np.median(fold_distances(points, found.folds)) > 5 * np.median(
        fold_distances(points, np.arange(len(points)) % 4)
    )


def test_nearest_folds_deal_only_blocks_with_labels() -> None:
    dataset = one(60, 80)
    dataset.layers[0].mask[:, 30:] = -100  # labels in the west only
    folds = nearest_folds(dataset, 3, block_size_m=300, buffer_m=0, seed=1)
    assert folds.matched is not None and folds.method == "nearest"
    west = dataset.scenes()[0].footprint.bounds[0]
    assert all(f.test.geometry.bounds[2] <= west + 30 * 30 + 1e-6 for f in folds.folds)
    assert (times_tested(dataset, folds)[:, :30] == 1).all()


def test_folds_that_cannot_be_are_refused() -> None:
    dataset = one(40, 50)
    with pytest.raises(BadInput, match="9 folds of 4 blocks"):
        block_folds(dataset, 9, block_size_m=750)
    with pytest.raises(BadInput, match="leaves nothing to train on"):
        block_folds(dataset, 2, block_size_m=300, buffer_m=5000)
    with pytest.raises(BadInput, match="cannot be matched"):
        match_folds(np.zeros((3, 2)), np.zeros((5, 2)), 4)
