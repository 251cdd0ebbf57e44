"""Patches as the network sees them: with its indices, normalised and augmented."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from geotoolbox.core.classes import IGNORE_INDEX
from geotoolbox.core.query import Reading
from geotoolbox.errors import BadInput, explain
from geotoolbox.transforms.augment import Augment
from geotoolbox.transforms.preprocess import Preprocess

__all__ = ["SHOWN_RANGE", "SeenPatch", "as_seen", "training_augment"]

SHOWN_RANGE = (-2.5, 2.5)
"""Normalised values that are drawn black and white, in deviations from the training mean."""


@dataclass(frozen=True, slots=True)
class SeenPatch:
    """One patch of a training batch.

    Attributes:
        image: (C, H, W) float32, normalised; its channels are ``preprocess.names``.
        mask: (H, W) class indices, ``IGNORE_INDEX`` where there is no label.
        valid: (H, W) bool.
    """

    image: NDArray[np.float32]
    mask: NDArray[np.int64]
    valid: NDArray[np.bool_]


def training_augment(seed: int | None = None) -> Augment:
    """Return the augmentation that training uses."""
    # From Gaussian deviations of 0.1 (brightness) and 0.05 (contrast), in units of the augmentation.
    return Augment(brightness=0.35, contrast=0.12, probability=1.0, seed=seed)


def as_seen(
    readings: Sequence[Reading], preprocess: Preprocess, augment: Augment | None = None
) -> list[SeenPatch]:
    """Return readings of one size as a training step would see them.

    Args:
        readings: Images, with or without labels, as they are read.
        preprocess: What turns pixel values into what the network sees.
        augment: What training changes at random; None for nothing.

    Raises:
        BadInput: When there is a reading without an image.
        BandMismatch: When the images have other bands than the preprocessing.
    """
    if not readings:
        return []
    if any(r.image is None for r in readings):
        raise BadInput(explain("a network sees images", got="labels alone", fix="join them: images & labels"))
    image = torch.from_numpy(np.stack([np.asarray(r.image, dtype=np.float32) for r in readings]))
    valid = torch.from_numpy(np.stack([r.valid for r in readings]))
    masks = [np.full(r.valid.shape, IGNORE_INDEX) if r.mask is None else r.mask for r in readings]
    mask = torch.from_numpy(np.stack(masks).astype(np.int64))
    mask = torch.where(valid, mask, torch.full_like(mask, IGNORE_INDEX))
    with torch.no_grad():
        batch: dict[str, Any] = {"image": preprocess(image, valid), "mask": mask, "valid": valid}
        if augment is not None:
            batch = augment(batch)
    arrays = [np.asarray(batch[key]) for key in ("image", "mask", "valid")]
    return [SeenPatch(*(a[i] for a in arrays)) for i in range(len(readings))]
