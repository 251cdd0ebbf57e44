"""VectorDataset: from features to class indices, each fault of labels by its name."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import geopandas
import numpy as np
import pytest
import shapely
from affine import Affine
from odc.geo.geobox import GeoBox
from pyproj import Transformer
from shapely.geometry import LineString, Point, Polygon, box

from geotoolbox.core.classes import IGNORE_INDEX
from geotoolbox.core.query import Query
from geotoolbox.datasets import RasterDataset, VectorDataset, read_region
from geotoolbox.errors import BadInput, BadLabels, CannotRead, NoOverlap
from tests.make import NORTH_UP, ramp, write_raster

GRID = GeoBox((10, 12), NORTH_UP, "EPSG:32612")


def _cells(column: float, row: float, width: float, height: float) -> Polygon:
    """A box in pixels of GRID, in its CRS."""
    west, north = NORTH_UP @ (column, row)
    return box(west, north - 30 * height, west + 30 * width, north)


def _write(path: Path, shapes: list[Any], crs: str | None = "EPSG:32612", **columns: list[Any]) -> Path:
    geopandas.GeoDataFrame(columns, geometry=shapes, crs=crs).to_file(path)
    return path


def _mask(labels: VectorDataset, grid: GeoBox = GRID) -> np.ndarray[Any, np.dtype[np.int64]]:
    mask = labels.read(Query(grid)).mask
    assert mask is not None
    return mask


def test_r57_text_classes_are_mapped_in_order(tmp_path: Path) -> None:
    path = _write(tmp_path / "a.gpkg", [_cells(0, 0, 3, 2), _cells(5, 5, 2, 2)], crop=["wheat", "maize"])
    labels = VectorDataset(path, column="crop")
    assert labels.classes.names == ("maize", "wheat")
    assert labels.classes.values == (1, 2)
    mask = _mask(labels)
    expected = np.full((10, 12), IGNORE_INDEX)
    expected[:2, :3] = 1
    expected[5:7, 5:7] = 0
    np.testing.assert_array_equal(mask, expected)
    assert labels.kind == "labels"
    np.testing.assert_array_equal(labels.read(Query(GRID)).valid, expected != IGNORE_INDEX)


def test_unlabelled_may_be_a_class(tmp_path: Path) -> None:
    path = _write(tmp_path / "a.gpkg", [_cells(0, 0, 3, 2)], crop=["wheat"])
    labels = VectorDataset(path, column="crop", unlabelled="other")
    assert [(c.value, c.name) for c in labels.classes] == [(0, "other"), (1, "wheat")]
    assert np.bincount(_mask(labels).ravel()).tolist() == [114, 6]


@pytest.mark.parametrize(("numbers", "values"), [([300, -1], (-1, 300)), ([2.0, 7.0], (2, 7))])
def test_r56_numbers_are_the_values_and_never_wrap(
    tmp_path: Path, numbers: list[Any], values: tuple[int, ...]
) -> None:
    path = _write(tmp_path / "a.gpkg", [_cells(0, 0, 1, 1), _cells(1, 0, 1, 1)], code=numbers)
    labels = VectorDataset(path, column="code")
    assert labels.classes.values == values
    assert labels.classes.to_value(_mask(labels), 0)[0, :2].tolist() == [int(n) for n in numbers]


def test_numbers_that_are_not_whole_are_refused(tmp_path: Path) -> None:
    path = _write(tmp_path / "a.gpkg", [_cells(0, 0, 1, 1)], code=[1.5])
    with pytest.raises(BadLabels, match="whole numbers"):
        VectorDataset(path, column="code")


def test_classes_given_hold(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    shapes = [_cells(n, 0, 1, 1) for n in range(3)]
    path = _write(tmp_path / "a.gpkg", shapes, crop=["rye", "oats", "hops"])
    labels = VectorDataset(path, column="crop", classes={40: "oats", 10: "rye"})
    assert _mask(labels)[0, :3].tolist() == [1, 0, IGNORE_INDEX]
    assert "hops" in caplog.text
    with pytest.raises(BadLabels, match="no feature has a class"):
        VectorDataset(path, column="crop", classes={1: "water"})


def test_r51_bow_tie_is_mended_and_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    x, y = NORTH_UP @ (0, 10)
    tie = Polygon([(x, y), (x + 300, y + 300), (x + 300, y), (x, y + 300)])
    labels = VectorDataset(_write(tmp_path / "a.gpkg", [tie], c=["a"]), column="c")
    assert "1 invalid geometries are mended (first: row 0, Self-intersection" in caplog.text
    mask = _mask(labels)
    assert (mask[4, 1], mask[4, 8], mask[1, 5]) == (0, 0, IGNORE_INDEX)


def test_r52_hole_outside_its_shell_is_mended_and_told(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    shell, hole = _cells(0, 0, 3, 3), _cells(6, 6, 2, 2)
    broken = Polygon(shell.exterior, [hole.exterior])
    labels = VectorDataset(_write(tmp_path / "a.gpkg", [broken], c=["a"]), column="c")
    assert "Hole lies outside shell" in caplog.text
    assert (_mask(labels)[:3, :3] == 0).all()


def test_r53_heights_do_not_matter_for_burning(tmp_path: Path) -> None:
    flat = _cells(1, 1, 3, 3)
    labels = VectorDataset(_write(tmp_path / "a.gpkg", [shapely.force_3d(flat, 7.0)], c=["a"]), column="c")
    assert (_mask(labels) == 0).sum() == 9


def test_r54_null_and_empty_geometries_are_counted(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = _write(tmp_path / "a.gpkg", [None, Polygon(), _cells(0, 0, 2, 1)], c=["x", "y", "a"])
    labels = VectorDataset(path, column="c")
    assert "2 features without geometry are left out" in caplog.text
    assert labels.classes.names == ("a",)
    assert _mask(labels)[0, :3].tolist() == [0, 0, IGNORE_INDEX]


@pytest.mark.parametrize("empty", [["a", None], ["a", "  "], [3.0, float("nan")]])
def test_r55_an_empty_class_is_named_and_no_class(
    tmp_path: Path, empty: list[Any], caplog: pytest.LogCaptureFixture
) -> None:
    path = _write(tmp_path / "a.gpkg", [_cells(0, 0, 3, 1), _cells(1, 0, 1, 1)], c=empty)
    labels = VectorDataset(path, column="c", unlabelled="other")
    assert "1 of 2 features have no class (first: row 1)" in caplog.text
    assert _mask(labels)[0, :4].tolist() == [1, IGNORE_INDEX, 1, 0]


@pytest.mark.parametrize(("order", "top"), [("file", ["c", "b"]), ("area", ["b", "b"]), ("rank", ["b", "a"])])
def test_r58_overlapping_polygons_have_a_documented_order(tmp_path: Path, order: str, top: list[str]) -> None:
    shapes = [_cells(0, 0, 8, 8), _cells(2, 2, 2, 2), _cells(0, 0, 4, 4)]
    path = _write(tmp_path / "a.gpkg", shapes, c=["a", "b", "c"], rank=[2, 3, 1])
    if order == "file":
        top = ["c", "c"]
    labels = VectorDataset(path, column="c", order=order)
    mask = _mask(labels)
    outside = {"file": "c", "area": "c", "rank": "a"}[order]
    assert labels.classes.names[mask[3, 3]] == top[0]
    assert labels.classes.names[mask[0, 0]] == outside


def test_r59_points_and_lines_have_a_buffer_in_metres(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    x, y = NORTH_UP @ (5.5, 5.5)
    line = LineString([NORTH_UP @ (0.5, 0.5), NORTH_UP @ (9.5, 0.5)])
    path = _write(tmp_path / "a.gpkg", [Point(x, y), line], c=["tree", "road"])
    thin = _mask(VectorDataset(path, column="c"))
    assert "2 points or lines" in caplog.text
    assert ((thin == 1).sum(), (thin == 0).sum()) == (1, 10)
    wide = _mask(VectorDataset(path, column="c", buffer_m=61))
    rows, columns = np.mgrid[:10, :12]
    near = np.hypot(rows - 5, columns - 5) * 30 <= 61
    np.testing.assert_array_equal(wide == 1, near)
    geographic = geopandas.read_file(path).to_crs("EPSG:4326")
    geographic.to_file(tmp_path / "b.gpkg")
    far = _mask(VectorDataset(tmp_path / "b.gpkg", column="c", buffer_m=61))
    np.testing.assert_array_equal(far == 1, near)


def test_r60_another_crs_is_transformed_and_no_label_is_lost(tmp_path: Path) -> None:
    # Far from the meridian a box of two corners would miss much of the window.
    grid = GeoBox((200, 200), Affine(500.0, 0, 900_000.0, 0, -500.0, 7_900_000.0), "EPSG:32612")
    shapes = [
        box(lon, lat, lon + 0.25, lat + 0.1)
        for lon in np.arange(-103, -93, 0.5)
        for lat in np.arange(69, 72, 0.2)
    ]
    path = _write(tmp_path / "a.gpkg", shapes, crs="EPSG:4326", c=["a"] * len(shapes))
    mask = _mask(VectorDataset(path, column="c"), grid)
    rows, columns = np.mgrid[:200, :200]
    x, y = 900_000 + (columns + 0.5) * 500, 7_900_000 - (rows + 0.5) * 500
    lon, lat = Transformer.from_crs("EPSG:32612", "EPSG:4326", always_xy=True).transform(x, y)
    # An edge along a parallel is a curve in UTM; on the ground it is the straight line in degrees.
    truth = shapely.contains_xy(shapely.union_all(shapes), lon, lat)
    assert truth.sum() > 5000
    assert np.mean((mask == 0) == truth) > 0.9999


def test_windows_agree_with_the_whole(tmp_path: Path) -> None:
    lonlat = geopandas.GeoSeries([_cells(1.3, 1.2, 7.7, 6.1).buffer(40)], crs="EPSG:32612").to_crs(
        "EPSG:4326"
    )
    labels = VectorDataset(_write(tmp_path / "a.gpkg", list(lonlat), crs="EPSG:4326", c=["a"]), column="c")
    whole = _mask(labels)
    for row in range(0, 8, 2):
        for column in range(0, 9, 3):
            window = _mask(labels, GRID[row : row + 3, column : column + 4])
            np.testing.assert_array_equal(window, whole[row : row + 3, column : column + 4])


def test_r61_labels_wholly_outside_give_both_boxes(tmp_path: Path) -> None:
    images = RasterDataset(write_raster(tmp_path / "i.tif", ramp(10, 12)))
    labels = VectorDataset(
        _write(tmp_path / "a.gpkg", [box(10, 50, 11, 51)], crs="EPSG:4326", c=["a"]), column="c"
    )
    with pytest.raises(NoOverlap, match=r"lon -113\.\d+ … -113\.\d+, lat 37") as caught:
        _ = images & labels
    assert "lon 10.0" in str(caught.value)
    assert "lat 49.99" in str(caught.value) or "lat 50.0" in str(caught.value)


def test_r62_slivers_need_all_touched(tmp_path: Path) -> None:
    path = _write(tmp_path / "a.gpkg", [_cells(2.1, 0, 0.2, 10), _cells(8, 8, 1, 1)], c=["a", "a"])
    plain, touched = VectorDataset(path, column="c"), VectorDataset(path, column="c", all_touched=True)
    assert (_mask(plain)[:, 2] == IGNORE_INDEX).all()
    assert (_mask(touched)[:, 2] == 0).all()
    assert "each pixel touched" in touched.explain(Query(GRID))


def test_r63_many_polygons_are_read_once(tmp_path: Path) -> None:
    west, south = NORTH_UP @ (0, 10)
    shapes = shapely.box(
        *np.array(
            [(west + i, south + j, west + i + 1, south + j + 1) for i in range(150) for j in range(200)]
        ).T
    )
    path = tmp_path / "many.gpkg"
    geopandas.GeoDataFrame({"c": ["a"] * len(shapes)}, geometry=shapes, crs="EPSG:32612").to_file(path)
    labels = VectorDataset(path, column="c")
    path.unlink()
    assert labels.feature_count == 30_000
    assert (_mask(labels)[4:, :5] == 0).all()


def test_r64_a_geopackage_in_wal_mode_is_read(tmp_path: Path) -> None:
    import sqlite3

    path = _write(tmp_path / "a.gpkg", [_cells(0, 0, 2, 1)], c=["a"])
    with sqlite3.connect(path) as other:
        other.execute("PRAGMA journal_mode=WAL")
        assert (_mask(VectorDataset(path, column="c"))[0, :2] == 0).all()
    path.write_bytes(b"SQLite format 3\0 but no more")
    with pytest.raises(CannotRead, match=r"a\.gpkg"):
        VectorDataset(path, column="c")


def test_r65_shapefile_without_prj_is_named(tmp_path: Path) -> None:
    path = _write(tmp_path / "a.shp", [_cells(0, 0, 2, 1)], c=["a"])
    (tmp_path / "a.prj").unlink()
    with pytest.raises(BadInput, match=r"no \.prj") as caught:
        VectorDataset(path, column="c")
    assert "crs='EPSG:" in str(caught.value)
    assert (_mask(VectorDataset(path, column="c", crs="EPSG:32612"))[0, :2] == 0).all()


def test_r65_the_encoding_of_texts_can_be_given(tmp_path: Path) -> None:
    frame = geopandas.GeoDataFrame({"c": ["Äcker"]}, geometry=[_cells(0, 0, 2, 1)], crs="EPSG:32612")
    frame.to_file(tmp_path / "a.shp", encoding="cp1252")
    (tmp_path / "a.cpg").unlink()
    assert VectorDataset(tmp_path / "a.shp", column="c", encoding="cp1252").classes.names == ("Äcker",)


def test_layers_columns_and_filters(tmp_path: Path) -> None:
    path = tmp_path / "a.gpkg"
    for layer, column in (("one", 0), ("two", 5)):
        geopandas.GeoDataFrame(
            {"c": [layer, "x"]}, geometry=[_cells(column, 0, 1, 1), _cells(column, 1, 1, 1)], crs="EPSG:32612"
        ).to_file(path, layer=layer)
    with pytest.raises(BadInput, match="several layers") as caught:
        VectorDataset(path, column="c")
    assert "one, two" in str(caught.value)
    both = VectorDataset(path, column="c", layer=["one", "two"], where="c <> 'x'")
    assert both.classes.names == ("one", "two")
    assert (_mask(both) != IGNORE_INDEX).sum() == 2
    with pytest.raises(BadInput, match="no such column"):
        VectorDataset(path, column="crop", layer="one")
    with pytest.raises(BadInput, match="filter"):
        VectorDataset(path, column="c", layer="one", where="this is no SQL")


def test_south_up_and_rotated_grids(tmp_path: Path) -> None:
    labels = VectorDataset(_write(tmp_path / "a.gpkg", [_cells(1, 2, 3, 4)], c=["a"]), column="c")
    flipped = GeoBox((10, 12), NORTH_UP @ Affine.translation(0, 10) @ Affine.scale(1, -1), "EPSG:32612")
    np.testing.assert_array_equal(_mask(labels, flipped), _mask(labels)[::-1])
    turned = GeoBox((12, 10), NORTH_UP @ Affine(0, 1, 0, 1, 0, 0), "EPSG:32612")
    np.testing.assert_array_equal(_mask(labels, turned), _mask(labels).T)


def test_labels_can_be_pickled(tmp_path: Path) -> None:
    labels = VectorDataset(_write(tmp_path / "a.gpkg", [_cells(1, 2, 3, 4)], c=["a"]), column="c")
    np.testing.assert_array_equal(_mask(pickle.loads(pickle.dumps(labels))), _mask(labels))


def test_regions_are_read_from_files(tmp_path: Path) -> None:
    path = _write(tmp_path / "area.geojson", [box(0, 0, 1, 1), box(1, 0, 2, 1)], crs="EPSG:4326")
    region = read_region(path)
    assert region.crs == "EPSG:4326"
    assert region.geometry.equals(box(0, 0, 2, 1))
    with pytest.raises(BadInput, match="no polygon"):
        read_region(_write(tmp_path / "p.gpkg", [Point(0, 0)], crs="EPSG:4326"))
