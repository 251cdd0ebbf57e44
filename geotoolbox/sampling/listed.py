"""A sampler that draws from a sample list: each window as often as its weight says."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from torch.utils.data import Sampler

from geotoolbox.core.query import Query
from geotoolbox.errors import BadInput, explain
from geotoolbox.sampling.samplelist import SampleList

__all__ = ["ListSampler"]


class ListSampler(Sampler[Query]):
    """Draws the windows of a list in a random order; each epoch is another, the same seed repeats them all.

    In an epoch a window is drawn its share of ``length`` times: rounded down or up, by chance. So with as many
    draws as windows and no weights, each window comes once.

    Args:
        samples: The windows and their weights. Those of weight 0 are never drawn.
        length: Draws in an epoch; by default as many as there are windows of a weight above 0.
        seed: What repeats all draws.

    Raises:
        BadInput: When nothing can be drawn, or the windows differ in size, so that they make no batch.

    Example:
        >>> from affine import Affine
        >>> from odc.geo.geobox import GeoBox
        >>> windows = [Query(GeoBox((4, 4), Affine(1, 0, x, 0, -1, 0), "EPSG:32612")) for x in (0, 4, 8)]
        >>> drawn = list(ListSampler(SampleList(tuple(windows), (1.0, 0.0, 3.0)), length=8))
        >>> [drawn.count(w) for w in windows]
        [2, 0, 6]
    """

    def __init__(self, samples: SampleList, length: int | None = None, *, seed: int = 0) -> None:
        weights = np.asarray(samples.weights or (1.0,) * len(samples), dtype=np.float64)
        shapes = sorted({tuple(int(n) for n in q.geobox.shape) for q in samples.queries})
        if not len(samples) or weights.sum() <= 0:
            raise BadInput(
                explain("the sample list has nothing to draw", got=f"{len(samples)} windows", fix="keep some")
            )
        if len(shapes) > 1:
            raise BadInput(
                explain(
                    "the windows of the sample list differ in size",
                    got=", ".join(f"{h} × {w} px" for h, w in shapes[:5]),
                    expected="one size, so that they make batches",
                )
            )
        self.samples, self.seed, self.epoch = samples, int(seed), 0
        self._shares = weights / weights.sum()
        self.length = int((weights > 0).sum()) if length is None else int(length)
        if self.length < 1:
            raise BadInput(explain("an epoch needs a window", where="length", got=length, expected="≥ 1"))

    def set_epoch(self, epoch: int) -> None:
        """Make the next iteration that of ``epoch`` (from 0); without it, epochs count themselves."""
        self.epoch = int(epoch)

    def __len__(self) -> int:
        return self.length

    def __iter__(self) -> Iterator[Query]:
        rng = np.random.default_rng([self.seed, self.epoch])
        self.epoch += 1
        # Systematic: evenly spaced marks on the pile of shares, so that chance decides only the rounding.
        ends = np.cumsum(self._shares)
        ends[-1] = 1.0
        marks = (np.arange(self.length) + rng.random()) / self.length
        chosen = np.searchsorted(ends, marks, side="right")
        return iter([self.samples.queries[i] for i in rng.permutation(chosen)])
