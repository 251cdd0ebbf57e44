"""The confusion matrix as a table: a cell that is chosen asks for its place on the map."""

from __future__ import annotations

from html import escape

from qgis.PyQt.QtCore import QEvent, QModelIndex, QRect, QSize, Qt, pyqtSignal
from qgis.PyQt.QtGui import QBrush, QColor, QIcon, QKeyEvent, QPainter, QPalette, QPen, QPixmap
from qgis.PyQt.QtWidgets import (
    QAbstractItemView,
    QHeaderView,
    QStyle,
    QStyledItemDelegate,
    QStyleOptionViewItem,
    QTableWidget,
    QTableWidgetItem,
    QWidget,
)

from .confusion import Confusion
from .theme import blend, contrast_text, is_dark, short, tr, whole

__all__ = ["PIXELS", "SHARE_OF_MAP", "SHARE_OF_REFERENCE", "MatrixTable", "swatch"]

PIXELS, SHARE_OF_REFERENCE, SHARE_OF_MAP = "pixels", "reference", "map"

_SWATCH_PX = 12
_NAME_PX = 120  # longer names are cut, and whole in the tooltip


class MatrixTable(QTableWidget):
    """Rows are the reference's classes, columns the map's; margins hold each class's accuracy.

    Signals:
        cell_chosen: (row, column) of a confusion, by click, Enter or Space.
    """

    cell_chosen = pyqtSignal(int, int)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._confusion: Confusion | None = None
        self._measure = PIXELS
        self.setEditTriggers(QAbstractItemView.EditTrigger.NoEditTriggers)
        self.setSelectionMode(QAbstractItemView.SelectionMode.SingleSelection)
        self.setTabKeyNavigation(False)  # Tab leaves the table; arrows move in it
        self.setIconSize(QSize(_SWATCH_PX, _SWATCH_PX))
        self.setAccessibleName(tr("Confusion matrix: rows are the reference, columns the map"))
        font = self.font()
        font.setPointSizeF(font.pointSizeF() * 0.9)
        self.setFont(font)
        self.setItemDelegate(_FrameDelegate(self))
        self.setHorizontalHeader(_UprightHeader(self))
        self.horizontalHeader().setSectionResizeMode(QHeaderView.ResizeMode.ResizeToContents)
        self.verticalHeader().setSectionResizeMode(QHeaderView.ResizeMode.ResizeToContents)
        self.verticalHeader().setMaximumWidth(_NAME_PX)
        self.cellClicked.connect(self._choose)

    def confusion(self) -> Confusion | None:
        """Return what is shown."""
        return self._confusion

    def set_confusion(self, confusion: Confusion | None, measure: str = PIXELS) -> None:
        """Show a matrix; ``measure`` is pixels, or the share of a reference or map class."""
        self._confusion, self._measure = confusion, measure
        self.clear()
        size = confusion.size if confusion else 0
        self.setRowCount(size + 1 if size else 0)
        self.setColumnCount(size + 1 if size else 0)
        if confusion is None:
            return
        for i, info in enumerate(confusion.classes):
            for set_header in (self.setHorizontalHeaderItem, self.setVerticalHeaderItem):
                header = QTableWidgetItem(swatch(info.color), info.name)
                header.setToolTip(f"{escape(info.name)} ({info.value})")
                set_header(i, header)
        self.setHorizontalHeaderItem(
            size,
            _plain(
                tr("Producer's"), tr("Producer's accuracy: the share of the reference class that the map has")
            ),
        )
        self.setVerticalHeaderItem(
            size, _plain(tr("User's"), tr("User's accuracy: the share of the map class that is right"))
        )
        for row in range(size):
            for column in range(size):
                self.setItem(row, column, self._cell(confusion, row, column))
            self.setItem(row, size, self._margin(confusion.producers_accuracy(row)))
            self.setItem(size, row, self._margin(confusion.users_accuracy(row)))
        corner = self._margin(confusion.overall_accuracy)
        corner.setToolTip(f"{tr('Overall accuracy')}: {_percent(confusion.overall_accuracy)}")
        self.setItem(size, size, corner)

    def keyPressEvent(self, event: QKeyEvent) -> None:
        """Choose the current cell with Enter or Space."""
        if event.key() in (Qt.Key.Key_Return, Qt.Key.Key_Enter, Qt.Key.Key_Space):
            self._choose(self.currentRow(), self.currentColumn())
            return
        super().keyPressEvent(event)

    def changeEvent(self, event: QEvent) -> None:
        """Draw anew in the colours of a new theme."""
        super().changeEvent(event)
        if event.type() == event.Type.PaletteChange and self._confusion is not None:
            self.set_confusion(self._confusion, self._measure)

    def _choose(self, row: int, column: int) -> None:
        size = self._confusion.size if self._confusion else 0
        if 0 <= row < size and 0 <= column < size:
            self.cell_chosen.emit(row, column)

    def _cell(self, confusion: Confusion, row: int, column: int) -> QTableWidgetItem:
        count = confusion.counts[row][column]
        by_row, by_column = confusion.share_of_row(row, column), confusion.share_of_column(row, column)
        share = by_column if self._measure == SHARE_OF_MAP else by_row
        text = short(count) if self._measure == PIXELS else _percent(share)
        item = QTableWidgetItem(text if count else "·")
        item.setTextAlignment(Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter)
        ground = self._ground(share or 0.0, row == column)
        item.setBackground(QBrush(ground))
        item.setForeground(QBrush(contrast_text(ground)))
        item.setToolTip(self._tip(confusion, row, column))
        return item

    def _ground(self, share: float, right: bool) -> QColor:
        """Blue where map and reference agree, orange where not: readable to colour-blind people too."""
        palette = self.palette()
        base = palette.color(QPalette.ColorRole.Base)
        strong = (
            QColor("#3a86c8" if right else "#e07b28")
            if is_dark(palette)
            else QColor("#2b7bba" if right else "#d95f0e")
        )
        return blend(base, strong, 0.0 if not share else 0.08 + 0.82 * share**0.6)

    def _tip(self, confusion: Confusion, row: int, column: int) -> str:
        truth, mapped = (escape(confusion.classes[i].name) for i in (row, column))
        count = whole(confusion.counts[row][column])
        first = (
            tr("{count} pixels of {truth} are mapped as {mapped}.")
            if row != column
            else tr("{count} pixels of {truth} are mapped right.")
        ).format(count=count, truth=truth, mapped=mapped)
        second = tr("{row} of {truth} in the reference, {column} of {mapped} on the map.").format(
            row=_percent(confusion.share_of_row(row, column)),
            column=_percent(confusion.share_of_column(row, column)),
            truth=truth,
            mapped=mapped,
        )
        return f"<p>{first}<br>{second}<br>{escape(tr('Click: show where.'))}</p>"

    def _margin(self, share: float | None) -> QTableWidgetItem:
        item = QTableWidgetItem("–" if share is None else f"{100 * share:.0f}\u202f%")
        item.setToolTip(_percent(share))
        item.setTextAlignment(Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter)
        item.setFlags(Qt.ItemFlag.ItemIsEnabled | Qt.ItemFlag.ItemIsSelectable)
        item.setBackground(QBrush(self.palette().color(QPalette.ColorRole.AlternateBase)))
        item.setForeground(QBrush(self.palette().color(QPalette.ColorRole.Text)))
        font = item.font()
        font.setBold(True)
        item.setFont(font)
        return item


class _FrameDelegate(QStyledItemDelegate):
    """Shows the chosen cell by a frame: a fill would hide what its colour says."""

    def paint(self, painter: QPainter, option: QStyleOptionViewItem, index: QModelIndex) -> None:
        """Draw the cell as it is, and a frame where it is chosen."""
        plain = QStyleOptionViewItem(option)
        chosen = bool(plain.state & QStyle.StateFlag.State_Selected)
        plain.state &= ~(QStyle.StateFlag.State_Selected | QStyle.StateFlag.State_HasFocus)
        super().paint(painter, plain, index)
        if chosen:
            painter.save()
            painter.setPen(QPen(option.palette.color(QPalette.ColorRole.Text), 2))
            painter.drawRect(option.rect.adjusted(1, 1, -1, -1))
            painter.restore()


class _UprightHeader(QHeaderView):
    """Column names written upwards, so that a matrix fits into a dock."""

    def __init__(self, parent: QWidget) -> None:
        super().__init__(Qt.Orientation.Horizontal, parent)
        self.setSectionsClickable(False)

    def sectionSizeFromContents(self, index: int) -> QSize:
        """Return a size with room for the name from bottom to top."""
        text = str(self.model().headerData(index, self.orientation()) or "")
        metrics = self.fontMetrics()
        width = min(metrics.horizontalAdvance(text), _NAME_PX - _SWATCH_PX - 12)
        return QSize(metrics.height() + 10, width + _SWATCH_PX + 18)

    def paintSection(self, painter: QPainter, rect: QRect, index: int) -> None:
        """Draw the name upwards, above its colour."""
        palette, metrics = self.palette(), self.fontMetrics()
        painter.save()
        painter.fillRect(rect, palette.color(QPalette.ColorRole.Button))
        painter.setPen(palette.color(QPalette.ColorRole.Mid))
        painter.drawLine(rect.topRight(), rect.bottomRight())
        painter.drawLine(rect.bottomLeft(), rect.bottomRight())
        icon = self.model().headerData(index, self.orientation(), Qt.ItemDataRole.DecorationRole)
        foot = rect.bottom() - 4
        if icon is not None:
            foot -= _SWATCH_PX
            icon.paint(painter, rect.center().x() - _SWATCH_PX // 2 + 1, foot, _SWATCH_PX, _SWATCH_PX)
        text = str(self.model().headerData(index, self.orientation()) or "")
        room = foot - 6 - rect.top() - 2
        painter.translate(rect.center().x() + metrics.ascent() / 2 - 1, foot - 6)
        painter.rotate(-90)
        painter.setPen(palette.color(QPalette.ColorRole.ButtonText))
        painter.drawText(0, 0, metrics.elidedText(text, Qt.TextElideMode.ElideRight, room))
        painter.restore()


def swatch(color: str) -> QIcon:
    """Return a small square of a class's colour, with a border that shows on any ground."""
    pixmap = QPixmap(_SWATCH_PX, _SWATCH_PX)
    pixmap.fill(QColor(color))
    painter = QPainter(pixmap)
    painter.setPen(QColor(128, 128, 128))
    painter.drawRect(0, 0, _SWATCH_PX - 1, _SWATCH_PX - 1)
    painter.end()
    return QIcon(pixmap)


def _plain(text: str, tip: str) -> QTableWidgetItem:
    item = QTableWidgetItem(text)
    item.setToolTip(tip)
    return item


def _percent(share: float | None) -> str:
    return "–" if share is None else f"{100 * share:.1f}\u202f%"
