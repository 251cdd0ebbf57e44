"""A dataset of a kept index is judged by a few of its files, and is the same as one that looks at each."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest
import rasterio
from affine import Affine

from geotoolbox import RasterDataset
from geotoolbox.core.query import Query
from geotoolbox.datasets.unit_table import UnitTable, likeness, typical
from geotoolbox.errors import MixedSources
from geotoolbox.indexing import build_index
from geotoolbox.indexing.table import RecordTable
from tests.make import NORTH_UP, ramp, write_raster


def _tiles(folder: Path, count: int, **more: object) -> None:
    for number in range(count):
        at = NORTH_UP @ Affine.translation(20 * number, 0)
        write_raster(folder / f"t{number}.tif", ramp(16, 20) + np.uint16(number), transform=at, **more)


def _same(kept: RasterDataset, looked: RasterDataset) -> None:
    assert isinstance(kept._units, UnitTable) and not isinstance(looked._units, UnitTable)
    assert kept.bands == looked.bands and kept.classes == looked.classes and kept.kind == looked.kind
    assert kept.scenes() == looked.scenes() and kept.coverage() == looked.coverage()
    assert kept.source_files() == looked.source_files() and (kept.crs, kept.res) == (looked.crs, looked.res)
    assert tuple(kept._units) == tuple(looked._units)
    for scene in looked.scenes():
        a, b = kept.read(Query(scene.geobox)), looked.read(Query(scene.geobox))
        for one, two in ((a.image, b.image), (a.mask, b.mask), (a.valid, b.valid)):
            assert (one is None and two is None) or np.array_equal(one, two)


def _both(paths: object, cache: Path, **options: object) -> tuple[RasterDataset, RasterDataset]:
    return RasterDataset(paths, cache=cache, **options), RasterDataset(paths, **options)  # type: ignore[arg-type]


def test_tiles_of_a_kept_index_are_those_of_one_that_was_just_made(tmp_path: Path) -> None:
    _tiles(tmp_path / "t", 5, nodata=7)
    for _ in range(2):  # just written, and opened again
        kept, looked = _both(tmp_path / "t", tmp_path / "i.parquet", kind="image")
        _same(kept, looked)
    _same(pickle.loads(pickle.dumps(kept)), looked)
    dated = {f"t{n}": f"2020-0{n + 1}-01" for n in range(5)}
    _same(*_both(tmp_path / "t", tmp_path / "d.parquet", kind="image", dates=dated))


def test_kinds_of_files_are_told_apart(tmp_path: Path) -> None:
    _tiles(tmp_path / "t", 3)
    other = Affine(30.0, 0, 300_000, 0, -30.0, 4_200_000)
    write_raster(tmp_path / "t" / "z.tif", ramp(9, 8), crs="EPSG:32613", transform=other)
    kept, looked = _both(tmp_path / "t", tmp_path / "i.parquet", kind="image")
    _same(kept, looked)
    table = kept.index.records
    assert isinstance(table, RecordTable)
    assert likeness(table).tolist() == [0, 0, 0, 1] and typical(likeness(table)).tolist() == [0, 1, 3]
    write_raster(tmp_path / "t" / "y.tif", ramp(9, 8).astype("float32"))
    for _ in range(2):
        with pytest.raises(MixedSources, match=r"data type.*t0\.tif.*t1\.tif.*t2\.tif.*y\.tif"):
            RasterDataset(tmp_path / "t", kind="image", cache=tmp_path / "i.parquet")


def test_the_bands_of_one_image_and_labels(tmp_path: Path) -> None:
    for name in ("red", "nir"):
        write_raster(tmp_path / "b" / f"s_{name}.tif", ramp(16, 20), names=(name,))
    kept, looked = _both(tmp_path / "b", tmp_path / "b.parquet", kind="image")
    assert [b.name for b in kept.bands] == [b.name for b in looked.bands] == ["nir", "red"]
    assert len(kept) == 1 and not isinstance(kept._units, UnitTable)
    for number in range(3):
        at = NORTH_UP @ Affine.translation(20 * number, 0)
        values = np.full((16, 20), number + 1, "uint8")
        write_raster(tmp_path / "l" / f"l{number}.tif", values, transform=at)
    _same(*_both(tmp_path / "l", tmp_path / "l.parquet", kind="labels"))
    kept, _ = _both(tmp_path / "l", tmp_path / "l.parquet", kind="labels")
    assert kept.classes is not None and kept.classes.values == (1, 2, 3), "values of all files, not of a few"


def test_an_index_says_what_was_said_of_each_file(tmp_path: Path) -> None:
    _tiles(tmp_path / "t", 3)
    write_raster(
        tmp_path / "t" / "p.tif", np.ones((9, 8), "uint8"), nodata=255,
        colormap={1: (1, 2, 3, 255)},
    )  # fmt: skip
    with rasterio.open(tmp_path / "t" / "p.tif", "r+") as raster:
        raster.update_tags(ACQUISITIONDATETIME="2021:05:06 07:08:09")
    paths = sorted((tmp_path / "t").iterdir())
    first = build_index(paths)
    assert first.records[0].time.start is not None and first.records[0].time.start.year == 2021
    for _ in range(2):
        kept = build_index(paths, cache=tmp_path / "i.parquet")
        assert [r.header for r in kept] == [r.header for r in first]
        assert [(r.time, r.footprint, r.native_footprint) for r in kept] == [
            (r.time, r.footprint, r.native_footprint) for r in first
        ]
    again = pickle.loads(pickle.dumps(kept))
    assert [r.header for r in again] == [r.header for r in first]
    assert again.query(first.records[1].header.geobox) == kept.query(first.records[1].header.geobox)
