"""Views of a dataset: some of its scenes, or some of its time."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from geotoolbox.core.classes import IGNORE_INDEX
from geotoolbox.core.query import Query, Reading, TimeInterval
from geotoolbox.datasets.base import GeoDataset
from geotoolbox.datasets.batches import Slot
from geotoolbox.datasets.view import DatasetView
from geotoolbox.errors import NoOverlap, explain

__all__ = ["TimeSlice"]


class TimeSlice(DatasetView):
    """A view of a dataset that has data only within an interval of time.

    Args:
        dataset: What is seen.
        time: The closed interval.

    Raises:
        NoOverlap: When no scene is of that time.
    """

    def __init__(self, dataset: GeoDataset, time: TimeInterval) -> None:
        self.dataset, self.time = dataset, time
        self.transforms = dataset.transforms
        kept = []
        for scene in dataset.scenes():
            shared = scene.time.intersection(time)
            if shared is not None:
                kept.append(replace(scene, time=shared))
        if not kept:
            found = [s.time for s in dataset.scenes()]
            raise NoOverlap(
                explain(
                    "no scene is of this time",
                    got=f"{len(found)} scenes, the first {found[0].start} … {found[0].end}"
                    if found
                    else "no scene",
                    expected=f"{time.start} … {time.end}",
                    fix="check the dates of the files and the interval",
                )
            )
        self._scenes = tuple(kept)

    def explain(self, query: Query) -> str:
        """Say how the dataset reads the part of the query that is of this time."""
        shared = query.time.intersection(self.time)
        if shared is None:
            return f"outside the time {self.time.start} … {self.time.end}: nothing is read"
        return self.dataset.explain(Query(query.geobox, shared))

    def read(self, query: Query) -> Reading:
        """Read what is of this time; nothing is valid where the query is of another."""
        return self.read_into(query, Slot())

    def read_into(self, query: Query, slot: Slot) -> Reading:
        """As :meth:`read`, into the slot where the dataset can."""
        shared = query.time.intersection(self.time)
        if shared is not None:
            return self.dataset.read_into(Query(query.geobox, shared), slot)
        shape = tuple(query.geobox.shape)
        bands = len(self.bands)
        image = np.zeros((bands, *shape), np.float32) if bands else None
        mask = None if self.classes is None else np.full(shape, IGNORE_INDEX, np.int64)
        return Reading(query.geobox, image, mask, np.zeros(shape, np.bool_))
