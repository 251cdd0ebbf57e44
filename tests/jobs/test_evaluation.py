"""The job *evaluate* with all its parts: what it writes is what the pixels bear out."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import pytest
import rasterio
import sklearn.metrics as sk
from odc.geo.geobox import GeoBox
from shapely.geometry import box

from geotoolbox.cli import main
from geotoolbox.core.classes import ClassTable
from geotoolbox.core.events import SILENT
from geotoolbox.jobs.registry import find_job
from geotoolbox.jobs.spec import validate_spec
from geotoolbox.metrics import BlockConfusion, confusion_matrix
from geotoolbox.prediction.outputs import BandInfo, write_class_raster, write_raster_atomic
from tests.make import NORTH_UP, UTM12

NAMES = {1: "water", 2: "forest", 3: "field"}
HEIGHT, WIDTH = 120, 160


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A map with probabilities, a reference that differs from it, and two regions."""
    place = tmp_path_factory.mktemp("evaluation")
    rng, grid = np.random.default_rng(0), GeoBox((HEIGHT, WIDTH), NORTH_UP, UTM12)
    rough = np.kron(rng.integers(0, 3, (12, 16)), np.ones((10, 10), int))
    logits = 2.0 * np.eye(3)[rough].transpose(2, 0, 1) + rng.normal(0, 1, (3, HEIGHT, WIDTH))
    p = np.exp(logits) / np.exp(logits).sum(axis=0)
    stored = np.round(p * 250).astype(np.uint8)
    mapped, truth = p.argmax(axis=0) + 1, rough + 1
    mapped[:3], truth[:, :5] = 255, 255
    stored[:, :3] = 255
    table, everywhere = ClassTable.from_names(NAMES), (slice(0, HEIGHT), slice(0, WIDTH))
    for name, values in (("map", mapped), ("truth", truth)):
        write_class_raster(place / f"{name}.tif", [(everywhere, values.astype(np.uint8))], grid, table)
    bands = [BandInfo(n, 1 / 250) for n in NAMES.values()]
    write_raster_atomic(place / "p.tif", [(everywhere, stored)], grid, dtype="uint8", bands=bands, nodata=255)
    left, top = NORTH_UP.c, NORTH_UP.f
    halves = [box(left, top - 3600, left + 2400, top), box(left + 2400, top - 3600, left + 4800, top)]
    gpd.GeoDataFrame({"part": ["west", "east"]}, geometry=halves, crs=UTM12).to_file(place / "regions.gpkg")
    return place


def pixels(path: Path) -> np.ndarray:
    with rasterio.open(path) as raster:
        return raster.read().squeeze().astype(int)


@pytest.fixture(scope="module")
def numbers(folder: Path) -> dict[str, Any]:
    words = ["evaluate", "--map", str(folder / "map.tif"), "--reference", str(folder / "truth.tif")]
    words += ["--metrics", str(folder / "m.json"), "--errors", str(folder / "e.tif"), "--block-px", "20"]
    words += ["--report", str(folder / "r.html"), "--regions", str(folder / "regions.gpkg")]
    words += ["--region-column", "part", "--probabilities", str(folder / "p.tif"), "--boundary-m", "60"]
    assert main([*words, "--objects", "--seed", "7"]) == 0
    return json.loads((folder / "m.json").read_text(encoding="utf-8"))


def test_metrics_file_names_what_it_holds(folder: Path, numbers: dict[str, Any]) -> None:
    mapped, truth = pixels(folder / "map.tif"), pixels(folder / "truth.tif")
    counts = confusion_matrix(
        np.where(truth == 255, -1, truth - 1), np.where(mapped == 255, -1, mapped - 1), 3
    )
    assert numbers["format"] == "geotoolbox-evaluation/1"
    assert numbers["confusion"] == counts.tolist()
    rows = numbers["classes"]
    assert [(r["value"], r["name"]) for r in rows] == list(NAMES.items())
    assert all(len(r["color"]) == 3 for r in rows)
    assert rows[1]["support"] == counts[1].sum() and rows[1]["iou"] == pytest.approx(
        counts[1, 1] / (counts[1].sum() + counts[:, 1].sum() - counts[1, 1])
    )
    assert numbers["blocks"] == {"file": "m.blocks.gpkg", "block_px": 20, "count": 48}
    assert numbers["errors"] == {"file": "e.tif", "classes": 3}
    assert np.array_equal(BlockConfusion.open(folder / "m.blocks.gpkg").total(), counts)


def test_disagreement_is_split_into_quantity_and_allocation(numbers: dict[str, Any]) -> None:
    area = np.array(numbers["area_weighted"]["confusion_m2"])
    share = area / area.sum()
    quantity = np.abs(share.sum(axis=0) - share.sum(axis=1)).sum() / 2
    assert numbers["quantity_disagreement"] == pytest.approx(quantity)
    wrong = numbers["quantity_disagreement"] + numbers["allocation_disagreement"]
    assert wrong == pytest.approx(1 - numbers["area_weighted"]["overall_accuracy"])


def test_error_raster_tells_reference_and_map(folder: Path, numbers: dict[str, Any]) -> None:
    codes, k = pixels(folder / "e.tif"), numbers["errors"]["classes"]
    mapped, truth = pixels(folder / "map.tif"), pixels(folder / "truth.tif")
    here = codes > 0
    assert np.array_equal(here, (mapped < 255) & (truth < 255))
    assert np.array_equal((codes[here] - 1) // k + 1, truth[here])
    assert np.array_equal((codes[here] - 1) % k + 1, mapped[here])
    assert (folder / "e.qml").exists()


def test_intervals_hold_the_scores(numbers: dict[str, Any]) -> None:
    found = numbers["intervals"]
    assert (found["level"], found["resamples"], found["blocks"], found["seed"]) == (0.95, 1000, 48, 7)
    for key in ("overall_accuracy", "mean_iou"):
        low, high = found["scores"][key]
        assert low < numbers[key] < high
    for row, scores in zip(found["classes"], numbers["classes"], strict=True):
        assert row["iou"][0] < scores["iou"] < row["iou"][1]


def test_regions_add_up_to_the_whole(numbers: dict[str, Any]) -> None:
    west, east = numbers["regions"]
    assert (west["name"], east["name"]) == ("west", "east")
    assert (np.array(west["confusion"]) + np.array(east["confusion"])).tolist() == numbers["confusion"]
    assert west["intervals"]["blocks"] == 24


def test_curves_and_calibration_are_those_of_the_stored_probabilities(
    folder: Path, numbers: dict[str, Any]
) -> None:
    truth, p = pixels(folder / "truth.tif"), pixels(folder / "p.tif") / 250
    here = (truth < 255) & (p[0] <= 1)
    classes, scores = truth[here] - 1, p[:, here]
    hot = np.eye(3)[classes]
    assert numbers["curves"]["macro"]["auc"] == pytest.approx(sk.roc_auc_score(hot, scores.T), abs=1e-9)
    assert numbers["curves"]["micro"]["average_precision"] == pytest.approx(
        sk.average_precision_score(hot, scores.T, average="micro"), abs=1e-9
    )
    found = numbers["calibration"]
    surprise = -np.log(np.maximum(scores[classes, np.arange(len(classes))], 0.002)).mean()
    assert found["cross_entropy"] == pytest.approx(surprise, rel=1e-6)
    assert found["pixels"] == here.sum() == sum(b["pixels"] for b in found["bins"])
    assert 0.5 < found["temperature"] < 2


def test_boundary_and_objects_are_there(numbers: dict[str, Any]) -> None:
    assert numbers["boundary"]["width_px"] == 2
    assert all(0 < row["boundary_iou"] < 1 for row in numbers["boundary"]["classes"])
    rows = numbers["objects"]["classes"]
    assert all(row["matched"] <= min(row["map"], row["reference"]) for row in rows)
    assert sum(row["reference"] for row in rows) < sum(row["map"] for row in rows)  # the map is speckled


def test_report_tells_intervals_and_regions(folder: Path, numbers: dict[str, Any]) -> None:
    page = (folder / "r.html").read_text(encoding="utf-8")
    assert "the file r.recipe.yaml (beside this report)" in page and "\n  map: map.tif\n" in page
    for caption in ("All compared pixels, with 95 % intervals", "Scores of each region, with 95 % intervals",
                    "Edges of each class", "Objects of each class; the same from an IoU of 0.5 on"):  # fmt: skip
        assert f'<caption class="sr">{caption}</caption>' in page
    assert f'data-value="{numbers["regions"][0]["overall_accuracy"]}"' in page
    assert f'data-value="{numbers["boundary"]["mean"]}"' in page


def test_same_spec_gives_the_same_numbers(folder: Path, numbers: dict[str, Any]) -> None:
    job = find_job("run")
    before = (folder / "m.json").read_bytes()
    recipes = sorted(folder.glob("*.recipe.yaml"))
    assert recipes
    (folder / "m.json").unlink()
    job.run(validate_spec(job.spec, {"recipe": str(recipes[0])}), SILENT)
    assert (folder / "m.json").read_bytes() == before


@pytest.mark.parametrize(
    ("more", "words"),
    [
        (["--regions", "regions.gpkg", "--region-column", "nam"], "no such column"),
        (["--probabilities", "map.tif"], "the bands are not the map's classes"),
        (["--metrics", "x.json", "--regions", "none.gpkg"], "no such file"),
    ],
)
def test_what_does_not_fit_is_said(
    folder: Path, capsys: pytest.CaptureFixture[str], more: list[str], words: str
) -> None:
    more = [str(folder / w) if "." in w and not w.startswith("--") else w for w in more]
    base = ["evaluate", "--map", str(folder / "map.tif"), "--reference", str(folder / "truth.tif")]
    assert main([*base, *more]) == 2
    assert words in capsys.readouterr().err
