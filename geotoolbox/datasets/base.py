"""What every dataset is: something that answers a query, with scenes, classes and an algebra."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Literal

from shapely.geometry.base import BaseGeometry

from geotoolbox.core.classes import ClassTable
from geotoolbox.core.query import ALWAYS, Band, Query, Reading, Region, Scene, TimeInterval
from geotoolbox.datasets.batches import Slot, read_batch
from geotoolbox.datasets.queries import query_from_slices
from geotoolbox.datasets.samples import Sample, sample_from
from geotoolbox.errors import BadInput, explain
from geotoolbox.indexing.geometry import LONLAT, crs_name, crs_text, transform_geometry

if TYPE_CHECKING:
    from geotoolbox.datasets.algebra import IntersectionDataset, UnionDataset
    from geotoolbox.datasets.clipped import ClippedDataset
    from geotoolbox.datasets.reprojected import ReprojectedDataset

__all__ = ["GeoDataset", "Kind", "Transform"]

Kind = Literal["image", "labels", "both"]
Transform = Callable[[Sample], Sample]


_SHOWN_SCENES = 100


class GeoDataset(ABC):
    """A set of files seen as one spatiotemporal layer.

    A dataset never changes after it is made: ``&``, ``|`` and :meth:`within` return new ones and leave
    their operands as they are. It can be pickled and used from several processes and threads.

    Attributes:
        transforms: Applied to each sample of ``ds[query]`` at the end; never to :meth:`read`.
    """

    transforms: Transform | None = None

    @property
    @abstractmethod
    def kind(self) -> Kind:
        """Whether queries give an image, labels, or both."""

    @property
    @abstractmethod
    def bands(self) -> tuple[Band, ...]:
        """The bands of the image, in channel order; empty for labels."""

    @property
    @abstractmethod
    def classes(self) -> ClassTable | None:
        """The classes of the mask; None for images."""

    @abstractmethod
    def read(self, query: Query) -> Reading:
        """Read onto the query's grid: one resampling, validity included.

        Args:
            query: The grid (shape, affine, CRS) and the time interval.

        Returns:
            Numpy arrays on exactly that grid; ``valid`` is false where no source has data.

        Raises:
            CannotRead: When a file cannot be read; the message names it.
        """

    def read_into(self, query: Query, slot: Slot) -> Reading:
        """As :meth:`read`, into memory that is there as far as the dataset can; batches are read so.

        Args:
            query: The grid and the time interval.
            slot: Where image and mask may be written.

        Returns:
            A reading whose arrays are those of the slot where they were used.
        """
        return self.read(query)

    @abstractmethod
    def scenes(self) -> tuple[Scene, ...]:
        """Return the native grids, each with the polygon of its valid data."""

    @abstractmethod
    def explain(self, query: Query) -> str:
        """Say how a query would be read: source windows, overviews, kernels, errors."""

    @abstractmethod
    def source_files(self) -> tuple[str, ...]:
        """Return the paths of all files behind this dataset."""

    @property
    def crs(self) -> str:
        """The CRS of the first scene (``EPSG:…`` or WKT)."""
        return crs_text(self._first_scene().geobox.crs)

    @property
    def res(self) -> tuple[float, float]:
        """The pixel size of the first scene (x, y), positive, in units of its CRS."""
        affine = self._first_scene().geobox.affine
        return (abs(affine.a) or abs(affine.b)), (abs(affine.e) or abs(affine.d))

    def coverage(self) -> tuple[tuple[BaseGeometry, TimeInterval], ...]:
        """Return where and when there is data, as polygons in longitude and latitude."""
        return tuple(
            (transform_geometry(s.footprint, s.geobox.crs, LONLAT), s.time)
            for s in self.scenes()
            if not s.footprint.is_empty
        )

    def within(self, region: Region | BaseGeometry) -> ClippedDataset:
        """Return a view that has data only inside a region.

        Args:
            region: A :class:`Region`, or a polygon in the CRS of the first scene.
        """
        from geotoolbox.datasets.clipped import ClippedDataset

        if isinstance(region, BaseGeometry):
            region = Region(region, self.crs)
        return ClippedDataset(self, region)

    def to_crs(self, crs: str, resolution: float | None = None) -> ReprojectedDataset:
        """Return a view whose scenes lie on grids of another CRS.

        Args:
            crs: The CRS, such as ``EPSG:3857``.
            resolution: Pixel size in its units; by default about that of the first scene.
        """
        from geotoolbox.datasets.reprojected import ReprojectedDataset

        return ReprojectedDataset(self, crs, resolution)

    def __and__(self, other: GeoDataset) -> IntersectionDataset:
        """Return both layers together where both have data."""
        from geotoolbox.datasets.algebra import IntersectionDataset

        return IntersectionDataset(self, other)

    def __or__(self, other: GeoDataset) -> UnionDataset:
        """Return one layer that has data where either has; the first wins."""
        from geotoolbox.datasets.algebra import UnionDataset

        return UnionDataset(self, other)

    def __repr__(self) -> str:
        scenes = self.scenes()
        parts = []
        if self.bands:
            parts.append(_counted("band", [band.name for band in self.bands]))
        if self.classes is not None:
            parts.append(_counted("class", list(self.classes.names), "classes"))
        places = sorted({crs_name(scene.geobox.crs) for scene in scenes[:_SHOWN_SCENES]})
        parts += [", ".join(places[:3]) + (", …" if len(places) > 3 else "")] if places else []
        parts.append(f"{len(scenes):,} scene" + ("" if len(scenes) == 1 else "s"))
        return f"{type(self).__name__}({'; '.join(parts)})"

    def _repr_html_(self) -> str:
        from geotoolbox.core.reprs import dataset_html

        return dataset_html(self)

    def __len__(self) -> int:
        return len(self.scenes())

    def __getitem__(self, key: Any) -> Sample:
        """Read a sample: ``ds[query]``, ``ds[geobox]`` or ``ds[xmin:xmax, ymin:ymax, tmin:tmax]``.

        Slices are in the CRS of the first scene and snap outward to its grid; a missing part is all of it.
        """
        query = query_from_slices(key, self._first_scene)
        sample = sample_from(self.read(query))
        return sample if self.transforms is None else self.transforms(sample)

    def __getitems__(self, keys: Sequence[Any]) -> list[Sample]:
        """Read several samples; a ``DataLoader`` asks so. They share one block of memory, filled by threads."""
        return read_batch(self, [query_from_slices(k, self._first_scene) for k in keys])

    def _first_scene(self) -> Scene:
        scenes = self.scenes()
        if not scenes:
            raise BadInput(
                explain(
                    "the dataset has no scene",
                    where=", ".join(self.source_files()[:3]) or type(self).__name__,
                    fix="check the area, the time interval and the files",
                )
            )
        return scenes[0]

    def _time(self) -> TimeInterval:
        times = [s.time for s in self.scenes()]
        return times[0] if len(times) == 1 else ALWAYS


def _counted(noun: str, names: list[str], plural: str | None = None) -> str:
    """Return how many there are and the names of the first, in a few words."""
    word = noun if len(names) == 1 else plural or noun + "s"
    return f"{len(names)} {word}: {', '.join(names[:8])}" + (", …" if len(names) > 8 else "")
