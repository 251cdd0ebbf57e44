"""What the dock reads from disk, without QGIS: runs as they grow, and metrics files."""

from __future__ import annotations

import importlib.util
import json
import os
import sys
import time
from pathlib import Path
from types import ModuleType

import pytest

DOCK = Path(__file__).resolve().parents[2] / "qgis_plugin" / "geotoolbox_qgis" / "dock"


def load(name: str) -> ModuleType:
    """Load a module of the dock by its path: the package itself needs QGIS."""
    spec = importlib.util.spec_from_file_location(f"dock_{name}", DOCK / f"{name}.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


runs, confusion = load("runs"), load("confusion")


@pytest.fixture
def run(tmp_path: Path) -> Path:
    folder = tmp_path / "20260101T100000-trainsegmentation"
    folder.mkdir()
    asked = {
        "algorithm": "trainsegmentation",
        "started": time.time() - 9,
        "jobs": {"train": {"seed": 4}, "predict": {"map": "m.tif"}},
    }
    (folder / "spec.json").write_text(json.dumps(asked))
    (folder / "alive").touch()
    return folder


def line(**event: object) -> bytes:
    return json.dumps(event).encode() + b"\n"


def test_events_are_read_as_they_come_even_in_pieces(run: Path) -> None:
    reader = runs.RunReader(run)
    assert reader.poll() and reader.run.algorithm == "trainsegmentation" and reader.run.progress is None
    assert reader.run.asked == {"seed": 4, "map": "m.tif"} and 8 < reader.run.seconds < 60
    whole = line(kind="metric", name="val_loss", value=0.5, step=1) + "Tränen\n".encode()
    whole += (
        line(kind="progress", stage="läuft", done=1, total=4, seconds_left=None)
        + b'{"kind": "new kind"}\n[1]\n'
    )
    with open(run / "events.jsonl", "ab") as stream:
        for i in range(0, len(whole), 7):  # cut within lines and within characters
            stream.write(whole[i : i + 7])
            stream.flush()
            reader.poll()
    assert reader.run.series == {"val_loss": [(1.0, 0.5)]}
    assert (reader.run.progress.stage, reader.run.progress.share) == ("läuft", 0.25)
    assert not reader.poll()  # nothing is read twice


def test_numbers_that_are_none_draw_nothing(run: Path) -> None:
    text = b'{"kind": "metric", "name": "val_loss", "value": NaN, "step": 1}\n'
    text += line(kind="metric", name="val_loss", value=None, step=2) + line(
        kind="metric", name="val_loss", value=0.25
    )
    (run / "events.jsonl").write_bytes(text + line(kind="progress", stage="x", done="a lot", total=0))
    reader = runs.RunReader(run)
    reader.poll()
    assert reader.run.series == {"val_loss": [(1.0, 0.25)]} and reader.run.progress.share == 0.0


def test_the_end_of_a_run_brings_all_that_came_before(run: Path, tmp_path: Path) -> None:
    reader = runs.RunReader(run)
    reader.poll()
    (tmp_path / "r.html").touch()
    (run / "events.jsonl").write_bytes(line(kind="artifact", name="report", path=str(tmp_path / "r.html")))
    found = {
        "status": "done",
        "ended": time.time(),
        "result": {"mean_iou": 0.5},
        "outputs": {"METRICS": "gone.json"},
    }
    (run / "result.json").write_text(json.dumps(found))
    reader.poll()
    assert reader.run.status == "done" and reader.run.score("mean_iou") == 0.5
    assert reader.run.file("report") == tmp_path / "r.html" and reader.run.file("metrics") is None


def test_a_result_that_is_half_written_is_read_later(run: Path) -> None:
    reader = runs.RunReader(run)
    (run / "result.json").write_text('{"status": "do')
    reader.poll()
    assert reader.run.running
    (run / "result.json").write_text('{"status": "failed", "message": "no overlap"}')
    reader.poll()
    assert (reader.run.status, reader.run.message) == ("failed", "no overlap")


def test_a_run_whose_qgis_died_is_not_shown_as_running(run: Path) -> None:
    reader = runs.RunReader(run)
    long_ago = time.time() - 300
    for name in ("spec.json", "alive"):
        os.utime(run / name, (long_ago, long_ago))
    reader.poll()
    assert reader.run.status == "lost" and reader.run.ended == pytest.approx(long_ago)
    (run / "alive").touch()  # the computer slept
    reader.poll()
    assert reader.run.running and reader.run.ended is None


def test_cancel_is_a_file(run: Path) -> None:
    reader = runs.RunReader(run)
    assert not reader.run.cancel_asked
    reader.run.cancel()
    assert (run / "cancel").exists() and reader.run.cancel_asked


def test_runs_are_listed_newest_first(tmp_path: Path) -> None:
    for name in ("20260101T1-a", "20270101T1-b", "20250101T1-c", "no-run"):
        (tmp_path / name).mkdir()
        if name != "no-run":
            (tmp_path / name / "spec.json").write_text("{}")
    assert [p.name[-1] for p in runs.list_runs(tmp_path)] == ["b", "a", "c"]
    assert runs.list_runs(tmp_path / "nowhere") == []


METRICS = {
    "confusion": [[8, 2, 0], [1, 5, 4], [0, 0, 0]],
    "class_table": [
        {"value": 1, "name": "a", "color": [255, 0, 16]},
        {"value": 5, "name": "b", "color": None},
        {"value": 9, "name": "c", "color": None},
    ],
    "intervals": {"scores": {"overall_accuracy": [0.5, 0.75]}},
    "errors": {"file": "errors.tif", "classes": 3},
    "blocks": {"file": "gone.gpkg"},
}


def test_a_metrics_file_gives_counts_and_accuracies(tmp_path: Path) -> None:
    (tmp_path / "m.json").write_text(json.dumps(METRICS))
    (tmp_path / "errors.tif").touch()
    found = confusion.read_confusion(tmp_path / "m.json")
    assert [c.color for c in found.classes] == ["#ff0010", "#e69f00", "#009e73"]
    assert found.overall_accuracy == pytest.approx(13 / 20)
    assert [found.producers_accuracy(i) for i in range(3)] == [0.8, 0.5, None]
    assert [found.users_accuracy(i) for i in range(3)] == [pytest.approx(8 / 9), pytest.approx(5 / 7), 0.0]
    assert found.iou(0) == pytest.approx(8 / 11) and found.worst() == (1, 2)
    assert found.errors == tmp_path / "errors.tif" and found.blocks is None and found.interval == (0.5, 0.75)


@pytest.mark.parametrize(
    "text",
    ["", "[]", "{}", '{"confusion": [[1]], "class_table": []}', '{"confusion": [1], "class_table": [{"value": 1}]}',
     '{"confusion": [[1, 2]], "class_table": [{"value": 1, "name": "a"}]}'],
)  # fmt: skip
def test_what_is_no_metrics_file_is_named(tmp_path: Path, text: str) -> None:
    (tmp_path / "other.json").write_text(text)
    with pytest.raises(ValueError, match=r"other\.json"):
        confusion.read_confusion(tmp_path / "other.json")


def test_a_missing_metrics_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"cannot be read.*gone\.json"):
        confusion.read_confusion(tmp_path / "gone.json")
