"""Sparse confusion counts of blocks, the fast path, regions, true areas and the error raster."""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path

import numpy as np
import pytest
import rasterio
import sklearn.metrics as sk
from affine import Affine
from hypothesis import given, settings
from hypothesis import strategies as st
from shapely.geometry import box

from geotoolbox.core.classes import ClassTable
from geotoolbox.core.query import Region
from geotoolbox.datasets import RasterDataset
from geotoolbox.errors import BadInput, CannotRead
from geotoolbox.metrics import BlockConfusion, compare_maps, compute_scores, confusion_matrix
from geotoolbox.prediction.grids import pixel_area_m2
from geotoolbox.prediction.lattice import Window
from tests.make import NORTH_UP, UTM12, write_raster

NAMES = {1: "water", 2: "forest", 3: "field"}
TABLE = ClassTable.from_names(NAMES)


def layer(path: Path, data: np.ndarray, **options: object) -> RasterDataset:
    nodata, dtype = options.pop("nodata", 0), options.pop("dtype", "uint8")
    write_raster(path, data.astype(dtype), nodata=nodata, **options)  # type: ignore[arg-type]
    return RasterDataset([path], kind="labels", classes=TABLE)


def two_maps(height: int = 70, width: int = 90, seed: int = 4) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(seed)
    return generator.integers(0, 4, (height, width)), generator.integers(0, 4, (height, width))


def expected(mapped: np.ndarray, truth: np.ndarray) -> np.ndarray:
    return confusion_matrix(truth.astype(int) - 1, mapped.astype(int) - 1, 3)


@pytest.fixture(scope="module")
def compared(tmp_path_factory: pytest.TempPathFactory):
    folder = tmp_path_factory.mktemp("blocks")
    mapped, truth = two_maps()
    found = compare_maps(
        layer(folder / "m.tif", mapped), layer(folder / "t.tif", truth), block_px=32, errors=folder / "e.tif"
    )
    return mapped, truth, found, folder


def test_each_block_holds_the_counts_of_its_own_pixels(compared) -> None:
    mapped, truth, found, _ = compared
    assert len(found.patches) == 9
    for number, block in enumerate(found.blocks):
        row, column, (height, width) = block.row_px, block.column_px, block.shape_px
        here = np.s_[row : row + height, column : column + width]
        assert np.array_equal(block.counts, expected(mapped[here], truth[here]))
        assert (block.x, block.y) == pytest.approx(NORTH_UP * (column + width / 2, row + height / 2))
        one = compute_scores(block.counts, TABLE.names)
        assert found.patches.overall_accuracy()[number] == pytest.approx(one.overall_accuracy)
        assert found.patches.iou()[number] == pytest.approx(one.iou, nan_ok=True)
        assert found.patches.mean_iou()[number] == pytest.approx(one.mean_iou)


def test_a_cell_finds_its_blocks_worst_first(compared) -> None:
    _, _, found, _ = compared
    numbers, pixels = found.patches.find_cell(reference=2, predicted=0)
    assert pixels.tolist() == sorted(pixels.tolist(), reverse=True)
    shares = found.patches.cell_shares(reference=2, predicted=0)
    assert shares[numbers] == pytest.approx(
        [p / found.blocks[n].counts.sum() for n, p in zip(numbers, pixels, strict=True)]
    )
    assert np.isnan(shares).sum() == len(found.patches) - len(numbers)
    assert pixels.sum() == found.confusion.counts[2, 0]
    assert all(found.patches.counts(n)[2, 0] == p for n, p in zip(numbers, pixels, strict=True))
    worst = found.patches.find_worst(4)
    accuracy = found.patches.overall_accuracy()
    assert accuracy[worst].tolist() == sorted(accuracy.tolist())[:4]


@pytest.mark.parametrize("form", ["gpkg", "json"])
def test_block_file_reads_back(compared, tmp_path: Path, form: str) -> None:
    _, _, found, _ = compared
    if form == "gpkg":
        again = BlockConfusion.open(found.patches.save(tmp_path / "a.blocks.gpkg"))
    else:
        again = BlockConfusion.from_json(json.loads(json.dumps(found.patches.to_json())))
    assert again.classes.names == TABLE.names and again.crs == UTM12
    assert np.array_equal(again.total(), found.confusion.counts)
    assert all(np.array_equal(again.counts(n), found.patches.counts(n)) for n in range(len(again)))
    assert np.array_equal(again.windows, found.patches.windows)
    assert all(a.equals(b) for a, b in zip(again.polygons, found.patches.polygons, strict=True))
    assert again.pixel_area_m2 == pytest.approx(found.patches.pixel_area_m2)


def test_block_file_answers_a_click_with_plain_sqlite(compared, tmp_path: Path) -> None:
    _, _, found, _ = compared
    path = found.patches.save(tmp_path / "a.blocks.gpkg")
    with sqlite3.connect(path) as database:
        rows = database.execute(
            "SELECT b.block, c.pixels FROM cells c JOIN blocks b ON b.block = c.block "
            "WHERE c.reference = 1 AND c.map = 2 ORDER BY c.pixels DESC, b.block"
        ).fetchall()
        names = database.execute("SELECT name FROM classes ORDER BY class").fetchall()
    numbers, pixels = found.patches.find_cell(reference=1, predicted=2)
    assert rows == list(zip(numbers.tolist(), pixels.tolist(), strict=True))
    assert [n for (n,) in names] == list(TABLE.names)


def test_error_raster_says_what_was_taken_for_what(compared) -> None:
    mapped, truth, _, folder = compared
    with rasterio.open(folder / "e.tif") as raster:
        codes = raster.read(1)
        assert raster.nodata == 0 and raster.dtypes[0] == "uint8"
    both = (mapped > 0) & (truth > 0)
    assert np.array_equal(codes, np.where(both, 1 + (truth - 1) * 3 + (mapped - 1), 0))
    assert "forest → water" in (folder / "e.qml").read_text(encoding="utf-8")


@settings(max_examples=10, deadline=None)
@given(st.integers(8, 200), st.integers(1, 3))
def test_blocks_and_threads_change_nothing_in_the_sum(block_px: int, threads: int) -> None:
    import tempfile

    mapped, truth = two_maps(60, 75, seed=block_px)
    with tempfile.TemporaryDirectory() as folder:
        found = compare_maps(
            layer(Path(folder) / "m.tif", mapped), layer(Path(folder) / "t.tif", truth),
            block_px=block_px, threads=threads,
        )  # fmt: skip
    assert np.array_equal(found.confusion.counts, expected(mapped, truth))
    assert np.array_equal(found.patches.total(), expected(mapped, truth))


@pytest.mark.parametrize("dtype", ["uint8", "int8", "int16", "uint16", "int32", "float32"])
def test_every_data_type_counts_the_same(tmp_path: Path, dtype: str) -> None:
    mapped, truth = two_maps()
    found = compare_maps(
        layer(tmp_path / "m.tif", mapped, dtype=dtype), layer(tmp_path / "t.tif", truth), block_px=16
    )
    assert np.array_equal(found.confusion.counts, expected(mapped, truth))
    assert found.confusion.unmapped == np.count_nonzero((mapped == 0) & (truth > 0))


def test_negative_class_values_are_their_own_class(tmp_path: Path) -> None:
    table = ClassTable.from_names({-3: "a", 2: "b"})
    mapped, truth = np.array([[-3, 2, 2, -3]], "int16"), np.array([[-3, -3, 2, 2]], "int16")
    layers = [
        RasterDataset([write_raster(tmp_path / n, a)], kind="labels", classes=table)
        for n, a in (("m.tif", mapped), ("t.tif", truth))
    ]
    assert compare_maps(*layers).confusion.counts.tolist() == [[1, 1], [1, 1]]


def test_fast_and_general_reading_agree(tmp_path: Path) -> None:
    mapped, truth = two_maps()
    path = tmp_path / "m.tif"
    one, other = layer(path, mapped), layer(tmp_path / "t.tif", truth)
    everything = box(0, 0, 10_000_000, 10_000_000)
    general = compare_maps(one.within(everything), other.within(everything), block_px=32)
    fast = compare_maps(one, other, block_px=32)
    assert general.confusion == fast.confusion
    assert all(np.array_equal(a.counts, b.counts) for a, b in zip(general.blocks, fast.blocks, strict=True))


def test_values_outside_the_class_table_are_told(tmp_path: Path) -> None:
    mapped, truth = two_maps()
    truth[:5] = 9
    found = compare_maps(layer(tmp_path / "m.tif", mapped), layer(tmp_path / "t.tif", truth))
    assert np.array_equal(found.confusion.counts, expected(mapped[5:], truth[5:]))
    assert any("450 pixels of the reference hold values that are in no class table" in n for n in found.notes)


def test_regions_are_scored_one_by_one_and_may_overlap(tmp_path: Path) -> None:
    mapped, truth = two_maps()
    left, top = NORTH_UP.c, NORTH_UP.f
    regions = {
        "west": Region(box(left, top - 70 * 30, left + 50 * 30, top), UTM12),
        "all": Region(box(left, top - 70 * 30, left + 90 * 30, top), UTM12),
        "far": Region(box(0, 0, 10, 10), UTM12),
    }
    found = compare_maps(
        layer(tmp_path / "m.tif", mapped), layer(tmp_path / "t.tif", truth), regions=regions, block_px=32
    )
    west, whole, far = found.regions
    assert np.array_equal(west.confusion.counts, expected(mapped[:, :50], truth[:, :50]))
    assert np.array_equal(whole.confusion.counts, found.confusion.counts)
    assert far.confusion.pixels == 0 and any("'far'" in n for n in found.notes)
    assert np.array_equal(west.blocks.total(), west.confusion.counts)


def test_pixels_in_degrees_are_weighted_by_their_true_area(tmp_path: Path) -> None:
    """A map that is right in the north only: by area that is less than half."""
    height, width = 80, 4
    mapped = np.ones((height, width), int)
    truth = np.ones((height, width), int)
    truth[height // 2 :] = 2
    degrees = Affine(0.5, 0, 10.0, 0, -1.0, 80.0)  # from 80° N to the equator
    found = compare_maps(
        layer(tmp_path / "m.tif", mapped, crs="EPSG:4326", transform=degrees),
        layer(tmp_path / "t.tif", truth, crs="EPSG:4326", transform=degrees),
        block_px=32,
    )
    assert found.geographic and found.scores.overall_accuracy == 0.5
    sine = np.sin(np.radians([80, 40, 0]))  # on a sphere a zone's area is the difference of sines
    assert found.area_scores.overall_accuracy == pytest.approx(
        (sine[0] - sine[1]) / (sine[0] - sine[2]), abs=3e-3
    )
    assert found.patches.pixel_area_m2 @ found.patches.pixels == pytest.approx(found.compared_area_m2)


def test_scores_by_area_equal_scikit_learn_with_weights(tmp_path: Path) -> None:
    mapped, truth = two_maps()
    degrees = Affine(0.5, 0, 10.0, 0, -1.0, 70.0)
    layers = [
        layer(tmp_path / n, a, crs="EPSG:4326", transform=degrees)
        for n, a in (("m.tif", mapped), ("t.tif", truth))
    ]
    found = compare_maps(*layers, block_px=32)
    grid = layers[0].scenes()[0].geobox
    height, width = (int(n) for n in grid.shape)
    known = (mapped > 0) & (truth > 0)
    area = np.broadcast_to(pixel_area_m2(grid, Window(0, height, 0, width))[:, None], mapped.shape)[known]
    one, other = truth[known] - 1, mapped[known] - 1
    assert found.confusion_m2 == pytest.approx(sk.confusion_matrix(one, other, sample_weight=area), rel=1e-9)
    wanted = sk.jaccard_score(one, other, average="macro", sample_weight=area)
    assert found.area_scores.mean_iou == pytest.approx(wanted, abs=1e-9)
    assert found.area_scores.overall_accuracy == pytest.approx(
        sk.accuracy_score(one, other, sample_weight=area), abs=1e-9
    )
    assert found.disagreement.total == pytest.approx(1 - found.area_scores.overall_accuracy)


def test_unfit_files_and_options_are_refused(compared, tmp_path: Path) -> None:
    mapped, truth, found, _ = compared
    with pytest.raises(BadInput, match="no such block"):
        found.patches.counts(9)
    with pytest.raises(BadInput, match="GeoPackage"):
        found.patches.save(tmp_path / "a.json")
    with pytest.raises(CannotRead, match="no such file"):
        BlockConfusion.open(tmp_path / "none.gpkg")
    with pytest.raises(BadInput, match="sizes must be positive"):
        compare_maps(layer(tmp_path / "m.tif", mapped), layer(tmp_path / "t.tif", truth), block_px=0)
    other = tmp_path / "other.gpkg"
    found.patches.save(other)
    with sqlite3.connect(other) as database:
        database.execute("DROP TABLE cells")
        database.execute("DELETE FROM gpkg_contents WHERE table_name = 'cells'")
    with pytest.raises(BadInput, match="no block file"):
        BlockConfusion.open(other)
