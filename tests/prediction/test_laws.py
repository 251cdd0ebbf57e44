"""The laws of prediction: constant, identity, invariance of extent, block and batch; the golden cases."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from geotoolbox.core.query import Region
from geotoolbox.prediction import PredictOptions, predict_array
from geotoolbox.prediction.forward import Forward
from geotoolbox.prediction.lattice import Window
from geotoolbox.prediction.reading import TileData, window_geobox
from tests.prediction.scenes import ArrayDataset, Constant, Context, Filter, Identity, Model, noise

ONE = PredictOptions(threads=1, batch_size=3)


def whole_image(dataset: ArrayDataset, model: Filter, pad: int = 8) -> NDArray[np.float32]:
    """The filter applied to the whole scene at once, reflected beyond its border."""
    padded = np.pad(dataset.image, ((0, 0), (pad, pad), (pad, pad)), mode="reflect")
    out = model(torch.from_numpy(padded)[None], torch.ones(1, *padded.shape[1:], dtype=torch.bool))
    return out[0, :, pad:-pad, pad:-pad].numpy()


sizes = st.one_of(st.integers(1, 70), st.sampled_from([1, 31, 32, 33, 37, 61, 64]))


@settings(max_examples=20, deadline=None)
@given(sizes, sizes, st.sampled_from([(None, None), (0, 0), (8, 0), (16, 8), (12, 3)]))
@example(1, 1, (None, None))
@example(1, 67, (0, 0))
@example(67, 1, (16, 8))
@example(32, 33, (0, 0))  # a tile whose reflection covers as many columns as it has
def test_law_1_and_2_constant_and_identity_for_any_size(
    height: int, width: int, overlaps: tuple[int | None, int | None]
) -> None:
    dataset = noise(2, height, width, seed=height * 100 + width)
    options = replace(ONE, overlap_px=overlaps[0], halo_px=overlaps[1])
    constant, valid, grid = predict_array(dataset, Constant(), options=options)
    assert valid.all() and grid == dataset.geobox
    assert np.abs(constant[0] - 0.7).max() < 1e-6 and np.abs(constant[1] - 0.3).max() < 1e-6
    identity, _, _ = predict_array(dataset, Identity(), options=options)
    assert np.abs(identity - dataset.image).max() < 1e-6


def test_coordinates_come_out_where_they_went_in() -> None:
    rows, columns = np.mgrid[0:77, 0:133].astype(np.float32)
    dataset = ArrayDataset(np.stack([columns, rows]), np.ones((77, 133), bool))
    out, _, _ = predict_array(dataset, Identity(), options=ONE)
    assert np.abs(out - dataset.image).max() < 1e-4


@pytest.mark.parametrize(("overlap", "halo"), [(6, 3), (16, 8), (16, 3)])
def test_a_halo_of_the_receptive_field_makes_the_result_that_of_the_whole_image(
    overlap: int, halo: int
) -> None:
    dataset, model = noise(2, 101, 83), Filter()
    out, _, _ = predict_array(dataset, model, options=replace(ONE, overlap_px=overlap, halo_px=halo))
    assert np.abs(out - whole_image(dataset, model)).max() < 1e-6


def test_without_halo_the_same_net_is_not_exact() -> None:
    dataset, model = noise(2, 101, 83), Filter()
    out, _, _ = predict_array(dataset, model, options=replace(ONE, overlap_px=0, halo_px=0))
    assert np.abs(out - whole_image(dataset, model)).max() > 1e-2


@settings(max_examples=15, deadline=None)
@given(st.data())
def test_law_3_an_area_predicts_to_the_bits_of_the_whole(data: st.DataObject) -> None:
    dataset, model = noise(2, 97, 113), Context()
    dataset.valid[20:40, 30:75] = False
    whole, valid, grid = predict_array(dataset, model, options=ONE)
    top, left = data.draw(st.integers(0, 90)), data.draw(st.integers(0, 100))
    window = Window(top, data.draw(st.integers(top + 1, 97)), left, data.draw(st.integers(left + 1, 113)))
    part, part_valid, _ = predict_array(dataset, model, geobox=window_geobox(grid, window), options=ONE)
    at = slice(window.top, window.bottom), slice(window.left, window.right)
    assert np.array_equal(part_valid, valid[at])
    assert part.tobytes() == np.ascontiguousarray(whole[(slice(None), *at)]).tobytes()


@pytest.mark.parametrize("block_px", [1, 30, 70, 500])
@pytest.mark.parametrize("kind", [Filter, Context])
def test_block_size_never_changes_a_bit(block_px: int, kind: type[Model]) -> None:
    dataset = noise(2, 97, 113)
    dataset.valid[:30, 50:] = False
    first, _, _ = predict_array(dataset, kind(), options=replace(ONE, block_px=48))
    second, _, _ = predict_array(dataset, kind(), options=replace(ONE, block_px=block_px))
    assert first.tobytes() == second.tobytes()


def test_neighbours_in_the_batch_never_change_a_bit() -> None:
    rng = np.random.default_rng(5)
    tiles = [TileData(rng.random((2, 32, 32), dtype=np.float32), np.ones((32, 32), bool)) for _ in range(5)]
    forward = Forward(Filter(), 2, 32, 4)
    alone = [forward([tile])[0] for tile in tiles]
    together = [*forward(tiles[:4]), *forward(tiles[4:])]
    swapped = forward([tiles[3], tiles[1], tiles[0]])
    assert all(torch.equal(a, b) for a, b in zip(alone, together, strict=True))
    assert torch.equal(swapped[0], alone[3]) and torch.equal(swapped[2], alone[0])


def test_a_region_masks_by_pixel_centre_and_changes_nothing_inside() -> None:
    from shapely.geometry import Point

    dataset, model = noise(2, 90, 90), Context()
    whole, _, grid = predict_array(dataset, model, options=ONE)
    disc = Point(500_450.0, 4_999_500.0).buffer(300.0, 64)
    part, valid, box = predict_array(dataset, model, region=Region(disc, dataset.crs), options=ONE)
    offset = ~grid.affine * box.affine
    at = (
        slice(round(offset.f), round(offset.f) + valid.shape[0]),
        slice(round(offset.c), round(offset.c) + valid.shape[1]),
    )
    same = np.where(valid, part, 0) == np.where(valid, whole[(slice(None), *at)], 0)
    assert same.all()


@pytest.mark.parametrize("fill", [np.nan, np.inf])
def test_r19_a_nan_pixel_is_nodata_and_reaches_no_other(fill: float) -> None:
    dataset = noise(2, 80, 80)
    clean, _, _ = predict_array(dataset, Filter(), options=ONE)
    dataset.image[1, 40, 41] = fill
    out, valid, _ = predict_array(dataset, Filter(), options=ONE)
    assert not valid[40, 41] and valid.sum() == 80 * 80 - 1
    changed = np.argwhere((out != clean).any(axis=0))
    assert np.isfinite(out).all() and np.abs(changed - [40, 41]).max() <= Filter.radius


def test_tta_makes_the_result_follow_flips_of_the_scene() -> None:
    dataset = noise(2, 22, 22)
    options = replace(ONE, tta=True, overlap_px=0, halo_px=0, tile_px=22)
    out, _, _ = predict_array(dataset, Filter(), options=options)
    turned = ArrayDataset(np.rot90(dataset.image, 1, (1, 2)).copy(), dataset.valid)
    again, _, _ = predict_array(turned, Filter(), options=options)
    assert np.abs(np.rot90(out, 1, (1, 2)) - again).max() < 1e-6


def test_each_pixel_is_asked_for_once_in_a_block() -> None:
    dataset = noise(2, 1100, 1300)
    model = Constant(tile_px=512, halo_px=16)
    predict_array(dataset, model, options=ONE)
    asked = sum((r[1] - r[0]) * (r[3] - r[2]) for r in dataset.reads)
    assert asked <= 1.6 * 1100 * 1300  # once, and again for what the border reflects
    assert len(set(dataset.reads)) > 0
