"""The seam ratio blames tile edges for what tile edges do, and not for what the land does."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from geotoolbox.prediction.blending import Strip
from geotoolbox.prediction.lattice import Lattice, Window
from geotoolbox.prediction.seams import SeamMeter, seam_ratio, seams_show

LATTICE = Lattice(tile_px=64, overlap_px=16, halo_px=4)
SIDE_PX = 288


def meter(field: np.ndarray, valid: np.ndarray | None = None) -> SeamMeter:
    found = SeamMeter(LATTICE)
    rows, columns = field.shape
    probabilities = torch.from_numpy(np.stack([field, 1 - field]).astype(np.float32))
    found.add(
        Strip(
            Window(0, rows, 0, columns),
            probabilities,
            torch.ones(rows, columns),
            np.ones(field.shape, bool) if valid is None else valid,
            np.zeros(field.shape, bool),
        )
    )
    return found


def land(seed: int) -> np.ndarray:
    """Parcels of some tens of pixels with soft borders, as a prediction of land looks."""
    random = np.random.default_rng(seed)
    centres = random.uniform(0, SIDE_PX, (40, 2))
    rows, columns = np.mgrid[:SIDE_PX, :SIDE_PX]
    nearest = ((rows[..., None] - centres[:, 0]) ** 2 + (columns[..., None] - centres[:, 1]) ** 2).argmin(-1)
    field = random.uniform(0, 1, 40)[nearest]
    for axis in (0, 1):
        field = sum(np.roll(field, shift, axis) for shift in range(-3, 4)) / 7
    return field


@pytest.mark.parametrize("seed", range(8))
def test_land_alone_raises_no_alarm(seed: int) -> None:
    assert not seams_show([meter(land(seed)).sums])


@pytest.mark.parametrize("seed", range(8))
def test_a_step_of_three_percent_at_each_tile_does(seed: int) -> None:
    tile = np.arange(SIDE_PX) // LATTICE.stride_px
    field = land(seed) * 0.9 + 0.03 * ((tile[:, None] + tile[None, :]) % 2)
    assert seams_show([meter(field).sums])
    assert seam_ratio([meter(field).sums]) > seam_ratio([meter(land(seed)).sums])


def test_a_river_along_a_tile_edge_is_no_seam() -> None:
    field = land(3)
    edge = 2 * LATTICE.stride_px
    field[:, edge - 6 : edge + 6] = np.linspace(0, 1, 12)
    assert not seams_show([meter(field).sums])


def test_pairs_with_nodata_do_not_count() -> None:
    field, valid = land(5), np.ones((SIDE_PX, SIDE_PX), bool)
    edge = LATTICE.stride_px
    field[:, edge:] += 5
    valid[:, edge] = False
    assert not seams_show([meter(field, valid).sums])


def test_profiles_of_blocks_add_up() -> None:
    one, two = meter(land(1)).sums, meter(land(2)).sums
    assert seam_ratio([one, two]) == pytest.approx(seam_ratio([one + two]))
    assert np.isnan(seam_ratio([])) and not seams_show([])
