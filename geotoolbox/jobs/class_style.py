"""Names and colours that a person gives to classes, as text: ``1=water #3a78c8``."""

from __future__ import annotations

import copy
import re
from collections.abc import Collection, Sequence
from typing import TypeVar

from geotoolbox.core.classes import ClassInfo, ClassTable, Color
from geotoolbox.datasets import GeoDataset
from geotoolbox.errors import BadInput, BadLabels, explain

__all__ = ["restyle", "restyled"]

_ROW = re.compile(r"^(?P<key>.+?)=(?P<name>.*?)\s*(?P<color>#[0-9A-Fa-f]{6})?$", re.DOTALL)

D = TypeVar("D", bound=GeoDataset)


def restyle(table: ClassTable, rows: Sequence[str], *, known: Collection[str] = ()) -> ClassTable:
    """Return a class table with other names and colours; rows about classes that are not in it change nothing.

    Args:
        table: The classes.
        rows: ``class=name``, ``class=#rrggbb`` or ``class=name #rrggbb``; the class by its value or its name.
        known: Names that another layer goes by: a class that has one of them keeps it, unless its new name is one too.

    Raises:
        BadInput: When a row is not of that form, or two classes would get one name.

    Example:
        >>> table = restyle(ClassTable.from_names({1: "a", 2: "b"}), ["1=water #3a78c8", "b=#1e6932"])
        >>> table.names, table.colors
        (('water', 'b'), ((58, 120, 200), (30, 105, 50)))
    """
    values = {info.name: info.value for info in table}
    settled = {info.value for info in table if info.name in known}
    named: dict[int, str] = {}
    colored: dict[int, Color] = {}
    for row in rows:
        key, name, color = _read(row)
        value = values.get(key, int(key) if re.fullmatch(r"-?\d+", key) else None)
        if value is None:
            continue
        if name and (value not in settled or name in known):
            named[value] = name
        if color is not None:
            colored[value] = color
    infos = [
        ClassInfo(c.value, named.get(c.value, c.name), colored.get(c.value, c.color)) for c in table.classes
    ]
    names = [info.name for info in infos]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise BadInput(explain("two classes would have one name", got=", ".join(twice)))
    return ClassTable(tuple(infos))


def restyled(dataset: D, rows: Sequence[str], *, known: Collection[str] = ()) -> D:
    """Return a label layer whose classes have other names and colours; see :func:`restyle`.

    Raises:
        BadLabels: When the layer has no classes.
    """
    if not rows:
        return dataset
    table = dataset.classes
    if table is None:
        raise BadLabels(explain("this layer has no classes to name", fix="use it as a label layer"))
    changed = copy.copy(dataset)
    changed._classes = restyle(table, rows, known=known)  # type: ignore[attr-defined]
    return changed


def _read(row: str) -> tuple[str, str, Color | None]:
    found = _ROW.match(row)
    if found is None:
        raise BadInput(
            explain("a class style is not readable", got=repr(row), expected="'class=name #rrggbb'")
        )
    code = found["color"]
    color = None if code is None else (int(code[1:3], 16), int(code[3:5], 16), int(code[5:7], 16))
    return found["key"].strip(), found["name"].strip(), color
