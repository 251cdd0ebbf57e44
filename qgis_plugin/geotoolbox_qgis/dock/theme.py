"""Colours that are readable on light and dark themes, and words for numbers and times."""

from __future__ import annotations

from qgis.PyQt.QtCore import QCoreApplication
from qgis.PyQt.QtGui import QColor, QPalette

__all__ = ["blend", "contrast_text", "duration", "is_dark", "series_color", "short", "tr", "whole"]

# Okabe and Ito's blue and orange for light themes, lighter ones of the same hues for dark themes.
_LIGHT = ("#0072b2", "#d55e00", "#009e73", "#aa4499")
_DARK = ("#6fc3ff", "#ffb067", "#5fd7b5", "#e59fd8")


def tr(text: str) -> str:
    """Translate a text of the dock."""
    return QCoreApplication.translate("GeoToolbox", text)


def is_dark(palette: QPalette) -> bool:
    """Whether the theme shows light text on a dark ground."""
    return palette.color(QPalette.ColorRole.Base).lightnessF() < 0.5


def series_color(palette: QPalette, index: int) -> QColor:
    """Return the colour of a curve."""
    colors = _DARK if is_dark(palette) else _LIGHT
    return QColor(colors[index % len(colors)])


def blend(ground: QColor, color: QColor, share: float) -> QColor:
    """Mix ``share`` of a colour into the ground."""
    parts = zip(ground.getRgb()[:3], color.getRgb()[:3])
    return QColor(*(round(g + (c - g) * min(1.0, max(0.0, share))) for g, c in parts))


def contrast_text(ground: QColor) -> QColor:
    """Return black or white, whichever is read better on the ground (WCAG's luminance)."""
    red, green, blue = (_linear(part / 255) for part in ground.getRgb()[:3])
    luminance = 0.2126 * red + 0.7152 * green + 0.0722 * blue
    return QColor("#000000") if luminance > 0.179 else QColor("#ffffff")


def _linear(part: float) -> float:
    return part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4


def whole(number: float) -> str:
    """Return a whole number with thin spaces between the thousands."""
    return f"{round(number):,}".replace(",", "\u202f")


def short(number: int) -> str:
    """Return a count in at most five characters: 9999, 37.6 k, 1.25 M."""
    for limit, unit in ((10**9, "G"), (10**6, "M"), (10**4, "k")):
        if number >= limit:
            value = number / (1000 if unit == "k" else limit)
            return f"{value:.3g}\u202f{unit}" if value < 999.5 else f"{value:.0f}\u202f{unit}"
    return str(number)


def duration(seconds: float | None) -> str:
    """Return a time span in words: ``45 s``, ``3 min 05 s``, ``2 h 10 min``."""
    if seconds is None:
        return ""
    rounded = round(max(0.0, seconds))
    if rounded < 60:
        return f"{rounded} s"
    minutes, left = divmod(rounded, 60)
    if minutes < 60:
        return f"{minutes} min {left:02d} s"
    return f"{minutes // 60} h {minutes % 60:02d} min"
