"""Trainer, PredictionViewer, MetricsExplorer and Explorer in JupyterLab in Chromium: click, kernel, page."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from affine import Affine
from playwright.sync_api import Page, expect

from tests.make import write_raster
from tests.widgets.conftest import COLORS
from tests.widgets.lab import Lab, family, free_port, listening_ports, notebook

PATIENCE_MS = 240_000
pytestmark = pytest.mark.timeout(900)  # a busy machine is no failure
HOSTILE = "rock <img src=x onerror=window.hacked=1>"


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A reference of stripes and a map with known confusions in two blocks."""
    folder = tmp_path_factory.mktemp("pair")
    truth = np.repeat([1, 2, 3, 1], 32)[None].repeat(64, axis=0).astype("uint8")
    mapped = truth.copy()
    mapped[2:8, 34:39] = 1
    mapped[40, 40:45] = 1
    options = {
        "transform": Affine(30.0, 0.0, 3e5, 0.0, -30.0, 4.14e6),
        "nodata": 0,
        "colormap": COLORS,
        "tiled": True,
    }
    return (
        write_raster(folder / "map.tif", mapped, **options),  # type: ignore[arg-type]
        write_raster(folder / "truth.tif", truth, **options),  # type: ignore[arg-type]
    )


@pytest.fixture(scope="module")
def metrics(lab: Lab, pair: tuple[Path, Path]) -> Iterator[Page]:
    """A MetricsExplorer on a page."""
    values = {"map": str(pair[0]), "reference": (str(pair[1]),), "block_px": 32, "resamples": 50}
    page = lab.open(
        [f"from geotoolbox_widgets import MetricsExplorer\nm = MetricsExplorer(values={values!r})\nm"],
        height=1500,
    )
    page.locator(".gt-evaluate").click()
    expect(page.locator("table.gt-matrix")).to_be_visible(timeout=PATIENCE_MS)
    yield page
    assert page.gt_errors == []  # type: ignore[attr-defined]
    lab.close(page)


def cell(page: Page, row: int, column: int):  # type: ignore[no-untyped-def]
    return page.locator(f"table.gt-matrix td[data-row='{row}'][data-column='{column}']")


def test_a_click_on_the_matrix_shows_where_that_confusion_lies(lab: Lab, metrics: Page) -> None:
    expect(cell(metrics, 0, 0)).to_have_text("100")
    cell(metrics, 1, 0).click()
    expect(cell(metrics, 1, 0)).to_have_attribute("aria-selected", "true")
    expect(metrics.get_by_text("35 pixels are truly")).to_be_visible()
    lab.expect(metrics, "print(m.cell, m.blocks)", "(1, 0) (1, 5)")
    expect(metrics.locator("path.leaflet-interactive")).to_have_count(2)
    expect(metrics.locator(".gt-cell")).to_have_count(2)
    expect(metrics.locator(".gt-cell").first).to_contain_text("30 px")


def test_patch_and_map_follow_each_other(lab: Lab, metrics: Page) -> None:
    metrics.locator(".gt-cell").nth(1).click()
    expect(metrics.locator("path.gt-feature-5[stroke='#ffe600']")).to_have_count(1)
    lab.expect(metrics, "print(m.block, m.state.block)", "5 5")
    metrics.locator("path.gt-feature-1").click()
    expect(metrics.locator(".gt-cell[data-id='1']")).to_have_attribute("aria-selected", "true")
    lab.expect(metrics, "print(m.block)", "1")


def test_the_matrix_answers_the_keyboard(lab: Lab, metrics: Page) -> None:
    cell(metrics, 1, 0).focus()
    metrics.keyboard.press("ArrowRight")
    metrics.keyboard.press("Enter")
    expect(cell(metrics, 1, 1)).to_have_attribute("aria-selected", "true")
    expect(cell(metrics, 1, 1)).to_be_focused()
    lab.expect(metrics, "print(m.cell)", "(1, 1)")
    metrics.keyboard.press(" ")
    expect(cell(metrics, 1, 1)).to_have_attribute("aria-selected", "false")
    lab.expect(metrics, "print(m.cell, m.measure)", "() overall accuracy")
    said = cell(metrics, 1, 0).get_attribute("aria-label")
    assert said is not None and "35 pixels" in said and "truly" in said


def test_what_the_matrix_counts_can_be_chosen(lab: Lab, metrics: Page) -> None:
    metrics.get_by_role("button", name="pixels", exact=True).click()
    expect(cell(metrics, 1, 0)).to_have_text("35")
    lab.expect(metrics, "print(m.normalize)", "none")
    metrics.get_by_role("button", name="% of reference", exact=True).click()
    expect(cell(metrics, 1, 0)).to_have_text("1.7")


def test_scores_stand_in_their_tabs(metrics: Page) -> None:
    metrics.get_by_role("tab", name="Classes", exact=True).click()
    expect(metrics.locator("table.gt-table")).to_contain_text("Precision")
    expect(metrics.locator("table.gt-table")).to_contain_text("0.983")
    metrics.get_by_role("tab", name="Confusions", exact=True).click()


def test_class_names_are_text_on_the_page(lab: Lab, metrics: Page) -> None:
    lab.python(
        metrics,
        "import numpy as np\nfrom geotoolbox.core.classes import ClassTable\nbefore = m.matrix.counts\n"
        f"m.matrix.show(np.eye(2, dtype=int), ClassTable.from_names([{HOSTILE!r}, '&amp;']))",
    )
    expect(metrics.locator("table.gt-matrix thead th").nth(1)).to_have_text(HOSTILE)
    expect(metrics.locator("table.gt-matrix thead th").nth(2)).to_have_text("&amp;")
    assert metrics.locator("table.gt-matrix img").count() == 0
    assert metrics.evaluate("() => window.hacked === undefined")
    lab.python(metrics, "m.matrix.show(np.array(before), m.classes)")
    expect(cell(metrics, 0, 0)).to_have_text("100")


def test_training_from_form_to_curves_with_pause_reload_and_cancel(
    lab: Lab, scene: tuple[Path, Path], tmp_path: Path
) -> None:
    values = {"images": (str(scene[0]),), "output": str(tmp_path / "m.gtb"), "patch_px": 16, "batch_size": 48,
              "baseline": False, "pictures": 1}  # fmt: skip
    page = lab.open([f"from geotoolbox_widgets import Trainer\nt = Trainer({values!r})\nt"], height=1300)
    page.locator(".gt-start").click()
    expect(page.locator(".gt-message")).to_contain_text("labels")  # bad input is answered on the page
    expect(page.locator(".gt-error").first).to_contain_text("this is needed")
    page.locator(".gt-field-labels textarea").fill(str(scene[1]))
    epochs = page.locator(".gt-field-epochs input")
    epochs.fill("none")
    epochs.press("Tab")
    expect(page.locator(".gt-error")).to_contain_text("integer")
    epochs.fill("400")
    epochs.press("Tab")
    expect(page.locator(".gt-error")).to_have_count(0)

    ports = listening_ports(family(lab.process.pid))
    page.locator(".gt-start").click()
    status = page.locator(".gt-status").first
    expect(status).to_contain_text("training", timeout=PATIENCE_MS)
    expect(page.locator(".gt-figure svg")).to_have_count(2, timeout=PATIENCE_MS)
    expect(page.locator(".gt-trainer img.widget-image").first).to_be_visible(timeout=PATIENCE_MS)
    expect(status).to_contain_text("left")
    begin = time.monotonic()
    lab.expect(page, "print(6 * 7)", "42")  # the kernel is free meanwhile
    assert time.monotonic() - begin < 60
    assert listening_ports(family(lab.process.pid)) == ports  # training opens no port

    lab.save(page)
    page.reload()
    expect(page.locator(".gt-status").first).to_contain_text("training", timeout=60_000)
    expect(page.locator(".gt-figure svg")).to_have_count(2)
    page.locator(".gt-pause").click()
    expect(page.locator(".gt-status").first).to_contain_text("paused", timeout=PATIENCE_MS)
    lab.expect(page, "print(t.run.state, t.form.disabled)", "paused True")
    page.locator(".gt-resume").click()
    expect(page.locator(".gt-status").first).to_contain_text("training", timeout=PATIENCE_MS)
    page.locator(".gt-cancel").click()
    expect(page.locator(".gt-status").first).to_contain_text("cancelled", timeout=PATIENCE_MS)
    assert page.gt_errors == []  # type: ignore[attr-defined]
    lab.close(page)


def test_a_drawn_rectangle_is_predicted_on_the_spot(
    lab: Lab, scene: tuple[Path, Path], model: Path, tmp_path: Path
) -> None:
    values = {"model": str(model), "images": (str(scene[0]),)}
    code = (
        f"v = PredictionViewer({values!r}, reference={str(scene[1])!r}, folder={str(tmp_path / 'maps')!r})\nv"
    )
    page = lab.open(["from geotoolbox_widgets import PredictionViewer\n" + code], height=1700)
    page.locator(".gt-predict-drawn-area").click()
    expect(page.locator(".gt-prediction > .gt-message, .gt-prediction .gt-message").last).to_contain_text(
        "no area"
    )
    page.locator("a.leaflet-draw-draw-rectangle").click()
    box = page.locator(".leaflet-container").first.bounding_box()
    assert box is not None
    x, y = box["x"] + box["width"] * 0.45, box["y"] + box["height"] * 0.4
    page.mouse.move(x, y)
    page.mouse.down()
    page.mouse.move(x + 70, y + 70, steps=4)
    page.mouse.up()
    page.locator(".gt-predict-drawn-area").click()
    expect(page.locator(".gt-prediction table.gt-table")).to_contain_text("ha", timeout=PATIENCE_MS)
    expect(page.locator(".gt-panel li.gt-layer")).to_have_count(5)
    expect(page.locator(".gt-prediction .gt-cell").first).to_contain_text(re.compile("wrong"))
    page.locator(".gt-save-path input").fill(str(tmp_path / "export.tif"))
    page.locator(".gt-save-path input").press("Tab")
    page.locator(".gt-save-cog").click()
    page.locator(".gt-save-geopackage").click()
    expect(page.locator(".gt-message").last).to_contain_text("polygons", timeout=60_000)
    assert (tmp_path / "export.tif").exists() and (tmp_path / "export.gpkg").exists()
    assert page.gt_errors == []  # type: ignore[attr-defined]
    lab.close(page)


def test_the_explorer_holds_all_panels_on_one_state(
    lab: Lab, scene: tuple[Path, Path], tmp_path: Path
) -> None:
    code = f"e = Explorer([{str(scene[0])!r}], [{str(scene[1])!r}], folder={str(tmp_path / 'x')!r})\ne"
    page = lab.open(["from geotoolbox_widgets import Explorer\n" + code], height=1200)
    for tab, seen in (
        ("Samples", ".gt-cell"), ("Train", ".gt-field-images textarea"), ("Predict", ".gt-predict-everything"),
        ("Judge", ".gt-evaluate"), ("Data", ".leaflet-container"),
    ):  # fmt: skip
        page.get_by_role("tab", name=tab, exact=True).first.click()
        expect(page.locator(f"{seen}:visible").first).to_be_visible(timeout=60_000)
        lab.expect(page, "print(e.tab)", tab)
    lab.python(page, "e.tab = 'Train'")
    expect(page.locator(".gt-start")).to_be_visible()
    same = "print(all(p.state is e.state for p in (e.data, e.samples, e.trainer, e.prediction, e.metrics)))"
    lab.expect(page, same, "True")
    assert page.gt_errors == []  # type: ignore[attr-defined]
    lab.close(page)


def test_the_explorer_is_a_page_of_its_own_through_voila(
    lab: Lab, scene: tuple[Path, Path], tmp_path: Path
) -> None:
    code = f"from geotoolbox_widgets import Explorer\nExplorer([{str(scene[0])!r}], [{str(scene[1])!r}], folder='x')"
    (tmp_path / "app.ipynb").write_text(json.dumps(notebook([code])))
    port = free_port()
    words = [
        sys.executable,
        "-m",
        "voila",
        "app.ipynb",
        "--no-browser",
        f"--port={port}",
        "--Voila.ip=127.0.0.1",
    ]
    with (tmp_path / "log").open("w") as log:
        process = subprocess.Popen(words, cwd=tmp_path, stdout=log, stderr=log, env=lab._environment())
    try:
        url = f"http://127.0.0.1:{port}/"
        for _ in range(240):
            with suppress(OSError), urllib.request.urlopen(f"{url}voila/static/", timeout=1):
                break
            if process.poll() is not None or "running at" in (tmp_path / "log").read_text():
                break
            time.sleep(0.25)
        page = lab.browser.new_page(viewport={"width": 1200, "height": 900})
        page.goto(url, timeout=120_000)
        page.get_by_role("tab", name="Train", exact=True).click(timeout=120_000)
        expect(page.locator(".gt-trainer .gt-field-images textarea")).to_have_value(str(scene[0]))
        page.close()
    finally:
        process.terminate()
        process.wait(20)
