"""Faults found in Raster Vision 0.31.1, by their number in our list: none of them is ours.

Not applicable: 6 (chip classification) and 14 (regression), which do not exist here.
"""

from __future__ import annotations

import logging
import sys
from pathlib import Path

import numpy as np
import pytest
import rasterio
import torch
from affine import Affine
from odc.geo.geobox import GeoBox
from pyproj import Transformer
from shapely.geometry import box

from geotoolbox.core.classes import ClassTable
from geotoolbox.core.query import Band, Query, Region
from geotoolbox.datasets import RasterDataset, VectorDataset
from geotoolbox.errors import GeoToolboxError
from geotoolbox.jobs import sample
from geotoolbox.metrics import compare_maps
from geotoolbox.models import Bundle, ModelSpec, create_model, load_bundle, save_bundle
from geotoolbox.prediction import PredictOptions, predict_array
from geotoolbox.prediction.polygons import polygonize
from geotoolbox.sampling import RandomGeoSampler, stack_samples
from geotoolbox.transforms import Augment, BandStatistics, Preprocess, compute_statistics
from tests.make import NORTH_UP, UTM12, ramp, write_raster
from tests.prediction.scenes import Constant, Identity, noise

geopandas = pytest.importorskip("geopandas")


def places(source: tuple[str, Affine], target: GeoBox) -> tuple[np.ndarray, np.ndarray]:
    """The exact row and column (float) in a source of each target pixel's centre."""
    rows, columns = np.mgrid[: target.shape[0], : target.shape[1]] + 0.5
    there = Transformer.from_crs(str(target.crs), source[0], always_xy=True)
    column, row = ~source[1] @ there.transform(*(target.affine @ (columns, rows)))
    return row, column


def vectors(path: Path, shapes: list[object], names: list[str], crs: str = UTM12) -> Path:
    geopandas.GeoDataFrame({"c": names}, geometry=shapes, crs=crs).to_file(path)
    return path


def test_fault_1_and_2_labels_on_another_grid_are_aligned_and_never_blended(tmp_path: Path) -> None:
    """Labels of another grid and CRS were laid over pixel by pixel; class values were interpolated."""
    affine = Affine(0.00031, 0, -113.33, 0, -0.0003, 37.4)
    codes = np.random.default_rng(0).choice([4, 8], (420, 620)).astype("uint8")
    labels = RasterDataset(
        write_raster(tmp_path / "l.tif", codes, crs="EPSG:4326", transform=affine), classes={4: "a", 8: "b"}
    )
    images = RasterDataset(write_raster(tmp_path / "i.tif", ramp(400, 400)), kind="image")
    grid = images.scenes()[0].geobox
    for top, left in ((0, 0), (0, 300), (300, 0), (300, 300)):
        window = grid[top : top + 100, left : left + 100]
        mask = (images & labels).read(Query(window)).mask
        row, column = places(("EPSG:4326", affine), window)
        inside = (row >= 0) & (row < 420) & (column >= 0) & (column < 620)
        truth = codes[np.clip(row, 0, 419).astype(int), np.clip(column, 0, 619).astype(int)]
        assert mask is not None and inside.mean() > 0.5 and set(np.unique(mask)) <= {-100, 0, 1}
        assert np.mean((mask == (truth == 8))[inside]) > 0.9999
        assert (mask[~inside] == -100).all()


def test_fault_3_a_stack_of_two_crss_fits_in_every_corner(tmp_path: Path) -> None:
    """A layer of another CRS was fetched by its box and stretched: up to 12 px off in opposite corners."""
    affine = Affine(0.0003, 0, -113.35, 0, -0.0003, 37.43)
    there = np.mgrid[:700, :900].astype("float32")
    one = write_raster(tmp_path / "utm.tif", ramp(512, 512))
    two = write_raster(
        tmp_path / "deg.tif", there, crs="EPSG:4326", transform=affine, names=("row", "column")
    )
    images = RasterDataset(one, kind="image") & RasterDataset(two)
    grid = images.scenes()[0].geobox
    reading = images.read(Query(grid))
    assert reading.image is not None and reading.image.shape == (3, 512, 512)
    row, column = places(("EPSG:4326", affine), grid)
    inside = (np.minimum(row, column) > 1) & (row < 699) & (column < 899)
    assert inside.mean() > 0.9 and reading.valid[inside].all()
    assert np.abs(reading.image[1] - (row - 0.5))[inside].max() < 0.01
    assert np.abs(reading.image[2] - (column - 0.5))[inside].max() < 0.01


def test_fault_4_polygons_lie_on_the_corners_of_their_pixels(tmp_path: Path) -> None:
    """All vector output was shifted by half a pixel, and came back shifted when burned again."""
    data = np.zeros((12, 15), "uint8")
    data[3:5, 7:10] = 1
    path = write_raster(tmp_path / "m.tif", data, nodata=0)
    polygonize(path, tmp_path / "p.gpkg", classes=ClassTable.from_names({1: "a"}))
    (shape,) = geopandas.read_file(tmp_path / "p.gpkg").geometry
    west, north = NORTH_UP @ (7, 3)
    assert shape.bounds == pytest.approx((west, north - 60, west + 90, north), abs=1e-6)
    grid = GeoBox((12, 15), NORTH_UP, UTM12)
    mask = VectorDataset(tmp_path / "p.gpkg").read(Query(grid)).mask
    assert mask is not None
    np.testing.assert_array_equal(mask == 0, data == 1)


def test_fault_5_what_is_outside_the_area_is_no_hit(tmp_path: Path) -> None:
    """Pixels outside the area and of the null class counted as hits: F1 0.96 for a wholly wrong map."""
    truth = np.zeros((100, 100), "uint8")
    truth[:10, :10] = 1
    mapped = np.full((100, 100), 2, "uint8")
    table = {1: "a", 2: "b"}
    west, north = NORTH_UP @ (0, 0)
    area = Region(box(west, north - 600, west + 600, north), UTM12)
    layers = [
        RasterDataset(write_raster(tmp_path / f"{n}.tif", d, nodata=0), classes=table)
        for n, d in (("m", mapped), ("t", truth))
    ]
    for region in (area, None):
        found = compare_maps(layers[0], layers[1], region=region)
        assert found.confusion.counts.tolist() == [[0, 100], [0, 0]]
        assert found.scores.overall_accuracy == 0.0


def test_fault_7_a_call_leaves_nothing_for_the_next(tmp_path: Path) -> None:
    """A class given in one call was inherited by later calls, and the caller's own dict was emptied."""
    path = write_raster(tmp_path / "l.tif", np.array([[1, 2], [2, 3]], "uint8"))
    given = {1: "a", 2: "b"}
    first = RasterDataset(path, classes=given)
    second = RasterDataset(path, kind="labels")
    assert given == {1: "a", 2: "b"} and first.classes is not None and first.classes.names == ("a", "b")
    assert second.classes is not None and second.classes.values == (1, 2, 3)


def test_fault_8_a_second_question_gets_its_own_answer(tmp_path: Path) -> None:
    """The first answer was kept: later questions for another window or CRS got it again."""
    west, north = NORTH_UP @ (0, 0)
    shapes = [box(west + 30 * i, north - 90 - 30 * i, west + 30 * i + 60, north - 30 * i) for i in (2, 12)]
    labels = VectorDataset(vectors(tmp_path / "a.gpkg", shapes, ["a", "b"]), column="c")
    grid = GeoBox((20, 20), NORTH_UP, UTM12)

    def truth(target: GeoBox) -> np.ndarray:
        row, column = places((UTM12, NORTH_UP), target)
        out = np.full(row.shape, -100)
        for index, i in enumerate((2, 12)):
            out[(column >= i) & (column < i + 2) & (row >= i) & (row < i + 3)] = index
        return out

    degrees = GeoBox((40, 40), Affine(0.0001, 0, -113.2525, 0, -0.0001, 37.3795), "EPSG:4326")
    for target in (grid, grid[10:, 8:], degrees, grid[:8, :8], grid):
        mask = labels.read(Query(target)).mask
        np.testing.assert_array_equal(mask, truth(target))


@pytest.mark.parametrize("kind", ["mean_std", "min_max", "percentile"])
def test_fault_9_a_pixel_is_scaled_alike_in_every_patch(kind: str) -> None:
    """The range was that of each chip: one pixel in two chips differed, and a constant chip divided by zero."""
    five, ten = (5.0,), (10.0,)
    statistics = BandStatistics(("red",), ten, five, (0.0,), (90.0,), (1.0,), (80.0,), (10,))
    prepare = Preprocess(("red",), (), statistics, kind)  # type: ignore[arg-type]
    image = torch.rand(1, 1, 40, 40) * 90
    image[..., 20:, 20:] = 7.0
    valid = torch.ones(1, 40, 40, dtype=torch.bool)
    whole = prepare(image, valid)
    for rows, columns in (
        (slice(0, 16), slice(8, 24)),
        (slice(8, 24), slice(0, 16)),
        (slice(24, 40), slice(24, 40)),
    ):
        part = prepare(image[..., rows, columns], valid[:, rows, columns])
        assert torch.isfinite(part).all() and torch.equal(part, whole[..., rows, columns])


def test_fault_10_windows_that_are_not_square_stay_so(tmp_path: Path) -> None:
    """Cropping a chip that is not square swapped its axes: (8, 6) where (6, 16) was right."""
    data = ramp(30, 60) + 1
    dataset = RasterDataset(write_raster(tmp_path / "a.tif", data), kind="image")
    for query in RandomGeoSampler(dataset, (6, 16), 20, seed=0):
        found = dataset[query]
        move = ~NORTH_UP @ query.geobox.affine
        row, column = round(move.f), round(move.c)
        np.testing.assert_array_equal(found["image"][0].numpy(), data[row : row + 6, column : column + 16])
    batch = stack_samples([dataset[q] for q in RandomGeoSampler(dataset, (6, 16), 4, seed=0)])
    assert Augment(seed=0)(batch)["image"].shape == (4, 1, 6, 16)


def test_fault_12_pixel_values_are_written_without_wrapping(tmp_path: Path) -> None:
    """Chips of three bands were cut to a byte: 9000 became 40; their names told nothing of their place."""
    data = np.stack([np.full((16, 16), v, "uint16") for v in (9000, 300, 65_000)])
    write_raster(tmp_path / "rgb.tif", data, names=("r", "g", "b"))
    sample.run(
        sample.Spec(
            images=(str(tmp_path / "rgb.tif"),), output=str(tmp_path / "chips"), size_px=8, method="grid"
        )
    )
    chips = sorted((tmp_path / "chips" / "images").glob("*.tif"))
    corners = set()
    for chip in chips:
        with rasterio.open(chip) as raster:
            assert [np.unique(b).tolist() for b in raster.read()] == [[9000], [300], [65_000]]
            assert raster.crs == rasterio.CRS.from_string(UTM12)
            corners.add(tuple(round(v) for v in ~NORTH_UP @ (raster.transform.c, raster.transform.f)))
    assert corners == {(0, 0), (0, 8), (8, 0), (8, 8)}


def test_fault_13_patches_have_no_black_margin(tmp_path: Path) -> None:
    """By default a third of the random chips had a black margin, the worst of two thirds."""
    dataset = RasterDataset(write_raster(tmp_path / "a.tif", ramp(60, 70) + 1), kind="image")
    batch = stack_samples([dataset[q] for q in RandomGeoSampler(dataset, 24, 200, seed=0)])
    assert batch["valid"].all() and (batch["image"] > 0).all()


def test_fault_15_text_from_settings_is_never_run(tmp_path: Path) -> None:
    """Filters in settings were compiled and run as Python."""
    west, north = NORTH_UP @ (0, 0)
    path = vectors(tmp_path / "a.gpkg", [box(west, north - 30, west + 30, north)], ["a"])
    touched = tmp_path / "ran"
    with pytest.raises(GeoToolboxError):
        VectorDataset(path, column="c", where=f"__import__('pathlib').Path('{touched}').touch() or True")
    statistics = BandStatistics(("red",), (0.0,), (1.0,), (0.0,), (1.0,), (0.0,), (1.0,), (1,))
    with pytest.raises(GeoToolboxError):
        Preprocess(("red",), (f"x = __import__('pathlib').Path('{touched}').touch()",), statistics)
    assert not touched.exists()


@pytest.mark.parametrize("shape", [(1, 500), (500, 1), (7, 9)])
def test_fault_16_statistics_of_thin_scenes_and_of_every_pixel(
    tmp_path: Path, shape: tuple[int, int]
) -> None:
    """Statistics crashed on scenes narrower than a chip, and when every pixel was asked for."""
    data = ramp(*shape) + 1
    dataset = RasterDataset(write_raster(tmp_path / "a.tif", data), kind="image")
    for limit in (None, 20_000_000):
        found = compute_statistics(dataset, max_pixels=limit)
        assert found.count == (data.size,)
        assert found.mean[0] == pytest.approx(data.mean()) and found.std[0] == pytest.approx(data.std())


def test_fault_17_statistics_need_no_statistics_and_no_list_of_bands(tmp_path: Path) -> None:
    """Counting the channels needed the file of statistics that was about to be computed."""
    data = np.stack([ramp(20, 20) + i for i in range(3)])
    dataset = RasterDataset(write_raster(tmp_path / "a.tif", data, names=("x", "y", "z")))
    found = compute_statistics(dataset)
    assert found.names == ("x", "y", "z") and found.mean == pytest.approx(tuple(data.mean(axis=(1, 2))))
    assert Preprocess(("x", "y", "z"), (), found).out_channels == 3


def test_fault_18_a_model_is_saved_without_any_exporter(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Training ended in an error of an optional export, after hours of work."""
    for name in ("onnx", "onnxscript", "onnxruntime"):
        monkeypatch.setitem(sys.modules, name, None)
    spec = ModelSpec("small", in_channels=1, num_classes=2, width=8)
    module = create_model(spec).eval()
    table = ClassTable.from_names(["a", "b"])
    path = save_bundle(
        tmp_path / "m.gtb",
        Bundle(spec=spec, state=module.state_dict(), bands=(Band("red"),), classes=table, tile_px=32),
    )
    image = torch.rand(1, 1, 32, 32)
    with torch.no_grad():
        assert torch.equal(load_bundle(path).module()(image), module(image))


@pytest.mark.parametrize(
    ("tile", "stride", "crop"), [(256, 192, 32), (512, 384, 64), (256, 256, 0), (300, 150, 75)]
)
def test_fault_19_no_strip_at_the_edges_is_left_out(tile: int, stride: int, crop: int) -> None:
    """With cropped tiles the last columns and rows of some sizes were never answered."""
    options = PredictOptions(threads=1, tile_px=tile, overlap_px=tile - stride, halo_px=crop)
    dataset = noise(2, 1128, 1428)
    constant, valid, _ = predict_array(dataset, Constant(), options=options)
    assert valid.all() and np.abs(constant[0] - 0.7).max() < 1e-6
    same, _, _ = predict_array(dataset, Identity(), options=options)
    assert np.abs(same - dataset.image).max() < 1e-6


def test_nodata_and_true_zeros_are_told_apart(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Where there was no data became 0, and nothing told it from a true 0."""
    data = np.array([[0, 5, 255], [255, 0, 9]], "uint8")
    with caplog.at_level(logging.WARNING):
        found = RasterDataset(write_raster(tmp_path / "a.tif", data, nodata=255), kind="image")[:, :]
    assert found["image"][0].tolist() == [[0, 5, 0], [0, 0, 9]]
    assert found["valid"].tolist() == [[True, True, False], [False, True, True]]


def test_labels_keep_their_vertices_between_pixel_corners(tmp_path: Path) -> None:
    """Every vertex of a label was moved to a whole pixel, and a class above 255 became 255."""
    west, north = NORTH_UP @ (0, 0)
    # 0.4 px too far east to hold the centres of column 3, and reaching those of column 6.
    shape = box(west + 3.6 * 30, north - 4.4 * 30, west + 6.6 * 30, north - 1.6 * 30)
    path = tmp_path / "a.gpkg"
    geopandas.GeoDataFrame({"c": [300]}, geometry=[shape], crs=UTM12).to_file(path)
    labels = VectorDataset(path, column="c")
    mask = labels.read(Query(GeoBox((8, 10), NORTH_UP, UTM12))).mask
    expected = np.full((8, 10), -100)
    expected[2:4, 4:7] = 0
    np.testing.assert_array_equal(mask, expected)
    assert labels.classes.values == (300,)


def test_an_epoch_is_as_long_as_it_says(tmp_path: Path) -> None:
    """Where a window did not fit the area, the epoch ended early without a word."""
    west, north = NORTH_UP @ (0, 0)
    dataset = RasterDataset(write_raster(tmp_path / "a.tif", ramp(60, 60)), kind="image")
    sliver = box(west + 900, north - 1800, west + 903, north)
    for roi in (sliver, None):
        sampler = RandomGeoSampler(dataset, 16, 57, roi=roi, seed=0)
        assert len(list(sampler)) == len(sampler) == 57
        assert len(list(sampler)) == 57
