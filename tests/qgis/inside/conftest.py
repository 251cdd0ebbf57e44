"""What the tests inside QGIS share: the plugin on the path, the engine, and results that it wrote."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
sys.path.insert(0, str(ROOT / "qgis_plugin"))


@pytest.fixture(scope="session")
def engine() -> str:
    """The engine's Python: GEOTOOLBOX_PYTHON, else the project's own."""
    return os.environ.get("GEOTOOLBOX_PYTHON") or str(ROOT / ".venv" / "bin" / "python")


@pytest.fixture(scope="session")
def made(engine: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Small results and the demo scene, as the engine writes them (see ``make_results.py``): one start for all."""
    folder = tmp_path_factory.mktemp("made")
    script = Path(__file__).with_name("make_results.py")
    clean = {k: v for k, v in os.environ.items() if not k.startswith(("PYTHON", "PROJ", "GDAL"))}
    subprocess.run([engine, "-s", str(script), str(folder)], check=True, env=clean, timeout=280)
    return folder


@pytest.fixture(scope="session")
def results(made: Path) -> Path:
    """A class map, its polygons and confidence, and a reference that differs from it in known places."""
    return made / "results"


@pytest.fixture(scope="session")
def scene(made: Path) -> Path:
    """The demo scene, 128 pixels wide: two images in two UTM zones, labels, areas."""
    return made / "scene"


FAKE_ENGINE = """#!{python}
import json, os, sys, time
def say(**event): print(json.dumps(event), flush=True)
say(kind="hello", protocol=1, engine="0.1.0", python="3", pid=os.getpid())
order = json.loads(sys.stdin.readline())
job, spec = order["job"], order["spec"]
with open({log!r}, "a") as log:
    log.write(json.dumps(order) + "\\n")
say(kind="log", level="info", message="pid %d" % os.getpid())
for step in range(1, 4):
    say(kind="progress", stage="train", done=step, total=3)
    say(kind="metric", name="train_loss", value=1 / step, step=step)
    say(kind="metric", name="val_mean_iou", value=step / 10, step=step)
{more}
for name in ("output", "report", "metrics"):
    if isinstance(spec.get(name), str) and not os.path.isdir(spec[name]):
        open(spec[name], "w").write("made")
say(kind="result", exit_code=0, message="good", overall_accuracy=0.9, mean_iou=0.5, epochs=3, seconds=1.5,
    model=spec.get("output"), recipe="/r.recipe.yaml", points=7)
"""


class FakeEngine:
    """An engine that writes down what it is asked, and answers without doing anything."""

    def __init__(self, folder: Path) -> None:
        self.path, self.log = folder / "fäke engine", folder / "asked.jsonl"
        self.write("")

    def write(self, more: str) -> None:
        """Make the engine do something more between its progress and its result."""
        text = FAKE_ENGINE.format(python=sys.executable, log=str(self.log), more=more)
        self.path.write_text(text, encoding="utf-8")
        self.path.chmod(0o755)

    @property
    def asked(self) -> list:
        """Return what was asked: jobs with their settings."""
        return [json.loads(line) for line in self.log.read_text(encoding="utf-8").splitlines()]


@pytest.fixture
def fake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeEngine:
    """A fake engine that the plugin uses in this test."""
    made = FakeEngine(tmp_path)
    monkeypatch.setenv("GEOTOOLBOX_PYTHON", str(made.path))
    return made


@pytest.fixture(scope="session")
def provider(qgis_app, qgis_processing):
    """The provider, as the plugin adds it."""
    from geotoolbox_qgis import classFactory
    from qgis.core import QgsApplication

    plugin = classFactory(None)
    plugin.initProcessing()
    yield plugin.provider
    assert QgsApplication.processingRegistry().providerById("geotoolbox") is not None
    plugin.unload()


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
            "QGIS_PLUGINPATH": str(ROOT / "qgis_plugin"),
            "GEOTOOLBOX_PYTHON": engine,
            "PATH": "/usr/bin:/bin",
            "LANG": "C.UTF-8",
            "PYTHONDONTWRITEBYTECODE": "1",
            "OMP_NUM_THREADS": "1",
        }

    def call(self, *words: str) -> subprocess.CompletedProcess:
        """Run ``qgis_process``."""
        return subprocess.run(
            [PROGRAM, *words],
            env=self.environment,
            cwd=self.home,
            capture_output=True,
            text=True,
            check=False,
            timeout=600,
        )

    def run(self, algorithm: str, *words: str) -> dict:
        """Run an algorithm and return its results."""
        done = self.call("--json", "run", f"geotoolbox:{algorithm}", "--", *words)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)["results"]


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory, engine: str) -> Server:
    """``qgis_process`` with a profile of its own, the plugin enabled."""
    made = Server(tmp_path_factory.mktemp("server"), engine)
    assert "geotoolbox_qgis" in made.call("plugins", "enable", "geotoolbox_qgis").stdout
    return made


class Window:
    """As much of QGIS's window as the dialogs of Processing ask for."""

    def __init__(self) -> None:
        from qgis.core import QgsLayerTreeModel, QgsProject
        from qgis.gui import QgsLayerTreeView, QgsMapCanvas, QgsMessageBar
        from qgis.PyQt.QtWidgets import QMainWindow

        root = QgsProject.instance().layerTreeRoot()
        self.window, self.canvas, self.bar = QMainWindow(), QgsMapCanvas(), QgsMessageBar()
        self.window.setCentralWidget(self.canvas)
        self.tree = QgsLayerTreeView()
        self.tree.setModel(QgsLayerTreeModel(root))

    def mapCanvas(self):
        return self.canvas

    def mainWindow(self):
        return self.window

    def messageBar(self):
        return self.bar

    def layerTreeView(self):
        return self.tree

    def __getattr__(self, name: str):
        return lambda *values, **more: None


@pytest.fixture(scope="session")
def window(qgis_app, qgis_processing):
    """A stand-in for QGIS's window, as Processing finds it."""
    import qgis.utils
    from processing.gui import AlgorithmDialog, AlgorithmDialogBase, ParametersPanel, wrappers  # noqa: F401

    made = Window()
    holders = [m for name, m in sys.modules.items() if name.startswith("processing.") and hasattr(m, "iface")]
    before = [(holder, holder.iface) for holder in (qgis.utils, *holders)]
    for holder, _ in before:
        holder.iface = made
    yield made
    for holder, iface in before:
        holder.iface = iface
