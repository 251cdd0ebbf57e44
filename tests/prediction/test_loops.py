"""The compiled loops of prediction give what NumPy gives, bit for bit."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from geotoolbox.prediction.blending import Strip, StripAccumulator, weights
from geotoolbox.prediction.lattice import Lattice, Window
from geotoolbox.prediction.loops import all_finite, best_classes, channels_last
from geotoolbox.prediction.seams import REACH_PX, SAMPLE, SeamMeter

LATTICE = Lattice(tile_px=64, overlap_px=16, halo_px=4)
BLOCK = Window(0, 2 * 48, 0, 3 * 48)


def strips(classes: int, seed: int = 0) -> tuple[list[Strip], np.ndarray, np.ndarray]:
    """Blend random tiles; return the strips, and sums and weights made with NumPy in the same order."""
    random, found = np.random.default_rng(seed), list[Strip]()
    side = LATTICE.tile_px - 2 * LATTICE.halo_px
    room = Window(-side, BLOCK.bottom + side, -side, BLOCK.right + side)
    sums, weight = np.zeros((classes, *room.shape), np.float32), np.zeros(room.shape, np.float32)
    keep = slice(LATTICE.halo_px, LATTICE.halo_px + side)

    def take(strip: Strip) -> None:  # the sums are used again
        found.append(Strip(strip.window, strip.sums.clone(), strip.weight, strip.valid, strip.failed))

    blend = StripAccumulator(LATTICE, BLOCK, classes, take)
    for row in LATTICE.tiles(BLOCK.top, BLOCK.bottom):
        for column in LATTICE.tiles(BLOCK.left, BLOCK.right):
            answer = random.random((classes, 64, 64), dtype=np.float32)
            assert blend.add(row, column, torch.from_numpy(answer), np.ones((64, 64), bool))
            at = LATTICE.kept_window(row, column).within(room)
            product = answer[:, keep, keep] * weights(LATTICE).numpy()
            sums[(slice(None), *at)] += product
            weight[at] += weights(LATTICE).numpy()
    blend.finish()
    inside = BLOCK.within(room)
    return found, sums[(slice(None), *inside)], weight[inside]


@pytest.mark.parametrize("classes", [1, 2, 7, 33])
def test_blending_rounds_as_numpy_does(classes: int) -> None:
    found, sums, weight = strips(classes)
    np.testing.assert_array_equal(torch.cat([s.sums for s in found], 1).numpy(), sums)
    np.testing.assert_array_equal(torch.cat([s.weight for s in found]).numpy(), weight)
    assert all(s.valid.all() for s in found)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_a_tile_that_is_not_finite_adds_nothing(bad: float) -> None:
    found = list[Strip]()
    blend = StripAccumulator(LATTICE, Window(0, 48, 0, 48), 2, found.append)
    answer = torch.ones(2, 64, 64)
    answer[1, 63, 63] = bad
    assert not all_finite(answer.numpy().reshape(-1)) and all_finite(answer.numpy().reshape(-1)[:-1])
    assert not blend.add(0, 0, answer, np.ones((64, 64), bool))
    blend.finish()
    assert not found[0].sums.any() and not found[0].valid.any()


def test_the_first_of_equal_classes_wins_and_only_valid_pixels_count() -> None:
    sums = np.random.default_rng(1).integers(0, 4, (20, 5, 30)).astype(np.float32)
    valid = np.random.default_rng(2).random((20, 30)) > 0.3
    values, plane = np.array([3, 9, 4, 250, 7], np.uint8), np.full((20, 30), 255, np.uint8)
    counts = np.zeros((20, 5), np.int64)
    best_classes(sums, valid, values, plane, counts)
    best = sums.argmax(axis=1)
    np.testing.assert_array_equal(plane, np.where(valid, values[best], 255))
    for number in range(5):
        np.testing.assert_array_equal(counts[:, number], ((best == number) & valid).sum(axis=1))


def test_channels_lie_side_by_side_and_what_is_no_number_is_no_data() -> None:
    image = np.random.default_rng(3).random((3, 20, 30), dtype=np.float32)
    image[0, 4, 5], image[2, 6, 7], image[1, 8, 9] = np.nan, np.inf, np.nan
    valid = np.ones((20, 30), bool)
    valid[8:12, 9] = False
    out, good = np.empty((20, 30, 3), np.float32), np.empty((20, 30), bool)
    assert channels_last(image, valid, out, good) == 2  # the third was not valid before
    expected = valid & np.isfinite(image).all(axis=0)
    np.testing.assert_array_equal(good, expected)
    np.testing.assert_array_equal(out.transpose(2, 0, 1), np.where(expected, image, np.float32(0)))


def test_steps_at_edges_are_those_of_numpy() -> None:
    found, sums, weight = strips(5)
    valid, meter = np.random.default_rng(4).random(BLOCK.shape) > 0.02, SeamMeter(LATTICE)
    for strip in found:
        rows = slice(strip.window.top, strip.window.bottom)
        meter.add(Strip(strip.window, strip.sums, strip.weight, valid[rows], strip.failed))
    shares = sums / weight
    expected = np.zeros_like(meter.sums)
    for axis in (2, 1):
        size = BLOCK.right if axis == 2 else BLOCK.bottom
        step = np.abs(np.diff(shares, axis=axis)).mean(0, dtype=np.float64)
        both = valid[:, 1:] & valid[:, :-1] if axis == 2 else valid[1:] & valid[:-1]
        looked = (
            (slice(None, None, SAMPLE), slice(None))
            if axis == 2
            else (slice(None), slice(None, None, SAMPLE))
        )
        totals, counts = (np.where(both, step, 0)[looked].sum(axis=2 - axis), both[looked].sum(axis=2 - axis))
        # Rows come strip by strip, and what is in reach of an edge is looked for within a strip.
        cuts = [(0, size)] if axis == 2 else [(s.window.top, s.window.bottom) for s in found]
        for begin, end in cuts:
            pairs = np.arange(max(begin, 1), end) - 1
            edges = LATTICE.is_seam(0, size)[pairs + 1]
            for offset in range(-REACH_PX, REACH_PX + 1):
                where = np.flatnonzero(edges) + offset
                where = where[(where >= 0) & (where < len(edges))]
                where = where if offset == 0 else where[~edges[where]]
                expected[:, offset + REACH_PX] += totals[pairs[where]].sum(), counts[pairs[where]].sum()
    np.testing.assert_allclose(meter.sums, expected, rtol=1e-12)
