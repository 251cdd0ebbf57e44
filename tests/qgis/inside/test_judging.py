"""Judging a map in QGIS with the real engine: points drawn, labelled and reckoned with; names given in QGIS; regions."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path

import processing
import pytest
from qgis.core import (
    QgsCategorizedSymbolRenderer,
    QgsFeature,
    QgsFillSymbol,
    QgsGeometry,
    QgsProject,
    QgsRasterLayer,
    QgsRendererCategory,
    QgsVectorLayer,
    edit,
)

NAMES = {1: "water", 2: "<b>forest</b> & more", 7: "town"}

pytestmark = pytest.mark.usefixtures("provider")


@pytest.fixture(scope="module", autouse=True)
def engine_here(engine: str) -> Iterator[None]:
    before = os.environ.get("GEOTOOLBOX_PYTHON")
    os.environ["GEOTOOLBOX_PYTHON"] = engine
    yield
    if before is not None:
        os.environ["GEOTOOLBOX_PYTHON"] = before


def label(points: QgsVectorLayer, truth: QgsRasterLayer) -> None:
    """Fill in the true class of each point, as a person does in the attribute table."""
    column = points.fields().indexOf("reference")
    with edit(points):
        for point in points.getFeatures():
            value, found = truth.dataProvider().sample(point.geometry().asPoint(), 1)
            assert found
            points.changeAttributeValue(point.id(), column, NAMES[int(value)])


def stratified(points: QgsVectorLayer, sizes: dict[str, int]) -> float:
    """Return overall accuracy as Olofsson et al. (2014) estimate it: strata's shares times what is right in each."""
    total = 0.0
    for name, size in sizes.items():
        inside = [p for p in points.getFeatures() if p["map_class_name"] == name]
        right = sum(p["reference"] == name for p in inside)
        total += size / sum(sizes.values()) * right / len(inside)
    return total


def test_points_are_drawn_labelled_and_reckoned_with(results: Path, tmp_path: Path, qgis_new_project) -> None:
    project = QgsProject.instance()
    mapped, truth = (QgsRasterLayer(str(results / f"{name}.tif"), name) for name in ("map", "truth"))
    project.addMapLayers([mapped, truth])
    drawn = processing.run(
        "geotoolbox:samplereference",
        {
            "INPUT": mapped,
            "POINTS": 60,
            "ALLOCATION": "equal",
            "SEED": 5,
            "OUTPUT": str(tmp_path / "points.gpkg"),
        },
    )
    points = QgsVectorLayer(drawn["OUTPUT"] + "|layername=points", "points", "ogr")
    assert drawn["POINTS_DONE"] == points.featureCount() == 60
    widget = points.editorWidgetSetup(points.fields().indexOf("reference"))
    assert widget.type() == "ValueMap", "the true class is chosen from a list"
    label(points, truth)
    project.addMapLayer(points)
    judged = processing.run(
        "geotoolbox:accuracyreport",
        {
            "INPUT": mapped,
            "SAMPLE": points.id(),
            "FIELD": "reference",
            "REPORT": str(tmp_path / "a.html"),
            "METRICS": str(tmp_path / "a.json"),
        },
    )
    # The map's own counts: see make_results.py.
    sizes = {"water": 1536 - 50 + 16, "<b>forest</b> & more": 1536 + 50, "town": 1024 - 16}
    assert judged["OVERALL_ACCURACY"] == pytest.approx(stratified(points, sizes))
    assert judged["OVERALL_ACCURACY_LOW"] <= judged["OVERALL_ACCURACY"] <= judged["OVERALL_ACCURACY_HIGH"]
    assert judged["POINTS"] == 60 and judged["CONFIDENCE_PERCENT_DONE"] == 95
    page = Path(judged["REPORT"]).read_text(encoding="utf-8")
    assert "&lt;b&gt;forest" in page and "<b>forest</b> &" not in page, "names are text"
    assert json.loads(Path(judged["METRICS"]).read_text())["points"] == 60


def test_a_reference_goes_by_the_names_that_it_has_in_qgis(
    results: Path, tmp_path: Path, qgis_new_project
) -> None:
    truth = QgsVectorLayer("Polygon?crs=EPSG:32633&field=code:integer", "truth", "memory")
    places = {1: (0, 0, 32, 48), 2: (32, 0, 64, 48), 7: (0, 48, 64, 64)}
    for code, (left, top, right, bottom) in places.items():
        feature = QgsFeature(truth.fields())
        x = [600_000 + 10 * column for column in (left, right)]
        y = [5_000_000 - 10 * row for row in (top, bottom)]
        ring = f"{x[0]} {y[0]},{x[1]} {y[0]},{x[1]} {y[1]},{x[0]} {y[1]},{x[0]} {y[0]}"
        feature.setGeometry(QgsGeometry.fromWkt(f"POLYGON(({ring}))"))
        feature.setAttributes([code])
        truth.dataProvider().addFeature(feature)
    truth.updateExtents()
    symbols = {code: QgsFillSymbol.createSimple({"color": "#102030"}) for code in NAMES}
    rows = [QgsRendererCategory(code, symbols[code], name) for code, name in NAMES.items()]
    truth.setRenderer(QgsCategorizedSymbolRenderer("code", rows))
    QgsProject.instance().addMapLayer(truth)
    found = processing.run(
        "geotoolbox:evaluatesegmentation",
        {
            "INPUT": str(results / "map.tif"),
            "REFERENCE": truth.id(),
            "FIELD": "code",
            "RESAMPLES": 0,
            "REPORT": str(tmp_path / "r.html"),
            "METRICS": str(tmp_path / "m.json"),
        },
    )
    assert found["PIXELS"] == 64 * 64
    assert found["OVERALL_ACCURACY"] == pytest.approx(1 - (50 + 16) / (64 * 64))
    numbers = json.loads(Path(found["METRICS"]).read_text())
    assert [row["name"] for row in numbers["class_table"]] == list(NAMES.values())
