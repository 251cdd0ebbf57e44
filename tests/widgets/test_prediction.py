"""PredictionViewer without a browser: areas, layers, exports; the pixels are those of the job."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import pytest
import rasterio
from geotoolbox_widgets import AppState, PredictionViewer
from geotoolbox_widgets.patches import PatchReader
from shapely.geometry import box

from geotoolbox import RasterDataset, Region
from geotoolbox.errors import BadInput
from geotoolbox.jobs.recipe import read_recipe
from geotoolbox.jobs.registry import find_job

PATIENCE_S = 240.0
pytestmark = pytest.mark.timeout(900)  # a busy machine is no failure


def area_of(image: Path, low: float, high: float) -> Region:
    """A part of the image's ground, in longitude and latitude."""
    west, south, east, north = RasterDataset([str(image)]).coverage()[0][0].bounds
    wide, tall = east - west, north - south
    shape = box(west + low * wide, south + low * tall, west + high * wide, south + high * tall)
    return Region(shape, "EPSG:4326")


@pytest.fixture(scope="module")
def viewer(
    scene: tuple[Path, Path], model: Path, tmp_path_factory: pytest.TempPathFactory
) -> PredictionViewer:
    """A viewer that has predicted a drawn area."""
    view = PredictionViewer(
        {"model": str(model), "images": (str(scene[0]),)},
        reference=scene[1],
        folder=tmp_path_factory.mktemp("maps"),
    )
    view.state.area = area_of(scene[0], 0.3, 0.7)
    view._predict_area.click()
    assert view.wait(PATIENCE_S) == "done", view.run.error
    return view


def test_the_drawn_area_is_what_the_job_predicts(viewer: PredictionViewer, tmp_path: Path) -> None:
    shown = viewer.predictions[-1]
    recipe = tmp_path / "again.recipe.yaml"
    text = viewer.recipe().replace(shown["map"], str(tmp_path / "map.tif"))
    recipe.write_text(text.replace(shown["confidence"], str(tmp_path / "confidence.tif")), encoding="utf-8")
    job, spec = read_recipe(recipe)
    find_job(job).run(spec)
    assert (tmp_path / "map.tif").read_bytes() == Path(shown["map"]).read_bytes()
    with rasterio.open(shown["map"]) as made:
        inside = made.read(1) != made.nodata
    assert 0 < inside.mean() <= 1


def test_areas_layers_and_patches_are_shown(viewer: PredictionViewer) -> None:
    shown = viewer.predictions[-1]
    assert {layer.name for layer in viewer.map.layers} == {
        "image",
        "reference",
        "map",
        "confidence",
        "errors",
    }
    for name, area in shown["class_areas_ha"].items():
        assert f"{area:,.1f} ha" in viewer._areas.value
        assert name.replace("<", "&lt;").replace("&", "&amp;", 1) in viewer._areas.value or "<" not in name
    total = sum(shown["class_areas_ha"].values())
    assert (
        100 < total < 1000
    )  # 0.4 × 0.4 of 7.68 km squared is 944 ha; its bounds in degrees are a little larger
    assert viewer.gallery.cells
    assert all("wrong" in cell["note"] or cell["note"] == "" for cell in viewer.gallery.cells)
    assert viewer.state.prediction_path == shown["map"]


@pytest.mark.parametrize("name", ["reference", "confidence", "error", "none", "map"])
def test_each_overlay_is_another_picture(viewer: PredictionViewer, name: str) -> None:
    viewer.overlay = "map"
    before = bytes(viewer.gallery.top)
    viewer.overlay = name
    assert viewer.message.text == ""
    assert (bytes(viewer.gallery.top) == before) == (name == "map")


def test_exports_are_a_cog_and_polygons(viewer: PredictionViewer, tmp_path: Path) -> None:
    viewer._path.value = str(tmp_path / "mine.tif")
    viewer._on_cog(None)
    with rasterio.open(tmp_path / "mine.tif") as copy, rasterio.open(viewer.predictions[-1]["map"]) as made:
        assert np.array_equal(copy.read(1), made.read(1))
        assert copy.colormap(1) == made.colormap(1)
    viewer._on_polygons(None)
    assert viewer.wait(PATIENCE_S) == "done"
    frame = gpd.read_file(tmp_path / "mine.gpkg")
    areas = frame.to_crs(frame.estimate_utm_crs()).area.sum() / 1e4
    assert areas == pytest.approx(sum(viewer.predictions[-1]["class_areas_ha"].values()), rel=0.01)


def test_bad_input_is_said_in_the_widget(scene: tuple[Path, Path], model: Path, tmp_path: Path) -> None:
    view = PredictionViewer({"model": str(model), "images": (str(scene[0]),)}, folder=tmp_path)
    view._predict_area.click()
    assert "no area is drawn" in view.message.text
    with pytest.raises(BadInput, match="nothing has been predicted"):
        view.save_cog(tmp_path / "a.tif")
    view.state.area = Region(box(0, 0, 0.1, 0.1), "EPSG:4326")
    view._predict_area.click()
    assert view.wait(PATIENCE_S) == "failed"
    assert view.message.level == "error"
    assert view.message.text


def test_a_newly_trained_model_is_taken(model: Path) -> None:
    state = AppState()
    view = PredictionViewer(state=state)
    assert "model" not in view.form.values
    state.model_path = str(model)
    assert view.form.values["model"] == str(model)


def test_a_patch_is_the_map_and_its_reference(viewer: PredictionViewer, scene: tuple[Path, Path]) -> None:
    shown: Any = viewer.predictions[-1]
    reader = PatchReader(shown["map"], reference=RasterDataset([str(scene[1])], kind="labels"),
                         images=RasterDataset([str(scene[0])]), confidence_path=shown["confidence"])  # fmt: skip
    height, width = reader.scene.geobox.shape
    patch = reader.read((0, 0, min(height, 64), min(width, 64)))
    with rasterio.open(shown["map"]) as made:
        values = made.read(1)[: min(height, 64), : min(width, 64)]
    inside = patch.predicted >= 0
    names = np.array(reader.classes.values)
    assert np.array_equal(names[patch.predicted[inside]], values[inside])
    assert patch.truth is not None and patch.confidence is not None
    both = inside & (patch.truth >= 0)
    assert patch.wrong == pytest.approx(float((patch.truth != patch.predicted)[both].mean()))
    assert np.nanmin(patch.confidence[inside]) > 1 / 3 - 0.01  # the largest of three probabilities
    marked = patch.confusion(0, 1)[..., 3] > 0
    assert np.array_equal(marked, (patch.truth == 0) & (patch.predicted == 1))
