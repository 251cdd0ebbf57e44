"""Reading from many samples, processes, threads and files: the same pixels, few open files, and flat memory."""

from __future__ import annotations

import multiprocessing
import os
import resource
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch
from affine import Affine
from torch.utils.data import DataLoader

from geotoolbox import GridGeoSampler, RandomBatchGeoSampler, RandomGeoSampler, RasterDataset, stack_samples
from geotoolbox.core.opening import HandleCache, handles
from geotoolbox.datasets import GeoDataset
from tests.make import NORTH_UP, ramp, write_raster

SIDE = 300


def _image(row: int, col: int, height: int, width: int) -> np.ndarray:
    return np.stack([ramp(SIDE, SIDE), ramp(SIDE, SIDE, 7, 2)])[:, row : row + height, col : col + width]


@pytest.fixture(params=["plain", "deflate"])
def pair(request: pytest.FixtureRequest, tmp_path: Path) -> GeoDataset:
    """An image whose values tell the place, and classes on another grid (30 m further east, 45 m pixels)."""
    more = {"compress": "deflate"} if request.param == "deflate" else {}
    tiles = {"tiled": True, "blockxsize": 64, "blockysize": 64, **more}
    write_raster(tmp_path / "image.tif", _image(0, 0, SIDE, SIDE), interleave="pixel", **tiles)
    rows, cols = np.mgrid[0:200, 0:200]
    write_raster(
        tmp_path / "classes.tif", ((rows // 5 + cols // 7) % 4 + 1).astype("uint8"),
        transform=Affine(45.0, 0, 300_000.0, 0, -45.0, 4_140_000.0), **tiles,
    )  # fmt: skip
    classes = {1: "a", 2: "b", 3: "c", 4: "d"}
    return RasterDataset(str(tmp_path / "image.tif"), kind="image") & RasterDataset(
        str(tmp_path / "classes.tif"), classes=classes
    )


def _wrong(batch: dict[str, torch.Tensor]) -> int:
    """Count the samples of a batch whose pixels are not those of their place."""
    wrong = 0
    for image, mask, transform in zip(batch["image"], batch["mask"], batch["transform"], strict=True):
        a = transform.tolist()
        col, row = round((a[2] - NORTH_UP.c) / 30), round((a[5] - NORTH_UP.f) / -30)
        size = image.shape[1:]
        rows = ((np.arange(row, row + size[0]) + 0.5) * 30 // 45).astype(int)[:, None]
        cols = ((np.arange(col, col + size[1]) + 0.5) * 30 // 45).astype(int)[None, :]
        truth = (rows // 5 + cols // 7) % 4
        wrong += not (
            np.array_equal(image.numpy(), _image(row, col, *size)) and np.array_equal(mask.numpy(), truth)
        )
    return wrong


def _loader(dataset: GeoDataset, count: int, **options: object) -> DataLoader[dict[str, torch.Tensor]]:
    sampler = RandomGeoSampler(dataset, 48, count, seed=1)
    return DataLoader(dataset, batch_size=8, sampler=sampler, collate_fn=stack_samples, **options)  # type: ignore[arg-type]


def test_a_batch_is_its_samples_and_one_block_of_memory(pair: GeoDataset) -> None:
    queries = list(RandomGeoSampler(pair, 48, 8, seed=3))
    batch = stack_samples(pair.__getitems__(queries))
    alone = stack_samples([pair[q] for q in queries])
    for key in ("image", "mask", "valid", "transform", "bounds"):
        assert torch.equal(batch[key], alone[key])
    assert _wrong(batch) == 0
    samples = pair.__getitems__(queries)
    assert stack_samples(samples)["image"].data_ptr() == samples[0]["image"].data_ptr(), "no copy"
    assert torch.equal(stack_samples(samples[::-1])["image"], alone["image"].flip(0)), (
        "another order is copied"
    )
    assert torch.equal(stack_samples(samples[2:5])["mask"], alone["mask"][2:5])


def test_a_batch_of_windows_of_two_sizes_and_of_a_changed_dataset(pair: GeoDataset) -> None:
    small, large = (
        next(iter(RandomGeoSampler(pair, 32, 1, seed=1))),
        next(iter(RandomGeoSampler(pair, 40, 1))),
    )
    shapes = [tuple(s["image"].shape) for s in pair.__getitems__([small, large])]
    assert shapes == [(2, 32, 32), (2, 40, 40)]
    pair.transforms = lambda sample: {**sample, "image": sample["image"] + 1}
    queries = list(RandomGeoSampler(pair, 32, 4, seed=2))
    batch = stack_samples(pair.__getitems__(queries))
    assert torch.equal(batch["image"], torch.stack([pair[q]["image"] for q in queries]))


@pytest.mark.parametrize(
    ("pair", "method"), [("plain", "fork"), ("deflate", "fork"), ("deflate", "spawn")], indirect=["pair"]
)
def test_workers_after_the_parent_has_read(pair: GeoDataset, method: str) -> None:
    assert _wrong(stack_samples(pair.__getitems__(list(RandomGeoSampler(pair, 48, 8, seed=5))))) == 0
    context = multiprocessing.get_context(method)
    loader = _loader(pair, 64, num_workers=2, multiprocessing_context=context, persistent_workers=True)
    for _ in range(2):  # the same workers again
        assert [_wrong(batch) for batch in loader] == [0] * 8
    assert _wrong(stack_samples(pair.__getitems__(list(RandomGeoSampler(pair, 48, 8, seed=6))))) == 0


def test_threads_read_at_once(pair: GeoDataset) -> None:
    queries = [list(RandomGeoSampler(pair, 48, 16, seed=n)) for n in range(4)]
    with ThreadPoolExecutor(4) as pool:
        wrong = list(pool.map(lambda some: _wrong(stack_samples(pair.__getitems__(some))), queries))
    assert wrong == [0] * 4


def test_locality_draws_neighbours_and_every_place_alike(pair: GeoDataset) -> None:
    sampler = RandomGeoSampler(pair, 16, 4000, seed=4, locality=16)
    queries = list(sampler)
    assert len(queries) == 4000
    place = np.array([(q.geobox.affine.c, q.geobox.affine.f) for q in queries])
    centres = (place - (NORTH_UP.c, NORTH_UP.f)) / (30, -30) + 8
    # All windows of a scene smaller than a cell of 512 px come from one cell: uniform, edges apart.
    counts, _, _ = np.histogram2d(*centres.T, bins=4, range=[[8, SIDE - 8]] * 2)
    assert counts.min() > 150 and counts.max() < 400
    assert [q.geobox for q in sampler] != [q.geobox for q in queries], "each epoch is another"


def test_locality_meets_fewer_blocks_on_a_large_scene(tmp_path: Path) -> None:
    path = write_raster(tmp_path / "large.tif", np.ones((4096, 4096), "uint8"))
    dataset = RasterDataset(str(path), kind="image", footprints=False)

    def blocks(locality: int) -> int:
        met = 0
        queries = list(RandomGeoSampler(dataset, 256, 64, seed=1, locality=locality))
        for start in range(0, 64, 16):
            seen = set()
            for query in queries[start : start + 16]:
                a = query.geobox.affine
                col, row = round((a.c - NORTH_UP.c) / 30), round((a.f - NORTH_UP.f) / -30)
                seen |= {
                    (r, c) for r in (row // 512, (row + 255) // 512) for c in (col // 512, (col + 255) // 512)
                }
            met += len(seen)
        return met

    assert blocks(16) < blocks(1) / 2


def test_a_thousand_files_in_turn_with_few_handles(tmp_path: Path) -> None:
    first = write_raster(tmp_path / "0000.tif", np.full((16, 16), 1, "uint8"))
    paths = [str(first)]
    for number in range(1, 1000):
        path = tmp_path / f"{number:04d}.tif"
        os.link(first, path) if number % 2 else path.write_bytes(first.read_bytes())
        paths.append(str(path))
    cache, before = HandleCache(size=20), len(os.listdir("/proc/self/fd"))
    most = 0
    for path in paths:
        with cache.hold(path) as handle:
            assert handle.plain is not None
            values = handle.plain.read((1,), 0, 0, 16, 16)
            assert values is not None and values.min() == values.max() == 1
        most = max(most, len(os.listdir("/proc/self/fd")) - before)
    assert len(cache) == 20
    assert most <= 2 * 20 + 2
    cache.clear()
    assert len(os.listdir("/proc/self/fd")) <= before + 1


def test_many_tiles_of_one_dataset_stay_within_the_limit_of_open_files(tmp_path: Path) -> None:
    count = 300
    for number in range(count):
        at = NORTH_UP @ Affine.translation(16 * (number % 20), 16 * (number // 20))
        write_raster(
            tmp_path / f"{number:03d}.tif", np.full((16, 16), number % 250 + 1, "uint8"), transform=at
        )
    dataset = RasterDataset(str(tmp_path), kind="image", footprints=False)
    handles().clear()
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    limit = min(
        soft, len(os.listdir("/proc/self/fd")) + 2 * handles().size * (threading.active_count() + 2) + 40
    )
    resource.setrlimit(resource.RLIMIT_NOFILE, (limit, hard))
    try:
        for query in GridGeoSampler(dataset, 16):
            image = dataset[query]["image"]
            assert image.min() == image.max() > 0
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert len(handles()) <= handles().size


def _resident_mb() -> float:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6


@pytest.mark.parametrize("pair", ["plain"], indirect=True)
def test_memory_is_flat_over_five_thousand_samples(pair: GeoDataset) -> None:
    def read(batches: int, seed: int) -> None:
        sampler = RandomBatchGeoSampler(pair, 32, 50, batches * 50, seed=seed)
        for number, batch in enumerate(DataLoader(pair, batch_sampler=sampler, collate_fn=stack_samples)):
            assert number % 10 or _wrong(batch) == 0

    read(20, 0)
    before = _resident_mb()
    read(100, 1)
    assert _resident_mb() - before < 25, "MB more after 5,000 samples"
