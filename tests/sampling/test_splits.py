"""Splits: no pixel of one part is ever read for another."""

from __future__ import annotations

import itertools
from datetime import datetime

import numpy as np
import pytest
import shapely
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from geotoolbox.core.query import Query, Region, TimeInterval
from geotoolbox.errors import BadInput
from geotoolbox.sampling import (
    GridGeoSampler,
    RandomGeoSampler,
    Split,
    check_disjoint,
    spatial_split,
    split_by_file,
    split_by_polygons,
    split_by_time,
)
from tests.sampling.memory import MemoryDataset, layer, one

torch.set_num_threads(1)


def valid_masks(split, dataset):
    box = dataset.scenes()[0].geobox
    return {name: part.read(Query(box)).valid for name, part in split.datasets.items()}


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 1000), st.integers(6, 20), st.integers(0, 90), st.booleans())
def test_law_7_no_pixel_is_in_two_parts_and_the_buffer_holds(seed, block_px, buffer_m, stratify):
    dataset = one(60, 70, seed=seed)
    split = spatial_split(dataset, block_px=block_px, buffer_m=buffer_m, stratify=stratify, seed=seed)
    masks = valid_masks(split, dataset)
    assert all(m.any() for m in masks.values())
    for a, b in itertools.combinations(masks.values(), 2):
        assert not (a & b).any()
        near, far = np.argwhere(a), np.argwhere(b)
        nearest = min(np.hypot(*(far - p).T).min() for p in near) * 30
        assert nearest >= max(buffer_m, 30) - 1e-6
    if buffer_m == 0:
        assert sum(m.sum() for m in masks.values()) == 60 * 70


def test_law_7_validation_windows_read_no_training_pixel():
    dataset = one(80, 80)
    split = spatial_split(dataset, {"train": 0.5, "val": 0.5}, block_px=16, buffer_m=60, seed=1)
    read = {}
    for name, sampler in (
        ("train", RandomGeoSampler(split.train, 24, 400, seed=0)),
        ("val", GridGeoSampler(split.val, 24, 12)),
    ):
        ids = torch.zeros(80, 80, dtype=torch.bool)
        for query in sampler:
            reading = split[name].read(query)
            move = ~dataset.scenes()[0].geobox.affine * query.geobox.affine
            rows, cols = np.nonzero(reading.valid)
            ids[rows + round(move.f), cols + round(move.c)] = True
            assert (reading.image[:, ~reading.valid] == 0).all() and (
                reading.mask[~reading.valid] == -100
            ).all()
        read[name] = ids
    assert not (read["train"] & read["val"]).any()
    # and each part is read to its last pixel
    masks = valid_masks(split, dataset)
    assert (read["train"].numpy() == masks["train"]).all() and (read["val"].numpy() == masks["val"]).all()


def test_fractions_are_met_and_a_rest_is_left_out():
    dataset = one(100, 100)
    masks = valid_masks(spatial_split(dataset, block_px=10, buffer_m=0, seed=3), dataset)
    assert [round(masks[n].mean(), 2) for n in ("train", "val", "test")] == [0.7, 0.15, 0.15]
    part = valid_masks(spatial_split(dataset, [0.3, 0.2], block_px=10, buffer_m=0), dataset)
    assert [round(part[n].mean(), 2) for n in ("train", "val")] == [0.3, 0.2]


def test_one_seed_repeats_the_split():
    dataset = one(100, 100)
    first, again, other = (spatial_split(dataset, seed=s) for s in (1, 1, 2))
    assert all(first.regions[n].geometry.equals(again.regions[n].geometry) for n in first.regions)
    assert not first.regions["train"].geometry.equals(other.regions["train"].geometry)


def test_stratified_parts_each_get_the_rare_class():
    plain = layer(100, 100)
    mask = np.zeros((100, 100), np.int64)
    mask[2:6, 2:6], mask[52:56, 52:56], mask[92:96, 12:16], mask[12:16, 92:96] = 1, 1, 1, 1
    dataset = MemoryDataset([type(plain)(plain.image, plain.valid, mask, plain.geobox)], classes=2)
    for seed in range(5):
        split = spatial_split(
            dataset,
            {"train": 0.5, "val": 0.25, "test": 0.25},
            block_px=10,
            buffer_m=0,
            stratify=True,
            seed=seed,
        )
        rare = {n: int(((mask == 1) & m).sum()) for n, m in valid_masks(split, dataset).items()}
        assert rare == {"train": 32, "val": 16, "test": 16}


def test_several_crss_split_on_the_ground():
    east = layer(60, 60, crs="EPSG:32633", x=300_000, y=5_000_000)
    west = layer(60, 60, crs="EPSG:32632", x=770_000, y=5_000_000)
    dataset = MemoryDataset([west, east], classes=3)
    split = spatial_split(dataset, {"train": 0.6, "val": 0.4}, block_size_m=300, buffer_m=60)
    check_disjoint(split.train, split.val, 59)
    masks = [[p.read(Query(s.geobox)).valid for p in (split.train, split.val)] for s in dataset.scenes()]
    assert all(not (a & b).any() for a, b in masks)
    with pytest.raises(BadInput, match="several CRSs"):
        spatial_split(dataset, block_size_m=300, buffer_m=0)


def test_r69_shared_pixels_and_too_small_distances_are_refused():
    x, y = 300_000, 4_140_000
    left = Region(shapely.box(x, y - 1200, x + 600, y), "EPSG:32612")
    right = Region(shapely.box(x + 660, y - 1200, x + 1500, y), "EPSG:32612")
    over = Region(shapely.box(x + 570, y - 1200, x + 1500, y), "EPSG:32612")
    dataset = one(40, 50)
    check_disjoint(left, right, 60)
    with pytest.raises(BadInput, match=r"60\.0 m apart.*at least 90\.0 m"):
        check_disjoint(left, right, 90)
    with pytest.raises(BadInput, match=r"36,0\d\d m² in both|35,9\d\d m² in both"):
        check_disjoint(left, over)
    with pytest.raises(BadInput, match="train and val"):
        split_by_polygons(dataset, {"train": left, "val": over})
    with pytest.raises(BadInput, match="apart"):
        check_disjoint(dataset, dataset)
    with pytest.raises(BadInput, match="in both"):
        check_disjoint(dataset.within(left), dataset.within(over))
    split = split_by_polygons(dataset, {"train": left, "val": right}, buffer_m=60)
    masks = valid_masks(split, dataset)
    assert masks["train"].sum() == 40 * 20 and masks["val"].sum() == 40 * 28


def test_a_split_is_saved_and_repeats(tmp_path):
    dataset = one(80, 80)
    split = spatial_split(dataset, block_px=10, buffer_m=30)
    for suffix in (".gpkg", ".parquet"):
        path = tmp_path / f"split{suffix}"
        split.save(path)
        again = Split.open(path, dataset)
        assert again.buffer_m == 30
        one_, two = valid_masks(split, dataset), valid_masks(again, dataset)
        assert all((one_[n] == two[n]).all() for n in one_)


def test_files_that_overlap_stay_together():
    layers = [layer(20, 20, x=300_000 + 600 * i, seed=i) for i in range(6)]
    layers += [layer(20, 20, x=300_300, seed=9)]  # over the first two
    dataset = MemoryDataset(layers, classes=3)
    split = split_by_file(dataset, {"train": 0.6, "val": 0.4}, seed=0)
    names = {n: {s.name for s in p.scenes() if s.footprint.area > 1} for n, p in split.datasets.items()}
    assert not names["train"] & names["val"] and len(names["train"] | names["val"]) == 7
    together = [n for n, found in names.items() if {"s0", "s1", "s6"} <= found]
    assert len(together) == 1
    with pytest.raises(BadInput, match="spatial_split"):
        split_by_file(MemoryDataset([layer(20, 20), layer(20, 20, seed=1)], classes=3), [0.5, 0.5])


def test_split_by_time_gives_the_scenes_of_each_time():
    may, june = (TimeInterval(datetime(2020, m, 1), datetime(2020, m, 28)) for m in (5, 6))
    dataset = MemoryDataset([layer(20, 20, time=may), layer(20, 20, seed=1, time=june)], classes=3)
    split = split_by_time(dataset, {"train": may, "val": june})
    box = dataset.scenes()[0].geobox
    assert (split.train.read(Query(box)).image == dataset.layers[0].image).all()
    assert (split.val.read(Query(box)).image == dataset.layers[1].image).all()
    assert not split.val.read(Query(box, may)).valid.any()
    check_disjoint(split.train, split.val)
    with pytest.raises(BadInput, match="share a time"):
        split_by_time(dataset, {"train": may, "val": may})
    with pytest.raises(BadInput, match="two parts"):
        split_by_time(one(), {"train": may, "val": june})


@pytest.mark.parametrize(
    "options",
    [
        {"fractions": {"train": 0.9, "val": 0.2}}, {"fractions": {"train": 0.0}}, {"block_px": 8, "block_size_m": 9},
        {"block_px": 10, "buffer_m": 300}, {"block_px": 100}, {"buffer_m": -1}, {"block_size_m": 3},
    ],
)  # fmt: skip
def test_splits_that_make_no_sense_are_refused(options):
    with pytest.raises(BadInput):
        spatial_split(one(40, 40), **options)
