"""Samples that were drawn: read once each, with their facts, and what was decided about them; the default sampler."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain
from typing import Any

from shapely.geometry import mapping

from geotoolbox.core.query import Query, Reading
from geotoolbox.datasets import GeoDataset
from geotoolbox.indexing.geometry import lonlat_polygon
from geotoolbox.sampling import RandomGeoSampler, SampleList, Split
from geotoolbox.sampling.areas import areas_of
from geotoolbox.sampling.facts import WindowFacts, part_of, window_facts

__all__ = ["DrawnSamples", "default_sampler"]

_KEPT_BYTES = 400_000_000


class DrawnSamples:
    """The samples of one draw, by number.

    Args:
        dataset: What they are read from.
        queries: The windows.
        split: The parts that windows lie in; each is read from its own part, as training and validation do.
    """

    def __init__(self, dataset: GeoDataset, queries: Sequence[Query], split: Split | None = None) -> None:
        self.dataset, self.queries = dataset, tuple(queries)
        self.split = split
        regions = {} if split is None else split.regions
        self.parts = tuple(part_of(q, regions) for q in self.queries)
        self.facts: dict[int, WindowFacts] = {}
        self._outlines: dict[int, dict[str, Any]] = {}
        self._readings: OrderedDict[int, Reading] = OrderedDict()
        self._bytes = 0
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self.queries)

    def reading(self, number: int) -> Reading:
        """Read a sample, or return it from memory."""
        with self._lock:
            kept = self._readings.get(number)
            if kept is not None:
                self._readings.move_to_end(number)
                return kept
        part = self.parts[number]
        source = self.split[part] if self.split is not None and part else self.dataset
        found = source.read(self.queries[number])
        if number not in self.facts:
            self.facts[number] = window_facts(found, len(self.dataset.classes or ()))
        with self._lock:
            self._readings[number] = found
            self._bytes += _size(found)
            while self._bytes > _KEPT_BYTES and len(self._readings) > 1:
                self._bytes -= _size(self._readings.popitem(last=False)[1])
        return found

    def outline(self, number: int) -> dict[str, Any]:
        """Return a window's outline as a GeoJSON geometry in longitude and latitude."""
        if number not in self._outlines:
            self._outlines[number] = mapping(lonlat_polygon(self.queries[number].geobox))
        return self._outlines[number]

    def shown(self, *, class_index: int | None, nodata_percent: float, part: str | None) -> list[int]:
        """Return the numbers of samples that were read and pass the filters, in the order of the draw."""
        out = []
        for number in range(len(self.queries)):
            facts = self.facts.get(number)
            if facts is None or 100 * facts.nodata_share > nodata_percent + 1e-9:
                continue
            if class_index is not None and not facts.class_pixels[class_index]:
                continue
            if part is not None and self.parts[number] != part:
                continue
            out.append(number)
        return out

    def in_training(self, number: int) -> bool:
        """Tell whether a window lies where training may draw from."""
        return self.split is None or "train" not in self.split.regions or self.parts[number] == "train"

    def edited(self, excluded: Sequence[int], weights: Mapping[int, float]) -> SampleList:
        """Return the list that training uses: what is not excluded, with its weights.

        Of a split with a part ``train``, only that part's windows.
        """
        gone = set(excluded)
        kept = [n for n in range(len(self.queries)) if n not in gone and self.in_training(n)]
        factors = tuple(float(weights.get(n, 1.0)) for n in kept)
        plain = all(f == 1.0 for f in factors)
        return SampleList(tuple(self.queries[n] for n in kept), () if plain else factors)


def _size(reading: Reading) -> int:
    arrays = (reading.image, reading.mask, reading.valid)
    return sum(a.nbytes for a in arrays if a is not None)


def default_sampler(
    dataset: GeoDataset, split: Split | None, size_px: int, count: int, seed: int
) -> Iterable[Query]:
    """Return what draws windows at random; of a split, from each part its share of them.

    Args:
        dataset: What they are drawn from.
        split: Its parts, or None.
        size_px: Side of the windows, in pixels.
        count: How many are drawn in all.
        seed: The same seed draws the same.
    """
    if split is None or not split.regions:
        return RandomGeoSampler(dataset, size_px, count, seed=seed)
    return _PerPart(split, size_px, count, seed)


class _PerPart:
    """Draws from each part of a split its share of the windows, part by part."""

    def __init__(self, split: Split, size_px: int, count: int, seed: int) -> None:
        areas = {n: sum(a.pixels for a in areas_of(part)) for n, part in split.datasets.items()}
        whole = sum(areas.values())
        self.samplers = [
            RandomGeoSampler(part, size_px, max(1, round(count * areas[n] / whole)), seed=seed + i)
            for i, (n, part) in enumerate(split.datasets.items())
        ]

    def __iter__(self) -> Iterator[Query]:
        return chain.from_iterable(self.samplers)
