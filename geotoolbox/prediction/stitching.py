"""Pieces of polygons from blocks, and how they become whole patches again."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import shapely
from affine import Affine
from numpy.typing import NDArray
from rasterio.features import shapes
from rasterio.io import DatasetReader
from rasterio.windows import Window
from scipy import ndimage
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from geotoolbox.core.events import Reporter, Stage

__all__ = ["Patches", "collect_patches"]

Shapes = NDArray[np.object_]


@dataclass(frozen=True, slots=True)
class Patches:
    """The patches of a class map: one polygon for each set of pixels of one class that share edges.

    Attributes:
        geometry: Polygons in pixel coordinates (column, row) on pixel corners.
        value: The class value of each.
        confidence: The mean confidence of each; NaN where none is known.
    """

    geometry: Shapes
    value: NDArray[np.int64]
    confidence: NDArray[np.float64]


@dataclass(slots=True)
class _Pieces:
    """The polygons of all blocks so far, and which of them belong together."""

    geometry: list[Shapes] = field(default_factory=list)
    value: list[NDArray[np.int64]] = field(default_factory=list)
    confidence: list[NDArray[np.float64]] = field(default_factory=list)
    links: list[NDArray[np.int64]] = field(default_factory=list)
    count: int = 0


def collect_patches(
    raster: DatasetReader, confidence: DatasetReader | None, block_px: int, reporter: Reporter
) -> Patches:
    """Polygonise block by block and join the pieces that touch across a block line."""
    pieces = _Pieces()
    stage = Stage(reporter, "polygonize", total=raster.width * raster.height)
    above: NDArray[np.int64] = np.zeros(0, np.int64)
    for top in range(0, raster.height, block_px):
        height = min(block_px, raster.height - top)
        below, before = np.zeros(raster.width, np.int64), np.zeros(0, np.int64)
        for left in range(0, raster.width, block_px):
            width = min(block_px, raster.width - left)
            window = Window(left, top, width, height)
            label = _polygonize_block(raster, confidence, window, pieces)
            if above.size:
                _link(pieces, above[left : left + width], label[0])
            if before.size:
                _link(pieces, before, label[:, 0])
            below[left : left + width], before = label[-1], label[:, -1].copy()
            stage.advance(width * height)
        above = below
    return _joined(pieces)


def _polygonize_block(
    raster: DatasetReader, confidence: DatasetReader | None, window: Window, pieces: _Pieces
) -> NDArray[np.int64]:
    """Add a block's polygons; return the number of the piece that each pixel belongs to (0: none)."""
    values = raster.read(1, window=window)
    label = _label(values, raster.read_masks(1, window=window) > 0)
    count = int(label.max(initial=0))
    if count == 0:
        return label.astype(np.int64)
    shift = Affine.translation(window.col_off, window.row_off)
    found = list(shapes(label, mask=label > 0, connectivity=4, transform=shift))
    order = np.array([int(number) - 1 for _, number in found])
    geometry = np.empty(count, object)
    geometry[order] = _polygons([shape["coordinates"] for shape, _ in found])
    value = np.zeros(count, np.int64)
    value[label[label > 0] - 1] = values[label > 0]
    pieces.geometry.append(geometry)
    pieces.value.append(value)
    if confidence is not None:
        pieces.confidence.append(_confidence_sums(confidence, window, label, count))
    first, pieces.count = pieces.count, pieces.count + count
    return np.where(label > 0, label.astype(np.int64) + first, 0)


def _label(values: NDArray[Any], valid: NDArray[np.bool_]) -> NDArray[np.int32]:
    """Number the patches of one class whose pixels share edges, from 1; 0 where not valid."""
    label, count = np.zeros(values.shape, np.int32), 0
    for value in np.unique(values[valid]):
        here = valid & (values == value)
        found, more = ndimage.label(here)
        label[here] = found[here] + count
        count += more
    return label


def _polygons(coordinates: Sequence[Sequence[Sequence[tuple[float, float]]]]) -> Shapes:
    """Return polygons from GeoJSON rings, all at once."""
    rings = [ring for polygon in coordinates for ring in polygon]
    ring_ends = np.cumsum([0, *(len(ring) for ring in rings)])
    polygon_ends = np.cumsum([0, *(len(polygon) for polygon in coordinates)])
    points = np.array([point for ring in rings for point in ring], np.float64)
    found = shapely.from_ragged_array(shapely.GeometryType.POLYGON, points, (ring_ends, polygon_ends))
    return np.asarray(found, object)


def _confidence_sums(
    confidence: DatasetReader, window: Window, label: NDArray[np.int32], count: int
) -> NDArray[np.float64]:
    """Return the sum of confidence over each piece, and of how many pixels: (2, count)."""
    data = confidence.read(1, window=window, masked=True)
    good = ~np.ma.getmaskarray(data) & np.isfinite(data.data) & (label > 0)
    index = label[good] - 1
    physical = data.data[good].astype(np.float64) * confidence.scales[0] + confidence.offsets[0]
    return np.stack([np.bincount(index, physical, count), np.bincount(index, minlength=count)])


def _link(pieces: _Pieces, one: NDArray[np.int64], other: NDArray[np.int64]) -> None:
    """Note the pairs of pieces of one class that face each other across a block line."""
    both = (one > 0) & (other > 0)
    pairs = np.unique(np.stack([one[both], other[both]], axis=1), axis=0) - 1
    if len(pairs):
        pieces.links.append(pairs)


def _joined(pieces: _Pieces) -> Patches:
    """Merge the linked pieces (only they are touched), and order the patches by class and place."""
    if pieces.count == 0:
        return Patches(np.empty(0, object), np.zeros(0, np.int64), np.zeros(0))
    geometry, value = np.concatenate(pieces.geometry), np.concatenate(pieces.value)
    links = np.concatenate([*pieces.links, np.zeros((0, 2), np.int64)])
    links = links[value[links[:, 0]] == value[links[:, 1]]]
    graph = coo_array((np.ones(len(links), bool), (links[:, 0], links[:, 1])), shape=(pieces.count,) * 2)
    count, group = connected_components(graph, directed=False)
    members = np.split(np.argsort(group, kind="stable"), np.cumsum(np.bincount(group))[:-1])
    merged = np.empty(count, object)
    for number, indices in enumerate(members):
        whole = geometry[indices[0]]
        if len(indices) > 1:
            whole = _without_straight_points(shapely.union_all(geometry[indices]))
        merged[number] = whole
    values = value[[indices[0] for indices in members]]
    sums = np.concatenate([*pieces.confidence], axis=1) if pieces.confidence else np.zeros((2, pieces.count))
    total, pixels = (np.bincount(group, row, count) for row in sums)
    mean = np.divide(total, pixels, out=np.full(count, np.nan), where=pixels > 0)
    merged = shapely.normalize(merged)
    left, top, right, bottom = shapely.bounds(merged).T
    order = np.lexsort((right, bottom, left, top, values))
    return Patches(merged[order], values[order], mean[order])


def _without_straight_points(polygon: shapely.Polygon) -> shapely.Polygon:
    """Remove points in the middle of straight edges, which a union leaves where blocks met."""
    rings = []
    for ring in (polygon.exterior, *polygon.interiors):
        points = shapely.get_coordinates(ring)[:-1]
        before, after = np.roll(points, 1, axis=0), np.roll(points, -1, axis=0)
        straight = ((before == points) & (points == after)).any(axis=1)
        rings.append(points[~straight])
    return shapely.Polygon(rings[0], rings[1:])
