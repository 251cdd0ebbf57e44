"""Areas of interest from files."""

from __future__ import annotations

import logging
from pathlib import Path

import shapely

from geotoolbox.core.query import Region
from geotoolbox.datasets.vector_files import read_layers
from geotoolbox.errors import BadInput, explain
from geotoolbox.indexing.geometry import crs_text

__all__ = ["read_region"]

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
