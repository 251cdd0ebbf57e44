"""Forward passes that are all of one shape, so that a tile's bits do not depend on its neighbours."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from geotoolbox.core.classes import ClassTable
from geotoolbox.errors import BadInput, ModelFailed, explain
from geotoolbox.prediction.reading import TileData

__all__ = ["Forward", "OutOfDeviceMemory", "TileModel", "fixed_threads"]


class TileModel(Protocol):
    """What is needed of a model: raw pixel values in, probabilities out.

    ``model(image, valid)`` takes float32 (N, C, T, T), 0 where not valid, and bool (N, T, T), and
    answers with float32 probabilities (N, K, T, T), K = ``num_classes``.
    """

    @property
    def bands(self) -> tuple[str, ...]:
        """The names of the bands, in order."""

    @property
    def num_classes(self) -> int:
        """How many classes there are."""

    @property
    def classes(self) -> ClassTable:
        """The class of each channel."""

    @property
    def tile_px(self) -> int:
        """The side of the tiles the model works best with."""

    @property
    def halo_px(self) -> int:
        """The border that a tile's missing surroundings spoil."""

    def __call__(self, image: Tensor, valid: Tensor) -> Tensor:
        """Predict a batch."""


class OutOfDeviceMemory(Exception):
    """The batch does not fit into the memory of the device."""


@contextmanager
def fixed_threads(threads: int) -> Iterator[None]:
    """Set torch's number of threads, and set it back."""
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        yield
    finally:
        torch.set_num_threads(before)


class Forward:
    """Runs a model on batches of exactly ``batch_size`` tiles of ``tile_px``; short batches are filled up."""

    def __init__(
        self, model: TileModel, channels: int, tile_px: int, batch_size: int, *, tta: bool = False
    ) -> None:
        self._model, self._tta, self.batch_size = model, tta, batch_size
        # Channels last, as the tiles are: convolutions then need no copy of their own to another order.
        shape = (batch_size, channels, tile_px, tile_px)
        self._image = torch.zeros(shape).contiguous(memory_format=torch.channels_last)
        self._valid = torch.zeros((batch_size, tile_px, tile_px), dtype=torch.bool)

    def __call__(self, tiles: Sequence[TileData]) -> Tensor:
        """Predict up to ``batch_size`` tiles: (n, K, T, T) float32 on the CPU.

        Raises:
            OutOfDeviceMemory: When the device's memory is too small.
            BadInput: When the answer has another shape than promised.
        """
        image, valid = self._image.numpy(), self._valid.numpy()  # copied here: torch would wake its threads
        for slot, tile in enumerate(tiles):
            image[slot], valid[slot] = tile.image, tile.valid
        self._image[len(tiles) :] = 0
        self._valid[len(tiles) :] = False
        return self._run()[: len(tiles)]

    def probe(self) -> str:
        """Run made-up tiles and return the hash of the answer.

        The hash tells two models apart whatever they are made of, and the run shows wrong channels and values
        that are no numbers before the first tile. Where a device could have too little memory, it is a whole
        batch; else one tile, since a small scene has few batches.
        """
        count = self.batch_size if torch.cuda.is_available() or torch.backends.mps.is_available() else 1
        generator = np.random.Generator(np.random.PCG64(20))
        values = generator.random((count, *self._image.shape[1:]), dtype=np.float32)
        values[..., values.shape[-1] // 2 :] *= np.float32(3000)
        valid = generator.random((count, *self._valid.shape[1:])) > 0.1
        self._valid[:count].copy_(torch.from_numpy(valid))
        self._image[:count].copy_(torch.from_numpy(np.where(valid[:, None], values, np.float32(0))))
        answer = self._run(count)
        if not bool(torch.isfinite(answer).all()):
            raise ModelFailed(
                explain(
                    "the model answers with values that are no probabilities",
                    got="NaN or infinity on a test tile",
                    fix="train the model again, or use an earlier checkpoint",
                )
            )
        return hashlib.sha256(answer.numpy().tobytes()).hexdigest()

    def _run(self, count: int | None = None) -> Tensor:
        image, valid = self._image[:count], self._valid[:count]
        try:
            with torch.inference_mode():
                answer = self._turned(image, valid) if self._tta else self._call(image, valid)
        except torch.OutOfMemoryError as error:
            raise OutOfDeviceMemory(str(error)) from error
        return answer

    def _call(self, image: Tensor, valid: Tensor) -> Tensor:
        answer = self._model(image, valid)
        expected = (image.shape[0], self._model.num_classes, *image.shape[2:])
        if tuple(answer.shape) != expected:
            raise BadInput(
                explain(
                    "the model's output does not fit its classes",
                    got=f"shape {tuple(answer.shape)}",
                    expected=f"{expected} ({self._model.num_classes} classes)",
                    fix="check the number of output channels of the model",
                )
            )
        return answer.detach().to("cpu", torch.float32).contiguous()

    def _turned(self, whole: Tensor, good: Tensor) -> Tensor:
        total: Tensor | None = None
        for flip in (False, True):
            image, valid = (whole.flip(-1), good.flip(-1)) if flip else (whole, good)
            for turns in range(4):
                turned = torch.rot90(image, turns, (-2, -1)).contiguous(memory_format=torch.channels_last)
                mask = torch.rot90(valid, turns, (-2, -1)).contiguous()
                answer = torch.rot90(self._call(turned, mask), -turns, (-2, -1))
                answer = answer.flip(-1) if flip else answer
                total = answer.clone() if total is None else total + answer
        assert total is not None
        return total / 8
