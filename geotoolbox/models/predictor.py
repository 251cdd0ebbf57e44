"""A bundle as a function: raw pixel values in, class probabilities out."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from geotoolbox.core.classes import ClassTable
from geotoolbox.errors import BadBundle, BandMismatch, explain
from geotoolbox.models.bundle import Bundle

__all__ = ["Predictor", "check_bands"]

Transform = Callable[[Tensor, Tensor], Tensor]


class Predictor:
    """What prediction runs on tiles.

    Args:
        bundle: The trained model.
        device: Where to run it.

    Attributes:
        bundle: The trained model.
        bands: Names of the bands it reads, in order.
        classes: The classes, in the order of the channels that come out.
        num_classes: How many.
        tile_px: The side of the tiles it is meant for.
        halo_px: The border of a tile's answer that is to be thrown away.

    Raises:
        BadBundle: When the network's channels are not the classes or the bands (R75), or the weights
            do not fit.
    """

    def __init__(self, bundle: Bundle, device: str | torch.device = "cpu") -> None:
        self.bundle, self.device = bundle, torch.device(device)
        self.bands = tuple(band.name for band in bundle.bands)
        self.classes: ClassTable = bundle.classes
        self.num_classes = len(bundle.classes)
        self.tile_px, self.halo_px = bundle.tile_px, bundle.halo_px
        _check_counts(bundle)
        self._transform = _transform_of(bundle)
        self._network = bundle.module().to(self.device)
        self._check_output()

    def __call__(self, image: Tensor, valid: Tensor) -> Tensor:
        """Return class probabilities.

        Args:
            image: (N, C, H, W) float32, raw pixel values in the order of ``bands``; any value where not
                valid.
            valid: (N, H, W) bool.

        Returns:
            (N, K, H, W) float32 on the CPU, which sum to 1 over K. They may be NaN when the network
            fails: the caller decides what that means.
        """
        with torch.inference_mode():
            image = image.to(self.device, torch.float32)
            valid = valid.to(self.device, torch.bool)
            ready = self._transform(image, valid).contiguous(memory_format=torch.channels_last)
            logits = self._network(ready)
            if self.bundle.temperature != 1.0:
                logits = logits / self.bundle.temperature
            return torch.softmax(logits.float(), dim=1).cpu()

    def check_bands(self, names: Sequence[str]) -> None:
        """Raise :class:`BandMismatch` unless ``names`` are the model's bands in the model's order (R70)."""
        check_bands(self.bands, names)

    def _check_output(self) -> None:
        side = min(self.tile_px, 32)
        image = torch.zeros(1, len(self.bands), side, side)
        try:
            answer = self(image, torch.ones(1, side, side, dtype=torch.bool))
        except (RuntimeError, ValueError, IndexError) as error:
            raise BadBundle(
                explain("the model does not run on its own bands", got=str(error)[:300])
            ) from error
        if answer.shape != (1, self.num_classes, side, side):
            raise BadBundle(
                explain(
                    "the network's output is not one channel for each class",
                    got=f"shape {tuple(answer.shape)}",
                    expected=f"{(1, self.num_classes, side, side)}",
                )
            )


def check_bands(expected: Sequence[str], found: Sequence[str], *, options: bool = False) -> None:
    """Compare the bands at hand with those of a model.

    Args:
        expected: The model's bands, in order.
        found: The images' bands, in order.
        options: Whether the message names the options of the command line, rather than Python's arguments.

    Raises:
        BandMismatch: When they differ in count, names or order; the message has both lists.

    Example:
        >>> check_bands(["red", "nir"], ["red", "nir"])
        >>> check_bands(["red", "nir"], ["nir", "red"])
        Traceback (most recent call last):
        geotoolbox.errors.BandMismatch: the bands stand in another order than the model's. Got nir, red, ...
    """
    if tuple(expected) == tuple(found):
        return
    missing = [name for name in expected if name not in found]
    choice = "--bands " + " ".join(expected) if options else f"bands={list(expected)!r}"
    door = "--images" if options else "the images"
    fix = f"choose bands by name and order: {choice}"
    if sorted(expected) == sorted(found):
        what = "the bands stand in another order than the model's"
    elif not missing:
        what = f"the model reads {len(expected)} bands, the images have {len(found)}"
    elif len(found) == len(expected):
        what = f"the bands are not those of the model; missing: {', '.join(missing)}"
        fix = f"if they are the same bands under other names, name them in order: {choice}; else use images that have them"
    else:
        what = f"the images lack bands that the model reads: {', '.join(missing)}"
        which = "its file" if len(missing) == 1 else "their files"
        fix = f"{_are_missing(missing)}: add {which} to {door}"
    raise BandMismatch(
        explain(
            what,
            got=", ".join(found) or "no band",
            expected=", ".join(expected),
            fix=fix,
        )
    )


def _are_missing(names: Sequence[str]) -> str:
    return f"{', '.join(names)} {'is' if len(names) == 1 else 'are'} missing"


def _check_counts(bundle: Bundle) -> None:
    if bundle.spec.num_classes != len(bundle.classes):
        raise BadBundle(
            explain(
                "the network's output channels are not the classes",
                got=f"{bundle.spec.num_classes} channels",
                expected=f"{len(bundle.classes)} ({', '.join(bundle.classes.names)})",
            )
        )
    if bundle.preprocess is None and bundle.spec.in_channels != len(bundle.bands):
        raise BadBundle(
            explain(
                "the network's input channels are not the bands",
                got=f"{bundle.spec.in_channels} channels",
                expected=f"{len(bundle.bands)} ({', '.join(b.name for b in bundle.bands)})",
            )
        )


def _transform_of(bundle: Bundle) -> Transform:
    if bundle.preprocess is None:
        return _zero_invalid
    from geotoolbox.transforms.preprocess import Preprocess

    try:
        transform: Transform = Preprocess.from_json(bundle.preprocess)
    except (ValueError, KeyError, TypeError) as error:
        raise BadBundle(explain("the model's preprocessing cannot be read", got=str(error)[:300])) from error
    return transform


def _zero_invalid(image: Tensor, valid: Tensor) -> Tensor:
    return torch.where(valid[:, None], image, torch.zeros((), device=image.device))
