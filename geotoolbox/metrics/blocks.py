"""Confusion counts of each block, sparse: which places lie behind a cell of the matrix, and which are worst."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import shapely
from numpy.typing import NDArray

from geotoolbox.core.classes import ClassTable
from geotoolbox.errors import BadInput, explain

__all__ = ["BlockConfusion", "BlockCounts", "Cells"]

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class BlockCounts:
    """One block: centre (x, y) in the scene's CRS, shape in pixels, mean true area of a pixel, and counts."""

    scene: str
    x: float
    y: float
    row_px: int
    column_px: int
    shape_px: tuple[int, int]
    pixel_area_m2: float
    counts: NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Cells:
    """Confusion matrices of many blocks as the list of their cells that are not empty; four (M,) int64 arrays."""

    block: Ints
    truth: Ints
    predicted: Ints
    pixels: Ints


@dataclass(frozen=True, eq=False)
class BlockConfusion:
    """The confusion matrix of each block of a compared map.

    Attributes:
        classes: The K classes.
        crs: The CRS of the polygons.
        scene: (N,) name of each block's scene.
        windows: (N, 4) int64: row, column, height and width in the scene's grid, in pixels.
        polygons: (N,) outlines in ``crs``.
        pixel_area_m2: (N,) mean true area of a compared pixel.
        cells: The counts.

    Example:
        >>> cells = Cells(*(np.array(a) for a in ([0, 0, 1], [0, 1, 1], [0, 0, 1], [5, 3, 4])))
        >>> blocks = BlockConfusion(
        ...     ClassTable.from_names(["field", "water"]), "EPSG:32612", ("a", "a"),
        ...     np.array([[0, 0, 2, 4], [0, 4, 2, 2]]), shapely.box([0, 4], 0, [4, 6], 2), np.ones(2), cells)
        >>> blocks.total().tolist(), blocks.overall_accuracy().tolist()
        ([[5, 0], [3, 4]], [0.625, 1.0])
        >>> [found.tolist() for found in blocks.find_cell(reference=1, predicted=0)]
        [[0], [3]]
    """

    classes: ClassTable
    crs: str
    scene: tuple[str, ...]
    windows: Ints
    polygons: NDArray[np.object_]
    pixel_area_m2: Floats
    cells: Cells

    def __len__(self) -> int:
        return len(self.scene)

    def counts(self, block: int) -> Ints:
        """Return the (K, K) matrix of one block; row = reference, column = map.

        Raises:
            BadInput: When there is no such block.
        """
        if not 0 <= block < len(self):
            raise BadInput(explain("no such block", got=block, expected=f"0 to {len(self) - 1}"))
        rows = slice(*np.searchsorted(self.cells.block, [block, block + 1]))
        out = np.zeros((len(self.classes), len(self.classes)), dtype=np.int64)
        out[self.cells.truth[rows], self.cells.predicted[rows]] = self.cells.pixels[rows]
        return out

    def total(self) -> Ints:
        """Return the (K, K) matrix of all blocks."""
        k = len(self.classes)
        codes = self.cells.truth * k + self.cells.predicted
        return _sum_by(codes, self.cells.pixels, k * k).reshape(k, k)

    @cached_property
    def pixels(self) -> Ints:
        """(N,) compared pixels."""
        return _sum_by(self.cells.block, self.cells.pixels, len(self))

    @cached_property
    def errors(self) -> Ints:
        """(N,) compared pixels where map and reference differ."""
        wrong = self.cells.truth != self.cells.predicted
        return _sum_by(self.cells.block[wrong], self.cells.pixels[wrong], len(self))

    def overall_accuracy(self) -> Floats:
        """Return (N,) the share of right pixels; NaN in a block without a compared pixel."""
        return _ratio(self.pixels - self.errors, self.pixels)

    def iou(self) -> Floats:
        """Return (N, K) the IoU of each class; NaN where the block's reference lacks the class."""
        cells, shape = self.cells, (len(self), len(self.classes))
        size, k = shape[0] * shape[1], shape[1]
        right = cells.truth == cells.predicted
        truth = _sum_by(cells.block * k + cells.truth, cells.pixels, size)
        mapped = _sum_by(cells.block * k + cells.predicted, cells.pixels, size)
        both = _sum_by((cells.block * k + cells.truth)[right], cells.pixels[right], size)
        return np.where(truth > 0, _ratio(both, truth + mapped - both), np.nan).reshape(shape)

    def mean_iou(self) -> Floats:
        """Return (N,) the mean IoU over the classes that the reference has in the block."""
        found = self.iou()
        known = ~np.isnan(found)
        return _ratio(np.where(known, found, 0.0).sum(axis=1), known.sum(axis=1))

    def find_cell(self, *, reference: int, predicted: int) -> tuple[Ints, Ints]:
        """Return the blocks that hold a cell of the matrix, those with most pixels first.

        Args:
            reference: Index of the true class.
            predicted: Index of the mapped class.

        Returns:
            Block numbers, and pixels of the cell in each.
        """
        here = np.flatnonzero((self.cells.truth == reference) & (self.cells.predicted == predicted))
        order = here[np.argsort(-self.cells.pixels[here], kind="stable")]
        return self.cells.block[order], self.cells.pixels[order]

    def cell_shares(self, *, reference: int, predicted: int) -> Floats:
        """Return (N,) what share of each block's compared pixels is in a cell of the matrix; NaN where none is.

        Args:
            reference: Index of the true class.
            predicted: Index of the mapped class.
        """
        numbers, pixels = self.find_cell(reference=reference, predicted=predicted)
        out = np.full(len(self), np.nan)
        out[numbers] = pixels / self.pixels[numbers]
        return out

    def find_worst(self, most: int = 20, *, minimum_pixels: int = 1) -> Ints:
        """Return the blocks with the lowest overall accuracy, the worst first; of equals, the largest."""
        enough = np.flatnonzero(self.pixels >= minimum_pixels)
        order = np.lexsort((-self.pixels[enough], self.overall_accuracy()[enough]))
        return enough[order[:most]]

    def block(self, number: int) -> BlockCounts:
        """Return one block with its dense matrix."""
        row, column, height, width = (int(n) for n in self.windows[number])
        middle = self.polygons[number].centroid
        area = float(self.pixel_area_m2[number])
        return BlockCounts(
            self.scene[number], middle.x, middle.y, row, column, (height, width), area, self.counts(number)
        )

    def save(self, path: str | Path) -> Path:
        """Write a GeoPackage with the layers ``blocks``, ``cells`` and ``classes``; see docs/evaluation.md."""
        from geotoolbox.metrics.block_file import write_blocks

        return write_blocks(self, Path(path))

    @classmethod
    def open(cls, path: str | Path) -> BlockConfusion:
        """Read what :meth:`save` wrote.

        Raises:
            CannotRead: When the file is missing.
            BadInput: When it is no block file.
        """
        from geotoolbox.metrics.block_file import read_blocks

        return read_blocks(Path(path))

    def to_json(self) -> dict[str, Any]:
        """Return plain data: columns, outlines as WKT; a page can hold some thousand blocks."""
        return {
            "classes": self.classes.to_json(),
            "crs": self.crs,
            "scene": list(self.scene),
            "windows": self.windows.tolist(),
            "polygons": [str(p) for p in shapely.to_wkt(self.polygons, rounding_precision=-1)],
            "pixel_area_m2": self.pixel_area_m2.tolist(),
            "cells": [
                a.tolist()
                for a in (self.cells.block, self.cells.truth, self.cells.predicted, self.cells.pixels)
            ],
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> BlockConfusion:
        """Read what :meth:`to_json` wrote."""
        return cls(
            ClassTable.from_json(data["classes"]),
            str(data["crs"]),
            tuple(map(str, data["scene"])),
            np.asarray(data["windows"], dtype=np.int64).reshape(-1, 4),
            np.asarray(shapely.from_wkt(data["polygons"]), dtype=object),
            np.asarray(data["pixel_area_m2"], dtype=np.float64),
            Cells(*(np.asarray(a, dtype=np.int64) for a in data["cells"])),
        )


def _sum_by(group: Ints, values: Ints, size: int) -> Ints:
    out = np.zeros(size, dtype=np.int64)
    np.add.at(out, group, values)
    return out


def _ratio(above: NDArray[Any], below: NDArray[Any]) -> Floats:
    out = np.full(len(above), np.nan)
    np.divide(above, below, out=out, where=below > 0)
    return out
