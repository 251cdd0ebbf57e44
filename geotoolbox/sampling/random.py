"""Samplers that draw windows at random from the valid area of a dataset."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import shapely
import torch
from numpy.typing import NDArray
from shapely.geometry.base import BaseGeometry
from torch.utils.data import Sampler

from geotoolbox.core.query import Query, Region, TimeInterval
from geotoolbox.errors import BadInput, NoOverlap, explain
from geotoolbox.sampling.areas import Area, AreaPoints, areas_of
from geotoolbox.sampling.inventory import ClassInventory, take_inventory
from geotoolbox.sampling.protocol import Sampled
from geotoolbox.sampling.windows import Size, Units, Window, size_px, window_query

__all__ = ["RandomBatchGeoSampler", "RandomGeoSampler", "Weights"]

Weights = Sequence[float] | Mapping[str, float]
_TRIES = 200
_SLACK_PX = 0.01
CELL_PX = 512
"""Side of the cells that windows are drawn from together: as large as the blocks of most files, and on them."""


class _Drawing:
    """What random samplers share: the areas, their shares, and the seeded draws of an epoch."""

    def __init__(
        self,
        dataset: Sampled,
        size: Size,
        length: int | None,
        *,
        roi: Region | BaseGeometry | None,
        toi: TimeInterval | None,
        units: Units,
        seed: int | None,
        generator: torch.Generator | None,
        weights: Weights | None,
        class_balanced: bool,
        within: bool,
        locality: int = 1,
    ) -> None:
        if locality < 1 or (locality > 1 and (class_balanced or within)):
            raise BadInput(
                explain(
                    "this locality is not possible", where="locality", got=locality,
                    expected="1 or more, without class_balanced and within",
                )
            )  # fmt: skip
        self.locality = int(locality)
        self.areas = areas_of(dataset, roi, toi)
        self.sizes = [size_px(size, a.scene.geobox, units) for a in self.areas]
        self.within = within
        self.seed = _seed(seed, generator)
        self.epoch = 0
        pixels = np.asarray([a.pixels for a in self.areas])
        self.shares = _shares(self.areas, pixels * _weights(weights, self.areas, len(dataset.scenes())))
        self._points: dict[int, AreaPoints] = {}
        self.length = self._default_length(pixels) if length is None else int(length)
        if self.length < 1:
            raise BadInput(
                explain("an epoch needs a window", where="length", got=length, expected="1 or more")
            )
        self.inventory: ClassInventory | None = None
        if class_balanced:
            self.inventory = take_inventory(dataset, self.areas, self.seed)

    def _default_length(self, pixels: NDArray[np.float64]) -> int:
        """Return as many windows as cover the area once."""
        return sum(max(1, math.ceil(p / (h * w))) for p, (h, w) in zip(pixels, self.sizes, strict=True))

    def next_rng(self) -> np.random.Generator:
        """Return the generator of the next epoch, and count the epoch."""
        rng = np.random.default_rng([self.seed, self.epoch])
        self.epoch += 1
        return rng

    def points(self, index: int) -> AreaPoints:
        """Return the point drawer of one area, made once."""
        if index not in self._points:
            self._points[index] = AreaPoints(self.areas[index].polygon)
        return self._points[index]

    def query(self, index: int, window: Window) -> Query:
        """Return the query of a window of one area."""
        area = self.areas[index]
        return window_query(area.scene, window, area.time)

    def epoch_windows(self, rng: np.random.Generator) -> list[tuple[int, Window]]:
        """Draw all (area, window) pairs of an epoch."""
        if self.inventory is not None:
            return self._balanced(self.inventory, rng)
        if self.locality > 1:
            return self._neighbours(rng)
        chosen = rng.choice(len(self.areas), size=self.length, p=self.shares)
        out: list[tuple[int, Window] | None] = [None] * self.length
        for index in np.unique(chosen):
            places = np.flatnonzero(chosen == index)
            for place, window in zip(places, self.windows(int(index), len(places), rng), strict=True):
                out[place] = (int(index), window)
        return [pair for pair in out if pair is not None]

    def windows(
        self, index: int, count: int, rng: np.random.Generator, points: AreaPoints | None = None
    ) -> list[Window]:
        """Draw windows of one area."""
        if self.within:
            return self._inside(index, count, rng)
        drawn = (points or self.points(index)).draw(count, rng)
        height, width = self.sizes[index]
        grid = self.areas[index].scene.geobox.shape
        rows = _place(drawn[:, 1], height, grid[0], rng)
        cols = _place(drawn[:, 0], width, grid[1], rng)
        return [Window(int(r), int(c), height, width) for r, c in zip(rows, cols, strict=True)]

    def _neighbours(self, rng: np.random.Generator) -> list[tuple[int, Window]]:
        """Draw a point, then ``locality`` windows around points of the same cell: as uniform, but read together.

        A cell is drawn by its share of the area and the points are uniform in it, so each point of the area is as
        likely as with windows drawn one by one; only neighbours in the order are no longer independent.
        """
        out: list[tuple[int, Window]] = []
        while len(out) < self.length:
            index = int(rng.choice(len(self.areas), p=self.shares))
            polygon = self.areas[index].polygon
            col, row = self.points(index).draw(1, rng)[0] // CELL_PX * CELL_PX
            cell = shapely.intersection(polygon, shapely.box(col, row, col + CELL_PX, row + CELL_PX))
            parts = [p for p in shapely.get_parts(cell) if p.area > 0]
            points = AreaPoints(shapely.union_all(parts) if len(parts) > 1 else parts[0], cells=8)
            count = min(self.locality, self.length - len(out))
            out += [(index, window) for window in self.windows(index, count, rng, points)]
        return out

    def _inside(self, index: int, count: int, rng: np.random.Generator) -> list[Window]:
        """Draw windows that lie wholly inside the area, among all such windows alike."""
        area, (height, width) = self.areas[index], self.sizes[index]
        minx, miny, maxx, maxy = area.polygon.bounds
        low = np.asarray([math.ceil(miny - _SLACK_PX), math.ceil(minx - _SLACK_PX)])
        high = np.asarray([math.floor(maxy + _SLACK_PX) - height, math.floor(maxx + _SLACK_PX) - width])
        # Footprints that went through another CRS bend by less than this; border windows must not be lost.
        room = area.polygon.buffer(_SLACK_PX, join_style="mitre")
        shapely.prepare(room)
        kept: list[Window] = []
        for _ in range(_TRIES if (high >= low).all() else 0):
            corner = rng.integers(low, high + 1, size=(max(64, 2 * count), 2))
            boxes = shapely.box(corner[:, 1], corner[:, 0], corner[:, 1] + width, corner[:, 0] + height)
            kept += [Window(int(r), int(c), height, width) for r, c in corner[shapely.covers(room, boxes)]]
            if len(kept) >= count:
                return kept[:count]
        raise NoOverlap(
            explain(
                "no window lies wholly inside the data and the region",
                where=area.scene.name,
                got=f"windows of {height} × {width} px",
                expected=f"at most {maxy - miny:.0f} × {maxx - minx:.0f} px",
                fix="pass a smaller size, or within=False",
            )
        )

    def _balanced(self, inventory: ClassInventory, rng: np.random.Generator) -> list[tuple[int, Window]]:
        """Draw a class, then one of its pixels, then a window that holds the pixel somewhere."""
        out = []
        for index, row, col in inventory.draw(self.length, rng, self.shares):
            height, width = self.sizes[index]
            grid = self.areas[index].scene.geobox.shape
            shift = rng.random(2) - 0.5
            top = _place(np.asarray([row + 0.5 + shift[0] * (height - 1)]), height, grid[0], rng)[0]
            left = _place(np.asarray([col + 0.5 + shift[1] * (width - 1)]), width, grid[1], rng)[0]
            out.append((index, Window(int(top), int(left), height, width)))
        return out


def _place(
    centres: NDArray[np.float64], size: int, limit: int, rng: np.random.Generator
) -> NDArray[np.int64]:
    """Return where windows around ``centres`` start, moved inside a grid that is large enough.

    In a smaller grid the window holds the whole grid, at any place.
    """
    if limit <= size:
        return rng.integers(limit - size, 1, size=len(centres))
    return np.clip(np.floor(centres).astype(np.int64) - size // 2, 0, limit - size)


def _seed(seed: int | None, generator: torch.Generator | None) -> int:
    """Return the seed: given, or drawn once from torch's generator (so ``torch.manual_seed`` repeats)."""
    if seed is not None and generator is not None:
        raise BadInput(explain("two sources of chance", where="seed and generator", expected="one of them"))
    if seed is not None:
        if seed < 0:
            raise BadInput(explain("a negative seed", where="seed", got=seed, expected="0 or more"))
        return int(seed)
    return int(torch.randint(2**31, (1,), generator=generator).item())


def _weights(weights: Weights | None, areas: Sequence[Area], scenes: int) -> NDArray[np.float64]:
    if weights is None:
        return np.ones(len(areas))
    if isinstance(weights, Mapping):
        missing = [a.scene.name for a in areas if a.scene.name not in weights]
        if missing:
            raise BadInput(explain("scenes without a weight", where="weights", got=", ".join(missing[:5])))
        found = np.asarray([float(weights[a.scene.name]) for a in areas])
    else:
        if len(weights) != len(areas):
            raise BadInput(
                explain(
                    "the number of weights is not that of the scenes",
                    where="weights",
                    got=len(weights),
                    expected=f"{len(areas)} (of {scenes} scenes, those in the region and time)",
                    fix="pass a dict from scene name to weight",
                )
            )
        found = np.asarray([float(w) for w in weights])
    if not np.isfinite(found).all() or (found < 0).any() or found.sum() <= 0:
        raise BadInput(explain("weights are no shares", where="weights", got=found.tolist(), expected="≥ 0"))
    return found


def _shares(areas: Sequence[Area], amounts: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray(amounts / amounts.sum(), dtype=np.float64)


class RandomGeoSampler(Sampler[Query]):
    """Draws windows at random, uniformly over the valid area of all scenes.

    A pixel of the valid area is drawn, and a window laid around it on the scene's own grid. Near the
    grid's edge the window is moved inside, so that border pixels are drawn as well; a scene smaller
    than the window is drawn whole, with an overhang that reads as not valid. Each epoch is
    different; the same seed repeats them all.

    Args:
        dataset: What to draw from.
        size: Side of the windows, or (height, width).
        length: Windows per epoch; by default as many as cover the area once.
        roi: Centres are drawn inside this polygon only; a bare geometry is in the scenes' CRS.
        toi: Only scenes of this time.
        units: Whether ``size`` is in pixels or in units of the scene's CRS.
        seed: What repeats all draws; without it, drawn from ``generator`` or torch's own.
        generator: Gives the seed, instead of ``seed``.
        weights: One factor a scene (by name, or in order), on top of its valid area.
        class_balanced: Draw each class as often as any other: a class, one of its pixels, a window
            that holds it. Reads the labels once at construction.
        within: Draw only windows that lie wholly inside the valid area and ``roi``.
        locality: How many windows in a row come from one neighbourhood of 512 px. Each place stays as likely as
            without, but compressed files are read several times as fast, since a block is decoded once for all of
            them; 16 is a good number. The windows of a batch then resemble each other more.

    Raises:
        NoOverlap: When no scene has data in the region and time.
        BadInput: When an option makes no sense.
    """

    def __init__(
        self,
        dataset: Sampled,
        size: Size,
        length: int | None = None,
        *,
        roi: Region | BaseGeometry | None = None,
        toi: TimeInterval | None = None,
        units: Units = "pixels",
        seed: int | None = None,
        generator: torch.Generator | None = None,
        weights: Weights | None = None,
        class_balanced: bool = False,
        within: bool = False,
        locality: int = 1,
    ) -> None:
        self._drawing = _Drawing(
            dataset, size, length, roi=roi, toi=toi, units=units, seed=seed, generator=generator,
            weights=weights, class_balanced=class_balanced, within=within, locality=locality,
        )  # fmt: skip

    @property
    def seed(self) -> int:
        """The seed that repeats this sampler."""
        return self._drawing.seed

    def set_epoch(self, epoch: int) -> None:
        """Make the next iteration that of ``epoch`` (from 0); without it, epochs count themselves."""
        self._drawing.epoch = int(epoch)

    def __len__(self) -> int:
        return self._drawing.length

    def __iter__(self) -> Iterator[Query]:
        drawing = self._drawing
        return iter([drawing.query(i, w) for i, w in drawing.epoch_windows(drawing.next_rng())])


class RandomBatchGeoSampler(Sampler[list[Query]]):
    """Draws whole batches of windows that lie near each other in one scene, which reads faster.

    Use it as ``batch_sampler`` of a ``DataLoader``. The first window of a batch is drawn as
    :class:`RandomGeoSampler` does, the others from the valid area around it.

    Args:
        dataset: What to draw from.
        size: Side of the windows, or (height, width).
        batch_size: Windows per batch.
        length: Windows per epoch (the last batch may be smaller).
        roi: Centres are drawn inside this polygon only.
        toi: Only scenes of this time.
        units: Whether ``size`` is in pixels or in units of the scene's CRS.
        seed: What repeats all draws.
        generator: Gives the seed, instead of ``seed``.
        weights: One factor a scene, on top of its valid area.
        within: Draw only windows that lie wholly inside the valid area and ``roi``.
    """

    def __init__(
        self,
        dataset: Sampled,
        size: Size,
        batch_size: int,
        length: int | None = None,
        *,
        roi: Region | BaseGeometry | None = None,
        toi: TimeInterval | None = None,
        units: Units = "pixels",
        seed: int | None = None,
        generator: torch.Generator | None = None,
        weights: Weights | None = None,
        within: bool = False,
    ) -> None:
        if batch_size < 1:
            raise BadInput(
                explain("an empty batch", where="batch_size", got=batch_size, expected="1 or more")
            )
        self.batch_size = int(batch_size)
        self._drawing = _Drawing(
            dataset, size, length, roi=roi, toi=toi, units=units, seed=seed, generator=generator,
            weights=weights, class_balanced=False, within=within,
        )  # fmt: skip

    @property
    def seed(self) -> int:
        """The seed that repeats this sampler."""
        return self._drawing.seed

    def set_epoch(self, epoch: int) -> None:
        """Make the next iteration that of ``epoch`` (from 0)."""
        self._drawing.epoch = int(epoch)

    def __len__(self) -> int:
        return math.ceil(self._drawing.length / self.batch_size)

    def __iter__(self) -> Iterator[list[Query]]:
        return self._batches(self._drawing.next_rng())

    def _batches(self, rng: np.random.Generator) -> Iterator[list[Query]]:
        drawing = self._drawing
        left = drawing.length
        while left > 0:
            count = min(self.batch_size, left)
            index = int(rng.choice(len(drawing.areas), p=drawing.shares))
            yield [drawing.query(index, w) for w in self._near(index, count, rng)]
            left -= count

    def _near(self, index: int, count: int, rng: np.random.Generator) -> list[Window]:
        drawing = self._drawing
        if drawing.within or count == 1:
            return drawing.windows(index, count, rng)
        (x, y), (height, width) = drawing.points(index).draw(1, rng)[0], drawing.sizes[index]
        reach = math.sqrt(count)
        box = shapely.box(x - reach * width, y - reach * height, x + reach * width, y + reach * height)
        parts = shapely.get_parts(drawing.areas[index].polygon.intersection(box))
        near = shapely.union_all([p for p in parts if p.area > 0])
        return drawing.windows(index, count, rng, AreaPoints(near, cells=8))
