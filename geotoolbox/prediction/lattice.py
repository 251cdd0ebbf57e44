"""Where tiles and blocks lie: a lattice anchored to the scene's own pixel grid.

Along each axis, tile ``k`` covers ``T`` pixels and keeps the part without its halo,
``[k·s − (o − 2h), (k + 1)·s)``, where ``s`` is the stride, ``o = T − s`` the overlap and ``h`` the
halo. So tile ``k`` alone answers for the start of the stride cell ``k``, and shares its end with tile
``k + 1``. Nothing here depends on the area asked for: that is why an area predicts to the same bits
as the whole.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from geotoolbox.errors import BadInput, explain

__all__ = ["Lattice", "Window", "reflect"]


@dataclass(frozen=True, slots=True, order=True)
class Window:
    """A rectangle of pixels, half open: rows ``[top, bottom)`` and columns ``[left, right)``."""

    top: int
    bottom: int
    left: int
    right: int

    @property
    def height(self) -> int:
        """Rows, never negative."""
        return max(0, self.bottom - self.top)

    @property
    def width(self) -> int:
        """Columns, never negative."""
        return max(0, self.right - self.left)

    @property
    def shape(self) -> tuple[int, int]:
        """(rows, columns)."""
        return self.height, self.width

    @property
    def pixels(self) -> int:
        """The number of pixels."""
        return self.height * self.width

    def __and__(self, other: Window) -> Window:
        """Return the shared rectangle (with no pixels, where nothing is shared)."""
        top, left = max(self.top, other.top), max(self.left, other.left)
        bottom, right = min(self.bottom, other.bottom), min(self.right, other.right)
        return Window(top, max(top, bottom), left, max(left, right))

    def within(self, outer: Window) -> tuple[slice, slice]:
        """Return this window as slices of an array that holds ``outer``."""
        return (
            slice(self.top - outer.top, self.bottom - outer.top),
            slice(self.left - outer.left, self.right - outer.left),
        )


@dataclass(frozen=True, slots=True)
class Lattice:
    """The tiling of the plane: tile size, overlap and halo, all in pixels.

    Example:
        >>> lattice = Lattice(tile_px=256, overlap_px=64, halo_px=16)
        >>> lattice.stride_px, lattice.kept(0), lattice.span(0)
        (192, (-32, 192), (-48, 208))
        >>> list(lattice.tiles(0, 192)), list(lattice.tiles(0, 160))
        ([0, 1], [0])
    """

    tile_px: int
    overlap_px: int
    halo_px: int

    def __post_init__(self) -> None:
        if self.tile_px < 1 or not 0 <= 2 * self.halo_px <= self.overlap_px <= self.tile_px // 2:
            raise BadInput(
                explain(
                    "tile, overlap and halo do not fit together",
                    got=f"tile {self.tile_px} px, overlap {self.overlap_px} px, halo {self.halo_px} px",
                    expected="0 ≤ 2 · halo ≤ overlap ≤ tile / 2",
                    fix="use a larger tile, or a smaller halo",
                )
            )

    @property
    def stride_px(self) -> int:
        """The step from one tile to the next."""
        return self.tile_px - self.overlap_px

    @property
    def taper_px(self) -> int:
        """How many kept pixels two neighbours share."""
        return self.overlap_px - 2 * self.halo_px

    def span(self, k: int) -> tuple[int, int]:
        """Return the pixels that tile ``k`` reads, halo included."""
        start = k * self.stride_px - self.taper_px - self.halo_px
        return start, start + self.tile_px

    def kept(self, k: int) -> tuple[int, int]:
        """Return the pixels that tile ``k`` contributes to."""
        return k * self.stride_px - self.taper_px, (k + 1) * self.stride_px

    def tiles(self, start: int, stop: int) -> range:
        """Return the tiles that contribute to the pixels ``[start, stop)``."""
        if stop <= start:
            return range(0)
        return range(start // self.stride_px, (stop - 1 + self.taper_px) // self.stride_px + 1)

    def kept_window(self, row: int, column: int) -> Window:
        """Return what tile (row, column) contributes to."""
        return Window(*self.kept(row), *self.kept(column))

    def count(self, window: Window) -> int:
        """Return how many tiles contribute to a window."""
        return len(self.tiles(window.top, window.bottom)) * len(self.tiles(window.left, window.right))

    def is_seam(self, start: int, stop: int) -> NDArray[np.bool_]:
        """Tell for each pixel of ``[start, stop)`` whether a tile's kept part begins or ends before it."""
        phase = np.arange(start, stop) % self.stride_px
        return (phase == 0) | (phase == (-self.taper_px) % self.stride_px)

    def blocks(self, area: Window, block_px: int) -> Iterator[tuple[int, int, Window]]:
        """Yield (row, column, window) of the blocks of an area, top to bottom, left to right.

        Blocks lie on the lattice too (``block_px`` is a multiple of the stride), cut at the area.
        """
        if not area.pixels:
            return
        for row in range(area.top // block_px, (area.bottom - 1) // block_px + 1):
            for column in range(area.left // block_px, (area.right - 1) // block_px + 1):
                whole = Window(
                    row * block_px, (row + 1) * block_px, column * block_px, (column + 1) * block_px
                )
                yield row, column, whole & area

    def totals(self, area: Window, block_px: int) -> tuple[int, int]:
        """Return how many blocks an area has, and how many tiles they have in all.

        Tiles that straddle blocks are counted in each. Costs as much as one row and one column of blocks.

        Example:
            >>> Lattice(256, 64, 16).totals(Window(0, 1000, 0, 2000), 384)
            (18, 128)
        """
        if not area.pixels:
            return 0, 0
        rows = [len(self.tiles(*cut)) for cut in _cuts(area.top, area.bottom, block_px)]
        columns = [len(self.tiles(*cut)) for cut in _cuts(area.left, area.right, block_px)]
        return len(rows) * len(columns), sum(rows) * sum(columns)


def _cuts(start: int, stop: int, side: int) -> Iterator[tuple[int, int]]:
    for number in range(start // side, (stop - 1) // side + 1):
        yield max(start, number * side), min(stop, (number + 1) * side)


def reflect(start: int, stop: int, size: int) -> NDArray[np.int64]:
    """Map positions beyond ``[0, size)`` back inside by reflection, however far beyond they are.

    Example:
        >>> reflect(-3, 6, 4).tolist()
        [3, 2, 1, 0, 1, 2, 3, 2, 1]
        >>> reflect(-2, 3, 1).tolist()
        [0, 0, 0, 0, 0]
    """
    position = np.arange(start, stop)
    if size == 1:
        return np.zeros(len(position), dtype=np.int64)
    period = 2 * (size - 1)
    position = np.abs(position) % period
    return np.minimum(position, period - position)
