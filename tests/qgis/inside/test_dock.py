"""The dock reads what runs write, draws it, cancels, and shows on the map where a confusion lies."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest
from geotoolbox_qgis.dock import GeoToolboxDock
from geotoolbox_qgis.dock.confusion import read_confusion
from geotoolbox_qgis.dock.curves import CurvesWidget, nice_ticks
from geotoolbox_qgis.dock.errorlayer import RIGHT, WRONG, find_places, place_extent, show_cell
from geotoolbox_qgis.dock.matrix import PIXELS, SHARE_OF_REFERENCE, MatrixTable
from geotoolbox_qgis.dock.theme import contrast_text, duration, short
from geotoolbox_qgis.styling import GROUP
from qgis.core import QgsCoordinateReferenceSystem, QgsMapRendererParallelJob, QgsMapSettings, QgsProject
from qgis.gui import QgsMapCanvas
from qgis.PyQt.QtCore import QEvent, QSize, Qt
from qgis.PyQt.QtGui import QColor, QKeyEvent, QPalette


class Iface:
    """What the dock asks of QGIS's window."""

    def __init__(self) -> None:
        self.canvas = QgsMapCanvas()

    def mapCanvas(self) -> QgsMapCanvas:
        return self.canvas


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    folder = tmp_path / "runs"
    folder.mkdir()
    return folder


@pytest.fixture
def dock(runs: Path, qgis_new_project):
    made = GeoToolboxDock(Iface(), runs_folder=runs)
    made.show()
    yield made
    made.close_up()
    made.deleteLater()


def begin(runs: Path, name: str, algorithm: str) -> Path:
    folder = runs / name
    folder.mkdir()
    asked = {"algorithm": algorithm, "jobs": {"evaluate": {"map": "/data/map.tif"}}, "started": time.time()}
    (folder / "spec.json").write_text(json.dumps(asked))
    (folder / "events.jsonl").write_text("")
    (folder / "alive").touch()
    return folder


def tell(run: Path, **event) -> None:
    with open(run / "events.jsonl", "a", encoding="utf-8") as stream:
        stream.write(json.dumps(event) + "\n")


def end(run: Path, status: str, **values) -> None:
    found = {"status": status, "message": "", "outputs": {}, "result": {}, "ended": time.time(), **values}
    (run / "result.json").write_text(json.dumps(found))


def press(widget, key) -> None:
    modifier = Qt.KeyboardModifier.NoModifier
    for kind in (QEvent.Type.KeyPress, QEvent.Type.KeyRelease):
        event = QKeyEvent(kind, key, modifier)
        widget.keyPressEvent(event) if kind == QEvent.Type.KeyPress else widget.keyReleaseEvent(event)


def test_a_run_is_followed_as_it_goes(dock: GeoToolboxDock, runs: Path) -> None:
    assert "No run yet" in dock.live.title.text() and dock.live.first_steps.isVisible()
    run = begin(runs, "20260101T100000-trainsegmentation", "trainsegmentation")
    tell(run, kind="progress", stage="train", done=30, total=120, seconds_left=95, message="epoch 2")
    for epoch, loss in ((1, 1.25), (2, 0.75)):
        tell(run, kind="metric", name="train_loss", value=loss, step=epoch)
    dock.refresh()
    assert "running" in dock.live.title.text() and dock.live.bar.value() == 250
    assert "epoch 2" in dock.live.stage.text() and "1 min 35 s" in dock.live.left.text()
    assert dock.live.curves.reading() == "Epoch 2: training loss 0.750"
    tell(run, kind="metric", name="val_mean_iou", value=0.5, step=2)
    dock.refresh()
    assert dock.live.curves.reading() == "Epoch 2: training loss 0.750, mean IoU 0.500"
    end(run, "done", message="held out accuracy 0.9", result={"overall_accuracy": 0.9, "mean_iou": 0.8})
    dock.refresh()
    assert "done" in dock.live.title.text() and not dock.live.cancel.isVisible()
    assert dock.history.tree.topLevelItem(0).text(1) == "0.90 (IoU 0.80)"


def test_cancel_asks_the_runner_by_a_file(dock: GeoToolboxDock, runs: Path) -> None:
    run = begin(runs, "20260101T100000-trainsegmentation", "trainsegmentation")
    dock.refresh()
    assert dock.live.cancel.isEnabled()
    dock.live.cancel.click()
    assert (run / "cancel").exists() and not dock.live.cancel.isEnabled()
    end(run, "cancelled", message="cancelled: finished work is kept")
    dock.refresh()
    assert "cancelled" in dock.live.title.text()


def test_words_from_files_are_never_markup(dock: GeoToolboxDock, runs: Path) -> None:
    run = begin(runs, "20260101T100000-x", "<img src=x>")
    tell(run, kind="progress", stage="<h1>stage", done=1, total=2, message="<b>bold")
    dock.refresh()
    shown = dock.live.title.text() + dock.live.stage.text()
    assert "&lt;img" in shown and "&lt;h1&gt;" in shown and "<b>" not in shown and "<img" not in shown


def test_past_runs_are_listed_newest_first(dock: GeoToolboxDock, runs: Path, results: Path) -> None:
    old = begin(runs, "20250101T100000-predictsegmentation", "predictsegmentation")
    end(old, "failed", message="BandMismatch")
    new = begin(runs, "20260101T100000-evaluatesegmentation", "evaluatesegmentation")
    end(
        new,
        "done",
        outputs={"REPORT": str(results / "report.html"), "METRICS": str(results / "metrics.json")},
    )
    dock.refresh()
    tree = dock.history.tree
    assert [tree.topLevelItem(i).text(0)[2:] for i in range(2)] == [
        "Evaluate a class map",
        "Predict with a segmentation model",
    ]
    dock.history.select(old)
    assert not dock.history.report.isEnabled() and "failed" in dock.live.title.text()
    dock.history.select(new)
    assert dock.history.report.isEnabled() and dock.history.matrix.isEnabled()
    dock.refresh()
    assert dock.run().folder == new and dock.history.current().folder == new  # a refresh keeps the choice


def test_an_evaluation_that_ends_brings_its_matrix(dock: GeoToolboxDock, runs: Path, results: Path) -> None:
    run = begin(runs, "20260101T100000-evaluatesegmentation", "evaluatesegmentation")
    dock.refresh()
    assert dock.accuracy.confusion is None
    tell(run, kind="artifact", name="metrics", path=str(results / "metrics.json"))
    end(run, "done")
    dock.refresh()
    assert dock.accuracy.confusion is not None and "map.tif" in dock.accuracy.heading.text()


def test_the_matrix_shows_counts_shares_and_each_class_accuracy(results: Path, qgis_app) -> None:
    table = MatrixTable()
    table.set_confusion(read_confusion(results / "metrics.json"), PIXELS)
    texts = [[table.item(r, c).text() for c in range(4)] for r in range(4)]
    # 64 × 64 pixels: 48 rows of 32 + 32, 16 rows of town; 50 and 16 of them are wrong
    assert texts[0] == ["1486", "50", "·", "97\u202f%"]
    assert texts[1] == ["·", "1536", "·", "100\u202f%"]
    assert texts[2] == ["16", "·", "1008", "98\u202f%"]
    assert texts[3] == ["99\u202f%", "97\u202f%", "100\u202f%", "98\u202f%"]
    assert table.horizontalHeaderItem(1).text() == "<b>forest</b> & more"
    assert "<b>forest" not in table.horizontalHeaderItem(1).toolTip()
    assert "<b>forest" not in table.item(0, 1).toolTip()
    table.set_confusion(table.confusion(), SHARE_OF_REFERENCE)
    assert table.item(0, 1).text() == "3.3\u202f%"


def test_the_matrix_is_used_with_the_keyboard(results: Path, qgis_app) -> None:
    table = MatrixTable()
    table.set_confusion(read_confusion(results / "metrics.json"))
    chosen = []
    table.cell_chosen.connect(lambda row, column: chosen.append((row, column)))
    table.setCurrentCell(0, 0)
    press(table, Qt.Key.Key_Right)
    press(table, Qt.Key.Key_Return)
    table.setCurrentCell(3, 3)
    press(table, Qt.Key.Key_Space)  # a margin is no cell
    assert chosen == [(0, 1)]


def draw(layer) -> list[tuple[int, int]]:
    """Return the (row, column) of pixels of the 64 × 64 grid that the layer draws."""
    settings = QgsMapSettings()
    settings.setLayers([layer])
    settings.setDestinationCrs(layer.crs())
    settings.setExtent(layer.extent())
    settings.setOutputSize(QSize(64, 64))
    settings.setBackgroundColor(QColor("white"))
    job = QgsMapRendererParallelJob(settings)
    job.start()
    job.waitForFinished()
    image = job.renderedImage()
    white = QColor("white").rgb()
    return [(r, c) for r in range(64) for c in range(64) if image.pixel(c, r) != white]


def test_a_cell_becomes_the_layer_of_its_pixels(results: Path, qgis_new_project) -> None:
    project, found = QgsProject.instance(), read_confusion(results / "metrics.json")
    layer = show_cell(project, found, 0, 1)
    assert layer.name() == "Errors: water → <b>forest</b> & more"
    assert sorted(draw(layer)) == [(r, c) for r in range(10) for c in range(5)]
    again = show_cell(project, found, 2, 0)
    assert again.id() == layer.id() and len(project.mapLayers()) == 1
    assert sorted(draw(again)) == [(r, c) for r in range(60, 64) for c in range(60, 64)]
    assert [c.color.name() for c in again.renderer().classes()] == [WRONG]
    right = show_cell(project, found, 1, 1)
    assert len(draw(right)) == 1536 and right.renderer().classes()[0].color.name() == RIGHT
    assert project.layerTreeRoot().children()[0].name() == GROUP


def test_places_are_the_blocks_with_most_of_the_cell(results: Path, qgis_new_project) -> None:
    project, found = QgsProject.instance(), read_confusion(results / "metrics.json")
    project.setCrs(QgsCoordinateReferenceSystem("EPSG:32633"))
    (place,) = find_places(found, 2, 0)
    assert place.pixels == 16
    extent = place_extent(found, place, project)
    assert (extent.xMinimum(), extent.xMaximum()) == (600_320, 600_640)
    assert (extent.yMinimum(), extent.yMaximum()) == (4_999_360, 4_999_680)
    places = find_places(found, 1, 1)
    assert [p.pixels for p in places] == sorted((p.pixels for p in places), reverse=True)
    assert sum(p.pixels for p in places) == 1536


def test_without_an_error_raster_the_blocks_show_where(
    results: Path, tmp_path: Path, qgis_new_project
) -> None:
    values = json.loads((results / "metrics.json").read_text())
    values["errors"] = None
    values["blocks"]["file"] = str(results / values["blocks"]["file"])
    (tmp_path / "metrics.json").write_text(json.dumps(values))
    layer = show_cell(QgsProject.instance(), read_confusion(tmp_path / "metrics.json"), 0, 1)
    assert layer.featureCount() == 1
    values["blocks"] = None
    (tmp_path / "metrics.json").write_text(json.dumps(values))
    with pytest.raises(ValueError, match="wrote no error raster"):
        show_cell(QgsProject.instance(), read_confusion(tmp_path / "metrics.json"), 0, 1)


def test_click_zoom_and_step_through_the_places(dock: GeoToolboxDock, results: Path) -> None:
    QgsProject.instance().setCrs(QgsCoordinateReferenceSystem("EPSG:32633"))
    dock.iface.canvas.setDestinationCrs(QgsCoordinateReferenceSystem("EPSG:32633"))
    dock.iface.canvas.resize(400, 400)
    dock.show_metrics(results / "metrics.json")
    dock.accuracy.table.cell_chosen.emit(0, 1)
    assert "50 pixels" in dock.accuracy.where.text() and dock.accuracy.next.isEnabled()
    dock.accuracy.next.click()
    assert "Place 1 of 1" in dock.accuracy.where.text()
    centre = dock.iface.canvas.extent().center()
    assert (centre.x(), centre.y()) == pytest.approx((600_160, 4_999_840))
    dock.accuracy.table.cell_chosen.emit(1, 0)
    assert "no pixel" in dock.accuracy.where.text() and not dock.accuracy.next.isEnabled()


def test_a_file_that_is_no_evaluation_is_named(dock: GeoToolboxDock, tmp_path: Path) -> None:
    (tmp_path / "other.json").write_text('{"confusion": [[1, 2]], "class_table": []}')
    dock.show_metrics(tmp_path / "other.json")
    assert "other.json" in dock.accuracy.heading.text() and not dock.accuracy.table.isVisible()


def test_arrow_keys_read_the_curves(qgis_app) -> None:
    curves = CurvesWidget()
    curves.set_series({"train_loss": [(1.0, 1.5), (2.0, 1.0), (3.0, 0.5)], "unknown": [(9.0, 9.0)]})
    assert curves.reading().startswith("Epoch 3:")
    press(curves, Qt.Key.Key_Left)
    assert curves.accessibleDescription() == "Epoch 2: training loss 1.000"
    press(curves, Qt.Key.Key_Home)
    press(curves, Qt.Key.Key_Left)
    assert curves.reading().startswith("Epoch 1:")
    press(curves, Qt.Key.Key_Escape)
    assert curves.reading().startswith("Epoch 3:")


@pytest.mark.parametrize("dark", [False, True])
def test_curves_stand_out_on_light_and_dark(dark: bool, qgis_app) -> None:
    curves = CurvesWidget()
    palette = QPalette()
    palette.setColor(QPalette.ColorRole.Base, QColor("#202020" if dark else "#ffffff"))
    palette.setColor(QPalette.ColorRole.Text, QColor("#f0f0f0" if dark else "#101010"))
    curves.setPalette(palette)
    curves.resize(360, 300)
    curves.set_series({"val_loss": [(1.0, 1.0), (2.0, 0.5)], "val_mean_iou": [(1.0, 0.2), (2.0, 0.7)]})
    image = curves.grab().toImage()
    drawn = {QColor(image.pixel(x, y)).name() for x in range(0, 360) for y in range(0, 300)}
    assert ("#ffb067" if dark else "#d55e00") in drawn  # the validation curve in its theme's colour
    assert ("#202020" if dark else "#ffffff") in drawn


def test_numbers_in_words() -> None:
    assert nice_ticks(0.0, 0.93) == [0.0, 0.25, 0.5, 0.75, 1.0] and nice_ticks(5.0, 5.0)[0] < 5.0
    assert [short(n) for n in (7, 9999, 37_611, 1_250_000)] == ["7", "9999", "37.6\u202fk", "1.25\u202fM"]
    assert [duration(s) for s in (5, 185, 7800, None)] == ["5 s", "3 min 05 s", "2 h 10 min", ""]
    assert contrast_text(QColor("#0072b2")).name() == "#ffffff"
    assert contrast_text(QColor("#f0e442")).name() == "#000000"
