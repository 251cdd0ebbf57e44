"""LayerMap without a browser: traits, sources, messages from the page, recipes."""

from __future__ import annotations

import io
import math
import runpy
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import pytest
from geotoolbox_widgets import AppState, LayerMap
from geotoolbox_widgets.layers import FeatureLayer, RasterLayer
from PIL import Image
from shapely.geometry import box, mapping

from geotoolbox.core.query import Region
from geotoolbox.datasets import RasterDataset, VectorDataset
from geotoolbox.errors import BadInput
from geotoolbox.visualization.webmap import native_zoom, tile_geobox
from tests.make import UTM12, write_raster

Scene = tuple[Path, Path]


@pytest.fixture
def view(scene: Scene) -> LayerMap:
    return LayerMap([str(scene[0]), RasterDataset(str(scene[1]), kind="labels")])


def page(view: LayerMap, message: dict[str, Any]) -> None:
    """Do what a message from the page does."""
    view._overlay._receive(None, message, [])


def tile_of(lon: float, lat: float, zoom: int) -> tuple[int, int, int]:
    count = 2**zoom
    row = (1 - math.asinh(math.tan(math.radians(lat))) / math.pi) / 2 * count
    return zoom, int((lon + 180) / 360 * count), int(row)


def decoded(data: bytes) -> np.ndarray[Any, Any]:
    return np.asarray(Image.open(io.BytesIO(data)).convert("RGBA"))


def middle(layer: RasterLayer) -> tuple[float, float]:
    west, south, east, north = layer.bounds() or (0, 0, 0, 0)
    return (west + east) / 2, (south + north) / 2


def test_layers_of_paths_and_datasets(view: LayerMap) -> None:
    image, labels = view.layers
    assert (image.name, image.kind, image.bands) == ("image", "image", ("red", "green", "blue"))
    assert (labels.name, labels.kind, labels.classes.values) == ("labels", "labels", (1, 2, 3))
    assert [spec["id"] for spec in view._overlay.layers] == [image.id, labels.id]
    assert view._panel.layers == view._overlay.layers


def test_a_dataset_of_both_becomes_two_layers(scene: Scene) -> None:
    both = RasterDataset(str(scene[0])) & RasterDataset(str(scene[1]), kind="labels")
    view = LayerMap(both)
    assert [(n.name, n.kind) for n in view.layers] == [("image", "image"), ("image: labels", "labels")]
    lon, lat = middle(view.layers[1])
    assert decoded(view.layers[1].tile(*tile_of(lon, lat, 12)))[..., 3].any()


def test_a_label_tile_has_the_classes_colours_where_the_ground_is(view: LayerMap) -> None:
    labels = view.layers[1]
    lon, lat = middle(labels)
    place = tile_of(lon, lat, labels.max_zoom)
    picture, grid = decoded(labels.tile(*place)), tile_geobox(*place)
    reading = labels.dataset.read(
        __import__("geotoolbox").Query(grid)
    )  # the engine's own reading of that tile: every pixel must have its colour
    colors = np.array(labels.classes.colors)
    seen = reading.mask >= 0
    assert seen.any()
    assert np.array_equal(picture[seen][:, :3], colors[reading.mask[seen]])
    assert not picture[~seen][:, 3].any()


def test_no_data_is_transparent_and_outside_is_empty(view: LayerMap) -> None:
    image = view.layers[0]
    west, _, _, north = image.bounds() or (0, 0, 0, 0)
    corner = decoded(image.tile(*tile_of(west + 1e-3, north - 1e-3, image.max_zoom)))
    assert (corner[..., 3] == 0).any()
    assert image.tile(*tile_of(10.0, 50.0, 9)) == b""


def test_all_tiles_share_one_stretch(view: LayerMap) -> None:
    image = view.layers[0]
    stretch = image.stretch()
    # The red band is the column, 1 to 256, but for a corner without data.
    assert stretch.low[0] == pytest.approx(1 + 0.02 * 255, abs=6)
    assert stretch.high[0] == pytest.approx(1 + 0.98 * 255, abs=3)
    image.limits = ((0, 100), (0, 100), (0, 100))
    assert image.stretch().low == (0, 0, 0) and image.stretch().high == (100, 100, 100)


def test_settings_redraw_and_looks_do_not(view: LayerMap) -> None:
    image = view.layers[0]
    before = image.version
    image.opacity, image.visible = 0.3, False
    assert image.version == before and view._overlay.layers[0]["opacity"] == 0.3
    image.bands = ("nir",)
    image.colormap = "viridis"
    assert image.version == before + 2 and view._overlay.layers[0]["version"] == before + 2


@pytest.mark.parametrize("bands", [("swir",), ("red", "green"), ()])
def test_wrong_bands_are_refused(view: LayerMap, bands: tuple[str, ...]) -> None:
    with pytest.raises(BadInput, match="these bands cannot be shown"):
        view.layers[0].bands = bands
    assert view.layers[0].bands == ("red", "green", "blue")


def test_a_wrong_wish_of_the_page_is_a_message(view: LayerMap) -> None:
    image = view.layers[0]
    page(view, {"kind": "set", "layer": image.id, "name": "percentiles", "value": [90, 10]})
    assert view.message.level == "error" and "percentiles are out of order" in view.message.text
    page(view, {"kind": "set", "layer": "layer0", "name": "opacity", "value": 1})
    assert "no such layer" in view.message.text
    page(view, {"kind": "set", "layer": image.id, "name": "dataset", "value": "x"})  # not settable: nothing
    assert image.dataset is not None
    page(view, {"kind": "set", "layer": image.id, "name": "opacity", "value": 0.5})
    assert image.opacity == 0.5 and view.message.text == ""


def test_inspector_reads_native_pixels(view: LayerMap) -> None:
    image = view.layers[0]
    lon, lat = middle(image)
    found = view.inspect(lon, lat)
    assert [row["layer"] for row in found] == ["labels", "image"]  # the top layer first
    assert dict(found[0]["values"]) == {"class": "class 2", "value": 2}
    values = dict(found[1]["values"])
    assert values["blue"] == values["red"] + values["green"] - 1 and values["nir"] == 500
    assert view.state.place == (lon, lat)
    assert {row["note"] for row in view.inspect(0.0, 0.0)} == {"outside"}
    west, _, _, north = image.bounds() or (0, 0, 0, 0)
    image_only = [r for r in view.inspect(west + 0.002, north - 0.002) if r["layer"] == "image"]
    assert image_only[0]["note"] == "no data"


def test_hidden_layers_are_not_inspected(view: LayerMap) -> None:
    view.layers[1].visible = False
    assert [row["layer"] for row in view.inspect(*middle(view.layers[0]))] == ["image"]


def test_pin_keeps_values_while_the_pointer_moves(view: LayerMap) -> None:
    lon, lat = middle(view.layers[0])
    page(view, {"kind": "pin", "lon": lon, "lat": lat})
    kept = view.inspected
    page(view, {"kind": "point", "lon": 0, "lat": 0})
    assert view.inspected == kept and view._overlay.pin == [lon, lat]
    page(view, {"kind": "pin", "lon": lon, "lat": lat})
    page(view, {"kind": "point", "lon": 0, "lat": 0})
    assert view._overlay.pin is None and view.inspected[0]["note"] == "outside"


def test_swipe(view: LayerMap) -> None:
    view.layers[1].visible = False
    view.compare("image", "labels", 0.25)
    image, labels = view.layers
    assert view.comparing == {"left": image.id, "right": labels.id, "position": 0.25}
    assert labels.visible and view._overlay.swipe == view.comparing
    view._overlay.swipe = {**view._overlay.swipe, "position": 0.75}  # dragged on the page
    assert view.comparing["position"] == 0.75
    with pytest.raises(BadInput, match="two raster layers"):
        view.compare("image", "image")
    view.remove("labels")
    assert view.comparing is None and view._overlay.swipe is None


def test_drawn_and_typed_areas(view: LayerMap) -> None:
    shape = mapping(box(-113.2, 37.3, -113.1, 37.4))
    view._drawn(None, action="created", geo_json={"type": "Feature", "geometry": shape, "properties": {}})
    assert view.area == Region(box(-113.2, 37.3, -113.1, 37.4), "EPSG:4326")
    assert view.state.area is view.area
    assert view._panel.area.endswith("km²") and view._panel.box == [-113.2, 37.3, -113.1, 37.4]
    assert len(view._draw.data) == 1  # one area: what was drawn before is gone
    page(view, {"kind": "box", "box": ["-113", "x", "", "1"]})
    assert "four numbers" in view.message.text
    page(view, {"kind": "box", "box": ["-113", "37", "-112", "38"]})
    assert view.area.geometry.bounds == (-113, 37, -112, 38)
    page(view, {"kind": "box", "box": None})
    assert view.area is None and view._draw.data == []


def test_maps_of_one_state_share_the_area(scene: Scene) -> None:
    state = AppState()
    first, second = LayerMap(str(scene[0]), state=state), LayerMap(state=state)
    first.area = Region(box(0, 0, 1, 1), "EPSG:4326")
    assert second.area is first.area


def test_vectors_as_tiles_and_as_outlines(tmp_path: Path, scene: Scene) -> None:
    table = gpd.GeoDataFrame(
        {"kind": ["a", "b"]},
        geometry=[box(300_000, 4_135_000, 303_000, 4_140_000), box(303_000, 4_135_000, 306_000, 4_140_000)],
        crs=UTM12,
    )
    table.to_file(tmp_path / "v.gpkg")
    view = LayerMap(VectorDataset(str(tmp_path / "v.gpkg"), column="kind"))
    burned = view.layers[0]
    assert burned.kind == "labels" and burned.legend()[0][0] == "a"
    lon, lat = middle(burned)
    assert decoded(burned.tile(*tile_of(lon, lat, 12)))[..., 3].any()
    assert dict(view.inspect(lon - 0.01, lat)[0]["values"])["class"] == "a"
    outlines = view.add(table, name="parts")
    assert isinstance(outlines, FeatureLayer) and len(outlines.features) == 2
    west, south, _, _ = outlines.bounds() or (0, 0, 0, 0)
    assert (west, south) == pytest.approx((-113.2, 37.34), abs=0.1)
    assert set(view._overlay.features) == {outlines.id}
    with pytest.raises(BadInput, match="does not say its CRS"):
        view.add(table.set_crs(None, allow_override=True))


def test_features_answer_clicks(view: LayerMap) -> None:
    heard: list[int] = []
    feature = {"type": "Feature", "properties": {"id": 7}, "geometry": mapping(box(0, 0, 1, 1))}
    layer = view.add_features([feature], on_click=heard.append)
    page(view, {"kind": "feature", "layer": layer.id, "id": 7})
    assert heard == [7] and layer.selected == 7


def test_names_stay_apart_and_layers_move(scene: Scene) -> None:
    view = LayerMap([str(scene[0]), str(scene[0])])
    assert [n.name for n in view.layers] == ["image", "image 2"]
    view.move(view.layers[0], 5)
    assert [n.name for n in view.layers] == ["image 2", "image"]


def test_what_cannot_be_shown_is_told(view: LayerMap) -> None:
    with pytest.raises(BadInput, match="this cannot be shown"):
        view.add(3.5)
    with pytest.raises(BadInput, match="unknown base map"):
        LayerMap(basemap="google")


def test_recipe_makes_the_same_map(view: LayerMap, tmp_path: Path) -> None:
    view.layers[0].bands, view.layers[0].gamma = ("nir", "red", "green"), 0.5
    view.layers[1].opacity = 0.25
    view.compare("image", "labels", 0.5)
    view.area = Region(box(-113.2, 37.3, -113.1, 37.4), "EPSG:4326")
    code = view.recipe()
    (tmp_path / "recipe.py").write_text(code, encoding="utf-8")
    again = runpy.run_path(str(tmp_path / "recipe.py"))["view"]
    assert [(n.name, n.opacity) for n in again.layers] == [("image", 1.0), ("labels", 0.25)]
    assert again.layers[0].bands == ("nir", "red", "green") and again.layers[0].gamma == 0.5
    assert again.area == view.area and again.comparing["position"] == 0.5
    assert again.recipe() == code


def test_native_zoom_fits_the_pixel(view: LayerMap) -> None:
    zoom = native_zoom(view.layers[0].dataset.scenes()[0].geobox)
    pixel = tile_geobox(zoom, 0, 0).affine.a * math.cos(math.radians(37.4))  # metres on the ground
    assert 30 / 2.4 < pixel <= 30 * 1.2


def test_a_damaged_file_is_told_not_thrown(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    path = write_raster(
        tmp_path / "cut.tif",
        rng.integers(1, 255, (3, 512, 512), dtype="uint8"),
        compress="deflate",
        tiled=True,
    )
    view = LayerMap(str(path))
    path.write_bytes(path.read_bytes()[:60_000])
    layer, sent = view.layers[0], list[Any]()
    assert view._overlay.tiler is not None
    view._overlay.tiler.send = lambda message, tile: sent.append(message)
    lon, lat = middle(layer)
    wish = ["t1", layer.id, layer.version, *tile_of(lon, lat, layer.max_zoom)]
    page(view, {"kind": "want", "tiles": [[wish[0], wish[1], wish[2], wish[3], wish[4], wish[5]]]})
    view._overlay.tiler._pool.shutdown(wait=True)
    assert sent == [{"kind": "failed", "ticket": "t1"}]
    assert view.message.level == "error" and "cut.tif" in view.message.text
