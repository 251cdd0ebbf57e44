"""The tiling and its weights."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from geotoolbox.errors import BadInput
from geotoolbox.prediction.blending import FLOOR, taper, weights
from geotoolbox.prediction.lattice import Lattice, Window, reflect


@st.composite
def lattices(draw: st.DrawFn) -> Lattice:
    tile = draw(st.integers(2, 70))
    overlap = draw(st.integers(0, tile // 2))
    return Lattice(tile, overlap, draw(st.integers(0, overlap // 2)))


@settings(max_examples=25, deadline=None)
@given(lattices(), st.integers(-300, 300), st.integers(1, 400))
def test_every_pixel_is_kept_by_one_or_two_tiles_and_only_those_are_listed(
    lattice: Lattice, start: int, length: int
) -> None:
    stop = start + length
    listed = lattice.tiles(start, stop)
    for k in range(listed.start - 2, listed.stop + 2):
        low, high = lattice.kept(k)
        assert (k in listed) == (low < stop and high > start)
    hits = np.zeros(length)
    for k in listed:
        low, high = (min(max(edge - start, 0), length) for edge in lattice.kept(k))
        hits[low:high] += 1
    assert set(hits) <= {1.0, 2.0}


@settings(max_examples=25, deadline=None)
@given(lattices())
def test_tapers_of_neighbours_add_up_to_one(lattice: Lattice) -> None:
    total = np.zeros(6 * lattice.tile_px)
    for k in range(-1, 14):
        low, high = lattice.kept(k)
        for x, w in zip(range(low, high), taper(lattice), strict=True):
            if 0 <= x < len(total):
                total[x] += w
    assert np.allclose(total[lattice.tile_px : 4 * lattice.tile_px], 1)
    assert float(weights(lattice).min()) >= np.float32(FLOOR)


@pytest.mark.parametrize("size", [1, 2, 3, 7])
def test_reflection_equals_numpys(size: int) -> None:
    expected = np.pad(np.arange(size), 20, mode="reflect")
    assert reflect(-20, size + 20, size).tolist() == expected.tolist()


@pytest.mark.parametrize(("tile", "overlap", "halo"), [(32, 17, 0), (32, 8, 5), (32, 8, -1), (0, 0, 0)])
def test_what_does_not_fit_is_refused(tile: int, overlap: int, halo: int) -> None:
    with pytest.raises(BadInput, match="do not fit together"):
        Lattice(tile, overlap, halo)


def test_blocks_partition_the_area() -> None:
    area = Window(5, 103, 17, 64)
    seen = np.zeros((110, 70), int)
    for row, column, window in Lattice(16, 4, 1).blocks(area, 24):
        assert window.top // 24 == row and window.left // 24 == column
        seen[window.top : window.bottom, window.left : window.right] += 1
    assert seen.sum() == area.pixels and seen[5:103, 17:64].min() == 1
    assert not list(Lattice(16, 4, 1).blocks(Window(3, 3, 0, 9), 24))
