"""Where and when: the question that a dataset answers, and the answer."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import numpy as np
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox
from shapely.geometry.base import BaseGeometry

from geotoolbox.errors import BadInput, explain

__all__ = ["ALWAYS", "Band", "Query", "Reading", "Region", "Scene", "TimeInterval"]


@dataclass(frozen=True, slots=True)
class TimeInterval:
    """A closed interval of time, in UTC; ``None`` is open on that side.

    Example:
        >>> may = TimeInterval(datetime(2020, 5, 1, tzinfo=UTC), datetime(2020, 5, 31, tzinfo=UTC))
        >>> may.overlaps(ALWAYS), may.overlaps(TimeInterval(datetime(2021, 1, 1, tzinfo=UTC), None))
        (True, False)
    """

    start: datetime | None = None
    end: datetime | None = None

    def __post_init__(self) -> None:
        for name in ("start", "end"):
            moment = getattr(self, name)
            if moment is not None and moment.tzinfo is None:
                object.__setattr__(self, name, moment.replace(tzinfo=UTC))
        if self.start is not None and self.end is not None and self.start > self.end:
            raise BadInput(explain("a time interval ends before it starts", got=f"{self.start} … {self.end}"))

    def overlaps(self, other: TimeInterval) -> bool:
        """Tell whether the two intervals share a moment."""
        return not (
            (self.end is not None and other.start is not None and self.end < other.start)
            or (other.end is not None and self.start is not None and other.end < self.start)
        )

    def intersection(self, other: TimeInterval) -> TimeInterval | None:
        """Return the shared interval, or None."""
        if not self.overlaps(other):
            return None
        starts = [t for t in (self.start, other.start) if t is not None]
        ends = [t for t in (self.end, other.end) if t is not None]
        return TimeInterval(max(starts, default=None), min(ends, default=None))


ALWAYS = TimeInterval()


@dataclass(frozen=True, slots=True)
class Query:
    """Where and when: a pixel grid (``odc.geo`` GeoBox: shape, affine, CRS) and an interval."""

    geobox: GeoBox
    time: TimeInterval = ALWAYS


@dataclass(frozen=True, slots=True)
class Band:
    """One band of an image layer; the wavelength is in micrometres where it is known."""

    name: str
    wavelength_um: float | None = None
    description: str = ""


@dataclass(frozen=True, slots=True)
class Region:
    """An area on the ground: a polygon and its CRS (anything ``odc.geo.crs.CRS`` accepts)."""

    geometry: BaseGeometry
    crs: str


@dataclass(frozen=True, slots=True)
class Scene:
    """One native grid of a dataset, with the polygon of its valid data in the grid's own CRS."""

    name: str
    geobox: GeoBox
    footprint: BaseGeometry
    time: TimeInterval = ALWAYS


@dataclass(frozen=True, slots=True)
class Reading:
    """What a dataset answers to a query, in numpy.

    Attributes:
        geobox: The grid that everything below is on.
        image: (C, H, W) float32, or (T, C, H, W) for a time series; 0 where not valid. None for labels.
        mask: (H, W) int64 class indices, ``IGNORE_INDEX`` where there is no label. None for images.
        valid: (H, W) bool, or (T, H, W) for a time series: every image band has data here
            (for a layer of labels alone: there is a label).
        dates: One interval for each T of a time series, else empty.
    """

    geobox: GeoBox
    image: NDArray[np.float32] | None
    mask: NDArray[np.int64] | None
    valid: NDArray[np.bool_]
    dates: tuple[TimeInterval, ...] = ()
    extra: dict[str, Any] = field(default_factory=dict)
