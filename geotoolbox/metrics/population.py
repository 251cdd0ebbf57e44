"""What a sample is drawn from, and stands for: the pixels of a map, their classes and their true areas."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox
from rasterio.features import geometry_mask
from shapely.geometry import box, mapping
from shapely.geometry.base import BaseGeometry

from geotoolbox.core.classes import IGNORE_INDEX, ClassTable
from geotoolbox.core.events import SILENT, Reporter, Stage
from geotoolbox.core.query import Query, Region
from geotoolbox.errors import BadInput, BadLabels, NoOverlap, explain
from geotoolbox.metrics.pairs import LabelLayer
from geotoolbox.prediction.grids import pixel_area_m2
from geotoolbox.prediction.lattice import Window
from geotoolbox.sampling.areas import project

__all__ = ["Measured", "Population", "PopulationBlock", "area_on", "inside_area", "measure"]

BLOCK_PX = 2048


@dataclass(frozen=True, slots=True)
class PopulationBlock:
    """One block of a population.

    Attributes:
        row: Its first row in the grid.
        column: Its first column.
        mapped: (H, W) class index in the map, ``IGNORE_INDEX`` where the pixel does not belong.
        stratum: (H, W) stratum index, ``IGNORE_INDEX`` at the same pixels.
        row_area_m2: (H,) true ground area of a pixel of each row.
        left_out: Mapped pixels that lie in no stratum, and so do not belong.
    """

    row: int
    column: int
    mapped: NDArray[np.int64]
    stratum: NDArray[np.int64]
    row_area_m2: NDArray[np.float64]
    left_out: int = 0


@dataclass(frozen=True, slots=True)
class Population:
    """The pixels of a map that have a class, inside a region where one is given.

    Attributes:
        map_layer: A layer of labels with one scene.
        strata_layer: What to stratify by, read onto the map's grid; the map itself when None.
        region: Only pixels whose centre is inside belong; all when None.
    """

    map_layer: LabelLayer
    strata_layer: LabelLayer | None = None
    region: Region | None = None

    @property
    def geobox(self) -> GeoBox:
        """The map's grid.

        Raises:
            BadInput: When the layer has several scenes: a pixel could be drawn twice where they overlap.
        """
        scenes = self.map_layer.scenes()
        if len(scenes) != 1:
            raise BadInput(
                explain(
                    "a sample is drawn from one map on one grid",
                    got=f"{len(scenes)} scenes",
                    fix="merge them first",
                )
            )
        return scenes[0].geobox

    @property
    def classes(self) -> ClassTable:
        """The map's classes."""
        return _classes_of(self.map_layer, "the map")

    @property
    def strata(self) -> ClassTable:
        """The strata."""
        return self.classes if self.strata_layer is None else _classes_of(self.strata_layer, "the strata")

    def windows(self) -> list[Window]:
        """Return the blocks of the grid, row by row."""
        height, width = (int(n) for n in self.geobox.shape)
        return [
            Window(top, min(top + BLOCK_PX, height), left, min(left + BLOCK_PX, width))
            for top in range(0, height, BLOCK_PX)
            for left in range(0, width, BLOCK_PX)
        ]

    def blocks(self, reporter: Reporter = SILENT, stage: str = "read map") -> Iterator[PopulationBlock]:
        """Read block by block, in bounded memory; blocks without a pixel are left out."""
        windows, grid = self.windows(), self.geobox
        progress = Stage(reporter, stage, total=len(windows))
        area = area_on(grid, self.region)
        for window in windows:
            part = grid[window.top : window.bottom, window.left : window.right]
            inside = inside_area(area, part)
            if inside is None or inside.any():
                mapped, stratum, left_out = self._read(part, inside)
                if left_out or (mapped >= 0).any():
                    rows = pixel_area_m2(grid, window)
                    yield PopulationBlock(window.top, window.left, mapped, stratum, rows, left_out)
            progress.advance()

    def _read(
        self, part: GeoBox, inside: NDArray[np.bool_] | None
    ) -> tuple[NDArray[np.int64], NDArray[np.int64], int]:
        mapped = _mask_of(self.map_layer, part)
        if inside is not None:
            mapped = np.where(inside, mapped, IGNORE_INDEX)
        if self.strata_layer is None:
            return mapped, mapped, 0
        stratum = _mask_of(self.strata_layer, part)
        left_out = (mapped >= 0) & (stratum < 0)
        stratum = np.where(mapped >= 0, stratum, IGNORE_INDEX)
        return np.where(left_out, IGNORE_INDEX, mapped), stratum, int(np.count_nonzero(left_out))


@dataclass(frozen=True, slots=True)
class Measured:
    """A population, counted.

    Attributes:
        pixels: (S, K) pixels by stratum and map class.
        area_m2: (S, K) their true ground area.
        at_points: (n,) the map class at each point asked for; ``IGNORE_INDEX`` outside the population.
        stratum_at_points: (n,) the stratum there.
        left_out_px: Mapped pixels that lie in no stratum, and so do not belong.
    """

    pixels: NDArray[np.int64]
    area_m2: NDArray[np.float64]
    at_points: NDArray[np.int64]
    stratum_at_points: NDArray[np.int64]
    left_out_px: int = 0


def measure(
    population: Population,
    rows: NDArray[Any] | None = None,
    columns: NDArray[Any] | None = None,
    *,
    reporter: Reporter = SILENT,
) -> Measured:
    """Count pixels and areas of all classes and strata in one pass, and look points up on the way.

    Args:
        population: What to count.
        rows: (n,) pixel rows of points to look up.
        columns: (n,) their columns.
        reporter: Hears of the progress, and can cancel.

    Raises:
        NoOverlap: When not one pixel belongs to the population.
    """
    r, c = (np.asarray([] if a is None else a, dtype=np.int64) for a in (rows, columns))
    strata, k = len(population.strata), len(population.classes)
    pixels, area = np.zeros(strata * k, dtype=np.int64), np.zeros(strata * k)
    found, stratum = np.full(len(r), IGNORE_INDEX), np.full(len(r), IGNORE_INDEX)
    left_out = 0
    for block in population.blocks(reporter):
        left_out += block.left_out
        height, width = block.mapped.shape
        here = (r >= block.row) & (r < block.row + height) & (c >= block.column) & (c < block.column + width)
        place = r[here] - block.row, c[here] - block.column
        found[here], stratum[here] = block.mapped[place], block.stratum[place]
        counts, areas = _count(block, k, strata)
        pixels += counts
        area += areas
    if not pixels.any():
        raise NoOverlap(
            explain("the map has no pixel with a class" + (" inside the area" if population.region else ""))
        )
    return Measured(pixels.reshape(strata, k), area.reshape(strata, k), found, stratum, left_out)


def _count(block: PopulationBlock, k: int, strata: int) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Return (S·K,) pixels and areas of a block; counted row by row, since rows differ in area."""
    height, cells = len(block.mapped), strata * k + 1
    cell = block.stratum * k if block.stratum is not block.mapped else block.mapped * k
    cell += block.mapped
    np.maximum(cell, -1, out=cell)  # what does not belong goes to the first bin
    cell += (np.arange(height) * cells + 1)[:, None]
    counts = np.bincount(cell.ravel(), minlength=height * cells).reshape(height, cells)[:, 1:]
    return counts.sum(axis=0), np.asarray(block.row_area_m2 @ counts)


def _classes_of(layer: LabelLayer, what: str) -> ClassTable:
    if layer.classes is None or not len(layer.classes):
        raise BadLabels(
            explain(f"{what} has no classes", expected="a layer of labels", fix="pass kind='labels'")
        )
    return layer.classes


def _mask_of(layer: LabelLayer, part: GeoBox) -> NDArray[np.int64]:
    mask = layer.read(Query(part)).mask
    if mask is None:
        raise BadLabels(explain("the layer answered without a mask", expected="a layer of labels"))
    return mask


def area_on(grid: GeoBox, region: Region | None) -> BaseGeometry | None:
    """Bring a region into a grid's CRS; None where there is none."""
    return None if region is None else project(region.geometry, region.crs, str(grid.crs))


def inside_area(area: BaseGeometry | None, part: GeoBox) -> NDArray[np.bool_] | None:
    """Return (H, W) which pixels have their centre inside an area in the grid's CRS; None without an area."""
    if area is None:
        return None
    if not area.intersects(box(*part.extent.boundingbox)):
        return np.zeros(part.shape, dtype=bool)
    found: NDArray[np.bool_] = geometry_mask(
        [mapping(area)], out_shape=part.shape, transform=part.affine, invert=True
    )
    return found
