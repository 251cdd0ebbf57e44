"""Many samples at once: one block of memory, filled by threads, that becomes a batch without a copy."""

from __future__ import annotations

import math
import os
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from geotoolbox.core.query import Query, Reading
from geotoolbox.datasets.memory import BatchMemory
from geotoolbox.datasets.samples import Sample, sample_from
from geotoolbox.datasets.shared import in_worker, shared_tensor

if TYPE_CHECKING:
    import torch

    from geotoolbox.datasets.base import GeoDataset

__all__ = ["Slot", "read_batch"]

MOST_THREADS = 8


@dataclass(frozen=True, slots=True)
class Slot:
    """Memory for one sample.

    Attributes:
        image: (C, H, W) float32, or None where there is no image.
        mask: (H, W) int64, or None where there are no labels.
    """

    image: NDArray[np.float32] | None = None
    mask: NDArray[np.int64] | None = None

    def bands(self, start: int, stop: int) -> Slot:
        """Return the slot of some channels, with the mask."""
        return Slot(None if self.image is None else self.image[start:stop], self.mask)


class _Pool:
    """The reading threads of one process, made on first use; a child process makes its own."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._pid, self._pool = 0, None

    def get(self) -> ThreadPoolExecutor:
        if self._pid != os.getpid():
            # Neither the lock nor the threads of a parent mean anything here.
            self._lock, self._pid, self._pool = threading.Lock(), os.getpid(), None
        with self._lock:
            if self._pool is None:
                self._pool = ThreadPoolExecutor(thread_count(), thread_name_prefix="read-batch")
            return self._pool

    _pool: ThreadPoolExecutor | None


_POOL = _Pool()
_MEMORY = BatchMemory()


def thread_count() -> int:
    """Return how many threads read a batch: the processors that this process may use, at most 8."""
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min(MOST_THREADS, usable))


def read_batch(dataset: GeoDataset, queries: Sequence[Query]) -> list[Sample]:
    """Read the samples of a batch.

    Args:
        dataset: What is read.
        queries: The windows, in order.

    Returns:
        As ``[dataset[q] for q in queries]``. Where all windows are of one size, images and masks are parts of
        one tensor each, which :func:`~geotoolbox.sampling.stack_samples` returns as the batch.
    """
    block = _Block.of(dataset, queries)
    pairs = list(zip(queries, block.slots(len(queries)), strict=True))

    def read(some: Sequence[tuple[Query, Slot]]) -> list[Reading]:
        return [dataset.read_into(query, slot) for query, slot in some]

    threads = 1 if in_worker() else min(thread_count(), len(pairs))
    if threads <= 1:
        readings = read(pairs)
    else:
        # Neighbours in the order stay on one thread: what it has decoded serves the next of them.
        ends = [len(pairs) * n // threads for n in range(threads + 1)]
        parts = [pairs[a:b] for a, b in pairwise(ends)]
        readings = [reading for part in _POOL.get().map(read, parts) for reading in part]
    samples = [block.sample(n, r, pairs[n][1]) for n, r in enumerate(readings)]
    return samples if dataset.transforms is None else [dataset.transforms(s) for s in samples]


@dataclass(frozen=True, slots=True)
class _Block:
    """The memory of a batch, as tensors: image (N, C, H, W), mask and valid (N, H, W), where there are such."""

    image: torch.Tensor | None = None
    mask: torch.Tensor | None = None
    valid: torch.Tensor | None = None

    @classmethod
    def of(cls, dataset: GeoDataset, queries: Sequence[Query]) -> _Block:
        """Make the memory; none where the windows differ in size."""
        shapes = {(int(q.geobox.shape[0]), int(q.geobox.shape[1])) for q in queries}
        if len(shapes) > 1 or len(queries) == 1:
            return cls()
        shape, bands = shapes.pop(), len(dataset.bands)
        return cls(
            _memory((len(queries), bands, *shape), "float32") if bands else None,
            _memory((len(queries), *shape), "int64") if dataset.classes is not None else None,
            _memory((len(queries), *shape), "bool"),
        )

    def slots(self, count: int) -> list[Slot]:
        """Return the places of the samples."""
        images = None if self.image is None else self.image.numpy()
        masks = None if self.mask is None else self.mask.numpy()
        return [
            Slot(None if images is None else images[n], None if masks is None else masks[n])
            for n in range(count)
        ]

    def sample(self, number: int, reading: Reading, slot: Slot) -> Sample:
        """Return a sample whose tensors are parts of the block where they were read into it."""
        here = self.image is not None and reading.image is slot.image
        there = self.mask is not None and reading.mask is slot.mask
        sample = sample_from(
            replace(reading, image=None if here else reading.image, mask=None if there else reading.mask)
        )
        if here and self.image is not None:
            sample["image"] = self.image[number]
        if there and self.mask is not None:
            sample["mask"] = self.mask[number]
        if self.valid is not None and reading.valid.shape == tuple(self.valid.shape[1:]):
            # By NumPy: torch would wake all of its threads for so little, and they spin.
            self.valid.numpy()[number] = reading.valid
            sample["valid"] = self.valid[number]
        return sample


def _memory(shape: tuple[int, ...], kind: str) -> torch.Tensor:
    """Return memory for a batch; in a DataLoader's worker, memory that the parent sees as well."""
    import torch

    if not in_worker():
        return torch.from_numpy(_MEMORY.array(shape, kind))
    shared = shared_tensor(shape, getattr(torch, kind))
    if shared is not None:
        return shared
    size = math.prod(shape) * np.dtype(kind).itemsize
    storage = torch.UntypedStorage._new_shared(size)  # as torch's own collation does
    empty: Any = torch.empty(0, dtype=getattr(torch, kind))
    whole: torch.Tensor = empty.set_(storage, 0, shape)
    return whole
