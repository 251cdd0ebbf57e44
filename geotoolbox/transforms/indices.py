"""Spectral indices as further channels: known ones by name, any other by a safe expression."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor

from geotoolbox.core.classes import IGNORE_INDEX
from geotoolbox.errors import BadInput, explain
from geotoolbox.transforms.expressions import Expression

__all__ = [
    "INDICES",
    "AppendIndices",
    "SpectralIndex",
    "compute_index",
    "default_indices",
    "parse_index",
    "parse_indices",
]

INDICES: dict[str, str] = {
    "NDVI": "(nir - red) / (nir + red)",
    "EVI2": "2.5 * (nir - red) / (nir + 2.4 * red + 1)",
    "NDWI": "(green - nir) / (green + nir)",
    "NDBI": "(swir1 - nir) / (swir1 + nir)",
    "SAVI": "1.5 * (nir - red) / (nir + red + 0.5)",
}
"""Known indices. EVI2 and SAVI expect reflectance (0 … 1): give the scale of the pixel values."""


@dataclass(frozen=True, slots=True)
class SpectralIndex:
    """An index: the name of its channel and how it is computed."""

    name: str
    expression: Expression


def parse_index(text: str) -> SpectralIndex:
    """Read ``NDVI`` (a known index), or ``name = expression``.

    Raises:
        BadInput: When it is neither.
        UnsafeInput: When the expression holds more than band arithmetic.

    Example:
        >>> parse_index("ratio = nir / red")
        SpectralIndex(name='ratio', expression=Expression(text='nir / red'))
    """
    if text.strip().upper() in INDICES:
        name = text.strip().upper()
        return SpectralIndex(name, Expression(INDICES[name]))
    name, equals, expression = (part.strip() for part in text.partition("="))
    if not equals or not re.fullmatch(r"\w[\w .-]{0,63}", name):
        raise BadInput(
            explain(
                "unknown spectral index",
                where=repr(text[:80]),
                expected=f"one of {', '.join(INDICES)}, or 'name = expression'",
                fix="for example 'ratio = nir / red'",
            )
        )
    return SpectralIndex(name, Expression(expression))


def parse_indices(texts: Sequence[str], bands: Sequence[str]) -> tuple[SpectralIndex, ...]:
    """Read several indices and check them against the bands at hand.

    Raises:
        BandMismatch: When one needs a band that is not there.
        BadInput: When a name stands twice.
    """
    found = tuple(parse_index(t) for t in texts)
    names = [*bands, *(i.name for i in found)]
    double = sorted({n for n in names if names.count(n) > 1})
    if double:
        raise BadInput(explain("a channel name stands twice", where="indices", got=", ".join(double)))
    for index in found:
        index.expression.check(bands)
    return found


def compute_index(
    index: SpectralIndex, image: Tensor, bands: Sequence[str], scale: float = 1.0
) -> tuple[Tensor, Tensor]:
    """Compute an index of an image.

    Args:
        index: The index.
        image: (…, C, H, W) pixel values.
        bands: The names of the C channels.
        scale: Factor from pixel values to reflectance.

    Returns:
        The index (…, H, W), 0 where undefined, and where it is defined (…, H, W) bool.
    """
    layers = {name: image[..., i, :, :] * scale for i, name in enumerate(bands)}
    values = index.expression(layers)
    defined = torch.isfinite(values)
    return torch.where(defined, values, torch.zeros_like(values)), defined


class AppendIndices:
    """Appends spectral indices to the image of a sample or batch.

    A pixel where an index is undefined (a denominator of 0, say) becomes not valid, and its mask
    ``IGNORE_INDEX``; invalid pixels stay 0 in all channels.

    Args:
        indices: Names of known indices, or ``name = expression``.
        bands: The names of the image's channels.
        scale: Factor from pixel values to reflectance, for EVI2 and SAVI.

    Example:
        >>> append = AppendIndices(["NDVI"], bands=["red", "nir"])
        >>> sample = {"image": torch.tensor([[[1.0, 0.0]], [[3.0, 0.0]]]), "valid": torch.ones(1, 2).bool()}
        >>> out = append(sample)
        >>> out["image"][2].tolist(), out["valid"].tolist()
        ([[0.5, 0.0]], [[True, False]])
    """

    def __init__(self, indices: Sequence[str], bands: Sequence[str], scale: float = 1.0) -> None:
        self.bands = tuple(bands)
        self.indices = parse_indices(indices, self.bands)
        self.scale = float(scale)

    @property
    def names(self) -> tuple[str, ...]:
        """The names of all channels afterwards."""
        return (*self.bands, *(i.name for i in self.indices))

    def __call__(self, sample: dict[str, Any]) -> dict[str, Any]:
        """Return a new sample or batch; the given one stays as it is."""
        image: Tensor = sample["image"]
        if image.shape[-3] != len(self.bands):
            raise BadInput(
                explain(
                    "the image has other bands",
                    where="AppendIndices",
                    got=f"{image.shape[-3]} channels",
                    expected=f"{len(self.bands)} ({', '.join(self.bands)})",
                )
            )
        valid: Tensor = sample.get("valid", torch.ones_like(image[..., 0, :, :], dtype=torch.bool))
        layers, defined = [image], valid
        for index in self.indices:
            values, here = compute_index(index, image, self.bands, self.scale)
            layers.append(values.unsqueeze(-3))
            defined = defined & here
        out = dict(sample)
        joined = torch.cat(layers, dim=-3)
        out["image"] = torch.where(defined.unsqueeze(-3), joined, torch.zeros_like(joined))
        out["valid"] = defined
        lost = valid & ~defined
        if "mask" in sample and lost.any() and lost.shape == sample["mask"].shape:
            out["mask"] = torch.where(lost, torch.full_like(sample["mask"], IGNORE_INDEX), sample["mask"])
        return out


def default_indices(bands: Sequence[str]) -> tuple[str, ...]:
    """Choose the indices that help a network most, from the names of the bands alone.

    NDVI where bands are called red and nir; else the normalised difference of each pair of neighbours among
    numbered bands (``b2``, ``b3``, …), which holds NDVI for most sensors and needs no wavelength.

    Example:
        >>> default_indices(["blue", "green", "red", "nir"])
        ('ndvi',)
        >>> default_indices(["b2", "b3", "elevation"])
        ('nd_b2_b3 = (b3 - b2) / (b3 + b2)',)
    """
    if {"red", "nir"} <= set(bands):
        return ("ndvi",)
    return tuple(
        f"nd_{a}_{b} = ({b} - {a}) / ({b} + {a})" for a, b in pairwise(bands) if _numbered_alike(a, b)
    )


def _numbered_alike(a: str, b: str) -> bool:
    """Tell whether two band names differ in their number only."""
    stems = [name.rstrip("0123456789") for name in (a, b)]
    return stems[0] == stems[1] and a != b and all(n.isidentifier() and n != stems[0] for n in (a, b))
