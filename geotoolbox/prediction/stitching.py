"""Pieces of polygons from blocks, and how they become whole patches again."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
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

from geotoolbox.core.cluster import Cluster, connected, map_on
from geotoolbox.core.events import Reporter, Stage
from geotoolbox.core.opening import open_raster

__all__ = ["Patches", "collect_patches"]

Shapes = NDArray[np.object_]
_Place = tuple[int, int, int, int]  # column, row, width, height


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


@dataclass(frozen=True, slots=True)
class _BlockPatches:
    """The polygons of one block, numbered from 1 on its edges (0: none).

    Attributes:
        geometry: Its polygons.
        value: Their class values.
        confidence: The sum of confidence in each, and of how many pixels: (2, n); None where none is asked for.
        top: Which polygon each pixel of the first row belongs to; and so on for the other edges.
    """

    geometry: Shapes
    value: NDArray[np.int64]
    confidence: NDArray[np.float64] | None
    top: NDArray[np.int64]
    bottom: NDArray[np.int64]
    left: NDArray[np.int64]
    right: NDArray[np.int64]


@dataclass(slots=True)
class _Pieces:
    """The polygons of all blocks so far, and which of them belong together."""

    geometry: list[Shapes] = field(default_factory=list)
    value: list[NDArray[np.int64]] = field(default_factory=list)
    confidence: list[NDArray[np.float64]] = field(default_factory=list)
    links: list[NDArray[np.int64]] = field(default_factory=list)
    count: int = 0

    def add(self, block: _BlockPatches) -> int:
        """Add a block's polygons; return how many there were before."""
        first = self.count
        if len(block.geometry):
            self.geometry.append(block.geometry)
            self.value.append(block.value)
            if block.confidence is not None:
                self.confidence.append(block.confidence)
        self.count += len(block.geometry)
        return first


def collect_patches(
    raster: DatasetReader,
    confidence: DatasetReader | None,
    block_px: int,
    reporter: Reporter,
    cluster: Cluster | None = None,
) -> Patches:
    """Polygonise block by block, here or on a cluster, and join the pieces that touch across a block line."""
    pieces, width = _Pieces(), raster.width
    stage = Stage(reporter, "polygonize", total=width * raster.height)
    windows = [
        (left, top, min(block_px, width - left), min(block_px, raster.height - top))
        for top in range(0, raster.height, block_px)
        for left in range(0, width, block_px)
    ]
    above = below = before = np.zeros(0, np.int64)
    with ExitStack() as stack:
        if cluster is None:
            blocks: Iterator[_BlockPatches] = (
                _polygonize_block(raster, confidence, Window(*place)) for place in windows
            )
        else:
            client = stack.enter_context(connected(cluster, preload=[__name__]))
            blocks = _on_cluster(client, raster, confidence, windows, reporter)
        for (left, top, wide, high), block in zip(windows, blocks, strict=True):
            if left == 0:
                above, below, before = below, np.zeros(width, np.int64), np.zeros(0, np.int64)
            first = pieces.add(block)
            if top:
                _link(pieces, above[left : left + wide], _from(block.top, first))
            if left:
                _link(pieces, before, _from(block.left, first))
            below[left : left + wide], before = _from(block.bottom, first), _from(block.right, first)
            stage.advance(wide * high)
    return _joined(pieces)


def _on_cluster(
    client: Any,
    raster: DatasetReader,
    confidence: DatasetReader | None,
    windows: Sequence[_Place],
    reporter: Reporter,
) -> Iterator[_BlockPatches]:
    path = str(Path(raster.name).absolute())
    other = None if confidence is None else str(Path(confidence.name).absolute())
    return map_on(
        client,
        partial(_polygonize_there, path, other),
        windows,
        reporter=reporter,
        name=lambda place: f"{path}, the block at column {place[0]}, row {place[1]}",
    )


def _polygonize_there(path: str, confidence_path: str | None, place: _Place) -> _BlockPatches:
    """Polygonise a block in a process of its own."""
    with ExitStack() as stack:
        raster = stack.enter_context(open_raster(path))
        confidence = stack.enter_context(open_raster(confidence_path)) if confidence_path else None
        return _polygonize_block(raster, confidence, Window(*place))


def _from(edge: NDArray[np.int64], first: int) -> NDArray[np.int64]:
    """Number the polygons of an edge among all blocks' (from 1; 0: none)."""
    return np.where(edge > 0, edge + first, 0)


def _polygonize_block(
    raster: DatasetReader, confidence: DatasetReader | None, window: Window
) -> _BlockPatches:
    """Return the polygons of a block, in pixel coordinates of the raster."""
    values = raster.read(1, window=window)
    label = _label(values, raster.read_masks(1, window=window) > 0)
    count = int(label.max(initial=0))
    edges = [label[0], label[-1], label[:, 0], label[:, -1]]
    top, bottom, left, right = (edge.astype(np.int64) for edge in edges)
    geometry, value = np.empty(count, object), np.zeros(count, np.int64)
    if count:
        shift = Affine.translation(window.col_off, window.row_off)
        found = list(shapes(label, mask=label > 0, connectivity=4, transform=shift))
        order = np.array([int(number) - 1 for _, number in found])
        geometry[order] = _polygons([shape["coordinates"] for shape, _ in found])
        value[label[label > 0] - 1] = values[label > 0]
    sums = None if confidence is None else _confidence_sums(confidence, window, label, count)
    return _BlockPatches(geometry, value, sums, top, bottom, left, right)


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
