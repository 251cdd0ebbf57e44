"""Memory of batches that a DataLoader's worker and its parent both see, used again once both have let go of it.

Shared memory that is made anew for every batch is cleared by the operating system, mapped page by page in both
processes and taken apart again, which costs as much as reading into it. Here a worker fills its blocks
(:mod:`geotoolbox.datasets.blocks`) again and again, and a tensor in a block is sent as its place. The parent maps a
block when it first meets it and keeps the mapping; when the last view of a tensor that it received is gone, it says so
in the block's flags, and the worker may fill it again.
"""

from __future__ import annotations

import logging
import math
import multiprocessing
import os
import threading
import weakref
from collections.abc import Callable, Sequence
from multiprocessing.reduction import ForkingPickler
from multiprocessing.util import Finalize
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from geotoolbox.datasets.blocks import (
    BACK,
    CLOSED,
    FORKS,
    LOST,
    PAGE,
    SENT,
    STAMP,
    TAKEN,
    Block,
    Part,
    as_tensor,
    opened,
)
from geotoolbox.datasets.memory import MOST_BYTES
from geotoolbox.errors import CannotRead, explain

if TYPE_CHECKING:
    import torch

__all__ = ["SharedMemory", "in_worker", "shared_tensor"]

_LOG = logging.getLogger(__name__)

MOST_BLOCKS = 64
"""So many blocks a worker keeps open at most: each is an open file."""

_WAITING = 4  # times what is kept at most may wait for being received
_ROOMY = 4  # a block is used again for what fills a quarter of it or more


class SharedMemory:
    """The blocks of one process that others receive.

    Args:
        most_bytes: Beyond so many, blocks that nobody waits for are forgotten.
    """

    def __init__(self, most_bytes: int = MOST_BYTES) -> None:
        self._most = most_bytes
        self._pid = 0
        self._begin()

    def tensor(self, shape: Sequence[int], dtype: torch.dtype) -> torch.Tensor | None:
        """Return a tensor of any content; None where the system, or who received the first tensors, cannot do it."""
        size = math.prod(shape) * dtype.itemsize
        if size == 0 or not hasattr(os, "memfd_create"):
            return None
        self._be_here()
        with self._lock:
            try:
                if not self._is_known():
                    return None
                block = self._block(-(-size // PAGE) * PAGE)
                return None if block is None else block.hand_out(shape, dtype)
            except (OSError, RuntimeError) as error:  # torch raises the latter where it cannot map
                _LOG.debug("no block of %d bytes: %s", size, error)
                return None

    def part(self, tensor: torch.Tensor) -> Part | None:
        """Return the place of a tensor that is to be sent; None where it is not in a block."""
        if self._pid != os.getpid() or tensor.numel() == 0:
            return None
        start = tensor.data_ptr()
        steps = sum((n - 1) * s for n, s in zip(tensor.shape, tensor.stride(), strict=True))
        with self._lock:
            for block in self._blocks:
                at = start - block.start
                if PAGE <= at < PAGE + block.size:
                    return block.send(tensor, at, at + (steps + 1) * tensor.element_size())
        return None

    def greeting(self) -> Part | None:
        """Return what tells us, once it is received, that blocks can be opened; None when that is known already."""
        import torch

        if self._pid != os.getpid():
            return None
        with self._lock:
            if self._probe is None:
                return None
            return self._probe.send(torch.empty(1, dtype=torch.uint8), PAGE, PAGE + 1)

    def forget(self) -> None:
        """Give all memory back that nobody holds, when the process ends."""
        if self._pid == os.getpid():
            for block in self._blocks:
                block.close()

    def _begin(self) -> None:
        self._lock = threading.Lock()
        self._blocks: list[Block] = []
        self._probe: Block | None = None
        self._known = False

    def _be_here(self) -> None:
        """Begin anew in a child process: neither the parent's lock nor its blocks mean anything here."""
        if self._pid == os.getpid():
            return
        for block in [*self._blocks, *([self._probe] if self._probe else [])]:
            os.close(block.fd)
        self._begin()
        self._pid = os.getpid()
        Finalize(None, self.forget, exitpriority=0)
        _register()

    def _is_known(self) -> bool:
        """Tell whether a receiver could open a block of ours (some systems and sandboxes forbid it)."""
        import torch

        if self._known:
            return True
        if self._probe is None and _parent_may_open():
            self._known = True
        elif self._probe is None:
            self._probe = Block(PAGE)
            self._probe.hand_out((), torch.uint8)
        elif self._probe.was_received():
            self._probe.forget()
            self._probe, self._known = None, True
        return self._known

    def _block(self, size: int) -> Block | None:
        idle = [b for b in self._blocks if size <= b.size <= _ROOMY * size and b.is_idle()]
        if idle:
            return min(idle, key=lambda b: b.size)
        self._make_room(size)
        if len(self._blocks) >= MOST_BLOCKS or sum(b.size for b in self._blocks) > _WAITING * self._most:
            return None  # somebody was sent much and has not opened it
        self._blocks.append(Block(size))
        return self._blocks[-1]

    def _make_room(self, size: int) -> None:
        """Forget blocks until one of ``size`` fits: idle ones first, then those that others hold for long."""
        total, kept = sum(b.size for b in self._blocks), []
        for block in sorted(self._blocks, key=lambda b: not b.is_idle()):
            full = total + size > self._most or len(self._blocks) >= MOST_BLOCKS
            if (full and block.is_ours_to_forget()) or block.is_spent():
                block.forget()
                total -= block.size
            else:
                kept.append(block)
        self._blocks = kept


class _Received:
    """The blocks of other processes that this one has opened."""

    def __init__(self) -> None:
        self._maps: dict[tuple[int, tuple[int, int]], NDArray[np.uint8]] = {}
        self._alive: weakref.WeakValueDictionary[int, NDArray[np.uint8]] = weakref.WeakValueDictionary()
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=self._maps.clear)

    def tensor(self, part: Part) -> torch.Tensor:
        """Return a tensor that was sent; its memory is given back when nothing of it is held any more.

        Raises:
            CannotRead: When the process that sent it has ended, or the same message was received before.
        """
        whole = self._map(part)
        if whole[part.number] != SENT:
            raise CannotRead(
                explain("a tensor of a worker was received twice", fix="send it once for each receiver")
            )
        whole[part.number] = TAKEN
        view = whole[slice(*part.where)]
        done = weakref.finalize(view, self._give_back, part, whole, os.getpid(), FORKS.count)
        done.atexit = False
        return as_tensor(view, part.dtype).as_strided(part.shape, part.strides)

    def holds(self, tensor: torch.Tensor) -> bool:
        """Tell whether a tensor lies in memory that was received."""
        at = tensor.data_ptr()
        return any(start <= at < start + whole.size for start, whole in list(self._alive.items()))

    def _map(self, part: Part) -> NDArray[np.uint8]:
        key = (part.pid, part.inode)
        whole = self._maps.get(key)
        if whole is None or whole[STAMP].tobytes() != part.stamp:
            self._drop_closed()
            whole = opened(part)
            self._maps[key] = self._alive[int(whole.ctypes.data)] = whole
        return whole

    def _drop_closed(self) -> None:
        for key, whole in list(self._maps.items()):
            if whole[CLOSED] or not os.path.exists(f"/proc/{key[0]}"):
                self._maps.pop(key, None)

    def _give_back(self, part: Part, whole: NDArray[np.uint8], pid: int, forks: int) -> None:
        """Note that a part is held no more. It may run anywhere, in the midst of anything: no locks here."""
        if pid != os.getpid():
            return  # a copy in a forked process
        whole[part.number] = BACK if forks == FORKS.count else LOST
        if whole[CLOSED] and self._maps.get((part.pid, part.inode)) is whole:
            self._maps.pop((part.pid, part.inode), None)


_SHARED = SharedMemory()
_RECEIVED = _Received()


def shared_tensor(shape: Sequence[int], dtype: torch.dtype) -> torch.Tensor | None:
    """Return a tensor, of any content, that reaches a DataLoader's parent without a copy.

    Args:
        shape: Its shape.
        dtype: Its type.

    Returns:
        None where it would be of no use (this is no worker) or is not possible: not on Linux, without memory, or,
        where we cannot tell whether the parent may open it, until the parent has tried with the first batch.
    """
    return _SHARED.tensor(shape, dtype) if in_worker() else None


def in_worker() -> bool:
    """Tell whether this is a worker process of a DataLoader."""
    import torch.utils.data

    return torch.utils.data.get_worker_info() is not None


def _parent_may_open() -> bool:
    """Tell whether our parent may surely open our files: we may look into it, and it is of the same user."""
    parent = multiprocessing.parent_process()
    if parent is None:
        return False
    try:
        os.readlink(f"/proc/{parent.pid}/cwd")  # allowed to whoever may open its files
        return os.stat(f"/proc/{parent.pid}").st_uid == os.stat("/proc/self").st_uid == os.geteuid()
    except OSError:
        return False


def _register() -> None:
    """Have tensors sent our way from this process; those that are not in our memory go torch's way as before."""
    import torch

    ForkingPickler.register(torch.Tensor, _reduce)


def _reduce(tensor: torch.Tensor) -> tuple[Callable[..., Any], tuple[Any, ...]]:
    import torch
    from torch.multiprocessing.reductions import reduce_tensor

    plain = tensor.device.type == "cpu" and tensor.layout == torch.strided and not tensor.is_nested
    if not plain or tensor.requires_grad or tensor.is_conj() or tensor.is_neg():
        return reduce_tensor(tensor)
    part = _SHARED.part(tensor)
    if part is not None:
        return _receive, (part,)
    if _RECEIVED.holds(tensor):
        # Torch would move the tensor itself into other memory, under the arrays that were made of it.
        tensor = tensor.clone()
    greeting = _SHARED.greeting()
    rebuild, values = reduce_tensor(tensor)
    return (rebuild, values) if greeting is None else (_receive_first, (greeting, rebuild, values))


def _receive(part: Part) -> torch.Tensor:
    _register()
    return _RECEIVED.tensor(part)


def _receive_first(
    greeting: Part, rebuild: Callable[..., torch.Tensor], values: tuple[Any, ...]
) -> torch.Tensor:
    """Receive a tensor torch's way, and tell the sender whether ours would do."""
    try:
        _RECEIVED.tensor(greeting)
    except (OSError, RuntimeError) as error:
        _LOG.debug("batches are made anew each time: the memory of a worker cannot be opened here: %s", error)
    return rebuild(*values)
