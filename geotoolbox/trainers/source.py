"""What training reads from: a dataset, kept in memory where it fits, as patches and as blocks."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from affine import Affine
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox
from torch.utils.data import Dataset, Sampler

from geotoolbox.core.classes import IGNORE_INDEX, ClassTable
from geotoolbox.core.events import SILENT, Reporter, Stage
from geotoolbox.core.query import Band, Query, Reading, Region, Scene
from geotoolbox.errors import BadInput, explain
from geotoolbox.sampling.areas import to_pixels
from geotoolbox.sampling.protocol import Sampled
from geotoolbox.sampling.windows import Window, window_query

__all__ = ["EnoughLabels", "Patches", "Source", "labelled"]

_log = logging.getLogger(__name__)
_READ_PX = 512
_ALIGNED = 1e-6  # of a pixel


@dataclass(frozen=True, slots=True)
class _Kept:
    """The pixels of one scene's valid area, in memory."""

    scene: Scene
    window: Window
    image: NDArray[np.float32]
    mask: NDArray[np.int16]
    valid: NDArray[np.bool_]


class Source:
    """A dataset for training: reads like the dataset, and from memory where all of it fits.

    Args:
        dataset: Images with labels.
        memory_mb: The most megabytes to keep; what does not fit is read from the files each time.
        reporter: Hears of reading, and can cancel it.

    Raises:
        BadInput: When the dataset has no images or no labels.
    """

    def __init__(self, dataset: Sampled, memory_mb: int = 0, reporter: Reporter = SILENT) -> None:
        if dataset.classes is None or not dataset.bands:
            raise BadInput(
                explain(
                    "training needs images and labels",
                    got="images alone" if dataset.bands else "labels alone",
                    fix="join them: images & labels",
                )
            )
        self.dataset = dataset
        self._scenes = dataset.scenes()
        self._kept: list[_Kept] = []
        need = sum(w.height * w.width for w in map(extent, self._scenes)) * (4 * len(dataset.bands) + 3)
        if need <= memory_mb * 1_000_000:
            self._keep(reporter)
        else:
            _log.info("%.0f MB of pixels are read from the files as needed", need / 1e6)

    @property
    def in_memory(self) -> bool:
        """Whether all pixels are in memory."""
        return bool(self._kept)

    @property
    def bands(self) -> tuple[Band, ...]:
        """The image bands."""
        return self.dataset.bands

    @property
    def classes(self) -> ClassTable:
        """The classes of the mask."""
        assert self.dataset.classes is not None
        return self.dataset.classes

    def scenes(self) -> tuple[Scene, ...]:
        """Return the native grids."""
        return self._scenes

    def within(self, region: Region) -> Sampled:
        """Return a clipped view of the dataset itself."""
        return self.dataset.within(region)

    def read(self, query: Query) -> Reading:
        """Read a window, from memory where it is there."""
        found = self._find(query)
        return self.dataset.read(query) if found is None else _cut(*found, query)

    def blocks(
        self, block_px: int, halo_px: int = 0, *, most_px: int | None = None, seed: int = 0
    ) -> Iterator[tuple[Reading, Window]]:
        """Cut all scenes into blocks; each pixel of the valid area stands in the core of exactly one.

        Args:
            block_px: Side of the cores, in pixels.
            halo_px: Context to read around each core.
            most_px: Take a random part of the blocks, of about so many pixels.
            seed: What repeats that choice.

        Yields:
            A reading, and where the core is in it.
        """
        todo = [(s, w) for s in self._scenes for w in _cores(s, block_px)]
        limit = len(todo) if most_px is None else max(1, most_px // block_px**2)
        if limit < len(todo):
            chosen = np.random.default_rng(seed).choice(len(todo), limit, replace=False)
            todo = [todo[i] for i in sorted(chosen)]
        for scene, core in todo:
            outer = Window(
                core.row - halo_px, core.col - halo_px, block_px + 2 * halo_px, block_px + 2 * halo_px
            )
            inner = Window(halo_px, halo_px, core.height, core.width)
            yield self.read(window_query(scene, outer)), inner

    def class_counts(self, most_px: int = 50_000_000) -> NDArray[np.int64]:
        """Count the labelled valid pixels of each class, in a random part of the blocks where there are many."""
        counts = np.zeros(len(self.classes), dtype=np.int64)
        for reading, core in self.blocks(_READ_PX, most_px=most_px):
            truth = labelled(reading)[: core.height, : core.width]
            counts += np.bincount(truth[truth >= 0], minlength=len(counts))[: len(counts)]
        return counts

    def _keep(self, reporter: Reporter) -> None:
        windows = [extent(s) for s in self._scenes]
        stage = Stage(reporter, "read", sum(w.height * w.width for w in windows))
        kept = []
        for scene, window in zip(self._scenes, windows, strict=True):
            shape = (window.height, window.width)
            one = _Kept(
                scene,
                window,
                np.zeros((len(self.bands), *shape), dtype=np.float32),
                np.full(shape, IGNORE_INDEX, dtype=np.int16),
                np.zeros(shape, dtype=bool),
            )
            for part in _tiles(window):
                self._fill(one, part)
                stage.advance(part.height * part.width)
            kept.append(one)
        self._kept = kept

    def _fill(self, one: _Kept, part: Window) -> None:
        place = np.s_[
            part.row - one.window.row : part.row - one.window.row + part.height,
            part.col - one.window.col : part.col - one.window.col + part.width,
        ]
        reading = self.dataset.read(window_query(one.scene, part))
        assert reading.image is not None
        if reading.image.ndim != 3:
            raise BadInput(
                explain(
                    "training on time series is not supported",
                    got=f"images of shape {reading.image.shape}",
                    expected="(bands, height, width)",
                    fix="choose one date, or join dates as layers with &",
                )
            )
        one.image[:, place[0], place[1]] = reading.image
        one.mask[place] = labelled(reading)
        one.valid[place] = reading.valid

    def _find(self, query: Query) -> tuple[_Kept, int, int] | None:
        """Return the kept scene that holds most of a query, and where the query starts in it."""
        best: tuple[_Kept, int, int] | None = None
        most = 0
        height, width = query.geobox.shape
        for one in self._kept:
            if one.scene.geobox.crs != query.geobox.crs or not one.scene.time.overlaps(query.time):
                continue
            offset = _offset(one.scene.geobox, query.geobox)
            if offset is None:
                continue
            row, col = offset[0] - one.window.row, offset[1] - one.window.col
            high = min(row + height, one.window.height) - max(row, 0)
            wide = min(col + width, one.window.width) - max(col, 0)
            if high > 0 and wide > 0 and high * wide > most:
                best, most = (one, row, col), high * wide
        return best


class Patches(Dataset[dict[str, torch.Tensor]]):
    """Queries in, tensors out: ``image``, ``mask`` and ``valid``, for a DataLoader with a geo sampler."""

    def __init__(self, source: Source) -> None:
        self.source = source

    def __getitem__(self, query: Query) -> dict[str, torch.Tensor]:
        """Read one patch."""
        reading = self.source.read(query)
        assert reading.image is not None
        return {
            "image": torch.from_numpy(np.ascontiguousarray(reading.image, dtype=np.float32)),
            "mask": torch.from_numpy(labelled(reading)),
            "valid": torch.from_numpy(np.ascontiguousarray(reading.valid)),
        }


class EnoughLabels(Sampler[Query]):
    """Passes on the queries whose patches hold labels enough, so that no step is wasted.

    Args:
        sampler: Draws twice as many queries as are needed; must have ``set_epoch``.
        source: Where the labels are.
        length: Queries in an epoch.
        minimum: The share of labelled pixels that is enough.
    """

    def __init__(self, sampler: Sampler[Query], source: Source, length: int, minimum: float) -> None:
        self.sampler, self.source, self.length, self.minimum = sampler, source, length, minimum

    def set_epoch(self, epoch: int) -> None:
        """Make the next iteration that of ``epoch``."""
        self.sampler.set_epoch(epoch)  # type: ignore[attr-defined]

    def __len__(self) -> int:
        return self.length

    def __iter__(self) -> Iterator[Query]:
        """Draw an epoch; when too few patches hold labels enough, the fullest of the others follow."""
        drawn: Sequence[Query] = list(self.sampler)
        if not self.source.in_memory or self.minimum == 0:
            return iter(drawn[: self.length])
        good: list[Query] = []
        rest: list[tuple[float, int]] = []
        for number, query in enumerate(drawn):
            share = float((labelled(self.source.read(query)) >= 0).mean())
            if share >= self.minimum:
                good.append(query)
            else:
                rest.append((-share, number))
            if len(good) == self.length:
                break
        more = [drawn[n] for _, n in sorted(rest)[: self.length - len(good)]]
        return iter(good + more)


def labelled(reading: Reading) -> NDArray[np.int64]:
    """Return the mask with ``IGNORE_INDEX`` where the image is not valid."""
    assert reading.mask is not None
    valid = reading.valid if reading.valid.ndim == 2 else reading.valid.any(axis=0)
    return np.where(valid, reading.mask, IGNORE_INDEX).astype(np.int64, copy=False)


def extent(scene: Scene) -> Window:
    """Return the window of a scene that its footprint lies in."""
    height, width = scene.geobox.shape
    left, top, right, bottom = to_pixels(scene.footprint, scene.geobox).bounds
    row, col = max(int(np.floor(top)), 0), max(int(np.floor(left)), 0)
    end = min(int(np.ceil(bottom)), height), min(int(np.ceil(right)), width)
    return Window(row, col, max(end[0] - row, 0), max(end[1] - col, 0))


def _tiles(window: Window) -> Iterator[Window]:
    for row in range(window.row, window.row + window.height, _READ_PX):
        for col in range(window.col, window.col + window.width, _READ_PX):
            height = min(_READ_PX, window.row + window.height - row)
            width = min(_READ_PX, window.col + window.width - col)
            yield Window(row, col, height, width)


def _cores(scene: Scene, block_px: int) -> Iterator[Window]:
    from shapely import box, prepare

    footprint = to_pixels(scene.footprint, scene.geobox)
    prepare(footprint)
    whole = extent(scene)
    for row in range(whole.row, whole.row + whole.height, block_px):
        for col in range(whole.col, whole.col + whole.width, block_px):
            if footprint.intersects(box(col, row, col + block_px, row + block_px)):
                height = min(block_px, whole.row + whole.height - row)
                yield Window(row, col, height, min(block_px, whole.col + whole.width - col))


def _offset(grid: GeoBox, other: GeoBox) -> tuple[int, int] | None:
    """Return where ``other`` starts on ``grid`` (row, column), or None when it lies between its pixels."""
    move = ~grid.affine * other.affine
    row, col = round(move.f), round(move.c)
    whole = Affine.translation(col, row)
    near = all(abs(a - b) < _ALIGNED for a, b in zip(move[:6], whole[:6], strict=True))
    return (row, col) if near else None


def _cut(one: _Kept, row: int, col: int, query: Query) -> Reading:
    height, width = query.geobox.shape
    image = np.zeros((len(one.image), height, width), dtype=np.float32)
    mask = np.full((height, width), IGNORE_INDEX, dtype=np.int64)
    valid = np.zeros((height, width), dtype=bool)
    top, left = max(row, 0), max(col, 0)
    bottom, right = min(row + height, one.window.height), min(col + width, one.window.width)
    here = np.s_[top - row : bottom - row, left - col : right - col]
    there = np.s_[top:bottom, left:right]
    image[:, here[0], here[1]] = one.image[:, there[0], there[1]]
    mask[here], valid[here] = one.mask[there], one.valid[there]
    return Reading(query.geobox, image, mask, valid)
