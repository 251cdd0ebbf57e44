"""Memory for what a computation needs on its way and nobody keeps: one buffer a name and thread, used again and again.

Arrays of some hundred kilobytes that come and go make the operating system clear fresh pages each time, which can
cost more than what is computed in them.
"""

from __future__ import annotations

import math
import threading
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

__all__ = ["SCRATCH", "Scratch"]

MOST_BYTES = 16 * 1024**2
"""Larger arrays are made anew: they are rare, and must not stay."""


class Scratch(threading.local):
    """Buffers of one thread.

    Example:
        >>> room = Scratch()
        >>> first = room.array("sums", (2, 3), "float64")
        >>> first.shape, room.array("sums", (6,), "float64").ctypes.data == first.ctypes.data
        ((2, 3), True)
    """

    def __init__(self) -> None:
        self._buffers: dict[str, NDArray[np.uint8]] = {}

    def array(self, name: str, shape: tuple[int, ...], dtype: DTypeLike) -> NDArray[Any]:
        """Return an array of any content; it holds until the same thread asks for this name again.

        Args:
            name: What it is for.
            shape: Its shape.
            dtype: Its type.
        """
        size = math.prod(shape) * np.dtype(dtype).itemsize
        if size > MOST_BYTES:
            return np.empty(shape, dtype=dtype)
        buffer = self._buffers.get(name)
        if buffer is None or buffer.size < size:
            buffer = self._buffers[name] = np.zeros(size, dtype=np.uint8)
        found: NDArray[Any] = np.ndarray(shape, dtype=dtype, buffer=buffer)
        return found


SCRATCH = Scratch()
"""The buffers of this process; a name is used in one function only, and never on the way out of it."""
