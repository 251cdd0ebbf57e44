"""Tiles read from a dataset: each pixel once, on fixed windows, reflected beyond the scene."""

from __future__ import annotations

import logging
import time
from collections import OrderedDict
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from affine import Affine
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox
from rasterio.errors import RasterioError

from geotoolbox.core.query import ALWAYS, Band, Query, Reading, Scene, TimeInterval
from geotoolbox.errors import BadInput, Cancelled, GeoToolboxError, TooLarge, explain
from geotoolbox.prediction.lattice import Lattice, Window, reflect
from geotoolbox.prediction.loops import channels_last

__all__ = ["ImageSource", "SceneReader", "TileData", "TileFailure", "window_geobox"]

log = logging.getLogger(__name__)

ATTEMPTS = 3
PAUSE_S = 0.05
PATIENCE = 8  # after so many cells failed for good, the rest is not tried again
CELL_PX = 256


class ImageSource(Protocol):
    """What a prediction needs of a dataset."""

    @property
    def bands(self) -> tuple[Band, ...]:
        """The bands, in the order of the image's channels."""

    def read(self, query: Query) -> Reading:
        """Answer a query with an image (C, H, W) and its validity."""

    def scenes(self) -> tuple[Scene, ...]:
        """Return the native grids."""

    def source_files(self) -> tuple[str, ...]:
        """Return the files behind the dataset."""


class TileFailure(Exception):
    """A tile cannot be read or predicted; the others can."""


@dataclass(frozen=True, slots=True)
class TileData:
    """One tile: image (C, T, T) float32, 0 where not valid; valid (T, T).

    In memory, the channels of a pixel lie side by side, as convolutions read them fastest.
    """

    image: NDArray[np.float32]
    valid: NDArray[np.bool_]


def window_geobox(grid: GeoBox, window: Window) -> GeoBox:
    """Return a window of a grid as a grid of its own; it may lie partly or wholly outside."""
    affine = grid.affine * Affine.translation(window.left, window.top)
    return GeoBox(window.shape, affine, grid.crs)


class SceneReader:
    """Reads tiles of a scene through a small cache of cells.

    A cell is a square that lies on the lattice, so the windows asked of the dataset never depend on
    the block or the area. Cells are kept as long as the next row of tiles needs them.

    Args:
        dataset: What is read.
        scene: The grid of the whole scene.
        lattice: The tiling.
        row_px: The width of the rows of tiles to come, which sizes the cache.
        time: When.
    """

    def __init__(
        self, dataset: ImageSource, scene: GeoBox, lattice: Lattice, row_px: int, time: TimeInterval = ALWAYS
    ) -> None:
        self._dataset, self._scene, self._lattice, self._time = dataset, scene, lattice, time
        self._extent = Window(0, scene.shape[0], 0, scene.shape[1])
        self._channels = len(dataset.bands)
        self._cell_px = lattice.stride_px * max(1, -(-CELL_PX // lattice.stride_px))
        self._origin = lattice.span(0)[0]
        self._capacity = 2 * (row_px // self._cell_px + 2) + 2  # a tile touches two rows of cells
        self._cells: OrderedDict[tuple[int, int], TileData | TileFailure] = OrderedDict()
        self._lost = 0
        self.nonfinite = 0

    def tile(self, row: int, column: int) -> TileData:
        """Read a tile.

        Raises:
            TileFailure: When its pixels cannot be read.
        """
        rows = reflect(*self._lattice.span(row), self._scene.shape[0])
        columns = reflect(*self._lattice.span(column), self._scene.shape[1])
        window = Window(*_ends(rows), *_ends(columns))
        try:
            data = self._window(window)
        except TileFailure:
            data = self._read(window, attempts=1)  # perhaps only a part that this tile has no need of is lost
        if _ascending(rows) and _ascending(columns):
            return data
        at = np.ix_(rows - window.top, columns - window.left)
        return TileData(data.image.take(rows - window.top, 1).take(columns - window.left, 2), data.valid[at])

    def _window(self, window: Window) -> TileData:
        image = np.empty((*window.shape, self._channels), dtype=np.float32).transpose(2, 0, 1)
        valid = np.empty(window.shape, dtype=np.bool_)
        for row in self._cell_range(window.top, window.bottom):
            for column in self._cell_range(window.left, window.right):
                cell = self._cell(row, column)
                shared = self._cell_window(row, column) & window
                there, here = shared.within(window), shared.within(self._cell_window(row, column))
                image[(slice(None), *there)] = cell.image[(slice(None), *here)]
                valid[there] = cell.valid[here]
        return TileData(image, valid)

    def _cell_range(self, start: int, stop: int) -> range:
        return range((start - self._origin) // self._cell_px, (stop - 1 - self._origin) // self._cell_px + 1)

    def _cell_window(self, row: int, column: int) -> Window:
        top, left = self._origin + row * self._cell_px, self._origin + column * self._cell_px
        return Window(top, top + self._cell_px, left, left + self._cell_px) & self._extent

    def _cell(self, row: int, column: int) -> TileData:
        key = (row, column)
        found = self._cells.get(key)
        if found is None:
            try:
                found = self._read(self._cell_window(row, column), ATTEMPTS if self._lost < PATIENCE else 1)
            except TileFailure as failure:
                found = failure
            self._cells[key] = found
            while len(self._cells) > self._capacity:
                self._cells.popitem(last=False)
        else:
            self._cells.move_to_end(key)
        if isinstance(found, TileFailure):
            raise TileFailure(str(found))
        return found

    def _read(self, window: Window, attempts: int) -> TileData:
        query = Query(window_geobox(self._scene, window), self._time)
        for attempt in range(attempts):
            try:
                reading = self._dataset.read(query)
                break
            except (Cancelled, TooLarge):
                raise
            except (GeoToolboxError, OSError, RasterioError) as error:
                if attempt + 1 == attempts:
                    self._lost += 1
                    raise TileFailure(str(error)) from error
                time.sleep(PAUSE_S * 4**attempt)
        return self._checked(reading, window)

    def _checked(self, reading: Reading, window: Window) -> TileData:
        image, valid = reading.image, reading.valid
        if image is None or image.shape != (self._channels, *window.shape):
            raise BadInput(
                explain(
                    "the dataset does not answer with one image",
                    got="no image" if image is None else f"shape {image.shape}",
                    expected=f"shape {(self._channels, *window.shape)} (bands, rows, columns)",
                    fix="predict from an image layer, and choose one date of a time series",
                )
            )
        ready = np.empty((*window.shape, self._channels), dtype=np.float32)
        good = np.empty(window.shape, dtype=np.bool_)
        self.nonfinite += channels_last(_plain(image, np.float32), _plain(valid, np.bool_), ready, good)
        return TileData(ready.transpose(2, 0, 1), good)


def _plain(array: NDArray[Any], dtype: type[np.generic]) -> NDArray[Any]:
    """Return an array as compiled loops take it: one after the other in memory."""
    return np.ascontiguousarray(array, dtype=dtype)


def _ascending(positions: NDArray[np.int64]) -> bool:
    """Tell whether positions are successive pixels: nothing of them is reflected."""
    return int(positions[-1] - positions[0]) == len(positions) - 1


def _ends(positions: NDArray[np.int64]) -> tuple[int, int]:
    return int(positions.min()), int(positions.max()) + 1
