"""A dataset seen on grids of another CRS, because someone asked for it; every layer is still resampled once."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from odc.geo.geobox import GeoBox
from shapely.geometry.base import BaseGeometry

from geotoolbox.core.query import Query, Reading, TimeInterval
from geotoolbox.datasets.base import GeoDataset
from geotoolbox.datasets.batches import Slot
from geotoolbox.datasets.view import DatasetView
from geotoolbox.errors import BadInput, explain
from geotoolbox.indexing.geometry import crs_text, transform_geometry

__all__ = ["ReprojectedDataset"]


class ReprojectedDataset(DatasetView):
    """A view of a dataset whose scenes lie on grids of one CRS; made by :meth:`GeoDataset.to_crs`.

    Only the grids that samplers and slices use change: images and labels are read from their own files straight
    onto a window of such a grid. All grids are on one lattice, whose lines are multiples of the resolution.

    Args:
        dataset: What is seen.
        crs: The CRS of the grids, anything ``odc.geo`` accepts.
        resolution: Pixel size in units of ``crs``; by default about that of the first scene.

    Raises:
        BadInput: When the CRS is not understood, or the resolution is not positive.
    """

    def __init__(self, dataset: GeoDataset, crs: str, resolution: float | None = None) -> None:
        if resolution is not None and not resolution > 0:
            raise BadInput(explain("the resolution is not positive", where="resolution", got=resolution))
        self.dataset, self.transforms = dataset, dataset.transforms
        scenes = dataset.scenes()
        try:
            text = crs_text(crs)
            size: Any = resolution or _size(scenes[0].geobox, text)
            self._scenes = tuple(
                replace(
                    s,
                    geobox=s.geobox.to_crs(text, resolution=size),
                    footprint=transform_geometry(s.footprint, s.geobox.crs, text),
                )
                for s in scenes
            )
        except (ValueError, RuntimeError) as error:
            raise BadInput(
                explain("there is no grid in this CRS", where=str(crs)[:80], got=str(error)[:200])
            ) from error

    def coverage(self) -> tuple[tuple[BaseGeometry, TimeInterval], ...]:
        """As in the dataset."""
        return self.dataset.coverage()

    def explain(self, query: Query) -> str:
        """As the dataset."""
        return self.dataset.explain(query)

    def read(self, query: Query) -> Reading:
        """Read as the dataset does."""
        return self.dataset.read(query)

    def read_into(self, query: Query, slot: Slot) -> Reading:
        """Read as the dataset does."""
        return self.dataset.read_into(query, slot)


def _size(geobox: GeoBox, crs: str) -> float:
    """Return about the pixel size of a grid, in units of another CRS."""
    found = geobox.to_crs(crs).resolution
    return float((abs(found.x) + abs(found.y)) / 2)
