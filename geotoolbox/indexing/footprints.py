"""Footprints: the polygon of valid data of one file, never smaller than the data.

The mask is read in strips and reduced to cells of at most 1/512 of the longer side; a cell counts when any
pixel in it is valid. Very large files with overviews are read from an overview and grown by one cell.
"""

from __future__ import annotations

import math

import numpy as np
import rasterio
import shapely
from affine import Affine
from numpy.typing import NDArray
from rasterio.enums import MaskFlags, Resampling
from rasterio.features import shapes
from rasterio.io import DatasetReader
from rasterio.windows import Window
from shapely.geometry import Polygon, shape
from shapely.geometry.base import BaseGeometry

__all__ = ["cells_polygon", "valid_cells", "valid_polygon"]

_CELLS = 512
_STRIP_PX = 4_000_000
_FULL_READ_PX = 400_000_000
_LEAST_CACHE, _MOST_CACHE = 16 << 20, 128 << 20


def valid_polygon(dataset: DatasetReader) -> BaseGeometry:
    """Return the polygon of valid data in the file's own CRS.

    Args:
        dataset: An open raster.

    Returns:
        The whole outline when nothing declares invalid pixels; an empty polygon when no pixel is valid.
    """
    outline = _outline(dataset.transform, dataset.width, dataset.height)
    if all(MaskFlags.all_valid in flags for flags in dataset.mask_flag_enums):
        return outline
    cells, step = valid_cells(dataset)
    if cells.all():
        return outline
    return cells_polygon(cells, dataset.transform * Affine.scale(step), outline)


def valid_cells(dataset: DatasetReader) -> tuple[NDArray[np.bool_], int]:
    """Return which square cells hold a valid pixel, and how many pixels a cell is wide."""
    step = max(1, math.ceil(max(dataset.width, dataset.height) / _CELLS))
    if dataset.width * dataset.height > _FULL_READ_PX and dataset.overviews(1):
        return _from_overview(dataset, step), step
    rows = math.ceil(dataset.height / step)
    cells = np.zeros((rows, math.ceil(dataset.width / step)), dtype=bool)
    per_strip = max(1, _STRIP_PX // (dataset.width * step))
    with rasterio.Env(GDAL_CACHEMAX=_cache_bytes(dataset)):
        for first in range(0, rows, per_strip):
            last = min(rows, first + per_strip)
            top, bottom = first * step, min(dataset.height, last * step)
            valid = _mask(dataset, Window(0, top, dataset.width, bottom - top))
            cells[first:last] = _any_in_cells(valid, step)
    return cells, step


def _cache_bytes(dataset: DatasetReader) -> int:
    """Return what holds two rows of the file's blocks; GDAL's own share of the memory would fill with blocks read once."""
    pixel = sum(16 if "complex" in name else np.dtype(name).itemsize for name in dataset.dtypes)
    return min(max(2 * dataset.block_shapes[0][0] * dataset.width * pixel, _LEAST_CACHE), _MOST_CACHE)


def _mask(dataset: DatasetReader, window: Window) -> NDArray[np.bool_]:
    found = np.zeros((int(window.height), int(window.width)), dtype=bool)
    shared = (MaskFlags.per_dataset, MaskFlags.alpha)
    flags = dataset.mask_flag_enums[0]
    bands = (1,) if any(f in flags for f in shared) else dataset.indexes
    for band in bands:
        if found.all():
            break
        found |= np.asarray(dataset.read_masks(band, window=window) != 0)
    return found


def _any_in_cells(valid: NDArray[np.bool_], step: int) -> NDArray[np.bool_]:
    if step == 1:
        return valid
    height, width = valid.shape
    rows, columns = math.ceil(height / step), math.ceil(width / step)
    padded = np.zeros((rows * step, columns * step), dtype=bool)
    padded[:height, :width] = valid
    return np.asarray(padded.reshape(rows, step, columns, step).any(axis=(1, 3)), dtype=bool)


def _from_overview(dataset: DatasetReader, step: int) -> NDArray[np.bool_]:
    shape_px = (math.ceil(dataset.height / step), math.ceil(dataset.width / step))
    cells = np.zeros(shape_px, dtype=bool)
    for band in dataset.indexes[:4]:
        cells |= dataset.read_masks(band, out_shape=shape_px, resampling=Resampling.nearest) != 0
    grown = cells.copy()
    for axis in (0, 1):
        before = grown.copy()
        for shift in (-1, 1):
            moved = np.roll(before, shift, axis=axis)
            edge = 0 if shift == 1 else -1
            moved[(edge, slice(None)) if axis == 0 else (slice(None), edge)] = False
            grown |= moved
    return grown


def cells_polygon(cells: NDArray[np.bool_], transform: Affine, outline: BaseGeometry) -> BaseGeometry:
    """Return the union of the cells that are true, cut to an outline.

    Example:
        >>> cells = np.array([[True, False], [False, False]])
        >>> cells_polygon(cells, Affine(10, 0, 0, 0, -10, 20), shapely.box(0, 0, 15, 20)).bounds
        (0.0, 10.0, 10.0, 20.0)
    """
    if not cells.any():
        return Polygon()
    found = shapes(cells.astype(np.uint8), mask=cells, transform=transform, connectivity=4)
    merged = shapely.union_all([shape(geometry) for geometry, _ in found])
    return merged.intersection(outline)


def _outline(transform: Affine, width: int, height: int) -> Polygon:
    return Polygon([transform * corner for corner in ((0, 0), (width, 0), (width, height), (0, height))])
