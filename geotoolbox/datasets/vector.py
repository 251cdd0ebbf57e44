"""VectorDataset: polygons, lines and points as a label layer."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import shapely
from affine import Affine
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox
from shapely import STRtree
from shapely.geometry import box
from shapely.geometry.base import BaseGeometry

from geotoolbox.core.classes import IGNORE_INDEX, ClassTable
from geotoolbox.core.query import ALWAYS, Band, Query, Reading, Scene, TimeInterval
from geotoolbox.datasets.base import GeoDataset, Kind, Transform
from geotoolbox.datasets.burning import burn, in_pixels, window_boxes
from geotoolbox.datasets.labels import ClassesLike
from geotoolbox.datasets.paths import Paths, find_files
from geotoolbox.datasets.vector_classes import classes_of_column
from geotoolbox.datasets.vector_files import read_layers
from geotoolbox.datasets.vector_shapes import Shapes, buffered, cleaned
from geotoolbox.errors import BadLabels, explain
from geotoolbox.indexing.footprints import cells_polygon
from geotoolbox.indexing.geometry import LONLAT, crs_name, crs_text, transform_geometry

__all__ = ["VectorDataset"]

_SUFFIXES = (".gpkg", ".shp", ".geojson", ".json", ".parquet", ".fgb", ".gml", ".kml", ".sqlite")
_CELLS = 512


class VectorDataset(GeoDataset):
    """Vector features as a label layer, read once and spatially indexed.

    Args:
        paths: Files, folders or globs of anything that pyogrio reads.
        column: The column that tells the class, text or whole numbers; None makes all features one class.
        layer: Which layer or layers of the files, where there are several.
        where: An SQL filter, as in OGR (``"area > 100 AND crop IS NOT NULL"``).
        classes: The classes where they are known; by default those in the column.
        unlabelled: What an area without a feature means: ``ignore``, or the name of a class.
        order: Which of overlapping features is on top: ``file`` (the later), ``area`` (the smaller), or a
            column (the greater value).
        all_touched: Whether a feature marks each pixel that it touches, rather than those whose centre is
            inside. Slivers thinner than a pixel are lost without it.
        buffer_m: Radius in metres around points and lines.
        crs: The CRS of files that have none (or a wrong one).
        encoding: Of a shapefile's texts.
        time: When the labels hold.
        transforms: Applied to each sample at the end.

    Raises:
        CannotRead: When a file cannot be read.
        BadInput: When a column, layer, filter or CRS is missing or wrong.
        BadLabels: When the column gives no classes.
    """

    def __init__(
        self,
        paths: Paths,
        *,
        column: str | None = None,
        layer: str | Sequence[str] | None = None,
        where: str | None = None,
        classes: ClassesLike | None = None,
        unlabelled: str = "ignore",
        order: Literal["file", "area"] | str = "file",
        all_touched: bool = False,
        buffer_m: float | None = None,
        crs: str | None = None,
        encoding: str | None = None,
        time: TimeInterval = ALWAYS,
        transforms: Transform | None = None,
    ) -> None:
        self._files = find_files(paths, suffixes=_SUFFIXES)
        self.transforms, self._time_held = transforms, time
        self._all_touched, self._order = all_touched, order
        needed = [c for c in (column, None if order in ("file", "area") else order) if c is not None]
        layers = [layer] if isinstance(layer, str) else layer
        table = read_layers(
            self._files, layers=layers, columns=needed, where=where, crs=crs, encoding=encoding
        )
        name = f"{self._files[0]}, column {column!r}" if column else self._files[0]
        self._native_crs = crs_text(table.crs)
        shapes, kept = cleaned(table.geometry.to_numpy(), name)
        if not len(shapes):
            raise BadLabels(
                explain("there is no feature", where=name, got=f"filter {where!r}" if where else None)
            )
        background = None if unlabelled == "ignore" else unlabelled
        words = table[column] if column else _one_class(len(table), Path(self._files[0]).stem)
        self._classes, indices = classes_of_column(
            words.iloc[kept].reset_index(drop=True), classes, background=background, where=name
        )
        self._fill = IGNORE_INDEX if background is None else self._classes.names.index(background)
        shapes = buffered(shapes, self._native_crs, buffer_m, name)
        sequence = _drawing_order(order, shapes, table, kept)
        self._shapes: Shapes = shapes[sequence]
        self._indices: NDArray[np.int64] = indices[sequence]
        self._tree = STRtree(self._shapes)
        self._covered = self._find_coverage()

    def __getstate__(self) -> dict[str, Any]:
        return {k: v for k, v in self.__dict__.items() if k != "_tree"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._tree = STRtree(self._shapes)

    @property
    def kind(self) -> Kind:
        """``labels``."""
        return "labels"

    @property
    def bands(self) -> tuple[Band, ...]:
        """None: a label layer has no image."""
        return ()

    @property
    def classes(self) -> ClassTable:
        """The classes, those of the column and of what is not labelled."""
        return self._classes

    @property
    def crs(self) -> str:
        """The CRS of the features."""
        return self._native_crs

    @property
    def feature_count(self) -> int:
        """How many features can be burned."""
        return len(self._shapes)

    def source_files(self) -> tuple[str, ...]:
        """Return the vector files."""
        return self._files

    def scenes(self) -> tuple[Scene, ...]:
        """Return one scene: a grid of about 1024 pixels over the features.

        Features have no grid of their own; join them with an image (``images & labels``) to get its grid.
        """
        west, south, east, north = _padded(shapely.total_bounds(self._shapes))
        res = max(east - west, north - south) / 1024
        shape = (max(1, math.ceil((north - south) / res)), max(1, math.ceil((east - west) / res)))
        grid = GeoBox(shape, Affine(res, 0.0, west, 0.0, -res, north), self._native_crs)
        return (Scene(Path(self._files[0]).stem, grid, self._covered, self._time_held),)

    def coverage(self) -> tuple[tuple[BaseGeometry, TimeInterval], ...]:
        """Return where there are labels: the features' area in coarse cells, or their box when all is labelled."""
        return ((transform_geometry(self._covered, self._native_crs, LONLAT), self._time_held),)

    def explain(self, query: Query) -> str:
        """Say which features would be burned, and how."""
        count = len(self._near(query.geobox)[0]) if query.time.overlaps(self._time_held) else 0
        rule = "each pixel touched" if self._all_touched else "pixel centres inside"
        return (
            f"{', '.join(self._files)}: burn {count} of {len(self._shapes)} features ({rule}; on top: {self._order});"
            f" {crs_name(self._native_crs)} → {crs_name(query.geobox.crs)}, vertices exact"
        )

    def read(self, query: Query) -> Reading:
        """Burn the features onto the query's grid."""
        shape = (int(query.geobox.shape[0]), int(query.geobox.shape[1]))
        if not query.time.overlaps(self._time_held):
            mask = np.full(shape, IGNORE_INDEX, dtype=np.int64)
            return Reading(query.geobox, None, mask, mask != IGNORE_INDEX)
        positions, shapes = self._near(query.geobox)
        mask = burn(shapes, self._indices[positions], shape, fill=self._fill, all_touched=self._all_touched)
        return Reading(query.geobox, None, mask, mask != IGNORE_INDEX)

    def _near(self, geobox: GeoBox) -> tuple[NDArray[np.int64], Shapes]:
        positions, shapes = [], []
        for window in window_boxes(geobox, self._native_crs):
            found = np.asarray(self._tree.query(window, predicate="intersects"), dtype=np.int64)
            positions.append(found)
            shapes.append(in_pixels(self._shapes[found], self._native_crs, geobox, window))
        if not positions:
            return np.zeros(0, dtype=np.int64), np.zeros(0, dtype=object)
        every = np.concatenate(positions)
        sequence = np.argsort(every, kind="stable")
        return every[sequence], np.concatenate(shapes)[sequence]

    def _find_coverage(self) -> BaseGeometry:
        west, south, east, north = _padded(shapely.total_bounds(self._shapes))
        outline = box(west, south, east, north)
        if self._fill != IGNORE_INDEX:
            return outline
        res = max(east - west, north - south) / _CELLS
        shape = (max(1, math.ceil((north - south) / res)), max(1, math.ceil((east - west) / res)))
        grid = GeoBox(shape, Affine(res, 0.0, west, 0.0, -res, north), self._native_crs)
        pixels = in_pixels(self._shapes, self._native_crs, grid, outline)
        cells = burn(pixels, np.ones(len(pixels), dtype=np.int64), shape, fill=0, all_touched=True) == 1
        if not cells.any():
            return outline
        return cells_polygon(cells, grid.affine, outline)


def _one_class(count: int, name: str) -> Any:
    import pandas as pd

    return pd.Series([name] * count, dtype="object")


def _padded(bounds: NDArray[np.float64]) -> tuple[float, float, float, float]:
    west, south, east, north = (float(v) for v in bounds)
    pad = max(east - west, north - south) * 1e-9 or max(abs(west), abs(north), 1.0) * 1e-6
    return west - pad, south - pad, east + pad, north + pad


def _drawing_order(order: str, shapes: Shapes, table: Any, kept: NDArray[np.int64]) -> NDArray[np.int64]:
    if order == "file":
        return np.arange(len(shapes), dtype=np.int64)
    if order == "area":
        return np.argsort(-shapely.area(shapes), kind="stable").astype(np.int64)
    ranks = table[order].iloc[kept].rank(method="dense", na_option="top").to_numpy()
    return np.argsort(ranks, kind="stable").astype(np.int64)
