"""The demo scene through Processing, with the real engine: made, loaded, and put into order."""

from __future__ import annotations

from pathlib import Path

import pytest
from geotoolbox_qgis.dock import GeoToolboxDock
from geotoolbox_qgis.styling import GROUP
from qgis.core import (
    QgsCategorizedSymbolRenderer,
    QgsMultiBandColorRenderer,
    QgsProcessingContext,
    QgsProcessingFeedback,
    QgsProject,
)


@pytest.mark.usefixtures("provider")
def test_the_demo_scene_is_opened_as_layers(tmp_path: Path, qgis_new_project) -> None:
    import processing
    from processing.gui.Postprocessing import handleAlgorithmResults
    from qgis.core import QgsApplication

    project = QgsProject.instance()
    context = QgsProcessingContext()
    context.setProject(project)
    parameters = {"OUTPUT": str(tmp_path / "scene"), "SIZE_PX": 128}
    algorithm = QgsApplication.processingRegistry().createAlgorithmById("geotoolbox:demoscene")
    results, fine = algorithm.run(parameters, context, QgsProcessingFeedback(False))
    assert fine and processing is not None
    assert handleAlgorithmResults(algorithm, context, QgsProcessingFeedback(False), True, parameters)
    nodes = project.layerTreeRoot().children()
    assert [node.name() for node in nodes] == [
        "labels", "train_area", "test_area", "landcover", "image_utm32", "image_utm33",
    ]  # fmt: skip
    assert [node.isVisible() for node in nodes] == [True, False, False, False, True, True]
    labels, image = nodes[0].layer(), nodes[-1].layer()
    assert isinstance(labels.renderer(), QgsCategorizedSymbolRenderer)
    assert sorted(c.label() for c in labels.renderer().categories()) == [
        "cropland", "forest", "grassland", "settlement", "water",
    ]  # fmt: skip
    renderer = image.renderer()
    assert isinstance(renderer, QgsMultiBandColorRenderer)
    assert (renderer.redBand(), renderer.greenBand(), renderer.blueBand()) == (3, 2, 1)
    assert project.layerTreeRoot().findGroup(GROUP) is None
    assert Path(results["OUTPUT"], "train_area.geojson").exists()


@pytest.mark.usefixtures("provider")
def test_an_evaluation_through_processing_shows_in_the_dock(
    results: Path, tmp_path: Path, qgis_new_project
) -> None:
    import processing

    parameters = {
        "INPUT": str(results / "map.tif"),
        "REFERENCE_RASTER": str(results / "truth.tif"),
        "REPORT": str(tmp_path / "report.html"),
    }
    found = processing.run(
        "geotoolbox:evaluatesegmentation", parameters, feedback=QgsProcessingFeedback(False)
    )
    folder = Path(found["RUN"])
    dock = GeoToolboxDock(None, runs_folder=folder.parent)
    dock.history.select(folder)
    run = dock.run()
    assert (run.status, run.algorithm) == ("done", "evaluatesegmentation")
    assert run.file("report") == tmp_path / "report.html" and dock.history.report.isEnabled()
    confusion = dock.accuracy.confusion
    assert confusion.counts[0][1] == 50 and confusion.overall_accuracy == pytest.approx(
        found["OVERALL_ACCURACY"]
    )
    # nobody asked for numbers or an error map: they are in the run's record
    assert confusion.errors.parent == folder and confusion.blocks.parent == folder
    dock.accuracy.choose(0, 1)
    assert [layer.name() for layer in QgsProject.instance().mapLayers().values()] == [
        "Errors: water → <b>forest</b> & more"
    ]
    dock.close_up()
