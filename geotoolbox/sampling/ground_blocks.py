"""Square blocks on the ground that splits and folds are made of."""

from __future__ import annotations

import itertools
import math

import shapely
from shapely.geometry.base import BaseGeometry

from geotoolbox.datasets.base import GeoDataset
from geotoolbox.errors import BadInput, explain
from geotoolbox.indexing.geometry import crs_text
from geotoolbox.sampling.areas import project, to_world

__all__ = ["block_side_m", "check_buffer", "lattice_blocks", "lattice_origin", "pixel_m"]


def pixel_m(dataset: GeoDataset, crs: str) -> float:
    """Return the side of the largest pixel, in metres."""
    sides = []
    for scene in dataset.scenes():
        height, width = scene.geobox.shape
        middle = shapely.box(width / 2, height / 2, width / 2 + 1, height / 2 + 1)
        sides.append(math.sqrt(project(to_world(middle, scene.geobox), scene.geobox.crs, crs).area))
    return max(sides)


def lattice_origin(dataset: GeoDataset, crs: str) -> tuple[float, float]:
    """Return a corner of the first scene, so that block edges are pixel edges where the CRS is shared."""
    scene = dataset.scenes()[0]
    corner = project(shapely.Point(scene.geobox.affine * (0, 0)), scene.geobox.crs, crs)
    return float(corner.x), float(corner.y)


def block_side_m(size_m: float | None, px: int | None, valid: BaseGeometry, pixel: float) -> float:
    """Return the side of blocks in metres: as asked for, else such that there are about 100; whole pixels.

    Args:
        size_m: The side in metres, or None.
        px: The side in pixels, instead, or None.
        valid: The area to cut into blocks, in a CRS in metres.
        pixel: The side of a pixel, in metres.

    Raises:
        BadInput: When both are given, or a block is smaller than a pixel.
    """
    if size_m is not None and px is not None:
        raise BadInput(explain("two sizes of a block", where="block_size_m and block_px", expected="one"))
    if px is not None:
        size_m = px * pixel
    if size_m is None:
        size_m = max(math.sqrt(valid.area / 100), 16 * pixel)
    if not size_m >= pixel:
        raise BadInput(
            explain("a block is smaller than a pixel", got=f"{size_m} m", expected=f"≥ {pixel:g} m")
        )
    # Whole pixels, so that no pixel is cut by a block's edge.
    return round(size_m / pixel) * pixel


def check_buffer(buffer: float, side: float, dataset: GeoDataset) -> None:
    """Refuse a buffer (metres) that does not fit blocks of a side (metres).

    Raises:
        BadInput: When it is wider than half a block, or scenes in several CRSs have none.
    """
    if not 0 <= buffer <= side / 2:
        raise BadInput(
            explain(
                "the buffer does not fit the blocks",
                where="buffer_m",
                got=f"{buffer:,.1f} m",
                expected=f"0 to half a block ({side / 2:,.1f} m)",
                fix="pass larger blocks or a smaller buffer",
            )
        )
    if buffer == 0 and len({crs_text(s.geobox.crs) for s in dataset.scenes()}) > 1:
        raise BadInput(
            explain(
                "scenes in several CRSs need a buffer, since their pixels overlap where the grids meet",
                where="buffer_m",
                got=0,
                expected="at least two pixels",
            )
        )


def lattice_blocks(valid: BaseGeometry, side: float, origin: tuple[float, float]) -> list[BaseGeometry]:
    """Return the blocks of a lattice that hold valid area, row by row."""
    minx, miny, maxx, maxy = valid.bounds
    hair = side * 1e-9
    cols = range(math.floor((minx - origin[0] + hair) / side), math.ceil((maxx - origin[0] - hair) / side))
    rows = range(math.floor((miny - origin[1] + hair) / side), math.ceil((maxy - origin[1] - hair) / side))
    if len(cols) * len(rows) > 1_000_000:
        raise BadInput(
            explain("too many blocks", got=len(cols) * len(rows), fix="pass a larger block_size_m")
        )
    shapely.prepare(valid)
    out = []
    for row, col in itertools.product(rows, cols):
        x, y = origin[0] + col * side, origin[1] + row * side
        block = shapely.box(x, y, x + side, y + side)
        if valid.intersects(block) and valid.intersection(block).area > hair * side:
            out.append(block)
    return out
