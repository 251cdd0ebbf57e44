"""The index on disk: GeoParquet that QGIS opens."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import geopandas
import numpy as np
import shapely
from numpy.typing import NDArray
from pyarrow import parquet

from geotoolbox.core.files import atomic_path, check_writable
from geotoolbox.core.header import RasterHeader
from geotoolbox.core.query import TimeInterval
from geotoolbox.errors import CannotRead, explain
from geotoolbox.indexing.records import FileRecord, facts_to_json
from geotoolbox.indexing.table import RecordTable, seconds_of
from geotoolbox.indexing.times import interval_from_tags

__all__ = ["load_records", "save_records"]

_VERSION = 3
_GRID = ("affine_a", "affine_b", "affine_c", "affine_d", "affine_e", "affine_f")


def save_records(records: Sequence[FileRecord], path: Path) -> None:
    """Write records as GeoParquet, whole or not at all."""
    path = Path(path)
    check_writable(path)
    headers = [r.header for r in records]
    times = _both([r.time for r in records])
    tags = _both([interval_from_tags(h.tags) for h in headers])
    grids = np.array([tuple(h.transform)[:6] for h in headers], dtype=np.float64).reshape(-1, 6)
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
            "start_s": times[:, 0],
            "end_s": times[:, 1],
            "tag_start_s": tags[:, 0],
            "tag_end_s": tags[:, 1],
            "start": [r.time.start.isoformat() if r.time.start else None for r in records],
            "end": [r.time.end.isoformat() if r.time.end else None for r in records],
            **{name: column for name, column in zip(_GRID, grids.T, strict=True)},
            "facts": facts_to_json(headers),
            "tags": [_tags(h) for h in headers],
            "native_footprint": shapely.to_wkb([r.native_footprint for r in records]),
            "index_version": np.full(len(records), _VERSION, dtype=np.int64),
        },
        geometry=[r.footprint for r in records],
        crs="EPSG:4326",
    )
    with atomic_path(path) as part:
        table.to_parquet(part)


_to_json = json.JSONEncoder(ensure_ascii=False).encode


def _tags(header: RasterHeader) -> str:
    return _to_json({"tags": header.tags, "date": header.datetime_tag})


def _both(times: Sequence[TimeInterval]) -> NDArray[np.float64]:
    return np.array([seconds_of(t) for t in times], dtype=np.float64).reshape(-1, 2)


def load_records(path: Path) -> RecordTable:
    """Read what :func:`save_records` wrote; records are made when they are asked for.

    Raises:
        CannotRead: When the file is missing, damaged, or from another version.
    """
    try:
        table = parquet.read_table(path, read_dictionary=["facts", "tags"])
        versions = table["index_version"].to_numpy()
        if len(versions) and int(versions[0]) != _VERSION:
            raise ValueError(f"index version {versions[0]}, this program reads {_VERSION}")

        def columns(*names: str) -> Any:
            return np.column_stack([table[name].to_numpy() for name in names])

        facts, kinds = _distinct(table["facts"])
        tags, tagged = _distinct(table["tags"])
        return RecordTable(
            paths=table["path"].to_pylist(),
            facts=facts,
            kinds=kinds,
            tags=tags,
            tagged=tagged,
            shapes=columns("height", "width"),
            transforms=columns(*_GRID),
            native=table["native_footprint"].combine_chunks(),
            footprints=np.asarray(shapely.from_wkb(table["geometry"].to_numpy()), dtype=object),
            times=columns("start_s", "end_s"),
            tag_times=columns("tag_start_s", "tag_end_s"),
            states=columns("size_bytes", "mtime_ns"),
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


def _distinct(column: Any) -> tuple[list[str], NDArray[np.int64]]:
    """Return the different texts of a column, and which of them each row has."""
    coded = column.unify_dictionaries().combine_chunks()
    return coded.dictionary.to_pylist(), coded.indices.to_numpy().astype(np.int64)
