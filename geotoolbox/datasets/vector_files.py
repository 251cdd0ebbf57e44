"""Reading vector files: layers, filters, CRSs and encodings, each problem by its name."""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from typing import Any

import geopandas
import pandas as pd
import pyogrio
from pyogrio.errors import FeatureError

from geotoolbox.core.header import is_on_earth
from geotoolbox.core.sniffing import local_path
from geotoolbox.errors import BadInput, CannotRead, UnsafeInput, explain
from geotoolbox.indexing.geometry import same_crs

__all__ = ["columns_of", "read_layers"]

_logger = logging.getLogger(__name__)


def read_layers(
    paths: Sequence[str],
    *,
    layers: Sequence[str] | None = None,
    columns: Sequence[str] | None = None,
    where: str | None = None,
    crs: str | None = None,
    encoding: str | None = None,
) -> Any:
    """Read layers of vector files as one GeoDataFrame in the CRS of the first.

    Args:
        paths: Local files.
        layers: Which layers of each file; by default the only one.
        columns: Which columns; by default all.
        where: An SQL filter, as in OGR.
        crs: The CRS of files that have none.
        encoding: Of a shapefile's texts, where its own statement is wrong.

    Raises:
        CannotRead: When a file is missing, damaged or locked.
        BadInput: When a layer, column, filter or CRS is missing or wrong.
    """
    tables = []
    for path in paths:
        _check_local(path)
        for layer in layers if layers is not None else [_only_layer(path)]:
            table = _read(path, layer, columns, where, encoding)
            tables.append(_with_crs(table, path, crs))
    first = tables[0].crs
    same = [t if same_crs(t.crs, first) else t.to_crs(first) for t in tables]
    return same[0] if len(same) == 1 else pd.concat(same, ignore_index=True)


def columns_of(path: str) -> tuple[str, ...]:
    """Return the names of the columns of a file's only (or first) layer.

    Raises:
        CannotRead: When the file cannot be read.
    """
    try:
        layers = [str(n) for n, _ in pyogrio.list_layers(path) if n != "layer_styles"]
        return tuple(str(f) for f in pyogrio.read_info(path, layer=layers[0] if layers else None)["fields"])
    except Exception as error:
        raise _unreadable(path, error) from error


def _check_local(path: str) -> None:
    if local_path(path) != path:
        raise UnsafeInput(
            explain("vector data is read from local files", where=path, fix="download the file first")
        )
    try:
        os.stat(path)
    except (OSError, ValueError) as error:
        raise CannotRead(
            explain("no such file", where=path[:300], got=getattr(error, "strerror", None) or str(error))
        ) from error


def _only_layer(path: str) -> str | None:
    try:
        # What QGIS keeps its styles in is no layer of anybody's.
        names = [str(n) for n, _ in pyogrio.list_layers(path) if n != "layer_styles"]
    except Exception as error:
        raise _unreadable(path, error) from error
    if len(names) > 1:
        raise BadInput(
            explain(
                "the file has several layers",
                where=path,
                got=", ".join(names),
                fix="choose with layer= (--label-layer)",
            )
        )
    return names[0] if names else None


def _read(
    path: str, layer: str | None, columns: Sequence[str] | None, where: str | None, encoding: str | None
) -> Any:
    try:
        fields = [str(f) for f in pyogrio.read_info(path, layer=layer)["fields"]]
    except Exception as error:
        raise _unreadable(path, error) from error
    missing = [c for c in columns or () if c not in fields]
    if missing:
        raise BadInput(
            explain(
                "no such column",
                where=path,
                got=", ".join(fields) or "no columns",
                expected=", ".join(missing),
                fix="choose one of these columns",
            )
        )
    try:
        return pyogrio.read_dataframe(path, layer=layer, columns=columns, where=where, encoding=encoding)
    except UnicodeDecodeError as error:
        raise BadInput(
            explain(
                "the texts are not in the encoding that the file states",
                where=path,
                got=str(error),
                fix="pass encoding='latin1' or cp1252, … (--label-encoding on the command line)",
            )
        ) from error
    except (ValueError, FeatureError) as error:
        if where is None:
            raise _unreadable(path, error) from error
        raise BadInput(explain("the filter is wrong", where=f"{path}: {where}", got=str(error))) from error
    except Exception as error:
        raise _unreadable(path, error) from error


def _unreadable(path: str, error: Exception) -> CannotRead:
    hint = "close the program that holds it, or copy the file" if "lock" in str(error).lower() else None
    return CannotRead(
        explain(
            "cannot read this vector file",
            where=path,
            got=str(error)[:300],
            fix=hint or "check it with ogrinfo",
        )
    )


def _with_crs(table: Any, path: str, crs: str | None) -> Any:
    if not isinstance(table, geopandas.GeoDataFrame):
        raise BadInput(explain("a table without geometry", where=path, fix="choose a layer with geometry"))
    if table.crs is None:
        if crs is None:
            raise BadInput(
                explain(
                    "the file does not say its CRS",
                    where=path,
                    got="no .prj" if path.lower().endswith(".shp") else "no CRS",
                    fix="pass crs='EPSG:…' (--label-crs on the command line); whoever made the file knows it",
                )
            )
        return _on_earth(table.set_crs(crs), path)
    if crs is not None and not same_crs(table.crs, crs):
        _logger.warning("%s: crs=%s takes the place of the file's own %s", path, crs, table.crs.name)
        return _on_earth(table.set_crs(crs, allow_override=True), path)
    return _on_earth(table, path)


def _on_earth(table: Any, path: str) -> Any:
    if not is_on_earth(table.crs.to_wkt()):
        raise BadInput(
            explain(
                "the file's CRS is not tied to the earth",
                where=path,
                got=repr(table.crs.name),
                fix="pass crs='EPSG:…' (--label-crs on the command line); whoever made the file knows it",
            )
        )
    return table
