"""Maps against references, on files."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from affine import Affine
from shapely.geometry import Polygon, box

from geotoolbox.core.classes import IGNORE_INDEX, ClassTable
from geotoolbox.core.query import Region
from geotoolbox.datasets import RasterDataset
from geotoolbox.errors import BadLabels, NoOverlap
from geotoolbox.metrics import compare_maps, confusion_matrix, match_classes
from tests.make import NORTH_UP, UTM12, write_raster

NAMES = {1: "water", 2: "forest", 3: "field"}
TABLE = ClassTable.from_names(NAMES)


def layer(path: Path, data: np.ndarray, classes: ClassTable = TABLE, **options: object) -> RasterDataset:
    write_raster(path, data.astype(np.uint8), nodata=0, **options)  # type: ignore[arg-type]
    return RasterDataset([path], kind="labels", classes=classes)


def two_maps(height: int = 70, width: int = 90, seed: int = 4) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(seed)
    return generator.integers(0, 4, (height, width)), generator.integers(0, 4, (height, width))


def expected(mapped: np.ndarray, truth: np.ndarray) -> np.ndarray:
    return confusion_matrix(truth.astype(int) - 1, mapped.astype(int) - 1, 3)


@pytest.mark.parametrize("block_px", [16, 33, 1024])
def test_blocks_of_any_size_count_the_same(tmp_path: Path, block_px: int) -> None:
    mapped, truth = two_maps()
    found = compare_maps(
        layer(tmp_path / "m.tif", mapped), layer(tmp_path / "t.tif", truth), block_px=block_px
    )
    assert np.array_equal(found.confusion.counts, expected(mapped, truth))
    assert found.confusion.unlabelled == np.count_nonzero((mapped > 0) & (truth == 0))
    assert found.confusion.unmapped == np.count_nonzero((mapped == 0) & (truth > 0))
    assert np.array_equal(sum(b.counts for b in found.blocks), found.confusion.counts)


def test_only_pixels_whose_centre_is_in_the_region_count(tmp_path: Path) -> None:
    mapped, truth = two_maps()
    left, top = NORTH_UP.c, NORTH_UP.f
    triangle = Polygon([(left, top), (left + 2400, top), (left, top - 1800)])
    found = compare_maps(
        layer(tmp_path / "m.tif", mapped),
        layer(tmp_path / "t.tif", truth),
        region=Region(triangle, UTM12),
        block_px=32,
    )
    rows, columns = np.mgrid[0:70, 0:90] + 0.5
    inside = columns * 30 / 2400 + rows * 30 / 1800 < 1
    assert np.array_equal(
        found.confusion.counts, expected(np.where(inside, mapped, 0), np.where(inside, truth, 0))
    )


def test_reference_on_a_finer_grid_is_read_on_the_grid_of_the_map(tmp_path: Path) -> None:
    mapped, truth = two_maps()
    fine = np.repeat(np.repeat(truth, 3, axis=0), 3, axis=1)
    grid = Affine(10.0, 0.0, NORTH_UP.c, 0.0, -10.0, NORTH_UP.f)
    # nearest takes the middle of the 3 × 3 pixels, mode all of them: both give the coarse value
    found = compare_maps(layer(tmp_path / "m.tif", mapped), layer(tmp_path / "t.tif", fine, transform=grid))
    assert np.array_equal(found.confusion.counts, expected(mapped, truth))


def test_overview_holds_every_nth_pixel(tmp_path: Path) -> None:
    mapped, truth = two_maps()
    mapped[0, 0] = mapped[69, 89] = 1
    found = compare_maps(
        layer(tmp_path / "m.tif", mapped), layer(tmp_path / "t.tif", truth), block_px=20, overview_px=45
    )
    (picture,) = found.overviews
    assert picture.step_px == 2
    assert np.array_equal(picture.predicted, np.where(mapped > 0, mapped - 1, IGNORE_INDEX)[::2, ::2])
    assert np.array_equal(picture.truth, np.where(truth > 0, truth - 1, IGNORE_INDEX)[::2, ::2])


def test_area_is_measured_on_the_ellipsoid(tmp_path: Path) -> None:
    mapped = truth = np.ones((20, 20))
    degrees = Affine(0.001, 0, -113.0, 0, -0.001, 37.2)
    found = compare_maps(
        layer(tmp_path / "m.tif", mapped, crs="EPSG:4326", transform=degrees),
        layer(tmp_path / "t.tif", truth, crs="EPSG:4326", transform=degrees),
    )
    # at 37.19° N a degree is 110 983 m north and 88 790 m east, to about 0.1 %
    assert found.compared_area_m2 == pytest.approx(400 * 110.983 * 88.79, rel=2e-3)


def test_classes_are_matched_by_name_not_by_value(tmp_path: Path) -> None:
    mapped, truth = two_maps()
    other = ClassTable.from_names({1: "Field", 2: " WATER ", 3: "Forest"})
    swapped = np.choose(truth, [0, 2, 3, 1])
    found = compare_maps(layer(tmp_path / "m.tif", mapped), layer(tmp_path / "t.tif", swapped, other))
    assert np.array_equal(found.confusion.counts, expected(mapped, truth))
    assert found.match.how == "name"


def test_nameless_classes_are_matched_by_value() -> None:
    match = match_classes(ClassTable.from_values([1, 2]), ClassTable.from_names({2: "forest", 9: "ice"}))
    assert match.classes.names == ("class 1", "forest", "ice")
    assert match.reference_lookup.tolist() == [1, 2]
    assert (match.map_only, match.reference_only) == (("class 1",), ("ice",))


def test_a_class_that_only_the_reference_has_counts_as_error(tmp_path: Path) -> None:
    mapped, truth = np.full((8, 8), 1), np.full((8, 8), 1)
    truth[:2] = 3
    two = ClassTable.from_names({1: "water", 2: "forest"})
    found = compare_maps(layer(tmp_path / "m.tif", mapped, two), layer(tmp_path / "t.tif", truth))
    assert found.scores.overall_accuracy == 48 / 64
    assert "field" in " ".join(found.notes)


def test_no_class_in_common_names_both_tables(tmp_path: Path) -> None:
    mapped, truth = two_maps()
    other = ClassTable.from_names({1: "Wald", 2: "Wasser", 3: "Acker"})
    with pytest.raises(BadLabels, match=r"no class in common.*'water'.*'Wald'.*classes="):
        compare_maps(layer(tmp_path / "m.tif", mapped), layer(tmp_path / "t.tif", truth, other))


def test_nothing_to_compare_says_so(tmp_path: Path) -> None:
    mapped, truth = two_maps()
    far = Region(box(0, 0, 10, 10), UTM12)
    with pytest.raises(NoOverlap, match="no pixel to compare inside the area"):
        compare_maps(layer(tmp_path / "m.tif", mapped), layer(tmp_path / "t.tif", truth), region=far)


def test_metrics_file_is_strict_json(tmp_path: Path) -> None:
    mapped, truth = np.full((4, 4), 1), np.full((4, 4), 2)
    found = compare_maps(layer(tmp_path / "m.tif", mapped), layer(tmp_path / "t.tif", truth))
    data = json.loads(json.dumps(found.to_json(), allow_nan=False))
    assert data["overall_accuracy"] == 0.0
    assert data["confusion"] == [[0, 0, 0], [16, 0, 0], [0, 0, 0]]
