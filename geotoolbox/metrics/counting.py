"""Counting the pairs of one window: confusion counts of each block, of each region, by pixels and by area."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox

from geotoolbox.core.query import Region
from geotoolbox.datasets.masks import region_mask
from geotoolbox.metrics.pairs import Codes, PairReader
from geotoolbox.prediction.grids import pixel_area_m2
from geotoolbox.prediction.lattice import Window

__all__ = ["BlockSums", "CountPlan", "Sums", "WindowCounts", "count_window"]

Counts = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Sums:
    """(K + 2, K + 2) counts by reference and map code, and the same in m² of true area."""

    pixels: Counts
    area_m2: NDArray[np.float64]

    def __add__(self, other: Sums) -> Sums:
        """Return the sum of two."""
        return Sums(self.pixels + other.pixels, self.area_m2 + other.area_m2)


@dataclass(frozen=True, slots=True)
class BlockSums:
    """The sums of one block, and where it is in its scene."""

    window: Window
    sums: Sums


@dataclass(frozen=True, slots=True)
class CountPlan:
    """What is counted in each window of a scene.

    Attributes:
        reader: Reads both layers.
        geobox: The scene's grid.
        block_px: Side of the blocks.
        region: Count only pixels whose centre is inside.
        regions: Areas to count one by one, too, by name; they may overlap.
        picture_step_px: Keep every n-th pixel for a picture.
        keep_codes: Keep the joint codes of all pixels.
    """

    reader: PairReader
    geobox: GeoBox
    block_px: int
    region: Region | None = None
    regions: Mapping[str, Region] = field(default_factory=dict)
    picture_step_px: int = 1
    keep_codes: bool = False


@dataclass(frozen=True, slots=True)
class WindowCounts:
    """What was counted in a window.

    Attributes:
        window: Where, in the scene.
        blocks: Sums of each block.
        regions: Sums of each block by region, where there is anything.
        truth: Every n-th code of the reference, for a picture.
        predicted: The same of the map.
        outside: Mapped pixels outside the region.
        codes: (H, W) ``reference · (K + 2) + map``; None where they were not asked for.
    """

    window: Window
    blocks: tuple[BlockSums, ...]
    regions: Mapping[str, tuple[BlockSums, ...]]
    truth: Codes
    predicted: Codes
    outside: int = 0
    codes: NDArray[np.integer] | None = None


def count_window(plan: CountPlan, window: Window) -> WindowCounts:
    """Read and count one window; its corner is a corner of a block."""
    geobox = plan.geobox[window.top : window.bottom, window.left : window.right]
    inside = None if plan.region is None else region_mask(plan.region, geobox)
    k = plan.reader.num_classes
    if inside is not None and not inside.any():
        nothing = np.full(geobox.shape, k, dtype=np.uint8 if k < 254 else np.uint16)
        return _finish(plan, window, (nothing, nothing))
    truth, predicted = plan.reader.read_truth(geobox), plan.reader.read_map(geobox)
    outside = 0
    if inside is not None and not inside.all():
        outside = int(np.count_nonzero(~inside & (predicted < k)))
        truth[~inside] = predicted[~inside] = k
    codes = _joint(truth, predicted, k)
    areas = pixel_area_m2(plan.geobox, window) if geobox.crs is not None else np.full(window.height, np.nan)
    blocks = _blocks(codes, window, plan, areas)
    by_region = {
        name: _blocks(codes, window, plan, areas, region_mask(region, geobox))
        for name, region in plan.regions.items()
    }
    return _finish(
        plan, window, (truth, predicted), blocks=blocks, regions=by_region, outside=outside, codes=codes
    )


def _finish(
    plan: CountPlan,
    window: Window,
    pair: tuple[Codes, Codes],
    *,
    blocks: Sequence[BlockSums] = (),
    regions: Mapping[str, tuple[BlockSums, ...]] | None = None,
    outside: int = 0,
    codes: NDArray[np.integer] | None = None,
) -> WindowCounts:
    step, k = plan.picture_step_px, plan.reader.num_classes
    thinned = np.s_[-window.top % step :: step, -window.left % step :: step]
    if plan.keep_codes and codes is None:
        codes = _joint(*pair, k)
    return WindowCounts(
        window,
        tuple(blocks),
        {name: found for name, found in (regions or {}).items() if found},
        pair[0][thinned].copy(),
        pair[1][thinned].copy(),
        outside,
        codes if plan.keep_codes else None,
    )


def _joint(truth: Codes, predicted: Codes, num_classes: int) -> NDArray[np.integer]:
    """Return ``truth · (K + 2) + predicted`` in the smallest type."""
    side = num_classes + 2
    dtype = next(t for t in (np.uint8, np.uint16, np.uint32) if side * side - 1 <= np.iinfo(t).max)
    codes: NDArray[np.integer] = np.multiply(truth, side, dtype=dtype)
    codes += predicted
    return codes


def _blocks(
    codes: NDArray[np.integer],
    window: Window,
    plan: CountPlan,
    areas: NDArray[np.float64],
    mask: NDArray[np.bool_] | None = None,
) -> tuple[BlockSums, ...]:
    if mask is not None and not mask.any():
        return ()
    side, crs = plan.reader.num_classes + 2, plan.geobox.crs
    steady = crs is None or bool(crs.projected)
    found = []
    for top in range(0, window.height, plan.block_px):
        for left in range(0, window.width, plan.block_px):
            here = np.s_[top : top + plan.block_px, left : left + plan.block_px]
            inner = None if mask is None else mask[here]
            if inner is not None and not inner.any():
                continue
            sums = _count(codes[here], areas[here[0]], side, steady, inner)
            height, width = codes[here].shape
            row, column = window.top + top, window.left + left
            found.append(BlockSums(Window(row, row + height, column, column + width), sums))
    return tuple(found)


def _count(
    codes: NDArray[np.integer],
    areas: NDArray[np.float64],
    side: int,
    steady: bool,
    mask: NDArray[np.bool_] | None,
) -> Sums:
    flat = codes.ravel() if mask is None else codes[mask]
    pixels = np.bincount(flat, minlength=side * side).astype(np.int64, copy=False)
    if steady:  # in a projected CRS a block's pixels differ by less than a thousandth
        area: NDArray[Any] = pixels * float(areas[len(areas) // 2])
    else:
        weights = np.broadcast_to(areas[:, None], codes.shape)
        flat_weights = weights.ravel() if mask is None else weights[mask]
        area = np.bincount(flat, weights=flat_weights, minlength=side * side)
    return Sums(pixels.reshape(side, side), area.astype(np.float64, copy=False).reshape(side, side))
