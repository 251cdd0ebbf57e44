"""predict_scene: files, resuming, failures, locks, cancellation and the disk."""

from __future__ import annotations

import fcntl
import json
import os
import resource
import signal
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import rasterio
import torch
from affine import Affine
from shapely.geometry import box
from torch import Tensor

from geotoolbox.core.events import Event, Progress
from geotoolbox.core.query import Region, Scene
from geotoolbox.errors import (
    BadInput,
    BandMismatch,
    BlocksFailed,
    Cancelled,
    CannotWrite,
    Locked,
    ModelFailed,
    NoOverlap,
    NoSpace,
)
from geotoolbox.prediction import PredictOptions, plan_scene, predict_array, predict_scene
from geotoolbox.prediction.grids import pixel_area_m2
from geotoolbox.prediction.lattice import Window
from tests.prediction.scenes import ArrayDataset, Constant, Filter, Identity, noise

SMALL = PredictOptions(block_px=44, threads=1, batch_size=3)


class Recorder:
    """Remembers events; asks to stop after some progress."""

    def __init__(self, stop_after: float = np.inf) -> None:
        self.events: list[Event] = []
        self.stop_after = stop_after

    def emit(self, event: Event) -> None:
        self.events.append(event)

    @property
    def cancelled(self) -> bool:
        done = [e.done for e in self.events if isinstance(e, Progress)]
        return bool(done) and max(done) >= self.stop_after

    def said(self) -> str:
        return " | ".join(e.message for e in self.events if e.kind == "log")


def read(path: Path) -> np.ndarray:
    with rasterio.open(path) as source:
        return source.read()


def test_files_hold_what_memory_holds(tmp_path: Path) -> None:
    dataset = noise(3, 100, 130)
    dataset.valid[30:50, 60:100] = False
    model = Filter(channels=3, num_classes=3)
    options = replace(
        SMALL, probabilities=tmp_path / "p.tif", confidence=tmp_path / "c.tif", entropy=tmp_path / "e.tif"
    )
    result = predict_scene(dataset, model, tmp_path / "map.tif", options=options)
    probs, valid, _ = predict_array(dataset, model, options=SMALL)
    assert np.array_equal(valid, dataset.valid)
    labels = np.where(valid, np.array([10, 20, 30])[probs.argmax(0)], 255)
    assert np.array_equal(read(tmp_path / "map.tif")[0], labels)
    stored = np.where(valid, np.rint(probs * 250), 255)
    assert np.array_equal(read(tmp_path / "p.tif"), stored)
    assert np.array_equal(read(tmp_path / "c.tif")[0], np.where(valid, np.rint(probs.max(0) * 250), 255))
    entropy = -(probs * np.log(np.where(probs > 0, probs, 1))).sum(0) / np.log(3)
    assert np.abs(read(tmp_path / "e.tif")[0] - np.where(valid, entropy * 250, 255)).max() <= 0.51
    with rasterio.open(tmp_path / "map.tif") as source:
        assert (
            source.nodata == 255 and source.transform == dataset.transform and source.crs.to_epsg() == 32633
        )
        assert source.tags(ns="IMAGE_STRUCTURE").get("LAYOUT") == "COG"
    assert result.class_pixels == {f"class {i}": int((labels == 10 * (i + 1)).sum()) for i in range(3)}
    assert result.invalid_pixels == 800 and not result.failed
    assert not list(tmp_path.glob(".*"))


def test_class_areas_are_true_areas(tmp_path: Path) -> None:
    result = predict_scene(noise(2, 60, 60), Constant(), tmp_path / "m.tif", options=SMALL)
    scale = 0.9996  # of UTM on its central meridian
    assert result.class_areas_m2["class 0"] == pytest.approx(60 * 60 * 100 / scale**2, rel=1e-5)
    degrees = ArrayDataset(
        noise(1, 180, 360).image, np.ones((180, 360), bool), Affine(1, 0, -180, 0, -1, 90), "EPSG:4326"
    )
    rows = pixel_area_m2(degrees.geobox, Window(0, 180, 0, 360))
    assert rows.sum() * 360 == pytest.approx(510.0656e12, rel=2e-3)  # the Earth


def test_a_stopped_run_goes_on_and_ends_in_the_same_bytes(tmp_path: Path) -> None:
    dataset, model = noise(2, 120, 120), Filter()
    predict_scene(dataset, model, tmp_path / "a" / "map.tif", options=SMALL)
    output = tmp_path / "b" / "map.tif"
    with pytest.raises(Cancelled):
        predict_scene(dataset, model, output, options=SMALL, reporter=Recorder(stop_after=40))
    assert not output.exists() and output.with_name(".map.tif.work").is_dir()
    assert not list(output.parent.rglob("*.part*"))
    result = predict_scene(dataset, model, output, options=SMALL)
    assert result.blocks_resumed > 0
    assert output.read_bytes() == (tmp_path / "a" / "map.tif").read_bytes()


def test_a_damaged_block_is_made_again_and_another_model_starts_afresh(tmp_path: Path) -> None:
    dataset, output = noise(2, 120, 120), tmp_path / "map.tif"
    with pytest.raises(Cancelled):
        predict_scene(dataset, Filter(), output, options=SMALL, reporter=Recorder(stop_after=50))
    block = sorted((tmp_path / ".map.tif.work" / "blocks").rglob("*.tif"))[0]
    data = bytearray(block.read_bytes())
    data[-9] ^= 1
    block.write_bytes(data)
    kept = predict_scene(dataset, Filter(), output, options=replace(SMALL, keep_work=True))
    fresh = predict_scene(dataset, Filter(), tmp_path / "fresh.tif", options=SMALL)
    assert output.read_bytes() == (tmp_path / "fresh.tif").read_bytes()
    assert 0 < kept.blocks_resumed < kept.plan.blocks and fresh.blocks_resumed == 0
    other = predict_scene(dataset, Constant(), output, options=SMALL)
    assert other.blocks_resumed == 0 and (read(output) == 10).all()


def test_r13_r14_what_cannot_be_read_is_nodata_and_listed(tmp_path: Path) -> None:
    dataset, model = noise(2, 600, 400), Filter(tile_px=64)
    good, _, _ = predict_array(dataset, model, options=SMALL)
    dataset.broken = (slice(300, 310), slice(300, 310))
    recorder = Recorder()
    options = replace(SMALL, block_px=200)
    result = predict_scene(dataset, model, tmp_path / "map.tif", options=options, reporter=recorder)
    labels = read(tmp_path / "map.tif")[0]
    lost = labels == 255
    assert result.failed and "corrupt" in result.failed[0].reason and "tiles failed" in recorder.said()
    assert lost[300:310, 300:310].all() and lost.mean() < 0.5 and not lost[0, 0] and not lost[-1, -1]
    assert np.array_equal(labels[~lost], np.array([10, 20])[good.argmax(0)][~lost])
    dataset.broken = None
    again = predict_scene(dataset, model, tmp_path / "map.tif", options=options)
    assert again.failed == result.failed  # not tried again unless asked to
    mended = predict_scene(dataset, model, tmp_path / "map.tif", options=replace(options, retry_failed=True))
    assert not mended.failed and mended.blocks_resumed > 0
    assert np.array_equal(read(tmp_path / "map.tif")[0], np.array([10, 20])[good.argmax(0)])


def test_strict_aborts_at_a_failed_tile(tmp_path: Path) -> None:
    dataset = replace(noise(2, 60, 60), broken=(slice(0, 9), slice(0, 9)))
    with pytest.raises(BlocksFailed, match="corrupt"):
        predict_scene(dataset, Filter(), tmp_path / "m.tif", options=replace(SMALL, strict=True))
    assert not (tmp_path / "m.tif").exists()


def test_r74_nan_of_the_model_is_never_a_class(tmp_path: Path) -> None:
    class Sometimes(Filter):
        def __call__(self, image: Tensor, valid: Tensor) -> Tensor:
            out = super().__call__(image, valid)
            out[(image[:, 0] == 77).flatten(1).any(1)] = float("nan")
            return out

    dataset = noise(2, 120, 120)
    dataset.image[0, 50, 50] = 77
    result = predict_scene(dataset, Sometimes(), tmp_path / "m.tif", options=SMALL)
    labels = read(tmp_path / "m.tif")[0]
    assert labels[50, 50] == 255 and labels[0, 0] != 255
    assert {f.reason for f in result.failed} == {"the model answers with NaN or infinity"}

    class Never(Filter):
        def __call__(self, image: Tensor, valid: Tensor) -> Tensor:
            return super().__call__(image, valid) * float("nan")

    with pytest.raises(ModelFailed):
        predict_scene(dataset, Never(), tmp_path / "n.tif", options=SMALL)


def test_r75_r70_wrong_channels_and_bands_before_the_first_tile(tmp_path: Path) -> None:
    class Three(Filter):
        def __call__(self, image: Tensor, valid: Tensor) -> Tensor:
            return torch.zeros(image.shape[0], 3, *image.shape[2:])

    dataset = noise(2, 50, 50)
    with pytest.raises(BadInput, match="does not fit its classes"):
        predict_scene(dataset, Three(), tmp_path / "m.tif")
    with pytest.raises(BandMismatch, match="b0, b1"):
        predict_scene(dataset, Filter(channels=3), tmp_path / "m.tif")
    assert not dataset.reads


def test_r21_a_scene_without_data_is_all_nodata_with_one_warning(tmp_path: Path) -> None:
    dataset, recorder = noise(2, 60, 60), Recorder()
    dataset.valid[:] = False
    result = predict_scene(dataset, Filter(), tmp_path / "m.tif", options=SMALL, reporter=recorder)
    assert (read(tmp_path / "m.tif") == 255).all() and result.invalid_pixels == 3600
    assert recorder.said().count("no valid pixel") == 1


def test_r09_two_writers(tmp_path: Path) -> None:
    work = tmp_path / ".m.tif.work"
    work.mkdir()
    (work / "lock").write_text(json.dumps({"pid": 4711, "host": "elsewhere", "since": "2026-01-01T00:00:00"}))
    with (work / "lock").open("r+") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        with pytest.raises(Locked, match="process 4711 on elsewhere since 2026-01-01"):
            predict_scene(noise(2, 50, 50), Filter(), tmp_path / "m.tif", options=SMALL)
    predict_scene(
        noise(2, 50, 50), Filter(), tmp_path / "m.tif", options=SMALL
    )  # a stale lock locks nobody out
    assert (tmp_path / "m.tif").exists()


def test_r06_a_full_disk_says_so_and_the_run_goes_on_later(tmp_path: Path) -> None:
    dataset, output = noise(2, 400, 400), tmp_path / "m.tif"
    options = replace(SMALL, block_px=200, probabilities=tmp_path / "p.tif")
    reference = predict_scene(
        dataset, Filter(), tmp_path / "whole.tif", options=replace(options, probabilities=tmp_path / "q.tif")
    )
    before, handler = resource.getrlimit(resource.RLIMIT_FSIZE), signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (40_000, before[1]))
    try:
        with pytest.raises((NoSpace, CannotWrite)):
            predict_scene(dataset, Filter(), output, options=options)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)
    assert not output.exists() and not (tmp_path / "p.tif").exists()
    predict_scene(dataset, Filter(), output, options=options)
    assert output.read_bytes() == reference.paths["classes"].read_bytes()


def test_r07_outputs_that_cannot_be_written_fail_before_the_work(tmp_path: Path) -> None:
    dataset = noise(2, 50, 50)
    (tmp_path / "file").write_text("")
    with pytest.raises(CannotWrite):
        predict_scene(dataset, Filter(), tmp_path / "file" / "m.tif")
    with pytest.raises(BadInput, match="two outputs are one file"):
        predict_scene(
            dataset, Filter(), tmp_path / "m.tif", options=replace(SMALL, entropy=tmp_path / "m.tif")
        )
    assert not dataset.reads


def test_r11_out_of_device_memory_halves_the_batch_then_the_tile(tmp_path: Path) -> None:
    class Hungry(Filter):
        def __call__(self, image: Tensor, valid: Tensor) -> Tensor:
            if image.shape[0] * image.shape[2] > 64:
                raise torch.OutOfMemoryError("too much")
            return super().__call__(image, valid)

    recorder = Recorder()
    options = PredictOptions(batch_size=4, threads=1)
    model = Hungry(tile_px=128)
    result = predict_scene(noise(2, 90, 90), model, tmp_path / "m.tif", options=options, reporter=recorder)
    assert (result.plan.batch_size, result.plan.tile_px) == (1, 64)
    assert "batches of 1" in recorder.said() and "tiles of 64 px" in recorder.said()


@pytest.mark.parametrize("shape", [(1, 1), (1, 97), (97, 1), (31, 33), (32, 32), (97, 89)])
def test_r37_any_shape_to_a_file(tmp_path: Path, shape: tuple[int, int]) -> None:
    dataset = noise(2, *shape)
    predict_scene(dataset, Identity(), tmp_path / "m.tif", options=SMALL)
    assert np.array_equal(read(tmp_path / "m.tif")[0], np.array([10, 20])[dataset.image.argmax(0)])


def test_areas_beyond_the_scene_are_nodata_and_areas_elsewhere_are_refused(tmp_path: Path) -> None:
    dataset = noise(2, 60, 60)
    grid = dataset.geobox.pad(20)
    predict_scene(dataset, Constant(), tmp_path / "m.tif", geobox=grid, options=SMALL)
    labels = read(tmp_path / "m.tif")[0]
    assert labels.shape == (100, 100) and (labels[20:80, 20:80] == 10).all()
    assert (labels == 255).sum() == 10_000 - 3600
    with pytest.raises(NoOverlap, match="lon/lat"):
        predict_scene(dataset, Constant(), tmp_path / "m.tif", region=Region(box(0, 0, 1, 1), "EPSG:4326"))


def test_scenes_on_different_grids_need_a_choice(tmp_path: Path) -> None:
    class Two(ArrayDataset):
        def scenes(self) -> tuple[Scene, ...]:
            other = replace(self, crs="EPSG:32634")
            return (*ArrayDataset.scenes(self), *ArrayDataset.scenes(other))

    one = noise(2, 40, 40)
    with pytest.raises(BadInput, match="different pixel grids"):
        predict_scene(Two(one.image, one.valid), Constant(), tmp_path / "m.tif")


def test_the_plan_is_plain_json_and_repeatable() -> None:
    dataset = noise(2, 100, 100)
    first, second = (plan_scene(dataset, Filter(), options=SMALL) for _ in range(2))
    assert (
        first.run_id == second.run_id
        and json.loads(json.dumps(first.to_json()))["blocks"] == first.blocks == 9
    )
    assert plan_scene(dataset, Filter(), options=replace(SMALL, tta=True)).run_id != first.run_id
    assert os.environ.get("HOME", "/nowhere") not in json.dumps(first.to_json())


def test_seam_ratio_is_one_with_a_halo_and_shows_what_lacks_one(tmp_path: Path) -> None:
    dataset = noise(2, 400, 400)
    options = replace(SMALL, block_px=400)
    good = predict_scene(dataset, Filter(), tmp_path / "a.tif", options=options)
    edgy = replace(options, overlap_px=0, halo_px=0)
    bad = predict_scene(dataset, Filter(), tmp_path / "b.tif", options=edgy)
    assert good.seam_ratio == pytest.approx(1, abs=0.1) and not good.seams_show
    assert bad.seam_ratio > good.seam_ratio + 0.1 and bad.seams_show
