"""Maps of numbers compared block by block, on the map's own grid."""

from __future__ import annotations

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from geotoolbox.core.events import SILENT, Reporter, Stage
from geotoolbox.core.query import Query, Reading, Region, Scene
from geotoolbox.errors import BadInput, NoOverlap, explain
from geotoolbox.metrics.population import area_on, inside_area
from geotoolbox.metrics.regression import RegressionMoments, RegressionScores

__all__ = ["ValueLayer", "compare_values"]

_BLOCK_PX = 1024


class ValueLayer(Protocol):
    """What is compared: any dataset with images."""

    def scenes(self) -> tuple[Scene, ...]:
        """The native grids."""

    def read(self, query: Query) -> Reading:
        """Read an image onto a grid."""


def compare_values(
    map_layer: ValueLayer,
    reference: ValueLayer,
    *,
    band: int = 0,
    reference_band: int = 0,
    region: Region | None = None,
    reporter: Reporter = SILENT,
) -> RegressionScores:
    """Score a map of numbers against a reference on any grid, in bounded memory.

    Args:
        map_layer: The map; compared on its own grid, pixel by pixel.
        reference: The truth, read onto that grid as its own ``resampling`` says.
        band: The map's band, from 0.
        reference_band: The reference's band, from 0.
        region: Compare only pixels whose centre is inside; everywhere when None.
        reporter: Hears of the progress, and can cancel.

    Raises:
        BadInput: When a layer holds no such band.
        NoOverlap: When no pixel has a value on both sides.
    """
    tasks = [
        (scene, row, column)
        for scene in map_layer.scenes()
        for row in range(0, int(scene.geobox.shape[0]), _BLOCK_PX)
        for column in range(0, int(scene.geobox.shape[1]), _BLOCK_PX)
    ]
    stage, moments = Stage(reporter, "compare", total=max(len(tasks), 1)), RegressionMoments()
    for scene, row, column in tasks:
        part = scene.geobox[row : row + _BLOCK_PX, column : column + _BLOCK_PX]
        inside = inside_area(area_on(scene.geobox, region), part)
        if inside is None or inside.any():
            predicted, known = _band(map_layer.read(Query(part)), band, "the map")
            truth, labelled = _band(reference.read(Query(part)), reference_band, "the reference")
            valid = known & labelled if inside is None else known & labelled & inside
            moments = moments.update(truth, predicted, valid)
        stage.advance()
    if not moments.count:
        raise NoOverlap(
            explain("map and reference have no pixel to compare", fix="check that both cover the same place")
        )
    return moments.scores()


def _band(reading: Reading, band: int, what: str) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    if reading.image is None or reading.image.ndim != 3 or not 0 <= band < len(reading.image):
        got = "labels" if reading.image is None else f"an image of shape {reading.image.shape}"
        raise BadInput(explain(f"{what} has no band {band}", got=got, expected="an image of numbers"))
    return reading.image[band], reading.valid
