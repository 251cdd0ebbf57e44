"""Pixels of a window of a file, and what of them is valid."""

from __future__ import annotations

import logging
from contextlib import AbstractContextManager
from typing import Any

import numpy as np
import rasterio
from numpy.typing import NDArray
from rasterio.errors import RasterioError
from rasterio.windows import Window

from geotoolbox.alignment.plan import ReadPlan, SourceWindow
from geotoolbox.alignment.source import Source
from geotoolbox.core.opening import OpenRaster, handles
from geotoolbox.errors import CannotRead
from geotoolbox.errors import explain as message

__all__ = ["read_straight", "read_window"]

_log = logging.getLogger(__name__)

Bools = NDArray[np.bool_]

_TOLD: set[tuple[str, tuple[int, ...]]] = set()  # files whose NaN were told of, so that a scene says it once


def read_straight(plan: ReadPlan, window: SourceWindow, out: NDArray[Any]) -> tuple[Bools | None] | None:
    """Read plain bytes straight into float32 that holds them exactly: (what is valid), or None for another way."""
    source = plan.source
    if source.has_mask or plan.overview is not None or out.dtype != np.float32:
        return None
    if source.nodata.count(source.nodata[0]) < len(source.nodata):
        return None
    with _held(source, plan.overview) as handle:
        plain = handle.plain
        if plain is None or not (plain.dtype == np.float32 or plain.dtype.itemsize <= 2):
            return None
        _check_unchanged(source, handle.dataset)
        clean = plain.copy(source.bands, window.row, window.col, out, source.nodata[0])
    if clean is None:
        return None
    valid = None if clean else _valid(out, source, None)
    if valid is not None:
        out[~valid] = 0
    return (valid,)


def _held(source: Source, overview: int | None) -> AbstractContextManager[OpenRaster]:
    return handles().hold(
        source.path, overview_level=overview, allow_vrt=source.allow_vrt, allow_remote=source.allow_remote
    )


def read_window(plan: ReadPlan, window: SourceWindow) -> tuple[NDArray[Any], Bools | None]:
    """Read a window: values with 0 where invalid, and what is valid (None for all)."""
    source = plan.source
    place = Window(window.col, window.row, window.width, window.height)
    with _held(source, plan.overview) as handle:
        dataset = handle.dataset
        if plan.overview is None:
            _check_unchanged(source, dataset)
        try:
            data = None
            if handle.plain is not None:
                data = handle.plain.read(source.bands, window.row, window.col, window.height, window.width)
            if data is None:
                data = dataset.read(list(source.bands), window=place)
            mask = dataset.read_masks(list(source.bands), window=place) > 0 if source.has_mask else None
        except (RasterioError, OSError, ValueError) as error:
            raise CannotRead(
                message(
                    "these pixels cannot be read",
                    where=f"{source.path}, columns {window.col}–{window.col + window.width - 1}, "
                    f"rows {window.row}–{window.row + window.height - 1}",
                    got=str(error.__cause__ or error),
                    fix="the file is damaged or was cut short: copy or download it again",
                )
            ) from error
    valid = _valid(data, source, mask)
    if valid is not None:
        data[~valid] = 0
    return data, valid


def _check_unchanged(source: Source, dataset: rasterio.DatasetReader) -> None:
    if dataset.shape != tuple(source.geobox.shape) or max(source.bands) > dataset.count:
        raise CannotRead(
            message(
                "this file has changed since it was indexed",
                where=source.path,
                got=f"{dataset.width} × {dataset.height}, {dataset.count} bands",
                expected=f"{source.geobox.shape[1]} × {source.geobox.shape[0]}",
                fix="index the folder again",
            )
        )


def _valid(data: NDArray[Any], source: Source, mask: Bools | None) -> Bools | None:
    """Return what is valid, (B, h, w); None when all is."""
    found = mask
    if data.dtype.kind == "f":
        finite = np.isfinite(data)
        if not finite.all():
            _tell_not_finite(data, source)
        found = finite if found is None else found & finite
    if _no_fill(data, source.nodata):
        return None if found is None or found.all() else found
    for band, fill in enumerate(source.nodata):
        hit = None if fill is None else _equals(data[band], fill)
        if hit is not None and hit.any():
            if found is None:
                found = np.ones(data.shape, dtype=bool)
            found[band] &= ~hit
    return None if found is None or found.all() else found


def _no_fill(data: NDArray[Any], fills: tuple[float | None, ...]) -> bool:
    """Tell quickly that no value is the fill value, where all bands of whole numbers share one."""
    if data.dtype.kind == "f" or fills.count(fills[0]) < len(fills):
        return False
    hit = None if fills[0] is None else _equals(data, fills[0])
    return hit is None or not hit.any()


def _tell_not_finite(data: NDArray[Any], source: Source) -> None:
    """Say once a file that NaN and infinity count as no data, unless the file declares them as that."""
    declared = [fill is not None and np.isnan(fill) for fill in source.nodata]
    spoilt = sum(
        int((np.isinf(plane) if known else ~np.isfinite(plane)).sum())
        for plane, known in zip(data, declared, strict=True)
    )
    if spoilt and (source.path, source.bands) not in _TOLD:
        _TOLD.add((source.path, source.bands))
        _log.warning(
            "%s: %d values in the first window with any are NaN or infinite; they count as no data",
            source.path,
            spoilt,
        )


def _equals(plane: NDArray[Any], fill: float) -> Bools | None:
    """Tell where a band is its fill value; None where that cannot be."""
    if plane.dtype.kind == "f":
        if not np.isfinite(fill):
            return None
        if abs(fill) >= np.finfo(np.float32).max * (1 - 1e-5) and plane.dtype == np.float32:
            # The lowest or highest float32, often written with too few digits in headers.
            return plane <= fill * (1 - 1e-5) if fill < 0 else plane >= fill * (1 - 1e-5)
        near = plane.dtype.type(fill)
        return np.asarray(abs(plane - near) <= 4 * np.spacing(abs(near)))
    limits = np.iinfo(plane.dtype)
    if not (np.isfinite(fill) and float(fill).is_integer() and limits.min <= fill <= limits.max):
        return None
    return np.asarray(plane == plane.dtype.type(int(fill)))
