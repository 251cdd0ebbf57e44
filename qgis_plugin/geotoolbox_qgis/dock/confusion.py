"""The confusion matrix of an evaluation, as the engine's metrics file holds it. Standard library only."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

__all__ = ["Confusion", "MatrixClass", "read_confusion"]

# For classes without a colour of their own: Okabe and Ito's colours, told apart by colour-blind readers.
_COLORS = ("#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#d55e00", "#f0e442", "#332288")


@dataclass(frozen=True)
class MatrixClass:
    """One class: its pixel value in the map, its name, and its colour as ``#rrggbb``."""

    value: int
    name: str
    color: str


@dataclass(frozen=True)
class Confusion:
    """Counts of pixels: row = class of the reference, column = class of the map.

    Attributes:
        classes: The classes, in the order of rows and columns.
        counts: Pixels, row by row.
        errors: The error raster, where it was written.
        blocks: The GeoPackage that says which block holds how many pixels of each cell.
        interval: 95 % interval of the overall accuracy, where it is known.
        mean_iou: As the engine computed it.
        notes: Sentences that a reader must know.
    """

    classes: tuple[MatrixClass, ...]
    counts: tuple[tuple[int, ...], ...]
    errors: Path | None = None
    blocks: Path | None = None
    interval: tuple[float, float] | None = None
    mean_iou: float | None = None
    notes: tuple[str, ...] = ()

    @property
    def size(self) -> int:
        """How many classes there are."""
        return len(self.classes)

    @property
    def total(self) -> int:
        """All pixels compared."""
        return sum(map(sum, self.counts))

    @property
    def overall_accuracy(self) -> float | None:
        """The share of pixels in which map and reference agree."""
        return _share(sum(self.counts[i][i] for i in range(self.size)), self.total)

    def row_total(self, row: int) -> int:
        """Pixels of a class in the reference."""
        return sum(self.counts[row])

    def column_total(self, column: int) -> int:
        """Pixels of a class in the map."""
        return sum(row[column] for row in self.counts)

    def producers_accuracy(self, row: int) -> float | None:
        """The share of a reference class that the map found (recall)."""
        return _share(self.counts[row][row], self.row_total(row))

    def users_accuracy(self, column: int) -> float | None:
        """The share of a map class that is right (precision)."""
        return _share(self.counts[column][column], self.column_total(column))

    def iou(self, index: int) -> float | None:
        """Intersection over union of a class."""
        hit = self.counts[index][index]
        return _share(hit, self.row_total(index) + self.column_total(index) - hit)

    def share_of_row(self, row: int, column: int) -> float | None:
        """The share of a reference class that the map shows as another."""
        return _share(self.counts[row][column], self.row_total(row))

    def share_of_column(self, row: int, column: int) -> float | None:
        """The share of a map class that is another in the reference."""
        return _share(self.counts[row][column], self.column_total(column))

    def worst(self) -> tuple[int, int] | None:
        """Return the (row, column) of the most frequent confusion, None where all agree."""
        cells = [(n, -r, -c) for r, row in enumerate(self.counts) for c, n in enumerate(row) if r != c and n]
        if not cells:
            return None
        _, row, column = max(cells)
        return -row, -column


def read_confusion(path: Path) -> Confusion:
    """Read the metrics file that *evaluate* writes.

    Raises:
        ValueError: A sentence for the person, when the file holds no confusion matrix.
    """
    try:
        found = json.loads(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise ValueError(f"The metrics file cannot be read: {path} ({error.strerror}).") from error
    except ValueError as error:
        raise ValueError(f"This is no metrics file: {path}.") from error
    try:
        rows = tuple(tuple(int(n) for n in row) for row in found["confusion"])
        infos = found["classes"] if _described(found.get("classes")) else found["class_table"]
        classes = tuple(_class(i, info) for i, info in enumerate(infos))
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise ValueError(f"The metrics file holds no confusion matrix: {path}.") from error
    if not classes or len(rows) != len(classes) or any(len(row) != len(classes) for row in rows):
        raise ValueError(f"The confusion matrix does not fit its classes: {path}.")
    folder = Path(path).parent
    return Confusion(
        classes,
        rows,
        errors=_beside(folder, found.get("errors")),
        blocks=_beside(folder, found.get("blocks")),
        interval=_interval(found.get("intervals")),
        mean_iou=_number(found.get("mean_iou")),
        notes=tuple(str(note) for note in found.get("notes") or ()),
    )


def _described(rows: Any) -> bool:
    return isinstance(rows, list) and bool(rows) and all(isinstance(r, dict) and "value" in r for r in rows)


def _beside(folder: Path, part: Any) -> Path | None:
    """Return the file that a part of the metrics names, where it is there."""
    name = part.get("file") if isinstance(part, dict) else None
    if not isinstance(name, str) or not name:
        return None
    path = folder / name
    return path if path.is_file() else None


def _interval(part: Any) -> tuple[float, float] | None:
    try:
        low, high = part["scores"]["overall_accuracy"]
        return float(low), float(high)
    except (KeyError, TypeError, ValueError):
        return None


def _number(value: Any) -> float | None:
    return float(value) if isinstance(value, (int, float)) and not isinstance(value, bool) else None


def _class(index: int, info: Any) -> MatrixClass:
    return MatrixClass(int(info["value"]), str(info["name"]), _color(info.get("color"), index))


def _color(color: list[int] | None, index: int) -> str:
    if not color:
        return _COLORS[index % len(_COLORS)]
    red, green, blue = (min(255, max(0, int(part))) for part in color[:3])
    return f"#{red:02x}{green:02x}{blue:02x}"


def _share(part: int, whole: int) -> float | None:
    return part / whole if whole else None
