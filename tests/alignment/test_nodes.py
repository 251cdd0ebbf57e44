"""Few exact points make the nodes of a map, to a billionth of a pixel, whatever the window."""

from __future__ import annotations

import numpy as np
import pytest
from affine import Affine
from odc.geo.geobox import GeoBox

from geotoolbox.alignment.nodes import between, finer, roughness, spacing
from geotoolbox.alignment.pixelmap import MAX_ERROR_PX, grid_map
from geotoolbox.alignment.systems import transformer

ALBERS = GeoBox((6000, 6000), Affine(30, 0, -1_500_000, 0, -30, 1_900_000), "EPSG:5070")
UTM = GeoBox((256, 256), Affine(30, 0, 300_000, 0, -30, 4_150_020), "EPSG:32612")
WEB = GeoBox((256, 256), Affine(25, 0, -12_500_000, 0, -25, 4_500_000), "EPSG:3857")


def _exact(source: GeoBox, target: GeoBox) -> tuple[np.ndarray, np.ndarray]:
    rows, cols = np.mgrid[0 : target.shape[0], 0 : target.shape[1]] + 0.5
    x, y = target.affine * (cols.ravel(), rows.ravel())
    u, v = ~source.affine * transformer(str(target.crs), str(source.crs)).transform(x, y)
    return u.reshape(target.shape), v.reshape(target.shape)


@pytest.mark.parametrize("target", [UTM, WEB, UTM[3:5, 200:256]])
def test_places_are_exact_to_the_error_that_is_told(target: GeoBox) -> None:
    found = grid_map(ALBERS, target)
    assert 0 < found.error_px <= MAX_ERROR_PX
    for mine, exact in zip(found.coordinates(), _exact(ALBERS, target), strict=True):
        assert np.abs(mine - exact).max() <= found.error_px + 1e-8


def test_a_pixel_has_the_same_place_in_every_window() -> None:
    whole = grid_map(ALBERS, UTM).coordinates()
    for rows, cols in (
        (slice(0, 256), slice(100, 131)),
        (slice(17, 18), slice(0, 256)),
        (slice(190, 256), slice(9, 77)),
    ):
        found = grid_map(ALBERS, UTM[rows, cols])
        for part, passing, all_of_it in zip(
            found.coordinates(), found.passing_coordinates(), whole, strict=True
        ):
            np.testing.assert_array_equal(part, all_of_it[rows, cols])
            np.testing.assert_array_equal(passing, part)


def test_polynomials_of_the_fourth_degree_are_met() -> None:
    rng = np.random.default_rng(5)
    factors = rng.normal(size=(2, 5, 5))

    def value(rows: np.ndarray, cols: np.ndarray) -> np.ndarray:
        powers = [(z[:, None] / 500) ** np.arange(5) for z in (rows, cols)]
        return np.stack([powers[0] @ f @ powers[1].T for f in factors])

    down, across = finer(250, 40, 8), finer(3, 17, 8)
    z = value(down.places(-5.0), across.places(-3.0))
    found = between(z, down, across)
    exact = value(-5.0 + 8 * np.arange(40.0), -3.0 + 8 * np.arange(17.0))
    np.testing.assert_allclose(found, exact, atol=1e-12)


def test_a_kink_and_a_hole_are_not_smooth() -> None:
    z = np.tile(np.arange(9.0) * 64, (2, 9, 1))
    assert roughness(z) == 0
    kinked = np.maximum(z, 150.0)
    assert roughness(kinked) > 1
    z[0, 3, 3] = np.nan
    assert roughness(z) == np.inf


def test_where_a_projection_ends_every_node_is_transformed() -> None:
    source = GeoBox((400, 400), Affine(20_000, 0, -4_000_000, 0, -20_000, 4_000_000), "EPSG:3031")
    a, b = source.affine, Affine(0.2, 0, -40, 0, -0.2, -50)
    grid = (a.a, a.b, a.c, a.d, a.e, a.f)
    assert spacing((400, 400), grid, "EPSG:3031", "EPSG:4326", (b.a, b.b, b.d, b.e))[1] is None
    target = GeoBox((64, 64), b, "EPSG:4326")
    found = grid_map(source, target)
    for mine, exact in zip(found.coordinates(), _exact(source, target), strict=True):
        assert np.abs(mine - exact).max() <= MAX_ERROR_PX
