"""Training from a notebook, without a browser: the same job, its events, pause, kill, and the recipe."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from geotoolbox_widgets import AppState, Trainer
from geotoolbox_widgets.process_run import ProcessRun
from geotoolbox_widgets.running import ThreadRun

from geotoolbox import RandomGeoSampler, RasterDataset
from geotoolbox.cli import main
from geotoolbox.core.events import Artifact, Log, Metric, Progress, Stage
from geotoolbox.errors import BadInput
from geotoolbox.jobs.results import TextResult
from geotoolbox.sampling import SampleList

PATIENCE_S = 240.0
pytestmark = pytest.mark.timeout(900)  # a busy machine is no failure


def settings(scene: tuple[Path, Path], output: Path, **more: Any) -> dict[str, Any]:
    """A training of seconds."""
    return {
        "images": (str(scene[0]),), "labels": (str(scene[1]),), "output": str(output), "epochs": 2, "patch_px": 16,
        "batch_size": 24, "baseline": False, "pictures": 2, **more,
    }  # fmt: skip


def until(condition: Any, timeout_s: float = PATIENCE_S) -> None:
    end = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < end, "it takes too long"
        time.sleep(0.05)


@pytest.fixture(scope="module")
def finished(scene: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory) -> Trainer:
    """A training that one kernel started and that went on when that kernel was killed."""
    output = tmp_path_factory.mktemp("killed kernel") / "m.gtb"
    given = settings(scene, output)
    code = (
        "import os, signal\nfrom geotoolbox_widgets import Trainer\n"
        f"Trainer({given!r}).start()\nos.kill(os.getpid(), signal.SIGKILL)"
    )
    kernel = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert kernel.returncode == -signal.SIGKILL, kernel.stderr
    trainer = Trainer(given)
    assert trainer.run.state in ("running", "done")
    assert trainer.wait(PATIENCE_S) == "done", trainer.run.error
    return trainer


def test_a_killed_kernel_loses_no_training(finished: Trainer) -> None:
    run = finished.run
    assert Path(finished.output).exists()
    assert [step for step, _ in run.metrics["train_loss"]] == [1, 2]
    assert run.result["epochs"] == 2
    assert 0 < run.result["mean_iou"] <= 1
    assert {"model", "report", "pictures"} <= {a["name"] for a in run.artifacts}


def test_the_page_shows_curves_numbers_and_pictures(finished: Trainer) -> None:
    assert finished._charts.value.count("<svg") == 2
    last = dict(finished.run.metrics["val_mean_iou"])[2]
    assert f"{last:.3f}" in finished._charts.value
    assert "at epoch 2" in finished._charts.value  # in words, for those who cannot see the curve
    newest = bytes(finished._picture.value)
    assert newest.startswith(b"\x89PNG")
    finished.epoch = 1
    first = bytes(finished._picture.value)
    assert first.startswith(b"\x89PNG")
    assert first != newest
    finished.epoch = 0
    assert "<b>done</b>" in finished._status.value
    assert finished.state.model_path == finished.output
    assert finished._pause.disabled and finished._cancel.disabled and not finished._start.disabled


def test_the_exported_recipe_gives_the_same_class_raster_on_the_command_line(
    finished: Trainer, scene: tuple[Path, Path], tmp_path: Path
) -> None:
    again = Trainer(dict(finished.form.values) | {"output": str(tmp_path / "again.gtb")})
    recipe = tmp_path / "train.recipe.yaml"
    recipe.write_text(again.recipe(), encoding="utf-8")
    assert main(["run", str(recipe)]) == 0
    maps = []
    for number, bundle in enumerate((finished.output, tmp_path / "again.gtb")):
        out = tmp_path / f"{number}" / "map.tif"
        words = [
            "predict",
            "--model",
            str(bundle),
            "--images",
            str(scene[0]),
            "--output",
            str(out),
            "--batch-size",
            "1",
        ]
        assert main(words) == 0
        maps.append(out.read_bytes())
    assert maps[0] == maps[1]


def test_pause_resume_kill_and_cancel(scene: tuple[Path, Path], tmp_path: Path) -> None:
    given = settings(scene, tmp_path / "m.gtb", epochs=60, pictures=0)
    trainer = Trainer(given)
    trainer.start()
    with pytest.raises(BadInput, match="at work already"):
        trainer.start()
    with pytest.raises(BadInput, match="at work already"):
        ProcessRun(trainer.run.folder).start("train", trainer.spec())  # as from another kernel
    until(lambda: trainer.run.metrics)
    assert trainer.form.disabled and trainer._start.disabled
    trainer.pause()
    assert trainer.wait(PATIENCE_S) == "paused"
    epochs = len(trainer.run.metrics["train_loss"])
    assert Trainer(given).run.state == "paused"

    trainer.resume()
    until(lambda: len(trainer.run.metrics["train_loss"]) > epochs)
    assert any("going on after epoch" in line["message"] for line in trainer.run.log)
    os.kill(trainer.run._known["pid"], signal.SIGKILL)
    assert trainer.wait(PATIENCE_S) == "failed"
    assert "start again" in trainer.message.text
    assert trainer.message.level == "error"
    other = Trainer(given)
    assert other.run.state == "failed"
    done = len(other.run.metrics["train_loss"])

    other.start()
    until(lambda: other.run.metrics)
    first = min(step for step, _ in other.run.metrics["train_loss"])
    assert first >= done  # the finished epochs were not done again
    other.cancel()
    assert other.wait(PATIENCE_S) == "cancelled"
    assert "finished epochs are kept" in other._status.value


def test_bad_input_is_said_in_the_widget(tmp_path: Path) -> None:
    trainer = Trainer({"images": (str(tmp_path / "nowhere.tif"),), "output": str(tmp_path / "m.gtb")})
    trainer._start.click()
    assert "labels" in trainer.message.text
    assert trainer.run.state == "idle"
    trainer.form.controls["labels"].value = str(tmp_path / "none.gpkg")
    trainer._start.click()
    assert trainer.wait(PATIENCE_S) == "failed"
    assert "no such file" in trainer.message.text
    assert "Traceback" not in trainer.message.text


def test_the_edited_samples_go_into_the_training(scene: tuple[Path, Path], tmp_path: Path) -> None:
    data = RasterDataset([str(scene[0])]) & RasterDataset([str(scene[1])], kind="labels")
    state = AppState()
    state.samples = SampleList.from_sampler(RandomGeoSampler(data, size=16, length=5, seed=0))
    trainer = Trainer(settings(scene, tmp_path / "m.gtb"), state=state)
    spec = trainer.spec()
    assert SampleList.open(spec.samples) == state.samples  # type: ignore[attr-defined]
    assert f"samples: {spec.samples}" in trainer.recipe()  # type: ignore[attr-defined]


def test_what_the_job_says_is_escaped() -> None:
    trainer = Trainer()
    trainer.run._take({"kind": "log", "level": "warning", "message": "class <img src=x onerror=alert(1)>"})
    trainer.run._begin("train")
    trainer.run._take(
        {"kind": "progress", "stage": "train", "done": 1, "total": 4, "seconds_left": 61.0, "message": "<b>"}
    )
    assert "<img" not in trainer._log.value
    assert "train 25 %" in trainer._status.value
    assert "1:01 left" in trainer._status.value
    assert "&lt;b&gt;" in trainer._status.value


def test_a_thread_run_tells_events_cancels_and_says_what_failed() -> None:
    run = ThreadRun()

    def work() -> TextResult:
        stage = Stage(run, "count", total=4)
        run.emit(Log("starts", "warning"))
        run.emit(Metric("score", 0.5, 1))
        run.emit(Artifact("file", "a.txt"))
        for _ in range(4):
            stage.advance()
        return TextResult("all done", {"n": 4})

    run.call("count", work)
    assert run.wait(120) == "done"
    assert run.metrics == {"score": [(1, 0.5)]}
    assert run.artifacts == [{"name": "file", "path": "a.txt", "media_type": ""}]
    assert run.log == [{"level": "warning", "message": "starts"}]
    assert run.message == "all done"
    assert run.result == {"text": "all done", "values": {"n": 4}}

    def endless() -> None:
        stage = Stage(run, "count", total=1e9)
        while True:
            stage.advance()

    run.call("endless", endless)
    with pytest.raises(BadInput, match="at work already"):
        run.call("second", work)
    run.cancel()
    assert run.wait(120) == "cancelled"
    run.call("broken", lambda: 1 / 0)
    assert run.wait(120) == "failed"
    assert run.error == "ZeroDivisionError: division by zero"


def test_progress_never_runs_over() -> None:
    run = ThreadRun()
    run._begin("x")
    run.emit(Progress("a", 0, 0))
    assert run.fraction == 1.0
    run.emit(Progress("a", 3, 2))
    assert run.fraction == 1.0
