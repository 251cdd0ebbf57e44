"""Drawing reference points: exact numbers, known chances, true areas, and intervals that hold."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from affine import Affine
from pyproj import Geod
from shapely.geometry import box

from geotoolbox.core.classes import IGNORE_INDEX, ClassTable
from geotoolbox.core.query import Region
from geotoolbox.datasets import RasterDataset
from geotoolbox.errors import BadInput, NoOverlap, NotProbabilitySample
from geotoolbox.metrics import (
    DesignSample,
    Population,
    assess_accuracy,
    draw_points,
    draw_systematic,
    measure,
)
from geotoolbox.metrics import population as population_module
from geotoolbox.metrics.probability import (
    check_all_there,
    check_distinct,
    check_not_clustered,
    check_not_moved,
)
from geotoolbox.prediction.grids import pixel_area_m2
from geotoolbox.prediction.lattice import Window
from tests.make import NORTH_UP, UTM12, write_raster

TABLE = ClassTable.from_names({1: "field", 2: "forest", 3: "water"})
DEGREES = Affine(0.5, 0.0, 10.0, 0.0, -0.5, 80.0)


def layer(path: Path, data: np.ndarray, **options: object) -> RasterDataset:
    write_raster(path, data.astype(np.uint8), nodata=0, **options)  # type: ignore[arg-type]
    return RasterDataset([path], kind="labels", classes=TABLE)


@pytest.fixture(scope="module")
def patchy() -> np.ndarray:
    generator = np.random.default_rng(5)
    coarse = generator.choice([0, 1, 1, 1, 2, 2, 3], (12, 16))
    return np.kron(coarse, np.ones((8, 8), dtype=int))  # 96 × 128, patches of 8 × 8


@pytest.fixture
def population(tmp_path: Path, patchy: np.ndarray) -> Population:
    return Population(layer(tmp_path / "map.tif", patchy))


def test_counts_and_areas_are_those_of_the_pixels(population: Population, patchy: np.ndarray) -> None:
    found = measure(population)
    assert np.diag(found.pixels).tolist() == [int((patchy == v).sum()) for v in (1, 2, 3)]
    assert found.pixels.sum() == np.trace(found.pixels)
    share = found.area_m2.sum() / ((patchy > 0).sum() * 900)
    assert 0.998 < share < 1.002  # UTM's own scale, squared


def test_areas_in_degrees_are_true_areas(tmp_path: Path) -> None:
    data = np.ones((60, 4), dtype=int)
    data[:30] = 2  # the northern half
    grid = Population(layer(tmp_path / "m.tif", data, crs="EPSG:4326", transform=DEGREES))
    area = np.diag(measure(grid).area_m2)
    geod = Geod(ellps="WGS84")
    for index, (south, north) in ((0, (50.0, 65.0)), (1, (65.0, 80.0))):
        rows = np.arange(south, north, 0.5)
        exact = sum(
            abs(geod.polygon_area_perimeter([10, 12, 12, 10], [r, r, r + 0.5, r + 0.5])[0]) for r in rows
        )
        assert area[index] == pytest.approx(exact, rel=2e-4)
    assert area[0] > 1.7 * area[1]


def test_stratified_draws_exactly_so_many_from_each_class(population: Population, patchy: np.ndarray) -> None:
    found = draw_points(population, measure(population), np.array([40, 25, 10]), seed=3)
    assert np.bincount(found.stratum).tolist() == [40, 25, 10]
    assert (patchy[found.row, found.column] == found.mapped + 1).all()
    assert len({*zip(found.row, found.column, strict=True)}) == 75
    again = draw_points(population, measure(population), np.array([40, 25, 10]), seed=3)
    other = draw_points(population, measure(population), np.array([40, 25, 10]), seed=4)
    assert np.array_equal(found.row, again.row) and np.array_equal(found.column, again.column)
    assert not np.array_equal(found.row, other.row)
    assert not np.array_equal(np.sort(found.stratum), found.stratum)  # the order tells nothing


def test_every_pixel_of_a_class_can_be_drawn_and_no_more(population: Population) -> None:
    found = measure(population)
    whole = np.diag(found.pixels)
    drawn = draw_points(population, found, whole, seed=1)
    assert len({*zip(drawn.row, drawn.column, strict=True)}) == whole.sum()
    np.testing.assert_allclose(drawn.probability, 1, atol=1e-2)
    with pytest.raises(BadInput, match="more points than pixels"):
        draw_points(population, found, whole + 1)


def test_all_pixels_of_a_stratum_have_the_same_chance(population: Population, patchy: np.ndarray) -> None:
    found, hits = measure(population), np.zeros(patchy.shape)
    for seed in range(150):
        drawn = draw_points(population, found, np.array([200, 100, 60]), seed=seed)
        hits[drawn.row, drawn.column] += 1
    for value, points in ((1, 200), (2, 100), (3, 60)):
        mine = hits[patchy == value]
        expected = 150 * points / len(mine)
        chi = ((mine - expected) ** 2 / (expected * (1 - points / len(mine)))).sum() / (len(mine) - 1)
        assert abs(chi - 1) < 5 * np.sqrt(2 / len(mine))
    rows = hits.sum(axis=1) / np.maximum((patchy > 0).sum(axis=1), 1)
    assert rows[patchy.any(axis=1)].min() > 0


def test_chances_follow_true_area_in_degrees(tmp_path: Path) -> None:
    data = np.ones((60, 30), dtype=int)
    grid = Population(layer(tmp_path / "m.tif", data, crs="EPSG:4326", transform=DEGREES))
    found, rows = measure(grid), np.zeros(60)
    for seed in range(120):
        drawn = draw_points(grid, found, np.array([100, 0, 0]), seed=seed)
        rows += np.bincount(drawn.row, minlength=60)
    latitude = np.radians(80 - 0.5 * (np.arange(60) + 0.5))
    expected = rows.sum() * np.cos(latitude) / np.cos(latitude).sum()
    chi = ((rows - expected) ** 2 / expected).sum()
    assert chi < 59 + 5 * np.sqrt(2 * 59)  # with equal chances it would be about 700
    assert drawn.probability.max() > 2 * drawn.probability.min()


def test_blocks_of_any_size_hold_the_same_pixels(
    population: Population, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = measure(population, np.array([0, 50, 95]), np.array([0, 70, 127]))
    monkeypatch.setattr(population_module, "BLOCK_PX", 33)
    parts = measure(population, np.array([0, 50, 95]), np.array([0, 70, 127]))
    assert np.array_equal(whole.pixels, parts.pixels)
    assert np.array_equal(whole.at_points, parts.at_points)
    drawn = draw_points(population, parts, np.array([5, 5, 5]), seed=0)
    assert np.bincount(drawn.stratum).tolist() == [5, 5, 5]


def test_the_draw_is_not_tied_to_a_map_made_with_the_same_seed(tmp_path: Path) -> None:
    data = np.where(np.random.default_rng(0).random((200, 150)) < 0.1, 3, 1)
    grid = Population(layer(tmp_path / "m.tif", data))
    drawn = draw_points(grid, measure(grid), np.array([400]), seed=0)
    assert (drawn.mapped == 2).mean() == pytest.approx(0.1, abs=0.06)


def test_simple_random_ignores_classes(population: Population, patchy: np.ndarray) -> None:
    found = measure(population)
    counts = np.zeros(3)
    for seed in range(60):
        drawn = draw_points(population, found, np.array([100]), seed=seed)
        assert len(drawn) == 100
        counts += np.bincount(drawn.mapped, minlength=3)
    expected = np.diag(found.pixels) / found.pixels.sum()
    np.testing.assert_allclose(counts / 6000, expected, atol=4 * np.sqrt(0.25 / 6000))


def test_systematic_is_a_lattice_with_a_random_start(population: Population, patchy: np.ndarray) -> None:
    found = measure(population)
    drawn = draw_systematic(population, found, 120, seed=1)
    step = np.sqrt(found.pixels.sum() / 120)
    assert 90 < len(drawn) < 150
    assert set(np.diff(np.unique(drawn.row))) <= {int(step), int(step) + 1, 2 * int(step), 2 * int(step) + 1}
    assert (patchy[drawn.row, drawn.column] == drawn.mapped + 1).all()
    np.testing.assert_allclose(drawn.probability, 120 / found.pixels.sum())
    hits = np.zeros(patchy.shape)
    for seed in range(400):
        one = draw_systematic(population, found, 300, seed=seed)
        hits[one.row, one.column] += 1
    expected = 400 * 300 / found.pixels.sum()
    assert hits[patchy > 0].mean() == pytest.approx(expected, rel=0.05)
    assert hits[patchy > 0].max() < expected + 6 * np.sqrt(expected)


def test_a_region_and_other_strata_bound_the_population(tmp_path: Path, patchy: np.ndarray) -> None:
    labels = layer(tmp_path / "map.tif", patchy)
    left, top = NORTH_UP.c, NORTH_UP.f
    region = Region(box(left, top - 48 * 30, left + 64 * 30, top), UTM12)
    inside = measure(Population(labels, region=region), np.array([1, 90]), np.array([1, 90]))
    assert inside.pixels.sum() == (patchy[:48, :64] > 0).sum()
    assert inside.at_points[1] == IGNORE_INDEX
    halves = np.ones_like(patchy)
    halves[:, 64:] = 2
    halves[:10] = 0
    strata = layer(tmp_path / "strata.tif", halves)
    both = Population(labels, strata)
    found = measure(both)
    assert found.pixels[0].sum() == (patchy[10:, :64] > 0).sum()
    assert found.left_out_px == (patchy[:10] > 0).sum()
    drawn = draw_points(both, found, np.array([20, 20, 0]), seed=0)
    assert (drawn.column[drawn.stratum == 0] < 64).all() and (drawn.row >= 10).all()
    with pytest.raises(NoOverlap):
        measure(Population(labels, region=Region(box(0, 0, 1, 1), UTM12)))


@pytest.mark.parametrize("design", ["stratified", "simple", "systematic"])
def test_intervals_from_drawn_points_cover_the_truth(tmp_path: Path, patchy: np.ndarray, design: str) -> None:
    """A map with known errors, 200 samples each: about 95 in 100 intervals hold the truth."""
    generator = np.random.default_rng(11)
    truth = np.where(generator.random(patchy.shape) < 0.8, patchy, generator.integers(1, 4, patchy.shape))
    population = Population(layer(tmp_path / "map.tif", patchy))
    found, known = measure(population), patchy > 0
    exact = [(truth == patchy)[known].mean(), (truth == 3)[known].mean(), (truth == 1)[known].mean()]
    covered, runs = np.zeros(3), 200
    for seed in range(runs):
        if design == "systematic":
            drawn = draw_systematic(population, found, 240, seed=seed)
        else:
            drawn = draw_points(
                population, found, np.array([90, 80, 70] if design == "stratified" else [240]), seed=seed
            )
        by_class = design == "stratified"
        stratum = drawn.stratum if by_class else 0 * drawn.stratum
        sizes = np.diag(found.area_m2) if by_class else np.array([found.area_m2.sum()])
        sample = DesignSample.from_points(
            stratum, drawn.mapped, truth[drawn.row, drawn.column] - 1, sizes, 3, by_map_class=by_class
        )
        estimate = assess_accuracy(sample, TABLE.names)
        ones = (estimate.overall, estimate.area_shares[2], estimate.area_shares[0])
        covered += [e.low <= t <= e.high for e, t in zip(ones, exact, strict=True)]
    assert (covered / runs >= 0.90).all(), covered / runs
    if design != "systematic":  # there the usual formula errs on the safe side
        assert (covered / runs <= 0.995).all(), covered / runs


def test_estimates_in_degrees_are_of_ground_not_of_pixels(tmp_path: Path) -> None:
    """Water in the north only: more than half of the pixels, much less than half of the ground."""
    truth = np.ones((60, 40), dtype=int)
    truth[:32] = 2
    grid = Population(layer(tmp_path / "m.tif", np.ones_like(truth), crs="EPSG:4326", transform=DEGREES))
    found = measure(grid)
    rows = pixel_area_m2(grid.geobox, Window(0, 60, 0, 40))
    exact = float(rows[:32].sum() / rows.sum())
    assert 32 / 60 - exact > 0.12
    area, chances = [], []
    for seed in range(60):
        drawn = draw_points(grid, found, np.array([150]), seed=seed)
        lattice = draw_systematic(grid, found, 150, seed=seed)
        for points, sizes, into in ((drawn, None, area), (lattice, lattice.area_m2, chances)):
            sample = DesignSample.from_points(
                0 * points.row,
                0 * points.row,
                truth[points.row, points.column] - 1,
                np.array([1.0]),
                2,
                unit_sizes=sizes,
            )
            into.append(assess_accuracy(sample, ("land", "water")).area_shares[1])
    for estimates in (area, chances):
        values = np.array([e.value for e in estimates])
        assert values.mean() == pytest.approx(exact, abs=4 * values.std() / np.sqrt(60) + 1e-3)
    spread = np.std([e.value for e in area])
    assert np.mean([e.standard_error for e in area]) == pytest.approx(spread, rel=0.35)


def test_unweighted_points_of_a_stratified_sample_would_not_cover(tmp_path: Path, patchy: np.ndarray) -> None:
    population = Population(layer(tmp_path / "map.tif", patchy))
    found, known = measure(population), patchy > 0
    naive = draw_points(population, found, np.array([80, 80, 80]), seed=1)
    assert abs((naive.mapped == 2).mean() - (patchy == 3)[known].mean()) > 0.1


def test_what_is_no_probability_sample_is_refused() -> None:
    drawn = np.arange(1, 11)
    check_all_there(drawn, drawn[::-1])
    for found, words in (
        (drawn[:-2], "2 points of the sample are gone"),
        (np.append(drawn, 99), "1 points were added"),
        (np.append(drawn, 3), "1 points stand twice"),
    ):
        with pytest.raises(NotProbabilitySample, match=words):
            check_all_there(drawn, found)
    check_not_moved(drawn, np.full(10, 0.2))
    with pytest.raises(NotProbabilitySample, match="moved"):
        check_not_moved(drawn, np.where(drawn == 4, 3.0, 0.0))
    with pytest.raises(NotProbabilitySample, match="moved"):
        check_not_moved(drawn, np.where(drawn == 4, np.nan, 0.0))
    with pytest.raises(NotProbabilitySample, match="more than one point"):
        check_distinct(np.array([1, 1, 2]), np.array([5, 5, 5]))


def test_digitised_points_are_told_from_random_ones() -> None:
    generator = np.random.default_rng(3)
    for _ in range(200):  # never a false alarm, also where they are dense
        places = generator.choice(100 * 100, 400, replace=False)
        check_not_clustered(places // 100, places % 100, 10_000)
    centres = generator.integers(0, 1000, (10, 2))
    rows, columns = (np.repeat(centres, 20, axis=0) + generator.integers(-4, 5, (200, 2))).T
    with pytest.raises(NotProbabilitySample, match="clusters"):
        check_not_clustered(rows, columns, 1_000_000)
