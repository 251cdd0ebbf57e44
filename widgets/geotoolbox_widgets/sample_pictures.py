"""Pictures of samples: as they are read, or as the model sees them; one stretch for all."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geotoolbox.core.classes import IGNORE_INDEX, ClassTable
from geotoolbox.core.query import Reading
from geotoolbox.datasets import GeoDataset
from geotoolbox.errors import BadInput, explain
from geotoolbox.sampling import Split
from geotoolbox.visualization import mask_rgba, rgb_bands
from geotoolbox.visualization.webmap import Stretch
from geotoolbox_widgets.drawn import DrawnSamples

__all__ = ["SamplePictures"]

RGBA = NDArray[np.uint8]
Pictures = tuple[list[RGBA], list[RGBA] | None]
_GAMMA = 0.75
_STRETCHED_OVER = 64


class SamplePictures:
    """Draws the samples of one draw after the other.

    Args:
        dataset: What they are read from.
        split: Its part ``train`` gives the statistics that images are normalised with.
        preprocess: What the model sees: a ``geotoolbox.transforms.Preprocess``; made from the dataset's
            statistics when it is first needed where None.
        seed: Of the statistics and of the augmentation.
    """

    def __init__(self, dataset: GeoDataset, split: Split | None, preprocess: Any, seed: int) -> None:
        self.dataset, self.split, self.seed = dataset, split, seed
        self._preprocess = preprocess
        self._stretch: tuple[DrawnSamples, tuple[str, ...], Stretch] | None = None

    @property
    def ready(self) -> bool:
        """Whether it is known what the model sees, so that nothing has to be computed first."""
        return self._preprocess is not None

    def read(self, drawn: DrawnSamples, numbers: Sequence[int], bands: tuple[str, ...]) -> Pictures:
        """Draw samples as they are read: images, and masks where there are classes, (H, W, 4) each.

        Raises:
            BadInput: When there is no such band.
        """
        readings = [drawn.reading(n) for n in numbers]
        classes = self.dataset.classes
        masks = None if classes is None else [_mask(r, classes) for r in readings]
        return [self._image(drawn, r, bands) for r in readings], masks

    def seen(self, drawn: DrawnSamples, numbers: Sequence[int]) -> Pictures:
        """Draw samples as the model sees them, normalised and augmented; a sample is always changed alike."""
        from geotoolbox.transforms.seen import SHOWN_RANGE, as_seen, training_augment

        preprocess, classes = self.prepare(), self.dataset.classes
        # Each by itself, so that a sample is changed alike in the gallery and in detail.
        seen = [as_seen([drawn.reading(n)], preprocess, training_augment(self.seed + n))[0] for n in numbers]
        places = rgb_bands(preprocess.names)
        stretch = Stretch((SHOWN_RANGE[0],) * len(places), (SHOWN_RANGE[1],) * len(places))
        images = [stretch.rgba(s.image[list(places)], s.valid) for s in seen]
        return images, None if classes is None else [mask_rgba(s.mask, classes) for s in seen]

    def prepare(self) -> Any:
        """Return what the model's preprocessing is; the first time this reads a share of the dataset."""
        if self._preprocess is None:
            from geotoolbox.transforms import Preprocess, compute_statistics, default_indices

            names = [b.name for b in self.dataset.bands]
            indices = default_indices(names)
            source = self.dataset if self.split is None else self.split.datasets.get("train", self.dataset)
            statistics = compute_statistics(source, indices=indices, max_pixels=1_000_000, seed=self.seed)
            self._preprocess = Preprocess(names, indices, statistics)
        return self._preprocess

    def _image(self, drawn: DrawnSamples, reading: Reading, bands: tuple[str, ...]) -> RGBA:
        image, valid = _last(reading)
        if image is None:
            return np.zeros((*reading.valid.shape[-2:], 4), dtype=np.uint8)
        return self._limits(drawn, bands).rgba(image[self._positions(bands)], valid)

    def _positions(self, bands: tuple[str, ...]) -> list[int]:
        names = [b.name for b in self.dataset.bands]
        missing = [n for n in bands if n not in names]
        if missing:
            raise BadInput(
                explain("no such band", got=", ".join(missing), expected=f"some of {', '.join(names)}")
            )
        return [names.index(n) for n in bands]

    def _limits(self, drawn: DrawnSamples, bands: tuple[str, ...]) -> Stretch:
        """Return one stretch for all patches of a draw, so that they can be compared."""
        known = self._stretch
        if known is None or known[0] is not drawn or known[1] != bands:
            first = [_last(drawn.reading(n)) for n in sorted(drawn.facts)[:_STRETCHED_OVER]]
            places = self._positions(bands)
            pixels = [image[places][:, valid] for image, valid in first if image is not None]
            joined = np.concatenate(pixels, axis=1)[:, None, :]
            found = Stretch.of(joined, np.ones(joined.shape[1:], dtype=bool), gamma=_GAMMA)
            self._stretch = known = (drawn, bands, found)
        return known[2]


def _last(reading: Reading) -> tuple[NDArray[np.float32] | None, NDArray[np.bool_]]:
    """Return image and validity; of a time series those of the last date."""
    if reading.image is None or reading.image.ndim == 3:
        return reading.image, reading.valid
    return reading.image[-1], reading.valid[-1]


def _mask(reading: Reading, classes: ClassTable) -> RGBA:
    mask = reading.mask if reading.mask is not None else np.full(reading.valid.shape[-2:], IGNORE_INDEX)
    return mask_rgba(mask, classes)
