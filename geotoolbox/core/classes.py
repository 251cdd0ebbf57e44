"""Class tables: which pixel value means what, and in which colour it is drawn."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geotoolbox.core.compiled import compiled
from geotoolbox.errors import BadLabels, explain

__all__ = ["DEFAULT_COLORS", "IGNORE_INDEX", "ClassInfo", "ClassTable", "Color"]

IGNORE_INDEX = -100
"""The mask value of a pixel without a label (torch's own default for cross entropy)."""

Color = tuple[int, int, int]

# Okabe & Ito 2008, then what lies farthest from all before it: no two are closer than ΔE (CIEDE2000) 11 for
# readers with deuteranopia or protanopia (measured in tests/visualization/test_colors.py).
DEFAULT_COLORS: tuple[Color, ...] = (
    (0, 114, 178),
    (230, 159, 0),
    (0, 158, 115),
    (204, 121, 167),
    (86, 180, 233),
    (213, 94, 0),
    (240, 228, 66),
    (51, 34, 136),
    (17, 51, 17),
    (255, 221, 221),
    (85, 85, 85),
    (153, 221, 153),
    (119, 85, 51),
    (119, 119, 255),
    (85, 17, 51),
    (221, 221, 255),
)

# What maps usually show in a colour of its own, by a word in the class's name; the first that fits. Like the
# palette, these differ in lightness too, so that colour-blind readers can tell them apart.
_NATURAL: tuple[tuple[tuple[str, ...], Color], ...] = (
    (("wetland", "marsh", "swamp", "bog"), (88, 160, 178)),
    (("water", "river", "lake", "sea"), (30, 96, 180)),
    (("forest", "tree", "wood"), (16, 80, 42)),
    (("shrub", "scrub", "heath"), (142, 108, 40)),
    (("grass", "meadow", "pasture", "herbaceous"), (118, 172, 64)),
    (("crop", "field", "cultivated", "arable"), (247, 222, 140)),
    (("settlement", "urban", "built", "developed", "building"), (180, 46, 98)),
    (("barren", "bare", "rock", "sand"), (188, 176, 172)),
    (("snow", "glacier"), (230, 242, 252)),
)


def _default_color(position: int) -> Color:
    """Return the palette's colour; from the 17th class on, paler, darker and then very pale ones of the same hues."""
    turn, place = divmod(position, len(DEFAULT_COLORS))
    share, toward = ((0.0, 0), (0.5, 255), (0.45, 0), (0.75, 255))[turn % 4]
    red, green, blue = (round(c + (toward - c) * share) for c in DEFAULT_COLORS[place])
    return red, green, blue


def _natural_color(name: str) -> Color | None:
    low = name.lower()
    return next((color for words, color in _NATURAL if any(w in low for w in words)), None)


_TABLE_PX = 4096  # from so many pixels on, a table of all values of the data type is quicker than a search


@lru_cache(maxsize=64)
def _table(values: tuple[int, ...], dtype: str) -> NDArray[np.int64]:
    """Return the class index of every value of an 8 or 16 bit type, by its bits."""
    size = np.dtype(dtype).itemsize
    known = np.arange(256**size, dtype=f"u{size}").view(dtype).astype(np.int64)
    table = np.full(known.size, IGNORE_INDEX, dtype=np.int64)
    for index, value in enumerate(values):
        table[known == value] = index
    table.setflags(write=False)
    return table


@compiled
def _look_up(table: NDArray[np.int64], bits: NDArray[Any], out: NDArray[np.int64]) -> None:
    """Write the class index of every value."""
    for n in range(out.size):
        out[n] = table[bits[n]]


@dataclass(frozen=True, slots=True)
class ClassInfo:
    """One class: its pixel value in files, its name and its colour (RGB, 0–255)."""

    value: int
    name: str
    color: Color | None = None


@dataclass(frozen=True, slots=True)
class ClassTable:
    """The classes of a label layer or model, in the order of the network's channels.

    A *value* is what stands in a file; an *index* (0 … n-1) is the position here, and what a
    sample's ``mask`` holds.

    Example:
        >>> table = ClassTable.from_names({11: "water", 41: "forest"})
        >>> table.names, table.values
        (('water', 'forest'), (11, 41))
        >>> table.to_index(np.array([41, 11, 7])).tolist()
        [1, 0, -100]
    """

    classes: tuple[ClassInfo, ...]

    def __post_init__(self) -> None:
        for what, items in (("value", self.values), ("name", self.names)):
            double = sorted({i for i in items if items.count(i) > 1}, key=str)  # type: ignore[arg-type]
            if double:
                raise BadLabels(
                    explain(
                        f"a class {what} stands twice in the class table",
                        got=", ".join(map(repr, double)),
                        expected=f"each {what} once",
                        fix="merge or rename these classes",
                    )
                )

    @classmethod
    def from_names(
        cls, names: Mapping[int, str] | Sequence[str], colors: Mapping[int, Color] | None = None
    ) -> ClassTable:
        """Make a table from ``{value: name}``, or from names whose values are 0, 1, 2, …."""
        pairs = names.items() if isinstance(names, Mapping) else enumerate(names)
        found = colors or {}
        return cls(tuple(ClassInfo(int(v), str(n), found.get(int(v))) for v, n in pairs))

    @classmethod
    def from_values(cls, values: Iterable[int]) -> ClassTable:
        """Make a table of nameless classes, sorted by value."""
        return cls(tuple(ClassInfo(int(v), f"class {int(v)}") for v in sorted(set(values))))

    @classmethod
    def from_json(cls, rows: Sequence[Mapping[str, Any]]) -> ClassTable:
        """Read what :meth:`to_json` wrote."""
        infos = []
        for row in rows:
            color = row.get("color")
            rgb = None if color is None else (int(color[0]), int(color[1]), int(color[2]))
            infos.append(ClassInfo(int(row["value"]), str(row["name"]), rgb))
        return cls(tuple(infos))

    def to_json(self) -> list[dict[str, Any]]:
        """Return plain rows for JSON."""
        return [
            {"value": c.value, "name": c.name, "color": list(c.color) if c.color else None}
            for c in self.classes
        ]

    def __len__(self) -> int:
        return len(self.classes)

    def __iter__(self) -> Iterator[ClassInfo]:
        return iter(self.classes)

    def __getitem__(self, index: int) -> ClassInfo:
        return self.classes[index]

    @property
    def values(self) -> tuple[int, ...]:
        """The pixel values, by index."""
        return tuple(c.value for c in self.classes)

    @property
    def names(self) -> tuple[str, ...]:
        """The names, by index."""
        return tuple(c.name for c in self.classes)

    @property
    def colors(self) -> tuple[Color, ...]:
        """The colours (RGB, 0–255), by index.

        The data's own; else the one that maps usually show such a name in; else one of the default palette.
        """
        chosen: list[Color] = []
        for position, info in enumerate(self.classes):
            color = info.color or _natural_color(info.name)
            if color is None or (info.color is None and color in chosen):
                color = _default_color(position)
            chosen.append(color)
        return tuple(chosen)

    def to_index(self, values: NDArray[Any], out: NDArray[np.int64] | None = None) -> NDArray[np.int64]:
        """Map pixel values to class indices; values outside the table become ``IGNORE_INDEX``.

        Args:
            values: Pixel values.
            out: Where the result may be written, of the shape of ``values``; it is not always used.
        """
        found = np.asarray(values)
        if found.dtype.kind in "iu" and found.dtype.itemsize <= 2 and found.size >= _TABLE_PX:
            table = _table(self.values, found.dtype.str)
            fits = out is not None and out.flags.c_contiguous
            room = out if out is not None and fits else np.empty(found.shape, dtype=np.int64)
            bits = np.ascontiguousarray(found).view(f"u{found.dtype.itemsize}")
            _look_up(table, bits.reshape(-1), room.reshape(-1))
            return room
        known = np.asarray(self.values, dtype=np.int64)
        order = np.argsort(known)
        flat = np.asarray(values).astype(np.int64, copy=False)
        position = np.clip(np.searchsorted(known[order], flat), 0, max(len(known) - 1, 0))
        if not len(known):
            return np.full(flat.shape, IGNORE_INDEX, dtype=np.int64)
        index = order[position]
        return np.where(known[index] == flat, index, IGNORE_INDEX).astype(np.int64)

    def to_value(self, indices: NDArray[Any], nodata: int) -> NDArray[np.int64]:
        """Map class indices back to pixel values; anything else becomes ``nodata``."""
        known = np.asarray([*self.values, nodata], dtype=np.int64)
        inside = (indices >= 0) & (indices < len(self.classes))
        return known[np.where(inside, indices, len(self.classes))]
