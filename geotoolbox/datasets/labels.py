"""The classes of a label raster: from its names and colours, from a table, or from its values."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence

import numpy as np
from rasterio.errors import RasterioError
from rasterio.windows import Window

from geotoolbox.core.classes import ClassInfo, ClassTable, Color
from geotoolbox.core.header import RasterHeader
from geotoolbox.core.opening import open_raster
from geotoolbox.errors import BadLabels, CannotRead, explain
from geotoolbox.indexing.records import FileRecord

__all__ = ["ClassesLike", "as_table", "find_classes", "looks_like_labels", "name_values"]

_logger = logging.getLogger(__name__)

ClassesLike = ClassTable | Mapping[int, str] | Sequence[str]

_NO_CLASS = {
    "",
    "na",
    "n/a",
    "nan",
    "none",
    "null",
    "nodata",
    "no data",
    "no_data",
    "unclassified",
    "unlabelled",
    "unlabeled",
}
_MOST_CLASSES = 1000
_STRIP_PX = 4_000_000


def looks_like_labels(header: RasterHeader) -> bool:
    """Tell whether a file is a label raster: one band of whole numbers with a palette or class names."""
    whole = np.dtype(header.dtypes[0]).kind in "iu" if not header.dtypes[0].startswith("complex") else False
    return whole and header.count == 1 and (header.colormap is not None or header.category_names is not None)


def as_table(classes: ClassesLike) -> ClassTable:
    """Return a class table from a table, from ``{value: name}``, or from names of the values 0, 1, 2, …."""
    if isinstance(classes, ClassTable):
        return classes
    if isinstance(classes, str) or not isinstance(classes, (Mapping, Sequence)):
        raise BadLabels(
            explain("classes= is no table", got=repr(classes), expected="{value: name}, or a list of names")
        )
    return ClassTable.from_names(classes)


def find_classes(
    records: Sequence[FileRecord],
    classes: ClassesLike | None,
    nodata: float | None,
    typical: Sequence[FileRecord] | None = None,
) -> ClassTable:
    """Return the classes of label files.

    The table given wins. Else names in the files (raster attribute table, category names) with the
    palette's colours; names that mean "no data" and the nodata value are no classes. Else the values that
    occur, all files read once.

    Args:
        records: All files.
        classes: The table given.
        nodata: A fill value that holds instead of the declared one.
        typical: Some files of each kind, which have all names and colours that there are; default: all.

    Raises:
        BadLabels: When two files name a value differently, or there are no or too many values.
    """
    if classes is not None:
        return as_table(classes)
    names: dict[int, str] = {}
    colors: dict[int, Color] = {}
    for record in records if typical is None else typical:
        header = record.header
        fills = {nodata if nodata is not None else header.nodata[0]}
        for value, name in (header.category_names or {}).items():
            if value in fills or name.strip().lower() in _NO_CLASS:
                continue
            if names.setdefault(value, name) != name:
                raise BadLabels(
                    explain(
                        f"two files name the value {value} differently",
                        where=record.path,
                        got=repr(name),
                        expected=repr(names[value]),
                        fix="pass classes={value: name, …}",
                    )
                )
        for value, color in (header.colormap or {}).items():
            colors.setdefault(value, color)
    if names:
        return ClassTable(tuple(ClassInfo(v, n, colors.get(v)) for v, n in sorted(_distinct(names).items())))
    return _from_values(records, nodata, colors)


def name_values(values: Iterable[int], header: RasterHeader) -> ClassTable:
    """Return a table of just these values, with the names and colours that a raster's header gives them."""
    names = _distinct(header.category_names or {})
    colors = header.colormap or {}
    return ClassTable(
        tuple(ClassInfo(v, names.get(v) or f"class {v}", colors.get(v)) for v in sorted(set(values)))
    )


def _distinct(names: dict[int, str]) -> dict[int, str]:
    # "Reserved" or "Forest" may stand at several values; a class name stands once in a table.
    seen: dict[str, int] = {}
    for name in names.values():
        seen[name] = seen.get(name, 0) + 1
    return {v: n if seen[n] == 1 else f"{n} ({v})" for v, n in names.items()}


def _from_values(records: Sequence[FileRecord], nodata: float | None, colors: dict[int, Color]) -> ClassTable:
    found: set[int] = set()
    for record in records:
        found |= _values(record, nodata)
        if len(found) > _MOST_CLASSES:
            raise BadLabels(
                explain(
                    "too many different values for classes",
                    where=record.path,
                    got=f"more than {_MOST_CLASSES}",
                    fix="pass kind='image' if this is no label layer, or classes={value: name, …}",
                )
            )
    if not found:
        raise BadLabels(
            explain("there is no label in these files", where=", ".join(r.path for r in records[:3]))
        )
    return ClassTable(tuple(ClassInfo(v, f"class {v}", colors.get(v)) for v in sorted(found)))


def _values(record: FileRecord, nodata: float | None) -> set[int]:
    found: set[int] = set()
    header = record.header
    rows = max(1, _STRIP_PX // header.width)
    local = {"allow_vrt": header.driver == "VRT", "allow_remote": header.size_bytes == 0}
    with open_raster(header.path, **local) as dataset:
        for top in range(0, header.height, rows):
            window = Window(0, top, header.width, min(rows, header.height - top))
            try:
                values = dataset.read(1, window=window, masked=True)
            except RasterioError as error:
                raise CannotRead(explain("cannot read labels", where=header.path, got=str(error))) from error
            unique = np.unique(values.compressed())
            unique = unique[np.isfinite(unique)]
            check_whole(unique, header.path)
            found.update(int(v) for v in unique)
            if len(found) > _MOST_CLASSES:
                break
    return found - ({int(nodata)} if nodata is not None and np.isfinite(nodata) else set())


def check_whole(values: np.ndarray[tuple[int, ...], np.dtype[np.generic]], path: str) -> None:
    """Raise :class:`BadLabels` when values are no whole numbers."""
    if values.dtype.kind == "f" and values.size and bool((values != np.rint(values)).any()):
        raise BadLabels(
            explain(
                "labels must be whole numbers",
                where=path,
                got=f"{values[values != np.rint(values)].flat[0]} ({values.dtype})",
                fix="pass kind='image', or write the classes as whole numbers",
            )
        )
