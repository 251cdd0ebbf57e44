"""Reading what a plan says: pixels of a window, what of them is valid, and one resampling."""

from __future__ import annotations

import logging
from typing import Any

import numpy as np
import rasterio
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox
from rasterio.errors import RasterioError
from rasterio.windows import Window

from geotoolbox.alignment import kernels
from geotoolbox.alignment.plan import Part, ReadPlan, SourceWindow, plan_read
from geotoolbox.alignment.source import Resampling, Source
from geotoolbox.core.opening import check_read_size, handles
from geotoolbox.errors import CannotRead
from geotoolbox.errors import explain as message

__all__ = ["execute", "read_onto"]

_log = logging.getLogger(__name__)

Bools = NDArray[np.bool_]

_TOLD: set[tuple[str, tuple[int, ...]]] = set()  # files whose NaN were told of, so that a scene says it once

CHUNK_BYTES = 128 * 1024**2
"""Reads whose source window would take more are done in parts of the target."""
CHUNK_PX = 2048 * 2048


def read_onto(
    source: Source, geobox: GeoBox, resampling: Resampling = "auto", *, keep_dtype: bool = False
) -> tuple[NDArray[Any], Bools]:
    """Read a source onto a grid.

    Args:
        source: Bands of one file.
        geobox: The target grid.
        resampling: ``auto`` is bilinear for images and nearest for classes.
        keep_dtype: Return nearest and mode values in the source's own type rather than float32.

    Returns:
        Values (B, H, W), 0 where not valid; and valid (B, H, W), true where the source has data: at the
        pixel that the target pixel's centre falls in, or anywhere in its area for averages.

    Raises:
        CannotRead: When the file cannot be read, with path and window.
        CannotAlign: When there is no way from one grid to the other.
        TooLarge: When the result would take too much memory.
    """
    return execute(plan_read(source, geobox, resampling), keep_dtype=keep_dtype)


def execute(plan: ReadPlan, *, keep_dtype: bool = False) -> tuple[NDArray[Any], Bools]:
    """Read what a plan says; arguments, results and errors as :func:`read_onto`."""
    source = plan.source
    dtype = np.dtype(source.dtype if keep_dtype and plan.kernel in ("nearest", "mode") else np.float32)
    shape = (len(source.bands), *plan.geobox.shape)
    check_read_size(shape, dtype, where=source.path)
    if plan.kind == "empty":
        return np.zeros(shape, dtype=dtype), np.zeros(shape, dtype=bool)
    if _is_big(plan):
        return _in_halves(plan, keep_dtype, dtype)
    image, valid = _part(plan, plan.parts[0], dtype)
    for part in plan.parts[1:]:
        values, here = _part(plan, part, dtype)
        new = here & ~valid
        image[new] = values[new]
        valid = valid | new
    return image, valid


def _is_big(plan: ReadPlan) -> bool:
    height, width = plan.geobox.shape
    if height * width == 1 or plan.kind == "slice":
        return False
    pixels = max(p.window.width * p.window.height for p in plan.parts)
    size = pixels * len(plan.source.bands) * np.dtype(plan.source.dtype).itemsize
    return size > CHUNK_BYTES or height * width > CHUNK_PX


def _in_halves(plan: ReadPlan, keep_dtype: bool, dtype: np.dtype[Any]) -> tuple[NDArray[Any], Bools]:
    """Read two halves of the target one after the other, each with a plan of its own."""
    height, width = plan.geobox.shape
    shape = (len(plan.source.bands), height, width)
    image, valid = np.zeros(shape, dtype=dtype), np.zeros(shape, dtype=bool)
    if height >= width:
        middle = height // 2
        halves = [(slice(0, middle), slice(0, width)), (slice(middle, height), slice(0, width))]
    else:
        middle = width // 2
        halves = [(slice(0, height), slice(0, middle)), (slice(0, height), slice(middle, width))]
    for rows, cols in halves:
        part = plan_read(plan.source, plan.geobox[rows, cols], plan.kernel)
        image[:, rows, cols], valid[:, rows, cols] = execute(part, keep_dtype=keep_dtype)
    return image, valid


def _part(plan: ReadPlan, part: Part, dtype: np.dtype[Any]) -> tuple[NDArray[Any], Bools]:
    """Read one window and resample it onto the whole target."""
    if part.slices is not None:
        return _copy(plan, part, dtype)
    data, valid = _read(plan, part.window)
    u, v = part.pixels.coordinates()
    u, v = u - part.window.col, v - part.window.row
    if plan.kernel == "nearest":
        out, good = kernels.nearest(data, valid, u, v)
    elif plan.kernel == "mode":
        out, good = kernels.area_mode(data, valid, u, v, part.pixels.scale_fields())
    else:
        data = _as_float(data)
        if plan.kernel == "average":
            out, good = kernels.area_average(data, valid, u, v, part.pixels.scale_fields())
        else:
            out, good = (kernels.bilinear if plan.kernel == "bilinear" else kernels.cubic)(data, valid, u, v)
    height, width = plan.geobox.shape
    out, good = out[:, :height, :width], good[:, :height, :width]
    return _cast(out, dtype, plan.source.path), _whole(good, out.shape)


def _as_float(data: NDArray[Any]) -> NDArray[Any]:
    """Return values as float32 where that holds them exactly, else as float64."""
    small = data.dtype == np.float32 or data.dtype.itemsize <= 2
    return data.astype(np.float32 if small else np.float64, copy=False)


def _whole(valid: Bools, shape: tuple[int, ...]) -> Bools:
    return valid if valid.shape == shape and valid.flags.writeable else np.broadcast_to(valid, shape).copy()


def _copy(plan: ReadPlan, part: Part, dtype: np.dtype[Any]) -> tuple[NDArray[Any], Bools]:
    """Copy pixels as they are."""
    assert part.slices is not None
    rows, cols, row_step, col_step = part.slices
    u, v = part.pixels.u[0, cols], part.pixels.v[rows, 0]
    window = SourceWindow(col=int(np.floor(u.min())), row=int(np.floor(v.min())), width=u.size, height=v.size)
    check_read_size(
        (len(plan.source.bands), window.height, window.width), plan.source.dtype, where=plan.source.path
    )
    data, valid = _read(plan, window)
    data = _cast(data, dtype, plan.source.path)[:, ::row_step, ::col_step]
    shape = (data.shape[0], *plan.geobox.shape)
    if valid is not None:
        valid = valid[:, ::row_step, ::col_step]
    if data.shape == shape:
        return np.ascontiguousarray(data), np.ones(shape, bool) if valid is None else _whole(valid, shape)
    image, good = np.zeros(shape, dtype=dtype), np.zeros(shape, dtype=bool)
    image[:, rows, cols] = data
    good[:, rows, cols] = True if valid is None else valid
    return image, good


def _cast(data: NDArray[Any], dtype: np.dtype[Any], path: str) -> NDArray[Any]:
    """Bring values to the type asked for; whole numbers that float32 cannot hold are counted and told."""
    if data.dtype == dtype:
        return data
    out = data.astype(dtype)
    if data.dtype.kind in "iu" and data.dtype.itemsize > 2 and dtype == np.float32:
        lost = int(np.count_nonzero(np.abs(data.astype(np.float64)) > 2**24))
        if lost:
            _log.warning("%s: %d values above 2^24 lose digits as float32", path, lost)
    return out


def _read(plan: ReadPlan, window: SourceWindow) -> tuple[NDArray[Any], Bools | None]:
    """Read a window: values with 0 where invalid, and what is valid (None for all)."""
    source = plan.source
    place = Window(window.col, window.row, window.width, window.height)
    flags = {"allow_vrt": source.allow_vrt, "allow_remote": source.allow_remote}
    with handles().get(source.path, overview_level=plan.overview, **flags) as dataset:
        if plan.overview is None:
            _check_unchanged(source, dataset)
        try:
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
    for band, fill in enumerate(source.nodata):
        hit = None if fill is None else _equals(data[band], fill)
        if hit is not None:
            if found is None:
                found = np.ones(data.shape, dtype=bool)
            found[band] &= ~hit
    return None if found is None or found.all() else found


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
