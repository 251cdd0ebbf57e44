"""Facts about training data that travel with the model."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from geotoolbox.sampling.areas import project
from geotoolbox.sampling.protocol import Sampled
from geotoolbox.trainers.source import Source

__all__ = ["area", "resolution_m", "sources"]


def resolution_m(source: Source) -> float | None:
    """Return the pixel size in metres, of the first scene; None where the CRS counts in degrees."""
    grid = source.scenes()[0].geobox
    if grid.crs is None or grid.crs.geographic:
        return None
    unit = grid.crs.proj.axis_info[0].unit_conversion_factor
    return float(math.hypot(grid.affine.a, grid.affine.d) * unit)


def area(source: Source) -> dict[str, Any]:
    """Return the training area in longitude and latitude, simplified to about ten metres."""
    from shapely import union_all
    from shapely.geometry import mapping

    parts = [project(s.footprint, s.geobox.crs, "EPSG:4326") for s in source.scenes()]
    area: dict[str, Any] = mapping(union_all(parts).simplify(1e-4))
    return area


def sources(dataset: Sampled) -> tuple[dict[str, Any], ...]:
    """Return name and size of the files, without the folders, which are nobody's business."""
    files: Sequence[str] = getattr(dataset, "source_files", tuple)()
    rows = []
    for file in files:
        path = Path(file)
        rows.append({"name": path.name, "size_bytes": path.stat().st_size if path.exists() else None})
    return tuple(rows)
