"""Objects found and missed: connected pieces of one class in the map and the reference, matched by IoU."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import label as label_pieces
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from geotoolbox.errors import BadInput, explain

__all__ = ["ObjectCounts", "ObjectScores"]

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]
_DECILES = np.linspace(0, 1, 11)
_TOUCHING = np.ones((3, 3), dtype=int)


@dataclass(frozen=True, slots=True, eq=False)
class ObjectScores:
    """How many objects were found.

    Attributes:
        names: The K class names.
        iou: From which IoU on two objects are the same.
        matched: Objects of each class that map and reference share.
        reference_m2: True areas of the reference's objects, by class, rising.
        map_m2: The same of the map's.
    """

    names: tuple[str, ...]
    iou: float
    matched: tuple[int, ...]
    reference_m2: tuple[Floats, ...]
    map_m2: tuple[Floats, ...]

    @property
    def precision(self) -> tuple[float, ...]:
        """Of the map's objects of each class, the share that the reference has; NaN without any."""
        return tuple(_share(m, len(a)) for m, a in zip(self.matched, self.map_m2, strict=True))

    @property
    def recall(self) -> tuple[float, ...]:
        """Of the reference's objects of each class, the share that the map has; NaN without any."""
        return tuple(_share(m, len(a)) for m, a in zip(self.matched, self.reference_m2, strict=True))

    @property
    def f1(self) -> tuple[float, ...]:
        """Twice the matched over all objects of both; NaN where the reference has none."""
        rows = zip(self.matched, self.map_m2, self.reference_m2, strict=True)
        return tuple(_share(2 * m, len(a) + len(b)) if len(b) else float("nan") for m, a, b in rows)

    def to_json(self) -> dict[str, Any]:
        """Return plain data; NaN becomes null, areas are told by their deciles (smallest to largest)."""
        rows = []
        for i, name in enumerate(self.names):
            shares = {s: getattr(self, s)[i] for s in ("precision", "recall", "f1")}
            rows.append(
                {
                    "name": name,
                    "reference": len(self.reference_m2[i]),
                    "map": len(self.map_m2[i]),
                    "matched": self.matched[i],
                    **{s: None if np.isnan(v) else v for s, v in shares.items()},
                    "reference_area_deciles_m2": _deciles(self.reference_m2[i]),
                    "map_area_deciles_m2": _deciles(self.map_m2[i]),
                }
            )
        return {"iou": self.iou, "classes": rows}


@dataclass(slots=True)
class _Pieces:
    """Pieces of one layer, strip by strip; those that touch across strips are joined at the end."""

    count: int = 0
    classes: list[Ints] = field(default_factory=list)
    pixels: list[Ints] = field(default_factory=list)
    area_m2: list[Floats] = field(default_factory=list)
    joins: list[Ints] = field(default_factory=list)
    last: tuple[Ints, Ints] | None = None

    def add(self, labels: Ints, num_classes: int, pixel_m2: float) -> Ints:
        """Take a strip of class indices; return each pixel's piece, -1 without a class."""
        pieces, classes = _label(labels, num_classes)
        pieces = np.where(pieces >= 0, pieces + self.count, -1)
        sizes = np.bincount(pieces[pieces >= 0] - self.count, minlength=len(classes))
        self.classes.append(classes)
        self.pixels.append(sizes)
        self.area_m2.append(np.asarray(sizes * pixel_m2, dtype=np.float64))
        if self.last is not None:
            self.joins.append(_touching(*self.last, pieces[0], labels[0]))
        self.last = (pieces[-1].copy(), labels[-1].copy())
        self.count += len(classes)
        return pieces

    def objects(self) -> tuple[Ints, Ints, Ints, Floats]:
        """Return each piece's object; and class, pixels and area of each object."""
        joins = np.concatenate(self.joins, axis=1) if self.joins else np.zeros((2, 0), dtype=np.int64)
        graph = coo_array(
            (np.ones(joins.shape[1], dtype=np.int8), (joins[0], joins[1])), (self.count, self.count)
        )
        number, found = connected_components(graph, directed=False)
        classes = np.zeros(number, dtype=np.int64)
        classes[found] = _joined(self.classes)
        pixels = np.bincount(found, weights=_joined(self.pixels), minlength=number).astype(np.int64)
        areas = np.concatenate(self.area_m2) if self.area_m2 else np.zeros(0)
        summed = np.bincount(found, weights=areas, minlength=number).astype(np.float64, copy=False)
        return found.astype(np.int64), classes, pixels, summed


class ObjectCounts:
    """Gathers objects strip by strip, from the top of a scene to its bottom, each strip over the whole width.

    Pixels belong to one object when they have one class and touch at a side or a corner. Memory grows with
    the number of objects, not of pixels.

    Args:
        names: The K class names.
        iou: From which IoU on two objects of one class are the same; each is matched at most once.

    Example:
        >>> truth, mapped = np.zeros((6, 8), dtype=int), np.zeros((6, 8), dtype=int)
        >>> truth[1:3, 1:4] = truth[4:6, 5:8] = 1
        >>> mapped[1:3, 1:5] = 1
        >>> counts = ObjectCounts(("land", "house"))
        >>> for rows in (slice(0, 2), slice(2, 6)):
        ...     counts.update(truth[rows], mapped[rows])
        >>> found = counts.result()
        >>> found.matched, found.recall[1], found.precision[1]
        ((1, 1), 0.5, 1.0)
    """

    def __init__(self, names: Sequence[str], iou: float = 0.5) -> None:
        if not 0 < iou <= 1:
            raise BadInput(
                explain("an IoU that makes objects the same", got=iou, expected="above 0, at most 1")
            )
        self.names, self.iou = tuple(names), iou
        self._truth, self._map = _Pieces(), _Pieces()
        self._shared: list[Ints] = []

    def update(self, truth: NDArray[Any], predicted: NDArray[Any], pixel_m2: float = 1.0) -> None:
        """Add the next strip.

        Args:
            truth: (H, W) class indices; pixels without both classes belong to no object.
            predicted: (H, W) class indices.
            pixel_m2: True area of a pixel.
        """
        if truth.shape != predicted.shape or truth.ndim != 2:
            raise BadInput(
                explain("truth and prediction differ in shape", got=(truth.shape, predicted.shape))
            )
        k = len(self.names)
        known = (truth >= 0) & (truth < k) & (predicted >= 0) & (predicted < k)
        layers = [np.where(known, a, -1).astype(np.int64) for a in (truth, predicted)]
        own = self._truth.add(layers[0], k, pixel_m2)
        other = self._map.add(layers[1], k, pixel_m2)
        same = known & (layers[0] == layers[1])
        pairs, counts = np.unique(np.stack([own[same], other[same]]), axis=1, return_counts=True)
        self._shared.append(np.vstack([pairs, counts]).astype(np.int64))

    def new_scene(self) -> None:
        """Say that the next strip is the top of another scene."""
        self._truth.last = self._map.last = None

    def result(self) -> ObjectScores:
        """Match what was added."""
        k = len(self.names)
        truth_of, truth_class, truth_px, truth_m2 = self._truth.objects()
        map_of, map_class, map_px, map_m2 = self._map.objects()
        shared = np.concatenate(self._shared, axis=1) if self._shared else np.zeros((3, 0), dtype=np.int64)
        pairs, place = np.unique(
            np.stack([truth_of[shared[0]], map_of[shared[1]]]), axis=1, return_inverse=True
        )
        both = np.bincount(place.ravel(), weights=shared[2], minlength=pairs.shape[1])
        iou = both / np.maximum(truth_px[pairs[0]] + map_px[pairs[1]] - both, 1)
        kept = _best(pairs, iou, self.iou)
        matched = np.bincount(truth_class[pairs[0][kept]], minlength=k)
        return ObjectScores(
            self.names,
            self.iou,
            tuple(map(int, matched)),
            tuple(np.sort(truth_m2[truth_class == c]) for c in range(k)),
            tuple(np.sort(map_m2[map_class == c]) for c in range(k)),
        )


def _label(labels: Ints, num_classes: int) -> tuple[Ints, Ints]:
    """Return each pixel's piece (-1 without a class), and the class of each piece."""
    pieces, classes, count = np.full(labels.shape, -1, dtype=np.int64), [], 0
    present = np.flatnonzero(np.bincount(labels[labels >= 0], minlength=num_classes))
    for c in present:
        found, number = label_pieces(labels == c, structure=_TOUCHING)
        here = found > 0
        pieces[here] = found[here] - 1 + count
        classes.append(np.full(number, c, dtype=np.int64))
        count += number
    return pieces, _joined(classes)


def _touching(pieces: Ints, labels: Ints, next_pieces: Ints, next_labels: Ints) -> Ints:
    """Return (2, M) pieces of one class that touch across two rows."""
    found, width = [], len(pieces)
    for shift in (-1, 0, 1):
        a = slice(max(0, -shift), width - max(0, shift))
        b = slice(max(0, shift), width - max(0, -shift))
        same = (labels[a] == next_labels[b]) & (labels[a] >= 0)
        found.append(np.stack([pieces[a][same], next_pieces[b][same]]))
    return np.unique(np.concatenate(found, axis=1), axis=1)


def _best(pairs: Ints, iou: Floats, least: float) -> Ints:
    """Return the pairs at or above an IoU, the best first, each object once."""
    enough = np.flatnonzero(iou >= least)
    order = enough[np.argsort(-iou[enough], kind="stable")]
    if least > 0.5:  # two objects cannot both cover more than half of a third
        return order
    kept, seen = [], (set[int](), set[int]())
    for number in order.tolist():
        one, two = int(pairs[0, number]), int(pairs[1, number])
        if one not in seen[0] and two not in seen[1]:
            seen[0].add(one)
            seen[1].add(two)
            kept.append(number)
    return np.asarray(kept, dtype=np.int64)


def _joined(parts: Sequence[Ints]) -> Ints:
    return np.concatenate(parts) if parts else np.zeros(0, dtype=np.int64)


def _deciles(areas: Floats) -> list[float] | None:
    return [float(v) for v in np.quantile(areas, _DECILES)] if len(areas) else None


def _share(part: int, whole: int) -> float:
    return part / whole if whole else float("nan")
