"""The notebooks: outputs are stripped, and every one runs, offline, from its first cell to its last."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbclient import NotebookClient

FOLDER = Path(__file__).resolve().parents[2] / "notebooks"
pytestmark = pytest.mark.timeout(900)  # a busy machine is no failure
NOTEBOOKS = sorted(path.name for path in FOLDER.glob("*.ipynb"))
# No proxy answers here: a cell that reached for the network would fail at once.
OFFLINE = {name: "http://127.0.0.1:9" for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY")}


# The notebooks train for minutes; here what they show matters, not how good the maps get. With
# GEOTOOLBOX_FULL_NOTEBOOKS=1 they run as they stand.
SHORTER = (
    ("epochs=3", "epochs=1"),
    ("epochs=2", "epochs=1"),
    ('"epochs": 3', '"epochs": 1, "baseline": False'),
    ("length=320", "length=64"),
)


def run(name: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Run a notebook, with shorter trainings, in a folder of its own and return it with its outputs."""
    for key, value in OFFLINE.items():
        monkeypatch.setenv(key, value)
    monkeypatch.setenv("PYDEVD_DISABLE_FILE_VALIDATION", "1")
    notebook = nbformat.read(FOLDER / name, as_version=4)
    if not os.environ.get("GEOTOOLBOX_FULL_NOTEBOOKS"):
        for cell in notebook.cells:
            for long, short in SHORTER if cell.cell_type == "code" else ():
                cell.source = cell.source.replace(long, short)
    NotebookClient(notebook, timeout=800, resources={"metadata": {"path": str(folder)}}).execute()
    return notebook


def texts(notebook: Any) -> str:
    """All that the cells have answered, as text."""
    found = []
    for cell in notebook.cells:
        for output in cell.get("outputs", []):
            found.append(str(output.get("text", "")))
            found += [str(v) for k, v in output.get("data", {}).items() if k.startswith("text/")]
    return "\n".join(found)


def widgets(notebook: Any) -> int:
    return sum(
        "application/vnd.jupyter.widget-view+json" in output.get("data", {})
        for cell in notebook.cells
        for output in cell.get("outputs", [])
    )


def pictures(notebook: Any) -> int:
    return sum("image/png" in o.get("data", {}) for cell in notebook.cells for o in cell.get("outputs", []))


def test_the_seven_and_the_app_are_there() -> None:
    assert [name[0] for name in NOTEBOOKS] == [*"1234567", "e"]


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_outputs_are_stripped_and_the_format_is_sound(name: str) -> None:
    notebook = nbformat.read(FOLDER / name, as_version=4)
    nbformat.validate(notebook)
    assert (notebook.nbformat, notebook.nbformat_minor) == (4, 5)
    for cell in notebook.cells:
        if cell.cell_type == "code":
            assert cell.outputs == []
            assert cell.execution_count is None
    assert set(notebook.metadata) == {"kernelspec", "language_info"}
    assert "/home/" not in (FOLDER / name).read_text(encoding="utf-8")


def test_1_first_map(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    done = run("1-first-map.ipynb", tmp_path, monkeypatch)
    assert (tmp_path / "work" / "map.tif").exists()
    assert (tmp_path / "work" / "report.html").stat().st_size > 10_000
    assert widgets(done) >= 2
    assert "overall accuracy" in texts(done)


def test_2_layers_aligned(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    done = run("2-layers-aligned.ipynb", tmp_path, monkeypatch)
    said = texts(done)
    assert pictures(done) == 1
    assert "EPSG:3035" in said
    assert "the fill value of the others: [0.0]" in said


def test_3_samplers_and_splits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    done = run("3-samplers-and-splits.ipynb", tmp_path, monkeypatch)
    assert "torch.Size([16, 4, 64, 64])" in texts(done)
    assert done.cells[-2].outputs[-1]["data"]["text/plain"] == "38"  # 40 drawn, 2 excluded


def test_4_train_predict_judge(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    done = run("4-train-predict-judge.ipynb", tmp_path, monkeypatch)
    assert texts(done).count("'done'") >= 1
    assert (tmp_path / "work" / "model.gtb").exists()
    assert (tmp_path / "work" / "maps" / "map-001.tif").exists()
    assert list((tmp_path / "work" / "evaluation").glob("*.blocks.gpkg"))


def test_5_own_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    said = texts(run("5-own-model-own-loop.ipynb", tmp_path, monkeypatch))
    assert "epoch 2: loss" in said
    assert "water" in said
    assert "overall accuracy" in said


def test_6_from_other_libraries(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    said = texts(run("6-from-other-libraries.ipynb", tmp_path, monkeypatch))
    assert "'image': (8, 4, 64, 64)" in said
    assert "job: train" in said


def test_7_zion_says_so_where_the_scene_is_absent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ZION", str(tmp_path / "nowhere"))
    assert "There is no Zion scene" in texts(run("7-zion.ipynb", tmp_path, monkeypatch))


def test_7_zion_where_it_is_present(zion: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ZION", str(zion))
    done = run("7-zion.ipynb", tmp_path, monkeypatch)
    assert "The Zion scene is in" in texts(done)
    assert pictures(done) == 1


def test_the_explorer_notebook_is_an_app(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    done = run("explorer.ipynb", tmp_path, monkeypatch)
    assert widgets(done) == 1
    assert not [o for c in done.cells for o in c.get("outputs", []) if o.output_type == "error"]
    assert os.path.isdir(tmp_path / "work" / "explorer")
