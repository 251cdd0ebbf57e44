"""What is read from: some bands of one file, their grid and their fill values."""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from odc.geo.geobox import GeoBox
from shapely.geometry.base import BaseGeometry

from geotoolbox.core.header import RasterHeader
from geotoolbox.core.opening import handles
from geotoolbox.errors import BadInput, MixedSources
from geotoolbox.errors import explain as message

__all__ = ["Resampling", "Source", "overview_shape"]

_log = logging.getLogger(__name__)

Resampling = Literal["nearest", "bilinear", "cubic", "average", "mode", "auto"]
"""How values between source pixels are found; ``auto`` is bilinear for images, nearest for classes."""


@dataclass(frozen=True, slots=True)
class Source:
    """Some bands of one raster file.

    Attributes:
        path: The file.
        geobox: Its own pixel grid.
        bands: Band numbers, from 1.
        dtype: The one numpy type of these bands.
        nodata: The fill value of each of these bands, or None.
        overviews: Factors of the overviews, finest first.
        block_shape: (rows, columns) of the file's own blocks.
        has_mask: Whether a mask or alpha band tells what is valid (beside ``nodata``).
        footprint: The polygon of valid data in the file's CRS, or None where it is not known.
        scale: What to multiply each band by; never applied here.
        offset: What to add to each band afterwards; never applied here.
        categorical: Whether the values are classes, which must not be averaged.
        allow_vrt: Whether the file may be a VRT.
        allow_remote: Whether the path may be remote.
    """

    path: str
    geobox: GeoBox
    bands: tuple[int, ...]
    dtype: str
    nodata: tuple[float | None, ...]
    overviews: tuple[int, ...] = ()
    block_shape: tuple[int, int] = (256, 256)
    has_mask: bool = False
    footprint: BaseGeometry | None = None
    scale: tuple[float, ...] = ()
    offset: tuple[float, ...] = ()
    categorical: bool = False
    allow_vrt: bool = False
    allow_remote: bool = False

    @classmethod
    def from_header(
        cls,
        header: RasterHeader,
        *,
        bands: Sequence[int] | None = None,
        nodata: float | None = None,
        footprint: BaseGeometry | None = None,
        categorical: bool = False,
        allow_vrt: bool = False,
        allow_remote: bool = False,
    ) -> Source:
        """Make a source from a file's header.

        Args:
            header: What :func:`geotoolbox.core.header.describe` returned.
            bands: Band numbers from 1, in the order wanted; None for all but alpha.
            nodata: A fill value to take in place of the declared one, for all bands.
            footprint: The polygon of valid data in the file's CRS.
            categorical: Whether the values are classes.
            allow_vrt: Whether the file may be a VRT.
            allow_remote: Whether the path may be remote.

        Raises:
            CannotAlign: When the file has no pixel grid on the ground.
            BadInput: When a band is not in the file, or its values are complex.
            MixedSources: When the bands differ in data type.
        """
        chosen = tuple(header.image_bands or range(1, header.count + 1)) if bands is None else tuple(bands)
        _check_bands(header, chosen)
        dtype = header.dtypes[chosen[0] - 1]
        fills = tuple(header.nodata[b - 1] if nodata is None else nodata for b in chosen)
        _warn_of_impossible_fills(header.path, dtype, fills)
        return cls(
            path=header.path,
            geobox=header.geobox,
            bands=chosen,
            dtype=dtype,
            nodata=fills,
            overviews=header.overviews,
            block_shape=header.block_shape,
            has_mask=any("per_dataset" in header.mask_flags[b - 1] for b in chosen),
            footprint=footprint,
            scale=tuple(header.scales[b - 1] for b in chosen),
            offset=tuple(header.offsets[b - 1] for b in chosen),
            categorical=categorical,
            allow_vrt=allow_vrt,
            allow_remote=allow_remote,
        )


def _check_bands(header: RasterHeader, bands: tuple[int, ...]) -> None:
    wrong = [b for b in bands if not 1 <= b <= header.count]
    if wrong or not bands:
        raise BadInput(
            message(
                "no such band", where=header.path, got=f"bands {list(bands)}", expected=f"1 to {header.count}"
            )
        )
    dtypes = sorted({header.dtypes[b - 1] for b in bands})
    if len(dtypes) > 1:
        raise MixedSources(
            message(
                "the bands of this file differ in data type",
                where=header.path,
                got=", ".join(dtypes),
                expected="one data type",
                fix="choose bands= of one type, or write the file with one type",
            )
        )
    if dtypes[0].startswith("complex"):
        raise BadInput(
            message(
                f"data type {dtypes[0]} is not supported",
                where=header.path,
                expected="real numbers",
                fix="write the amplitude or the real and imaginary parts to a file of their own",
            )
        )


def _warn_of_impossible_fills(path: str, dtype: str, fills: tuple[float | None, ...]) -> None:
    """Say once that a declared fill value cannot occur, since every pixel then counts as data."""
    impossible = sorted({str(f) for f in fills if f is not None and not _can_hold(dtype, f)})
    if impossible:
        _log.warning(
            "%s: nodata %s cannot occur in %s, so no pixel is invalid by it; declare the right value with nodata=",
            path,
            ", ".join(impossible),
            dtype,
        )


def _can_hold(dtype: str, value: float) -> bool:
    kind = np.dtype(dtype)
    if kind.kind == "f":
        return True
    limits = np.iinfo(kind)
    return math.isfinite(value) and float(value).is_integer() and limits.min <= value <= limits.max


def overview_shape(source: Source, position: int) -> tuple[int, int]:
    """Return (rows, columns) of an overview.

    Where a factor does not divide the sides, some writers round up and others (GDAL's COG driver) down, so the file is
    asked; elsewhere nothing is opened.

    Args:
        source: What is read from.
        position: Position in ``source.overviews``.
    """
    factor = source.overviews[position]
    height, width = source.geobox.shape
    if height % factor == 0 and width % factor == 0:
        return height // factor, width // factor
    with handles().hold(
        source.path,
        overview_level=position,
        allow_vrt=source.allow_vrt,
        allow_remote=source.allow_remote,
    ) as handle:
        rows, columns = handle.dataset.shape
    return int(rows), int(columns)
