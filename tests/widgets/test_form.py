"""Forms made from specs: values, units, complaints; no browser."""

from __future__ import annotations

from pathlib import Path

import pytest
from geotoolbox_widgets import SpecForm

from geotoolbox.errors import BadInput
from geotoolbox.jobs.evaluate import Spec as EvaluateSpec
from geotoolbox.jobs.predict import Spec as PredictSpec
from geotoolbox.jobs.registry import JOBS
from geotoolbox.jobs.train import Spec as TrainSpec


@pytest.mark.parametrize("name", sorted(JOBS))
def test_every_job_has_a_form_with_a_control_for_each_setting(name: str) -> None:
    spec = JOBS[name].spec
    form = SpecForm(spec)
    assert set(form.controls) == set(spec.model_fields)
    needed = {n for n, f in spec.model_fields.items() if f.is_required()}
    assert needed <= set(form.problems)


def test_controls_and_values_are_one() -> None:
    form = SpecForm(TrainSpec, {"images": ("a.tif", "b.tif"), "labels": ("c.gpkg",), "epochs": 3})
    assert form.controls["images"].value == "a.tif\nb.tif"
    assert form.controls["epochs"].value == "3"
    form.controls["epochs"].value = "7"
    form.controls["class_weights"].value = "balanced"
    form.controls["indices"].value = "ndvi, mine = (b4 - b3, 1)"
    assert form.values["epochs"] == "7"
    spec = form.spec()
    assert isinstance(spec, TrainSpec)
    assert spec.epochs == 7
    assert spec.class_weights == "balanced"
    assert spec.indices == ("ndvi", "mine = (b4 - b3, 1)")
    form.values = {"images": ("z.tif",), "labels": ("c.gpkg",)}
    assert form.controls["epochs"].value == ""
    assert form.controls["class_weights"].value == "auto"
    assert form.spec().model_dump() == TrainSpec(images=("z.tif",), labels=("c.gpkg",)).model_dump()


def test_what_does_not_fit_is_said_beside_the_control_and_not_clipped() -> None:
    form = SpecForm(TrainSpec, {"images": ("a.tif",), "labels": ("c.gpkg",)})
    assert form.valid
    form.controls["patch_px"].value = "5000"
    assert not form.valid
    assert "4096" in form.problems["patch_px"]
    assert "4096" in form.message_of("patch_px")
    form.controls["patch_px"].value = "<b>x</b>"
    assert "<b>x" not in form.message_of("patch_px")
    with pytest.raises(BadInput, match="patch_px"):
        form.spec()
    form.controls["patch_px"].value = ""
    assert form.valid
    assert form.message_of("patch_px") == ""


def test_a_needed_value_is_asked_for_only_after_trying() -> None:
    form = SpecForm(PredictSpec)
    assert form.message_of("model") == ""
    with pytest.raises(BadInput, match="model"):
        form.spec()
    assert "needed" in form.message_of("model")


def test_units_and_help_stand_in_the_form() -> None:
    form = SpecForm(PredictSpec)
    assert form.controls["minimum_area_m2"].description == "minimum area (m²)"
    assert form.controls["minimum_area_m2"].tooltip == "leave out smaller polygons, in m²"
    assert SpecForm(EvaluateSpec).controls["block_px"].placeholder == "256"


def test_unknown_settings_are_refused() -> None:
    with pytest.raises(BadInput, match="banana"):
        SpecForm(TrainSpec, {"banana": 1})
    form = SpecForm(TrainSpec)
    with pytest.raises(BadInput, match="banana"):
        form.values = {"banana": 1}


def test_files_of_the_folder_are_offered_and_taken(tmp_path: Path) -> None:
    for name in ("b.tif", "a.tif", "c.gpkg", "m.gtb", ".hidden.tif", "notes.txt"):
        (tmp_path / name).touch()
    form = SpecForm(TrainSpec, folder=tmp_path)
    chooser = form.choosers["images"]
    offered = [Path(p).name for p in chooser.options]
    assert offered == ["a.tif", "b.tif", "c.gpkg"]
    chooser.value = chooser.options[1]
    chooser.value = chooser.options[0]
    assert form.values["images"] == (str(tmp_path / "b.tif"), str(tmp_path / "a.tif"))
    assert [Path(p).name for p in SpecForm(PredictSpec, folder=tmp_path).choosers["model"].options] == [
        "m.gtb"
    ]


def test_a_disabled_form_has_no_usable_control() -> None:
    form = SpecForm(TrainSpec)
    form.disabled = True
    assert all(control.disabled for control in form.controls.values())
    assert all(chooser.disabled for chooser in form.choosers.values())
    form.disabled = False
    assert not any(control.disabled for control in form.controls.values())
