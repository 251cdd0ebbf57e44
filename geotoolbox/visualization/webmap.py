"""Pictures for web maps and galleries: tile grids, one stretch for all tiles, and their encoding."""

from __future__ import annotations

import io
import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from affine import Affine
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox
from PIL import Image
from pyproj import Transformer

from geotoolbox.errors import BadInput, explain

__all__ = [
    "COLORMAPS",
    "TILE_PX",
    "Stretch",
    "encode_webp",
    "fitted_grid",
    "native_zoom",
    "sprite_sheet",
    "tile_geobox",
]

TILE_PX = 256
COLORMAPS = ("gray", "cividis", "viridis", "magma", "RdYlBu_r", "PuOr")
"""For one band; all but the last two rise in lightness, those two are for signed values."""

_HALF = math.pi * 6378137.0  # half the side of the Web Mercator square, in metres
_MAX_ZOOM = 24


def tile_geobox(zoom: int, column: int, row: int, tile_px: int = TILE_PX) -> GeoBox:
    """Return the grid of a Web Mercator (XYZ) tile.

    Example:
        >>> tile_geobox(1, 0, 0).affine.a == tile_geobox(0, 0, 0).affine.a / 2
        True
    """
    count = 2**zoom if 0 <= zoom <= _MAX_ZOOM else 0
    if not (0 <= column < count and 0 <= row < count):
        raise BadInput(
            explain(
                "no such tile", got=f"zoom {zoom}, column {column}, row {row}", expected="0 to 2^zoom - 1"
            )
        )
    side = 2 * _HALF / count
    pixel = side / tile_px
    return GeoBox(
        (tile_px, tile_px),
        Affine(pixel, 0.0, column * side - _HALF, 0.0, -pixel, _HALF - row * side),
        "EPSG:3857",
    )


def native_zoom(geobox: GeoBox) -> int:
    """Return the zoom from which on a tile's pixels are at least as fine as those of a grid."""
    height, width = geobox.shape
    convert = Transformer.from_crs(str(geobox.crs), "EPSG:3857", always_xy=True).transform
    steps = [(0.5, 0.5), (0.5 + 1 / width, 0.5), (0.5, 0.5 + 1 / height)]
    points = [convert(*(geobox.affine * (u * width, v * height))) for u, v in steps]
    sides = [math.dist(points[0], p) for p in points[1:]]
    pixel = min((s for s in sides if math.isfinite(s) and s > 0), default=1.0)
    return max(0, min(_MAX_ZOOM, math.ceil(math.log2(2 * _HALF / TILE_PX / pixel) - 0.2)))


def fitted_grid(geobox: GeoBox, longest_px: int) -> GeoBox:
    """Return a grid over the same ground with at most ``longest_px`` pixels a side.

    Example:
        >>> fitted_grid(tile_geobox(0, 0, 0), 64).shape
        Shape2d(x=64, y=64)
    """
    height, width = (int(n) for n in geobox.shape)
    factor = max(1.0, max(height, width) / longest_px)
    shape = (max(1, round(height / factor)), max(1, round(width / factor)))
    affine = geobox.affine * Affine.scale(width / shape[1], height / shape[0])
    return GeoBox(shape, affine, geobox.crs)


@dataclass(frozen=True, slots=True)
class Stretch:
    """From values to colours, the same for every tile and patch.

    Attributes:
        low: The value of each band that becomes black (or the colormap's first colour).
        high: The value that becomes white (or its last colour).
        gamma: Below 1 brightens what lies between.
        colormap: For one band: a name of :data:`COLORMAPS`.

    Example:
        >>> Stretch((0.0,), (10.0,)).rgba(np.array([[[0.0, 5.0, 20.0]]]))[0, :, 0].tolist()
        [0, 128, 255]
    """

    low: tuple[float, ...]
    high: tuple[float, ...]
    gamma: float = 1.0
    colormap: str = "gray"

    def __post_init__(self) -> None:
        if len(self.low) != len(self.high) or len(self.low) not in (1, 3):
            raise BadInput(explain("one or three bands can be shown", got=f"{len(self.low)} bands"))
        if not self.gamma > 0 or not math.isfinite(self.gamma):
            raise BadInput(explain("gamma is out of range", got=self.gamma, expected="above 0"))
        if self.colormap not in COLORMAPS:
            raise BadInput(
                explain("unknown colormap", got=repr(self.colormap), expected=", ".join(COLORMAPS))
            )

    @classmethod
    def of(
        cls,
        image: NDArray[Any],
        valid: NDArray[np.bool_],
        percentiles: tuple[float, float] = (2.0, 98.0),
        gamma: float = 1.0,
        colormap: str = "gray",
    ) -> Stretch:
        """Take the limits from percentiles of the valid pixels of an image (B, H, W).

        An image without a valid pixel gives the limits 0 and 1.
        """
        if not 0 <= percentiles[0] < percentiles[1] <= 100:
            raise BadInput(
                explain("percentiles are out of order", got=percentiles, expected="0 ≤ low < high ≤ 100")
            )
        pixels = image[:, valid]
        pixels = pixels[:, np.isfinite(pixels).all(axis=0)]
        if not pixels.size:
            return cls((0.0,) * len(image), (1.0,) * len(image), gamma, colormap)
        low, high = np.percentile(pixels, percentiles, axis=1)
        return cls(tuple(map(float, low)), tuple(map(float, high)), gamma, colormap)

    def rgba(self, image: NDArray[Any], valid: NDArray[np.bool_] | None = None) -> NDArray[np.uint8]:
        """Colour an image (B, H, W) as (H, W, 4); what is not valid or not finite is transparent."""
        if len(image) != len(self.low):
            raise BadInput(explain("the image has other bands than the stretch", got=len(image),
                                   expected=len(self.low)))  # fmt: skip
        seen = np.isfinite(image).all(axis=0)
        seen = seen if valid is None else seen & valid
        levels = np.empty(image.shape, dtype=np.uint8)
        for band, (low, high) in enumerate(zip(self.low, self.high, strict=True)):
            span = high - low if high > low else 1.0
            share = np.clip((np.where(seen, image[band], low) - low) / span, 0, 1).astype(np.float32)
            levels[band] = _gamma_table(self.gamma)[np.rint(share * 1023).astype(np.int16)]
        out = np.empty((*image.shape[1:], 4), dtype=np.uint8)
        out[..., :3] = np.moveaxis(levels, 0, -1) if len(levels) == 3 else _ramp(self.colormap)[levels[0]]
        out[..., 3] = np.where(seen, 255, 0)
        return out


@lru_cache(maxsize=64)
def _gamma_table(gamma: float) -> NDArray[np.uint8]:
    return np.asarray(np.rint((np.arange(1024) / 1023) ** gamma * 255), dtype=np.uint8)


@lru_cache(maxsize=32)
def _ramp(name: str) -> NDArray[np.uint8]:
    if name == "gray":
        return np.repeat(np.arange(256, dtype=np.uint8)[:, None], 3, axis=1)
    import matplotlib as mpl

    colors = mpl.colormaps[name](np.arange(256), bytes=True)
    return np.asarray(colors, dtype=np.uint8)[:, :3]


def encode_webp(rgba: NDArray[np.uint8], *, exact: bool = False, quality: int = 82) -> bytes:
    """Encode (H, W, 4) as WebP.

    Args:
        rgba: The picture.
        exact: Keep every pixel's colour, as class maps need; else small files for images.
        quality: Of inexact pictures, 0 to 100.
    """
    stream = io.BytesIO()
    picture = Image.fromarray(rgba)
    if exact:
        picture.save(stream, "WEBP", lossless=True, quality=20, method=0, exact=False)
    else:
        picture.save(stream, "WEBP", quality=quality, method=1)
    return stream.getvalue()


def sprite_sheet(
    pictures: Sequence[NDArray[np.uint8]], cell_px: int, columns: int, *, smooth: bool = False
) -> NDArray[np.uint8]:
    """Put pictures (H, W, 4) of any size into the cells of one sheet, row by row.

    A picture keeps its shape: it is scaled to fit its cell and stands in the middle.

    Args:
        pictures: The pictures.
        cell_px: Side of a cell.
        columns: Cells in a row.
        smooth: Average pixels when a picture is made smaller (images), rather than take one (masks).

    Returns:
        (rows * cell_px, columns * cell_px, 4), transparent where there is no picture.
    """
    rows = max(1, math.ceil(len(pictures) / columns))
    sheet = np.zeros((rows * cell_px, columns * cell_px, 4), dtype=np.uint8)
    for number, picture in enumerate(pictures):
        small = _fit(picture, cell_px, smooth)
        top = number // columns * cell_px + (cell_px - small.shape[0]) // 2
        left = number % columns * cell_px + (cell_px - small.shape[1]) // 2
        sheet[top : top + small.shape[0], left : left + small.shape[1]] = small
    return sheet


def _fit(picture: NDArray[np.uint8], side: int, smooth: bool) -> NDArray[np.uint8]:
    height, width = picture.shape[:2]
    factor = side / max(height, width)
    size = (max(1, round(width * factor)), max(1, round(height * factor)))
    if size == (width, height):
        return picture
    how = Image.Resampling.BOX if smooth and factor < 1 else Image.Resampling.NEAREST
    return np.asarray(Image.fromarray(picture).resize(size, how))
