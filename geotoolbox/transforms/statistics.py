"""Statistics of a dataset's valid pixels: what normalisation needs, and how often classes occur."""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from geotoolbox.core.events import SILENT, Reporter, Stage
from geotoolbox.core.query import Reading, Region
from geotoolbox.errors import BadBundle, BadInput, explain
from geotoolbox.sampling.areas import Area, areas_of
from geotoolbox.sampling.inventory import inside_mask
from geotoolbox.sampling.protocol import Sampled
from geotoolbox.sampling.windows import Window, blocks, window_query
from geotoolbox.transforms.indices import compute_index, parse_indices

__all__ = ["BandStatistics", "ClassStatistics", "compute_class_statistics", "compute_statistics"]

_log = logging.getLogger(__name__)
_BLOCK_PX = 512
_SAMPLE = 400_000


@dataclass(frozen=True, slots=True)
class BandStatistics:
    """Statistics of valid pixels, one number a channel, in the channels' own units.

    Attributes:
        names: The channels: bands, then indices.
        mean: Arithmetic means.
        std: Standard deviations (of the population).
        minimum: Smallest values.
        maximum: Largest values.
        p2: 2nd percentiles, from a sample of up to 400,000 pixels.
        p98: 98th percentiles, from the same sample.
        count: Number of valid pixels.
    """

    names: tuple[str, ...]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    minimum: tuple[float, ...]
    maximum: tuple[float, ...]
    p2: tuple[float, ...]
    p98: tuple[float, ...]
    count: tuple[int, ...]

    def __post_init__(self) -> None:
        for name in ("mean", "std", "minimum", "maximum", "p2", "p98", "count"):
            values = getattr(self, name)
            if len(values) != len(self.names) or not all(math.isfinite(v) for v in values):
                raise BadInput(
                    explain(
                        "statistics are not one finite number a channel",
                        where=name,
                        got=values,
                        expected=f"{len(self.names)} numbers",
                    )
                )

    def to_json(self) -> dict[str, Any]:
        """Return plain lists for JSON."""
        return {key: list(value) for key, value in asdict(self).items()}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> BandStatistics:
        """Read what :meth:`to_json` wrote.

        Raises:
            BadBundle: When a part is missing or no list of numbers.
        """
        try:
            floats = {
                k: tuple(float(v) for v in data[k])
                for k in ("mean", "std", "minimum", "maximum", "p2", "p98")
            }
            return cls(tuple(map(str, data["names"])), count=tuple(int(v) for v in data["count"]), **floats)
        except (KeyError, TypeError, ValueError) as error:
            raise BadBundle(
                explain("damaged statistics", got=repr(error), expected="what to_json writes")
            ) from error


@dataclass(frozen=True, slots=True)
class ClassStatistics:
    """How many valid pixels each class has, in the order of the class table."""

    names: tuple[str, ...]
    counts: tuple[int, ...]
    unlabelled: int = 0

    @property
    def fractions(self) -> tuple[float, ...]:
        """The shares among labelled pixels; all 0 without any."""
        total = sum(self.counts)
        return tuple(c / total if total else 0.0 for c in self.counts)

    def weights(self, power: float = 0.5) -> tuple[float, ...]:
        """Return class weights for a loss: frequency to the power of ``-power``, mean 1 over present classes.

        An absent class gets 0, since nothing could be learnt about it.

        Example:
            >>> ClassStatistics(("a", "b", "c"), (900, 100, 0)).weights()
            (0.5, 1.5, 0.0)
        """
        raw = [f**-power if f > 0 else 0.0 for f in self.fractions]
        present = [r for r in raw if r > 0]
        scale = len(present) / sum(present) if present else 0.0
        return tuple(round(r * scale, 9) for r in raw)


class _Moments:
    """Mean and variance of a stream, merged stably (Chan, Golub and LeVeque 1983)."""

    def __init__(self, channels: int) -> None:
        self.count = np.zeros(channels, dtype=np.int64)
        self.mean = np.zeros(channels)
        self.m2 = np.zeros(channels)
        self.low = np.full(channels, np.inf)
        self.high = np.full(channels, -np.inf)
        self.samples: list[list[NDArray[np.float32]]] = [[] for _ in range(channels)]

    def update(self, channel: int, values: NDArray[Any], share: float, rng: np.random.Generator) -> None:
        """Take the finite values of one channel."""
        if not values.size:
            return
        exact = values.astype(np.float64)
        n, mean = exact.size, exact.mean()
        total = self.count[channel] + n
        delta = mean - self.mean[channel]
        self.m2[channel] += ((exact - mean) ** 2).sum() + delta**2 * self.count[channel] * n / total
        self.mean[channel] += delta * n / total
        self.count[channel] = total
        self.low[channel] = min(self.low[channel], exact.min())
        self.high[channel] = max(self.high[channel], exact.max())
        kept = values if share >= 1 else values[rng.random(n) < share]
        self.samples[channel].append(kept.astype(np.float32))


def compute_statistics(
    dataset: Sampled,
    *,
    region: Region | None = None,
    max_pixels: int | None = 20_000_000,
    indices: Sequence[str] = (),
    scale: float = 1.0,
    seed: int = 0,
    reporter: Reporter = SILENT,
) -> BandStatistics:
    """Compute statistics of the valid, finite pixels of a dataset.

    Args:
        dataset: Usually the training part of a split.
        region: Only pixels whose centre is inside.
        max_pixels: Read at most about so many pixels, in blocks drawn at random; None reads all.
        indices: Spectral indices to include, by name or ``name = expression``.
        scale: Factor from pixel values to reflectance, for the indices.
        seed: What repeats the draw.
        reporter: Hears of progress and can cancel.

    Raises:
        BadInput: When the dataset has no image, or no pixel is valid (R21).
    """
    bands = tuple(b.name for b in dataset.bands)
    if not bands:
        raise BadInput(explain("statistics need an image", got="a dataset without bands"))
    extra = parse_indices(indices, bands)
    names = (*bands, *(i.name for i in extra))
    areas = areas_of(dataset, region)
    rng = np.random.default_rng([seed, 57])
    todo = _blocks(areas, max_pixels, rng)
    share = _SAMPLE / max(1, sum(w.height * w.width for _, w in todo))
    moments, spoilt = _Moments(len(names)), 0
    stage = Stage(reporter, "statistics", len(todo))
    for index, window in todo:
        image, usable = _pixels(dataset, areas[index], window)
        finite = usable & np.isfinite(image).all(axis=1)
        spoilt += int((usable & ~finite).sum())
        layers = [image[:, c][finite] for c in range(len(bands))]
        whole = torch.from_numpy(np.where(finite[:, None], image, 0))
        for spectral in extra:
            values, defined = compute_index(spectral, whole, bands, scale)
            layers.append(values.numpy()[finite & defined.numpy()])
        for channel, layer in enumerate(layers):
            moments.update(channel, layer, share, rng)
        stage.advance()
    if spoilt:
        _log.warning("%d valid pixels are NaN or infinite; statistics leave them out", spoilt)
    return _statistics(names, moments, len(todo))


def compute_class_statistics(
    dataset: Sampled,
    *,
    region: Region | None = None,
    max_pixels: int | None = None,
    seed: int = 0,
    reporter: Reporter = SILENT,
) -> ClassStatistics:
    """Count the valid pixels of each class.

    Raises:
        BadInput: When the dataset has no labels.
    """
    if dataset.classes is None:
        raise BadInput(explain("class statistics need labels", got="a dataset without classes"))
    counts = np.zeros(len(dataset.classes), dtype=np.int64)
    areas, unlabelled = areas_of(dataset, region), 0
    todo = _blocks(areas, max_pixels, np.random.default_rng([seed, 58]))
    stage = Stage(reporter, "class statistics", len(todo))
    for index, window in todo:
        inside = inside_mask(areas[index].polygon, window)
        reading = _read(dataset, areas[index], window)
        if reading.mask is not None:
            valid = reading.valid if reading.valid.ndim == 2 else reading.valid.any(axis=0)
            labels = reading.mask[inside & valid]
            unlabelled += int((labels < 0).sum())
            counts += np.bincount(labels[labels >= 0], minlength=len(counts))
        stage.advance()
    return ClassStatistics(dataset.classes.names, tuple(map(int, counts)), unlabelled)


def _blocks(
    areas: Sequence[Area], max_pixels: int | None, rng: np.random.Generator
) -> list[tuple[int, Window]]:
    """Return the blocks that meet the areas; when too many, as many as allowed, drawn at random."""
    todo = [(i, w) for i, a in enumerate(areas) for w in blocks(a.scene.geobox, _BLOCK_PX) if _meets(a, w)]
    if max_pixels is None or sum(w.height * w.width for _, w in todo) <= max_pixels:
        return todo
    kept: list[int] = []
    pixels = 0
    for number in rng.permutation(len(todo)):
        window = todo[number][1]
        if kept and pixels + window.height * window.width > max_pixels:
            break
        kept.append(int(number))
        pixels += window.height * window.width
    _log.info("reading %d of %d blocks, drawn at random", len(kept), len(todo))
    return [todo[n] for n in sorted(kept)]


def _meets(area: Area, window: Window) -> bool:
    minx, miny, maxx, maxy = area.polygon.bounds
    return bool(
        window.col < maxx
        and window.col + window.width > minx
        and window.row < maxy
        and window.row + window.height > miny
    )


def _read(dataset: Sampled, area: Area, window: Window) -> Reading:
    return dataset.read(window_query(area.scene, window, area.time))


def _pixels(dataset: Sampled, area: Area, window: Window) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Return an image (T, C, H, W) and where it is usable (T, H, W)."""
    reading = _read(dataset, area, window)
    if reading.image is None:
        raise BadInput(explain("statistics need an image", got="a dataset of labels"))
    image = reading.image if reading.image.ndim == 4 else reading.image[None]
    valid = reading.valid if reading.valid.ndim == 3 else reading.valid[None]
    return image, valid & inside_mask(area.polygon, window)


def _statistics(names: tuple[str, ...], moments: _Moments, blocks_read: int) -> BandStatistics:
    empty = [n for n, c in zip(names, moments.count, strict=True) if c == 0]
    if empty:
        raise BadInput(
            explain(
                "no valid pixel to make statistics of",
                where=", ".join(empty),
                got=f"{blocks_read} blocks without valid data",
                expected="at least one valid pixel",
                fix="check nodata, the region and the overlap of the layers",
            )
        )
    std = np.sqrt(moments.m2 / moments.count)
    spread = [np.concatenate(s) for s in moments.samples]
    # A share so small that nothing was kept leaves the extremes as the best that is known.
    ends = [
        np.percentile(s, [2, 98]) if s.size else np.asarray([moments.low[i], moments.high[i]])
        for i, s in enumerate(spread)
    ]
    constant = [n for n, s in zip(names, std, strict=True) if s == 0]
    if constant:
        _log.warning("constant over all valid pixels: %s; it carries no information", ", ".join(constant))
    return BandStatistics(
        names=names,
        mean=tuple(map(float, moments.mean)),
        std=tuple(map(float, std)),
        minimum=tuple(map(float, moments.low)),
        maximum=tuple(map(float, moments.high)),
        p2=tuple(float(e[0]) for e in ends),
        p98=tuple(float(e[1]) for e in ends),
        count=tuple(map(int, moments.count)),
    )
