"""Windows of a pixel grid: where they lie, and the GeoBox and query that belong to them."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from affine import Affine
from odc.geo.geobox import GeoBox

from geotoolbox.core.query import ALWAYS, Query, Scene, TimeInterval
from geotoolbox.errors import BadInput, explain

__all__ = ["Size", "Units", "Window", "blocks", "size_px", "starts", "window_query"]

Units = Literal["pixels", "crs"]
Size = int | float | tuple[float, float]


@dataclass(frozen=True, slots=True)
class Window:
    """A rectangle of whole pixels; it may lie partly outside the grid."""

    row: int
    col: int
    height: int
    width: int


def size_px(size: Size, geobox: GeoBox, units: Units = "pixels", name: str = "size") -> tuple[int, int]:
    """Return a size as whole pixels (height, width) of a grid.

    Args:
        size: One number for both sides, or (height, width).
        geobox: The grid.
        units: Whether ``size`` counts pixels or units of the grid's CRS.
        name: The option's name, for the message.

    Raises:
        BadInput: When a side is less than a pixel, or is no whole number of pixels though given in pixels.

    Example:
        >>> grid = GeoBox((100, 100), Affine(10, 0, 0, 0, -10, 0), "EPSG:32612")
        >>> size_px(64, grid), size_px((320, 640), grid, "crs")
        ((64, 64), (32, 64))
    """
    if units not in ("pixels", "crs"):
        raise BadInput(explain("unknown units", where="units", got=repr(units), expected="'pixels' or 'crs'"))
    sides = size if isinstance(size, tuple) else (size, size)
    if units == "crs":
        a = geobox.affine
        pixel = (math.hypot(a.b, a.e), math.hypot(a.a, a.d))
        sides = (round(sides[0] / pixel[0]), round(sides[1] / pixel[1]))
    if any(s < 1 or s != int(s) for s in sides):
        raise BadInput(
            explain(
                f"{name} is no whole number of pixels",
                where=name,
                got=size,
                expected="at least one pixel, whole pixels",
                fix="pass whole pixels, or units='crs' for lengths on the ground",
            )
        )
    return int(sides[0]), int(sides[1])


def window_query(scene: Scene, window: Window, time: TimeInterval = ALWAYS) -> Query:
    """Return the query of a window of a scene's own grid, at the time both have in common."""
    grid = scene.geobox
    moved = grid.affine * Affine.translation(window.col, window.row)
    shared = scene.time.intersection(time)
    if shared is None:
        raise BadInput(
            explain("the scene is of another time", where=scene.name, got=scene.time, expected=time)
        )
    return Query(GeoBox((window.height, window.width), moved, grid.crs), shared)


def starts(low: int, high: int, size: int, stride: int, limit: int) -> list[int]:
    """Return where windows of ``size`` start so that ``low`` … ``high`` is covered.

    The last window ends at ``high`` and is moved inside the grid (0 … ``limit``) where the grid is
    large enough; where it is not, one window holds the grid in its middle.

    Example:
        >>> starts(0, 10, 4, 4, 10)
        [0, 4, 6]
        >>> starts(0, 3, 5, 5, 3)
        [-1]
    """
    if limit <= size:
        return [-((size - limit) // 2)]
    last = max(min(high - size, limit - size), 0)
    if high - low <= size:
        return [min(max(low - (size - (high - low)) // 2, 0), limit - size)]
    return [*range(low, last, stride), last]


def blocks(geobox: GeoBox, block_px: int) -> Iterator[Window]:
    """Cut a grid into blocks that neither overlap nor overhang, row by row."""
    height, width = geobox.shape
    for row in range(0, height, block_px):
        for col in range(0, width, block_px):
            yield Window(row, col, min(block_px, height - row), min(block_px, width - col))
