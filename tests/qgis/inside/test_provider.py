"""The provider inside QGIS, with an engine that only answers: parameters, layers, events, outputs, words."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from pathlib import Path

import processing
import pytest
from qgis.core import (
    QgsApplication,
    QgsFeature,
    QgsGeometry,
    QgsProcessingContext,
    QgsProcessingException,
    QgsProcessingFeatureSourceDefinition,
    QgsProcessingFeedback,
    QgsProcessingParameterDefinition,
    QgsProcessingParameterEnum,
    QgsProcessingUtils,
    QgsProject,
    QgsRasterLayer,
    QgsVectorLayer,
)
from qgis.PyQt import sip

IDS = {
    "setupengine", "checkengine", "inspectlayers", "computeindices", "rasterizelabels", "exportchips",
    "trainsegmentation", "predictsegmentation", "trainandpredict", "polygonizeprediction", "evaluatesegmentation",
    "samplereference", "accuracyreport", "demoscene", "crossvalidatesegmentation", "applicability",
}  # fmt: skip

pytestmark = pytest.mark.usefixtures("provider")


class Feedback(QgsProcessingFeedback):
    """Keeps what an analyst would see."""

    def __init__(self, cancel_at: str = "") -> None:
        super().__init__(False)
        self.texts, self.percents, self.cancelled_at = [], [], None
        self._cancel_at = cancel_at
        self.progressChanged.connect(self.percents.append)

    def pushInfo(self, text: str) -> None:
        self.texts.append(text)
        if self._cancel_at and self._cancel_at in text:
            self.cancelled_at = time.monotonic()
            self.cancel()

    def reportError(self, text: str, fatalError: bool = False) -> None:
        self.texts.append("ERROR " + text)

    def pushWarning(self, text: str) -> None:
        self.texts.append("WARNING " + text)

    def setProgressText(self, text: str) -> None:
        self.texts.append(text)


def asc(path: Path, crs: str = "EPSG:32632", value: int = 1) -> QgsRasterLayer:
    """Write a raster of 4 × 4 pixels with QGIS alone."""
    grid = path.with_suffix(".asc")
    rows = "\n".join(" ".join(str(value + i) for i in range(4)) for _ in range(4))
    grid.write_text(
        f"ncols 4\nnrows 4\nxllcorner 500000\nyllcorner 5000000\ncellsize 10\nNODATA_value 3\n{rows}\n"
    )
    source = {"INPUT": str(grid), "OUTPUT": str(path), "TARGET_CRS": crs or None, "DATA_TYPE": 3}
    if not crs:
        return QgsRasterLayer(str(grid), path.stem)
    processing.run("gdal:translate", source)
    return QgsRasterLayer(str(path), path.stem)


@pytest.fixture
def image(tmp_path: Path) -> Iterator[QgsRasterLayer]:
    layer = asc(tmp_path / "image.tif")
    assert layer.isValid()
    yield layer
    sip.delete(layer)  # before QGIS ends, not after


@pytest.fixture
def labels() -> Iterator[QgsVectorLayer]:
    """Three squares of two classes, in memory, over the image."""
    layer = QgsVectorLayer("Polygon?crs=EPSG:32632&field=class:string&field=fid:integer", "labels", "memory")
    for number, name in enumerate(("water", "forest", "water")):
        feature = QgsFeature(layer.fields())
        x = 500000 + 10 * number
        feature.setGeometry(
            QgsGeometry.fromWkt(f"POLYGON(({x} 5000000,{x + 9} 5000000,{x + 9} 5000030,{x} 5000000))")
        )
        feature.setAttributes([name, number])
        layer.dataProvider().addFeature(feature)
    layer.updateExtents()
    yield layer
    sip.delete(layer)


def train(image, labels, folder: Path, feedback=None, **more):
    values = {
        "INPUT": [image],
        "LABELS": labels,
        "FIELD": "class",
        "OUTPUT_MODEL": str(folder / "m.gtb"),
        **more,
    }
    return processing.run("geotoolbox:trainsegmentation", values, feedback=feedback)


def test_all_algorithms_are_listed_with_help_and_icons(provider) -> None:
    algorithms = {a.name(): a for a in provider.algorithms()}
    assert set(algorithms) == IDS
    for name, algorithm in algorithms.items():
        assert algorithm.group() and algorithm.groupId() == algorithm.groupId().lower()
        assert algorithm.shortDescription().endswith(".") and len(algorithm.shortHelpString()) > 200
        assert not algorithm.icon().isNull() and os.path.isfile(algorithm.svgIconPath())
        assert algorithm.create().name() == name
        assert not algorithm.flags() & algorithm.FlagNoThreading
        for parameter in algorithm.parameterDefinitions():
            assert len(parameter.help()) > 10, f"{name}.{parameter.name()} has no help"
            assert parameter.name() == parameter.name().upper()
            if isinstance(parameter, QgsProcessingParameterEnum):
                assert parameter.usesStaticStrings()


def test_what_an_analyst_need_not_know_is_advanced() -> None:
    algorithm = QgsApplication.processingRegistry().algorithmById("geotoolbox:trainsegmentation")
    flag = QgsProcessingParameterDefinition.Flag.FlagAdvanced
    shown = [
        p.name() for p in algorithm.parameterDefinitions() if not p.flags() & flag and not p.isDestination()
    ]
    assert shown == [
        "INPUT", "LABELS", "FIELD", "LABEL_RASTER", "AREA", "MAXIMUM_MINUTES", "MODEL", "VALIDATION_PERCENT",
        "UNLABELLED", "SEED",
    ]  # fmt: skip
    epochs = algorithm.parameterDefinition("EPOCHS")
    assert (epochs.minimum(), epochs.maximum(), epochs.defaultValue()) == (1, 100000, None)
    assert epochs.flags() & QgsProcessingParameterDefinition.Flag.FlagOptional
    seed = algorithm.parameterDefinition("SEED")
    assert seed.defaultValue() == 0 and not seed.flags() & QgsProcessingParameterDefinition.Flag.FlagOptional
    outputs = {o.name(): o.type() for o in algorithm.outputDefinitions()}
    assert {"OVERALL_ACCURACY", "MEAN_IOU", "EPOCHS_DONE", "RECIPE", "REPORT", "OUTPUT_MODEL"} <= set(outputs)
    assert (outputs["MEAN_IOU"], outputs["REPORT"]) == ("outputNumber", "outputHtml")


def test_a_run_sends_files_and_settings_and_returns_numbers(fake, image, labels, tmp_path) -> None:
    feedback = Feedback()
    done = train(
        image,
        labels,
        tmp_path,
        feedback,
        EPOCHS=3,
        CLASS_WEIGHTS="soft",
        INDICES="ndvi; x = (a-b), c",
        SEED=5,
    )
    (asked,) = fake.asked
    spec = asked["spec"]
    assert asked["job"] == "train" and spec["images"] == [image.source()]
    assert spec["labels"] == [str(tmp_path / "m.inputs" / "labels.gpkg")] and spec["label_layer"] == "labels"
    assert (spec["epochs"], spec["class_weights"], spec["seed"], spec["label_column"]) == (
        3,
        "soft",
        5,
        "class",
    )
    assert spec["indices"] == ["ndvi", "x = (a-b), c"] and spec["maximum_minutes"] == 8.0
    assert "bands" not in spec or spec["bands"] == []
    assert (done["OVERALL_ACCURACY"], done["MEAN_IOU"], done["EPOCHS_DONE"]) == (0.9, 0.5, 3)
    assert done["OUTPUT_MODEL"] == str(tmp_path / "m.gtb") and "REPORT" not in done, (
        "only what was really made"
    )
    assert "Epoch 1: train loss 1, val mean iou 0.1" in feedback.texts and "Train" in feedback.texts
    assert feedback.percents == sorted(feedback.percents) and feedback.percents[-1] == 100
    run = Path(done["RUN"])
    result = json.loads((run / "result.json").read_text())
    assert result["status"] == "done" and result["outputs"]["OUTPUT_MODEL"] == done["OUTPUT_MODEL"]
    assert len((run / "events.jsonl").read_text().splitlines()) == 10


def test_only_selected_features_are_used(fake, image, labels, tmp_path) -> None:
    labels.selectByExpression("\"class\" = 'water'")
    project = QgsProject.instance()
    project.addMapLayer(labels, False)
    chosen = QgsProcessingFeatureSourceDefinition(labels.id(), selectedFeaturesOnly=True)
    train(image, chosen, tmp_path)
    exported = QgsVectorLayer(fake.asked[0]["spec"]["labels"][0], "exported")
    assert [f["class"] for f in exported.getFeatures()] == ["water", "water"]
    assert exported.crs().authid() == "EPSG:32632"
    assert [f.name() for f in exported.fields()] == ["fid", "class"]
    project.takeMapLayer(labels)


def test_filters_and_unsaved_edits_are_respected_and_plain_files_are_not_copied(
    fake, image, labels, tmp_path
) -> None:
    path = tmp_path / "labels file.gpkg"
    processing.run("native:savefeatures", {"INPUT": labels, "OUTPUT": str(path)})
    plain = QgsVectorLayer(str(path), "plain")
    train(image, plain, tmp_path)
    plain.setSubsetString("\"class\" = 'forest'")
    train(image, plain, tmp_path)
    edited = QgsVectorLayer(str(path), "edited")
    edited.startEditing()
    edited.deleteFeature(next(edited.getFeatures()).id())
    train(image, edited, tmp_path)
    sources = [asked["spec"]["labels"][0] for asked in fake.asked]
    assert sources[0] == str(path)
    assert sources[1] == sources[2] == str(tmp_path / "m.inputs" / "labels.gpkg")
    assert QgsVectorLayer(sources[2], "exported").featureCount() == 2
    edited.rollBack()


def test_a_relative_path_becomes_absolute(fake, image, labels, tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    layer = QgsRasterLayer("image.tif", "relative")
    assert layer.isValid() and layer.source() == "image.tif"
    train(layer, labels, tmp_path)
    assert fake.asked[0]["spec"]["images"] == [str(tmp_path / "image.tif")]
    (tmp_path / "m.gtb").touch()
    values = {"INPUT": [layer], "MODEL": "m.gtb", "OUTPUT": str(tmp_path / "map.tif")}
    processing.run("geotoolbox:predictsegmentation", values)
    assert fake.asked[1]["spec"]["model"] == str(tmp_path / "m.gtb")


def values(path: str) -> list:
    layer = QgsRasterLayer(path, "check")
    assert layer.isValid()
    block = layer.dataProvider().block(1, layer.extent(), layer.width(), layer.height())
    return [None if block.isNoData(0, i) else block.value(0, i) for i in range(layer.width())]


def test_nodata_and_crs_set_in_qgis_reach_the_engine(fake, image, labels, tmp_path) -> None:
    from qgis.core import QgsCoordinateReferenceSystem, QgsRasterRange

    assert values(image.source()) == [1, 2, None, 4]
    image.dataProvider().setUserNoDataValue(1, [QgsRasterRange(4, 4)])
    train(image, labels, tmp_path)
    assert values(fake.asked[0]["spec"]["images"][0]) == [1, 2, None, None]
    other = QgsRasterLayer(image.source(), "other")
    other.dataProvider().setUseSourceNoDataValue(1, False)
    with pytest.raises(QgsProcessingException, match=r"'other' has its nodata value switched off .* Fix: "):
        train(other, labels, tmp_path)
    bare = asc(tmp_path / "bare.tif", crs="")
    bare.setCrs(QgsCoordinateReferenceSystem("EPSG:32632"))
    train(bare, labels, tmp_path)
    exported = QgsRasterLayer(fake.asked[1]["spec"]["images"][0], "exported")
    assert exported.crs().authid() == "EPSG:32632" and exported.extent() == bare.extent()


def test_geopackage_and_virtual_rasters_are_read_through_qgis(fake, image, labels, tmp_path) -> None:
    package = tmp_path / "rasters.gpkg"
    processing.run("gdal:translate", {"INPUT": image, "OUTPUT": str(package), "DATA_TYPE": 1})
    inside = QgsRasterLayer(str(package), "inside")
    assert inside.isValid() and inside.providerType() == "gdal"
    train(inside, labels, tmp_path)
    source = fake.asked[0]["spec"]["images"][0]
    assert source.endswith(".tif") and values(source)[:2] == [1, 2]
    vrt = tmp_path / "mosaic.vrt"
    processing.run("gdal:buildvirtualraster", {"INPUT": [image], "SEPARATE": False, "OUTPUT": str(vrt)})
    train(QgsRasterLayer(str(vrt), "vrt"), labels, tmp_path)
    assert fake.asked[1]["spec"]["images"] == [str(vrt)] and fake.asked[1]["spec"]["allow_vrt"] is True


def test_a_web_layer_is_exported_with_extent_and_pixel_size(fake, labels, tmp_path) -> None:
    for z, x, y in ((0, 0, 0),):
        tile = tmp_path / str(z) / str(x)
        tile.mkdir(parents=True)
        from qgis.PyQt.QtGui import QColor, QImage

        picture = QImage(256, 256, QImage.Format.Format_ARGB32)
        picture.fill(QColor(10, 200, 30))
        assert picture.save(str(tile / f"{y}.png"))
    url = f"type=xyz&url=file://{tmp_path}/%7Bz%7D/%7Bx%7D/%7By%7D.png&zmax=0&zmin=0"
    web = QgsRasterLayer(url, "tiles", "wms")
    assert web.isValid() and web.width() == 0
    with pytest.raises(QgsProcessingException, match="comes from the web and has no pixels of its own"):
        train(web, labels, tmp_path)
    extent = "1000000,1010000,5600000,5605000 [EPSG:3857]"
    train(web, labels, tmp_path, EXTENT=extent, PIXEL_SIZE=500)
    spec = fake.asked[0]["spec"]
    exported = QgsRasterLayer(spec["images"][0], "exported")
    assert (exported.width(), exported.height(), exported.bandCount()) == (20, 10, 4)
    assert exported.crs().authid() == "EPSG:3857" and values(spec["images"][0])[0] == 10
    area = json.loads(Path(spec["area"]).read_text())["features"][0]["geometry"]["coordinates"][0]
    assert area[0][0] == pytest.approx(8.9832, abs=1e-3), "the extent is the area, in longitude and latitude"


def test_the_colours_of_the_label_layer_go_along(fake, image, labels, tmp_path) -> None:
    from qgis.core import QgsCategorizedSymbolRenderer, QgsFillSymbol, QgsRendererCategory

    rows = (("water", "#3a78c8", "open water"), ("forest", "#1e6932", "forest"))
    categories = [QgsRendererCategory(v, QgsFillSymbol.createSimple({"color": c}), n) for v, c, n in rows]
    labels.setRenderer(QgsCategorizedSymbolRenderer("class", categories))
    train(image, labels, tmp_path)
    assert fake.asked[0]["spec"]["class_style"] == ["water=open water #3a78c8", "forest=forest #1e6932"]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"FIELD": None}, "Choose the class column of 'Label polygons'"),
        ({"LABELS": None}, "Give one of 'Label polygons' or 'Label raster'"),
        ({"LABEL_RASTER": "image"}, "Give only one of"),
        ({"INPUT": "bare"}, "'bare' has no coordinate reference system"),
        ({"LABELS": "empty"}, "'empty' has no features"),
        ({"LABELS": "far"}, "'image' and 'far' have no place in common"),
    ],
)
def test_what_is_wrong_is_said_before_anything_starts(fake, image, labels, tmp_path, change, words) -> None:
    bare = asc(tmp_path / "bare.tif", crs="")
    bare.setCrs(type(bare.crs())())
    empty = QgsVectorLayer("Polygon?crs=EPSG:4326&field=class:string", "empty", "memory")
    far = labels.clone()
    far.setName("far")
    far.setCrs(type(bare.crs())("EPSG:32755"))
    names = {"image": image, "bare": [bare], "empty": empty, "far": far}
    given = {key: names.get(value, value) for key, value in change.items()}
    values = {
        "INPUT": [image],
        "LABELS": labels,
        "FIELD": "class",
        "OUTPUT_MODEL": str(tmp_path / "m.gtb"),
        **given,
    }
    with pytest.raises(QgsProcessingException) as caught:
        processing.run("geotoolbox:trainsegmentation", values)
    assert words in str(caught.value)
    assert not fake.log.exists(), "the engine was not started"
    for layer in (bare, empty, far):
        sip.delete(layer)  # before QGIS ends, not after


def test_an_error_of_the_engine_names_parameters_as_the_dialog_does(fake, image, labels, tmp_path) -> None:
    fake.write(
        "say(kind='result', exit_code=2, message='too few classes. Fix: --label-column or allow_single_class; see "
        "/a/label_column.tif'); sys.exit(2)"
    )
    with pytest.raises(QgsProcessingException) as caught:
        train(image, labels, tmp_path)
    text = str(caught.value)
    assert "'Class column' or 'Train although there is one class only'; see /a/label_column.tif" in text
    runs = Path(QgsApplication.qgisSettingsDirPath()) / "geotoolbox" / "runs"
    last = json.loads((max(runs.iterdir()) / "result.json").read_text())
    assert last["status"] == "failed" and "too few classes" in last["message"]


def test_cancel_ends_the_engine_within_a_second(fake, image, labels, tmp_path) -> None:
    fake.write("import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(60)")
    feedback = Feedback(cancel_at="Epoch 2")
    assert train(image, labels, tmp_path, feedback) == {}
    assert time.monotonic() - feedback.cancelled_at < 30  # of the 60 that it would sleep
    pid = int(next(t for t in feedback.texts if t.startswith("pid ")).split()[1])
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)
    assert (
        any(text.startswith("Cancelled: ") for text in feedback.texts) and not (tmp_path / "m.gtb").exists()
    )


def test_a_file_in_the_record_cancels_as_the_dock_does(fake, image, labels, tmp_path) -> None:
    runs = Path(QgsApplication.qgisSettingsDirPath()) / "geotoolbox" / "runs"
    fake.write("time.sleep(0.3); open(os.path.join(os.getcwd(), 'cancel'), 'w').close(); time.sleep(60)")
    assert train(image, labels, tmp_path) == {}
    assert json.loads((max(runs.iterdir()) / "result.json").read_text())["status"] == "cancelled"


def test_without_an_engine_all_is_listed_and_says_what_to_do(
    provider, image, labels, tmp_path, monkeypatch
) -> None:
    monkeypatch.delenv("GEOTOOLBOX_PYTHON")
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    assert len(provider.algorithms()) == len(IDS)
    able, words = provider.algorithm("trainsegmentation").canExecute()
    assert not able and "Set up the engine" in words
    assert provider.algorithm("setupengine").canExecute()[0]
    with pytest.raises(QgsProcessingException, match="Set up the engine"):
        train(image, labels, tmp_path)


def test_set_up_records_a_python_that_has_the_engine(fake, tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    monkeypatch.delenv("GEOTOOLBOX_PYTHON")
    head = f"#!{os.path.realpath('/usr/bin/python3')}\nimport sys\nif '-c' in sys.argv: print('engine True'); sys.exit()\n"
    text = fake.path.read_text(encoding="utf-8").split("\n", 1)[1]
    fake.path.write_text(
        head + text.replace("points=7", "engine='0.1.0', device='cpu', text='facts'"), encoding="utf-8"
    )
    feedback = Feedback()
    done = processing.run("geotoolbox:setupengine", {"PYTHON": str(fake.path)}, feedback=feedback)
    assert done == {"STATUS": "ready", "PYTHON_USED": str(fake.path), "VERSION": "0.1.0"}
    assert feedback.texts[0].startswith("Nothing is downloaded")
    looked = processing.run("geotoolbox:checkengine", {"TEST": False, "REPORT": str(tmp_path / "c.html")})
    assert looked["DEVICE"] == "cpu" and "facts" in Path(looked["REPORT"]).read_text()
    assert "engine by managed" in looked["TEXT"]


def test_a_model_can_branch_on_the_numbers(fake, image, labels, tmp_path) -> None:
    from qgis.core import (
        QgsProcessingModelAlgorithm,
        QgsProcessingModelChildAlgorithm,
        QgsProcessingModelChildDependency,
        QgsProcessingModelChildParameterSource,
    )

    model = QgsProcessingModelAlgorithm("m", "m")
    child = QgsProcessingModelChildAlgorithm("geotoolbox:trainsegmentation")
    child.setChildId("train")
    static = QgsProcessingModelChildParameterSource.fromStaticValue
    given = {
        "INPUT": [image.source()],
        "LABELS": labels.id(),
        "FIELD": "class",
        "OUTPUT_MODEL": str(tmp_path / "m.gtb"),
    }
    for name, value in given.items():
        child.addParameterSources(name, [static(value)])
    model.addChildAlgorithm(child)
    after = QgsProcessingModelChildAlgorithm("native:raiseexception")
    after.setChildId("stop")
    after.setDependencies([QgsProcessingModelChildDependency("train")])
    after.addParameterSources(
        "MESSAGE", [QgsProcessingModelChildParameterSource.fromExpression("'iou ' || @train_MEAN_IOU")]
    )
    after.addParameterSources(
        "CONDITION", [QgsProcessingModelChildParameterSource.fromExpression("@train_MEAN_IOU < 0.6")]
    )
    model.addChildAlgorithm(after)
    QgsProject.instance().addMapLayer(labels, False)
    context = QgsProcessingContext()
    context.setProject(QgsProject.instance())
    feedback = Feedback()
    with pytest.raises(QgsProcessingException):
        processing.run(model, {}, context=context, feedback=feedback)
    assert any("iou 0.5" in text for text in feedback.texts), feedback.texts
    QgsProject.instance().takeMapLayer(labels)


def test_a_dialog_opens_for_every_algorithm(provider, fake, window) -> None:
    for algorithm in provider.algorithms():
        dialog = processing.createAlgorithmDialog(algorithm.id(), {})
        assert dialog is not None and dialog.algorithm().id() == algorithm.id()
        dialog.close()
        dialog.deleteLater()


def test_a_temporary_model_is_warned_about(fake, image, labels, tmp_path) -> None:
    feedback = Feedback()
    temporary = QgsProcessingUtils.generateTempFilename("m.gtb")
    train(image, labels, tmp_path, feedback, OUTPUT_MODEL=temporary)
    assert any("gone when QGIS closes" in text for text in feedback.texts)
    default = QgsApplication.processingRegistry().algorithmById("geotoolbox:trainsegmentation")
    assert "/model-" in default.parameterDefinition("OUTPUT_MODEL").defaultValue()
