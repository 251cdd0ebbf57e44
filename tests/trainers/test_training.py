"""Training learns, tells what is wrong with the data, and goes on after a kill as if nothing had happened."""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from geotoolbox.core.classes import IGNORE_INDEX
from geotoolbox.core.events import SILENT, Event
from geotoolbox.core.query import Query, Reading
from geotoolbox.errors import BadInput, BadLabels, Cancelled, TooLarge
from geotoolbox.models import Predictor, load_bundle
from geotoolbox.trainers import SemanticSegmentationTask, TrainOptions, TrainResult, train_segmentation
from geotoolbox.trainers.loop import Loop
from geotoolbox.trainers.training import class_weights
from tests.sampling.memory import MemoryDataset
from tests.trainers.scene import learnable

FAST = TrainOptions(
    width=4,
    patch_px=32,
    batch_size=4,
    patches_per_epoch=24,
    epochs=4,
    baseline=False,
    learning_rate=1e-2,
    max_minutes=None,
    seed=3,
)
ROOT = Path(__file__).resolve().parents[2]
CHILD = """
import sys, torch
torch.set_num_threads(1)
from tests.trainers.test_training import FAST
from tests.trainers.scene import learnable
from geotoolbox.trainers import train_segmentation
train_segmentation(learnable(), learnable(seed=1, x=310_000), options=FAST, work_dir=sys.argv[1])
"""


class Listener:
    """Keeps events, and asks to stop after some of a kind."""

    def __init__(self, stop_at: float | None = None) -> None:
        self.events: list[Event] = []
        self.stop_at = stop_at

    def emit(self, event: Event) -> None:
        self.events.append(event)

    @property
    def cancelled(self) -> bool:
        last = [e for e in self.events if e.kind == "progress" and e.stage == "train"]
        return self.stop_at is not None and bool(last) and last[-1].done >= self.stop_at


class Clock:
    """Stands for the module ``time``: time that passes only when it is asked for, on every machine alike."""

    def __init__(self, tick_s: float) -> None:
        self.now_s, self.tick_s = 1000.0, tick_s

    def monotonic(self) -> float:
        self.now_s += self.tick_s
        return self.now_s


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """What the training and its progress take for the time: ten milliseconds pass at each look."""
    found = Clock(0.01)
    for name in ("geotoolbox.trainers.loop.time", "geotoolbox.core.events.time"):
        monkeypatch.setattr(name, found)
    return found


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


def train(folder: Path, options: TrainOptions = FAST, reporter: Listener | None = None) -> TrainResult:
    validation = learnable(seed=1, x=310_000)
    return train_segmentation(
        learnable(), validation, options=options, work_dir=folder, reporter=reporter or Listener()
    )


def curve(result: TrainResult) -> list[tuple[float, ...]]:
    return [(r["train_loss"], r["val_loss"], r["val_mean_iou"], r["learning_rate"]) for r in result.history]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> TrainResult:
    torch.set_num_threads(1)
    return train(tmp_path_factory.mktemp("whole"))


def test_training_learns_and_beats_the_baselines_that_it_names(tmp_path: Path) -> None:
    listener = Listener()
    options = replace(FAST, epochs=8, baseline=True, indices=("ndvi",))
    result = train(tmp_path, options, listener)
    majority, forest = result.baselines
    assert (majority.name, forest.name) == ("majority class", "random forest")
    support, most = result.confusion.sum(axis=1), int(np.argmax(result.class_pixels))
    assert majority.overall_accuracy == pytest.approx(support[most] / support.sum())
    assert forest.overall_accuracy > 0.9
    accuracy = np.trace(result.confusion) / result.confusion.sum()
    assert accuracy > 0.9 > majority.overall_accuracy
    assert [r["epoch"] for r in result.history] == list(range(1, 9))
    assert result.history[-1]["train_loss"] < result.history[0]["train_loss"]
    assert any("random forest" in note for note in result.notes)
    kinds = {e.kind for e in listener.events}
    assert {"progress", "metric", "log"} <= kinds
    steps = [e for e in listener.events if e.kind == "progress" and e.stage == "train"]
    assert steps[-1].done == steps[-1].total == 48 and "mIoU" in steps[-1].message

    loaded = load_bundle(result.bundle.save(tmp_path / "model.gtb"))
    assert loaded.bands[0].name == "red" and loaded.resolution_m == 30 and loaded.crs == "EPSG:32612"
    truth = learnable(seed=5).layers[0]
    image, valid = torch.from_numpy(truth.image)[None], torch.from_numpy(truth.valid)[None]
    predicted = Predictor(loaded)(image, valid)[0].argmax(dim=0).numpy()
    known = truth.valid & (truth.mask >= 0)
    assert (predicted == truth.mask)[known].mean() > 0.9


def test_the_same_seed_gives_the_same_curve_and_weights(whole: TrainResult, tmp_path: Path) -> None:
    torch.manual_seed(99)
    before = torch.random.get_rng_state()
    again = train(tmp_path)
    assert torch.equal(before, torch.random.get_rng_state())
    assert curve(again) == curve(whole)
    assert all(torch.equal(again.bundle.state[k], v) for k, v in whole.bundle.state.items())
    other = train(tmp_path, replace(FAST, seed=4, epochs=1))
    assert curve(other)[0] != curve(whole)[0]


@pytest.mark.parametrize("stop_at", [6, 15])
def test_r05_a_cancelled_training_goes_on_with_the_same_curve(
    whole: TrainResult, tmp_path: Path, stop_at: int
) -> None:
    with pytest.raises(Cancelled):
        train(tmp_path, FAST, Listener(stop_at))
    assert not list(tmp_path.rglob("*.part*"))
    resumed = train(tmp_path)
    assert curve(resumed) == curve(whole)
    assert all(torch.equal(resumed.bundle.state[k], v) for k, v in whole.bundle.state.items())


def test_r01_kill_9_then_a_corrupt_newest_checkpoint_and_the_curve_goes_on(
    whole: TrainResult, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    child = subprocess.Popen([sys.executable, "-c", CHILD, str(tmp_path)], cwd=ROOT)
    end = time.monotonic() + 120
    while len(list(tmp_path.rglob("epoch-??????.sha256"))) < 2 and time.monotonic() < end:
        time.sleep(0.01)
    child.send_signal(signal.SIGKILL)
    assert child.wait() in (-signal.SIGKILL, 0)
    newest = max(tmp_path.rglob("epoch-??????.ckpt"))
    newest.write_bytes(newest.read_bytes()[:-50])
    with caplog.at_level(logging.WARNING):
        resumed = train(tmp_path)
    assert f"{newest.name} is damaged" in caplog.text
    assert curve(resumed) == curve(whole)
    assert all(torch.equal(resumed.bundle.state[k], v) for k, v in whole.bundle.state.items())


class Deadly(MemoryDataset):
    """Dies as the kernel would let it die, in a reading process only."""

    def read(self, query: Query) -> Reading:
        if torch.utils.data.get_worker_info() is not None:
            os.kill(os.getpid(), signal.SIGKILL)
        return super().read(query)


def test_r04_a_killed_reading_process_is_named_with_the_likely_cause(tmp_path: Path) -> None:
    layers = learnable().layers
    dataset = Deadly(layers, ["red", "nir"], classes=3)
    with pytest.raises(TooLarge, match=r"pid.*memory was full.*goes on from the last checkpoint"):
        train_segmentation(
            dataset, learnable(), options=replace(FAST, workers=1, memory_mb=0), work_dir=tmp_path
        )


def test_a_finished_run_is_not_trained_again(whole: TrainResult, tmp_path: Path) -> None:
    options = replace(FAST, patience_epochs=1, learning_rate=1e-9, patches_per_epoch=4, epochs=30)
    first, listener = train(tmp_path, options), Listener()
    second = train(tmp_path, options, listener)
    assert curve(first) == curve(second)
    assert first.history[-1]["seconds"] <= second.seconds <= first.seconds, "it is the time of the training"
    assert not any(e.kind == "metric" for e in listener.events)
    assert len(train(tmp_path, replace(FAST, resume=False)).history) == len(whole.history)


def test_r66_one_class_is_refused_unless_allowed(tmp_path: Path) -> None:
    one, held_out = learnable(), learnable(seed=1, x=310_000)
    for dataset in (one, held_out):
        mask = dataset.layers[0].mask
        mask[mask >= 0] = 1
    with pytest.raises(BadLabels, match=r"too few classes.*c0 0, c1 .*allow_single_class"):
        train_segmentation(one, held_out, options=FAST, work_dir=tmp_path)
    options = replace(FAST, allow_single_class=True, epochs=1)
    result = train_segmentation(one, held_out, options=options, work_dir=tmp_path)
    iou = result.bundle.metrics["validation_iou"]
    assert np.isnan(iou["c0"]) and np.isnan(iou["c2"])
    assert any("without a training pixel" in note and "c0, c2" in note for note in result.notes)


def test_r67_a_class_that_validation_lacks_is_nan_and_named(tmp_path: Path) -> None:
    held_out = learnable(seed=1, x=310_000)
    mask = held_out.layers[0].mask
    mask[mask == 2] = IGNORE_INDEX
    result = train_segmentation(learnable(), held_out, options=replace(FAST, epochs=1), work_dir=tmp_path)
    assert np.isnan(result.bundle.metrics["validation_iou"]["c2"])
    assert any("validation lacks" in note and "c2" in note for note in result.notes)


def test_r68_extreme_imbalance_is_a_warning_with_the_counts(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    dataset = learnable()
    mask = dataset.layers[0].mask
    mask[mask == 2] = 0
    mask[50, 50:52] = 2
    with caplog.at_level(logging.WARNING):
        train_segmentation(
            dataset, learnable(seed=1, x=310_000), options=replace(FAST, epochs=1), work_dir=tmp_path
        )
    assert "extremely unlike" in caplog.text and "c2 2" in caplog.text


def test_a_short_time_shortens_the_plan_and_says_so(tmp_path: Path, clock: Clock) -> None:
    result = train(tmp_path, replace(FAST, epochs=5000, max_minutes=0.05))
    assert 1 < len(result.history) < 50
    peak = replace(FAST, epochs=5000).learning_rate
    assert result.history[-1]["learning_rate"] < peak / 100, "the schedule ends with the time"
    listener = Listener()
    options = replace(FAST, epochs=5000, patches_per_epoch=4000, max_minutes=0.01)
    stopped = train(tmp_path, options, listener)
    assert len(stopped.history) == 1
    assert any(e.kind == "log" and "time limit" in e.message for e in listener.events)


def test_a_slow_start_does_not_hurry_the_schedule(tmp_path: Path) -> None:
    loop = Loop(replace(FAST, max_minutes=1.0), tmp_path, lambda model: pytest.fail("not asked"), SILENT)
    shares = []
    for spent_s in (0.0, 8.0, 30.0, 54.0, 60.0):
        loop._spent_s = spent_s
        shares.append(loop.time_share())
    assert shares == pytest.approx([0, 0, (30 / 54 - 0.15) / 0.85, 1, 1])
    unlimited = Loop(
        replace(FAST, max_minutes=None), tmp_path, lambda model: pytest.fail("not asked"), SILENT
    )
    unlimited._spent_s = 1e9
    assert unlimited.time_share() == 0


def test_patience_stops_early(tmp_path: Path) -> None:
    still = replace(FAST, patience_epochs=1, learning_rate=1e-9, patches_per_epoch=4, epochs=60)
    assert len(train(tmp_path, still).history) < 60


def test_other_bands_in_validation_are_refused(tmp_path: Path) -> None:
    other = learnable()
    other._bands = other._bands[::-1]
    with pytest.raises(BadInput, match="other bands"):
        train_segmentation(learnable(), other, options=FAST, work_dir=tmp_path)
    with pytest.raises(BadInput, match=r"patch_px.*Got 4"):
        TrainOptions(patch_px=4)


def test_class_weights_by_hand() -> None:
    assert class_weights([90, 10, 0], 0) is None
    weights = class_weights([90, 10, 0], 0.5)
    assert weights is not None
    assert weights[1] / weights[0] == pytest.approx(3.0) and weights[2] == 0
    assert weights[0] * 0.9 + weights[1] * 0.1 == pytest.approx(1.0)


def test_the_task_ignores_pixels_that_are_not_valid() -> None:
    torch.manual_seed(0)
    task = SemanticSegmentationTask("fcn8s", in_channels=2, num_classes=3, width=2).eval()
    image, mask = torch.randn(1, 2, 64, 64), torch.randint(0, 3, (1, 64, 64))
    valid = torch.rand(1, 64, 64) > 0.3
    one = task.training_step({"image": image, "mask": mask, "valid": valid}, 0)
    wild = {"image": image.clone(), "mask": mask.clone(), "valid": valid}
    wild["image"][:, :, ~valid[0]] = float("nan")
    wild["mask"][~valid] = 2
    assert torch.equal(one, task.training_step(wild, 0)) and bool(torch.isfinite(one))
    probabilities = task.predict_step(wild, 0)
    torch.testing.assert_close(probabilities.sum(dim=1), torch.ones(1, 64, 64))


def test_the_task_runs_in_a_plain_lightning_trainer(tmp_path: Path) -> None:
    import lightning.pytorch as pl
    from torch.utils.data import DataLoader

    from geotoolbox.sampling import RandomGeoSampler, stack_samples

    dataset = learnable()
    sampler = RandomGeoSampler(dataset, size=32, length=8, seed=0)
    loader = DataLoader(dataset, batch_size=4, sampler=sampler, collate_fn=stack_samples)
    task = SemanticSegmentationTask("fcn8s", in_channels=2, num_classes=3, width=2, loss="ce+dice")
    trainer = pl.Trainer(
        accelerator="cpu", max_epochs=1, logger=False, enable_checkpointing=False, enable_progress_bar=False,
        enable_model_summary=False, default_root_dir=tmp_path,
    )  # fmt: skip
    trainer.fit(task, loader, loader)
    assert {"train_loss", "val_loss", "val_mean_iou", "val_overall_accuracy"} <= set(trainer.callback_metrics)


def test_the_time_left_knows_the_time_limit(tmp_path: Path, clock: Clock) -> None:
    listener = Listener()
    train(tmp_path, replace(FAST, epochs=5000, max_minutes=0.05), listener)
    left = [e.seconds_left for e in listener.events if e.kind == "progress" and e.stage == "train" and e.done]
    assert left and all(0 <= seconds <= 3.0 for seconds in left if seconds is not None)
