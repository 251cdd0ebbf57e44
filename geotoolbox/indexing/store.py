"""The index on disk: GeoParquet that QGIS opens."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

import geopandas
import numpy as np
import shapely

from geotoolbox.core.files import atomic_path, check_writable
from geotoolbox.errors import CannotRead, explain
from geotoolbox.indexing.records import FileRecord, header_from_json, header_to_json, time_from_seconds

__all__ = ["load_records", "save_records"]

_VERSION = 1
_OPEN = float("nan")


def save_records(records: Sequence[FileRecord], path: Path) -> None:
    """Write records as GeoParquet, whole or not at all."""
    path = Path(path)
    check_writable(path)
    headers = [r.header for r in records]
    table = geopandas.GeoDataFrame(
        {
            "path": [h.path for h in headers],
            "crs": [h.crs for h in headers],
            "width": np.array([h.width for h in headers], dtype=np.int64),
            "height": np.array([h.height for h in headers], dtype=np.int64),
            "band_count": np.array([h.count for h in headers], dtype=np.int64),
            "data_type": [h.dtypes[0] for h in headers],
            "size_bytes": np.array([h.size_bytes for h in headers], dtype=np.int64),
            "mtime_ns": np.array([h.mtime_ns for h in headers], dtype=np.int64),
            "start_s": np.array([_seconds(r.time.start) for r in records], dtype=np.float64),
            "end_s": np.array([_seconds(r.time.end) for r in records], dtype=np.float64),
            "start": [r.time.start.isoformat() if r.time.start else None for r in records],
            "end": [r.time.end.isoformat() if r.time.end else None for r in records],
            "header": [header_to_json(h) for h in headers],
            "native_footprint": [shapely.to_wkb(r.native_footprint) for r in records],
            "index_version": np.full(len(records), _VERSION, dtype=np.int64),
        },
        geometry=[r.footprint for r in records],
        crs="EPSG:4326",
    )
    with atomic_path(path) as part:
        table.to_parquet(part)


def _seconds(moment: datetime | None) -> float:
    return _OPEN if moment is None else moment.timestamp()


def load_records(path: Path) -> tuple[FileRecord, ...]:
    """Read what :func:`save_records` wrote.

    Raises:
        CannotRead: When the file is missing, damaged, or from another version.
    """
    try:
        table = geopandas.read_parquet(path)
        if len(table) and int(table["index_version"].iloc[0]) != _VERSION:
            raise ValueError(f"index version {table['index_version'].iloc[0]}, this program reads {_VERSION}")
        native = shapely.from_wkb(table["native_footprint"].to_numpy())
        return tuple(
            FileRecord(header_from_json(header), own, footprint, time_from_seconds((start, end)))
            for header, own, footprint, start, end in zip(
                table["header"],
                native,
                table.geometry.to_numpy(),
                table["start_s"].tolist(),
                table["end_s"].tolist(),
                strict=True,
            )
        )
    except Exception as error:
        raise CannotRead(
            explain(
                "this index cannot be read",
                where=path,
                got=str(error)[:200],
                fix="delete it; it is built again from the files",
            )
        ) from error
