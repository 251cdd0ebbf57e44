"""MetricsExplorer without a browser: the numbers of a known confusion, and where it lies."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import traitlets
from affine import Affine
from geotoolbox_widgets import MetricsExplorer
from geotoolbox_widgets.matrix import ConfusionMatrixTable

from geotoolbox.core.classes import ClassTable
from geotoolbox.errors import BadInput, CannotRead
from tests.make import write_raster

GRID = Affine(30.0, 0.0, 300_000.0, 0.0, -30.0, 4_140_000.0)
COLORS = {1: (38, 110, 190), 2: (30, 104, 52), 3: (178, 168, 158)}


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A reference of vertical stripes, and a map that takes 2 for 1 in 30 pixels of one block and 5 of another."""
    folder = tmp_path_factory.mktemp("pair")
    truth = np.repeat([1, 2, 3, 1], 32)[None].repeat(64, axis=0).astype("uint8")
    mapped = truth.copy()
    mapped[2:8, 34:39] = 1  # 30 pixels of class 2, in the block of row 0, column 1
    mapped[40, 40:45] = 1  # 5 pixels of class 2, in the block of row 1, column 1
    mapped[50:52, 66:70] = 2  # 8 pixels of class 3, in the block of row 1, column 2
    options = {
        "transform": GRID,
        "nodata": 0,
        "colormap": COLORS,
        "tiled": True,
        "blockxsize": 32,
        "blockysize": 32,
    }
    return (
        write_raster(folder / "map.tif", mapped, **options),  # type: ignore[arg-type]
        write_raster(folder / "truth.tif", truth, **options),  # type: ignore[arg-type]
    )


@pytest.fixture(scope="module")
def explorer(pair: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory) -> MetricsExplorer:
    """An explorer that has evaluated the pair in blocks of 32 pixels."""
    values = {"map": str(pair[0]), "reference": (str(pair[1]),), "block_px": 32, "resamples": 200}
    found = MetricsExplorer(values=values, folder=tmp_path_factory.mktemp("evaluation"))
    found._start.click()
    assert found.wait(120) == "done", found.run.error
    return found


def test_the_matrix_holds_the_known_counts(explorer: MetricsExplorer) -> None:
    assert explorer.matrix.counts == [[4096, 0, 0], [35, 2013, 0], [0, 8, 2040]]
    assert explorer.scores.overall_accuracy == pytest.approx(1 - 43 / 8192)
    assert "0.995" in explorer._tiles.value
    assert "interval" in explorer._tiles.value
    assert f"{2013 / 2048:.3f}" in explorer._per_class.value


def test_a_cell_shows_where_it_lies_the_worst_first(explorer: MetricsExplorer) -> None:
    explorer.matrix.cell = (1, 0)  # as a click does
    assert explorer.measure == "chosen cell"
    assert explorer.blocks == (1, 5)
    assert "35 pixels are truly" in explorer._said.value
    assert "in 2 blocks" in explorer._said.value
    assert [(c["id"], c["note"]) for c in explorer.gallery.cells] == [(1, "30 px"), (5, "5 px")]
    features = {f["properties"]["id"]: f for f in explorer._features.features}
    assert set(features) == {1, 5}
    assert features[1]["properties"]["color"] != features[5]["properties"]["color"]
    west, south, east, north = explorer._features.bounds()
    assert -113.3 < west < east < -113.2 and 37.36 < south < north < 37.40
    explorer.cell = ()
    assert explorer.measure == "overall accuracy"
    assert explorer.blocks[:3] == (1, 6, 5)


def test_map_gallery_and_state_follow_one_selection(explorer: MetricsExplorer) -> None:
    explorer.cell = (1, 0)
    explorer._pick(5)  # as a click on the map does
    assert (explorer.block, explorer.gallery.selected, explorer._features.selected) == (5, 5, 5)
    assert explorer.state.block == 5
    explorer.gallery.selected = 1
    assert (explorer.block, explorer._features.selected) == (1, 1)
    explorer.cell = (2, 1)
    assert explorer.block == -1
    assert explorer.state.block is None
    assert explorer.blocks == (6,)


def test_blocks_are_coloured_by_their_scores(explorer: MetricsExplorer) -> None:
    explorer.cell = ()
    explorer.measure = "mean IoU"
    labels = {f["properties"]["id"]: f["properties"]["label"] for f in explorer._features.features}
    assert len(labels) == 8
    assert labels[0].endswith("100 % mean IoU")


def test_patches_mark_exactly_the_confused_pixels(explorer: MetricsExplorer) -> None:
    explorer.cell = (1, 0)
    reader = explorer._patch_reader()
    assert reader is not None and explorer._confusion is not None
    patch = reader.read(explorer._confusion.windows[1])
    marked = explorer._overlay(patch)[..., 3] > 0
    wanted = np.zeros((32, 32), bool)
    wanted[2:8, 2:7] = True
    assert np.array_equal(marked, wanted)


def test_an_evaluation_opens_from_its_file_alone(explorer: MetricsExplorer) -> None:
    again = MetricsExplorer(explorer.metrics)
    assert again.matrix.counts == explorer.matrix.counts
    again.cell = (1, 0)
    assert again.blocks == (1, 5)
    assert again.gallery.cells == []  # without map and reference there is nothing to cut patches from


def test_blocks_are_saved_for_any_gis(explorer: MetricsExplorer, tmp_path: Path) -> None:
    explorer.cell = (1, 0)
    saved = json.loads(explorer.save_blocks(tmp_path / "blocks.geojson").read_text())
    assert [f["properties"]["id"] for f in saved["features"]] == [1, 5]


def test_curves_are_drawn_from_the_file(explorer: MetricsExplorer, tmp_path: Path) -> None:
    assert "need the probabilities" in explorer._curves.value
    found = json.loads(Path(explorer.metrics).read_text())
    curve = {"roc": {"fpr": [0, 0.1, 1], "tpr": [0, 0.9, 1]},
             "precision_recall": {"recall": [0, 0.5, 1], "precision": [1, 0.9, 0.4]}}  # fmt: skip
    names = [row["name"] for row in found["class_table"]]
    found["curves"] = {
        "classes": [{"name": n, "auc": 0.91, "average_precision": 0.87, **curve} for n in names]
    }
    bins = [{"low": 0, "high": 0.5, "pixels": 10, "confidence": 0.4, "accuracy": 0.5},
            {"low": 0.5, "high": 1, "pixels": 0, "confidence": None, "accuracy": None}]  # fmt: skip
    found["calibration"] = {"ece": 0.034, "bins": bins}
    found["blocks"] = None
    (tmp_path / "metrics.json").write_text(json.dumps(found))
    shown = MetricsExplorer(tmp_path / "metrics.json")
    assert shown._curves.value.count("<svg") == 3
    assert "expected calibration error 0.034" in shown._curves.value
    assert "area 0.910" in shown._curves.value


def test_what_is_no_evaluation_is_refused(tmp_path: Path, pair: tuple[Path, Path]) -> None:
    with pytest.raises(CannotRead, match="no such file"):
        MetricsExplorer(tmp_path / "none.json")
    (tmp_path / "list.json").write_text("[1, 2]")
    with pytest.raises(BadInput, match="no evaluation"):
        MetricsExplorer(tmp_path / "list.json")
    bad = MetricsExplorer(
        values={"map": str(pair[0]), "reference": (str(tmp_path / "none.tif"),)}, folder=tmp_path
    )
    bad._start.click()
    assert bad.wait(60) == "failed"
    assert "no such file" in bad.message.text
    assert bad.message.level == "error"


def test_the_matrix_refuses_what_does_not_fit() -> None:
    classes = ClassTable.from_names(["a", "b"])
    with pytest.raises(BadInput, match="does not fit"):
        ConfusionMatrixTable(np.zeros((3, 3)), classes)
    table = ConfusionMatrixTable(np.eye(2, dtype=int), classes)
    with pytest.raises(traitlets.TraitError, match="no such cell"):
        table.cell = (2, 0)
    table.cell = (1, 1)
    table.show(np.eye(2, dtype=int), classes)
    assert table.cell == ()
