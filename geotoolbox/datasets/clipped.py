"""A dataset seen through an area: outside it there is nothing."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import shapely
from shapely.geometry.base import BaseGeometry

from geotoolbox.core.classes import IGNORE_INDEX
from geotoolbox.core.query import Query, Reading, Region, TimeInterval
from geotoolbox.datasets.base import GeoDataset
from geotoolbox.datasets.batches import Slot
from geotoolbox.datasets.masks import region_in, region_mask
from geotoolbox.datasets.view import DatasetView
from geotoolbox.errors import BadInput, NoOverlap, explain
from geotoolbox.indexing.geometry import LONLAT, transform_geometry

__all__ = ["ClippedDataset"]


class ClippedDataset(DatasetView):
    """A view of a dataset inside a region; made by :meth:`GeoDataset.within`.

    A pixel belongs to the region when its centre does. Outside, ``valid`` is false, the image is 0 and the
    mask is ``IGNORE_INDEX``. Scenes keep their whole grid (so that windows stay where they were); only their
    footprints are cut.

    Args:
        dataset: What is seen.
        region: The polygon and its CRS.

    Raises:
        BadInput: When the region is no polygon or is empty.
        NoOverlap: When nothing of the dataset lies in the region.
    """

    def __init__(self, dataset: GeoDataset, region: Region) -> None:
        self.dataset = dataset
        self.region = Region(_polygonal(region.geometry), region.crs)
        self.transforms = dataset.transforms
        scenes = []
        for scene in dataset.scenes():
            footprint = scene.footprint.intersection(region_in(self.region, scene.geobox))
            if not footprint.is_empty and footprint.area > 0:
                scenes.append(replace(scene, footprint=footprint))
        if not scenes:
            raise _outside(dataset, self.region)
        self._scenes = tuple(scenes)

    def coverage(self) -> tuple[tuple[BaseGeometry, TimeInterval], ...]:
        """Return where and when there is data inside the region."""
        area = transform_geometry(self.region.geometry, self.region.crs, LONLAT)
        cut = ((polygon.intersection(area), time) for polygon, time in self.dataset.coverage())
        return tuple((polygon, time) for polygon, time in cut if not polygon.is_empty)

    def explain(self, query: Query) -> str:
        """Say how the dataset reads it, and how much of the grid the region leaves."""
        share = float(region_mask(self.region, query.geobox).mean())
        return f"{self.dataset.explain(query)}\nregion: {share:.1%} of the pixels are inside"

    def read(self, query: Query) -> Reading:
        """Read, then make everything outside the region invalid."""
        return self.read_into(query, Slot())

    def read_into(self, query: Query, slot: Slot) -> Reading:
        """As :meth:`read`, into the slot where the dataset can."""
        inside = region_mask(self.region, query.geobox)
        reading = self.dataset.read_into(query, slot)
        if inside.all():
            return reading
        image = None if reading.image is None else np.where(inside, reading.image, np.float32(0))
        mask = None if reading.mask is None else np.where(inside, reading.mask, np.int64(IGNORE_INDEX))
        return replace(reading, image=image, mask=mask, valid=reading.valid & inside)


def _polygonal(geometry: BaseGeometry) -> BaseGeometry:
    mended = geometry if geometry.is_valid else shapely.make_valid(geometry)
    if mended.is_empty or mended.area <= 0:
        raise BadInput(
            explain(
                "the region has no area", got=geometry.geom_type, expected="a polygon", fix="draw an area"
            )
        )
    return mended


def _outside(dataset: GeoDataset, region: Region) -> NoOverlap:
    area = transform_geometry(region.geometry, region.crs, LONLAT)
    return NoOverlap(
        explain(
            "nothing of the dataset lies in the region",
            where=", ".join(dataset.source_files()[:2]),
            got=f"region {box_text([area])}, data {box_text([p for p, _ in dataset.coverage()])}",
            expected="boxes (longitude, latitude) that overlap",
            fix="check the region's CRS and whether its x and y are swapped",
        )
    )


def box_text(polygons: list[BaseGeometry]) -> str:
    """Return the box around polygons (longitude and latitude) as text."""
    if not polygons:
        return "no data at all"
    west, south, east, north = shapely.total_bounds(np.array(polygons, dtype=object))
    return f"lon {west:.5f} … {east:.5f}, lat {south:.5f} … {north:.5f}"
