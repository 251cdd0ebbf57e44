"""What a drawn window holds: classes, share of data, and which part of a split it lies in."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from shapely.geometry.base import BaseGeometry

from geotoolbox.core.query import Query, Reading, Region
from geotoolbox.indexing.geometry import geobox_polygon
from geotoolbox.sampling.areas import project

__all__ = ["WindowFacts", "class_balance", "part_of", "window_facts"]


@dataclass(frozen=True, slots=True)
class WindowFacts:
    """Facts of one window.

    Attributes:
        class_pixels: Labelled valid pixels of each class, by index.
        pixels: All pixels of the window.
        valid_pixels: Those with image data.
    """

    class_pixels: tuple[int, ...]
    pixels: int
    valid_pixels: int

    @property
    def nodata_share(self) -> float:
        """The share of pixels without image data, 0 to 1."""
        return 1.0 - self.valid_pixels / self.pixels

    @property
    def labelled_share(self) -> float:
        """The share of pixels with data and a label, 0 to 1."""
        return sum(self.class_pixels) / self.pixels


def window_facts(reading: Reading, class_count: int) -> WindowFacts:
    """Count classes and valid pixels of a reading.

    Example:
        >>> from affine import Affine
        >>> from odc.geo.geobox import GeoBox
        >>> grid = GeoBox((1, 3), Affine.identity(), "EPSG:3857")
        >>> mask = np.array([[0, 1, 1]])
        >>> window_facts(Reading(grid, None, mask, np.array([[True, True, False]])), 2)
        WindowFacts(class_pixels=(1, 1), pixels=3, valid_pixels=2)
    """
    valid = reading.valid if reading.valid.ndim == 2 else reading.valid.any(axis=0)
    counts: NDArray[np.int64] = np.zeros(class_count, dtype=np.int64)
    if reading.mask is not None:
        labelled = reading.mask[valid & (reading.mask >= 0) & (reading.mask < class_count)]
        counts = np.bincount(labelled, minlength=class_count)
    return WindowFacts(tuple(int(n) for n in counts), int(valid.size), int(np.count_nonzero(valid)))


def class_balance(
    facts: Sequence[WindowFacts], parts: Sequence[str], weights: Sequence[float] | None = None
) -> dict[str, tuple[int, ...]]:
    """Sum the classes of windows by the part of the split they lie in, each as often as its weight says.

    Example:
        >>> class_balance([WindowFacts((1, 3), 4, 4)] * 2, ["train", "val"], [2.0, 1.0])
        {'train': (2, 6), 'val': (1, 3)}
    """
    factors = weights or (1.0,) * len(facts)
    out: dict[str, NDArray[np.float64]] = {}
    for one, part, factor in zip(facts, parts, factors, strict=True):
        counts = np.asarray(one.class_pixels, dtype=np.float64) * factor
        out[part] = out[part] + counts if part in out else counts
    return {part: tuple(round(n) for n in counts.tolist()) for part, counts in out.items()}


def part_of(query: Query, regions: Mapping[str, Region]) -> str:
    """Return the part of a split that most of a window lies in; empty where it lies in none.

    Example:
        >>> from affine import Affine
        >>> from odc.geo.geobox import GeoBox
        >>> from shapely import box
        >>> window = Query(GeoBox((10, 10), Affine(1, 0, 0, 0, -1, 10), "EPSG:32612"))
        >>> part_of(window, {"train": Region(box(0, 0, 9, 10), "EPSG:32612")})
        'train'
    """
    outlines: dict[str, BaseGeometry] = {}
    best, most = "", 0.0
    for name, region in regions.items():
        if region.crs not in outlines:
            outlines[region.crs] = project(geobox_polygon(query.geobox, 8), query.geobox.crs, region.crs)
        shared = float(outlines[region.crs].intersection(region.geometry).area)
        if shared > most:
            best, most = name, shared
    return best
