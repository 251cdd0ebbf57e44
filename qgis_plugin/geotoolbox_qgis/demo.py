"""The demo scene as layers of the project: images at the bottom, what is drawn from them above."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from qgis.core import (
    QgsLayerTree,
    QgsMapLayer,
    QgsMultiBandColorRenderer,
    QgsProcessingContext,
    QgsProject,
    QgsRasterLayer,
)

from .styling import after_loading

__all__ = ["load_scene"]

# From the bottom of the layer tree to its top; only images and labels are shown at first.
_FILES = (
    ("image_utm33.tif", True),
    ("image_utm32.tif", True),
    ("landcover.tif", False),
    ("test_area.geojson", False),
    ("train_area.geojson", False),
    ("labels.gpkg", True),
)
_RED, _GREEN, _BLUE = 3, 2, 1
_RANK = "geotoolbox/scene"


def load_scene(folder: Path, context: QgsProcessingContext) -> None:
    """Ask QGIS to load the scene's files when the algorithm has ended."""
    project = context.project()
    if project is None:  # qgis_process: there is nothing to load layers into
        return
    for number, (name, shown) in enumerate(_FILES):
        path = Path(folder) / name
        details = QgsProcessingContext.LayerDetails(path.stem, project, path.stem)
        if hasattr(details, "layerSortKey"):  # QGIS 3.32
            details.layerSortKey = number
        after_loading(details, partial(_show, path.stem, shown, len(_FILES) - number))
        context.addLayerToLoadOnCompletion(str(path), details)


def _show(name: str, shown: bool, rank: int, layer: QgsMapLayer, project: QgsProject) -> None:
    layer.setName(name)
    layer.loadDefaultStyle()
    if isinstance(layer, QgsRasterLayer) and layer.bandCount() >= _RED:
        layer.setRenderer(QgsMultiBandColorRenderer(layer.dataProvider(), _RED, _GREEN, _BLUE))
        layer.setDefaultContrastEnhancement()
    if name == "labels":
        layer.setOpacity(0.5)
    root = project.layerTreeRoot()
    node = root.findLayer(layer.id())
    if node is None:
        return
    copy = node.clone()
    copy.setItemVisibilityChecked(shown)
    copy.setExpanded(name == "labels")
    copy.setCustomProperty(_RANK, rank)
    root.insertChildNode(_place(root, rank), copy)
    node.parent().removeChildNode(node)


def _place(root: QgsLayerTree, rank: int) -> int:
    """Return where a layer of this rank goes: QGIS loads layers in the order of their files' names."""
    placed = [(i, int(child.customProperty(_RANK, 0))) for i, child in enumerate(root.children())]
    placed = [(i, other) for i, other in placed if other > 0]
    if not placed:
        return 0
    return next((i for i, other in placed if other > rank), placed[-1][0] + 1)
