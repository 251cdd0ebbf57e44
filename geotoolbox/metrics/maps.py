"""A map compared with a reference, block by block, on the map's own grid."""

from __future__ import annotations

import logging
import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox
from odc.geo.geom import Geometry
from pyproj import CRS, Geod, Transformer
from rasterio.features import geometry_mask
from shapely import segmentize
from shapely.geometry import box, mapping

from geotoolbox.core.classes import IGNORE_INDEX, ClassTable
from geotoolbox.core.events import SILENT, Reporter, Stage
from geotoolbox.core.query import Query, Reading, Region, Scene
from geotoolbox.errors import BadInput, BadLabels, NoOverlap, explain
from geotoolbox.metrics.confusion import ConfusionMatrix
from geotoolbox.metrics.matching import ClassMatch, match_classes
from geotoolbox.metrics.scores import Scores, compute_scores

__all__ = ["BlockCounts", "LabelLayer", "MapComparison", "Overview", "compare_maps", "match_classes"]

_LOG = logging.getLogger(__name__)
_GEOD = Geod(ellps="WGS84")


class LabelLayer(Protocol):
    """What is compared: any dataset with classes."""

    @property
    def classes(self) -> ClassTable | None:
        """The classes that the layer's masks refer to."""

    def scenes(self) -> tuple[Scene, ...]:
        """The native grids."""

    def read(self, query: Query) -> Reading:
        """Read a mask onto a grid."""


@dataclass(frozen=True, slots=True)
class BlockCounts:
    """One block: centre (x, y) in the scene's CRS, shape in pixels, true area of a pixel, and counts."""

    scene: str
    x: float
    y: float
    row_px: int
    column_px: int
    shape_px: tuple[int, int]
    pixel_area_m2: float
    counts: NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Overview:
    """A thinned picture of one compared scene: every ``step_px``-th pixel of both layers.

    ``truth`` and ``predicted`` are (H, W) indices into the shared classes, ``IGNORE_INDEX`` where there
    is none; ``bounds`` is (left, bottom, right, top) in ``crs``.
    """

    scene: str
    truth: NDArray[np.int64]
    predicted: NDArray[np.int64]
    bounds: tuple[float, float, float, float]
    crs: str
    step_px: int
    geobox: GeoBox


@dataclass(frozen=True, slots=True)
class MapComparison:
    """What :func:`compare_maps` found.

    Attributes:
        confusion: Counts of all blocks; also how many pixels had no label, or no map.
        match: How the classes of both layers were brought together.
        blocks: Counts of each block with at least one compared pixel.
        overviews: A small picture of each scene.
        compared_area_m2: The true ground area of the compared pixels.
    """

    confusion: ConfusionMatrix
    match: ClassMatch
    blocks: tuple[BlockCounts, ...]
    overviews: tuple[Overview, ...]
    compared_area_m2: float
    outside_region: int = 0
    notes: tuple[str, ...] = field(default=())

    @property
    def classes(self) -> ClassTable:
        """The classes of both layers."""
        return self.match.classes

    @property
    def scores(self) -> Scores:
        """The scores of all compared pixels."""
        return compute_scores(self.confusion.counts, self.classes.names)

    def to_json(self) -> dict[str, Any]:
        """Return plain data for a metrics file."""
        return {
            **self.scores.to_json(),
            "confusion": self.confusion.counts.tolist(),
            "confusion_rows": "reference",
            "class_table": self.classes.to_json(),
            "classes_matched_by": self.match.how,
            "unlabelled_pixels": self.confusion.unlabelled,
            "unmapped_pixels": self.confusion.unmapped,
            "compared_area_m2": None if math.isnan(self.compared_area_m2) else self.compared_area_m2,
            "notes": list(self.notes),
        }


def compare_maps(
    map_layer: LabelLayer,
    reference: LabelLayer,
    *,
    region: Region | None = None,
    block_px: int = 1024,
    overview_px: int = 640,
    reporter: Reporter = SILENT,
) -> MapComparison:
    """Compare a map with a reference layer, pixel by pixel on the map's grid, in bounded memory.

    Args:
        map_layer: The map, a dataset of labels.
        reference: The truth: any dataset with labels, on any grid.
        region: Compare only pixels whose centre is inside; everywhere when None.
        block_px: The side of the blocks that are read and counted at a time.
        overview_px: The longest side of the pictures kept for a report.
        reporter: Who hears of the progress, and can cancel.

    Returns:
        Counts, per-block counts and small pictures.

    Raises:
        BadLabels: When a layer has no classes, or they have none in common.
        NoOverlap: When not one pixel has both a map class and a reference class.
    """
    if block_px < 1 or overview_px < 1:
        raise BadInput(explain("sizes must be positive", got=(block_px, overview_px), expected="1 or more"))
    match = match_classes(_classes(map_layer, "the map"), _classes(reference, "the reference"))
    scenes = map_layer.scenes()
    tasks = [(scene, window) for scene in scenes for window in _windows(scene, block_px)]
    stage = Stage(reporter, "compare", total=max(len(tasks), 1))
    total, blocks, outside = ConfusionMatrix(len(match.classes)), [], 0
    pictures = {id(s): _Picture(s, overview_px) for s in scenes}
    areas = {id(s): _region_in(region, s) for s in scenes}
    for scene, (row, column, geobox) in tasks:
        inside = _inside(areas[id(scene)], geobox)
        if inside is None or inside.any():
            truth, predicted = _read(map_layer, reference, match, Query(geobox))
            if inside is not None:
                outside += int(np.count_nonzero(~inside & (predicted >= 0)))
                truth, predicted = (np.where(inside, m, IGNORE_INDEX) for m in (truth, predicted))
            matrix = ConfusionMatrix(len(match.classes))
            matrix.update(truth, predicted)
            total = total + matrix
            pictures[id(scene)].add(row, column, truth, predicted)
            if matrix.pixels:
                blocks.append(_block(scene, row, column, geobox, matrix))
        stage.advance()
    if not total.pixels:
        raise NoOverlap(_nothing_compared(total, region))
    area = sum(b.pixel_area_m2 * int(b.counts.sum()) for b in blocks)
    shown = tuple(p.finish() for p in pictures.values() if p.used)
    return MapComparison(total, match, tuple(blocks), shown, area, outside, _notes(total, match))


def _classes(layer: LabelLayer, what: str) -> ClassTable:
    if layer.classes is None or not len(layer.classes):
        raise BadLabels(
            explain(
                f"{what} has no classes", expected="a layer of labels", fix="pass kind='labels' or classes=…"
            )
        )
    return layer.classes


def _windows(scene: Scene, block_px: int) -> Iterator[tuple[int, int, GeoBox]]:
    height, width = scene.geobox.shape
    for row in range(0, height, block_px):
        for column in range(0, width, block_px):
            yield (
                row,
                column,
                scene.geobox[row : min(row + block_px, height), column : min(column + block_px, width)],
            )


def _read(
    map_layer: LabelLayer, reference: LabelLayer, match: ClassMatch, query: Query
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    mapped = map_layer.read(query).mask
    if mapped is None:
        raise BadLabels(explain("the map layer answered without a mask", expected="a layer of labels"))
    if not (mapped >= 0).any():  # nothing is mapped here; reading the reference still counts the unmapped
        _LOG.debug("no map in block at %s", query.geobox.extent.centroid.coords)
    labels = reference.read(query).mask
    if labels is None:
        raise BadLabels(explain("the reference layer answered without a mask", expected="a layer of labels"))
    return match.reference_index(labels), match.map_index(mapped)


def _region_in(region: Region | None, scene: Scene) -> Any:
    """Bring the region's polygon into the scene's CRS, its edges densified before."""
    if region is None:
        return None
    if CRS(region.crs) == CRS(str(scene.geobox.crs)):
        return region.geometry
    extent = max(region.geometry.bounds[2] - region.geometry.bounds[0], 1e-9)
    dense = segmentize(region.geometry, extent / 256)
    return Geometry(mapping(dense), region.crs).to_crs(str(scene.geobox.crs)).geom


def _inside(area: Any, geobox: GeoBox) -> NDArray[np.bool_] | None:
    if area is None:
        return None
    if not area.intersects(box(*geobox.extent.boundingbox)):
        return np.zeros(geobox.shape, dtype=bool)
    found: NDArray[np.bool_] = geometry_mask(
        [mapping(area)], out_shape=geobox.shape, transform=geobox.affine, invert=True
    )
    return found


def _block(scene: Scene, row: int, column: int, geobox: GeoBox, matrix: ConfusionMatrix) -> BlockCounts:
    height, width = geobox.shape
    x, y = _on_ground(geobox, width / 2, height / 2)
    area = _pixel_area_m2(geobox)
    return BlockCounts(scene.name, x, y, row, column, (height, width), area, matrix.counts)


def _on_ground(geobox: GeoBox, column: float, row: float) -> tuple[float, float]:
    grid = geobox.affine
    return grid.a * column + grid.b * row + grid.c, grid.d * column + grid.e * row + grid.f


def _pixel_area_m2(geobox: GeoBox) -> float:
    """Return the true area on the ellipsoid of the pixel in the middle (grids in degrees, UTM: alike)."""
    if geobox.crs is None:
        return math.nan
    height, width = geobox.shape
    column, row = width // 2, height // 2
    corners = [_on_ground(geobox, column + i, row + j) for i, j in ((0, 0), (1, 0), (1, 1), (0, 1))]
    to_lonlat = Transformer.from_crs(str(geobox.crs), "EPSG:4326", always_xy=True)
    lon, lat = to_lonlat.transform([c[0] for c in corners], [c[1] for c in corners])
    area, _ = _GEOD.polygon_area_perimeter(lon, lat)
    return abs(float(area))


class _Picture:
    """Every n-th pixel of a scene, gathered while its blocks stream by."""

    def __init__(self, scene: Scene, longest_px: int) -> None:
        height, width = scene.geobox.shape
        self.scene, self.used = scene, False
        self.step = max(1, math.ceil(max(height, width) / longest_px))
        shape = (math.ceil(height / self.step), math.ceil(width / self.step))
        self.truth = np.full(shape, IGNORE_INDEX, dtype=np.int64)
        self.predicted = np.full(shape, IGNORE_INDEX, dtype=np.int64)

    def add(self, row: int, column: int, truth: NDArray[np.int64], predicted: NDArray[np.int64]) -> None:
        first_row, first_column = -row % self.step, -column % self.step
        for target, source in ((self.truth, truth), (self.predicted, predicted)):
            part = source[first_row :: self.step, first_column :: self.step]
            if part.size:
                i, j = (row + first_row) // self.step, (column + first_column) // self.step
                target[i : i + part.shape[0], j : j + part.shape[1]] = part
        self.used = self.used or bool((truth >= 0).any() or (predicted >= 0).any())

    def finish(self) -> Overview:
        """Cut away the empty rim."""
        seen = (self.truth >= 0) | (self.predicted >= 0)
        rows, columns = (np.flatnonzero(seen.any(axis=a)) for a in (1, 0))
        if not len(rows):  # what was compared lies between the kept pixels
            rows, columns = np.arange(seen.shape[0]), np.arange(seen.shape[1])
        window = (slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1))
        height, width = self.scene.geobox.shape
        geobox = self.scene.geobox[
            rows[0] * self.step : min((rows[-1] + 1) * self.step, height),
            columns[0] * self.step : min((columns[-1] + 1) * self.step, width),
        ]
        edges = geobox.extent.boundingbox
        return Overview(
            self.scene.name,
            self.truth[window],
            self.predicted[window],
            (edges.left, edges.bottom, edges.right, edges.top),
            str(geobox.crs),
            self.step,
            geobox,
        )


def _nothing_compared(total: ConfusionMatrix, region: Region | None) -> str:
    return explain(
        "map and reference have no pixel to compare" + (" inside the area" if region is not None else ""),
        got=f"{total.unlabelled:,} mapped pixels without a label, {total.unmapped:,} labels without a map",
        expected="pixels that have both",
        fix="check that both cover the same place (geotoolbox inspect shows their extents)",
    )


def _notes(total: ConfusionMatrix, match: ClassMatch) -> tuple[str, ...]:
    notes = []
    if match.map_only:
        notes.append(f"Only the map has: {', '.join(match.map_only)}.")
    if match.reference_only:
        notes.append(
            f"Only the reference has: {', '.join(match.reference_only)}. All its pixels are counted as errors."
        )
    if total.unmapped:
        notes.append(
            f"{total.unmapped:,} reference pixels have no map class (nodata) and are not in the scores."
        )
    for note in notes:
        _LOG.warning(note)
    return tuple(notes)
