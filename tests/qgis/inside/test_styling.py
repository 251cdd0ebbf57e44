"""Results arrive named, styled and in one group; the style is in the files, so a copy has it too."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from geotoolbox_qgis.styling import GROUP, move_to_group, style_layer, style_outputs
from qgis.core import (
    QgsCategorizedSymbolRenderer,
    QgsPalettedRasterRenderer,
    QgsProcessingContext,
    QgsProcessingFeedback,
    QgsProcessingUtils,
    QgsProject,
    QgsRasterLayer,
    QgsSingleBandPseudoColorRenderer,
    QgsVectorLayer,
)

CLASSES = {1: ("water", "#3a78c8"), 2: ("<b>forest</b> & more", "#1e6932"), 7: ("town", "#be4646")}


def copied(path: Path, folder: Path, *beside: str) -> Path:
    """Copy a file and what stands beside it, as one would to a colleague."""
    for suffix in ("", *beside):
        name = path.name + suffix if suffix.startswith(".aux") else path.stem + (suffix or path.suffix)
        shutil.copy(path.with_name(name), folder / name)
    return folder / path.name


def test_a_map_shows_its_classes_by_name_and_colour(results: Path, tmp_path: Path, qgis_app) -> None:
    layer = QgsRasterLayer(str(copied(results / "map.tif", tmp_path, ".qml", ".aux.xml")), "map")
    renderer = layer.renderer()
    assert isinstance(renderer, QgsPalettedRasterRenderer)
    assert {c.value: (c.label, c.color.name()) for c in renderer.classes()} == CLASSES


@pytest.mark.parametrize("raster_beside", [False, True])
def test_polygons_carry_their_style_in_the_file(
    results: Path, tmp_path: Path, raster_beside: bool, qgis_app
) -> None:
    if raster_beside:  # map.qml is then the style of map.tif
        copied(results / "map.tif", tmp_path, ".qml")
    layer = QgsVectorLayer(str(copied(results / "map.gpkg", tmp_path)), "map", "ogr")
    assert layer.isValid() and layer.featureCount() >= 5
    renderer = layer.renderer()
    assert isinstance(renderer, QgsCategorizedSymbolRenderer) and renderer.classAttribute() == "value"
    found = {int(c.value()): (c.label(), c.symbol().color().name()) for c in renderer.categories()}
    assert found == CLASSES


def test_confidence_is_drawn_from_dark_to_light(results: Path, tmp_path: Path, qgis_app) -> None:
    layer = QgsRasterLayer(str(copied(results / "confidence.tif", tmp_path, ".qml")), "confidence")
    renderer = layer.renderer()
    assert isinstance(renderer, QgsSingleBandPseudoColorRenderer)
    assert (renderer.classificationMin(), renderer.classificationMax()) == (0.0, 1.0)
    items = renderer.shader().rasterShaderFunction().colorRampItemList()
    assert [(i.value, i.color.name()) for i in (items[0], items[-1])] == [(0.0, "#440154"), (1.0, "#fde725")]
    block = layer.dataProvider().block(1, layer.extent(), 64, 64)
    assert block.value(0, 63) == pytest.approx(1.0)  # QGIS applies the file's scale


def test_each_probability_is_a_style_of_its_own(results: Path, qgis_new_project) -> None:
    layer = QgsRasterLayer(str(results / "probabilities.tif"), "probabilities")
    style_layer(layer, "PROBABILITIES")
    styles = layer.styleManager()
    assert sorted(styles.styles()) == sorted(name for name, _ in CLASSES.values())
    bands = {}
    for name in styles.styles():
        styles.setCurrentStyle(name)
        bands[name] = layer.renderer().band()
    assert bands == {"water": 1, "<b>forest</b> & more": 2, "town": 3}


def load(project: QgsProject, outputs: dict[str, str]) -> QgsProcessingContext:
    """Do what QGIS does with results after an algorithm has run."""
    from processing.gui.Postprocessing import handleAlgorithmResults

    context = QgsProcessingContext()
    context.setProject(project)
    for name, path in outputs.items():
        details = QgsProcessingContext.LayerDetails(Path(path).stem, project, name)
        context.addLayerToLoadOnCompletion(path, details)
    style_outputs(context, outputs, QgsProcessingFeedback())
    algorithm = _AnyAlgorithm()
    assert handleAlgorithmResults(algorithm, context, QgsProcessingFeedback())
    return context


class _AnyAlgorithm:
    def id(self) -> str:
        return "geotoolbox:predictsegmentation"

    def outputDefinitions(self) -> list:
        return []


def test_results_land_in_one_group_on_top_in_a_sensible_order(
    results: Path, qgis_new_project, qgis_processing
) -> None:
    project = QgsProject.instance()
    own = QgsRasterLayer(str(results / "truth.tif"), "the person's own layer")
    project.addMapLayer(own)
    outputs = {"OUTPUT": "map.tif", "CONFIDENCE": "confidence.tif", "POLYGONS": "map.gpkg"}
    load(project, {name: str(results / file) for name, file in outputs.items()})
    kinds = {layer.name(): type(layer.renderer()).__name__ for layer in project.mapLayers().values()}
    assert kinds["map"] == "QgsPalettedRasterRenderer"
    assert kinds["map · Polygons"] == "QgsCategorizedSymbolRenderer"
    assert kinds["confidence · Confidence"] == "QgsSingleBandPseudoColorRenderer"
    root = project.layerTreeRoot()
    assert [node.name() for node in root.children()] == [GROUP, "the person's own layer"]
    assert [node.name() for node in root.children()[0].children()] == [
        "map · Polygons",
        "map",
        "confidence · Confidence",
    ]
    assert len(project.mapLayers()) == 4
    load(project, {"OUTPUT": str(results / "truth.tif")})
    assert len(root.findGroups()) == 1 and len(root.findGroup(GROUP).children()) == 4


def test_a_layer_that_is_not_loaded_is_left_alone(results: Path, qgis_new_project) -> None:
    context = QgsProcessingContext()
    context.setProject(QgsProject.instance())
    style_outputs(context, {"OUTPUT": str(results / "map.tif"), "ACCURACY": 0.9, "REPORT": None})
    assert not context.layersToLoadOnCompletion() and not QgsProject.instance().mapLayers()


def test_moving_a_layer_twice_keeps_one_node(results: Path, qgis_new_project) -> None:
    project = QgsProject.instance()
    layer = QgsRasterLayer(str(results / "map.tif"), "map")
    project.addMapLayer(layer)
    move_to_group(project, layer, 3)
    move_to_group(project, layer, 3)
    nodes = [n for n in project.layerTreeRoot().findLayers() if n.layerId() == layer.id()]
    assert (
        len(nodes) == 1 and QgsProcessingUtils.mapLayerFromString(layer.id(), _context(project)) is not None
    )


def _context(project: QgsProject) -> QgsProcessingContext:
    context = QgsProcessingContext()
    context.setProject(project)
    return context
