"""``a & b`` and ``a | b``: new datasets that leave their operands as they are."""

from __future__ import annotations

from dataclasses import replace
from itertools import count

import numpy as np
import shapely
from numpy.typing import NDArray
from shapely.geometry.base import BaseGeometry

from geotoolbox.core.classes import IGNORE_INDEX, ClassTable
from geotoolbox.core.query import ALWAYS, Band, Query, Reading, Scene, TimeInterval
from geotoolbox.datasets.base import GeoDataset, Kind, Transform
from geotoolbox.datasets.batches import Slot
from geotoolbox.datasets.clipped import box_text
from geotoolbox.errors import BadInput, BadLabels, BandMismatch, NoOverlap, explain
from geotoolbox.indexing.geometry import LONLAT, transform_geometry

__all__ = ["IntersectionDataset", "UnionDataset"]


class IntersectionDataset(GeoDataset):
    """Two layers where both have data: images are put together, labels become the mask.

    The grid is that of the first operand with an image, whatever the order; the other layers are read
    straight from their files onto it. Footprints of the scenes are cut to where both have data. A band name
    that the first has already gets ``_2`` in the second, or the next free number.

    Args:
        first: A dataset.
        second: Another; at most one of the two may have labels.
        spatial_only: Whether the time of the second operand does not matter.
        transforms: Applied to each sample at the end.

    Raises:
        NoOverlap: When the two have no place, or no time, in common.
        BadInput: When both have labels.
    """

    def __init__(
        self,
        first: GeoDataset,
        second: GeoDataset,
        *,
        spatial_only: bool = False,
        transforms: Transform | None = None,
    ) -> None:
        if first.classes is not None and second.classes is not None:
            raise BadInput(
                explain("both layers have labels", fix="use | to merge labels, & to join them with images")
            )
        self.first, self.second, self.spatial_only = first, second, spatial_only
        self.transforms = transforms
        self._grid_is_first = first.kind != "labels" or second.kind == "labels"
        main, other = (first, second) if self._grid_is_first else (second, first)
        self._scenes = _common_scenes(main, other, spatial_only)
        if not self._scenes:
            raise _apart(first, second, spatial_only)

    @property
    def kind(self) -> Kind:
        """``both`` when one operand has labels and one an image."""
        kinds = {self.first.kind, self.second.kind}
        return next(iter(kinds)) if len(kinds) == 1 else "both"

    @property
    def bands(self) -> tuple[Band, ...]:
        """The bands of the first, then those of the second."""
        bands = list(self.first.bands)
        taken = {b.name for b in bands}
        for band in self.second.bands:
            free = (f"{band.name}_{n}" for n in count(2))
            name = band.name if band.name not in taken else next(n for n in free if n not in taken)
            taken.add(name)
            bands.append(replace(band, name=name))
        return tuple(bands)

    @property
    def classes(self) -> ClassTable | None:
        """The classes of the operand that has labels."""
        return self.first.classes if self.first.classes is not None else self.second.classes

    def scenes(self) -> tuple[Scene, ...]:
        """Return the image scenes, footprints cut to where both have data."""
        return self._scenes

    def source_files(self) -> tuple[str, ...]:
        """Return the files of both."""
        return self.first.source_files() + self.second.source_files()

    def explain(self, query: Query) -> str:
        """Say how each operand is read."""
        first, second = self._queries(query)
        return f"{self.first.explain(first)}\n{self.second.explain(second)}"

    def read(self, query: Query) -> Reading:
        """Read both onto the query's grid; ``valid`` is about the image."""
        return self.read_into(query, Slot())

    def read_into(self, query: Query, slot: Slot) -> Reading:
        """As :meth:`read`; each operand writes its part of the slot."""
        queries, split = self._queries(query), len(self.first.bands)
        first = self.first.read_into(queries[0], slot.bands(0, split))
        second = self.second.read_into(queries[1], slot.bands(split, split + len(self.second.bands)))
        return _joined(first, second, slot)

    def _queries(self, query: Query) -> tuple[Query, Query]:
        free = replace(query, time=ALWAYS) if self.spatial_only else query
        return (query, free) if self._grid_is_first else (free, query)


def _joined(first: Reading, second: Reading, slot: Slot) -> Reading:
    mask = first.mask if first.mask is not None else second.mask
    if first.image is None or second.image is None:
        pictured = first if first.image is not None else second
        inside = slot.image is not None and _is_all_of(pictured.image, slot.image)
        return replace(pictured, image=slot.image if inside else pictured.image, mask=mask)
    series = first if first.image.ndim == 4 else second
    steps = series.image.shape[0] if series.image is not None and series.image.ndim == 4 else None
    images = [_in_time(r.image, steps) for r in (first, second) if r.image is not None]
    if images[0].shape[:-3] != images[1].shape[:-3]:
        raise BadInput(
            explain(
                "two time series of different length cannot be put together",
                got=f"{images[0].shape[0]} and {images[1].shape[0]} dates",
                fix="use time_series=False for one of them",
            )
        )
    valid = first.valid & second.valid
    if images[0].ndim == 3 and slot.image is not None:
        image = slot.image
        split = len(images[0])
        for part, found in ((image[:split], images[0]), (image[split:], images[1])):
            if not _is_all_of(found, part):
                part[...] = found
    else:
        image = np.concatenate(images, axis=-3)
    if not valid.all():
        np.copyto(image, np.float32(0), where=~valid[..., None, :, :])
    return Reading(first.geobox, image, mask, valid, series.dates, {**first.extra, **second.extra})


def _is_all_of(image: NDArray[np.float32] | None, memory: NDArray[np.float32]) -> bool:
    """Tell whether an image fills a piece of memory."""
    if image is None or image.shape != memory.shape:
        return False
    return image.ctypes.data == memory.ctypes.data and image.strides == memory.strides


def _in_time(image: NDArray[np.float32], steps: int | None) -> NDArray[np.float32]:
    if steps is None or image.ndim == 4:
        return image
    return np.broadcast_to(image, (steps, *image.shape))


def _common_scenes(main: GeoDataset, other: GeoDataset, spatial_only: bool) -> tuple[Scene, ...]:
    coverage = other.coverage()
    found = []
    for scene in main.scenes():
        met = [(p, t) for p, t in coverage if spatial_only or scene.time.overlaps(t)]
        if not met:
            continue
        box = transform_geometry(scene.footprint, scene.geobox.crs, LONLAT)
        near = [p for p, _ in met if p.intersects(box)]
        pieces = [transform_geometry(p.intersection(box), LONLAT, scene.geobox.crs) for p in near]
        footprint = scene.footprint.intersection(shapely.union_all([p.buffer(0) for p in pieces]))
        if footprint.is_empty or footprint.area <= 0:
            continue
        time = scene.time
        if not spatial_only and len(met) == 1:
            time = scene.time.intersection(met[0][1]) or scene.time
        found.append(replace(scene, footprint=footprint, time=time))
    return tuple(found)


def _apart(first: GeoDataset, second: GeoDataset, spatial_only: bool) -> NoOverlap:
    one, two = first.coverage(), second.coverage()
    places = f"{box_text([p for p, _ in one])} ({_name(first)}) and {box_text([p for p, _ in two])} ({_name(second)})"
    times = "" if spatial_only else f"; times {_times(one)} and {_times(two)}"
    return NoOverlap(
        explain(
            "the two layers have nothing in common",
            got=places + times,
            expected="a place and a time that both cover",
            fix="check the CRS of both; use IntersectionDataset(a, b, spatial_only=True) to disregard time",
        )
    )


def _name(dataset: GeoDataset) -> str:
    files = dataset.source_files()
    return files[0] if files else type(dataset).__name__


def _times(coverage: tuple[tuple[BaseGeometry, TimeInterval], ...]) -> str:
    if not coverage or all(t == ALWAYS for _, t in coverage):
        return "always"
    starts = [t.start for _, t in coverage if t.start is not None]
    ends = [t.end for _, t in coverage if t.end is not None]
    return f"{min(starts, default=None)} … {max(ends, default=None)}"


class UnionDataset(GeoDataset):
    """Two layers of the same kind as one: each pixel comes from the first that has data there.

    Args:
        first: A dataset.
        second: Another with the same bands, or the same classes (by value and name).
        transforms: Applied to each sample at the end.

    Raises:
        BandMismatch: When the bands differ.
        BadLabels: When the classes differ.
    """

    def __init__(self, first: GeoDataset, second: GeoDataset, *, transforms: Transform | None = None) -> None:
        self.first, self.second, self.transforms = first, second, transforms
        if len(first.bands) != len(second.bands) or first.kind != second.kind:
            raise BandMismatch(
                explain(
                    "a union needs the same bands in both",
                    got=f"{_inventory(first)} and {_inventory(second)}",
                    fix="pass bands=[…] to both; use & to put different bands together",
                )
            )
        if [b.name for b in first.bands] != [b.name for b in second.bands]:
            raise BandMismatch(
                explain(
                    "a union needs the same band names in the same order",
                    got=f"{_inventory(first)} and {_inventory(second)}",
                    fix="pass the same bands=[…] to both",
                )
            )
        self._classes, self._recode = _merged_classes(first.classes, second.classes)

    @property
    def kind(self) -> Kind:
        """As in both."""
        return self.first.kind

    @property
    def bands(self) -> tuple[Band, ...]:
        """As in both."""
        return self.first.bands

    @property
    def classes(self) -> ClassTable | None:
        """The classes of both; those of the first come first."""
        return self._classes

    def scenes(self) -> tuple[Scene, ...]:
        """Return the scenes of the first, then those of the second."""
        return self.first.scenes() + self.second.scenes()

    def coverage(self) -> tuple[tuple[BaseGeometry, TimeInterval], ...]:
        """Return where and when either has data."""
        return self.first.coverage() + self.second.coverage()

    def source_files(self) -> tuple[str, ...]:
        """Return the files of both."""
        return self.first.source_files() + self.second.source_files()

    def explain(self, query: Query) -> str:
        """Say how each operand is read."""
        return f"first valid wins:\n{self.first.explain(query)}\n{self.second.explain(query)}"

    def read(self, query: Query) -> Reading:
        """Read the first, and the second where the first has nothing."""
        first = self.first.read(query)
        if (
            first.valid.size
            and first.valid.all()
            and (first.mask is None or (first.mask != IGNORE_INDEX).all())
        ):
            return first
        second = self.second.read(query)
        if second.mask is not None and self._recode is not None:
            second = replace(second, mask=_recoded(second.mask, self._recode))
        if first.valid.ndim == 3 or second.valid.ndim == 3:
            return _chained(first, second)
        image = mask = None
        if first.image is not None and second.image is not None:
            image = np.where(first.valid, first.image, second.image)
        if first.mask is not None and second.mask is not None:
            mask = np.where(first.mask != IGNORE_INDEX, first.mask, second.mask)
        return Reading(query.geobox, image, mask, first.valid | second.valid)


def _chained(first: Reading, second: Reading) -> Reading:
    # Two time series: their dates stand one after the other, in order of time.
    assert first.image is not None and second.image is not None
    dates = first.dates + second.dates
    order = sorted(range(len(dates)), key=lambda i: (dates[i].start is None, dates[i].start))
    image = np.concatenate([first.image, second.image])[order]
    valid = np.concatenate([first.valid, second.valid])[order]
    return Reading(first.geobox, image, first.mask, valid, tuple(dates[i] for i in order))


def _inventory(dataset: GeoDataset) -> str:
    return f"{dataset.kind} [{', '.join(b.name for b in dataset.bands)}]"


def _merged_classes(
    first: ClassTable | None, second: ClassTable | None
) -> tuple[ClassTable | None, NDArray[np.int64] | None]:
    if first is None or second is None or first == second:
        return first, None
    by_value, names = {c.value: c for c in first}, set(first.names)
    for info in second:
        twin = by_value.get(info.value)
        if (twin is not None and twin.name != info.name) or (twin is None and info.name in names):
            raise BadLabels(
                explain(
                    "the two label layers disagree about a class",
                    got=f"value {info.value} is {info.name!r} in the second",
                    expected=f"{twin.name!r}" if twin else "each name with one value",
                    fix="pass the same classes= to both",
                )
            )
    added = tuple(c for c in second if c.value not in by_value)
    merged = ClassTable(first.classes + added)
    position = {v: i for i, v in enumerate(merged.values)}
    return merged, np.array([position[v] for v in second.values], dtype=np.int64)


def _recoded(mask: NDArray[np.int64], recode: NDArray[np.int64]) -> NDArray[np.int64]:
    return np.where(mask == IGNORE_INDEX, IGNORE_INDEX, recode[np.clip(mask, 0, len(recode) - 1)])
