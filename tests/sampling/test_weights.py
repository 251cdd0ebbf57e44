"""Weighted sample lists, and training from them."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch
from affine import Affine
from hypothesis import given, settings
from hypothesis import strategies as st
from odc.geo.geobox import GeoBox

from geotoolbox.core.query import Query
from geotoolbox.datasets import RasterDataset
from geotoolbox.errors import BadInput, NoOverlap
from geotoolbox.sampling import ListSampler, SampleList
from geotoolbox.trainers import TrainOptions
from geotoolbox.trainers.listing import epoch_sampler, identity_of, usable_samples
from geotoolbox.trainers.source import Source
from tests.make import NORTH_UP, UTM12, write_raster


def window(col: int, row: int = 0, side: int = 8) -> Query:
    return Query(GeoBox((side, side), NORTH_UP * Affine.translation(col, row), UTM12))


def windows(count: int) -> tuple[Query, ...]:
    return tuple(window(8 * i) for i in range(count))


def test_weights_survive_every_format(tmp_path: Path) -> None:
    samples = SampleList(windows(3), (1.0, 0.25, 4.0))
    for suffix in (".parquet", ".gpkg", ".geojson"):
        samples.save(tmp_path / f"list{suffix}")
        assert SampleList.open(tmp_path / f"list{suffix}") == samples
    assert "weight" not in SampleList(windows(3)).to_geodataframe().columns


@pytest.mark.parametrize("weights", [(1.0,), (1.0, -1.0), (1.0, float("nan"))])
def test_wrong_weights_are_refused(weights: tuple[float, ...]) -> None:
    with pytest.raises(BadInput, match="no weights of samples"):
        SampleList(windows(2), weights)


@settings(max_examples=25, deadline=None)
@given(st.lists(st.floats(0, 10), min_size=1, max_size=8), st.integers(1, 60), st.integers(0, 99))
def test_each_window_comes_its_share_of_the_draws(weights: list[float], length: int, seed: int) -> None:
    if sum(weights) <= 1e-9:
        return
    samples = SampleList(windows(len(weights)), tuple(weights))
    counts = Counter(samples.queries.index(q) for q in ListSampler(samples, length, seed=seed))
    assert counts.total() == length
    for number, weight in enumerate(weights):
        share = length * weight / sum(weights)
        assert np.floor(share - 1e-6) <= counts[number] <= np.ceil(share + 1e-6)


def test_epochs_differ_and_repeat() -> None:
    samples = SampleList(windows(20))
    first, again = (ListSampler(samples, seed=5) for _ in range(2))
    one, two = list(first), list(first)
    assert one != two and set(one) == set(two) == set(samples.queries)
    assert list(again) == one
    again.set_epoch(1)
    assert list(again) == two


def test_windows_of_two_sizes_are_refused() -> None:
    with pytest.raises(BadInput, match="differ in size"):
        ListSampler(SampleList((window(0), window(8, side=4))))


@pytest.fixture
def source(tmp_path: Path) -> Source:
    image = np.arange(3 * 32 * 64, dtype="uint16").reshape(3, 32, 64) + 1
    labels = np.ones((32, 64), dtype="uint8")
    labels[:, 40:] = 0  # nodata: no label in the east
    grid = NORTH_UP
    return Source(
        RasterDataset(str(write_raster(tmp_path / "i.tif", image, transform=grid)))
        & RasterDataset(
            str(write_raster(tmp_path / "l.tif", labels, transform=grid, nodata=0)), kind="labels"
        ),
        memory_mb=10,
    )


def test_samples_without_a_training_label_are_left_out_and_told(source: Source) -> None:
    samples = SampleList((window(0), window(48), window(200)), (1.0, 2.0, 3.0))
    kept, words = usable_samples(samples, source)
    assert kept == SampleList((window(0),), (1.0,))
    assert words.startswith("2 of 3 samples")
    with pytest.raises(NoOverlap, match="no sample of the list"):
        usable_samples(SampleList((window(48),)), source)


def test_an_epoch_draws_from_the_list_alone(source: Source) -> None:
    samples = SampleList((window(0), window(8), window(16)), (1.0, 0.0, 1.0))
    options = TrainOptions(patches_per_epoch=16, batch_size=8, patch_px=32)
    drawn = Counter(samples.queries.index(q) for q in epoch_sampler(source, options, samples))
    assert drawn == {0: 8, 2: 8}
    free = list(epoch_sampler(source, options, None))
    assert {tuple(q.geobox.shape) for q in free} == {(32, 32)}
    assert identity_of(samples) != identity_of(SampleList(samples.queries))


def test_patches_are_shown_as_training_sees_them(source: Source) -> None:
    from geotoolbox.transforms import Preprocess, compute_statistics
    from geotoolbox.transforms.seen import as_seen, training_augment

    names = tuple(b.name for b in source.bands)
    preprocess = Preprocess(names, (), compute_statistics(source))
    reading = source.read(window(36))
    (plain,) = as_seen([reading], preprocess)
    expected = preprocess(torch.from_numpy(reading.image)[None], torch.from_numpy(reading.valid)[None])[0]
    assert np.array_equal(plain.image, expected.numpy())
    assert np.array_equal(plain.mask, reading.mask)
    changed = as_seen([reading], preprocess, training_augment(seed=3))[0]
    again = as_seen([reading], preprocess, training_augment(seed=3))[0]
    assert np.array_equal(changed.image, again.image) and not np.array_equal(changed.image, plain.image)
    assert sorted(changed.mask.ravel()) == sorted(plain.mask.ravel())
