"""From a map to an accuracy with an interval: sample, label, assess, through the command line."""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import pyogrio
import pytest
import shapely

from geotoolbox.cli import main
from geotoolbox.jobs.accuracy import AccuracyJobResult
from geotoolbox.metrics import DesignSample, assess_accuracy
from tests.make import NORTH_UP, UTM12, write_raster

NAMES = ("cropland", "forest", "water")
COLORS = {1: (228, 198, 110), 2: (30, 104, 52), 3: (38, 110, 190)}

Label = Callable[[gpd.GeoDataFrame], object]


@pytest.fixture(scope="module")
def ground(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, np.ndarray, np.ndarray]:
    """A map of 120 × 160 pixels, and the truth behind it: one pixel in five is wrong."""
    generator = np.random.default_rng(8)
    mapped = np.kron(generator.choice([1, 1, 1, 2, 2, 3], (12, 16)), np.ones((10, 10), dtype=int))
    mapped[:, :4] = 0
    truth = np.where(generator.random(mapped.shape) < 0.8, mapped, generator.integers(1, 4, mapped.shape))
    path = write_raster(
        tmp_path_factory.mktemp("ground") / "map.tif", mapped.astype(np.uint8), nodata=0, colormap=COLORS
    )
    rows = "".join(f"<Category>{n}</Category>" for n in ("nodata", *NAMES))
    path.with_name("map.tif.aux.xml").write_text(
        f'<PAMDataset><PAMRasterBand band="1"><CategoryNames>{rows}</CategoryNames></PAMRasterBand></PAMDataset>'
    )
    return path, mapped, truth


def draw(map_path: Path, folder: Path, *more: str) -> Path:
    output = folder / "reference.gpkg"
    assert (
        main(["sample-reference", "--map", str(map_path), "--output", str(output), "--seed", "4", *more]) == 0
    )
    return output


def pixels(points: gpd.GeoDataFrame) -> tuple[np.ndarray, np.ndarray]:
    column = np.floor((points.geometry.x - NORTH_UP.c) / 30).astype(int)
    row = np.floor((NORTH_UP.f - points.geometry.y) / 30).astype(int)
    return row.to_numpy(), column.to_numpy()


def label(
    path: Path, truth: np.ndarray, change: Callable[[gpd.GeoDataFrame], gpd.GeoDataFrame] | None = None
) -> Path:
    """Fill in the column as a person would, in the same file."""
    points = gpd.read_file(path, layer="points")
    row, column = pixels(points)
    points["reference"] = [NAMES[v - 1] for v in truth[row, column]]
    points = points if change is None else change(points)
    points.to_file(path, layer="points", driver="GPKG", engine="pyogrio")
    return path


def assess(map_path: Path, sample: Path, *more: str) -> tuple[int, dict[str, Any]]:
    output = sample.with_suffix(".json")
    output.unlink(missing_ok=True)
    code = main(
        ["accuracy", "--map", str(map_path), "--sample", str(sample), "--metrics", str(output), *more]
    )
    return code, json.loads(output.read_text()) if output.exists() else {}


def test_sample_label_accuracy(ground: tuple[Path, np.ndarray, np.ndarray], tmp_path: Path) -> None:
    map_path, mapped, truth = ground
    sample = draw(map_path, tmp_path, "--points", "300")
    assert {n for n, _ in pyogrio.list_layers(sample)} - {"layer_styles"} == {"points", "frame", "design"}
    points = gpd.read_file(sample, layer="points")
    row, column = pixels(points)
    assert len(points) == 300 and points["reference"].isna().all()
    assert (mapped[row, column] == points["map_class"]).all()
    report = tmp_path / "r.html"
    code, numbers = assess(map_path, label(sample, truth), "--report", str(report), "--kappa")
    assert code == 0

    counts = np.zeros((3, 3), dtype=int)
    np.add.at(counts, (mapped[row, column] - 1, truth[row, column] - 1), 1)
    assert numbers["point_matrix"] == counts.tolist()
    sizes = np.array([(mapped == v).sum() for v in (1, 2, 3)])
    expected = assess_accuracy(DesignSample.from_matrix(counts, sizes), NAMES)
    assert numbers["overall_accuracy"]["value"] == pytest.approx(expected.overall.value, rel=1e-4)
    assert numbers["overall_accuracy"]["standard_error"] == pytest.approx(
        expected.overall.standard_error, rel=1e-3
    )
    exact = (truth == mapped)[mapped > 0].mean()
    assert abs(numbers["overall_accuracy"]["value"] - exact) < 4 * expected.overall.standard_error
    water = numbers["classes"][2]
    assert water["area_ha"]["low"] < (truth == 3)[mapped > 0].sum() * 0.09 < water["area_ha"]["high"]
    assert water["map_area_ha"] == pytest.approx(sizes[2] * 0.09, rel=2e-3)
    assert numbers["kappa"] == pytest.approx(expected.kappa, rel=1e-3) and "Pontius" in numbers["kappa_note"]
    text = report.read_text()
    assert "stratified random sample" in text and "Pixels counted" in text and "geotoolbox run" in text


def test_the_recipe_draws_the_same_points(
    ground: tuple[Path, np.ndarray, np.ndarray], tmp_path: Path
) -> None:
    sample = draw(ground[0], tmp_path, "--points", "200")
    first = pyogrio.read_dataframe(sample, layer="frame")
    sample.unlink()
    assert main(["run", str(tmp_path / "reference.recipe.yaml")]) == 0
    assert pyogrio.read_dataframe(sample, layer="frame").equals(first)


@pytest.mark.parametrize("design", ["simple", "systematic"])
def test_other_designs(ground: tuple[Path, np.ndarray, np.ndarray], tmp_path: Path, design: str) -> None:
    map_path, mapped, truth = ground
    sample = label(draw(map_path, tmp_path, "--design", design, "--points", "250"), truth)
    code, auto = assess(map_path, sample)
    assert code == 0 and "post-stratified" in auto["estimator"]
    code, direct = assess(map_path, sample, "--estimator", "direct")
    points = gpd.read_file(sample, layer="points")
    row, column = pixels(points)
    right = (truth == mapped)[row, column].mean()
    assert direct["overall_accuracy"]["value"] == pytest.approx(right, abs=1e-4)
    assert auto["overall_accuracy"]["value"] != direct["overall_accuracy"]["value"]
    assert any("systematic" in n for n in auto["notes"]) == (design == "systematic")


def test_another_map_of_the_same_ground_is_judged_with_the_old_strata(
    ground: tuple[Path, np.ndarray, np.ndarray], tmp_path: Path
) -> None:
    map_path, mapped, truth = ground
    sample = label(draw(map_path, tmp_path, "--points", "400"), truth)
    better = tmp_path / "better.tif"
    write_raster(better, np.where(mapped == 0, 0, truth).astype(np.uint8), nodata=0)
    shutil.copy(map_path.with_name("map.tif.aux.xml"), tmp_path / "better.tif.aux.xml")
    code, numbers = assess(better, sample)
    assert code == 0 and "Stehman 2014" in numbers["estimator"]
    assert numbers["overall_accuracy"]["value"] == pytest.approx(1)
    _, first = assess(map_path, sample)
    for old, new in zip(first["classes"], numbers["classes"], strict=True):  # the ground is the same ground
        assert new["area_ha"]["value"] == pytest.approx(old["area_ha"]["value"])


def test_strata_of_another_raster_and_an_area(
    ground: tuple[Path, np.ndarray, np.ndarray], tmp_path: Path
) -> None:
    map_path, mapped, truth = ground
    halves = np.ones_like(mapped)
    halves[60:] = 2
    strata = write_raster(tmp_path / "halves.tif", halves.astype(np.uint8), nodata=0)
    box = shapely.box(NORTH_UP.c, NORTH_UP.f - 100 * 30, NORTH_UP.c + 120 * 30, NORTH_UP.f)
    area = tmp_path / "area.gpkg"
    gpd.GeoDataFrame(geometry=[box], crs=UTM12).to_crs(4326).to_file(area)
    sample = draw(map_path, tmp_path, "--strata", str(strata), "--area", str(area), "--points", "300")
    code, numbers = assess(map_path, label(sample, truth))
    assert code == 0 and "Stehman 2014" in numbers["estimator"]
    inside = np.zeros(mapped.shape, dtype=bool)
    inside[:100, :120] = True
    inside &= mapped > 0
    assert numbers["total_area_ha"] == pytest.approx(inside.sum() * 0.09, rel=5e-3)
    share = numbers["classes"][0]["area_share"]
    assert abs(share["value"] - (truth == 1)[inside].mean()) < 4 * share["standard_error"]


def drop_some(points: gpd.GeoDataFrame) -> gpd.GeoDataFrame:
    return points.iloc[:-7]


def move_one(points: gpd.GeoDataFrame) -> gpd.GeoDataFrame:
    points.geometry = [shapely.Point(p.x + (40 if i == 3 else 0), p.y) for i, p in enumerate(points.geometry)]
    return points


def add_one(points: gpd.GeoDataFrame) -> gpd.GeoDataFrame:
    extra = points.iloc[:1].assign(id=9999)
    return gpd.GeoDataFrame(gpd.pd.concat([points, extra]), crs=points.crs)


def unlabel(points: gpd.GeoDataFrame) -> gpd.GeoDataFrame:
    points.loc[:4, "reference"] = None
    return points


def misspell(points: gpd.GeoDataFrame) -> gpd.GeoDataFrame:
    points.loc[0, "reference"] = "forrest"
    return points


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (drop_some, "7 points of the sample are gone"),
        (move_one, "1 points were moved"),
        (add_one, "1 points were added"),
        (unlabel, "5 of 200 points have no reference"),
        (misspell, "forrest"),
    ],
)
def test_a_sample_that_was_tampered_with_is_refused(
    ground: tuple[Path, np.ndarray, np.ndarray],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    change: Callable[[gpd.GeoDataFrame], gpd.GeoDataFrame],
    words: str,
) -> None:
    map_path, _, truth = ground
    sample = draw(map_path, tmp_path, "--points", "200")
    code, numbers = assess(map_path, label(sample, truth, change))
    assert code == 2 and not numbers
    assert words in capsys.readouterr().err


def test_unlabelled_points_may_be_dropped_and_are_told_of(
    ground: tuple[Path, np.ndarray, np.ndarray], tmp_path: Path
) -> None:
    map_path, _, truth = ground
    sample = label(draw(map_path, tmp_path, "--points", "200"), truth, unlabel)
    code, numbers = assess(map_path, sample, "--unlabelled", "drop")
    assert code == 0 and numbers["points"] == 195
    assert any("5 of 200 points (2.5 %)" in note for note in numbers["notes"])


def test_training_points_and_polygons_are_refused(
    ground: tuple[Path, np.ndarray, np.ndarray], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    map_path, mapped, _ = ground
    row, column = np.nonzero(mapped[:, 20:60] > 0)
    near = np.flatnonzero((row // 10 % 4 == 0) & (column // 10 == 1))
    x, y = NORTH_UP.c + 30 * (column[near] + 20.5), NORTH_UP.f - 30 * (row[near] + 0.5)
    names = [NAMES[v - 1] for v in mapped[row[near], column[near] + 20]]
    table = gpd.GeoDataFrame({"reference": names}, geometry=shapely.points(x, y), crs=UTM12)
    table.to_file(tmp_path / "training.gpkg")
    code, _ = assess(map_path, tmp_path / "training.gpkg")
    assert code == 2
    code, _ = assess(map_path, tmp_path / "training.gpkg", "--declared-design", "simple")
    assert code == 2
    table.set_geometry(table.buffer(50)).to_file(tmp_path / "polygons.gpkg")
    code, _ = assess(map_path, tmp_path / "polygons.gpkg", "--declared-design", "simple")
    assert code == 2
    said = capsys.readouterr().err
    assert "nothing tells how these points were drawn" in said
    assert "lie in clusters" in said
    assert "single points" in said


def test_points_drawn_elsewhere_need_someones_word(
    ground: tuple[Path, np.ndarray, np.ndarray], tmp_path: Path
) -> None:
    map_path, _, truth = ground
    sample = label(draw(map_path, tmp_path, "--points", "300"), truth)
    points = gpd.read_file(sample, layer="points")[["reference", "geometry"]].to_crs(4326)
    points.to_file(tmp_path / "theirs.geojson")
    code, theirs = assess(map_path, tmp_path / "theirs.geojson", "--declared-design", "stratified")
    _, ours = assess(map_path, sample)
    assert code == 0
    assert theirs["overall_accuracy"] == pytest.approx(ours["overall_accuracy"])
    assert any("the word of whoever ran this" in note for note in theirs["notes"])


def test_labels_saved_as_another_file_are_checked_against_the_draw(
    ground: tuple[Path, np.ndarray, np.ndarray], tmp_path: Path
) -> None:
    map_path, _, truth = ground
    sample = label(draw(map_path, tmp_path, "--points", "200", "--blind"), truth)
    points = gpd.read_file(sample, layer="points")
    assert not {"map_class", "stratum", "inclusion_probability"} & set(points.columns)
    points["true"] = [NAMES.index(n) + 1 for n in points["reference"]]  # values in place of names
    points.to_crs(4326).to_file(tmp_path / "labels.geojson")
    more = ["--drawn", str(sample), "--reference-column", "true"]
    code, numbers = assess(map_path, tmp_path / "labels.geojson", *more)
    assert code == 0
    assert numbers["overall_accuracy"] == assess(map_path, sample)[1]["overall_accuracy"]


def test_a_class_that_only_the_reference_has(
    ground: tuple[Path, np.ndarray, np.ndarray], tmp_path: Path
) -> None:
    map_path, _, truth = ground

    def snow(points: gpd.GeoDataFrame) -> gpd.GeoDataFrame:
        points.loc[:9, "reference"] = "snow"
        return points

    sample = label(draw(map_path, tmp_path, "--points", "200"), truth, snow)
    assert assess(map_path, sample)[0] == 2
    code, numbers = assess(map_path, sample, "--extra-classes", "snow")
    assert code == 0
    row = numbers["classes"][3]
    assert row["name"] == "snow" and row["users_accuracy"]["value"] is None and row["map_area_ha"] == 0
    assert row["area_ha"]["value"] > 0 and row["producers_accuracy"]["value"] == 0


def test_undefined_is_null_for_programs(
    ground: tuple[Path, np.ndarray, np.ndarray], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    map_path, _, truth = ground
    sample = label(draw(map_path, tmp_path, "--design", "simple", "--points", "2"), truth)
    words = ["accuracy", "--map", str(map_path), "--sample", str(sample), "--events", "jsonl"]
    assert main([*words, "--estimator", "post-stratified", "--report", str(tmp_path / "r.html")]) == 0
    last = capsys.readouterr().out.splitlines()[-1]
    assert "NaN" not in last and json.loads(last)["overall_accuracy"] is None
    assert "undefined" in (tmp_path / "r.html").read_text()


def test_the_terminal_says_why_a_class_has_no_area() -> None:
    classes = [{"name": "bog", "area_ha": {"value": None, "reason": "no point was of this class"}}]
    areas = {"bog": (math.nan, math.nan), "fen": (2.0, 3.0), "heath": (9.0, 3.0)}
    said = AccuracyJobResult(0.9, 0.8, 1.0, 50, 95.0, areas, {"classes": classes}).summary()
    assert "bog    –  (no point was of this class)" in said
    assert "fen    2.0 ± 3.0 ha  (the interval reaches below 0: few points)" in said
    assert "heath  9.0 ± 3.0 ha" in said.splitlines()[-1] and "below" not in said.splitlines()[-1]
