"""The run that is at work: its stage, progress, curves, messages, and how to stop it."""

from __future__ import annotations

from html import escape

from qgis.PyQt.QtCore import Qt, pyqtSignal
from qgis.PyQt.QtWidgets import (
    QHBoxLayout,
    QLabel,
    QPlainTextEdit,
    QProgressBar,
    QPushButton,
    QSizePolicy,
    QVBoxLayout,
    QWidget,
)

from ..definitions import ALGORITHMS
from .curves import CurvesWidget
from .runs import CANCELLED, DONE, FAILED, LOST, RUNNING, Run
from .theme import duration, tr

__all__ = ["LiveView", "run_title", "status_mark", "status_text"]

_STATUS = {
    RUNNING: "running",
    DONE: "done",
    FAILED: "failed",
    CANCELLED: "cancelled",
    LOST: "QGIS ended before it did",
}
_MARK = {RUNNING: "▶", DONE: "✓", FAILED: "✗", CANCELLED: "■", LOST: "?"}
_TITLES = {definition.id: definition.title for definition in ALGORITHMS}


def run_title(run: Run) -> str:
    """Return the run's algorithm as its dialog is called."""
    return tr(_TITLES.get(run.algorithm, run.algorithm))


def status_text(run: Run) -> str:
    """Return how the run stands, in a word."""
    return tr(_STATUS.get(run.status, run.status))


def status_mark(run: Run) -> str:
    """Return how the run stands, as a mark that needs no colour."""
    return _MARK.get(run.status, "?")


_FIRST_STEPS = (
    ("setupengine", "Set up the engine …"),
    ("demoscene", "Make layers to try it on …"),
    ("trainandpredict", "Train and predict …"),
    ("evaluatesegmentation", "Evaluate the map …"),
)


class LiveView(QWidget):
    """Shows one run, live or over.

    Signals:
        cancel_asked: The person pressed Cancel.
        report_asked: The person wants to see the report.
        algorithm_asked: The id of an algorithm whose dialog shall open.
    """

    cancel_asked = pyqtSignal()
    report_asked = pyqtSignal()
    algorithm_asked = pyqtSignal(str)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.title = _label(bold=True)
        self.stage = _label()
        self.bar = QProgressBar()
        self.bar.setRange(0, 1000)
        self.bar.setAccessibleName(tr("Progress of the stage"))
        self.left = _label()
        self.cancel = QPushButton(tr("&Cancel"))
        self.cancel.clicked.connect(self.cancel_asked)
        self.report = QPushButton(tr("Open re&port"))
        self.report.clicked.connect(self.report_asked)
        self.curves = CurvesWidget()
        self.log = QPlainTextEdit()
        self.log.setReadOnly(True)
        self.log.setMaximumBlockCount(400)
        self.log.setTabChangesFocus(True)
        self.log.setAccessibleName(tr("Messages of the run"))
        self.log.setMinimumHeight(60)
        self._shown_logs = ("", 0)
        self._lay_out()
        self.show_run(None)

    def _lay_out(self) -> None:
        self.first_steps = QWidget()
        steps = QVBoxLayout(self.first_steps)
        for number, (algorithm, text) in enumerate(_FIRST_STEPS, start=1):
            button = QPushButton(f"&{number}  {tr(text)}")
            button.clicked.connect(lambda _=False, name=algorithm: self.algorithm_asked.emit(name))
            steps.addWidget(button)
        steps.addStretch(1)
        buttons = QHBoxLayout()
        buttons.addWidget(self.left, 1)
        buttons.addWidget(self.report)
        buttons.addWidget(self.cancel)
        column = QVBoxLayout(self)
        for widget in (self.title, self.stage, self.bar):
            column.addWidget(widget)
        column.addLayout(buttons)
        column.addWidget(self.first_steps, 1)
        column.addWidget(self.curves, 3)
        column.addWidget(self.log, 1)
        column.addStretch(0)  # takes the room where curves and messages are hidden

    def show_run(self, run: Run | None) -> None:
        """Show a run; None where there is none yet."""
        if run is None:
            self.title.setText(tr("No run yet"))
            self.stage.setText(
                tr("What the GeoToolbox algorithms do shows here while they work. First steps:")
            )
        self.first_steps.setVisible(run is None)
        for widget in (self.bar, self.left, self.cancel, self.report, self.curves, self.log):
            widget.setVisible(run is not None)
        if run is None:
            return
        self.title.setText(f"{status_mark(run)} {escape(run_title(run))}: {status_text(run)}")
        self._show_progress(run)
        self.curves.setVisible(bool(self.curves_of(run)))
        self.curves.set_series(run.series)
        self.cancel.setVisible(run.running)
        self.cancel.setEnabled(not run.cancel_asked)
        self.cancel.setText(tr("Cancelling …") if run.cancel_asked else tr("&Cancel"))
        self.report.setVisible(run.file("report") is not None)
        self._show_log(run)

    @staticmethod
    def curves_of(run: Run) -> bool:
        """Tell whether the run trains, so that there are curves to show or to wait for."""
        return (
            bool(run.series)
            or "train" in run.stages
            or run.algorithm in ("trainsegmentation", "trainandpredict")
        )

    def _show_progress(self, run: Run) -> None:
        progress = run.progress
        self.bar.setVisible(run.running)
        self.bar.setRange(0, 1000 if progress is not None and progress.total > 0 else 0)
        if not run.running:
            self.stage.setText(escape(run.message.split("\n", 1)[0]))
            self.stage.setVisible(bool(run.message))
            self.left.setText(tr("{time} in all").format(time=duration(run.seconds)))
            return
        self.stage.setVisible(True)
        if progress is None:
            self.stage.setText(tr("starting the engine …"))
            self.left.setText("")
            return
        self.bar.setValue(round(1000 * progress.share))
        parts = [progress.stage, progress.message]
        self.stage.setText(escape(" · ".join(part for part in parts if part)))
        left = tr("about {time} left").format(time=duration(progress.seconds_left))
        known = progress.seconds_left is not None and progress.seconds_left >= 1 and progress.share < 1
        self.left.setText(left if known else "")

    def _show_log(self, run: Run) -> None:
        name, count = self._shown_logs
        if name != str(run.folder):
            self.log.clear()
            count = 0
        for level, message in run.logs[count:]:
            self.log.appendPlainText(message if level == "info" else f"{level}: {message}")
        self._shown_logs = (str(run.folder), len(run.logs))
        self.log.setVisible(bool(run.logs))


def _label(bold: bool = False) -> QLabel:
    label = QLabel()
    label.setWordWrap(True)
    label.setTextFormat(Qt.TextFormat.RichText)
    label.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Preferred)
    label.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
    if bold:
        font = label.font()
        font.setBold(True)
        label.setFont(font)
    return label
