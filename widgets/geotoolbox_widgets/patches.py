"""Small places of a map to look at: image, reference, map, confidence and error on one grid."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib import colormaps
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox

from geotoolbox.core.classes import ClassTable
from geotoolbox.core.query import Query, Scene
from geotoolbox.datasets import GeoDataset, RasterDataset
from geotoolbox.errors import BadInput, explain
from geotoolbox.metrics import match_classes
from geotoolbox.visualization import mask_rgba, rgb_bands, stretch
from geotoolbox.visualization.pixels import error_rgba, stretch_limits

__all__ = ["Patch", "PatchReader", "grid_windows"]

RGBA = NDArray[np.uint8]
_LONGEST_PX = 160
_STRETCH_PX = 400
_CONFIDENCE_MAX = 254  # predictions write shares as bytes, 255 is nodata


@dataclass(frozen=True, slots=True)
class Patch:
    """A place of a map, thinned to be looked at; (H, W) each, None where there is no such layer.

    Attributes:
        geobox: Its grid, before thinning.
        classes: What the indices mean.
        predicted: Class indices of the map, negative where there is none.
        truth: Class indices of the reference.
        picture: The image as RGBA.
        confidence: The largest probability, NaN where there is none.
    """

    geobox: GeoBox
    classes: ClassTable
    predicted: NDArray[np.int64]
    truth: NDArray[np.int64] | None
    picture: RGBA | None
    confidence: NDArray[np.float64] | None

    @property
    def ground(self) -> RGBA:
        """The image, or the map where there is none."""
        return mask_rgba(self.predicted, self.classes) if self.picture is None else self.picture

    def layer(self, name: str) -> RGBA | None:
        """Return ``image``, ``map``, ``reference``, ``confidence`` or ``error`` as RGBA, where there is such a layer."""
        if name == "image":
            return self.picture
        if name == "map":
            return mask_rgba(self.predicted, self.classes)
        if name == "reference" and self.truth is not None:
            return mask_rgba(self.truth, self.classes)
        if name == "error" and self.truth is not None:
            return error_rgba(self.truth, self.predicted)
        if name == "confidence" and self.confidence is not None:
            shown = (255 * colormaps["cividis"](np.nan_to_num(self.confidence))).astype(np.uint8)
            shown[np.isnan(self.confidence)] = 0
            return shown
        return None

    def confusion(self, truth: int, predicted: int) -> RGBA:
        """Return RGBA that marks the pixels which truly are one class and are mapped as another."""
        assert self.truth is not None
        here = (self.truth == truth) & (self.predicted == predicted)
        out = np.zeros((*here.shape, 4), np.uint8)
        out[here] = (213, 62, 14, 255)
        return out

    @property
    def wrong(self) -> float:
        """The share of compared pixels where map and reference differ; NaN where none can be compared."""
        if self.truth is None:
            return float("nan")
        both = (self.truth >= 0) & (self.predicted >= 0)
        return float((self.truth != self.predicted)[both].mean()) if both.any() else float("nan")


class PatchReader:
    """Reads patches of a map and of what is seen beside it.

    Args:
        map_path: The class map.
        images: Images to show.
        reference: The truth, on any grid.
        confidence_path: The raster of the largest probability that was written with the map.

    Raises:
        CannotRead: When a file cannot be read.
        BadInput: When the map has no classes.
    """

    def __init__(
        self,
        map_path: str | Path,
        *,
        images: GeoDataset | None = None,
        reference: GeoDataset | None = None,
        confidence_path: str | Path | None = None,
    ) -> None:
        self.map = RasterDataset([str(map_path)], kind="labels")
        if self.map.classes is None:
            raise BadInput(explain("the map has no classes", where=map_path))
        self.images, self.reference = images, reference
        self.confidence = (
            None if confidence_path is None else RasterDataset([str(confidence_path)], kind="image")
        )
        self.match = None
        self.classes: ClassTable = self.map.classes
        if reference is not None and reference.classes is not None:
            self.match = match_classes(self.map.classes, reference.classes)
            self.classes = self.match.classes
        self._bands = () if images is None else rgb_bands([b.name for b in images.bands])
        self._limits: Any = None

    @property
    def scene(self) -> Scene:
        """The map's grid."""
        return self.map.scenes()[0]

    def read(self, window: Sequence[int]) -> Patch:
        """Read a window (row, column, height, width) of the map's grid, in pixels."""
        row, column, height, width = (int(v) for v in window)
        whole = self.scene.geobox[row : row + height, column : column + width]
        grid = _thinned(whole)
        mapped = self.map.read(Query(grid)).mask
        assert mapped is not None
        predicted = mapped if self.match is None else self.match.map_index(mapped)
        return Patch(
            whole, self.classes, predicted, self._truth(grid), self._picture(grid), self._confidence(grid)
        )

    def _truth(self, grid: GeoBox) -> NDArray[np.int64] | None:
        if self.reference is None or self.match is None:
            return None
        found = self.reference.read(Query(grid)).mask
        return None if found is None else self.match.reference_index(found)

    def _picture(self, grid: GeoBox) -> RGBA | None:
        if self.images is None:
            return None
        if self._limits is None:  # one stretch for all, so that patches can be compared
            seen = self.images.read(Query(_thinned(self.scene.geobox, _STRETCH_PX)))
            assert seen.image is not None
            self._limits = stretch_limits(seen.image, seen.valid, self._bands)
        reading = self.images.read(Query(grid))
        assert reading.image is not None
        return stretch(reading.image, reading.valid, self._bands, gamma=0.75, limits=self._limits)

    def _confidence(self, grid: GeoBox) -> NDArray[np.float64] | None:
        if self.confidence is None:
            return None
        reading = self.confidence.read(Query(grid))
        assert reading.image is not None
        return np.where(reading.valid, reading.image[0] / _CONFIDENCE_MAX, np.nan)


def grid_windows(scene: Scene, side_px: int, most: int, seed: int = 0) -> list[tuple[int, int, int, int]]:
    """Cut a scene into windows (row, column, height, width) of about one size; of more than ``most``, a random choice.

    Example:
        >>> from affine import Affine
        >>> grid = GeoBox((100, 30), Affine(1, 0, 0, 0, -1, 0), "EPSG:32612")
        >>> grid_windows(Scene("map", grid, grid.extent.geom), 32, most=9)
        [(0, 0, 33, 30), (33, 0, 33, 30), (66, 0, 34, 30)]
    """
    height, width = (int(n) for n in scene.geobox.shape)
    found = [
        (top, left, bottom - top, right - left)
        for top, bottom in _parts(height, side_px)
        for left, right in _parts(width, side_px)
    ]
    if len(found) <= most:
        return found
    chosen = np.random.default_rng(seed).choice(len(found), most, replace=False)
    return [found[i] for i in sorted(chosen)]


def _parts(length: int, side_px: int) -> list[tuple[int, int]]:
    """Cut a length into equal parts, so that no sliver is left at the end."""
    count = max(1, round(length / side_px))
    edges = [length * i // count for i in range(count + 1)]
    return list(itertools.pairwise(edges))


def _thinned(grid: GeoBox, longest_px: int = _LONGEST_PX) -> GeoBox:
    longest = max(grid.shape)
    return grid if longest <= longest_px else grid.zoom_out(longest / longest_px)
