"""Sampling from files: what a loader gives is what stands in them."""

from __future__ import annotations

import numpy as np
import pytest
import rasterio
import shapely
import torch
from affine import Affine
from torch.utils.data import DataLoader

from geotoolbox.datasets import RasterDataset
from geotoolbox.sampling import (
    GridGeoSampler,
    RandomBatchGeoSampler,
    RandomGeoSampler,
    check_disjoint,
    spatial_split,
    stack_samples,
    unbind_samples,
)
from geotoolbox.transforms import compute_class_statistics, compute_statistics
from tests.make import NORTH_UP, write_raster

torch.set_num_threads(1)


@pytest.fixture
def files(tmp_path):
    rng = np.random.default_rng(0)
    image = rng.integers(1, 4000, (2, 90, 110)).astype("uint16")
    image[:, 20:30, 40:60] = 0
    labels = rng.integers(1, 4, (90, 110)).astype("uint8")
    return (
        write_raster(tmp_path / "image.tif", image, nodata=0, names=["red", "nir"]),
        write_raster(tmp_path / "labels.tif", labels, nodata=0),
        image,
        labels,
    )


def joined(files):
    return RasterDataset(files[0]) & RasterDataset(files[1], kind="labels")


def test_batches_hold_the_pixels_of_the_files(files):
    ds = joined(files)
    for sampler in (
        {"sampler": RandomGeoSampler(ds, 32, 12, seed=0), "batch_size": 5},
        {"sampler": GridGeoSampler(ds, 32, overlap=8), "batch_size": 5},
        {"batch_sampler": RandomBatchGeoSampler(ds, 32, 5, 12, seed=0)},
        {"sampler": RandomGeoSampler(ds, 32, 12, seed=0, class_balanced=True), "batch_size": 5},
    ):
        for batch in DataLoader(ds, collate_fn=stack_samples, **sampler):
            for sample in unbind_samples(batch):
                move = ~NORTH_UP * Affine(*sample["transform"].tolist())
                row, col = round(move.f), round(move.c)
                part = np.s_[row : row + 32, col : col + 32]
                assert (sample["image"].numpy() == files[2][:, part[0], part[1]]).all()
                assert (sample["valid"].numpy() == (files[2][0][part] > 0)).all()


def test_every_valid_pixel_of_the_file_is_drawn(files):
    ds = joined(files)
    drawn = np.zeros((90, 110), bool)
    for query in RandomGeoSampler(ds, 16, 1500, seed=0):
        move = ~NORTH_UP * query.geobox.affine
        drawn[round(move.f) : round(move.f) + 16, round(move.c) : round(move.c) + 16] = True
    assert not (~drawn & (files[2][0] > 0)).any()


def test_windows_within_reach_the_border_of_the_file(files):
    ds = joined(files)
    corner = shapely.box(300_000, 4_139_400, 300_600, 4_140_000)
    moves = [
        ~NORTH_UP * q.geobox.affine for q in RandomGeoSampler(ds, 14, 900, roi=corner, seed=0, within=True)
    ]
    assert {(round(m.f), round(m.c)) for m in moves} == {(r, c) for r in range(7) for c in range(7)}


def test_two_workers_read_what_one_does(files):
    ds = joined(files)
    one, two = (
        torch.cat([b["image"] for b in DataLoader(
            ds, batch_size=4, sampler=RandomGeoSampler(ds, 16, 12, seed=3), collate_fn=stack_samples, num_workers=n
        )])
        for n in (0, 2)
    )  # fmt: skip
    assert torch.equal(one, two)


def test_law_7_a_split_of_files_shares_no_pixel(files):
    ds = joined(files)
    split = spatial_split(ds, block_px=15, buffer_m=60, stratify=True)
    check_disjoint(split.train, split.val, 59.9)
    count = np.zeros((90, 110), int)
    for part in split.datasets.values():
        here = np.zeros((90, 110), bool)
        for query in GridGeoSampler(part, 24):
            reading = part.read(query)
            move = ~NORTH_UP * query.geobox.affine
            rows, cols = np.nonzero(reading.valid)
            here[rows + round(move.f), cols + round(move.c)] = True
        assert here.any()
        count += here
    assert count.max() == 1


def test_statistics_of_files_leave_nodata_out(files):
    ds = joined(files)
    found = compute_statistics(ds, indices=["NDVI"])
    with rasterio.open(files[0]) as source:
        values = source.read(masked=True).astype(np.float64)
    np.testing.assert_allclose(found.mean[:2], values.mean(axis=(1, 2)), rtol=1e-9)
    np.testing.assert_allclose(found.std[:2], values.std(axis=(1, 2)), rtol=1e-9)
    counts = compute_class_statistics(ds).counts
    assert counts == tuple(int(((files[3] == c) & (files[2][0] > 0)).sum()) for c in (1, 2, 3))
