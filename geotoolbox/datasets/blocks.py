"""A block of memory that two processes see: a page of flags, then the values of a batch.

It is a file in memory (Linux's ``memfd``; not in ``/dev/shm``, which is small in containers). Who made it hands it out
and sends parts of it; who receives one opens it by the number of the file in the process that made it, and says in the
flags when it holds the part no more.
"""

from __future__ import annotations

import math
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from geotoolbox.errors import CannotRead, explain

if TYPE_CHECKING:
    import torch

__all__ = [
    "BACK",
    "CLOSED",
    "FORKS",
    "LOST",
    "PAGE",
    "SENT",
    "STAMP",
    "TAKEN",
    "Block",
    "Part",
    "as_tensor",
    "mapped",
    "opened",
]

PAGE = 4096
"""Bytes of the flags; the values begin behind them."""

CLOSED = 8
"""Where the flags tell that nothing will come in the block any more."""

SENT, TAKEN, BACK, LOST = 1, 2, 3, 4
"""States of a part: on its way, received, let go, let go but a forked process may still look at it."""

STAMP = slice(0, 8)
"""Where the flags tell which handing-out of which block this is."""

PARTS = 16
"""From here on, the state of each part that was sent."""

_OURS = 3  # references while we look: the block's, that of its flags, and that of the question itself


class Forks:
    """Counts the forks of this process: what was held at a fork may be looked at by the child for ever."""

    def __init__(self) -> None:
        self.count = 0
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(before=self._up)

    def _up(self) -> None:
        self.count += 1


FORKS = Forks()


@dataclass(frozen=True, slots=True)
class Part:
    """A tensor on its way: where it lies.

    Attributes:
        pid: The process that made the block.
        fd: Its file descriptor there.
        inode: Device and inode of the block.
        size: Its bytes, flags included.
        stamp: What its flags begin with for as long as the part is valid.
        number: Which of the parts that were sent.
        where: First byte and the byte after the last.
        dtype: Type of the tensor.
        shape: Shape of the tensor.
        strides: Steps between neighbours along each axis, in values.
    """

    pid: int
    fd: int
    inode: tuple[int, int]
    size: int
    stamp: bytes
    number: int
    where: tuple[int, int]
    dtype: torch.dtype
    shape: tuple[int, ...]
    strides: tuple[int, ...]


class Block:
    """A block, as the process that made it sees it.

    Args:
        size: Bytes for values.

    Raises:
        OSError: When the system does not give the memory.
    """

    def __init__(self, size: int) -> None:
        self.size = size
        self.fd = os.memfd_create("batch")
        try:
            os.posix_fallocate(self.fd, 0, PAGE + size)  # now or not at all: later it would end the process
            self.whole = mapped(self.fd, PAGE + size)
        except BaseException:
            os.close(self.fd)
            raise
        found = os.fstat(self.fd)
        self.inode, self.start = (found.st_dev, found.st_ino), int(self.whole.ctypes.data)
        self._flags = self.whole[:PAGE]
        self._turn, self._sent, self._forks = int.from_bytes(os.urandom(7)), 0, 0

    def hand_out(self, shape: Sequence[int], dtype: torch.dtype) -> torch.Tensor:
        """Return a tensor of any content at the block's beginning."""
        self._turn, self._sent, self._forks = self._turn + 1, 0, FORKS.count
        self._flags[PARTS:] = 0
        self._flags[STAMP] = np.frombuffer(self._stamp(), np.uint8)
        return as_tensor(self.whole[PAGE : PAGE + math.prod(shape) * dtype.itemsize], dtype).view(
            tuple(shape)
        )

    def send(self, tensor: torch.Tensor, start: int, stop: int) -> Part | None:
        """Note that a part of the block is sent; None where no more can be noted."""
        number = PARTS + self._sent
        if number >= PAGE:
            return None
        self._sent += 1
        self._flags[number] = SENT
        return Part(
            os.getpid(), self.fd, self.inode, PAGE + self.size, self._stamp(), number,
            (start, stop), tensor.dtype, tuple(tensor.shape), tensor.stride(),
        )  # fmt: skip

    def is_idle(self) -> bool:
        """Tell whether nobody, here or in a process that it was sent to, holds any part of it."""
        # The references first: whoever has one may be about to send it.
        return (
            sys.getrefcount(self.whole) == _OURS
            and self._forks == FORKS.count
            and bool((self._states() == BACK).all())
        )

    def is_ours_to_forget(self) -> bool:
        """Tell whether nobody here holds it and nobody has yet to open it."""
        return sys.getrefcount(self.whole) == _OURS and not bool((self._states() == SENT).any())

    def was_received(self) -> bool:
        """Tell whether a process that it was sent to could open it."""
        return bool((self._states() > SENT).any())

    def is_spent(self) -> bool:
        """Tell whether nobody here holds it, but it must not be used again: a forked process may look at it."""
        lost = self._forks != FORKS.count or bool((self._states() == LOST).any())
        return lost and self.is_ours_to_forget()

    def close(self) -> None:
        """Tell the others that nothing comes in it any more, and free memory that nobody holds but all have mapped."""
        self._flags[CLOSED] = 1
        if self.is_idle():
            os.ftruncate(self.fd, PAGE)

    def forget(self) -> None:
        """Close it for good."""
        self.close()
        os.close(self.fd)

    def _states(self) -> NDArray[np.uint8]:
        return self._flags[PARTS : PARTS + self._sent]

    def _stamp(self) -> bytes:
        return self._turn.to_bytes(8)


def as_tensor(values: NDArray[np.uint8], dtype: torch.dtype) -> torch.Tensor:
    """Return a flat tensor that keeps this very array, and through it the block, for as long as any view of it lives."""
    import torch

    return torch.from_numpy(values).view(dtype)


def mapped(fd: int, size: int) -> NDArray[np.uint8]:
    """Map a file; unlike mmap's, the mapping keeps no file descriptor."""
    import torch

    values: NDArray[np.uint8] = torch.from_file(
        f"/proc/self/fd/{fd}", shared=True, size=size, dtype=torch.uint8
    ).numpy()
    return values


def opened(part: Part) -> NDArray[np.uint8]:
    """Map the block of another process, if it is still the one that was meant."""
    path = f"/proc/{part.pid}/fd/{part.fd}"
    try:
        found = os.stat(path)  # before it is opened: it may be something else by now
        if (found.st_dev, found.st_ino) == part.inode and found.st_size == part.size:
            fd = os.open(path, os.O_RDWR | os.O_CLOEXEC)
            try:
                whole = mapped(fd, part.size)
            finally:
                os.close(fd)
            if whole[STAMP].tobytes() == part.stamp:
                return whole
    except OSError as error:
        raise CannotRead(_gone(part)) from error
    raise CannotRead(_gone(part))


def _gone(part: Part) -> str:
    return explain(
        "the memory of a worker process is gone",
        where=f"process {part.pid}",
        fix="receive its batches before the worker ends",
    )
