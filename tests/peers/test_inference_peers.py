"""What a constant model shows of other tools for whole scenes, and what their users ran into: not here."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import rasterio
import torch
from affine import Affine
from torch import Tensor

from geotoolbox.core.classes import ClassTable
from geotoolbox.prediction import PredictOptions, plan_scene, predict_array, predict_scene
from geotoolbox.prediction.lattice import Window
from geotoolbox.prediction.reading import window_geobox
from tests.prediction.scenes import ArrayDataset, Constant, Context, Filter, Identity, Model, noise

ONE = PredictOptions(threads=1, batch_size=2)


def tiles(tile: int, overlap: int, halo: int = 0) -> PredictOptions:
    return PredictOptions(threads=1, batch_size=2, tile_px=tile, overlap_px=overlap, halo_px=halo)


@pytest.mark.parametrize(
    ("height", "width", "options"),
    [
        (500, 500, tiles(224, 32, 8)),  # the peers' own scene
        (448, 448, tiles(224, 0)),  # crop = stride: an empty answer
        (100, 100, tiles(224, 32, 8)),  # smaller than the crop: an error
        (209, 300, tiles(224, 32, 8)),  # "some pixels did not receive a classification"
        (225, 225, tiles(224, 0)),  # the same, without padding
        (226, 226, tiles(224, 0)),
        (500, 500, tiles(256, 128, 0)),  # linear, cosine and spline windows: nodata or 0.000009 at borders
    ],
)
def test_a_constant_model_answers_its_constant_in_every_pixel(
    height: int, width: int, options: PredictOptions
) -> None:
    """Scenes that failed, came out empty, or had borders and corners of another value or nodata."""
    out, valid, _ = predict_array(noise(2, height, width), Constant(), options=options)
    assert out.shape == (2, height, width) and valid.all()
    assert np.abs(out[0] - 0.7).max() < 1e-6


def test_one_nan_pixel_spoils_itself_only_even_with_global_context() -> None:
    """One NaN pixel made 17 % of a scene NaN with a model of global context."""
    dataset = noise(2, 500, 500)
    dataset.image[0, 250, 250] = np.nan
    out, valid, _ = predict_array(dataset, Context(tile_px=224, halo_px=8), options=ONE)
    assert np.isfinite(out).all() and np.argwhere(~valid).tolist() == [[250, 250]]
    clean, _, _ = predict_array(noise(2, 500, 500), Context(tile_px=224, halo_px=8), options=ONE)
    assert np.abs(out - clean)[:, valid].max() < 1e-3


def test_blending_has_no_cliff_at_the_edges_of_tiles() -> None:
    """Each pixel from one crop alone: steps along the edges of chips, even where the overlap was large."""
    dataset, model = noise(2, 200, 200), Context(tile_px=64, halo_px=0)
    dataset.image[:] = np.linspace(0, 1, 200, dtype=np.float32)[None, None]
    steps = {}
    for overlap in (0, 32):
        out, _, _ = predict_array(dataset, model, options=tiles(64, overlap))
        steps[overlap] = np.abs(np.diff(out[0], axis=1)).max()
    assert steps[0] > 0.05 and steps[32] < steps[0] / 5


def test_the_corners_and_the_rows_at_the_top_and_right_are_like_the_middle() -> None:
    """Artefacts in the first row and the last column of a scene."""
    dataset, model = (
        ArrayDataset(np.full((2, 133, 141), 0.4, np.float32), np.ones((133, 141), bool)),
        Filter(),
    )
    out, _, _ = predict_array(dataset, model, options=ONE)
    # Zeros that the network itself pads with reach 3 px into a tile; the halo of 4 px discards them.
    assert np.ptp(out[0]) < 1e-6


@pytest.mark.parametrize(("height", "width"), [(40, 300), (300, 40), (1, 130), (67, 129)])
def test_scenes_that_are_not_square_are_wholly_answered(height: int, width: int, tmp_path: Path) -> None:
    """A scene that is not square came out partly blocked."""
    dataset = noise(2, height, width)
    predict_scene(dataset, Identity(), tmp_path / "m.tif", options=ONE)
    with rasterio.open(tmp_path / "m.tif") as raster:
        np.testing.assert_array_equal(raster.read(1), np.array([10, 20])[dataset.image.argmax(0)])


def test_the_answer_does_not_depend_on_the_extent_or_on_bright_neighbours() -> None:
    """The same pixel answered otherwise with another extent; the scale was guessed from each tile's maximum."""
    dataset = noise(2, 160, 160)
    dataset.image[:, 100:, 100:] *= 9000
    whole, _, grid = predict_array(dataset, Identity(), options=ONE)
    assert np.abs(whole / dataset.image - 1).max() < 1e-5
    context, _, _ = predict_array(dataset, Context(), options=ONE)
    window = Window(31, 120, 17, 133)
    part, _, _ = predict_array(dataset, Context(), geobox=window_geobox(grid, window), options=ONE)
    assert part.tobytes() == np.ascontiguousarray(context[:, 31:120, 17:133]).tobytes()


def test_the_map_lies_where_the_scene_lies(tmp_path: Path) -> None:
    """The place of the patches was lost when they were put together again."""
    dataset = noise(2, 70, 90)
    predict_scene(dataset, Identity(), tmp_path / "m.tif", options=ONE)
    with rasterio.open(tmp_path / "m.tif") as raster:
        assert (raster.shape, raster.transform, raster.crs.to_epsg()) == ((70, 90), dataset.transform, 32633)


def test_a_scene_400000_px_wide_is_planned_in_bounded_memory() -> None:
    """Buffers of the whole scene, whatever the window: killed, or judged too large, at 400,000 px."""

    class Wide(ArrayDataset):
        @property
        def geobox(self):  # type: ignore[no-untyped-def]
            from odc.geo.geobox import GeoBox

            return GeoBox((400_000, 400_000), Affine(1, 0, 300_000, 0, -1, 5_400_000), self.crs)

    dataset = Wide(np.zeros((4, 1, 1), np.float32), np.ones((1, 1), bool))
    plan = plan_scene(dataset, Identity(channels=4, num_classes=4, tile_px=256, halo_px=16), options=ONE)
    assert plan.area == (0, 400_000, 0, 400_000)
    assert plan.memory_bytes < 1_500_000_000
    # and a small part of it is asked for as a small part
    small = predict_array(
        dataset, Constant(channels=4, num_classes=4, tile_px=256, halo_px=16),
        geobox=dataset.geobox[300_000:300_010, 399_980:400_000], options=ONE,
    )  # fmt: skip
    assert small[0].shape == (4, 10, 20)
    assert sum((r[1] - r[0]) * (r[3] - r[2]) for r in dataset.reads) < 2_000_000


def test_class_values_beyond_a_byte_are_written_whole(tmp_path: Path) -> None:
    """Labels above 255 were cut to a byte."""

    class Coded(Identity):
        @property
        def classes(self) -> ClassTable:
            return ClassTable.from_names({256: "a", 1000: "b"})

    dataset = noise(2, 40, 40)
    predict_scene(dataset, Coded(), tmp_path / "m.tif", options=ONE)
    with rasterio.open(tmp_path / "m.tif") as raster:
        np.testing.assert_array_equal(raster.read(1), np.array([256, 1000])[dataset.image.argmax(0)])


def test_many_answers_to_one_pixel_add_up_exactly() -> None:
    """Scores were added in half precision and counted in bytes: 64 answers drifted, 256 overflowed."""

    class Odd(Model):
        def __call__(self, image: Tensor, valid: Tensor) -> Tensor:
            n, _, h, w = image.shape
            return torch.tensor([0.30003, 0.69997]).reshape(1, 2, 1, 1).expand(n, 2, h, w)

    options = PredictOptions(threads=1, tile_px=16, overlap_px=8, halo_px=0, tta=True)
    out, valid, _ = predict_array(noise(2, 40, 40), Odd(), options=options)
    assert valid.all() and np.abs(out[0] - 0.30003).max() < 1e-6
