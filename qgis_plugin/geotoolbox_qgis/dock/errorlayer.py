"""The error layer: where on the map a cell of the confusion matrix lies."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from qgis.core import (
    QgsCoordinateTransform,
    QgsFillSymbol,
    QgsMapLayer,
    QgsPalettedRasterRenderer,
    QgsProject,
    QgsRasterLayer,
    QgsRectangle,
    QgsSingleSymbolRenderer,
    QgsVectorLayer,
)
from qgis.PyQt.QtGui import QColor

from ..styling import move_to_group
from .confusion import Confusion
from .theme import tr

__all__ = ["Place", "error_value", "find_places", "show_cell"]

WRONG, RIGHT = "#ff00a8", "#00b7ff"  # colours that no land cover has, told apart by colour-blind readers
_PROPERTY = "geotoolbox/errors_of"
_MOST_PLACES = 200


@dataclass(frozen=True)
class Place:
    """A block of the map and how many pixels of the cell it holds."""

    block: int
    pixels: int


def error_value(confusion: Confusion, row: int, column: int) -> int:
    """Return the error raster's value for a cell: ``1 + reference · K + map`` (0 is *not compared*)."""
    return 1 + row * confusion.size + column


def find_places(confusion: Confusion, row: int, column: int) -> list[Place]:
    """Return the blocks that hold the cell, those with most of it first; empty without a block file."""
    if confusion.blocks is None:
        return []
    query = (
        "SELECT block, pixels FROM cells WHERE reference = ? AND map = ? ORDER BY pixels DESC, block LIMIT ?"
    )
    try:
        uri = f"{confusion.blocks.resolve().as_uri()}?mode=ro"
        with closing(sqlite3.connect(uri, uri=True)) as database:
            rows = database.execute(query, (row, column, _MOST_PLACES)).fetchall()
    except sqlite3.Error:
        return []
    return [Place(int(block), int(pixels)) for block, pixels in rows]


def place_extent(confusion: Confusion, place: Place, project: QgsProject) -> QgsRectangle | None:
    """Return where a block is, in the project's CRS."""
    if confusion.blocks is None:
        return None
    layer = QgsVectorLayer(f"{confusion.blocks}|layername=blocks", "blocks", "ogr")
    feature = layer.getFeature(place.block + 1)  # fid is block + 1
    if not layer.isValid() or not feature.hasGeometry():
        return None
    return to_project(feature.geometry().boundingBox(), layer, project)


def to_project(extent: QgsRectangle, layer: QgsMapLayer, project: QgsProject) -> QgsRectangle:
    """Bring a layer's rectangle into the project's CRS."""
    if not project.crs().isValid() or not layer.crs().isValid():
        return extent
    transform = QgsCoordinateTransform(layer.crs(), project.crs(), project.transformContext())
    return transform.transformBoundingBox(extent)


def show_cell(project: QgsProject, confusion: Confusion, row: int, column: int) -> QgsMapLayer:
    """Show the pixels of one cell as a layer on top; a second cell changes that layer.

    Returns:
        The layer: of pixels where there is an error raster, else of the blocks that hold some.

    Raises:
        ValueError: A sentence for the person, when there are no files that say where.
    """
    if confusion.errors is not None:
        layer = _raster(project, confusion)
        layer.setRenderer(_renderer(layer, confusion, row, column))
    elif confusion.blocks is not None:
        layer = _blocks(project, confusion)
        blocks = ", ".join(str(place.block) for place in find_places(confusion, row, column))
        layer.setSubsetString(f'"block" IN ({blocks})' if blocks else "1 = 0")
    else:
        raise ValueError(
            tr(
                "This evaluation wrote no error raster. Evaluate again, with the output for errors switched on."
            )
        )
    layer.setName(f"{tr('Errors')}: {cell_label(confusion, row, column)}")
    node = project.layerTreeRoot().findLayer(layer.id())
    if node is not None:
        node.setItemVisibilityCheckedParentRecursive(True)
    layer.emitStyleChanged()
    layer.triggerRepaint()
    return layer


def cell_label(confusion: Confusion, row: int, column: int) -> str:
    """Return a cell in words: *forest → water* is forest that is mapped as water."""
    truth, mapped = confusion.classes[row].name, confusion.classes[column].name
    return f"{truth} → {mapped}" if row != column else f"{truth} ({tr('right')})"


def _raster(project: QgsProject, confusion: Confusion) -> QgsRasterLayer:
    known = _known(project, confusion.errors)
    if known is not None:
        return known
    layer = QgsRasterLayer(str(confusion.errors), tr("Errors"))
    if not layer.isValid():
        raise ValueError(f"{tr('The error raster cannot be opened')}: {confusion.errors}")
    return _add(project, layer, confusion.errors)


def _blocks(project: QgsProject, confusion: Confusion) -> QgsVectorLayer:
    known = _known(project, confusion.blocks)
    if known is not None:
        return known
    layer = QgsVectorLayer(f"{confusion.blocks}|layername=blocks", tr("Errors"), "ogr")
    if not layer.isValid():
        raise ValueError(f"{tr('The block file cannot be opened')}: {confusion.blocks}")
    symbol = QgsFillSymbol.createSimple(
        {"style": "b_diagonal", "color": WRONG, "outline_color": WRONG, "outline_width": "0.6"}
    )
    layer.setRenderer(QgsSingleSymbolRenderer(symbol))
    return _add(project, layer, confusion.blocks)


def _known(project: QgsProject, path: Path) -> QgsMapLayer | None:
    wanted = str(path)
    return next((la for la in project.mapLayers().values() if la.customProperty(_PROPERTY) == wanted), None)


def _add(project: QgsProject, layer: QgsMapLayer, path: Path) -> QgsMapLayer:
    layer.setCustomProperty(_PROPERTY, str(path))
    project.addMapLayer(layer)
    move_to_group(project, layer, rank=-1)
    return layer


def _renderer(
    layer: QgsRasterLayer, confusion: Confusion, row: int, column: int
) -> QgsPalettedRasterRenderer:
    color = QColor(RIGHT if row == column else WRONG)
    entry = QgsPalettedRasterRenderer.Class(
        error_value(confusion, row, column), color, cell_label(confusion, row, column)
    )
    return QgsPalettedRasterRenderer(layer.dataProvider(), 1, [entry])
