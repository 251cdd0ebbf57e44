"""Sample lists: windows as a table that can be saved, edited in a GIS and replayed."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import pandas as pd
from affine import Affine
from odc.geo.geobox import GeoBox

from geotoolbox.core.files import atomic_path
from geotoolbox.core.query import Query, TimeInterval
from geotoolbox.errors import BadInput, CannotRead, explain
from geotoolbox.indexing.geometry import crs_text, lonlat_polygon

__all__ = ["SampleList"]

_AFFINE = ("a", "b", "c", "d", "e", "f")
_COLUMNS = ("crs", "height", "width", *_AFFINE)
_MAX_SIDE = 100_000


@dataclass(frozen=True, slots=True)
class SampleList:
    """Windows in a fixed order; itself a sampler for a ``DataLoader``.

    The table has one row a window: the grid (``crs``, ``height``, ``width`` and the affine ``a`` … ``f``),
    the time (``start``, ``end``) and the outline in longitude and latitude for display. Rows can be
    deleted, repeated, reordered or added; what is read is said by the columns, not by the outline. A column
    ``weight``, where there is one, says how often a window is drawn in training, 1 being as often as any.

    Attributes:
        queries: The windows.
        weights: One weight a window, or empty for all alike.

    Raises:
        BadInput: When there is not one weight a window, or a weight is negative or not finite.

    Example:
        >>> grid = GeoBox((4, 4), Affine(30, 0, 300000, 0, -30, 4140000), "EPSG:32612")
        >>> chips = SampleList((Query(grid),))
        >>> SampleList.from_geodataframe(chips.to_geodataframe()) == chips
        True
    """

    queries: tuple[Query, ...]
    weights: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        wrong = [w for w in self.weights if not (np.isfinite(w) and w >= 0)]
        if wrong or (self.weights and len(self.weights) != len(self.queries)):
            raise BadInput(
                explain(
                    "these are no weights of samples",
                    got=wrong[:3] if wrong else f"{len(self.weights)} weights of {len(self.queries)} windows",
                    expected="one number of 0 or more a window",
                )
            )

    @classmethod
    def from_sampler(cls, sampler: Iterable[Query] | Iterable[list[Query]]) -> SampleList:
        """Take one epoch of a sampler (or batch sampler)."""
        flat: list[Query] = []
        for item in sampler:
            flat.extend([item] if isinstance(item, Query) else item)
        return cls(tuple(flat))

    def __len__(self) -> int:
        return len(self.queries)

    def __iter__(self) -> Iterator[Query]:
        return iter(self.queries)

    def _repr_html_(self) -> str:
        from geotoolbox.core.reprs import samples_html

        return samples_html(SampleList(self.queries[:150]).to_geodataframe(), len(self))

    def to_geodataframe(self) -> gpd.GeoDataFrame:
        """Return the table, outlines in EPSG:4326."""
        rows = [_row(q) for q in self.queries]
        columns = [*_COLUMNS, "start", "end"]
        if self.weights:
            rows = [{**row, "weight": w} for row, w in zip(rows, self.weights, strict=True)]
            columns.append("weight")
        outlines = [lonlat_polygon(q.geobox) for q in self.queries]
        return gpd.GeoDataFrame(rows, columns=columns, geometry=outlines, crs="EPSG:4326")

    @classmethod
    def from_geodataframe(cls, frame: gpd.GeoDataFrame) -> SampleList:
        """Read a table as :meth:`to_geodataframe` makes it.

        Raises:
            BadInput: When a column is missing or a row makes no grid; the message names the row.
        """
        missing = [c for c in _COLUMNS if c not in frame.columns]
        if missing:
            raise BadInput(
                explain(
                    "the table is no sample list",
                    got=", ".join(map(str, frame.columns)),
                    expected=", ".join(_COLUMNS),
                    fix=f"add the columns {', '.join(missing)}",
                )
            )
        rows = frame.drop(columns="geometry", errors="ignore").to_dict("records")
        weights = tuple(float(w) for w in frame["weight"]) if "weight" in frame.columns else ()
        return cls(tuple(_query(number, row) for number, row in enumerate(rows)), weights)

    def save(self, path: str | Path) -> None:
        """Write the table: ``.parquet`` (GeoParquet), ``.gpkg`` or ``.geojson``; whole or not at all.

        Raises:
            BadInput: When the suffix is another one.
        """
        write_frame(self.to_geodataframe(), Path(path), "samples")

    @classmethod
    def open(cls, path: str | Path) -> SampleList:
        """Read a saved table.

        Raises:
            CannotRead: When the file cannot be read.
        """
        return cls.from_geodataframe(read_frame(Path(path)))


def write_frame(frame: gpd.GeoDataFrame, path: Path, layer: str) -> None:
    """Write a table of geometries by its suffix, whole or not at all."""
    drivers = {".gpkg": "GPKG", ".geojson": "GeoJSON"}
    suffix = path.suffix.lower()
    if suffix not in (".parquet", *drivers):
        raise BadInput(
            explain(
                "unknown table format",
                where=path,
                got=suffix or "no suffix",
                expected=".parquet, .gpkg or .geojson",
            )
        )
    with atomic_path(path) as part:
        if suffix == ".parquet":
            frame.to_parquet(part)
        else:
            frame.to_file(part, driver=drivers[suffix], layer=layer, engine="pyogrio")


def read_frame(path: Path) -> gpd.GeoDataFrame:
    """Read a table of geometries by its suffix."""
    try:
        if path.suffix.lower() == ".parquet":
            return gpd.read_parquet(path)
        return gpd.read_file(path, engine="pyogrio")
    except Exception as error:  # pyogrio, pyarrow and pandas each have their own errors
        raise CannotRead(
            explain(
                "the table cannot be read",
                where=path,
                got=str(error)[:200],
                fix="check the path and the format",
            )
        ) from error


def _row(query: Query) -> dict[str, Any]:
    box = query.geobox
    row: dict[str, Any] = {"crs": crs_text(box.crs), "height": box.shape[0], "width": box.shape[1]}
    row.update({name: float(getattr(box.affine, name)) for name in _AFFINE})
    row["start"] = None if query.time.start is None else query.time.start.isoformat()
    row["end"] = None if query.time.end is None else query.time.end.isoformat()
    return row


def _query(number: int, row: dict[Any, Any]) -> Query:
    try:
        shape = (int(row["height"]), int(row["width"]))
        affine = Affine(*(float(row[name]) for name in _AFFINE))
        if not (1 <= min(shape) and max(shape) <= _MAX_SIDE and np.isfinite(tuple(affine)).all()):
            raise ValueError(f"{shape[0]} × {shape[1]} px, {tuple(affine)[:6]}")
        if affine.determinant == 0:
            raise ValueError("pixels without area")
        time = TimeInterval(_moment(row.get("start")), _moment(row.get("end")))
        return Query(GeoBox(shape, affine, str(row["crs"])), time)
    except Exception as error:  # pyproj and affine each have their own errors
        raise BadInput(
            explain("a row of the sample list makes no grid", where=f"row {number}", got=str(error)[:200])
        ) from error


def _moment(value: Any) -> datetime | None:
    if value is None or value is pd.NaT or value == "" or (isinstance(value, float) and np.isnan(value)):
        return None
    moment = pd.Timestamp(value).to_pydatetime()
    return moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)
