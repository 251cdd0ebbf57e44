"""Shape of a whole map against its reference: boundaries and objects, strip by strip."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox

from geotoolbox.core.events import SILENT, Reporter, Stage
from geotoolbox.core.query import Region, Scene
from geotoolbox.datasets.masks import region_mask
from geotoolbox.errors import BadInput, explain
from geotoolbox.metrics.boundary import BoundaryCounts, BoundaryScores
from geotoolbox.metrics.matching import ClassMatch
from geotoolbox.metrics.objects import ObjectCounts, ObjectScores
from geotoolbox.metrics.pairs import Codes, LabelLayer, PairReader, open_pair
from geotoolbox.prediction.grids import pixel_area_m2
from geotoolbox.prediction.lattice import Window

__all__ = ["ShapeComparison", "compare_shapes", "read_codes"]

_STRIP_PX = 4_000_000


@dataclass(frozen=True, slots=True)
class ShapeComparison:
    """What :func:`compare_shapes` found; None for what was not asked for."""

    boundary: BoundaryScores | None = None
    objects: ObjectScores | None = None


def compare_shapes(
    map_layer: LabelLayer,
    reference: LabelLayer,
    match: ClassMatch,
    *,
    boundary_m: float | None = None,
    object_iou: float | None = None,
    region: Region | None = None,
    reporter: Reporter = SILENT,
) -> ShapeComparison:
    """Compare boundaries and objects on the map's grid, in bounded memory.

    Args:
        map_layer: The map.
        reference: The truth.
        match: How their classes go together (a comparison has it).
        boundary_m: Width of the boundary in metres; None for no boundary scores.
        object_iou: From which IoU on objects are the same; None for no object scores.
        region: Compare only pixels whose centre is inside.
        reporter: Hears of the progress, and can cancel.

    Raises:
        BadInput: When the width is no positive number.
    """
    if boundary_m is not None and not boundary_m > 0:
        raise BadInput(explain("a boundary needs a width", got=boundary_m, expected="metres, above 0"))
    reader, scenes, names = open_pair(map_layer, reference, match), map_layer.scenes(), match.classes.names
    boundary = _boundary(scenes[0], names, boundary_m) if scenes and boundary_m is not None else None
    objects = None if object_iou is None else ObjectCounts(names, object_iou)
    strips = [(scene, window) for scene in scenes for window in _strips(scene)]
    stage = Stage(reporter, "shapes", max(len(strips), 1))
    for scene, window in strips:
        if objects is not None and window.top == 0:
            objects.new_scene()
        _add(reader, scene, window, region=region, boundary=boundary, objects=objects)
        stage.advance()
    return ShapeComparison(
        None if boundary is None else boundary.result(), None if objects is None else objects.result()
    )


def read_codes(reader: PairReader, geobox: GeoBox, region: Region | None) -> tuple[Codes, Codes]:
    """Read the codes of reference and map on a grid; K outside the region."""
    truth, predicted = reader.read_truth(geobox), reader.read_map(geobox)
    if region is not None:
        inside = region_mask(region, geobox)
        truth[~inside] = predicted[~inside] = reader.num_classes
    return truth, predicted


def _boundary(scene: Scene, names: tuple[str, ...], boundary_m: float) -> BoundaryCounts:
    pixel_m = math.sqrt(_middle_area_m2(scene))
    width_px = max(1, round(boundary_m / pixel_m))
    return BoundaryCounts(names, width_px, width_px * pixel_m)


def _middle_area_m2(scene: Scene) -> float:
    height, width = (int(n) for n in scene.geobox.shape)
    return float(pixel_area_m2(scene.geobox, Window(height // 2, height // 2 + 1, 0, width))[0])


def _strips(scene: Scene) -> Iterator[Window]:
    height, width = (int(n) for n in scene.geobox.shape)
    rows = max(64, _STRIP_PX // max(width, 1))
    for top in range(0, height, rows):
        yield Window(top, min(top + rows, height), 0, width)


def _add(
    reader: PairReader,
    scene: Scene,
    window: Window,
    *,
    region: Region | None,
    boundary: BoundaryCounts | None,
    objects: ObjectCounts | None,
) -> None:
    height, halo = int(scene.geobox.shape[0]), boundary.width_px if boundary is not None else 0
    outer = Window(max(0, window.top - halo), min(height, window.bottom + halo), 0, window.width)
    truth, predicted = read_codes(reader, scene.geobox[outer.top : outer.bottom, :], region)
    core = window.within(outer)
    if boundary is not None:
        boundary.update(truth, predicted, core)
    if objects is not None:
        area: NDArray[np.float64] = pixel_area_m2(scene.geobox, window)
        objects.update(truth[core], predicted[core], float(area.mean()))
