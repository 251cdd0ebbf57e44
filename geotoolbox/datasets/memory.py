"""Memory of batches, used again once nobody holds the batch: fresh memory costs as much as reading into it."""

from __future__ import annotations

import math
import os
import sys
import threading

import numpy as np
from numpy.typing import NDArray

__all__ = ["MOST_BYTES", "BatchMemory"]

MOST_BYTES = 384 * 1024**2
"""So many bytes are kept at most, in use or not; what goes beyond is made anew and forgotten."""

_LEAST_BYTES = 1024**2  # smaller blocks come from memory that the process has anyway
_OURS = 3  # references while we look: the list's, the loop's, and that of the question itself


class BatchMemory:
    """Blocks that were handed out before, of which those without any other holder are handed out again.

    Whoever has an array, a tensor made of it, or a part of either holds the block. Its count of references tells:
    it is back at ours alone when the last of them is gone.

    Args:
        most_bytes: How much is kept.
    """

    def __init__(self, most_bytes: int = MOST_BYTES) -> None:
        self._most = most_bytes
        self._lock, self._pid = threading.Lock(), os.getpid()
        self._blocks: list[NDArray[np.uint8]] = []

    def array(self, shape: tuple[int, ...], kind: str) -> NDArray[np.generic]:
        """Return an array of any content, (as :func:`numpy.empty`).

        Args:
            shape: Its shape.
            kind: Its type, as NumPy names it.
        """
        size = math.prod(shape) * np.dtype(kind).itemsize
        if size < _LEAST_BYTES or size > self._most:
            return np.empty(shape, dtype=kind)
        if (
            self._pid != os.getpid()
        ):  # a child process: what the parent's threads did with the lock is not known
            self._lock, self._pid, self._blocks = threading.Lock(), os.getpid(), []
        with self._lock:
            return self._block(size).view(kind).reshape(shape)

    def _block(self, size: int) -> NDArray[np.uint8]:
        for block in self._blocks:
            if block.size == size and sys.getrefcount(block) == _OURS:
                return block
        fresh = np.empty(size, dtype=np.uint8)
        if self._makes_room(size):
            self._blocks.append(fresh)
        return fresh

    def _makes_room(self, size: int) -> bool:
        """Forget idle blocks of other sizes until one of ``size`` fits; tell whether it does."""
        total = sum(b.size for b in self._blocks)
        kept = []
        for block in self._blocks:
            if total + size > self._most and block.size != size and sys.getrefcount(block) == _OURS + 0:
                total -= block.size
            else:
                kept.append(block)
        self._blocks = kept
        return total + size <= self._most
