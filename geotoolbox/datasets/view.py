"""What all views of a dataset share: a part of it, or other grids over it, and otherwise the dataset itself."""

from __future__ import annotations

from geotoolbox.core.classes import ClassTable
from geotoolbox.core.query import Band, Scene
from geotoolbox.datasets.base import GeoDataset, Kind

__all__ = ["DatasetView"]


class DatasetView(GeoDataset):
    """A dataset seen in another way. It has no files of its own, and changes nothing of what is seen.

    Attributes:
        dataset: What is seen.
    """

    dataset: GeoDataset
    _scenes: tuple[Scene, ...]

    @property
    def kind(self) -> Kind:
        """As in the dataset."""
        return self.dataset.kind

    @property
    def bands(self) -> tuple[Band, ...]:
        """As in the dataset."""
        return self.dataset.bands

    @property
    def classes(self) -> ClassTable | None:
        """As in the dataset."""
        return self.dataset.classes

    def scenes(self) -> tuple[Scene, ...]:
        """Return the scenes that the view has."""
        return self._scenes

    def source_files(self) -> tuple[str, ...]:
        """Return the files of the dataset."""
        return self.dataset.source_files()
