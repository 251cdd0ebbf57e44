"""The dock *GeoToolbox*: reads what runs write into the profile, and draws it with Qt and QGIS."""

from __future__ import annotations

from pathlib import Path

from qgis.core import QgsApplication, QgsRectangle
from qgis.gui import QgisInterface
from qgis.PyQt.QtCore import QTimer, QUrl
from qgis.PyQt.QtGui import QDesktopServices, QShowEvent
from qgis.PyQt.QtWidgets import QDockWidget, QFileDialog, QTabWidget, QWidget

from .accuracy import AccuracyView
from .history import HistoryView
from .live import LiveView, run_title
from .runs import Run, RunReader, list_runs
from .theme import tr

__all__ = ["GeoToolboxDock", "default_runs_folder"]

_BUSY_MS, _IDLE_MS = 400, 2000
_MOST_RUNS = 200


def default_runs_folder() -> Path:
    """Return where the runner writes runs: in the person's QGIS profile."""
    return Path(QgsApplication.qgisSettingsDirPath()) / "geotoolbox" / "runs"


class GeoToolboxDock(QDockWidget):
    """Three pages: the run, past runs, and the confusion matrix.

    Args:
        iface: QGIS's interface; needs ``mapCanvas()`` only.
        runs_folder: Where runs are; default: in the profile.
    """

    def __init__(
        self, iface: QgisInterface | None, runs_folder: Path | None = None, parent: QWidget | None = None
    ) -> None:
        super().__init__("GeoToolbox", parent)
        self.setObjectName("GeoToolboxDock")  # QGIS remembers its place by this name
        self.iface = iface
        self.runs_folder = Path(runs_folder) if runs_folder is not None else default_runs_folder()
        self._readers: dict[Path, RunReader] = {}
        self._shown: Path | None = None
        self._matrix_of: Path | None = None
        self.live, self.history, self.accuracy = LiveView(), HistoryView(), AccuracyView()
        self.tabs = QTabWidget()
        self.tabs.setDocumentMode(True)
        for page, title in (
            (self.live, tr("&Run")),
            (self.history, tr("&History")),
            (self.accuracy, tr("Conf&usion")),
        ):
            self.tabs.addTab(page, title)
        self.setWidget(self.tabs)
        self._connect()
        self._timer = QTimer(self)
        self._timer.timeout.connect(self._tick)
        self._timer.start(_IDLE_MS)
        self.refresh()

    def _connect(self) -> None:
        self.live.cancel_asked.connect(self._cancel)
        self.live.report_asked.connect(lambda: self._shown and self.open_report(str(self._shown)))
        self.live.algorithm_asked.connect(open_algorithm)
        self.history.run_chosen.connect(self._choose)
        self.history.report_asked.connect(self.open_report)
        self.history.matrix_asked.connect(self.show_matrix)
        self.history.folder_asked.connect(lambda folder: open_path(Path(folder)))
        self.accuracy.zoom_asked.connect(self._zoom)
        self.accuracy.open_asked.connect(self._open_metrics)

    def close_up(self) -> None:
        """Stop watching; the plugin calls this before it removes the dock."""
        self._timer.stop()

    def showEvent(self, event: QShowEvent) -> None:
        """Catch up with what happened while the dock was closed."""
        super().showEvent(event)
        self.refresh()

    def _tick(self) -> None:
        if self.isVisible():  # a closed dock costs nothing
            self.refresh()

    def refresh(self) -> None:
        """Read what is new, and show it."""
        folders = list_runs(self.runs_folder)[:_MOST_RUNS]
        fresh = [f for f in folders if f not in self._readers]
        first = not self._readers
        self._readers = {f: self._readers.get(f) or RunReader(f) for f in folders}
        finished = []
        for folder, reader in self._readers.items():
            was_running = folder not in fresh and reader.run.running
            if reader.run.status in ("running", "lost"):
                reader.poll()
            if not reader.run.running and (was_running or (folder in fresh and not first)):
                finished.append(reader.run)
        runs = [reader.run for reader in self._readers.values()]
        self._follow(runs, fresh)
        self.history.show_runs(runs, self._shown)
        self.live.show_run(self.run())
        self._show_finished(finished, runs)
        self._timer.setInterval(_BUSY_MS if any(run.running for run in runs) else _IDLE_MS)

    def run(self) -> Run | None:
        """Return the run that is shown."""
        reader = self._readers.get(self._shown) if self._shown is not None else None
        return None if reader is None else reader.run

    def _follow(self, runs: list[Run], fresh: list[Path]) -> None:
        """Show a run that has just begun; keep what the person chose else."""
        if self._shown not in self._readers or fresh:
            running = next((run.folder for run in runs if run.running), None)
            newest = runs[0].folder if runs else None
            self._shown = running or (newest if fresh or self._shown not in self._readers else self._shown)

    def _show_finished(self, finished: list[Run], runs: list[Run]) -> None:
        """Show the matrix of an evaluation that has just ended; at the start, the newest one's."""
        wanted = next((run for run in finished if run.matrix), None)
        if wanted is None and self._matrix_of is None:
            wanted = next((run for run in runs if not run.running and run.matrix), None)
        if wanted is not None and wanted.folder != self._matrix_of:
            self._load_matrix(wanted)

    def _load_matrix(self, run: Run) -> None:
        self._matrix_of = run.folder
        self.accuracy.show_metrics(run.matrix, _map_name(run))

    def _choose(self, folder: str) -> None:
        self._shown = Path(folder)
        run = self.run()
        self.live.show_run(run)
        if run is not None and run.matrix is not None:
            self._load_matrix(run)

    def _cancel(self) -> None:
        run = self.run()
        if run is not None and run.running:
            run.cancel()
            self.live.show_run(run)

    def open_report(self, folder: str) -> None:
        """Open a run's report in the browser."""
        reader = self._readers.get(Path(folder))
        path = None if reader is None else reader.run.file("report")
        if path is not None:
            open_path(path)

    def show_matrix(self, folder: str) -> None:
        """Show a run's confusion matrix."""
        self._choose(folder)
        self.tabs.setCurrentWidget(self.accuracy)

    def show_metrics(self, path: Path) -> None:
        """Show the confusion matrix of a metrics file from anywhere."""
        self._matrix_of = Path(path)
        self.accuracy.show_metrics(Path(path), Path(path).name)
        self.tabs.setCurrentWidget(self.accuracy)

    def _open_metrics(self) -> None:
        path, _ = QFileDialog.getOpenFileName(self, tr("Metrics of an evaluation"), "", "JSON (*.json)")
        if path:
            self.show_metrics(Path(path))

    def _zoom(self, extent: QgsRectangle) -> None:
        if self.iface is None:
            return
        canvas = self.iface.mapCanvas()
        canvas.setExtent(extent)
        canvas.refresh()


def open_algorithm(name: str) -> None:
    """Open an algorithm's dialog."""
    import processing  # the plugin of QGIS itself, loaded long before anybody clicks

    processing.execAlgorithmDialog(f"geotoolbox:{name}", {})


def open_path(path: Path) -> None:
    """Open a file or folder with the program that the person uses for it."""
    QDesktopServices.openUrl(QUrl.fromLocalFile(str(path)))


def _map_name(run: Run) -> str:
    spec_map = run.asked.get("map")
    return Path(spec_map).name if isinstance(spec_map, str) else run_title(run)
