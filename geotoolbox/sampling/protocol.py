"""What sampling asks of a dataset: its scenes, and nothing of how they are read."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

from geotoolbox.core.classes import ClassTable
from geotoolbox.core.query import Band, Query, Reading, Region, Scene

__all__ = ["Sampled"]


@runtime_checkable
class Sampled(Protocol):
    """A dataset as samplers, splits and statistics see it."""

    @property
    def bands(self) -> tuple[Band, ...]:
        """The image bands, in the order of the channels."""

    @property
    def classes(self) -> ClassTable | None:
        """The classes of the mask, or None without labels."""

    def scenes(self) -> tuple[Scene, ...]:
        """Return the native grids with the polygons of their valid data."""

    def read(self, query: Query) -> Reading:
        """Read one window."""

    def within(self, region: Region) -> Sampled:
        """Return a view that has data only inside ``region``."""
