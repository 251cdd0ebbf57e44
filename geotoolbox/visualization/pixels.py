"""From pixel values to colours: band combinations, stretches, class colours, agreement."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geotoolbox.core.classes import ClassTable
from geotoolbox.errors import BadInput, explain

__all__ = ["RIGHT", "WRONG", "error_rgba", "mask_rgba", "rgb_bands", "stretch", "stretch_limits"]

Limits = tuple[NDArray[np.float64], NDArray[np.float64]]
RIGHT, WRONG = (178, 196, 204), (213, 62, 14)  # told apart by lightness too, for colour-blind readers


def rgb_bands(names: Sequence[str], count: int | None = None) -> tuple[int, ...]:
    """Choose the bands to show as red, green and blue: by name, by Landsat or Sentinel number, or the first.

    Returns:
        Three 0-based positions, or one where the image has fewer than three bands.

    Example:
        >>> rgb_bands(["blue", "green", "red", "nir"]), rgb_bands(["x_b2", "x_b3", "x_b4"])
        ((2, 1, 0), (2, 1, 0))
    """
    low = [str(n).lower() for n in names]
    for patterns in (("red", "green", "blue"), ("r", "g", "b")):
        if all(p in low for p in patterns):
            return tuple(low.index(p) for p in patterns)
    found = [[i for i, n in enumerate(low) if re.search(rf"(^|[_\W])b(and)?_?0?{d}$", n)] for d in (4, 3, 2)]
    if all(found):
        return tuple(f[0] for f in found)
    total = len(names) if count is None else count
    return (0, 1, 2) if total >= 3 else (0,)


def stretch_limits(
    image: NDArray[Any],
    valid: NDArray[np.bool_] | None = None,
    bands: Sequence[int] = (0, 1, 2),
    percentiles: tuple[float, float] = (2.0, 98.0),
) -> Limits:
    """Return the values of each shown band that become black and white.

    Args:
        image: (C, H, W).
        valid: (H, W); pixels without data do not count.
        bands: One band (grey) or three (red, green, blue).
        percentiles: Of the valid pixels.

    Returns:
        Low and high, one value a band; 0 and 1 where no pixel is valid.

    Raises:
        BadInput: When the image has not these bands.

    Example:
        >>> low, high = stretch_limits(np.arange(101.0).reshape(1, 1, 101), bands=(0,))
        >>> low.tolist(), high.tolist()
        ([2.0], [98.0])
    """
    _check_bands(image, bands)
    shown = image[list(bands)].astype(np.float64)
    seen = _seen(shown, valid)
    if not seen.any():
        return np.zeros(len(bands)), np.ones(len(bands))
    low, high = np.percentile(shown[:, seen], percentiles, axis=1)
    return low, high


def stretch(
    image: NDArray[Any],
    valid: NDArray[np.bool_] | None = None,
    bands: Sequence[int] = (0, 1, 2),
    percentiles: tuple[float, float] = (2.0, 98.0),
    gamma: float = 1.0,
    *,
    limits: Limits | None = None,
) -> NDArray[np.uint8]:
    """Stretch bands between two percentiles of their valid pixels.

    Args:
        image: (C, H, W).
        valid: (H, W); pixels without data become transparent and do not count.
        bands: One band (grey) or three (red, green, blue).
        percentiles: The values that become black and white.
        gamma: Below 1 brightens what lies between; scenes with a few very bright pixels need it.
        limits: From :func:`stretch_limits` of another image, so that both can be compared; percentiles
            are then not used.

    Returns:
        (H, W, 4) RGBA.

    Raises:
        BadInput: When the image has not these bands.
    """
    low, high = stretch_limits(image, valid, bands, percentiles) if limits is None else limits
    _check_bands(image, bands)
    shown = image[list(bands)].astype(np.float64)
    seen = _seen(shown, valid)
    out = np.zeros((*image.shape[1:], 4), dtype=np.uint8)
    span = np.where(high > low, high - low, 1.0)
    scaled = (np.where(seen, shown, 0) - low[:, None, None]) / span[:, None, None]
    levels = np.rint(np.clip(scaled, 0, 1) ** gamma * 255).astype(np.uint8)
    out[..., :3] = np.moveaxis(levels if len(bands) == 3 else np.repeat(levels, 3, axis=0), 0, -1)
    out[~seen] = 0
    out[..., 3] = np.where(seen, 255, 0)
    return out


def _check_bands(image: NDArray[Any], bands: Sequence[int]) -> None:
    if image.ndim != 3 or not all(0 <= b < image.shape[0] for b in bands) or len(bands) not in (1, 3):
        raise BadInput(
            explain("these bands cannot be shown", got=f"bands {tuple(bands)} of shape {image.shape}",
                    expected="one or three bands of a (C, H, W) image")
        )  # fmt: skip


def _seen(shown: NDArray[np.float64], valid: NDArray[np.bool_] | None) -> NDArray[np.bool_]:
    seen: NDArray[np.bool_] = np.all(np.isfinite(shown), axis=0)
    return seen if valid is None else np.logical_and(seen, valid)


def mask_rgba(mask: NDArray[Any], classes: ClassTable) -> NDArray[np.uint8]:
    """Colour class indices (H, W) as (H, W, 4) RGBA; no class is transparent."""
    table = np.array([(*c, 255) for c in classes.colors] + [(0, 0, 0, 0)], dtype=np.uint8)
    inside = (mask >= 0) & (mask < len(classes))
    return table[np.where(inside, mask, len(classes))]


def error_rgba(truth: NDArray[Any], predicted: NDArray[Any]) -> NDArray[np.uint8]:
    """Colour where two masks (H, W) agree and differ, as (H, W, 4) RGBA; transparent where either is empty."""
    both = (truth >= 0) & (predicted >= 0)
    out = np.zeros((*truth.shape, 4), dtype=np.uint8)
    out[both & (truth == predicted)] = (*RIGHT, 255)
    out[both & (truth != predicted)] = (*WRONG, 255)
    return out
