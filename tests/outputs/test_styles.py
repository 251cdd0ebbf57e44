"""Styles that travel with the files, and what readers make of files that hold them."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path
from xml.etree import ElementTree

import geopandas as gpd
import shapely

from geotoolbox import VectorDataset
from geotoolbox.core.classes import ClassTable
from geotoolbox.prediction.sidecars import add_default_style, polygon_style_xml, ramp_style_xml

CLASSES = ClassTable.from_names({1: 'a "quoted" & <odd> name', 2: "b"}, {1: (1, 2, 3), 2: (250, 0, 9)})


def write_polygons(path: Path) -> None:
    squares = [shapely.box(i, 0, i + 1, 1) for i in range(2)]
    frame = gpd.GeoDataFrame({"class": ["b", 'a "quoted" & <odd> name']}, geometry=squares, crs=32633)
    frame.to_file(path, layer="labels", driver="GPKG", engine="pyogrio")


def test_a_ramp_goes_from_dark_to_light_in_even_steps() -> None:
    root = ElementTree.fromstring(ramp_style_xml(-1.0, 1.0, band=3).split("\n", 1)[1])
    renderer = root.find("pipe/rasterrenderer")
    assert renderer is not None and renderer.get("band") == "3"
    items = [(float(str(i.get("value"))), i.get("color")) for i in root.iter("item")]
    assert [value for value, _ in items] == [-1.0, -0.5, 0.0, 0.5, 1.0]
    assert (items[0][1], items[-1][1]) == ("#440154", "#fde725")


def test_a_style_by_name_has_the_names_as_keys() -> None:
    root = ElementTree.fromstring(polygon_style_xml(CLASSES, "class", by_name=True).split("\n", 1)[1])
    assert [c.get("value") for c in root.iter("category")] == ['a "quoted" & <odd> name', "b"]
    assert [c.get("value") for c in ElementTree.fromstring(polygon_style_xml(CLASSES).split("\n", 1)[1]).iter("category")] == ["1", "2"]  # fmt: skip


def test_a_geopackage_with_styles_is_still_one_layer(tmp_path: Path) -> None:
    path = tmp_path / "labels.gpkg"
    write_polygons(path)
    add_default_style(path, "labels", polygon_style_xml(CLASSES, "class", by_name=True))
    assert set(VectorDataset(str(path), column="class").classes.names) == set(CLASSES.names)
    assert len(gpd.read_file(path, layer="labels")) == 2


def test_the_same_polygons_give_the_same_style_row(tmp_path: Path) -> None:
    rows = []
    for name in ("one.gpkg", "two.gpkg"):
        write_polygons(tmp_path / name)
        with closing(sqlite3.connect(tmp_path / name)) as database, database:
            database.execute("UPDATE gpkg_contents SET last_change = '2020-01-01T00:00:00.000Z'")
        add_default_style(tmp_path / name, "labels", "<qgis/>")
        with closing(sqlite3.connect(tmp_path / name)) as database:
            rows.append(database.execute("SELECT * FROM layer_styles").fetchall())
            dates = database.execute("SELECT DISTINCT last_change FROM gpkg_contents").fetchall()
    assert rows[0] == rows[1] and dates == [("2020-01-01T00:00:00.000Z",)]
