"""What training reads is what the dataset holds, from memory and from files alike."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from geotoolbox.core.classes import IGNORE_INDEX
from geotoolbox.errors import BadInput
from geotoolbox.sampling import RandomGeoSampler
from geotoolbox.sampling.windows import Window, window_query
from geotoolbox.trainers.source import EnoughLabels, Patches, Source, labelled
from tests.sampling.memory import MemoryDataset, layer
from tests.trainers.scene import learnable


@settings(max_examples=25, deadline=None)
@given(
    row=st.integers(-40, 120), col=st.integers(-40, 120), height=st.integers(1, 60), width=st.integers(1, 60)
)
def test_memory_answers_as_the_dataset_does(row: int, col: int, height: int, width: int) -> None:
    dataset = learnable(70, 90)
    kept = Source(dataset, memory_mb=10)
    query = window_query(dataset.scenes()[0], Window(row, col, height, width))
    mine, its = kept.read(query), dataset.read(query)
    assert kept.in_memory
    np.testing.assert_array_equal(mine.image, its.image)
    np.testing.assert_array_equal(mine.valid, its.valid)
    np.testing.assert_array_equal(labelled(mine), labelled(its))


def test_scenes_side_by_side_are_told_apart() -> None:
    dataset = MemoryDataset([layer(20, 20, seed=1), layer(20, 20, seed=2, x=300_000 + 20 * 30)], classes=3)
    kept = Source(dataset, memory_mb=10)
    for scene, seed in zip(dataset.scenes(), (1, 2), strict=True):
        reading = kept.read(window_query(scene, Window(0, 0, 20, 20)))
        np.testing.assert_array_equal(reading.image, layer(20, 20, seed=seed).image)


@pytest.mark.parametrize("memory_mb", [0, 10])
@pytest.mark.parametrize("halo", [0, 7])
def test_blocks_hold_each_pixel_once(memory_mb: int, halo: int) -> None:
    dataset = learnable(70, 90)
    source = Source(dataset, memory_mb=memory_mb)
    total = np.zeros(3, dtype=np.int64)
    for reading, core in source.blocks(32, halo):
        truth = labelled(reading)[core.row : core.row + core.height, core.col : core.col + core.width]
        total += np.bincount(truth[truth >= 0], minlength=3)
    scene = dataset.layers[0]
    expected = np.bincount(scene.mask[scene.valid & (scene.mask >= 0)], minlength=3)
    np.testing.assert_array_equal(total, expected)
    np.testing.assert_array_equal(source.class_counts(), expected)


def test_patches_have_no_label_where_not_valid() -> None:
    source = Source(learnable(), memory_mb=10)
    sample = Patches(source)[window_query(source.scenes()[0], Window(0, 0, 20, 20))]
    assert bool((sample["mask"][:10, :10] == IGNORE_INDEX).all()) and not bool(
        sample["valid"][:10, :10].any()
    )
    assert bool((sample["mask"][10:] >= 0).all())


def test_patches_with_too_few_labels_are_drawn_anew() -> None:
    dataset = learnable()
    dataset.layers[0].mask[:, 40:] = IGNORE_INDEX
    source = Source(dataset, memory_mb=10)
    sampler = EnoughLabels(RandomGeoSampler(dataset, 16, 120, seed=1), source, 20, 0.5)
    shares = [(labelled(source.read(q)) >= 0).mean() for q in sampler]
    assert len(shares) == len(sampler) == 20 and min(shares) >= 0.5
    sampler.set_epoch(0)
    again = [q.geobox for q in sampler]
    sampler.set_epoch(0)
    assert again == [q.geobox for q in sampler]


def test_images_without_labels_are_refused() -> None:
    layers: Any = [layer(8, 8, classes=0)]
    with pytest.raises(BadInput, match="images & labels"):
        Source(MemoryDataset(layers))
