"""Reading what a plan says: pixels of a window, what of them is valid, and one resampling."""

from __future__ import annotations

import logging
from typing import Any

import numpy as np
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox

from geotoolbox.alignment import kernels
from geotoolbox.alignment.pixelmap import PixelMap
from geotoolbox.alignment.plan import Kernel, Part, ReadPlan, SourceWindow, plan_read
from geotoolbox.alignment.reading import read_straight, read_window
from geotoolbox.alignment.source import Resampling, Source
from geotoolbox.core.opening import check_read_size
from geotoolbox.core.scratch import SCRATCH

__all__ = ["execute", "execute_into", "read_onto"]

_log = logging.getLogger(__name__)

Bools = NDArray[np.bool_]

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
    image, valid = execute_into(plan, keep_dtype=keep_dtype)
    return image, np.ones(image.shape, dtype=bool) if valid is None else _whole(valid, image.shape)


def execute_into(
    plan: ReadPlan, out: NDArray[Any] | None = None, *, keep_dtype: bool = False
) -> tuple[NDArray[Any], Bools | None]:
    """Read what a plan says, into memory that is there, and say what is valid only where not all is.

    Args:
        plan: What to read, and how.
        out: (B, H, W) of the result's type to write to; None makes it.
        keep_dtype: As for :func:`read_onto`.

    Returns:
        Values (B, H, W), in ``out`` where it is given; and valid, (B, H, W) or (1, H, W), or None where all is.
    """
    source = plan.source
    dtype = np.dtype(source.dtype if keep_dtype and plan.kernel in ("nearest", "mode") else np.float32)
    shape = (len(source.bands), *plan.geobox.shape)
    check_read_size(shape, dtype, where=source.path)
    if plan.kind == "empty":
        return _into(np.zeros(shape, dtype=dtype), out), np.zeros((1, *plan.geobox.shape), dtype=bool)
    if _is_big(plan):
        image, valid = _in_halves(plan, keep_dtype, dtype)
        return _into(image, out), valid
    image, found = _part(plan, plan.parts[0], dtype, out)
    if found is None or len(plan.parts) == 1:
        return image, found
    valid = _whole(found, image.shape)
    for part in plan.parts[1:]:
        values, here = _part(plan, part, dtype, None)
        new = ~valid if here is None else here & ~valid
        image[new] = values[new]
        valid = valid | new
    return image, valid


def _into(image: NDArray[Any], out: NDArray[Any] | None) -> NDArray[Any]:
    if out is None:
        return image
    np.copyto(out, image)
    return out


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


def _part(
    plan: ReadPlan, part: Part, dtype: np.dtype[Any], out: NDArray[Any] | None
) -> tuple[NDArray[Any], Bools | None]:
    """Read one window and resample it onto the whole target."""
    if part.slices is not None:
        return _copy(plan, part, dtype, out)
    assert part.pixels is not None
    if plan.kernel in ("nearest", "bilinear"):
        return _near(plan, part, part.pixels, dtype, out)
    data, valid = read_window(plan, part.window)
    u, v = part.pixels.coordinates()
    u, v = u - part.window.col, v - part.window.row
    values, good = _resampled(plan.kernel, data, valid, part.pixels, (u, v))
    height, width = plan.geobox.shape
    return _cast(values[:, :height, :width], dtype, plan.source.path, out), good[:, :height, :width]


def _near(
    plan: ReadPlan, part: Part, pixels: PixelMap, dtype: np.dtype[Any], out: NDArray[Any] | None
) -> tuple[NDArray[Any], Bools | None]:
    """Take the nearest pixel, or weigh four: compiled loops, straight into the memory that is there."""
    if plan.kernel == "nearest":
        data, valid = read_window(plan, part.window)
        kernel = kernels.nearest
    else:
        data, valid = _floats(plan, part.window)
        kernel = kernels.bilinear
    u, v = pixels.passing_coordinates()
    corner = (part.window.col, part.window.row)
    fits = out is not None and out.dtype == data.dtype
    values, here = kernel(data, valid, u, v, corner, out=out if fits else None)
    return (values if fits else _cast(values, dtype, plan.source.path, out)), here


def _floats(plan: ReadPlan, window: SourceWindow) -> tuple[NDArray[Any], Bools | None]:
    """Read a window as floats, (B, h, w), 0 where invalid, not to be kept; and what is valid, None for all."""
    room = SCRATCH.array("window", (len(plan.source.bands), window.height, window.width), np.float32)
    done = read_straight(plan, window, room)
    if done is not None:
        return room, done[0]
    values, valid = read_window(plan, window)
    return _as_float(values), valid


def _resampled(
    kernel: Kernel,
    data: NDArray[Any],
    valid: Bools | None,
    pixels: PixelMap,
    places: tuple[NDArray[np.float64], NDArray[np.float64]],
) -> tuple[NDArray[Any], Bools]:
    if kernel == "mode":
        return kernels.area_mode(data, valid, *places, pixels.scale_fields())
    data = _as_float(data)
    if kernel == "average":
        return kernels.area_average(data, valid, *places, pixels.scale_fields())
    return kernels.cubic(data, valid, *places)


def _as_float(data: NDArray[Any]) -> NDArray[Any]:
    """Return values as float32 where that holds them exactly, else as float64."""
    small = data.dtype == np.float32 or data.dtype.itemsize <= 2
    return data.astype(np.float32 if small else np.float64, copy=False)


def _whole(valid: Bools, shape: tuple[int, ...]) -> Bools:
    return valid if valid.shape == shape and valid.flags.writeable else np.broadcast_to(valid, shape).copy()


def _copy(
    plan: ReadPlan, part: Part, dtype: np.dtype[Any], out: NDArray[Any] | None
) -> tuple[NDArray[Any], Bools | None]:
    """Copy pixels as they are."""
    assert part.slices is not None
    rows, cols, row_step, col_step = part.slices
    window = part.window
    if part.pixels is not None:
        u, v = part.pixels.u[0, cols], part.pixels.v[rows, 0]
        window = SourceWindow(int(np.floor(u.min())), int(np.floor(v.min())), u.size, v.size)
    check_read_size(
        (len(plan.source.bands), window.height, window.width), plan.source.dtype, where=plan.source.path
    )
    if out is not None and (row_step, col_step) == (1, 1) and out.shape[1:] == (window.height, window.width):
        done = read_straight(plan, window, out)
        if done is not None:
            return out, done[0]
    data, valid = read_window(plan, window)
    data = data[:, ::row_step, ::col_step]
    if valid is not None:
        valid = valid[:, ::row_step, ::col_step]
    shape = (data.shape[0], *plan.geobox.shape)
    if data.shape == shape:
        return np.ascontiguousarray(_cast(data, dtype, plan.source.path, out)), valid
    image = np.zeros(shape, dtype=dtype) if out is None else out
    image[...] = 0
    good = np.zeros(shape, dtype=bool)
    image[:, rows, cols] = _cast(data, dtype, plan.source.path, None)
    good[:, rows, cols] = True if valid is None else valid
    return image, good


def _cast(data: NDArray[Any], dtype: np.dtype[Any], path: str, out: NDArray[Any] | None) -> NDArray[Any]:
    """Bring values to the type asked for; whole numbers that float32 cannot hold are counted and told."""
    if data.dtype.kind in "iu" and data.dtype.itemsize > 2 and dtype == np.float32:
        lost = int(np.count_nonzero(np.abs(data.astype(np.float64)) > 2**24))
        if lost:
            _log.warning("%s: %d values above 2^24 lose digits as float32", path, lost)
    if out is None:
        return data.astype(dtype, copy=False)
    np.copyto(out, data, casting="unsafe")
    return out
