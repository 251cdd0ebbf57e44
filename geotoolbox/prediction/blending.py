"""How overlapping tiles become one map: taper weights, and sums that do not depend on the block."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from geotoolbox.prediction.lattice import Lattice, Window
from geotoolbox.prediction.loops import add_tile, all_finite

__all__ = ["FLOOR", "Strip", "StripAccumulator", "taper", "weights"]

FLOOR = 1e-3
"""No kept pixel weighs less than this, so that a sum of weights is never near zero."""


def taper(lattice: Lattice) -> NDArray[np.float64]:
    """Return the weights along one axis of the kept part of a tile, before the floor.

    A sin² rise, ones, and the mirrored fall. The tapers of two neighbours add up to one.

    Example:
        >>> w = taper(Lattice(tile_px=16, overlap_px=8, halo_px=2))
        >>> len(w), np.allclose(w[:4] + w[-4:], 1), float(w[5])
        (12, True, 1.0)
    """
    length, rise = lattice.tile_px - 2 * lattice.halo_px, lattice.taper_px
    values = np.ones(length)
    if rise:
        values[:rise] = np.sin(np.pi / 2 * (np.arange(rise) + 0.5) / rise) ** 2
        values[length - rise :] *= values[:rise][::-1]
    return values


def weights(lattice: Lattice) -> Tensor:
    """Return the float32 weights (T − 2h, T − 2h) of the kept part of a tile."""
    line = taper(lattice)
    return torch.from_numpy(np.maximum(np.outer(line, line), FLOOR).astype(np.float32))


@dataclass(frozen=True, slots=True)
class Strip:
    """Rows of a block that are final.

    Attributes:
        window: Where they are, in pixels of the scene.
        sums: (K, H, W) float32, Σ weight · probability; in memory (H, K, W).
        weight: (H, W) float32, Σ weight; 1 where nothing was added.
        valid: (H, W) bool: the pixel has data and every tile that contributes to it succeeded.
        failed: (H, W) bool: a tile that contributes to the pixel failed.
    """

    window: Window
    sums: Tensor
    weight: Tensor
    valid: NDArray[np.bool_]
    failed: NDArray[np.bool_]


class StripAccumulator:
    """Sums the tiles of one block, row of tiles by row of tiles, and hands out rows as they get final.

    Only as many rows as one tile keeps are held. Tiles must come in lattice order (row by row, left to
    right); then each pixel sees its contributions in the same order in every block that holds it, and
    multiplication and addition are separate roundings, so the bits are the same in every block too.
    """

    def __init__(
        self, lattice: Lattice, block: Window, num_classes: int, emit: Callable[[Strip], None]
    ) -> None:
        self._lattice, self._block, self._emit = lattice, block, emit
        self._weights = weights(lattice).numpy()
        rows = lattice.tile_px - 2 * lattice.halo_px
        self._sums = np.zeros((rows, num_classes, block.width), dtype=np.float32)
        self._weight = np.zeros((rows, block.width), dtype=np.float32)
        self._valid = np.zeros((rows, block.width), dtype=np.bool_)
        self._failed = np.zeros((rows, block.width), dtype=np.bool_)
        self._row = lattice.tiles(block.top, block.bottom).start

    def add(self, row: int, column: int, probabilities: Tensor, valid: NDArray[np.bool_]) -> bool:
        """Add a tile: its (K, T, T) probabilities and (T, T) validity.

        Returns:
            False, with nothing added, where a probability is NaN or infinite.
        """
        answer = np.ascontiguousarray(probabilities.numpy())
        if not all_finite(answer.reshape(-1)):
            return False
        self._advance_to(row)
        inside, at = self._place(row, column)
        kept = inside.within(self._tile_window(row, column))
        local = inside.within(self._lattice.kept_window(row, column))
        places = _corner(kept), _corner(local), _corner(at)
        out = self._sums, self._weight, self._valid
        add_tile(answer, (self._weights, valid), places, inside.shape, out)
        return True

    def fail(self, row: int, column: int) -> None:
        """Mark everything that a failed tile contributes to."""
        self._advance_to(row)
        self._failed[self._place(row, column)[1]] = True

    def finish(self) -> None:
        """Hand out what is left."""
        self._advance_to(self._lattice.tiles(self._block.top, self._block.bottom).stop)

    def _tile_window(self, row: int, column: int) -> Window:
        return Window(*self._lattice.span(row), *self._lattice.span(column))

    def _place(self, row: int, column: int) -> tuple[Window, tuple[slice, slice]]:
        inside = self._lattice.kept_window(row, column) & self._block
        top = self._lattice.kept(self._row)[0]
        return inside, inside.within(Window(top, top, self._block.left, self._block.right))

    def _advance_to(self, row: int) -> None:
        while self._row < row:
            self._hand_out()
            self._shift()
            self._row += 1

    def _hand_out(self) -> None:
        start = self._lattice.kept(self._row)[0]
        buffer = Window(start, start + self._lattice.stride_px, self._block.left, self._block.right)
        ready = buffer & self._block
        if not ready.height:
            return
        rows = ready.within(buffer)[0]
        weight = self._weight[rows]
        seen = weight > 0
        self._emit(
            Strip(
                ready,
                torch.from_numpy(self._sums[rows]).transpose(0, 1),
                torch.from_numpy(np.where(seen, weight, np.float32(1))),
                self._valid[rows] & ~self._failed[rows] & seen,
                self._failed[rows].copy(),
            )
        )

    def _shift(self) -> None:
        keep, step = self._lattice.taper_px, self._lattice.stride_px
        # Source and target never overlap: a taper is no longer than a stride.
        for sums in (self._sums, self._weight, self._valid, self._failed):
            sums[:keep] = sums[step : step + keep]
            sums[keep:] = 0


def _corner(part: tuple[slice, slice]) -> tuple[int, int]:
    return part[0].start, part[1].start
