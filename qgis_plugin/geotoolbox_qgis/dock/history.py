"""Past runs: a list, with each run's report, folder and scores."""

from __future__ import annotations

import time
from html import escape
from pathlib import Path

from qgis.PyQt.QtCore import Qt, pyqtBoundSignal, pyqtSignal
from qgis.PyQt.QtWidgets import (
    QAbstractItemView,
    QHBoxLayout,
    QHeaderView,
    QPushButton,
    QTreeWidget,
    QTreeWidgetItem,
    QVBoxLayout,
    QWidget,
)

from .live import run_title, status_mark, status_text
from .runs import DONE, Run
from .theme import duration, tr

__all__ = ["HistoryView"]

_FOLDER = Qt.ItemDataRole.UserRole


class HistoryView(QWidget):
    """The list of runs, the newest first.

    Signals:
        run_chosen: The folder of the run that is now current.
        report_asked: The folder of the run whose report shall open.
        matrix_asked: The folder of the run whose confusion matrix shall be shown.
        folder_asked: The folder to open in the file manager.
    """

    run_chosen = pyqtSignal(str)
    report_asked = pyqtSignal(str)
    matrix_asked = pyqtSignal(str)
    folder_asked = pyqtSignal(str)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.tree = QTreeWidget()
        self.tree.setRootIsDecorated(False)
        self.tree.setUniformRowHeights(True)
        self.tree.setAlternatingRowColors(True)
        self.tree.setSelectionMode(QAbstractItemView.SelectionMode.SingleSelection)
        self.tree.setHeaderLabels([tr("Run"), tr("Accuracy"), tr("When")])
        header = self.tree.header()
        header.setSectionResizeMode(QHeaderView.ResizeMode.ResizeToContents)
        header.setSectionResizeMode(0, QHeaderView.ResizeMode.Stretch)
        header.setStretchLastSection(False)
        self.tree.setAccessibleName(tr("Past runs"))
        self.tree.currentItemChanged.connect(self._changed)
        self.tree.itemActivated.connect(lambda item, _: self.report_asked.emit(item.data(0, _FOLDER)))
        self.report = self._button(tr("Open re&port"), self.report_asked)
        self.matrix = self._button(tr("Confusion &matrix"), self.matrix_asked)
        self.folder = self._button(tr("&Folder"), self.folder_asked)
        row = QHBoxLayout()
        for button in (self.report, self.matrix, self.folder):
            row.addWidget(button)
        row.addStretch(1)
        column = QVBoxLayout(self)
        column.addWidget(self.tree, 1)
        column.addLayout(row)
        self._runs: dict[str, Run] = {}
        self._enable(None)

    def _button(self, text: str, signal: pyqtBoundSignal) -> QPushButton:
        button = QPushButton(text)
        button.clicked.connect(lambda: self.current() is not None and signal.emit(str(self.current().folder)))
        return button

    def current(self) -> Run | None:
        """Return the run that is chosen."""
        item = self.tree.currentItem()
        return None if item is None else self._runs.get(item.data(0, _FOLDER))

    def select(self, folder: Path) -> None:
        """Make a run the current one."""
        for i in range(self.tree.topLevelItemCount()):
            if self.tree.topLevelItem(i).data(0, _FOLDER) == str(folder):
                self.tree.setCurrentItem(self.tree.topLevelItem(i))

    def show_runs(self, runs: list[Run], shown: Path | None = None) -> None:
        """Show these runs, in this order; rows that are there already are changed, not made anew.

        Args:
            runs: What to list.
            shown: The run that the other pages show; it becomes the current row.
        """
        self._runs = {str(run.folder): run for run in runs}
        listed = [self.tree.topLevelItem(i).data(0, _FOLDER) for i in range(self.tree.topLevelItemCount())]
        if listed != list(self._runs):
            self._rebuild(runs)
        for i, run in enumerate(runs):
            self._fill(self.tree.topLevelItem(i), run)
        if shown is not None and (self.current() is None or self.current().folder != shown):
            blocked = self.tree.blockSignals(True)
            self.select(shown)
            self.tree.blockSignals(blocked)
        self._enable(self.current())

    def _rebuild(self, runs: list[Run]) -> None:
        chosen = self.current()
        blocked = self.tree.blockSignals(True)
        self.tree.clear()
        for run in runs:
            item = QTreeWidgetItem()
            item.setData(0, _FOLDER, str(run.folder))
            self.tree.addTopLevelItem(item)
            if chosen is not None and chosen.folder == run.folder:
                self.tree.setCurrentItem(item)
        self.tree.blockSignals(blocked)

    def _fill(self, item: QTreeWidgetItem, run: Run) -> None:
        result = result_text(run) if run.status == DONE and result_text(run) else status_text(run)
        texts = (f"{status_mark(run)} {run_title(run)}", result, _when(run.started))
        for column, text in enumerate(texts):
            if item.text(column) != text:
                item.setText(column, text)
        item.setToolTip(0, _tip(run))

    def _changed(self, item: QTreeWidgetItem | None) -> None:
        self._enable(self.current())
        if item is not None:
            self.run_chosen.emit(item.data(0, _FOLDER))

    def _enable(self, run: Run | None) -> None:
        self.report.setEnabled(run is not None and run.file("report") is not None)
        self.matrix.setEnabled(run is not None and run.matrix is not None)
        self.folder.setEnabled(run is not None)


def _when(started: float) -> str:
    """Return a time of day for today, else a date."""
    if not started:
        return ""
    then = time.localtime(started)
    today = time.strftime("%Y-%m-%d") == time.strftime("%Y-%m-%d", then)
    return time.strftime("%H:%M" if today else "%Y-%m-%d %H:%M", then)


def result_text(run: Run) -> str:
    """Return the run's overall accuracy and mean IoU, in as little room as can be."""
    accuracy, iou = run.score("overall_accuracy"), run.score("mean_iou")
    if accuracy is None:
        return "" if iou is None else tr("IoU {value:.2f}").format(value=iou)
    shown = "" if iou is None else f" ({tr('IoU {value:.2f}').format(value=iou)})"
    return f"{accuracy:.2f}{shown}"


def _tip(run: Run) -> str:
    return f"<p><b>{escape(run_title(run))}</b>, {duration(run.seconds)}<br>{escape(run.message or str(run.folder))}</p>"
