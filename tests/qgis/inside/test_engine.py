"""The real engine from QGIS: layers of a project in, styled results out, the same pixels as the other doors."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import processing
import pytest
from qgis.core import (
    QgsProcessingException,
    QgsProcessingFeatureSourceDefinition,
    QgsProcessingFeedback,
    QgsProject,
    QgsRasterLayer,
    QgsVectorLayer,
)

QUICK = {"PATCH_PX": 32, "EPOCHS": 1, "BATCH_SIZE": 8, "SEED": 3, "BASELINE": False, "MODEL": "small"}

pytestmark = pytest.mark.usefixtures("provider")


class Feedback(QgsProcessingFeedback):
    """Keeps what an analyst would see; may cancel at a text."""

    def __init__(self, cancel_at: str = "") -> None:
        super().__init__(False)
        self.texts, self.cancelled_at, self._cancel_at = [], None, cancel_at

    def pushInfo(self, text: str) -> None:
        self.texts.append(text)

    def pushWarning(self, text: str) -> None:
        self.texts.append("WARNING " + text)

    def setProgressText(self, text: str) -> None:
        self.texts.append(text)
        if self._cancel_at and text == self._cancel_at:
            self.cancelled_at = time.monotonic()
            self.cancel()


@pytest.fixture(scope="module", autouse=True)
def engine_here(engine: str) -> None:
    before = os.environ.get("GEOTOOLBOX_PYTHON")
    os.environ["GEOTOOLBOX_PYTHON"] = engine
    yield
    if before is not None:
        os.environ["GEOTOOLBOX_PYTHON"] = before


def gdal_answer(scene: Path, folder: Path) -> bytes:
    """Return what an algorithm of QGIS's own GDAL makes."""
    from osgeo import gdal_array  # what an engine's numpy in this process would break

    output = folder / f"hillshade{time.monotonic_ns()}.tif"
    image = str(scene / "image_utm32.tif")
    processing.run("gdal:warpreproject", {"INPUT": image, "TARGET_CRS": "EPSG:3035", "OUTPUT": str(output)})
    return gdal_array.LoadFile(str(output)).tobytes()


@pytest.fixture(scope="module")
def trained(scene: Path, tmp_path_factory) -> dict:
    """Train on the selected features of a loaded layer, in QGIS; its own GDAL works before and after."""
    folder = tmp_path_factory.mktemp("trained")
    before = gdal_answer(scene, folder)
    project = QgsProject.instance()
    labels = QgsVectorLayer(str(scene / "labels.gpkg"), "labels")
    project.addMapLayer(labels)
    labels.selectByExpression("\"class\" <> 'settlement'")
    images = [QgsRasterLayer(str(scene / f"image_utm{zone}.tif"), f"image {zone}") for zone in (32, 33)]
    project.addMapLayers(images)
    feedback = Feedback()
    values = {
        "INPUT": [layer.id() for layer in images],
        "LABELS": QgsProcessingFeatureSourceDefinition(labels.id(), selectedFeaturesOnly=True),
        "FIELD": "class",
        "OUTPUT_MODEL": str(folder / "m.gtb"),
        **QUICK,
    }
    done = processing.run("geotoolbox:trainsegmentation", values, feedback=feedback)
    project.clear()
    return {**done, "texts": feedback.texts, "gdal": (before, gdal_answer(scene, folder))}


@pytest.fixture(scope="module")
def mapped(scene: Path, trained: dict) -> dict:
    """Predict with that model."""
    folder = Path(trained["OUTPUT_MODEL"]).parent
    return processing.run(
        "geotoolbox:predictsegmentation",
        {
            "MODEL": trained["OUTPUT_MODEL"],
            "INPUT": [str(scene / "image_utm32.tif")],
            "BATCH_SIZE": 1,
            "OUTPUT": str(folder / "map.tif"),
            "POLYGONS": str(folder / "polygons.gpkg"),
            "CONFIDENCE": str(folder / "confidence.tif"),
        },
    )


def test_training_uses_the_selection_and_tells_how_good_it_is(trained: dict) -> None:
    assert 0.2 < trained["OVERALL_ACCURACY"] <= 1 and trained["EPOCHS_DONE"] == 1
    assert Path(trained["REPORT"]).stat().st_size > 10_000
    recipe = Path(trained["RECIPE"])
    assert any(f"geotoolbox run {recipe}" in text for text in trained["texts"])
    assert "m.inputs/labels.gpkg" in recipe.read_text(), (
        "the selection is kept beside the model, for the recipe"
    )


def test_the_map_is_on_the_image_and_styled_by_its_own_files(scene: Path, mapped: dict) -> None:
    image, layer = QgsRasterLayer(str(scene / "image_utm32.tif")), QgsRasterLayer(mapped["OUTPUT"], "map")
    assert (layer.extent(), layer.width(), layer.crs()) == (image.extent(), image.width(), image.crs())
    assert layer.renderer().type() == "paletted"
    names = {row.label for row in layer.renderer().classes()}
    assert names == {"water", "forest", "grassland", "cropland"}, "settlement was not selected"
    polygons = QgsVectorLayer(mapped["POLYGONS"], "polygons")
    assert polygons.featureCount() > 0 and polygons.renderer().type() == "categorizedSymbol"
    colours = {row.label: row.color.name() for row in layer.renderer().classes()}
    drawn = {c.label(): c.symbol().color().name() for c in polygons.renderer().categories()}
    assert drawn.items() <= colours.items()


DOORS = """
import sys
from geotoolbox import RasterDataset, load_model
from geotoolbox.cli import main
from geotoolbox.jobs.predict import PredictSettings
recipe, model, image, output, confidence = sys.argv[1:]
assert main(["run", recipe]) == 0
load_model(model).predict(RasterDataset([image]), output, settings=PredictSettings(confidence=confidence, batch_size=1))
"""


def test_the_recipe_gives_the_same_bytes_on_the_command_line_and_in_python(
    engine: str, scene: Path, mapped: dict, tmp_path: Path
) -> None:
    first, second = Path(mapped["OUTPUT"]), tmp_path / "map.tif"
    before = first.read_bytes()
    first.unlink()
    clean = {k: v for k, v in os.environ.items() if not k.startswith(("PYTHON", "PROJ", "GDAL"))}
    model, image = str(first.with_name("m.gtb")), str(scene / "image_utm32.tif")
    words = [engine, "-s", "-c", DOORS, mapped["RECIPE"], model, image, str(second), str(tmp_path / "c.tif")]
    subprocess.run(words, check=True, env=clean, cwd=tmp_path, capture_output=True)
    assert first.read_bytes() == before, "by the command line"
    assert second.read_bytes() == before, "by Python"


@pytest.mark.parametrize(
    ("algorithm", "values", "words"),
    [
        ("trainsegmentation", {"LABELS": "one"}, "too few classes to train on"),
        ("predictsegmentation", {"INPUT": "other"}, "band"),
    ],
)
def test_the_engine_refuses_in_words_before_work_starts(
    scene: Path, trained: dict, tmp_path: Path, algorithm: str, values: dict, words: str
) -> None:
    one = f"{scene / 'labels.gpkg'}|layername=labels|subset=\"class\" = 'forest'"
    image = str(scene / "image_utm32.tif")
    known = {"one": one, "other": [str(scene / "landcover.tif")], "image": image}
    given = {
        "INPUT": [image],
        "LABELS": str(scene / "labels.gpkg"),
        "FIELD": "class",
        "MODEL": trained["OUTPUT_MODEL"],
    }
    given |= {"OUTPUT_MODEL": str(tmp_path / "m.gtb"), "OUTPUT": str(tmp_path / "m.tif")}
    if algorithm == "trainsegmentation":
        given |= QUICK
    given |= {key: known[value] for key, value in values.items()}
    with pytest.raises(QgsProcessingException) as caught:
        processing.run(f"geotoolbox:{algorithm}", given)
    assert words in str(caught.value) and "Fix: " in str(caught.value)
    assert not list(tmp_path.glob("*.gtb")) and not list(tmp_path.glob("*.tif"))


def test_pixels_of_another_size_are_warned_about(scene: Path, trained: dict, tmp_path: Path) -> None:
    coarse = str(tmp_path / "coarse.tif")
    image = str(scene / "image_utm32.tif")
    processing.run(
        "gdal:warpreproject", {"INPUT": image, "TARGET_RESOLUTION": 30, "NODATA": 0, "OUTPUT": coarse}
    )
    feedback = Feedback()
    values = {
        "MODEL": trained["OUTPUT_MODEL"],
        "INPUT": [coarse],
        "OUTPUT": str(tmp_path / "map.tif"),
        "BATCH_SIZE": 1,
    }
    processing.run(
        "geotoolbox:predictsegmentation", {**values, "BANDS": "blue, green, red, nir"}, feedback=feedback
    )
    warning = next(text for text in feedback.texts if "pixels are" in text)
    assert warning.startswith("WARNING the images' pixels are 3 times those")
    assert feedback.texts.index(warning) < feedback.texts.index("Predict")


def test_folds_in_space_say_how_well_a_model_does_elsewhere(scene: Path, tmp_path: Path) -> None:
    values = {
        "INPUT": [str(scene / "image_utm32.tif")], "LABELS": str(scene / "labels.gpkg"), "FIELD": "class",
        "FOLDS": 2, "POINTS": 600, "SEED": 1, "METRICS": str(tmp_path / "folds.json"),
        "FOLDS_OUTPUT": str(tmp_path / "folds.gpkg"),
    }  # fmt: skip
    done = processing.run("geotoolbox:crossvalidatesegmentation", values)
    numbers = json.loads(Path(done["METRICS"]).read_text())
    assert done["OVERALL_ACCURACY"] == pytest.approx(numbers["transfer"]["overall_accuracy"])
    assert done["RANDOM_MEAN_IOU"] == pytest.approx(numbers["random"]["mean_iou"]) and done["FOLDS_DONE"] == 2
    places = QgsVectorLayer(done["FOLDS_OUTPUT"], "folds")
    assert places.isValid() and places.featureCount() == 2


def test_the_area_of_applicability_is_drawn_and_styled_by_its_files(
    scene: Path, trained: dict, tmp_path: Path
) -> None:
    values = {
        "MODEL": trained["OUTPUT_MODEL"], "INPUT": [str(scene / "image_utm32.tif")],
        "OUTPUT": str(tmp_path / "dissimilarity.tif"), "INSIDE": str(tmp_path / "inside.tif"),
    }  # fmt: skip
    done = processing.run("geotoolbox:applicability", values)
    index, inside = QgsRasterLayer(done["OUTPUT"], "index"), QgsRasterLayer(done["INSIDE"], "inside")
    assert index.renderer().type() == "singlebandpseudocolor"
    assert {entry.label for entry in inside.renderer().classes()} == {"inside", "outside"}
    block = inside.dataProvider().block(1, inside.extent(), inside.width(), inside.height())
    known = [
        block.value(r, c)
        for r in range(block.height())
        for c in range(block.width())
        if not block.isNoData(r, c)
    ]
    assert done["PIXELS"] == len(known) and done["SHARE_INSIDE"] == pytest.approx(sum(known) / len(known))
    assert 0.5 < done["SHARE_INSIDE"] <= 1


def test_cancel_in_the_middle_leaves_no_process_and_no_half_written_file(scene: Path, tmp_path: Path) -> None:
    feedback = Feedback(cancel_at="Train")
    values = {
        "INPUT": [str(scene / "image_utm32.tif")],
        "LABELS": str(scene / "labels.gpkg"),
        "FIELD": "class",
    }
    values |= {**QUICK, "EPOCHS": 50, "OUTPUT_MODEL": str(tmp_path / "m.gtb")}
    assert processing.run("geotoolbox:trainsegmentation", values, feedback=feedback) == {}
    assert time.monotonic() - feedback.cancelled_at < 30  # 50 epochs take minutes
    me = os.getpid()
    children = [p for p in Path(f"/proc/{me}/task").glob("*/children") if p.read_text().strip()]
    assert not children, "the engine and all that it started have ended"
    left = [p.name for p in tmp_path.rglob("*") if p.is_file() and (".part" in p.name or p.suffix == ".gtb")]
    assert left == [] and any(text.startswith("Cancelled: ") for text in feedback.texts)


def test_qgis_own_gdal_proj_and_numpy_are_untouched(trained: dict) -> None:
    before, after = trained["gdal"]
    assert before == after and len(before) > 10_000
    assert not {"torch", "rasterio", "geopandas", "pydantic", "geotoolbox"} & set(sys.modules)
    import numpy

    assert ".venv/" not in numpy.__file__
