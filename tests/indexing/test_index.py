"""The index: footprints, place and time, GeoParquet, refreshing."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from pathlib import Path

import geopandas
import numpy as np
import pytest
import shapely
from affine import Affine
from hypothesis import given, settings
from hypothesis import strategies as st
from odc.geo.geobox import GeoBox

from geotoolbox.core.header import describe
from geotoolbox.core.query import TimeInterval
from geotoolbox.errors import CannotAlign, CannotRead
from geotoolbox.indexing import FileIndex, FileRecord, build_index, refresh_index
from geotoolbox.indexing.footprints import cells_polygon, valid_polygon
from geotoolbox.indexing.geometry import geobox_polygon, lonlat_polygon, transform_geometry
from geotoolbox.indexing.times import interval_from_tags, interval_from_text
from tests.make import NORTH_UP, ramp, write_raster


def _half_valid(path: Path) -> Path:
    data = ramp(40, 60) + 1
    data[:, :30] = 0
    return write_raster(path, data.astype("uint16"), nodata=0)


def test_footprint_is_the_valid_data_not_the_box(tmp_path: Path) -> None:
    record = build_index([_half_valid(tmp_path / "a.tif")]).records[0]
    assert record.native_footprint.bounds == (300_900.0, 4_138_800.0, 301_800.0, 4_140_000.0)
    assert record.native_footprint.area == 30 * 40 * 900
    west, _, east, _ = record.footprint.bounds
    full_west, _, full_east, _ = lonlat_polygon(record.header.geobox).bounds
    assert (east - west) == pytest.approx((full_east - full_west) / 2, rel=0.02)


@settings(max_examples=20, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 1399), st.integers(0, 99)), max_size=12), st.integers(0, 1 << 16))
def test_footprint_is_never_smaller_than_the_data(
    tmp_path_factory: pytest.TempPathFactory, places: list[tuple[int, int]], seed: int
) -> None:
    data = np.zeros((100, 1400), dtype="uint8")
    for column, row in places:
        data[row, column] = 1
    import rasterio

    path = write_raster(tmp_path_factory.mktemp("f") / f"{seed}.tif", data, nodata=0)
    with rasterio.open(path) as source:
        polygon = valid_polygon(source)
    for column, row in places:
        x, y = NORTH_UP * (column + 0.5, row + 0.5)
        assert polygon.covers(shapely.Point(x, y))
    if not places:
        assert polygon.is_empty


def test_footprint_of_a_file_without_fill_values_is_its_outline(tmp_path: Path) -> None:
    path = write_raster(tmp_path / "a.tif", ramp(7, 11))
    record = build_index([path]).records[0]
    assert record.native_footprint.equals(geobox_polygon(record.header.geobox))


def test_query_uses_true_footprints_and_time(tmp_path: Path) -> None:
    left = _half_valid(tmp_path / "a.tif")
    times = {str(left): interval_from_text("20200501")}
    index = build_index([left], times=times)
    grid = index.records[0].header.geobox
    empty, full = grid[:, :20], grid[:, 40:]
    assert index.query(empty) == ()
    assert [r.path for r in index.query(full)] == [str(left)]
    june = TimeInterval(datetime(2020, 6, 1, tzinfo=UTC), None)
    assert index.query(full, june) == ()
    assert len(index.query(None, times[str(left)])) == 1


def test_index_goes_to_disk_and_back(tmp_path: Path) -> None:
    paths = [_half_valid(tmp_path / f"{n} ä.tif") for n in range(3)]
    table = {str(paths[0]): interval_from_text("201502", "%Y%m")}
    index = build_index(paths, times=table)
    index.save(tmp_path / "index.parquet")
    again = FileIndex.open(tmp_path / "index.parquet")
    assert [r.header for r in again] == [r.header for r in index]
    assert [r.time for r in again] == [r.time for r in index]
    assert all(a.footprint.equals(b.footprint) for a, b in zip(again, index, strict=True))
    assert all(a.native_footprint.equals(b.native_footprint) for a, b in zip(again, index, strict=True))
    frame = geopandas.read_parquet(tmp_path / "index.parquet")
    assert frame.crs.to_epsg() == 4326
    assert frame["band_count"].tolist() == [1, 1, 1]


def test_ten_thousand_files_reopen_and_answer(tmp_path: Path) -> None:
    base = build_index([_half_valid(tmp_path / "a.tif")]).records[0]
    records = [
        FileRecord(base.header, base.native_footprint, shapely.box(x, y, x + 0.5, y + 0.5))
        for x in range(-50, 50)
        for y in range(-50, 50)
    ]
    FileIndex(records).save(tmp_path / "many.parquet")
    index = FileIndex.open(tmp_path / "many.parquet")
    found = index.query((0.1, 0.1, 1.2, 1.2))
    assert (len(index), len(found)) == (10_000, 4)


def test_r03_a_broken_cache_is_built_again_and_nothing_half_is_left(tmp_path: Path) -> None:
    cache = tmp_path / "index.parquet"
    cache.write_bytes(b"PAR1 half written")
    path = _half_valid(tmp_path / "a.tif")
    build_index([path], cache=cache)
    assert [r.path for r in FileIndex.open(cache)] == [str(path)]
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.tif", "index.parquet"]


def test_only_what_changed_is_read_again(tmp_path: Path) -> None:
    paths = [_half_valid(tmp_path / f"{n}.tif") for n in range(2)]
    cache = tmp_path / "index.parquet"
    first = build_index(paths, cache=cache)
    kept = cache.stat().st_mtime_ns
    build_index(paths, cache=cache)
    assert cache.stat().st_mtime_ns == kept
    write_raster(paths[1], ramp(10, 10))
    second = build_index(paths, cache=cache)
    assert second.records[0].header == first.records[0].header
    assert second.records[1].header.width == 10
    assert refresh_index(first).records[1].header.width == 10


def test_r17_refresh_leaves_out_what_is_gone(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    paths = [_half_valid(tmp_path / f"{n}.tif") for n in range(2)]
    index = build_index(paths)
    paths[0].unlink()
    assert [r.path for r in refresh_index(index)] == [str(paths[1])]
    assert "1 files are gone" in caplog.text


def test_r07_nothing_is_written_beside_the_data(tmp_path: Path) -> None:
    path = _half_valid(tmp_path / "a.tif")
    os.chmod(tmp_path, 0o555)
    try:
        build_index([path])
        assert [p.name for p in tmp_path.iterdir()] == ["a.tif"]
    finally:
        os.chmod(tmp_path, 0o755)


def test_r34_no_crs_is_named(tmp_path: Path) -> None:
    with pytest.raises(CannotAlign, match=r"a\.tif"):
        build_index([write_raster(tmp_path / "a.tif", ramp(4, 4), crs=None)])


def test_a_missing_index_is_named(tmp_path: Path) -> None:
    with pytest.raises(CannotRead, match="index"):
        FileIndex.open(tmp_path / "none.parquet")


def test_r41_footprint_is_cut_at_the_antimeridian(tmp_path: Path) -> None:
    transform = Affine(1000.0, 0, 500_000.0, 0, -1000.0, 8_000_000.0)
    path = write_raster(tmp_path / "a.tif", ramp(100, 400), crs="EPSG:32660", transform=transform)
    record = build_index([path]).records[0]
    assert record.footprint.geom_type == "MultiPolygon"
    west, _, east, _ = record.footprint.bounds
    assert (west, east) == (-180.0, 180.0)
    assert sum(p.bounds[2] - p.bounds[0] for p in record.footprint.geoms) < 15
    index = FileIndex([record])
    assert index.query((179.0, 71.0, -179.0, 72.0)) == (record,)
    assert index.query((0.0, 71.0, 10.0, 72.0)) == ()
    assert index.query(describe(path).geobox[50:60, 300:310]) == (record,)


def test_r42_footprint_round_the_pole() -> None:
    grid = GeoBox((100, 100), Affine(20_000, 0, -1_000_000, 0, -20_000, 1_000_000), "EPSG:3413")
    polygon = lonlat_polygon(grid)
    assert polygon.covers(shapely.Point(10.0, 89.5))
    assert polygon.covers(shapely.Point(-120.0, 85.0))
    assert not polygon.covers(shapely.Point(0.0, 60.0))


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 60), st.integers(0, 60), st.integers(1, 30), st.integers(1, 30))
def test_polygons_go_there_and_back(column: int, row: int, width: int, height: int) -> None:
    grid = GeoBox((100, 100), NORTH_UP, "EPSG:32612")[row : row + height, column : column + width]
    outline = geobox_polygon(grid)
    back = transform_geometry(
        transform_geometry(outline, "EPSG:32612", "EPSG:4326"), "EPSG:4326", "EPSG:32612"
    )
    assert back.symmetric_difference(outline).area < 1e-4 * outline.area


def test_cells_make_polygons_with_holes() -> None:
    cells = np.ones((3, 3), dtype=bool)
    cells[1, 1] = False
    polygon = cells_polygon(cells, Affine(10, 0, 0, 0, -10, 30), shapely.box(0, 0, 30, 30))
    assert polygon.area == 800
    assert not polygon.covers(shapely.Point(15, 15))


@pytest.mark.parametrize(
    ("text", "date_format", "end"),
    [
        ("20160229", "%Y%m%d", "2016-02-29T23:59:59.999999+00:00"),
        ("2015", "%Y", "2015-12-31T23:59:59.999999+00:00"),
        ("20150818T18", "%Y%m%dT%H", "2015-08-18T18:59:59.999999+00:00"),
    ],
)
def test_a_date_lasts_as_long_as_its_format_says(text: str, date_format: str, end: str) -> None:
    found = interval_from_text(text, date_format).end
    assert found is not None
    assert found.isoformat() == end


def test_the_writing_time_of_a_file_is_no_acquisition_date() -> None:
    assert interval_from_tags({"TIFFTAG_DATETIME": "2024:01:01 00:00:00"}) == TimeInterval()
    found = interval_from_tags({"DATE_ACQUIRED": "2015-08-18"})
    assert found.start == datetime(2015, 8, 18, tzinfo=UTC)
