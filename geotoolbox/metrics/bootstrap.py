"""Intervals by bootstrap over blocks: pixels of one block resemble each other, so blocks are drawn, not pixels."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from geotoolbox.errors import BadInput, explain
from geotoolbox.metrics.blocks import BlockConfusion

__all__ = ["LEAST_BLOCKS", "Interval", "Intervals", "bootstrap_scores"]

_LOG = logging.getLogger(__name__)
Floats = NDArray[np.float64]

LEAST_BLOCKS = 5
"""With fewer blocks an interval says nothing, and is NaN."""

_CLASS_SCORES = ("precision", "recall", "f1", "iou")
_CHUNK = 4_000_000

Interval = tuple[float, float]


@dataclass(frozen=True, slots=True)
class Intervals:
    """Percentile intervals of scores, by resampling whole blocks with replacement.

    Attributes:
        names: The K class names.
        level: The share of resamples inside, such as 0.95.
        resamples: How often the blocks were drawn anew.
        blocks: How many blocks there are.
        seed: What repeats the draws.
        scores: (low, high) of ``overall_accuracy`` and ``mean_iou``.
        classes: (low, high) of ``precision``, ``recall``, ``f1`` and ``iou`` of each class.
        reason: Why all are NaN; empty where they are not.
    """

    names: tuple[str, ...]
    level: float
    resamples: int
    blocks: int
    seed: int
    scores: Mapping[str, Interval]
    classes: Mapping[str, tuple[Interval, ...]]
    reason: str = ""

    def to_json(self) -> dict[str, Any]:
        """Return plain data; NaN becomes null."""
        rows = [
            {"name": name, **{s: _plain(self.classes[s][i]) for s in _CLASS_SCORES}}
            for i, name in enumerate(self.names)
        ]
        return {
            "level": self.level,
            "resamples": self.resamples,
            "blocks": self.blocks,
            "seed": self.seed,
            "scores": {name: _plain(pair) for name, pair in self.scores.items()},
            "classes": rows,
            "reason": self.reason,
        }


def bootstrap_scores(
    blocks: BlockConfusion, *, level: float = 0.95, resamples: int = 1000, seed: int = 0
) -> Intervals:
    """Return intervals of the scores by bootstrap over blocks.

    They tell how far the scores would move if other blocks of the same kind had been compared. They do not
    make a comparison with chosen labels a probability sample.

    Args:
        blocks: The confusion counts of each block; blocks should be wider than errors are alike.
        level: The share of resamples inside an interval.
        resamples: How often to draw.
        seed: What repeats the draws.

    Returns:
        The intervals; NaN with the reason where there are fewer than ``LEAST_BLOCKS`` blocks. A resample in
        which a class's score is undefined does not count for that class.

    Raises:
        BadInput: When the level is no share, or there are no resamples.
    """
    if not 0 < level < 1 or resamples < 1:
        raise BadInput(
            explain("not a bootstrap", got=(level, resamples), expected="0 < level < 1, resamples > 0")
        )
    count, names = len(blocks), blocks.classes.names
    if count < LEAST_BLOCKS:
        return _nothing(names, level, resamples, count, seed)
    drawn: dict[str, list[Floats]] = {}
    rng = np.random.default_rng(seed)
    matrix = _block_matrix(blocks)
    step = max(1, _CHUNK // max(count, matrix.shape[1]))
    for start in range(0, resamples, step):
        times = rng.multinomial(count, np.full(count, 1 / count), min(step, resamples - start))
        for name, values in _scores((times @ matrix).reshape(-1, len(names), len(names))).items():
            drawn.setdefault(name, []).append(values)
    found = {name: _percentiles(np.concatenate(parts), level) for name, parts in drawn.items()}
    return Intervals(
        names, level, resamples, count, seed,
        {n: found[n][0] for n in ("overall_accuracy", "mean_iou")},
        {n: tuple(found[n]) for n in _CLASS_SCORES},
    )  # fmt: skip


def _block_matrix(blocks: BlockConfusion) -> csr_array:
    cells, k = blocks.cells, len(blocks.classes)
    places = (cells.block, cells.truth * k + cells.predicted)
    return csr_array((cells.pixels.astype(np.float64), places), shape=(len(blocks), k * k))


def _scores(counts: Floats) -> dict[str, Floats]:
    """Return scores of (R, K, K) matrices, as :func:`compute_scores` defines them; (R, 1) or (R, K) each."""
    truth, mapped, right = counts.sum(axis=2), counts.sum(axis=1), np.diagonal(counts, axis1=1, axis2=2)
    there = truth > 0
    iou = np.where(there, _divide(right, truth + mapped - right), np.nan)
    known = ~np.isnan(iou)
    return {
        "overall_accuracy": _divide(right.sum(axis=1), truth.sum(axis=1))[:, None],
        "mean_iou": _divide(np.where(known, iou, 0.0).sum(axis=1), known.sum(axis=1))[:, None],
        "precision": _divide(right, mapped),
        "recall": _divide(right, truth),
        "f1": np.where(there, _divide(2 * right, truth + mapped), np.nan),
        "iou": iou,
    }


def _divide(above: NDArray[Any], below: NDArray[Any]) -> Floats:
    out = np.full(np.shape(above), np.nan)
    np.divide(above, below, out=out, where=np.asarray(below) > 0)
    return out


def _percentiles(values: Floats, level: float) -> list[Interval]:
    ends = [(1 - level) / 2, (1 + level) / 2]
    out = []
    for column in values.T:
        known = column[~np.isnan(column)]
        low, high = np.quantile(known, ends) if len(known) else (np.nan, np.nan)
        out.append((float(low), float(high)))
    return out


def _nothing(names: tuple[str, ...], level: float, resamples: int, count: int, seed: int) -> Intervals:
    reason = f"{count} blocks are too few for an interval (at least {LEAST_BLOCKS}); make the blocks smaller"
    _LOG.info("%s", reason)
    empty = (np.nan, np.nan)
    return Intervals(
        names, level, resamples, count, seed,
        {"overall_accuracy": empty, "mean_iou": empty},
        {name: (empty,) * len(names) for name in _CLASS_SCORES},
        reason,
    )  # fmt: skip


def _plain(pair: Interval) -> list[float] | None:
    return None if np.isnan(pair).any() else [float(v) for v in pair]
