"""Augmentation of batches: exact flips and quarter turns, zoom, and radiometric change."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from geotoolbox.core.classes import IGNORE_INDEX
from geotoolbox.errors import BadInput, explain

__all__ = ["Augment"]

_STALE = ("transform", "bounds")


class Augment:
    """Changes each sample of a batch at random; image, mask and valid together.

    Flips and quarter turns move pixels and change none. A zoom reads the image bilinearly from valid
    pixels only, and mask and valid by nearest; what comes from outside is not valid and has no
    label. Brightness and contrast change valid pixels only. The keys ``transform`` and ``bounds`` are
    dropped, since they no longer hold.

    Args:
        flips: Flip and turn by quarters (square images; others by halves).
        scale: Range of the zoom factor, such as (0.8, 1.25); None for none.
        rotation_deg: Largest turn to either side, in degrees, besides quarter turns.
        brightness: Largest shift, in units of the image's values (after normalisation: deviations).
        contrast: Largest relative change of the distance from 0.
        noise: Standard deviation of noise, in units of the image's values.
        probability: How often zoom, turn and radiometric change are done, per sample.
        seed: What repeats the changes; without it torch's own generator is used.

    Example:
        >>> batch = {"image": torch.ones(2, 3, 8, 8), "valid": torch.ones(2, 8, 8).bool()}
        >>> bool((Augment(brightness=0.0, contrast=0.0, seed=1)(batch)["image"] == 1).all())
        True
    """

    def __init__(
        self,
        *,
        flips: bool = True,
        scale: tuple[float, float] | None = None,
        rotation_deg: float = 0.0,
        brightness: float = 0.1,
        contrast: float = 0.1,
        noise: float = 0.0,
        probability: float = 0.5,
        seed: int | None = None,
    ) -> None:
        if scale is not None and not 0 < scale[0] <= scale[1]:
            raise BadInput(explain("no range of zoom", where="scale", got=scale, expected="0 < low ≤ high"))
        if not 0 <= probability <= 1 or min(brightness, contrast, noise, rotation_deg) < 0:
            raise BadInput(
                explain("an augmentation is out of range", got=(probability, brightness, contrast))
            )
        self.flips, self.scale, self.rotation_deg = flips, scale, rotation_deg
        self.brightness, self.contrast, self.noise = brightness, contrast, noise
        self.probability = probability
        self._generator = None if seed is None else torch.Generator().manual_seed(seed)

    def __call__(self, batch: dict[str, Any]) -> dict[str, Any]:
        """Return a new batch {image (N, C, H, W), mask (N, H, W), valid (N, H, W), …}."""
        out = {k: v for k, v in batch.items() if k not in _STALE}
        if self.flips:
            out = self._turned(out)
        if self.scale is not None or self.rotation_deg > 0:
            out = self._warped(out)
        return self._toned(out)

    def _random(self, count: int) -> Tensor:
        return torch.rand(count, generator=self._generator)

    def _turned(self, batch: dict[str, Any]) -> dict[str, Any]:
        image = batch["image"]
        quarters = image.shape[-1] == image.shape[-2]
        turns = (self._random(len(image)) * 4).long()
        mirror = self._random(len(image)) < 0.5
        out = dict(batch)
        for key in ("image", "mask", "valid"):
            if key in batch:
                out[key] = torch.stack(
                    [
                        _turn(v, int(t), bool(m), quarters)
                        for v, t, m in zip(batch[key], turns, mirror, strict=True)
                    ]
                )
        return out

    def _warped(self, batch: dict[str, Any]) -> dict[str, Any]:
        from kornia.geometry.transform import get_affine_matrix2d, warp_affine

        image: Tensor = batch["image"]
        if image.ndim != 4:
            raise BadInput(
                explain("zoom needs images (N, C, H, W)", got=tuple(image.shape), fix="scale=None")
            )
        count, _, height, width = image.shape
        low, high = self.scale or (1.0, 1.0)
        chosen = self._random(count) < self.probability
        zoom = torch.where(chosen, torch.exp(math.log(low) + self._random(count) * math.log(high / low)), 1.0)
        turn = torch.where(chosen, (self._random(count) * 2 - 1) * self.rotation_deg, 0.0)
        centre = torch.tensor([(width - 1) / 2, (height - 1) / 2]).expand(count, 2)
        matrix = get_affine_matrix2d(torch.zeros(count, 2), centre, zoom[:, None].expand(count, 2), turn)
        matrix = matrix[:, :2].to(image.device)

        def warp(layer: Tensor, mode: str) -> Tensor:
            warped: Tensor = warp_affine(layer.float(), matrix, (height, width), mode=mode)
            return warped

        valid = batch.get("valid", torch.ones_like(image[:, 0], dtype=torch.bool))
        out = dict(batch)
        here = warp(valid[:, None], "nearest") > 0.5
        # Weights keep fill values out: only valid pixels are blended.
        weight = warp(valid[:, None], "bilinear")
        mixed = warp(torch.where(valid[:, None], image, 0.0), "bilinear") / weight.clamp_min(1e-6)
        out["image"] = torch.where(here & (weight > 1e-6), mixed, 0.0).to(image.dtype)
        if "valid" in batch:
            out["valid"] = here[:, 0] & (weight[:, 0] > 1e-6)
        if "mask" in batch:
            moved = (
                warp((batch["mask"] - IGNORE_INDEX)[:, None], "nearest")[:, 0].round().long() + IGNORE_INDEX
            )
            inside = warp(torch.ones_like(image[:, :1]), "nearest")[:, 0] > 0.5
            out["mask"] = torch.where(inside, moved, IGNORE_INDEX)
        return _same_where_unchanged(batch, out, chosen)

    def _toned(self, batch: dict[str, Any]) -> dict[str, Any]:
        if max(self.brightness, self.contrast, self.noise) == 0:
            return batch
        image: Tensor = batch["image"]
        count, bands = len(image), image.shape[-3]
        chosen = (self._random(count) < self.probability).float()
        shape = (count, *(1,) * (image.ndim - 4), bands, 1, 1)

        def spread(amount: float) -> Tensor:
            common = self._random(count)[:, None].expand(count, bands)
            each = self._random(count * bands).reshape(count, bands)
            drawn = ((common + each) - 1) * amount * chosen[:, None]
            return drawn.reshape(shape).to(image.device)

        toned = image * (1 + spread(self.contrast)) + spread(self.brightness)
        if self.noise > 0:
            drawn = torch.randn(image.shape, generator=self._generator).to(image.device) * self.noise
            toned = toned + drawn * chosen.reshape(count, *(1,) * (image.ndim - 1)).to(image.device)
        valid = batch.get("valid")
        return {**batch, "image": toned if valid is None else torch.where(valid.unsqueeze(-3), toned, image)}


def _turn(value: Tensor, turns: int, mirror: bool, quarters: bool) -> Tensor:
    count = turns if quarters else 2 * (turns % 2)
    turned = torch.rot90(value, count, dims=(-2, -1))
    return torch.flip(turned, dims=(-1,)) if mirror else turned


def _same_where_unchanged(before: dict[str, Any], after: dict[str, Any], chosen: Tensor) -> dict[str, Any]:
    """Keep the samples that were not chosen bit for bit."""
    for key in ("image", "mask", "valid"):
        if key in before:
            pick = chosen.to(before[key].device).reshape(-1, *(1,) * (before[key].ndim - 1))
            after[key] = torch.where(pick, after[key], before[key])
    return after
