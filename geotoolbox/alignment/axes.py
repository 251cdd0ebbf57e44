"""Places on the ground of a grid's pixel centres, and back."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from affine import Affine
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox

__all__ = ["Axes", "to_pixels"]

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Axes:
    """World coordinates of a grid's pixel centres, computed so that they do not depend on the window.

    For an upright grid, pixels are counted from the CRS's origin: two windows of one grid get the same bits
    for the same pixel, so what is read of a part is that part of what is read of the whole.
    """

    affine: Affine
    first_col: int
    first_row: int

    @classmethod
    def of(cls, geobox: GeoBox) -> Axes:
        """Make the axes of a grid."""
        a = geobox.affine
        if a.b or a.d:
            return cls(a, 0, 0)
        k, j = round(a.c / a.a), round(a.f / a.e)
        x0 = round((a.c - a.a * k) / a.a, 6) * a.a
        y0 = round((a.f - a.e * j) / a.e, 6) * a.e
        return cls(Affine(a.a, 0.0, x0, 0.0, a.e, y0), k, j)

    @property
    def upright(self) -> bool:
        """Whether x depends on columns alone, and y on rows."""
        return not (self.affine.b or self.affine.d)

    def at(self, rows: Floats, cols: Floats) -> tuple[Floats, Floats]:
        """Return (x, y) of pixel centres; (1, n) and (m, 1) for an upright grid, else both (m, n)."""
        c = (cols + self.first_col + 0.5)[None, :]
        r = (rows + self.first_row + 0.5)[:, None]
        a = self.affine
        if self.upright:
            return a.a * c + a.c, a.e * r + a.f
        return a.a * c + a.b * r + a.c, a.d * c + a.e * r + a.f


def to_pixels(source: GeoBox, x: Floats, y: Floats) -> tuple[Floats, Floats]:
    """Return (column, row) of world places, the origin taken away first to keep all digits."""
    a = source.affine
    dx, dy = x - a.c, y - a.f
    if not (a.b or a.d):
        return dx / a.a, dy / a.e
    det = a.determinant
    with np.errstate(invalid="ignore"):
        return (a.e * dx - a.b * dy) / det, (a.a * dy - a.d * dx) / det
