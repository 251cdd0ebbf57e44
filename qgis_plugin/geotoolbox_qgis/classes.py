"""The names and colours that a person has given to classes in QGIS."""

from __future__ import annotations

from typing import Any, List

from qgis.core import (
    QgsCategorizedSymbolRenderer,
    QgsMapLayer,
    QgsPalettedRasterRenderer,
    QgsRasterLayer,
    QgsVectorLayer,
)

__all__ = ["class_style"]

_MOST = 1000


def class_style(layer: QgsMapLayer, column: str) -> List[str]:
    """Return ``value=name #rrggbb`` for each class that the layer's style names, for the engine.

    Args:
        layer: A label layer.
        column: The column of the classes, for a vector layer.
    """
    if isinstance(layer, QgsRasterLayer):
        return _of_raster(layer)
    if isinstance(layer, QgsVectorLayer):
        return _of_vector(layer, column)
    return []


def _of_raster(layer: QgsRasterLayer) -> List[str]:
    renderer = layer.renderer()
    if not isinstance(renderer, QgsPalettedRasterRenderer):
        return []
    rows = renderer.classes()
    # A colour table without names gives 256 entries labelled by their values: that says nothing.
    named = [row for row in rows if row.label and row.label != _plain(row.value)]
    return [_row(row.value, row.label, row.color) for row in named] if len(named) <= _MOST else []


def _of_vector(layer: QgsVectorLayer, column: str) -> List[str]:
    renderer = layer.renderer()
    if not isinstance(renderer, QgsCategorizedSymbolRenderer):
        return []
    if renderer.classAttribute().strip('"') != column:
        return []
    rows = []
    for category in renderer.categories():
        value, symbol = category.value(), category.symbol()
        if symbol is None or isinstance(value, list) or str(value) in ("", "NULL") or value is None:
            continue
        rows.append(_row(value, category.label() or str(value), symbol.color()))
    return rows if len(rows) <= _MOST else []


def _row(value: Any, name: str, color: Any) -> str:
    return f"{_plain(value)}={name} {color.name()}"


def _plain(value: Any) -> str:
    """Return a number without a point where it is whole."""
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)
