"""Samplers that visit a dataset in order: on a grid, or chip by chip."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
import shapely
import torch
from odc.geo.geobox import GeoBox
from shapely.geometry.base import BaseGeometry
from torch.utils.data import Sampler

from geotoolbox.core.query import Query, Region, TimeInterval
from geotoolbox.errors import BadInput, explain
from geotoolbox.sampling.areas import Area, areas_of
from geotoolbox.sampling.protocol import Sampled
from geotoolbox.sampling.random import _seed
from geotoolbox.sampling.windows import Size, Units, Window, size_px, starts, window_query

__all__ = ["GridGeoSampler", "PreChippedGeoSampler"]


class GridGeoSampler(Sampler[Query]):
    """Visits the valid area of each scene window by window, row by row from the top.

    Every valid pixel is in a window (with a stride up to the size): the last row and column end at
    the edge of the data. Where the scene is as large as the window, no window overhangs the grid; a
    smaller scene lies in the middle of its one window. Windows without any valid area, or wholly
    outside ``roi``, are left out.

    Args:
        dataset: What to visit.
        size: Side of the windows, or (height, width).
        stride: From one window to the next; by default the size.
        overlap: What neighbours share, instead of ``stride``.
        roi: Windows that meet this polygon only; a bare geometry is in the scenes' CRS.
        toi: Only scenes of this time.
        units: Whether lengths are in pixels or in units of the scene's CRS.

    Raises:
        NoOverlap: When no scene has data in the region and time.
        BadInput: When both ``stride`` and ``overlap`` are given, or make no step forward.
    """

    def __init__(
        self,
        dataset: Sampled,
        size: Size,
        stride: Size | None = None,
        *,
        overlap: Size | None = None,
        roi: Region | BaseGeometry | None = None,
        toi: TimeInterval | None = None,
        units: Units = "pixels",
    ) -> None:
        if stride is not None and overlap is not None:
            raise BadInput(explain("two ways to say one thing", where="stride and overlap", expected="one"))
        # Two scenes on one grid and of one time would give the same windows: a dict keeps each once.
        found: dict[tuple[GeoBox, TimeInterval], dict[Window, Area]] = {}
        for area in areas_of(dataset, roi, toi):
            grid = area.scene.geobox
            shape = size_px(size, grid, units)
            known = found.setdefault((grid, area.time), {})
            for window in _windows(area, shape, _step(shape, stride, overlap, area, units)):
                known.setdefault(window, area)
        self._windows = tuple((a, w) for known in found.values() for w, a in known.items())

    def __len__(self) -> int:
        return len(self._windows)

    def __iter__(self) -> Iterator[Query]:
        return (window_query(area.scene, window, area.time) for area, window in self._windows)


class PreChippedGeoSampler(Sampler[Query]):
    """Visits each scene whole, for data that is cut into chips already.

    Args:
        dataset: What to visit.
        shuffle: Visit in a new random order each epoch.
        roi: Only scenes with data in this polygon.
        toi: Only scenes of this time.
        seed: What repeats the orders.
        generator: Gives the seed, instead of ``seed``.
    """

    def __init__(
        self,
        dataset: Sampled,
        shuffle: bool = False,
        *,
        roi: Region | BaseGeometry | None = None,
        toi: TimeInterval | None = None,
        seed: int | None = None,
        generator: torch.Generator | None = None,
    ) -> None:
        self.shuffle = shuffle
        self.seed = _seed(seed, generator) if shuffle else 0
        self._epoch = 0
        self._queries = tuple(
            window_query(a.scene, Window(0, 0, *a.scene.geobox.shape), a.time)
            for a in areas_of(dataset, roi, toi)
        )

    def set_epoch(self, epoch: int) -> None:
        """Make the next iteration that of ``epoch`` (from 0)."""
        self._epoch = int(epoch)

    def __len__(self) -> int:
        return len(self._queries)

    def __iter__(self) -> Iterator[Query]:
        if not self.shuffle:
            return iter(self._queries)
        order = np.random.default_rng([self.seed, self._epoch]).permutation(len(self._queries))
        self._epoch += 1
        return iter([self._queries[i] for i in order])


def _step(
    shape: tuple[int, int], stride: Size | None, overlap: Size | None, area: Area, units: Units
) -> tuple[int, int]:
    grid = area.scene.geobox
    if stride is not None:
        return size_px(stride, grid, units, "stride")
    if overlap is None or overlap in (0, (0, 0)):
        return shape
    shared = size_px(overlap, grid, units, "overlap")
    step = (shape[0] - shared[0], shape[1] - shared[1])
    if min(step) < 1:
        raise BadInput(
            explain("the overlap is not smaller than the window", where="overlap", got=shared, expected=shape)
        )
    return step


def _windows(area: Area, shape: tuple[int, int], step: tuple[int, int]) -> list[Window]:
    minx, miny, maxx, maxy = area.polygon.bounds
    limit = area.scene.geobox.shape
    rows = starts(math.floor(miny + 1e-6), math.ceil(maxy - 1e-6), shape[0], step[0], limit[0])
    cols = starts(math.floor(minx + 1e-6), math.ceil(maxx - 1e-6), shape[1], step[1], limit[1])
    top, left = (g.ravel() for g in np.meshgrid(rows, cols, indexing="ij"))
    # A hair smaller, so that windows that only touch the area along an edge are left out.
    hair = 1e-6
    boxes = shapely.box(left + hair, top + hair, left + shape[1] - hair, top + shape[0] - hair)
    shapely.prepare(area.polygon)
    hit = shapely.intersects(area.polygon, boxes)
    return [Window(int(r), int(c), *shape) for r, c in zip(top[hit], left[hit], strict=True)]
