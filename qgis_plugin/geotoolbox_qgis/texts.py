"""Texts in the person's language."""

from __future__ import annotations

from qgis.PyQt.QtCore import QCoreApplication

__all__ = ["tr"]


def tr(text: str) -> str:
    """Translate a text of the plugin."""
    return str(QCoreApplication.translate("GeoToolbox", text))
