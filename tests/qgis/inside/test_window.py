"""A real QGIS window, drawn into memory: dialog, running, styled result on the map, dock with curves, error layer."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
from pathlib import Path

import pytest
from geotoolbox_qgis.dock.errorlayer import WRONG
from qgis.core import QgsRasterLayer
from qgis.PyQt.QtGui import QColor, QImage

HERE = Path(__file__).resolve().parent
PLUGINS = HERE.parents[2] / "qgis_plugin"
LIMIT_S = 540

needs_screen = pytest.mark.skipif(
    not (shutil.which("xvfb-run") and shutil.which("qgis.bin")),
    reason="no xvfb-run or no qgis.bin here: apt-get install xvfb qgis",
)


@pytest.fixture(scope="module")
def tour(engine: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Do the tour in a window, on a small scene; return the folder of pictures and ``tour.json``."""
    base = tmp_path_factory.mktemp("tour")
    for name in ("home", "run", "out"):
        (base / name).mkdir(mode=0o700)
    clean = {
        k: v for k, v in os.environ.items() if not k.startswith(("PYTHON", "PROJ", "GDAL", "QT_", "QGIS_"))
    }
    clean |= {
        "HOME": str(base / "home"), "XDG_RUNTIME_DIR": str(base / "run"), "QGIS_PLUGINPATH": str(PLUGINS),
        "GEOTOOLBOX_PYTHON": engine, "TOUR_SIZE_PX": "160", "TOUR_OUT": str(base / "out"),
        "TOUR_MINUTES": "0.15", "TOUR_PATCH_PX": "32", "TOUR_LIMIT_S": str(LIMIT_S - 40), "PATH": "/usr/bin:/bin",
    }  # fmt: skip
    words = [
        "xvfb-run",
        "-a",
        "-s",
        "-screen 0 1600x1000x24",
        "qgis.bin",
        "--nologo",
        "--noversioncheck",
        "--code",
    ]
    log = base / "out" / "qgis.log"
    with open(log, "wb") as stream:
        process = subprocess.Popen(
            [*words, str(HERE / "window_tour.py")],
            env=clean,
            stdout=stream,
            stderr=stream,
            start_new_session=True,
        )
        try:
            process.wait(LIMIT_S)
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
    assert (base / "out" / "tour.json").exists(), log.read_text(errors="replace")[-3000:]
    return base / "out"


def share(picture: Path, colours: tuple[str, ...]) -> float:
    """Return which part of a picture's pixels has one of these colours."""
    image = QImage(str(picture))
    assert image.width() == 1600 and image.height() == 1000
    wanted = {QColor(colour).rgb() for colour in colours}
    pixels = [image.pixel(x, y) for x in range(0, 1600, 2) for y in range(0, 1000, 2)]
    return sum(pixel in wanted for pixel in pixels) / len(pixels)


def legend(path: Path) -> dict[str, str]:
    """Return the names and colours with which QGIS draws a class map."""
    layer = QgsRasterLayer(str(path))  # kept: the renderer goes with its layer
    return {entry.label: entry.color.name() for entry in layer.renderer().classes()}


@needs_screen
@pytest.mark.timeout(LIMIT_S + 300)
def test_train_predict_and_judge_in_a_window(tour: Path, qgis_app) -> None:
    story = json.loads((tour / "tour.json").read_text())
    assert story.get("ok"), story.get("problem")
    assert story["pictures"] == ["start", "dialog", "running", "result", "evaluate", "errors"]
    (top, results), *others = story["tree"]
    assert (top, results) == ("GeoToolbox", ["Polygons", "Class map", "Confidence"])
    assert others[0][0] == "labels"  # the person's own layers keep their order
    assert story["error_layer"].startswith("Errors: ")
    assert story["overall_accuracy"] == pytest.approx(story["judged"]["OVERALL_ACCURACY"])
    assert 0 < story["overall_accuracy"] < 1
    colours = legend(tour / "map.tif")
    assert colours == legend(tour / "demo" / "landcover.tif")  # the labels' own
    drawn = [share(tour / f"{name}.png", tuple(colours.values())) for name in ("dialog", "result")]
    assert drawn[1] > drawn[0] + 0.02  # there was no map before, and there is one after
    assert share(tour / "errors.png", (WRONG,)) > 0.001
