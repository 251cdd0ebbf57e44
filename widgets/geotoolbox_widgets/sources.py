"""From what a person names to what can be shown: paths, datasets, tables and areas."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import shapely
from shapely.geometry import mapping
from shapely.geometry.base import BaseGeometry

from geotoolbox.core.query import Region
from geotoolbox.datasets import GeoDataset, IntersectionDataset, RasterDataset, VectorDataset
from geotoolbox.errors import BadInput, explain
from geotoolbox.indexing.geometry import LONLAT, transform_geometry

__all__ = ["dataset_words", "features_of", "open_source"]

_VECTORS = (".gpkg", ".shp", ".geojson", ".json", ".parquet", ".fgb", ".gml", ".kml", ".sqlite")
_MOST_FEATURES = 20_000


def open_source(source: Any) -> tuple[GeoDataset, str]:
    """Return a dataset and the code that makes it again.

    Args:
        source: A dataset, or one path or several.

    Raises:
        BadInput: When it is neither.
        CannotRead: When a file cannot be read.

    Example:
        >>> open_source(7)
        Traceback (most recent call last):
        ...
        geotoolbox.errors.BadInput: this cannot be shown. Got int, expected a path, a dataset, ...
    """
    if isinstance(source, GeoDataset):
        return source, dataset_words(source)
    if isinstance(source, (str, os.PathLike)):
        path = os.fspath(source)
        if Path(path).suffix.lower() in _VECTORS:
            return VectorDataset(path), f"{path!r}"
        # The outline is enough to look at; finding where data ends would read a large file through.
        return RasterDataset(path, footprints=False), f"{path!r}"
    if isinstance(source, Sequence) and source and all(isinstance(s, (str, os.PathLike)) for s in source):
        paths = [os.fspath(s) for s in source]
        return RasterDataset(paths, footprints=False), f"RasterDataset({paths!r})"
    raise BadInput(
        explain(
            "this cannot be shown",
            got=type(source).__name__,
            expected="a path, a dataset, a table of features, a region or a geometry",
        )
    )


def dataset_words(dataset: GeoDataset) -> str:
    """Return code that opens the same files, or ``dataset`` where code cannot say all of it."""
    if isinstance(dataset, IntersectionDataset) and not dataset.spatial_only:
        parts = [dataset_words(dataset.first), dataset_words(dataset.second)]
        return "dataset" if "dataset" in parts else f"({parts[0]} & {parts[1]})"
    if type(dataset) is not RasterDataset or dataset.time_series or dataset.scaled:
        return "dataset"
    files = list(dataset.source_files())
    named = files[0] if len(files) == 1 else files
    if dataset.kind == "labels":
        return f"RasterDataset({named!r}, kind='labels')"
    return f"RasterDataset({named!r}, bands={[b.name for b in dataset.bands]!r})"


def features_of(source: Any) -> list[dict[str, Any]]:
    """Return GeoJSON features in longitude and latitude.

    Args:
        source: A GeoDataFrame or GeoSeries of any CRS, a region, or a geometry in longitude and latitude.

    Raises:
        BadInput: When a table has no CRS, or more features than a page should draw one by one.
    """
    if isinstance(source, Region):
        geometry = transform_geometry(source.geometry, source.crs, LONLAT)
        return [{"type": "Feature", "properties": {"id": 0}, "geometry": mapping(geometry)}]
    if isinstance(source, BaseGeometry):
        return [{"type": "Feature", "properties": {"id": 0}, "geometry": mapping(source)}]
    table = source
    if getattr(table, "crs", None) is None:
        raise BadInput(explain("the table does not say its CRS", fix="table.set_crs('EPSG:…')"))
    if len(table) > _MOST_FEATURES:
        raise BadInput(
            explain(
                "too many features to draw one by one",
                got=len(table),
                expected=f"at most {_MOST_FEATURES:,}",
                fix="write them to a file and add its path: it is drawn as tiles",
            )
        )
    moved = table.to_crs("EPSG:4326")
    geometries = np.asarray(moved.geometry)
    kept = ~(shapely.is_missing(geometries) | shapely.is_empty(geometries))
    return [
        {"type": "Feature", "properties": {"id": int(i)}, "geometry": mapping(geometries[i])}
        for i in np.flatnonzero(kept)
    ]
