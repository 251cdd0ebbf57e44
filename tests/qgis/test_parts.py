"""Records, the progress bar, and the definitions against the engine's specs."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from geotoolbox.jobs.schema import jobs_schema

from .conftest import PLUGIN

from geotoolbox_qgis.definitions import ALGORITHMS  # isort: skip
from geotoolbox_qgis.jobs import fields_of  # isort: skip
from geotoolbox_qgis.progress import Bar, MetricLines  # isort: skip
from geotoolbox_qgis.records import DONE, Record  # isort: skip

IDS = {
    "inspectlayers", "computeindices", "rasterizelabels", "exportchips", "trainsegmentation", "predictsegmentation",
    "trainandpredict", "polygonizeprediction", "evaluatesegmentation", "samplereference", "accuracyreport", "demoscene",
    "crossvalidatesegmentation", "applicability",
}  # fmt: skip


def test_the_plugin_ships_the_specs_of_this_engine() -> None:
    shipped = json.loads((PLUGIN / "geotoolbox_qgis" / "jobs.json").read_text(encoding="utf-8"))
    assert shipped == json.loads(json.dumps(jobs_schema())), "run: make docs"


def test_the_ids_are_those_promised() -> None:
    assert {d.id for d in ALGORITHMS} == IDS


@pytest.mark.parametrize("definition", ALGORITHMS, ids=lambda d: d.id)
def test_definitions_name_only_settings_that_the_engine_has(definition: object) -> None:
    for step in definition.steps:  # type: ignore[attr-defined]
        fields = fields_of(step.job)
        roles = {name: field["role"] for name, field in fields.items()}
        assert {roles[place.field] for place in step.layers} <= {"input"}
        assert {roles[out.field] for out in step.outputs} <= {"output"}
        assert {place.column for place in step.layers} - {""} <= set(fields)
        assert {place.layer_field for place in step.layers} - {""} <= set(fields)
        assert set(step.basic) <= set(fields) and set(step.given) <= set(fields)
        covered = (
            {place.field for place in step.layers} | set(step.given) | {out.field for out in step.outputs}
        )
        needed = {name for name, field in fields.items() if field["required"] and field["role"] == "input"}
        assert needed - covered <= {"model"}, "a needed file is a layer, or the model"


def test_a_record_tells_the_whole_run(tmp_path: Path) -> None:
    record = Record(tmp_path / "runs", "trainsegmentation")
    record.asked({"train": {"epochs": 3, "output": "ä.gtb"}}, "/engine/python")
    record.event({"kind": "metric", "name": "val_loss", "value": 0.5, "step": 1})
    record.line("a library speaks")
    assert (record.folder / "alive").exists() and not record.cancel_asked
    (record.folder / "cancel").touch()
    assert record.cancel_asked
    record.finish(DONE, "good", {"OUTPUT_MODEL": "ä.gtb"}, {"mean_iou": 0.5})
    record.finish("failed", "too late", {}, {})
    spec = json.loads((record.folder / "spec.json").read_text(encoding="utf-8"))
    result = json.loads((record.folder / "result.json").read_text(encoding="utf-8"))
    assert spec["jobs"]["train"] == {"epochs": 3, "output": "ä.gtb"} and spec["job"] == "train"
    assert json.loads((record.folder / "events.jsonl").read_text())["value"] == 0.5
    assert (record.folder / "log.txt").read_text() == "a library speaks\n"
    assert (result["status"], result["message"], result["outputs"]) == (
        "done",
        "good",
        {"OUTPUT_MODEL": "ä.gtb"},
    )
    assert result["ended"] >= result["started"] and not (record.folder / "alive").exists()


def test_two_runs_in_one_second_have_two_folders_and_old_ones_go(tmp_path: Path) -> None:
    first, second = Record(tmp_path, "a"), Record(tmp_path, "a")
    assert first.folder != second.folder
    for record in (first, second):
        record.finish(DONE, "", {}, {})
    for number in range(120):
        (tmp_path / f"20200101T{number:06d}-a").mkdir()
    (tmp_path / "mine").mkdir()
    Record(tmp_path, "b").finish(DONE, "", {}, {})
    names = {p.name for p in tmp_path.iterdir()}
    assert len(names) == 101 and "mine" in names and first.folder.name in names
    assert "20200101T000000-a" not in names and "20200101T000119-a" in names


def test_the_bar_goes_only_forward_and_ends_at_100() -> None:
    bar = Bar({"train": 3.0, "predict": 1.0})
    shown = []
    for job, stage, done in (
        ("train", "statistics", 1), ("train", "train", 1), ("train", "train", 10), ("train", "statistics", 1),
        ("train", "something new", 5), ("train", "baseline", 3),
    ):  # fmt: skip
        shown.append(bar.take(job, {"kind": "progress", "stage": stage, "done": done, "total": 10})[0])
    assert shown == sorted(shown) and 0 < shown[0] < shown[2] < 75
    assert bar.done("train") == 75.0
    assert bar.take("predict", {"stage": "predict", "done": 0, "total": 0}) == (
        pytest.approx(75.5),
        "Predict",
    )
    assert bar.take("predict", {"stage": "predict", "done": 5, "total": 10})[1] is None
    assert bar.done("predict") == 100.0


def test_the_numbers_of_an_epoch_make_one_line() -> None:
    lines = MetricLines()
    events = [
        {"kind": "metric", "name": "train_loss", "value": 1.25, "step": 1},
        {"kind": "metric", "name": "val_mean_iou", "value": 0.5, "step": 1},
        {"kind": "metric", "name": "train_loss", "value": 1.0, "step": 2},
        {"kind": "progress"},
    ]
    told = [lines.take(event) for event in events]
    assert told == [None, None, "Epoch 1: train loss 1.25, val mean iou 0.5", "Epoch 2: train loss 1"]
