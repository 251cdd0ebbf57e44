"""Fixtures of the widgets' tests: small data, and JupyterLab in a browser."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from affine import Affine

from tests.make import write_raster
from tests.widgets.lab import Lab

if TYPE_CHECKING:
    from playwright.sync_api import Browser

CLASSES = {1: "water", 2: "forest & <b>wood</b>", 3: "bare rock"}
COLORS = {1: (38, 110, 190), 2: (30, 104, 52), 3: (178, 168, 158)}


def make_scene(folder: Path, side: int = 256) -> tuple[Path, Path]:
    """An image of four bands (UTM zone 12) and a class raster (EPSG:4326) of the same ground.

    The image's values tell the place: ``band_1`` is the column, ``band_2`` the row; a corner has no data.
    Classes are vertical stripes of a third of the width.
    """
    rows, cols = np.mgrid[0:side, 0:side]
    image = np.stack([cols + 1, rows + 1, cols + rows + 1, np.full_like(rows, 500)]).astype("uint16")
    image[:, : side // 8, : side // 8] = 0
    grid = Affine(30.0, 0.0, 300_000.0, 0.0, -30.0, 4_140_000.0)
    names = ("red", "green", "blue", "nir")
    path = write_raster(folder / "image.tif", image, transform=grid, nodata=0, names=names, tiled=True)
    stripes = (1 + cols * 3 // side).astype("uint8")
    labels = write_raster(folder / "labels.tif", stripes, transform=grid, nodata=0, colormap=COLORS)
    return path, labels


@pytest.fixture(scope="session")
def scene(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A small image and its labels."""
    return make_scene(tmp_path_factory.mktemp("scene"))


@pytest.fixture(scope="session")
def lab(tmp_path_factory: pytest.TempPathFactory, browser: Browser) -> Iterator[Lab]:
    """JupyterLab on the loopback interface, with a token and a port of its own, and a browser."""
    from playwright.sync_api import expect

    expect.set_options(timeout=20_000)  # a machine that does much else is no failure
    server = Lab(tmp_path_factory.mktemp("lab"), browser)
    try:
        yield server
    finally:
        server.stop()


@pytest.fixture(scope="session")
def model(scene: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle trained on the scene."""
    from tests.widgets.model import make_model

    return make_model(*scene, tmp_path_factory.mktemp("model"))
