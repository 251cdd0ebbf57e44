"""The inner loops of prediction, compiled: tiles made ready, weighed and summed; the best class; steps at tile edges.

Multiplication and addition stay separate roundings, and each pixel is computed by itself, so that its bits are the
same in every block.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from geotoolbox.core.compiled import compiled

__all__ = ["add_tile", "all_finite", "best_classes", "channels_last", "steps_across", "steps_down"]

Bools = NDArray[np.bool_]
Counts = NDArray[np.int64]
Floats = NDArray[np.float32]
Place = tuple[int, int]
Sums = NDArray[np.float64]


@compiled
def channels_last(image: Floats, valid: Bools, out: Floats, good: Bools) -> int:
    """Put the channels of a pixel side by side, 0 where there is no data; NaN and infinity are no data.

    Args:
        image: (C, H, W).
        valid: (H, W).
        out: (H, W, C) to write to.
        good: (H, W) to write to: what is valid and finite in all channels.

    Returns:
        The number of valid pixels that are NaN or infinite.
    """
    channels, height, width = image.shape
    lost = 0
    for row in range(height):
        for col in range(width):
            finite = True
            for channel in range(channels):
                value = image[channel, row, col]
                finite &= np.isfinite(value)
                out[row, col, channel] = value
            fine = finite and valid[row, col]
            good[row, col] = fine
            if not fine:
                lost += valid[row, col]
                for channel in range(channels):
                    out[row, col, channel] = 0
    return lost


@compiled
def all_finite(values: Floats) -> bool:
    """Tell whether no number of a row of them is NaN or infinite."""
    finite = True
    for number in range(values.size):
        finite &= np.isfinite(values[number])
    return finite


@compiled
def add_tile(
    answer: Floats,
    tile: tuple[Floats, Bools],
    places: tuple[Place, Place, Place],
    shape: Place,
    out: tuple[Floats, Floats, Bools],
) -> None:
    """Add a part of a tile to the sums.

    Args:
        answer: (K, T, T) probabilities.
        tile: Weights of what the tile keeps, and its validity (T, T).
        places: Row and column where the part begins: in the answer, in the weights, in the sums.
        shape: Rows and columns of the part.
        out: Sums (H, K, W), sums of the weights, and where any tile is valid, (H, W); changed.
    """
    weights, valid = tile
    sums, weight, good = out
    (top, left), (up, west), (first, start) = places
    right, east, stop = left + shape[1], west + shape[1], start + shape[1]
    for row in range(shape[0]):
        share = weights[up + row, west:east]
        for number in range(sums.shape[1]):
            total, part = sums[first + row, number, start:stop], answer[number, top + row, left:right]
            for col in range(shape[1]):  # lines of their own: several numbers at once
                total[col] += part[col] * share[col]
        for col in range(shape[1]):
            weight[first + row, start + col] += share[col]
            good[first + row, start + col] |= valid[top + row, left + col]


@compiled
def best_classes(
    sums: Floats, valid: Bools, values: NDArray[Any], plane: NDArray[Any], counts: Counts
) -> None:
    """Write the value of the class with the largest sum, the first of equals, where a pixel is valid.

    Args:
        sums: (H, K, W).
        valid: (H, W).
        values: (K,) the value of each class.
        plane: (H, W) to write to.
        counts: (H, K) pixels of each class in each row, added to.
    """
    height, number, width = sums.shape
    best, most = np.empty(width, np.int64), np.empty(width, np.float32)
    for row in range(height):
        best[:] = 0
        most[:] = sums[row, 0]
        for other in range(1, number):
            for col in range(width):
                more = sums[row, other, col] > most[col]
                best[col] = other if more else best[col]
                most[col] = sums[row, other, col] if more else most[col]
        for col in range(width):
            if valid[row, col]:
                plane[row, col] = values[best[col]]
                counts[row, best[col]] += 1


@compiled
def steps_across(
    fields: tuple[Floats, Floats, Bools], rows: Place, near: Counts, out: tuple[Sums, Counts]
) -> None:
    """Sum the steps of the mean probability from each column to the next.

    Args:
        fields: (H, K, W) sums, their weights, and validity.
        rows: The first row to look at, and the step to the next.
        near: Which columns to compare with the next.
        out: (W - 1,) sums of steps and numbers of pairs, added to.
    """
    sums, weight, valid = fields
    totals, counts = out
    height, number = sums.shape[:2]
    line = np.empty(near.size, np.float64)
    for row in range(rows[0], height, rows[1]):
        line[:] = 0.0
        for k in range(number):
            for place in range(near.size):
                col = near[place]
                other = sums[row, k, col + 1] / weight[row, col + 1]
                line[place] += abs(other - sums[row, k, col] / weight[row, col])
        for place in range(near.size):
            col = near[place]
            if valid[row, col] and valid[row, col + 1]:
                totals[col] += line[place] / number
                counts[col] += 1


@compiled
def steps_down(
    fields: tuple[Floats, Floats, Bools],
    cols: Place,
    near: Bools,
    last: tuple[Floats, Bools],
    out: tuple[Sums, Counts],
) -> None:
    """Sum the steps of the mean probability from each row to the next, and keep the last row for what follows.

    Args:
        fields: (H, K, W) sums, their weights, and validity.
        cols: The first column to look at, and the step to the next.
        near: (H,) which rows to compare with the row above.
        last: Probabilities (K, n) and validity (n,) of the row above the first, at these columns; changed.
        out: (H,) sums of steps and numbers of pairs, added to.
    """
    sums, weight, valid = fields
    totals, counts = out
    above, fine = last
    height, number, width = sums.shape
    line = np.empty(fine.size, np.float64)
    for row in range(height):
        keep = row == height - 1 or near[row + 1]
        line[:] = 0.0
        if near[row] or keep:
            for k in range(number):
                for place, col in enumerate(range(cols[0], width, cols[1])):
                    value = sums[row, k, col] / weight[row, col]
                    line[place] += abs(value - above[k, place])
                    above[k, place] = value
        for place, col in enumerate(range(cols[0], width, cols[1])):
            if near[row] and fine[place] and valid[row, col]:
                totals[row] += line[place] / number
                counts[row] += 1
            fine[place] = keep and valid[row, col]
