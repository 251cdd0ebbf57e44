"""Preprocessing that travels with the model: from raw pixel values to what the network sees."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from geotoolbox.errors import BadBundle, BandMismatch, explain
from geotoolbox.transforms.indices import compute_index, parse_indices
from geotoolbox.transforms.normalize import Normalize, NormalizeKind
from geotoolbox.transforms.statistics import BandStatistics

__all__ = ["Preprocess"]

_log = logging.getLogger(__name__)


class Preprocess(nn.Module):
    """Appends spectral indices and normalises, respecting ``valid``.

    It has buffers but no entry in a state dict: :meth:`to_json` is what a bundle keeps.

    Args:
        bands: The names of the raw image's channels, in order.
        indices: Spectral indices to append, by name or ``name = expression``.
        statistics: Statistics of bands and indices, of the training split.
        kind: Which normalisation.
        scale: Factor from pixel values to reflectance, for the indices.

    Raises:
        BandMismatch: When the statistics are of other channels, or an index needs another band.

    Example:
        >>> one = (1.0,)
        >>> statistics = BandStatistics(("red",), (5.0,), (2.0,), (0.0,), (9.0,), one, (8.0,), (10,))
        >>> prepare = Preprocess(("red",), (), statistics)
        >>> prepare(torch.tensor([[[[9.0, 7.0]]]]), torch.tensor([[[True, False]]])).tolist()
        [[[[2.0, 0.0]]]]
    """

    def __init__(
        self,
        bands: Sequence[str],
        indices: Sequence[str],
        statistics: BandStatistics,
        kind: NormalizeKind = "mean_std",
        scale: float = 1.0,
    ) -> None:
        super().__init__()
        self.bands, self.index_texts = tuple(bands), tuple(indices)
        self.indices = parse_indices(self.index_texts, self.bands)
        self.statistics, self.kind, self.scale = statistics, kind, float(scale)
        if statistics.names != self.names:
            raise BandMismatch(
                explain(
                    "the statistics are of other channels",
                    got=", ".join(statistics.names),
                    expected=", ".join(self.names),
                    fix="compute the statistics with the same bands and indices",
                )
            )
        self.normalize = Normalize.from_statistics(statistics, kind)
        self._warned = False

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the channels that the network sees."""
        return (*self.bands, *(i.name for i in self.indices))

    @property
    def out_channels(self) -> int:
        """The number of channels that the network sees."""
        return len(self.names)

    def forward(self, image: Tensor, valid: Tensor) -> Tensor:
        """Prepare raw images.

        Args:
            image: (N, C, H, W) or (N, T, C, H, W) raw pixel values, float32.
            valid: (N, H, W) or (N, T, H, W) bool.

        Returns:
            The same shape with C' channels: normalised; the training mean (0 for ``mean_std``) where
            not valid. An index that is undefined at a valid pixel is the mean there, too. Always finite.
        """
        if image.shape[-3] != len(self.bands):
            raise BandMismatch(
                explain(
                    "the image has other bands than the model was trained on",
                    got=f"{image.shape[-3]} channels",
                    expected=f"{len(self.bands)} ({', '.join(self.bands)})",
                    fix="pass the same bands in the same order",
                )
            )
        finite = torch.isfinite(image).all(dim=-3)
        usable = valid & finite
        if not self._warned and bool((valid & ~finite).any()):
            self._warned = True
            _log.warning(
                "%d valid pixels are NaN or infinite; taken as not valid", int((valid & ~finite).sum())
            )
        clean = torch.where(usable.unsqueeze(-3), image, torch.zeros_like(image))
        layers, defined = [clean], [usable.unsqueeze(-3).expand_as(clean)]
        for index in self.indices:
            values, here = compute_index(index, clean, self.bands, self.scale)
            layers.append(values.unsqueeze(-3))
            defined.append((here & usable).unsqueeze(-3))
        prepared: Tensor = self.normalize(torch.cat(layers, dim=-3), torch.cat(defined, dim=-3))
        return prepared

    def to_json(self) -> dict[str, Any]:
        """Return plain data for JSON."""
        return {
            "bands": list(self.bands),
            "indices": list(self.index_texts),
            "kind": self.kind,
            "scale": self.scale,
            "statistics": self.statistics.to_json(),
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Preprocess:
        """Read what :meth:`to_json` wrote.

        Raises:
            BadBundle: When a part is missing or of another kind.
        """
        try:
            bands, indices = tuple(map(str, data["bands"])), tuple(map(str, data["indices"]))
            statistics, kind = BandStatistics.from_json(data["statistics"]), data["kind"]
            return cls(bands, indices, statistics, kind, float(data.get("scale", 1.0)))
        except (KeyError, TypeError, AttributeError) as error:
            raise BadBundle(
                explain("damaged preprocessing", got=repr(error), expected="what to_json writes")
            ) from error
