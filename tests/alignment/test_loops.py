"""The inner loops of resampling against NumPy that is written for nothing but to be right."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from geotoolbox.alignment.kernels import TIE_PX, bilinear, nearest
from geotoolbox.alignment.loops import reach, spread

H, W = 9, 11


def _case(seed: int, masks: int, separable: bool, spoilt: bool) -> tuple:
    """A window at (50, 70) of a source, places in and around it, and what is valid."""
    rng = np.random.default_rng(seed)
    data = rng.integers(1, 1000, (3, 13, 17)).astype("float32")
    valid = None if masks == 0 else rng.random((masks, 13, 17)) < 0.7
    if valid is not None:
        data *= valid
    u, v = rng.uniform(48, 70, (1 if separable else H, W)), rng.uniform(68, 85, (H, 1 if separable else W))
    u.flat[3], v.flat[5] = 55.0 - 1e-9, 71.5  # the line between two pixels, and the middle of one
    if spoilt:
        u.flat[1], v.flat[2] = np.nan, np.inf
    return data, valid, u, v


def _truth(data: np.ndarray, valid: np.ndarray | None, u: np.ndarray, v: np.ndarray, linear: bool) -> tuple:
    """Pixel by pixel, from the definition."""
    bands, rows, cols = data.shape
    fine = np.ones((1, rows, cols), bool) if valid is None else valid
    out, good = np.zeros((bands, H, W)), np.zeros((len(fine), H, W), bool)
    across, down = np.broadcast_arrays(u - 50, v - 70)
    for i, j in np.ndindex(H, W):
        x, y = across[i, j], down[i, j]
        if not (np.isfinite(x) and np.isfinite(y)):
            continue
        own_x, own_y = int(np.floor(x + TIE_PX)), int(np.floor(y + TIE_PX))
        if not (0 <= own_x < cols and 0 <= own_y < rows):
            continue
        good[:, i, j] = fine[:, own_y, own_x]
        for band in range(bands):
            mask = fine[min(band, len(fine) - 1)]
            if not mask[own_y, own_x]:
                continue
            if not linear:
                out[band, i, j] = data[band, own_y, own_x]
                continue
            total = weight = 0.0
            left, upper = int(np.floor(x - 0.5)), int(np.floor(y - 0.5))
            for r in (upper, upper + 1):
                for c in (left, left + 1):
                    share = (1 - abs(x - 0.5 - c)) * (1 - abs(y - 0.5 - r))
                    place = min(max(r, 0), rows - 1), min(max(c, 0), cols - 1)
                    total += share * data[band][place] * mask[place]
                    weight += share * mask[place]
            out[band, i, j] = total / weight
    return out, good


@pytest.mark.parametrize("linear", [False, True])
@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    masks=st.sampled_from([0, 1, 3]),
    separable=st.booleans(),
    spoilt=st.booleans(),
)
def test_every_value_is_that_of_the_definition(
    linear: bool, seed: int, masks: int, separable: bool, spoilt: bool
) -> None:
    data, valid, u, v = _case(seed, masks, separable, spoilt)
    values, good = (bilinear if linear else nearest)(data, valid, u, v, (50, 70))
    truth, here = _truth(data, valid, u, v, linear)
    np.testing.assert_array_equal(here if good is None else good, here)
    assert good is not None or here.all()
    if linear:
        np.testing.assert_allclose(values, truth, rtol=2e-5, atol=1e-3)
    else:
        np.testing.assert_array_equal(values, truth)


@pytest.mark.parametrize("kernel", [nearest, bilinear])
def test_a_row_inside_and_a_row_at_the_edge_get_equal_bits(kernel) -> None:  # type: ignore[no-untyped-def]
    """The quick way of rows that lie wholly inside gives what the careful way gives for the same places."""
    rng = np.random.default_rng(1)
    data = rng.normal(size=(2, 40, 40)).astype("float32")
    u, v = rng.uniform(2, 38, (6, 50)), rng.uniform(2, 38, (6, 50))
    quick, none = kernel(data, None, u, v)
    assert none is None
    beyond_u, beyond_v = np.hstack([u, np.full((6, 1), -5.0)]), np.hstack([v, np.full((6, 1), 3.0)])
    careful, good = kernel(data, None, beyond_u, beyond_v)
    assert good is not None and good[0, :, :-1].all() and not good[0, :, -1].any()
    np.testing.assert_array_equal(careful[:, :, :-1], quick)
    masked, good = kernel(data, np.ones((2, 40, 40), bool), u, v)
    assert good is None
    np.testing.assert_array_equal(masked, quick)


@pytest.mark.parametrize("dtype", ["uint8", "int16", "uint32", "int64", "float64"])
def test_nearest_keeps_every_type(dtype: str) -> None:
    data = np.arange(12, dtype=dtype).reshape(1, 3, 4)
    values, good = nearest(data, None, np.array([[3.5, 0.0, 9.0]]), np.array([[2.9], [0.1]]))
    assert values.dtype == data.dtype and good is not None
    assert values[0].tolist() == [[11, 8, 0], [3, 0, 0]]
    assert good[0].tolist() == [[True, True, False]] * 2


@given(
    step=st.sampled_from([1, 2, 4, 16]),
    lead=st.integers(0, 31),
    height=st.integers(1, 40),
    width=st.integers(1, 40),
    seed=st.integers(0, 99),
)
@settings(max_examples=60, deadline=None)
def test_places_between_nodes_do_not_depend_on_the_window(
    step: int, lead: int, height: int, width: int, seed: int
) -> None:
    nodes = np.random.default_rng(seed).normal(size=(120, 120)) * 1e6
    whole, part = np.empty((119 * step if step < 3 else 150, 150)), np.empty((height, width))
    whole = whole[:119]
    spread(nodes, (0.0, float(step)), (0.0, float(step)), whole)
    first = lead // step
    rest = float(first * step - lead)
    cut = np.ascontiguousarray(nodes[first : first + 2 + (height + lead) // step, first:])
    spread(cut, (rest, float(step)), (rest, float(step)), part)
    np.testing.assert_array_equal(part, whole[lead : lead + height, lead : lead + width])


def test_nodes_that_have_no_place_spoil_only_what_lies_between() -> None:
    nodes = np.array([[0.0, 4.0], [np.nan, 8.0]])
    out = np.empty((5, 5))
    spread(nodes, (0.0, 4.0), (0.0, 4.0), out)
    assert out[0].tolist() == [0.0, 1.0, 2.0, 3.0, 4.0]
    assert out[:, 4].tolist() == [4.0, 5.0, 6.0, 7.0, 8.0]
    assert np.isnan(out[1:, :4]).all()


@given(
    step=st.sampled_from([1, 2, 4, 16]), lead=st.integers(0, 15), height=st.integers(1, 40), width=st.integers(1, 40),
    seed=st.integers(0, 99), spoilt=st.booleans(),
)  # fmt: skip
@settings(max_examples=80, deadline=None)
def test_the_reach_is_that_of_all_places(
    step: int, lead: int, height: int, width: int, seed: int, spoilt: bool
) -> None:
    nodes = np.random.default_rng(seed).normal(size=(60, 60))
    if spoilt:
        nodes[3:, 2] = np.nan
    lines = (float(-(lead % step)), float(step))
    out = np.empty((height, width))
    spread(nodes, lines, lines, out)
    least, most = reach(nodes, lines, lines, (height, width))
    if not np.isfinite(out).any():
        assert least > most
    else:
        inside = out[np.isfinite(out)]
        # Beside what has no place the nodes themselves count too.
        assert least <= inside.min() + 1e-9 and most >= inside.max() - 1e-9
        if not spoilt:
            # A node between two pixels of the window lies on one of them.
            np.testing.assert_allclose((least, most), (out.min(), out.max()), atol=1e-9)
