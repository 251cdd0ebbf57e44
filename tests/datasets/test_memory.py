"""Memory of batches is used again only when nobody holds any part of it."""

from __future__ import annotations

import numpy as np
import torch

from geotoolbox.datasets.memory import BatchMemory

SHAPE = (2, 3, 256, 256)


def _place(array: np.ndarray) -> int:
    return int(array.ctypes.data)


def test_a_block_comes_back_when_the_batch_is_gone() -> None:
    memory = BatchMemory()
    first = memory.array(SHAPE, "float32")
    place = _place(first)
    batch = torch.from_numpy(first)
    del first, batch
    again = memory.array((2, 3 * 256 * 256), "float32")
    assert _place(again) == place


def test_whoever_holds_a_part_keeps_the_block() -> None:
    memory = BatchMemory()
    first = memory.array(SHAPE, "float32")
    first[...] = 7
    kept = torch.from_numpy(first)[1, 2].view(-1)[5:]  # a view of a view of a tensor
    del first
    second = memory.array(SHAPE, "float32")
    second[...] = 1
    as_array = kept.numpy()
    del kept
    third = memory.array(SHAPE, "float32")
    third[...] = 2
    assert (as_array == 7).all()
    assert (second == 1).all()


def test_no_more_is_kept_than_allowed() -> None:
    size = 2 * 3 * 256 * 256 * 4
    memory = BatchMemory(most_bytes=2 * size)
    held = [memory.array(SHAPE, "float32") for _ in range(4)]
    places = [_place(a) for a in held]
    assert len(set(places)) == 4
    del held
    found = [memory.array(SHAPE, "float32") for _ in range(3)]
    assert len({_place(a) for a in found[:2]} & set(places[:2])) == 2
    del found
    other = memory.array((1, 2 * size // 4), "float32")  # idle blocks of another size make room
    place = _place(other)
    del other
    assert _place(memory.array((1, 2 * size // 4), "float32")) == place
