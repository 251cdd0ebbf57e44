"""Run by QGIS itself (``qgis.bin --code``), in a real window: train, predict and evaluate, with pictures on the way.

Settings come from the environment: TOUR_OUT (scene, results, pictures and ``tour.json`` go there), TOUR_SIZE_PX
(of the scene), TOUR_MINUTES (of training), TOUR_PATCH_PX (then also without baselines: quick).
Ends with the process's exit code.
"""

from __future__ import annotations

import faulthandler
import json
import os
import time
import traceback
from pathlib import Path

import processing
import qgis.utils
from qgis.core import QgsApplication, QgsProject
from qgis.PyQt.QtCore import QEventLoop, QTimer
from qgis.PyQt.QtWidgets import QDockWidget
from qgis.utils import iface

OUT = Path(os.environ["TOUR_OUT"])
SIZE_PX = int(os.environ.get("TOUR_SIZE_PX", "600"))
MINUTES = float(os.environ.get("TOUR_MINUTES", "1"))
PATCH_PX = os.environ.get("TOUR_PATCH_PX", "")
STORY: dict = {"pictures": []}
# A modal dialog would wait for ever: say where, and end.
faulthandler.dump_traceback_later(
    int(os.environ.get("TOUR_LIMIT_S", "540")), exit=True, file=open(OUT / "stuck.txt", "w")
)


def spin(seconds: float, until=None) -> bool:
    """Let QGIS work; return whether ``until`` came true in time (True without one)."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        loop = QEventLoop()
        QTimer.singleShot(50, loop.quit)
        loop.exec()
        if until is not None and until():
            return True
    return until is None


def picture(name: str) -> None:
    """Take a picture of the whole screen, dialogs included."""
    spin(0.6)
    screen = QgsApplication.primaryScreen()
    screen.grabWindow(0).save(str(OUT / f"{name}.png"))
    STORY["pictures"].append(name)


def canvas_rests() -> None:
    """Wait until the map is drawn."""
    iface.mapCanvas().refreshAllLayers()
    spin(0.5)
    spin(30, lambda: not iface.mapCanvas().isDrawing())
    spin(0.3)


def open_scene() -> None:
    """Make the demo scene and open its layers by the algorithm for it; zoom to the images."""
    scene = {"OUTPUT": str(OUT / "demo"), "SIZE_PX": SIZE_PX}
    run_dialog("geotoolbox:demoscene", scene)
    project = QgsProject.instance()
    canvas_rests()  # QGIS takes the first layer's CRS for the project's, a little later
    project.setCrs(layer_named("image_utm32").crs())
    spin(0.5)
    iface.mapCanvas().zoomToFullExtent()
    canvas_rests()


def layer_named(name: str):
    """Return a layer of the project by its name."""
    return QgsProject.instance().mapLayersByName(name)[0]


def layer_of(path: Path):
    """Return the layer of a file: QGIS names temporary results by what they are, others by their file."""
    layers = QgsProject.instance().mapLayers().values()
    return next(layer for layer in layers if layer.source().split("|")[0] == str(path))


def run_dialog(algorithm: str, parameters: dict, before: str = "", during: str = "", ready=None) -> dict:
    """Run an algorithm through its dialog, with a picture of it before and one during the run."""
    dialog = processing.createAlgorithmDialog(algorithm, parameters)
    dialog.setParent(iface.mainWindow(), dialog.windowFlags())
    dialog.resize(760, 640)
    dialog.move(350, 190)
    dialog.show()
    if before:
        picture(before)
    dialog.runAlgorithm()
    if during:
        spin(240, lambda: dialog.wasExecuted() or ready())
        dialog.hide()
        picture(during)
        dialog.show()
    if not spin(560, dialog.wasExecuted):
        raise TimeoutError(algorithm)
    spin(1.5)
    results = dict(dialog.results())
    dialog.close()
    spin(0.5)
    return results


def tidy() -> None:
    """Put away what QGIS shows after a run: its message, and the results viewer above the dock."""
    iface.messageBar().clearWidgets()
    for panel in iface.mainWindow().findChildren(QDockWidget):
        if type(panel).__name__ == "ResultsDock":
            panel.hide()


def show_group(shown) -> None:
    """Show the layers of the group of results whose names fit; open the legend of the first."""
    for number, node in enumerate(QgsProject.instance().layerTreeRoot().findGroup("GeoToolbox").findLayers()):
        node.setItemVisibilityChecked(shown(node.name()))
        node.setExpanded(number == 0)


def tour() -> None:
    """Do all of it."""
    window = iface.mainWindow()
    window.resize(1600, 1000)
    window.move(0, 0)
    for name in ("processing", "geotoolbox_qgis"):
        if name not in qgis.utils.plugins:
            assert qgis.utils.loadPlugin(name), name
            assert qgis.utils.startPlugin(name), name
    for bar in window.findChildren(type(iface.messageBar())):
        bar.clearWidgets()
    dock = qgis.utils.plugins["geotoolbox_qgis"].dock
    dock.show()
    dock.raise_()
    window.resizeDocks([dock], [430], 1)  # 1: Qt.Horizontal
    open_scene()
    picture("start")
    train = {
        "INPUT": [layer_named("image_utm32").id(), layer_named("image_utm33").id()],
        "LABELS": layer_named("labels").id(),
        "FIELD": "class",
        "AREA": layer_named("train_area").id(),
        "MAXIMUM_MINUTES": MINUTES,
        "OUTPUT_MODEL": str(OUT / "model.gtb"),
        "OUTPUT": str(OUT / "map.tif"),
        "POLYGONS": str(OUT / "map.gpkg"),
        "CONFIDENCE": str(OUT / "confidence.tif"),
        "MINIMUM_AREA_M2": 2000,
    }
    if PATCH_PX:
        train |= {"PATCH_PX": int(PATCH_PX), "BASELINE": False}
    ready = lambda: len(dock.live.curves.steps()) >= 3  # noqa: E731
    STORY["trained"] = run_dialog("geotoolbox:trainandpredict", train, "dialog", "running", ready)
    tree = QgsProject.instance().layerTreeRoot()
    layer_node = tree.findLayer(layer_named("labels").id())
    layer_node.setItemVisibilityChecked(False)
    STORY["tree"] = [
        [node.name(), [c.name() for c in getattr(node, "children", list)()]] for node in tree.children()
    ]
    dock.tabs.setCurrentWidget(dock.history)
    tidy()
    show_group(lambda name: "Confidence" not in name)
    canvas_rests()
    picture("result")
    judge = {
        "INPUT": layer_of(OUT / "map.tif").id(),
        "REFERENCE_RASTER": layer_named("landcover").id(),
        "AREA": layer_named("test_area").id(),
        "IMAGES": train["INPUT"],
        "REPORT": str(OUT / "report.html"),
    }
    STORY["judged"] = run_dialog("geotoolbox:evaluatesegmentation", judge, "evaluate")
    dock.refresh()
    dock.tabs.setCurrentWidget(dock.accuracy)
    found = dock.accuracy.confusion
    assert found is not None, "no confusion matrix in the dock"
    row, column = found.worst()
    dock.accuracy.table.setCurrentCell(row, column)
    dock.accuracy.choose(row, column)
    tidy()
    show_group(lambda name: "Polygons" not in name and "Confidence" not in name)
    dock.accuracy.next.click()
    canvas_rests()
    picture("errors")
    STORY["error_layer"] = tree.findGroup("GeoToolbox").findLayers()[0].name()
    STORY["overall_accuracy"] = found.overall_accuracy


def take_the_best_transformation() -> None:
    """Press OK where QGIS asks which way to transform coordinates: a window without a person waits for ever."""
    for widget in QgsApplication.topLevelWidgets():
        if widget.isVisible() and widget.metaObject().className() == "QgsDatumTransformDialog":
            widget.accept()


clerk = QTimer()
clerk.timeout.connect(take_the_best_transformation)
clerk.start(300)


def main() -> None:
    """Do the tour, write its story, and end QGIS at once."""
    try:
        tour()
        STORY["ok"] = True
    except BaseException:
        STORY["problem"] = traceback.format_exc()
        picture("problem")
    (OUT / "tour.json").write_text(json.dumps(STORY, indent=1, default=str))
    os._exit(0 if STORY.get("ok") else 1)


QTimer.singleShot(1500, main)
