"""``qgis_process``, as a server runs it: a profile of its own, no screen, JSON out."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest
from qgis.core import QgsRasterLayer

PLUGIN = Path(__file__).resolve().parents[3] / "qgis_plugin"
PROGRAM = shutil.which("qgis_process.bin", path="/usr/bin") or "qgis_process"


class Server:
    """A machine with a fresh profile and the plugin."""

    def __init__(self, home: Path, engine: str) -> None:
        self.home = home
        run = home / "run"
        run.mkdir(mode=0o700)
        self.environment = {
            "HOME": str(home),
            "XDG_RUNTIME_DIR": str(run),
            "QT_QPA_PLATFORM": "offscreen",
            "QGIS_PLUGINPATH": str(PLUGIN),
            "GEOTOOLBOX_PYTHON": engine,
            "PATH": "/usr/bin:/bin",
            "LANG": "C.UTF-8",
            "PYTHONDONTWRITEBYTECODE": "1",
            "OMP_NUM_THREADS": "1",
        }

    def call(self, *words: str) -> subprocess.CompletedProcess:
        return subprocess.run(
            [PROGRAM, *words],
            env=self.environment,
            cwd=self.home,
            capture_output=True,
            text=True,
            check=False,
            timeout=270,
        )

    def run(self, algorithm: str, *words: str) -> dict:
        done = self.call("--json", "run", f"geotoolbox:{algorithm}", "--", *words)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)["results"]


@pytest.fixture(scope="module")
def server(tmp_path_factory, engine: str) -> Server:
    made = Server(tmp_path_factory.mktemp("server"), engine)
    assert "geotoolbox_qgis" in made.call("plugins", "enable", "geotoolbox_qgis").stdout
    return made


def test_all_algorithms_are_listed(server: Server) -> None:
    listed = server.call("list").stdout
    assert listed.count("geotoolbox:") == 14
    helped = server.call("help", "geotoolbox:predictsegmentation").stdout
    assert "MODEL: Model" in helped and "The model bundle (.gtb)." in helped


def test_the_demo_scene_from_images_to_a_report(server: Server, scene: Path, qgis_app) -> None:
    west, east = str(scene / "image_utm32.tif"), str(scene / "image_utm33.tif")
    made = server.run(
        "trainandpredict", f"INPUT={west}", f"INPUT={east}", f"LABELS={scene / 'labels.gpkg'}", "FIELD=class",
        f"AREA={scene / 'train_area.geojson'}", "PATCH_PX=32", "EPOCHS=1", "BATCH_SIZE=8", "SEED=3", "MODEL=small",
        "BASELINE=false", "OUTPUT_MODEL=out/m.gtb", "OUTPUT=out/map.tif", "POLYGONS=out/map.gpkg",
        "CONFIDENCE=out/confidence.tif",
    )  # fmt: skip
    assert made["OUTPUT"] == str(server.home / "out" / "map.tif") and 0.2 < made["OVERALL_ACCURACY"] <= 1
    layer = QgsRasterLayer(made["OUTPUT"])
    assert layer.crs().authid() == "EPSG:32632" and len(layer.renderer().classes()) == 5
    points = server.run(
        "samplereference",
        f"INPUT={made['OUTPUT']}",
        "POINTS=20",
        "ALLOCATION=equal",
        "SEED=1",
        "OUTPUT=out/points.gpkg",
    )
    assert points["POINTS_DONE"] >= 10 and os.path.isfile(points["OUTPUT"])
    judged = server.run(
        "evaluatesegmentation", f"INPUT={made['OUTPUT']}", f"REFERENCE_RASTER={scene / 'landcover.tif'}",
        f"AREA={scene / 'test_area.geojson'}", "RESAMPLES=10", "REPORT=out/r.html", "METRICS=out/m.json",
    )  # fmt: skip
    numbers = json.loads(Path(judged["METRICS"]).read_text())
    assert judged["PIXELS"] == sum(map(sum, numbers["confusion"])) > 1000


def test_failures_end_with_1_and_words(server: Server, scene: Path) -> None:
    done = server.call(
        "--json", "run", "geotoolbox:predictsegmentation", "--", f"INPUT={scene / 'image_utm32.tif'}", "MODEL=gone.gtb",
        "OUTPUT=x.tif",
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (1, "") and "no such file" in done.stderr
    server.environment["GEOTOOLBOX_PYTHON"] = "/no/python"
    done = server.call("--json", "run", "geotoolbox:checkengine")
    server.environment.pop("GEOTOOLBOX_PYTHON")
    assert done.returncode == 1 and "cannot be started" in done.stderr
