"""Recipes come back as they were, and bad ones are refused in words."""

from __future__ import annotations

from pathlib import Path

import pytest

from geotoolbox.errors import BadInput, CannotRead
from geotoolbox.jobs.evaluate import Spec as EvaluateSpec
from geotoolbox.jobs.polygonise import Spec as PolygoniseSpec
from geotoolbox.jobs.recipe import read_recipe, recipe_path, write_recipe
from geotoolbox.jobs.registry import find_job
from geotoolbox.jobs.run import Spec as RunSpec


def spec_in(folder: Path) -> EvaluateSpec:
    return EvaluateSpec(
        map=str(folder / "map.tif"), reference=(str(folder / "in" / "labels.tif"),), unlabelled="ignore"
    )


def test_a_recipe_comes_back_as_the_same_spec(tmp_path: Path) -> None:
    spec = spec_in(tmp_path)
    path = write_recipe("evaluate", spec, tmp_path / "report.html")
    job, back = read_recipe(path)
    assert path == recipe_path(tmp_path / "report.html")
    assert job == "evaluate"
    assert Path(back.map).resolve() == Path(spec.map).resolve()  # type: ignore[attr-defined]
    assert [Path(p).resolve() for p in back.reference] == [Path(p).resolve() for p in spec.reference]  # type: ignore[attr-defined]
    assert back.model_dump(exclude={"map", "reference"}) == spec.model_dump(exclude={"map", "reference"})


def test_a_recipe_moves_with_its_folder(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    write_recipe("evaluate", spec_in(tmp_path / "a"), tmp_path / "a" / "report.html")
    (tmp_path / "a").rename(tmp_path / "b")
    _, back = read_recipe(tmp_path / "b" / "report.recipe.yaml")
    assert Path(back.map).resolve() == (tmp_path / "b" / "map.tif").resolve()  # type: ignore[attr-defined]


def test_s10_a_recipe_with_a_yaml_tag_runs_nothing(tmp_path: Path) -> None:
    bad = tmp_path / "x.yaml"
    bad.write_text("job: !!python/object/apply:os.system ['touch owned']\nspec: {}\n")
    with pytest.raises(BadInput, match="not plain YAML"):
        read_recipe(bad)
    assert not Path("owned").exists()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("just words", "not a recipe"),
        ("job: evaluate\nspec: {mapp: x.tif}", "mapp"),
        ("job: fly\nspec: {}", "no such job"),
        ("geotoolbox: 99.0.0\njob: evaluate\nspec: {}", "newer"),
        ("job: stack\nspec: {images: [1, 2], output: 5}", r"images\.0.*output"),
        ("job: stack\nspec: {images: {a: 2001-99-99}}", "not plain YAML"),
        ("job: stack\nspec: " + "[" * 3000, "not plain YAML"),
    ],
)
def test_bad_recipes_say_what_is_wrong(tmp_path: Path, text: str, words: str) -> None:
    bad = tmp_path / "x.yaml"
    bad.write_text(text)
    with pytest.raises(BadInput, match=words):
        read_recipe(bad)


def test_a_missing_recipe_is_named(tmp_path: Path) -> None:
    with pytest.raises(CannotRead, match=r"gone\.yaml"):
        read_recipe(tmp_path / "gone.yaml")


def test_a_recipe_that_runs_itself_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "loop.recipe.yaml"
    path.write_text("job: run\nspec: {recipe: loop.recipe.yaml}")
    with pytest.raises(BadInput, match="runs a recipe"):
        find_job("run").run(RunSpec(recipe=str(path)))


def test_recipes_of_two_jobs_do_not_take_each_others_place(tmp_path: Path) -> None:
    first = write_recipe("evaluate", spec_in(tmp_path), tmp_path / "map.tif")
    made = PolygoniseSpec(map=str(tmp_path / "map.tif"), output=str(tmp_path / "map.gpkg"))
    for _ in range(2):
        second = write_recipe("polygonise", made, tmp_path / "map.gpkg")
        assert second.name == "map.polygonise.recipe.yaml"
    assert read_recipe(first)[0] == "evaluate" and read_recipe(second)[0] == "polygonise"
    assert recipe_path(tmp_path / "map.tif", "polygonise") == second
    assert recipe_path(tmp_path / "map.tif", "evaluate") == first
