"""The confusion matrix of a run, and the way from a cell to its places on the map."""

from __future__ import annotations

from html import escape
from pathlib import Path

from qgis.core import QgsProject
from qgis.PyQt.QtCore import Qt, pyqtSignal
from qgis.PyQt.QtWidgets import QComboBox, QHBoxLayout, QLabel, QPushButton, QSizePolicy, QVBoxLayout, QWidget

from .confusion import Confusion, read_confusion
from .errorlayer import Place, cell_label, find_places, place_extent, show_cell
from .matrix import PIXELS, SHARE_OF_MAP, SHARE_OF_REFERENCE, MatrixTable
from .theme import tr, whole

__all__ = ["AccuracyView"]


class AccuracyView(QWidget):
    """Shows a metrics file; a chosen cell becomes the error layer.

    Signals:
        zoom_asked: A rectangle in the project's CRS.
        open_asked: The person wants to choose a metrics file.
    """

    zoom_asked = pyqtSignal(object)
    open_asked = pyqtSignal()

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.confusion: Confusion | None = None
        self.heading = _text(bold=True)
        self.table = MatrixTable()
        self.table.cell_chosen.connect(self.choose)
        self.measure = QComboBox()
        for label, value in (
            (tr("Pixels"), PIXELS),
            (tr("Share of the reference class"), SHARE_OF_REFERENCE),
            (tr("Share of the map class"), SHARE_OF_MAP),
        ):
            self.measure.addItem(label, value)
        self.measure.currentIndexChanged.connect(self._redraw)
        self.measure.setAccessibleName(tr("What the cells show"))
        self.open = QPushButton(tr("&Open metrics …"))
        self.open.clicked.connect(self.open_asked)
        self.where = _text()
        self.next = QPushButton(tr("&Next place"))
        self.next.setToolTip(tr("Zoom to the block of the map that holds the next most of these pixels"))
        self.next.clicked.connect(lambda: self.step(1))
        self.previous = QPushButton(tr("Pre&vious"))
        self.previous.clicked.connect(lambda: self.step(-1))
        self._places: list[Place] = []
        self._place = -1
        self._lay_out()
        self.show_metrics(None)

    def _lay_out(self) -> None:
        top, bottom = QHBoxLayout(), QHBoxLayout()
        top.addWidget(self.measure, 1)
        top.addWidget(self.open)
        bottom.addWidget(self.where, 1)
        bottom.addWidget(self.previous)
        bottom.addWidget(self.next)
        self.axes = _text()
        self.axes.setText(
            f"<i>{escape(tr('Rows: the reference. Columns: the map. Choose a cell to see where it lies.'))}</i>"
        )
        column = QVBoxLayout(self)
        column.addWidget(self.heading)
        column.addLayout(top)
        column.addWidget(self.axes)
        column.addWidget(self.table, 1)
        column.addLayout(bottom)

    def show_metrics(self, path: Path | None, title: str = "") -> None:
        """Show a metrics file; None where no run has one."""
        self.confusion, problem = None, ""
        if path is not None:
            try:
                self.confusion = read_confusion(path)
            except ValueError as error:
                problem = str(error)
        self._heading(title, problem)
        self._set_places([])
        self.where.setText("")
        self._redraw()

    def _heading(self, title: str, problem: str) -> None:
        found = self.confusion
        if found is None:
            text = problem or tr(
                "No evaluation is chosen. Run “Evaluate a class map”, or open a metrics file."
            )
        else:
            accuracy, iou = found.overall_accuracy, found.mean_iou
            parts = [title] if title else []
            if accuracy is not None:
                interval = "" if found.interval is None else " ({:.3f}–{:.3f})".format(*found.interval)
                parts.append(tr("accuracy {value:.3f}").format(value=accuracy) + interval)
            parts += [] if iou is None else [tr("mean IoU {value:.3f}").format(value=iou)]
            parts.append(tr("{count} pixels").format(count=whole(found.total)))
            text = " · ".join(parts)
        self.heading.setText(escape(text))
        self.heading.setToolTip("<br>".join(escape(note) for note in (found.notes if found else ())))
        for widget in (self.measure, self.axes, self.table, self.where, self.previous, self.next):
            widget.setVisible(found is not None)

    def _redraw(self) -> None:
        self.table.set_confusion(self.confusion, self.measure.currentData() or PIXELS)

    def choose(self, row: int, column: int) -> None:
        """Show where a cell lies: a layer on top of the map, and the list of its places."""
        found = self.confusion
        if found is None:
            return
        label = escape(cell_label(found, row, column))
        if not found.counts[row][column]:
            self._set_places([])
            self.where.setText(tr("{cell}: no pixel.").format(cell=label))
            return
        try:
            show_cell(QgsProject.instance(), found, row, column)
        except ValueError as error:
            self.where.setText(escape(str(error)))
            return
        self._set_places(find_places(found, row, column))
        pixels = whole(found.counts[row][column])
        self.where.setText(tr("{cell}: {pixels} pixels, now a layer.").format(cell=label, pixels=pixels))

    def _set_places(self, places: list[Place]) -> None:
        self._places, self._place = places, -1
        self.next.setEnabled(bool(places))
        self.previous.setEnabled(len(places) > 1)

    def step(self, by: int) -> None:
        """Zoom to the next block that holds the cell, those with most of it first."""
        if not self._places or self.confusion is None:
            return
        self._place = (
            (self._place + by) % len(self._places)
            if self._place >= 0
            else (0 if by > 0 else -1) % len(self._places)
        )
        place = self._places[self._place]
        extent = place_extent(self.confusion, place, QgsProject.instance())
        if extent is not None:
            self.zoom_asked.emit(extent)
        self.where.setText(
            tr("Place {number} of {count}: {pixels} pixels in this block.").format(
                number=self._place + 1, count=len(self._places), pixels=whole(place.pixels)
            )
        )


def _text(bold: bool = False) -> QLabel:
    label = QLabel()
    label.setWordWrap(True)
    label.setTextFormat(Qt.TextFormat.RichText)
    label.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Preferred)
    font = label.font()
    font.setBold(bold)
    label.setFont(font)
    return label
