"""Adding up what was counted in windows: one matrix, sparse matrices of blocks, and those of regions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import shapely
from numpy.typing import NDArray
from shapely.geometry.base import BaseGeometry

from geotoolbox.core.classes import ClassTable
from geotoolbox.core.query import Scene
from geotoolbox.indexing.geometry import crs_text, same_crs, transform_geometry
from geotoolbox.metrics.blocks import BlockConfusion, Cells
from geotoolbox.metrics.confusion import ConfusionMatrix
from geotoolbox.metrics.counting import BlockSums, WindowCounts
from geotoolbox.prediction.lattice import Window

__all__ = ["SceneSums"]

_OVERALL = None


@dataclass(slots=True)
class _Gathered:
    """Sums and blocks of one area."""

    side: int
    pixels: NDArray[np.int64] = field(init=False)
    area_m2: NDArray[np.float64] = field(init=False)
    places: list[tuple[int, Window, float]] = field(default_factory=list)
    cells: list[NDArray[np.int64]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.pixels = np.zeros((self.side, self.side), dtype=np.int64)
        self.area_m2 = np.zeros((self.side, self.side))

    def add(self, scene: int, found: Sequence[BlockSums]) -> None:
        k = self.side - 2
        for block in found:
            self.pixels += block.sums.pixels
            self.area_m2 += block.sums.area_m2
            counts = block.sums.pixels[:k, :k]
            truth, predicted = np.nonzero(counts)
            if not len(truth):
                continue
            total, area = counts.sum(), block.sums.area_m2[:k, :k].sum()
            rows = np.full(len(truth), len(self.places))
            self.cells.append(np.stack([rows, truth, predicted, counts[truth, predicted]]))
            self.places.append((scene, block.window, float(area / total)))


class SceneSums:
    """Sums over all windows of all scenes.

    Args:
        classes: The shared classes.
        scenes: The map's scenes.
        regions: Names of the regions that are counted one by one.

    Attributes:
        outside: Mapped pixels outside the region of interest.
    """

    def __init__(self, classes: ClassTable, scenes: tuple[Scene, ...], regions: tuple[str, ...]) -> None:
        self.classes, self.scenes, self.region_names, self.outside = classes, scenes, regions, 0
        self._parts: dict[str | None, _Gathered] = {
            name: _Gathered(len(classes) + 2) for name in (_OVERALL, *regions)
        }

    def add(self, scene: int, found: WindowCounts) -> None:
        """Add what was counted in a window of a scene."""
        self._parts[_OVERALL].add(scene, found.blocks)
        for name, blocks in found.regions.items():
            self._parts[name].add(scene, blocks)
        self.outside += found.outside

    @property
    def strange_truth(self) -> int:
        """Pixels of the reference whose value is in no class table."""
        return int(self._parts[_OVERALL].pixels[-1].sum())

    @property
    def strange_map(self) -> int:
        """Pixels of the map whose value is in no class table."""
        return int(self._parts[_OVERALL].pixels[:, -1].sum())

    def confusion(self, region: str | None = _OVERALL) -> ConfusionMatrix:
        """Return the matrix of everything, or of one region."""
        k, pixels = len(self.classes), self._parts[region].pixels
        matrix = ConfusionMatrix(k, pixels[:k, :k])
        matrix.unlabelled = int(pixels[k:, :k].sum())
        matrix.unmapped = int(pixels[:k, k:].sum())
        return matrix

    def area_m2(self) -> NDArray[np.float64]:
        """Return the (K, K) true areas of the cells of the matrix."""
        k = len(self.classes)
        return self._parts[_OVERALL].area_m2[:k, :k].copy()

    def blocks(self, region: str | None = _OVERALL) -> BlockConfusion:
        """Return the sparse matrices of the blocks, of everything or inside one region."""
        part = self._parts[region]
        cells = np.concatenate(part.cells, axis=1) if part.cells else np.zeros((4, 0), dtype=np.int64)
        windows = [(w.top, w.left, w.height, w.width) for _, w, _ in part.places]
        crs = self.scenes[0].geobox.crs
        return BlockConfusion(
            self.classes,
            "" if crs is None else crs_text(crs),
            tuple(self.scenes[scene].name for scene, _, _ in part.places),
            np.asarray(windows, dtype=np.int64).reshape(-1, 4),
            np.array([self._outline(scene, w) for scene, w, _ in part.places], dtype=object),
            np.asarray([area for _, _, area in part.places], dtype=np.float64),
            Cells(*cells),
        )

    def _outline(self, scene: int, window: Window) -> BaseGeometry:
        """Return a block's outline in the CRS of the first scene."""
        grid, first = self.scenes[scene].geobox, self.scenes[0].geobox
        corners = ((window.left, window.top), (window.right, window.top),
                   (window.right, window.bottom), (window.left, window.bottom))  # fmt: skip
        outline = shapely.Polygon([grid.affine * corner for corner in corners])
        if grid.crs is None or same_crs(grid.crs, first.crs):
            return outline
        return transform_geometry(outline, grid.crs, first.crs)
