"""Samplers: every valid pixel, one seed, no window where there is nothing."""

from __future__ import annotations

from datetime import datetime

import numpy as np
import pytest
import shapely
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from shapely.affinity import rotate
from torch.utils.data import DataLoader

from geotoolbox.core.query import Region, TimeInterval
from geotoolbox.errors import BadInput, NoOverlap
from geotoolbox.sampling import (
    GridGeoSampler,
    PreChippedGeoSampler,
    RandomBatchGeoSampler,
    RandomGeoSampler,
    SampleList,
    stack_samples,
)
from tests.sampling.memory import MemoryDataset, layer, one, pixels

torch.set_num_threads(1)


def seen(sampler, dataset, number=0):
    scene = dataset.scenes()[number]
    count = np.zeros(scene.geobox.shape, int)
    for query in sampler:
        r, c, h, w = pixels(query, scene)
        count[max(r, 0) : r + h, max(c, 0) : c + w] += 1
    return count


@settings(max_examples=25, deadline=None)
@given(
    st.integers(1, 40), st.integers(1, 40), st.integers(1, 24), st.integers(1, 24),
    st.integers(1, 24), st.booleans(),
)  # fmt: skip
def test_law_11_the_grid_covers_every_pixel_and_overhangs_only_small_scenes(
    height, width, sh, sw, stride, half
):
    dataset = one(height, width)
    step = (min(stride, sh), min(stride, sw)) if half else None
    sampler = GridGeoSampler(dataset, (sh, sw), step)
    assert seen(sampler, dataset).min() >= 1
    assert len(sampler) == len(list(sampler))
    scene = dataset.scenes()[0]
    for query in sampler:
        r, c, h, w = pixels(query, scene)
        assert (r >= 0 and r + h <= height) or height < sh
        assert (c >= 0 and c + w <= width) or width < sw


@pytest.mark.parametrize(("height", "width", "size"), [(20, 23, 7), (16, 16, 16), (5, 30, 9), (1, 6, 4)])
def test_law_11_random_windows_reach_every_pixel_and_every_offset(height, width, size):
    dataset = one(height, width)
    sampler = RandomGeoSampler(dataset, size, 2500, seed=1)
    assert seen(sampler, dataset).min() >= 1
    rows = {pixels(q, dataset.scenes()[0])[0] for q in sampler}
    expected = range(height - size + 1) if height >= size else range(height - size, 1)
    assert rows == set(expected)


def test_small_scenes_are_not_dropped():
    dataset = MemoryDataset([layer(64, 64), layer(6, 9, x=510_000)], classes=3)
    assert len({q.geobox.crs for q in GridGeoSampler(dataset, 32)}) == 1
    grid = [q for q in GridGeoSampler(dataset, 32) if q.geobox.affine.c > 490_000]
    assert len(grid) == 1
    assert dataset.read(grid[0]).valid.sum() == 54
    drawn = [q for q in RandomGeoSampler(dataset, 32, 2000, seed=0) if q.geobox.affine.c > 490_000]
    assert drawn and all(dataset.read(q).valid.sum() == 54 for q in drawn)


def test_scenes_are_drawn_by_their_area():
    dataset = MemoryDataset([layer(60, 60), layer(30, 60, x=500_000)], classes=3)
    east = sum(q.geobox.affine.c > 490_000 for q in RandomGeoSampler(dataset, 8, 6000, seed=3))
    assert abs(east / 6000 - 1 / 3) < 0.025
    weighted = RandomGeoSampler(dataset, 8, 600, seed=3, weights={"s0": 0.0, "s1": 1.0})
    assert all(q.geobox.affine.c > 490_000 for q in weighted)


def test_one_seed_repeats_all_and_epochs_differ():
    dataset = one(80, 80)
    for make in (
        lambda: RandomGeoSampler(dataset, 8, 30, seed=5),
        lambda: RandomGeoSampler(dataset, 8, 30, seed=5, class_balanced=True),
        lambda: RandomGeoSampler(dataset, 8, 30, seed=5, within=True),
        lambda: RandomBatchGeoSampler(dataset, 8, 7, 30, seed=5),
        lambda: RandomGeoSampler(dataset, 8, 30, generator=torch.Generator().manual_seed(9)),
    ):
        torch.manual_seed(int(np.random.default_rng().integers(1000)))
        a, b = make(), make()
        first = list(a)
        assert first == list(b)
        second = list(a)
        assert second != first and second == list(b)
        a.set_epoch(0)
        assert list(a) == first


def test_without_a_seed_torch_repeats():
    dataset = one()
    torch.manual_seed(4)
    first = list(RandomGeoSampler(dataset, 8, 10))
    torch.manual_seed(4)
    assert list(RandomGeoSampler(dataset, 8, 10)) == first
    assert list(RandomGeoSampler(dataset, 8, 10)) != first


def test_the_roi_is_a_polygon_not_its_box():
    dataset = one(64, 64)
    x, y = 300_000, 4_140_000
    triangle = shapely.Polygon([(x, y), (x + 1920, y), (x, y - 1920)])
    for roi in (triangle, Region(triangle, "EPSG:32612")):
        cells = list(GridGeoSampler(dataset, 8, roi=roi))
        assert len(cells) == 36  # of 64; 28 lie wholly outside, or touch the edge with a corner
        assert all(shapely.box(*q.geobox.boundingbox).intersection(triangle).area > 0 for q in cells)
        for query in RandomGeoSampler(dataset, 8, 200, roi=roi, seed=1):
            assert shapely.box(*query.geobox.boundingbox).intersects(triangle)
        for query in RandomGeoSampler(dataset, 8, 200, roi=roi, seed=1, within=True):
            assert triangle.buffer(1e-3).covers(shapely.box(*query.geobox.boundingbox))


def test_a_region_in_another_crs_and_off_the_grid_gives_whole_pixels():
    dataset = one(64, 64)
    scene = dataset.scenes()[0]
    lonlat = Region(shapely.Point(-113.2495, 37.3888).buffer(0.004), "EPSG:4326")
    for sampler in (
        GridGeoSampler(dataset, 8, roi=lonlat),
        RandomGeoSampler(dataset, 8, 20, roi=lonlat, seed=0),
    ):
        for query in sampler:
            move = ~scene.geobox.affine * query.geobox.affine
            assert abs(move.c - round(move.c)) < 1e-6 and abs(move.f - round(move.f)) < 1e-6


def test_footprints_are_respected_as_polygons():
    whole = layer(100, 100)
    tilted = rotate(shapely.box(*whole.geobox.boundingbox), 45).intersection(
        shapely.box(*whole.geobox.boundingbox)
    )
    thin = tilted.buffer(-1300)
    dataset = MemoryDataset(
        [type(whole)(whole.image, whole.valid, whole.mask, whole.geobox, footprint=thin)], classes=3
    )
    for query in RandomGeoSampler(dataset, 1, 300, seed=0):
        assert shapely.box(*query.geobox.boundingbox).intersects(thin)


def test_time_chooses_scenes():
    may, june = (TimeInterval(datetime(2020, m, 1), datetime(2020, m, 28)) for m in (5, 6))
    dataset = MemoryDataset([layer(20, 20, time=may), layer(20, 20, seed=1, time=june)], classes=3)
    assert {q.time for q in RandomGeoSampler(dataset, 4, 40, seed=0)} == {may, june}
    assert {q.time for q in GridGeoSampler(dataset, 4, toi=may)} == {may}
    with pytest.raises(NoOverlap):
        GridGeoSampler(dataset, 4, toi=TimeInterval(datetime(2021, 1, 1), None))


def test_class_balance_draws_rare_classes_as_often():
    rare = layer(100, 100)
    mask = np.zeros((100, 100), np.int64)
    mask[70, 30], mask[0, 99] = 1, 2
    dataset = MemoryDataset([type(rare)(rare.image, rare.valid, mask, rare.geobox)], classes=3)
    queries = list(RandomGeoSampler(dataset, 9, 600, seed=0, class_balanced=True))
    hits = [sum((dataset.read(q).mask == c).any() for q in queries) / 600 for c in (1, 2)]
    assert min(hits) > 0.28
    places = {pixels(q, dataset.scenes()[0])[:2] for q in queries if (dataset.read(q).mask == 1).any()}
    assert len(places) > 40  # the pixel stands anywhere in its windows
    with pytest.raises(BadInput, match="labels"):
        RandomGeoSampler(MemoryDataset([rare]), 9, class_balanced=True)


def test_batches_are_of_one_scene_and_near():
    dataset = MemoryDataset([layer(300, 300), layer(300, 300, x=500_000)], classes=3)
    sampler = RandomBatchGeoSampler(dataset, 8, 16, 100, seed=0)
    batches = list(sampler)
    assert [len(b) for b in batches] == [16] * 6 + [4] and len(sampler) == 7
    for batch in batches:
        x = [q.geobox.affine.c for q in batch]
        assert max(x) - min(x) <= 30 * 8 * 9
    assert len({b[0].geobox.affine.c > 490_000 for b in batches}) == 2


def test_within_stays_inside_or_says_that_it_cannot():
    dataset = one(20, 20)
    offsets = {
        pixels(q, dataset.scenes()[0])[:2] for q in RandomGeoSampler(dataset, 18, 300, seed=0, within=True)
    }
    assert offsets == {(r, c) for r in range(3) for c in range(3)}
    with pytest.raises(NoOverlap, match="21 × 21"):
        list(RandomGeoSampler(dataset, 21, 3, seed=0, within=True))


def test_sizes_in_crs_units_and_bad_options():
    dataset = one(40, 50)
    assert next(iter(GridGeoSampler(dataset, (300.0, 600.0), units="crs"))).geobox.shape == (10, 20)
    assert len(GridGeoSampler(dataset, 10, overlap=5)) == 7 * 9
    for bad in (
        lambda: GridGeoSampler(dataset, 0),
        lambda: GridGeoSampler(dataset, 10.5),
        lambda: GridGeoSampler(dataset, 10, overlap=10),
        lambda: GridGeoSampler(dataset, 10, 5, overlap=5),
        lambda: RandomGeoSampler(dataset, 10, 0),
        lambda: RandomGeoSampler(dataset, 10, seed=1, generator=torch.Generator()),
        lambda: RandomGeoSampler(dataset, 10, weights=[1.0, 2.0]),
        lambda: RandomGeoSampler(dataset, 10, weights=[-1.0]),
        lambda: RandomBatchGeoSampler(dataset, 10, 0),
    ):
        with pytest.raises(BadInput):
            bad()
    with pytest.raises(NoOverlap, match="°E"):
        RandomGeoSampler(dataset, 10, roi=shapely.box(0, 0, 1, 1))


def test_prechipped_visits_each_scene_once():
    dataset = MemoryDataset([layer(8, 8, x=300_000 + 9_000 * i) for i in range(6)], classes=3)
    boxes = [s.geobox for s in dataset.scenes()]
    assert [q.geobox for q in PreChippedGeoSampler(dataset)] == boxes
    shuffled = PreChippedGeoSampler(dataset, shuffle=True, seed=2)
    first, second = [q.geobox for q in shuffled], [q.geobox for q in shuffled]
    assert first != second and set(first) == set(second) == set(boxes)


def test_a_loader_gives_the_pixels_of_the_windows():
    dataset = one(40, 40)
    sampler = RandomGeoSampler(dataset, 8, 10, seed=0)
    expected = list(RandomGeoSampler(dataset, 8, 10, seed=0))
    batches = list(DataLoader(dataset, batch_size=4, sampler=sampler, collate_fn=stack_samples))
    image = torch.cat([b["image"] for b in batches])
    assert torch.equal(image, torch.stack([torch.from_numpy(dataset.read(q).image) for q in expected]))
    batched = DataLoader(
        dataset, batch_sampler=RandomBatchGeoSampler(dataset, 8, 4, 10, seed=0), collate_fn=stack_samples
    )
    assert [len(b["mask"]) for b in batched] == [4, 4, 2]


@pytest.mark.parametrize("suffix", [".parquet", ".gpkg", ".geojson"])
def test_a_sample_list_is_replayed_bit_for_bit(tmp_path, suffix):
    time = TimeInterval(datetime(2020, 5, 1, 10, 30), datetime(2020, 5, 2))
    dataset = MemoryDataset([layer(40, 40, time=time), layer(40, 40, x=500_000.123)], classes=3)
    chips = SampleList.from_sampler(RandomGeoSampler(dataset, 8, 12, seed=0))
    path = tmp_path / f"chips{suffix}"
    chips.save(path)
    again = SampleList.open(path)
    assert again == chips
    edited = chips.to_geodataframe().iloc[[3, 1]]
    assert list(SampleList.from_geodataframe(edited)) == [chips.queries[3], chips.queries[1]]


def test_a_broken_sample_list_names_the_row(tmp_path):
    frame = SampleList.from_sampler(GridGeoSampler(one(), 20)).to_geodataframe()
    frame.loc[1, "height"] = -3
    with pytest.raises(BadInput, match="row 1"):
        SampleList.from_geodataframe(frame)
    with pytest.raises(BadInput, match="columns crs"):
        SampleList.from_geodataframe(frame.drop(columns="crs"))
    with pytest.raises(BadInput, match=r"\.txt"):
        SampleList(()).save(tmp_path / "a.txt")
