"""Loss and accuracy by epoch, drawn with Qt; arrow keys and the mouse read the values."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from qgis.PyQt.QtCore import QEvent, QPointF, QRectF, QSize, Qt
from qgis.PyQt.QtGui import (
    QColor,
    QFocusEvent,
    QFontMetricsF,
    QKeyEvent,
    QMouseEvent,
    QPainter,
    QPaintEvent,
    QPalette,
    QPen,
    QPolygonF,
)
from qgis.PyQt.QtWidgets import QSizePolicy, QWidget

from .theme import blend, series_color, tr

__all__ = ["CurvesWidget", "nice_ticks"]

Points = list[tuple[float, float]]


@dataclass(frozen=True)
class _Curve:
    metric: str
    label: str
    dashed: bool


@dataclass(frozen=True)
class _Panel:
    title: str
    curves: tuple[_Curve, ...]
    full: bool  # whether the scale ends at 0 and 1 at most


_PANELS = (
    _Panel("Loss", (_Curve("train_loss", "training", True), _Curve("val_loss", "validation", False)), False),
    _Panel(
        "Score",
        (_Curve("val_overall_accuracy", "accuracy", True), _Curve("val_mean_iou", "mean IoU", False)),
        True,
    ),
)


def nice_ticks(low: float, high: float, count: int = 4) -> list[float]:
    """Return round numbers that span ``low`` to ``high``.

    Example:
        >>> nice_ticks(0.0, 0.93)
        [0.0, 0.25, 0.5, 0.75, 1.0]
    """
    if not (math.isfinite(low) and math.isfinite(high)):
        return [0.0, 1.0]
    if high - low < 1e-9 * max(abs(low), abs(high), 1e-9):
        low, high = low - (abs(low) * 0.1 or 0.5), high + (abs(high) * 0.1 or 0.5)
    rough = (high - low) / max(1, count)
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(m * power for m in (1, 2, 2.5, 5, 10) if m * power >= rough * 0.999)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [round(i * step, 12) for i in range(first, last + 1)]


class CurvesWidget(QWidget):
    """Two panels: the losses, and the scores on the ground that was held out."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._series: dict[str, Points] = {}
        self._cursor: int | None = None
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self.setMouseTracking(True)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Expanding)
        self.setMinimumHeight(190)
        self.setAccessibleName(tr("Training curves"))
        self._describe()

    def set_series(self, series: dict[str, Points]) -> None:
        """Show these curves: name of the metric → (epoch, value) pairs."""
        self._series = {name: list(points) for name, points in series.items()}
        if self._cursor is not None and self._cursor >= len(self.steps()):
            self._cursor = None
        self._describe()
        self.update()

    def steps(self) -> list[float]:
        """Return the epochs that have a value."""
        known = {c.metric for panel in _PANELS for c in panel.curves}
        return sorted({x for name, points in self._series.items() if name in known for x, _ in points})

    def reading(self) -> str:
        """Return the values at the cursor (else of the last epoch) as a sentence."""
        steps = self.steps()
        if not steps:
            return tr("No epoch is finished yet.")
        step = self._step(steps)
        parts = []
        for panel in _PANELS:
            for curve in panel.curves:
                value = dict(self._series.get(curve.metric, ())).get(step)
                if value is not None:
                    name = f"{tr(curve.label)} {tr('loss')}" if panel.title == "Loss" else tr(curve.label)
                    parts.append(f"{name} {value:.3f}")
        return f"{tr('Epoch')} {step:g}: " + ", ".join(parts)

    def sizeHint(self) -> QSize:
        """Return a size that shows both panels."""
        return QSize(360, 300)

    def keyPressEvent(self, event: QKeyEvent) -> None:
        """Move the cursor: left, right, home, end; escape takes it away."""
        count = len(self.steps())
        here = count - 1 if self._cursor is None else self._cursor
        moves = {
            Qt.Key.Key_Left: max(0, here - 1),
            Qt.Key.Key_Right: min(count - 1, here + 1),
            Qt.Key.Key_Home: 0,
            Qt.Key.Key_End: count - 1,
            Qt.Key.Key_Escape: None,
        }
        if not count or event.key() not in moves:
            super().keyPressEvent(event)
            return
        self._move(moves[event.key()])

    def mouseMoveEvent(self, event: QMouseEvent) -> None:
        """Put the cursor on the epoch under the mouse."""
        steps = self.steps()
        if not steps:
            return
        x = event.position().x() if hasattr(event, "position") else event.pos().x()
        frame = self._frames()[0]
        places = [self._x(step, steps, frame) for step in steps]
        self._move(min(range(len(steps)), key=lambda i: abs(places[i] - x)))

    def leaveEvent(self, event: QEvent) -> None:
        """Take the cursor away."""
        self._move(None)
        super().leaveEvent(event)

    def focusInEvent(self, event: QFocusEvent) -> None:
        """Show where the keys go."""
        super().focusInEvent(event)
        self.update()

    def focusOutEvent(self, event: QFocusEvent) -> None:
        """Show that the keys go elsewhere."""
        super().focusOutEvent(event)
        self.update()

    def _move(self, cursor: int | None) -> None:
        if cursor != self._cursor:
            self._cursor = cursor
            self._describe()
            self.update()

    def _describe(self) -> None:
        self.setAccessibleDescription(self.reading())

    def _frames(self) -> list[QRectF]:
        """Return the plotting areas, one below the other."""
        metrics = QFontMetricsF(self.font())
        line = metrics.height()
        left, right = metrics.horizontalAdvance("0.000") + 10, 12
        top, bottom, gap = line + 14, 2 * line + 12, line + 24
        height = (self.height() - top - bottom - gap) / 2
        width = self.width() - left - right
        return [QRectF(left, top + i * (height + gap), max(width, 10), max(height, 10)) for i in range(2)]

    def _x(self, step: float, steps: Sequence[float], frame: QRectF) -> float:
        low, high = min(steps[0], 1.0), max(steps[-1], steps[0] + 1)
        return frame.left() + frame.width() * (step - low) / (high - low)

    def paintEvent(self, event: QPaintEvent) -> None:
        """Draw both panels, the cursor and its values."""
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        painter.fillRect(self.rect(), self.palette().color(QPalette.ColorRole.Base))
        steps = self.steps()
        frames = self._frames()
        for panel, frame in zip(_PANELS, frames):
            self._draw_panel(painter, panel, frame, steps)
        self._draw_epochs(painter, steps, frames[-1])
        if self.hasFocus():
            painter.setPen(QPen(self.palette().color(QPalette.ColorRole.Highlight), 2))
            painter.setBrush(Qt.BrushStyle.NoBrush)
            painter.drawRect(QRectF(self.rect()).adjusted(1, 1, -1, -1))
        painter.end()

    def _soft(self, share: float) -> QColor:
        palette = self.palette()
        base, text = palette.color(QPalette.ColorRole.Base), palette.color(QPalette.ColorRole.Text)
        return blend(base, text, share)

    def _step(self, steps: Sequence[float]) -> float | None:
        """Return the epoch whose values are shown: under the cursor, else the last."""
        if not steps:
            return None
        return steps[-1 if self._cursor is None else self._cursor]

    def _draw_panel(self, painter: QPainter, panel: _Panel, frame: QRectF, steps: Sequence[float]) -> None:
        curves = [(i, c, self._series.get(c.metric, [])) for i, c in enumerate(panel.curves)]
        values = [v for _, _, points in curves for _, v in points]
        ticks = nice_ticks(min(values), max(values), 3 if frame.height() < 90 else 4) if values else [0, 1]
        if panel.full:
            ticks = [t for t in ticks if -1e-9 <= t <= 1 + 1e-9] or [0.0, 1.0]
        low, high = min([ticks[0], *values]), max([ticks[-1], *values])
        self._draw_grid(painter, frame, ticks, low, high)
        self._draw_legend(painter, panel, frame, self._step(steps))
        if not steps:
            return
        for i, curve, points in curves:
            self._draw_curve(painter, i, curve, self._place(points, steps, frame, low, high))
        if self._cursor is not None:
            x = self._x(steps[self._cursor], steps, frame)
            painter.setPen(QPen(self._soft(0.6), 1, Qt.PenStyle.DotLine))
            painter.drawLine(QPointF(x, frame.top()), QPointF(x, frame.bottom()))

    def _place(
        self, points: Points, steps: Sequence[float], frame: QRectF, low: float, high: float
    ) -> list[QPointF]:
        span = (high - low) or 1.0
        return [
            QPointF(self._x(x, steps, frame), frame.bottom() - frame.height() * (y - low) / span)
            for x, y in points
        ]

    def _draw_grid(
        self, painter: QPainter, frame: QRectF, ticks: Sequence[float], low: float, high: float
    ) -> None:
        line = QFontMetricsF(self.font()).height()
        for tick in ticks:
            y = frame.bottom() - frame.height() * (tick - low) / ((high - low) or 1.0)
            painter.setPen(QPen(self._soft(0.15), 1))
            painter.drawLine(QPointF(frame.left(), y), QPointF(frame.right(), y))
            painter.setPen(self._soft(0.75))
            box = QRectF(0, y - line / 2, frame.left() - 6, line)
            painter.drawText(box, Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter, f"{tick:.4g}")

    def _draw_legend(self, painter: QPainter, panel: _Panel, frame: QRectF, step: float | None) -> None:
        metrics = QFontMetricsF(self.font())
        y = frame.top() - metrics.height() / 2 - 9
        painter.setPen(self.palette().color(QPalette.ColorRole.Text))
        painter.drawText(QPointF(8, y + metrics.ascent() / 2), tr(panel.title))
        x = frame.right()
        for i, curve in reversed(list(enumerate(panel.curves))):
            value = dict(self._series.get(curve.metric, ())).get(step)
            text = tr(curve.label) if value is None else f"{tr(curve.label)} {value:.3f}"
            x -= metrics.horizontalAdvance(text)
            painter.setPen(self.palette().color(QPalette.ColorRole.Text))
            painter.drawText(QPointF(x, y + metrics.ascent() / 2), text)
            painter.setPen(self._pen(i, curve))
            painter.drawLine(QPointF(x - 27, y), QPointF(x - 5, y))
            x -= 40

    def _pen(self, index: int, curve: _Curve) -> QPen:
        style = Qt.PenStyle.DashLine if curve.dashed else Qt.PenStyle.SolidLine
        return QPen(series_color(self.palette(), index), 2, style)

    def _draw_curve(self, painter: QPainter, index: int, curve: _Curve, points: list[QPointF]) -> None:
        painter.setPen(self._pen(index, curve))
        painter.setBrush(Qt.BrushStyle.NoBrush)
        if len(points) > 1:
            painter.drawPolyline(QPolygonF(points))
        painter.setBrush(series_color(self.palette(), index))
        painter.setPen(Qt.PenStyle.NoPen)
        for point in points if len(points) <= 40 else points[-1:]:
            painter.drawEllipse(point, 2.5, 2.5)

    def _draw_epochs(self, painter: QPainter, steps: Sequence[float], frame: QRectF) -> None:
        metrics = QFontMetricsF(self.font())
        y = frame.bottom() + metrics.ascent() + 4
        painter.setPen(self._soft(0.75))
        ticks = nice_ticks(steps[0], steps[-1], 5) if steps else []
        for step in (t for t in ticks if t == int(t) and steps[0] <= t <= steps[-1]):
            text = f"{step:g}"
            x = self._x(step, steps, frame) - metrics.horizontalAdvance(text) / 2
            painter.drawText(QPointF(x, y), text)
        painter.setPen(self.palette().color(QPalette.ColorRole.Text))
        here = self._step(steps)
        text = tr("No epoch is finished yet.") if here is None else f"{tr('Epoch')} {here:g}"
        painter.drawText(QPointF(8, y + metrics.height()), text)
