"""Areas of interest from files."""

from __future__ import annotations

import logging
from pathlib import Path

import shapely

from geotoolbox.core.query import Region
from geotoolbox.datasets.vector_files import read_layers
from geotoolbox.errors import BadInput, explain
from geotoolbox.indexing.geometry import crs_text

__all__ = ["read_named_regions", "read_region"]

_logger = logging.getLogger(__name__)


def read_region(path: str | Path, *, layer: str | None = None, crs: str | None = None) -> Region:
    """Read the polygons of a file as one area.

    Args:
        path: GeoJSON, GeoPackage, shapefile, or anything else that pyogrio reads.
        layer: Which layer, where there are several.
        crs: The CRS, where the file has none.

    Raises:
        CannotRead: When the file cannot be read.
        BadInput: When there is no polygon in it, or no CRS.
    """
    table = read_layers([str(path)], layers=[layer] if layer else None, crs=crs)
    geometries = shapely.force_2d(table.geometry.to_numpy())
    geometries = geometries[~(shapely.is_missing(geometries) | shapely.is_empty(geometries))]
    polygons = shapely.get_dimensions(geometries) == 2
    if not polygons.any():
        raise BadInput(
            explain("no polygon in this area file", where=path, got=f"{len(geometries)} other geometries")
        )
    if not polygons.all():
        _logger.warning("%s: %d geometries are no polygons and are left out", path, int((~polygons).sum()))
    merged = shapely.union_all(shapely.make_valid(geometries[polygons]))
    return Region(merged, crs_text(table.crs))


def read_named_regions(path: str | Path, column: str, *, layer: str | None = None) -> dict[str, Region]:
    """Read polygons as named areas; those that share a name are one area.

    Args:
        path: GeoJSON, GeoPackage, shapefile, or anything else that pyogrio reads.
        column: The column of the names.
        layer: Which layer, where there are several.

    Returns:
        The areas by name, in the order of the file.

    Raises:
        CannotRead: When the file cannot be read.
        BadInput: When the column is missing, a name is empty, or an area has no polygon.
    """
    table = read_layers([str(path)], layers=[layer] if layer else None)
    if column not in table.columns:
        names = ", ".join(str(c) for c in table.columns if c != table.geometry.name)
        raise BadInput(explain("no such column in the regions", where=path, got=column, expected=names))
    if table[column].isna().any() or (table[column].astype(str).str.strip() == "").any():
        raise BadInput(explain("a region has no name", where=f"{path}, column {column}"))
    regions = {}
    for name, rows in table.groupby(table[column].astype(str), sort=False):
        shapes = shapely.force_2d(rows.geometry.to_numpy())
        shapes = shapes[~(shapely.is_missing(shapes) | shapely.is_empty(shapes))]
        if not len(shapes) or (shapely.get_dimensions(shapes) != 2).any():
            raise BadInput(explain("a region is no polygon", where=f"{path}, {name}"))
        regions[str(name)] = Region(shapely.union_all(shapely.make_valid(shapes)), crs_text(table.crs))
    return regions
