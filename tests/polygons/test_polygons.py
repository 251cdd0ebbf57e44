"""Polygons from class maps: whole across blocks, right in area, shared edges stay shared."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import geopandas as gpd
import numpy as np
import pytest
import rasterio
import shapely
from affine import Affine
from hypothesis import given, settings
from hypothesis import strategies as st
from rasterio.features import rasterize
from scipy import ndimage

from geotoolbox.core.classes import ClassTable
from geotoolbox.errors import BadInput, CannotAlign, UnsafeInput
from geotoolbox.prediction.outputs import finalize_class_map
from geotoolbox.prediction.polygons import polygonize
from tests.make import NORTH_UP, write_raster

CLASSES = ClassTable.from_names({1: "water", 2: "=cmd|'calc'", 3: "forest"})


def blobs(height: int, width: int, seed: int = 0, smooth: float = 3.0) -> np.ndarray:
    noise = ndimage.gaussian_filter(np.random.default_rng(seed).standard_normal((height, width)), smooth)
    noise /= noise.std() or 1.0  # one pixel does not vary
    values = np.digitize(noise, [-0.6, 0.6]).astype("uint8") + 1
    values[: height // 6, : width // 5] = 0
    return values


def burn(frame: gpd.GeoDataFrame, shape: tuple[int, int], transform: Affine) -> np.ndarray:
    pairs = zip(frame.geometry, frame["value"], strict=True)
    return rasterize(pairs, shape, transform=transform, dtype="uint8")


def default_style(path: Path) -> str:
    """Return the style that a GeoPackage brings along for QGIS."""
    with closing(sqlite3.connect(path)) as database:
        ((style,),) = database.execute("SELECT styleQML FROM layer_styles WHERE useAsDefault").fetchall()
    return str(style)


@settings(max_examples=20, deadline=None)
@given(
    height=st.integers(1, 40), width=st.integers(1, 40), block=st.integers(2, 17), seed=st.integers(0, 99),
    smooth=st.sampled_from([0.0, 0.7, 2.0]),
)  # fmt: skip
def test_polygons_are_the_raster_and_do_not_depend_on_blocks(
    tmp_path_factory: pytest.TempPathFactory, height: int, width: int, block: int, seed: int, smooth: float
) -> None:
    folder = tmp_path_factory.mktemp("p")
    values = blobs(height, width, seed, smooth)
    source = write_raster(folder / "m.tif", values, nodata=0)
    polygonize(source, folder / "a.parquet", block_px=block)
    polygonize(source, folder / "b.parquet", block_px=1000)
    a, b = gpd.read_parquet(folder / "a.parquet"), gpd.read_parquet(folder / "b.parquet")
    if len(b):
        np.testing.assert_array_equal(burn(a, values.shape, NORTH_UP), values)
    assert a["value"].tolist() == b["value"].tolist()
    assert a.geometry.geom_equals(b.geometry).all()
    assert a.is_valid.all() and (a.geom_type == "Polygon").all()
    np.testing.assert_allclose(a["area_m2"], b["area_m2"])


def test_no_edge_lies_on_a_block_line(tmp_path: Path) -> None:
    source = write_raster(tmp_path / "m.tif", np.full((60, 50), 3, "uint8"), nodata=0)
    result = polygonize(source, tmp_path / "p.gpkg", block_px=16)
    frame = gpd.read_file(tmp_path / "p.gpkg")
    assert result.count == len(frame) == 1
    assert len(frame.geometry[0].exterior.coords) == 5
    assert frame.total_bounds.tolist() == [300_000, 4_140_000 - 1800, 301_500, 4_140_000]


def test_areas_add_up_to_the_raster(tmp_path: Path) -> None:
    values = blobs(300, 400)
    source = write_raster(tmp_path / "m.tif", values, nodata=0)
    result = polygonize(source, tmp_path / "p.gpkg", block_px=128)
    for value in (1, 2, 3):
        # At this place UTM's scale is about 1.0001, so its square metres are true to 0.1 %.
        assert result.area_m2[value] == pytest.approx((values == value).sum() * 900, rel=1e-3)


def test_r47_areas_in_degrees_are_true_square_metres(tmp_path: Path) -> None:
    grid = Affine(0.01, 0, 10, 0, -0.01, 60)
    source = write_raster(tmp_path / "m.tif", np.ones((100, 100), "uint8"), crs="EPSG:4326", transform=grid)
    result = polygonize(source, tmp_path / "p.gpkg", block_px=64)
    import pyproj

    box = shapely.segmentize(shapely.box(10, 59, 11, 60), 0.01)
    x, y = box.exterior.coords.xy
    dense_area, _ = pyproj.Geod(ellps="WGS84").polygon_area_perimeter(x, y)
    assert result.area_m2[1] == pytest.approx(abs(dense_area), rel=1e-4)


def test_least_area_is_in_square_metres(tmp_path: Path) -> None:
    values = np.ones((20, 20), "uint8")
    values[2, 2] = 2
    values[8:10, 8:10] = 2
    source = write_raster(tmp_path / "m.tif", values)
    result = polygonize(source, tmp_path / "p.gpkg", min_area_m2=1000)
    assert (result.count, result.dropped) == (2, 1)


def test_mean_confidence_across_blocks_respects_scale_and_nodata(tmp_path: Path) -> None:
    values = np.ones((10, 20), "uint8")
    values[:, 10:] = 2
    stored = np.full((10, 20), 100, "uint8")
    stored[:, :5] = 200
    stored[:, 10:15] = 255
    source = write_raster(tmp_path / "m.tif", values)
    confidence = write_raster(tmp_path / "c.tif", stored, nodata=255)
    with rasterio.open(confidence, "r+") as raster:
        raster.scales = (0.004,)
    polygonize(source, tmp_path / "p.gpkg", confidence_path=confidence, block_px=4)
    frame = gpd.read_file(tmp_path / "p.gpkg").set_index("value")
    assert frame["confidence"].to_dict() == pytest.approx({1: 0.6, 2: 0.4})


def test_simplified_edges_stay_shared(tmp_path: Path) -> None:
    values = blobs(150, 150, 3, 5.0)
    values[values == 0] = 1
    source = write_raster(tmp_path / "m.tif", values)
    polygonize(source, tmp_path / "raw.gpkg", block_px=64)
    polygonize(source, tmp_path / "p.gpkg", simplify_m=45, block_px=64)
    raw, frame = gpd.read_file(tmp_path / "raw.gpkg"), gpd.read_file(tmp_path / "p.gpkg")
    assert shapely.get_num_coordinates(frame.geometry.array).sum() < 0.5 * (
        shapely.get_num_coordinates(raw.geometry.array).sum()
    )
    assert shapely.coverage_is_valid(np.asarray(frame.geometry.array))
    assert frame.union_all().area == pytest.approx(frame.area.sum(), rel=1e-9)
    assert (burn(frame, values.shape, NORTH_UP) == values).mean() > 0.95


def test_names_come_from_the_map_and_s15_no_name_is_a_formula(tmp_path: Path) -> None:
    source = write_raster(tmp_path / "w.tif", np.array([[1, 2], [3, 3]], "uint8"))
    finalize_class_map(source, tmp_path / "m.tif", CLASSES, 255)
    for name in ("p.gpkg", "p.geojson", "p.parquet"):
        polygonize(tmp_path / "m.tif", tmp_path / name)
    for frame in (gpd.read_file(tmp_path / "p.gpkg"), gpd.read_file(tmp_path / "p.geojson")):
        assert frame["class"].tolist() == ["water", "'=cmd|'calc'", "forest"]
    assert gpd.read_file(tmp_path / "p.geojson").crs.to_epsg() == 4326
    assert 'label="forest"' in default_style(tmp_path / "p.gpkg")
    assert 'label="forest"' in (tmp_path / "p.qml").read_text()  # of the other two formats


def test_a_map_and_its_polygons_may_have_one_name(tmp_path: Path) -> None:
    source = write_raster(tmp_path / "w.tif", np.array([[1, 2], [3, 3]], "uint8"))
    finalize_class_map(source, tmp_path / "map.tif", CLASSES, 255)
    raster_style = (tmp_path / "map.qml").read_bytes()
    for name in ("map.gpkg", "map.geojson"):
        polygonize(tmp_path / "map.tif", tmp_path / name)
    assert (tmp_path / "map.qml").read_bytes() == raster_style


def test_names_and_colours_of_a_foreign_map_come_from_its_own_table(tmp_path: Path) -> None:
    source = write_raster(
        tmp_path / "m.tif", np.array([[1, 2], [7, 2]], "uint8"), colormap={1: (1, 2, 3), 2: (0, 200, 0)}
    )
    (tmp_path / "m.tif.aux.xml").write_text(
        "<PAMDataset><PAMRasterBand band='1'><CategoryNames><Category/><Category>lake</Category>"
        "<Category>wood</Category></CategoryNames></PAMRasterBand></PAMDataset>"
    )
    polygonize(source, tmp_path / "p.gpkg")
    frame = gpd.read_file(tmp_path / "p.gpkg")
    assert dict(zip(frame["value"], frame["class"], strict=True)) == {1: "lake", 2: "wood", 7: "class 7"}
    assert "0,200,0" in default_style(tmp_path / "p.gpkg")


def test_s05_a_map_that_reads_other_files_is_refused(tmp_path: Path) -> None:
    write_raster(tmp_path / "m.tif", np.ones((5, 5), "uint8"))
    vrt = tmp_path / "hidden.tif"
    vrt.write_text(
        "<VRTDataset rasterXSize='5' rasterYSize='5'><VRTRasterBand dataType='Byte' band='1'><SimpleSource>"
        "<SourceFilename relativeToVRT='1'>m.tif</SourceFilename></SimpleSource></VRTRasterBand></VRTDataset>"
    )
    with pytest.raises(UnsafeInput):
        polygonize(vrt, tmp_path / "p.gpkg")


@pytest.mark.parametrize("name", ["p.gpkg", "p.parquet", "p.geojson"])
def test_an_empty_map_gives_an_empty_layer(tmp_path: Path, name: str) -> None:
    source = write_raster(tmp_path / "m.tif", np.zeros((5, 5), "uint8"), nodata=0)
    assert polygonize(source, tmp_path / name).count == 0
    assert (tmp_path / name).exists()


def test_bad_input_is_named(tmp_path: Path) -> None:
    source = write_raster(tmp_path / "m.tif", np.ones((5, 5), "uint8"))
    other = write_raster(tmp_path / "c.tif", np.ones((5, 6), "uint8"))
    with pytest.raises(BadInput, match="unknown vector format"):
        polygonize(source, tmp_path / "p.kml")
    with pytest.raises(BadInput, match="min_area_m2"):
        polygonize(source, tmp_path / "p.gpkg", min_area_m2=float("nan"))
    with pytest.raises(BadInput, match="another grid"):
        polygonize(source, tmp_path / "p.gpkg", confidence_path=other)
    with pytest.raises(BadInput, match="no class map"):
        polygonize(write_raster(tmp_path / "f.tif", np.ones((5, 5), "float32")), tmp_path / "p.gpkg")
    with pytest.raises(CannotAlign, match="no CRS"):
        polygonize(write_raster(tmp_path / "n.tif", np.ones((5, 5), "uint8"), crs=None), tmp_path / "p.gpkg")
    assert not (tmp_path / "p.gpkg").exists()
