"""Which class of a map is which class of its reference."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from geotoolbox.core.classes import IGNORE_INDEX, ClassInfo, ClassTable
from geotoolbox.errors import BadLabels, explain

__all__ = ["ClassMatch", "match_classes"]


@dataclass(frozen=True, slots=True)
class ClassMatch:
    """Two class tables brought together.

    Attributes:
        classes: The map's classes, then those that only the reference has.
        map_lookup: For each class index of the map, the index in ``classes``; int64.
        reference_lookup: The same for the reference.
        how: ``"name"`` or ``"value"``.
        map_only: Names that the reference does not have.
        reference_only: Names that the map does not have.
    """

    classes: ClassTable
    map_lookup: NDArray[np.int64]
    reference_lookup: NDArray[np.int64]
    how: str
    map_only: tuple[str, ...] = ()
    reference_only: tuple[str, ...] = ()

    def map_index(self, mask: NDArray[np.int64]) -> NDArray[np.int64]:
        """Bring class indices of the map into the shared table; no class stays ``IGNORE_INDEX``."""
        return _look_up(self.map_lookup, mask)

    def reference_index(self, mask: NDArray[np.int64]) -> NDArray[np.int64]:
        """Bring class indices of the reference into the shared table."""
        return _look_up(self.reference_lookup, mask)


def match_classes(map_classes: ClassTable, reference_classes: ClassTable) -> ClassMatch:
    """Match the classes of a map and a reference, by name where both have names, else by value.

    Names are compared without regard to case and surrounding blanks. A class without a name of its own
    (``class 7``) matches by its value.

    Raises:
        BadLabels: When no class of the one is in the other.

    Example:
        >>> match = match_classes(
        ...     ClassTable.from_names({1: "Water", 2: "Forest"}),
        ...     ClassTable.from_names({20: "forest", 30: "field"}),
        ... )
        >>> match.classes.names, match.reference_lookup.tolist(), match.how
        (('Water', 'Forest', 'field'), [1, 2], 'name')
    """
    by_name = {_key(c): i for i, c in enumerate(map_classes)}
    by_value = {c.value: i for i, c in enumerate(map_classes)}
    found: list[int | None] = []
    for info in reference_classes:
        index = by_name.get(_key(info))
        if index is None and (twin := by_value.get(info.value)) is not None:
            nameless = _is_nameless(info) or _is_nameless(map_classes[twin])
            index = twin if nameless else None
        found.append(index)
    if all(i is None for i in found):
        raise BadLabels(
            explain(
                "map and reference have no class in common",
                got=f"map {_describe(map_classes)}; reference {_describe(reference_classes)}",
                expected="the same class names, or nameless classes with the same values",
                fix="give the classes of one of them by hand (classes=…)",
            )
        )
    named = any(i is not None and not _is_nameless(map_classes[i]) for i in found)
    return _merge(map_classes, reference_classes, found, "name" if named else "value")


def _merge(map_classes: ClassTable, reference: ClassTable, found: list[int | None], how: str) -> ClassMatch:
    infos = [
        _better(info, [r for r, i in zip(reference, found, strict=True) if i == n])
        for n, info in enumerate(map_classes)
    ]
    lookup = []
    for info, index in zip(reference, found, strict=True):
        lookup.append(len(infos) if index is None else index)
        if index is None:
            taken = {c.value for c in infos}
            value = info.value if info.value not in taken else max(taken) + 1
            infos.append(ClassInfo(value, info.name, info.color))
    only = [r.name for r, i in zip(reference, found, strict=True) if i is None]
    return ClassMatch(
        classes=ClassTable(tuple(infos)),
        map_lookup=np.arange(len(map_classes), dtype=np.int64),
        reference_lookup=np.asarray(lookup, dtype=np.int64),
        how=how,
        map_only=tuple(c.name for n, c in enumerate(map_classes) if n not in found),
        reference_only=tuple(only),
    )


def _better(info: ClassInfo, twins: list[ClassInfo]) -> ClassInfo:
    """Take name and colour from the reference where the map has none."""
    for twin in twins:
        name = twin.name if _is_nameless(info) else info.name
        info = ClassInfo(info.value, name, info.color or twin.color)
    return info


def _key(info: ClassInfo) -> str:
    return info.name.strip().casefold()


def _is_nameless(info: ClassInfo) -> bool:
    return _key(info) in {f"class {info.value}", str(info.value), ""}


def _describe(table: ClassTable) -> str:
    return ", ".join(f"{c.value} {c.name!r}" for c in table)


def _look_up(lookup: NDArray[np.int64], mask: NDArray[np.int64]) -> NDArray[np.int64]:
    inside = (mask >= 0) & (mask < len(lookup))
    return np.where(inside, lookup[np.where(inside, mask, 0)], IGNORE_INDEX)
