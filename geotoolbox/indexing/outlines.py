"""The outlines of many files at once, in their own CRS and in longitude and latitude.

One call for all points of all files of a CRS, in place of several for each file. Point by point the arithmetic is
that of :mod:`geotoolbox.indexing.geometry`, and so are the polygons, bit for bit. Only grids that are small and lie
away from poles and antimeridian are done here; the others are left to it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import shapely
from numpy.typing import NDArray
from pyproj.exceptions import CRSError, ProjError

from geotoolbox.core.header import RasterHeader
from geotoolbox.indexing.geometry import (
    BEND,
    EDGE_STEPS,
    FEW_X,
    FEW_Y,
    LONLAT,
    SMALL_DEG,
    crs_of,
    same_crs,
    side_places,
    transformer,
)

__all__ = ["native_outlines", "quick_outlines"]

_Polygons = NDArray[np.object_]
_Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class _Grids:
    """Grids of one CRS as columns: sizes (n, 1) in pixels, and the six numbers of their transforms (6, n, 1)."""

    width: _Floats
    height: _Floats
    affines: _Floats

    @classmethod
    def of(cls, headers: Sequence[RasterHeader]) -> _Grids:
        sizes = np.array([(h.width, h.height) for h in headers], dtype=np.float64).reshape(-1, 2)
        affines = np.array([h.transform[:6] for h in headers], dtype=np.float64).reshape(-1, 6)
        return cls(sizes[:, :1], sizes[:, 1:], affines.T[:, :, None])

    def take(self, which: NDArray[np.bool_]) -> _Grids:
        return _Grids(self.width[which], self.height[which], self.affines[:, which])

    def points(self, across: _Floats, down: _Floats) -> tuple[_Floats, _Floats]:
        """Return x and y (n, places) of places that are shares of width and height."""
        a, b, c, d, e, f = self.affines
        columns, rows = across * self.width, down * self.height
        return a * columns + b * rows + c, d * columns + e * rows + f

    def places(self, steps: int) -> _Polygons:
        """Return the outlines, each side cut into ``steps`` edges."""
        return np.asarray(shapely.polygons(np.stack(self.points(*side_places(steps)), axis=-1)), dtype=object)

    def edges(self, steps: int) -> _Floats:
        """Return about how long the edges of :meth:`places` are, in units of the CRS."""
        pixel = np.abs(self.affines[:2]).max(axis=0)
        return np.asarray((np.maximum(self.width, self.height) * pixel / steps)[:, 0])


def native_outlines(headers: Sequence[RasterHeader]) -> _Polygons:
    """Return the four-cornered outline of each file in its own CRS."""
    return _Grids.of(headers).places(1)


def quick_outlines(headers: Sequence[RasterHeader]) -> _Polygons:
    """Return the outline of each file in longitude and latitude; None for those that need a closer look."""
    found = np.full(len(headers), None, dtype=object)
    by_crs: dict[str, list[int]] = {}
    for number, header in enumerate(headers):
        by_crs.setdefault(str(header.crs), []).append(number)
    for crs, numbers in by_crs.items():
        try:
            found[numbers] = _of_crs(_Grids.of([headers[n] for n in numbers]), crs)
        except (CRSError, ProjError):
            continue  # told when its first file is looked at by itself
    return found


def _of_crs(grids: _Grids, crs: str) -> _Polygons:
    found = np.full(len(grids.width), None, dtype=object)
    steps = _side_steps(grids, crs)
    for number in np.unique(steps[steps > 0]).tolist():
        own = steps == number
        found[own] = _to_lonlat(grids.take(own), crs, number)
    return found


def _side_steps(grids: _Grids, crs: str) -> NDArray[np.int64]:
    """As :func:`~geotoolbox.indexing.geometry.side_steps`; 0 for a grid that is not small, or near poles or antimeridian."""
    x, y = grids.points(FEW_X, FEW_Y)
    lon, lat = transformer(str(crs_of(crs)), LONLAT).transform(x, y)
    west, east, south, north = lon.min(axis=1), lon.max(axis=1), lat.min(axis=1), lat.max(axis=1)
    with np.errstate(invalid="ignore"):  # points without a place there are infinite
        degrees = np.maximum(east - west, north - south)
        near = (west > -177.0) & (east < 177.0) & (south > -80.0) & (north < 80.0)
        quick = near & (degrees < SMALL_DEG)
        steps = np.ceil(np.sqrt(BEND / 1e-6 * degrees / SMALL_DEG))
    return np.where(quick, np.fmin(steps, EDGE_STEPS), 0).astype(np.int64)


def _to_lonlat(grids: _Grids, crs: str, steps: int) -> _Polygons:
    places = grids.places(steps)
    if same_crs(crs, LONLAT):
        return places
    convert = transformer(crs, LONLAT).transform
    dense = shapely.segmentize(places, grids.edges(steps))
    moved = shapely.transform(dense, lambda xy: np.column_stack(convert(xy[:, 0], xy[:, 1])))
    moved[~shapely.is_valid(moved)] = None
    return np.asarray(moved, dtype=object)
