"""Batches from workers lie in memory that is used again, and only when nobody holds any part of them."""

from __future__ import annotations

import gc
import multiprocessing
import os
import pickle
import signal
import time
from collections.abc import Iterator, Sequence
from multiprocessing.reduction import ForkingPickler
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader, Dataset, IterableDataset

from geotoolbox.datasets import shared
from geotoolbox.datasets.blocks import Part
from geotoolbox.datasets.shared import SharedMemory, shared_tensor
from geotoolbox.errors import CannotRead
from geotoolbox.sampling import stack_samples

pytestmark = pytest.mark.skipif(not hasattr(os, "memfd_create"), reason="blocks are made by Linux's memfd")

SIDE = 96
BATCH = 8


def _image(number: int) -> torch.Tensor:
    return torch.arange(3 * SIDE * SIDE, dtype=torch.float32).view(3, SIDE, SIDE) + 1000 * number


def _mask(number: int) -> torch.Tensor:
    return torch.full((SIDE, SIDE), number, dtype=torch.int64)


class Numbers(Dataset[dict[str, Any]]):
    """Samples whose values tell their number; a batch is read into one block, as GeoToolbox's datasets do."""

    def __init__(self, length: int = 64) -> None:
        self.length = length

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, number: int) -> dict[str, Any]:
        return {
            "image": _image(number),
            "mask": _mask(number),
            "number": torch.tensor(number),
            "name": str(number),
        }

    def __getitems__(self, numbers: Sequence[int]) -> list[dict[str, Any]]:
        samples = [self[n] for n in numbers]
        block = shared_tensor((len(numbers), 3, SIDE, SIDE), torch.float32)
        for place, sample in enumerate(samples):
            if block is not None:
                block[place] = sample["image"]
                sample["image"] = block[place]
        return samples


class Stream(IterableDataset[dict[str, Any]]):
    """The same in a stream; its workers end before the loader has all of their batches."""

    def __iter__(self) -> Iterator[dict[str, Any]]:
        info = torch.utils.data.get_worker_info()
        assert info is not None
        yield from (Numbers()[n] for n in range(info.id, 40, info.num_workers))


def _pairs(samples: Sequence[dict[str, Any]]) -> tuple[torch.Tensor, list[torch.Tensor], torch.Tensor]:
    batch = stack_samples(samples)
    return batch["number"], list(batch["image"]), batch["image"].permute(0, 2, 3, 1)[:, 1::2, :, ::2]


def _loader(data: Dataset[Any], method: str = "fork", **options: Any) -> DataLoader[Any]:
    more = {"batch_size": BATCH, "num_workers": 2, "collate_fn": stack_samples, **options}
    return DataLoader(data, multiprocessing_context=multiprocessing.get_context(method), **more)


def _is_right(batch: dict[str, Any]) -> bool:
    numbers = batch["number"].tolist()
    return (
        torch.equal(batch["image"], torch.stack([_image(n) for n in numbers]))
        and torch.equal(batch["mask"], torch.stack([_mask(n) for n in numbers]))
        and batch["name"] == [str(n) for n in numbers]
    )


def _mapped_blocks() -> list[str]:
    return [line for line in Path("/proc/self/maps").read_text().splitlines() if "memfd:batch" in line]


def _shared_mb() -> float:
    status = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in status if line.startswith("RssShmem")) / 1024


def _soon(question: Any) -> bool:
    """Ask for ten seconds: another process may take its time to end."""
    end = time.monotonic() + 10
    while not question() and time.monotonic() < end:
        time.sleep(0.02)
    return bool(question())


@pytest.mark.parametrize("method", ["fork", "forkserver", "spawn"])
def test_all_batches_of_two_epochs_held_at_once_are_right(method: str) -> None:
    loader = _loader(Numbers(68), method, persistent_workers=True, prefetch_factor=3)
    held = [batch for _ in range(2) for batch in loader]
    assert [n for batch in held for n in batch["number"].tolist()] == [*range(68)] * 2
    assert all(type(batch) is dict and _is_right(batch) for batch in held)
    assert len(_mapped_blocks()) > 20, "they came in blocks"


def test_blocks_are_used_again_while_batches_are_let_go() -> None:
    places = set()
    for batch in _loader(Numbers(400)):
        assert _is_right(batch)
        places.add(batch["image"].data_ptr())
    assert len(places) < 20, "of 50 batches"


def test_parts_views_and_arrays_of_a_batch_keep_its_block() -> None:
    held: list[tuple[int, Any]] = []
    for number, batch in enumerate(_loader(Numbers(160))):
        image, first = batch["image"], int(batch["number"][0])
        kinds = (
            image[2:3, 1],
            image.numpy()[2:3, 1],
            image.flatten()[2 * 3 * SIDE**2 :],
            image.untyped_storage(),
        )
        held.append((first, kinds[number % 4]))
        del batch, image, kinds
    gc.collect()
    for number, (first, part) in enumerate(held):
        there = part
        if number % 4 == 3:
            there = torch.tensor(part, dtype=torch.uint8).view(torch.float32).view(-1, 3, SIDE, SIDE)[2:3, 1]
        elif number % 4 == 2:
            there = part.view(-1, 3, SIDE, SIDE)[:1, 1]
        assert np.array_equal(np.asarray(there), _image(first + 2)[1:2].numpy())


def test_the_parent_may_write_into_what_it_received() -> None:
    held = []
    for batch in _loader(Numbers(120), persistent_workers=True):
        assert _is_right(batch)
        batch["image"].mul_(-1)
        held = [*held, batch][-3:]
        assert all(torch.equal(-b["image"][0], _image(int(b["number"][0]))) for b in held)


def test_tuples_lists_and_strided_tensors_are_right() -> None:
    held = list(_loader(Numbers(), collate_fn=_pairs))
    assert len(held) == 8
    for numbers, images, steps in held:
        truth = torch.stack([_image(n) for n in numbers.tolist()])
        assert torch.equal(torch.stack(images), truth)
        assert torch.equal(steps, truth.permute(0, 2, 3, 1)[:, 1::2, :, ::2])


def test_two_tensors_of_one_memory_share_it_in_the_parent_too() -> None:
    images = {
        numbers[0].item(): (images, steps) for numbers, images, steps in _loader(Numbers(), collate_fn=_pairs)
    }
    images[56][0][0][:] = -1
    assert images[56][1][0].max() == -1


def test_samples_that_were_not_read_together_are_right() -> None:
    held = list(_loader(Stream()))
    assert sorted(n for batch in held for n in batch["number"].tolist()) == [*range(40)]
    assert all(map(_is_right, held))


def test_stopped_early_and_begun_again() -> None:
    loader = _loader(Numbers(160), persistent_workers=True)
    held = []
    for stop in (1, 3, 20):
        for number, batch in enumerate(loader):
            held.append(batch)
            if number == stop:
                break
    assert len(held) == 26
    assert all(map(_is_right, held))


def test_a_worker_that_is_killed_takes_nothing_along() -> None:
    iterator = iter(_loader(Numbers(4000)))
    held = [next(iterator) for _ in range(12)]
    # Torch's handler of the signal may be first.
    with pytest.raises(RuntimeError, match=r"exited unexpectedly|killed by signal"):
        os.kill(iterator._workers[0].pid, signal.SIGKILL)  # type: ignore[attr-defined]
        for _ in iterator:
            pass
    del iterator
    assert all(map(_is_right, held))


def test_a_process_forked_from_the_parent_sees_what_it_saw() -> None:
    batches = iter(_loader(Numbers(400)))
    for _ in range(8):
        batch = next(batches)
    go, answer = multiprocessing.Pipe()
    child = multiprocessing.get_context("fork").Process(target=_look_later, args=(batch, answer))
    child.start()
    del batch
    assert all(map(_is_right, batches))
    go.send("look")
    assert go.recv() is True
    child.join()


def _look_later(batch: dict[str, Any], answer: Any) -> None:
    answer.recv()
    answer.send(_is_right(batch))


def test_a_process_forked_from_the_parent_gives_nothing_back() -> None:
    batches = iter(_loader(Numbers(400)))
    for _ in range(8):
        batch = next(batches)
    child = os.fork()
    if child == 0:
        del batch
        os._exit(0)
    os.waitpid(child, 0)
    assert all(map(_is_right, batches))
    assert _is_right(batch)


def test_what_was_received_may_be_sent_on() -> None:
    context = multiprocessing.get_context("fork")
    ours, theirs = context.SimpleQueue(), context.SimpleQueue()
    child = context.Process(target=_judge, args=(ours, theirs))
    child.start()
    arrays = []
    for batch in _loader(Numbers(160)):
        arrays.append((int(batch["number"][0]), batch["image"].numpy()))
        ours.put(batch)
        assert theirs.get() is True
        assert _is_right(batch)
    ours.put(None)
    child.join()
    del batch
    assert all(np.array_equal(array[0], _image(first)) for first, array in arrays)


def _judge(ours: Any, theirs: Any) -> None:
    while (batch := ours.get()) is not None:
        theirs.put(_is_right(batch))


def test_the_thread_that_pins_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """Torch's own thread, with a copy in place of the pinning that needs a device."""
    copied = []

    def pin(tensor: torch.Tensor) -> torch.Tensor:
        copied.append(tensor.data_ptr())
        return tensor.clone()

    monkeypatch.setattr(torch.accelerator, "is_available", lambda: True)
    monkeypatch.setattr(torch.accelerator, "current_accelerator", lambda *_, **__: torch.device("cpu"))
    monkeypatch.setattr(torch.accelerator, "current_device_index", lambda: 0)
    monkeypatch.setattr(torch.accelerator, "set_device_index", lambda _: None)
    monkeypatch.setattr(torch.Tensor, "pin_memory", pin)
    loader = _loader(Numbers(400), persistent_workers=True, pin_memory=True)
    for _ in range(2):
        assert [_is_right(batch) for batch in loader] == [True] * 50
    assert len(copied) == 300, "image, mask and number of each batch"
    assert len(set(copied)) < 100


def test_epochs_of_new_workers_leave_no_files_and_no_memory() -> None:
    def epoch() -> None:
        assert all(map(_is_right, _loader(Numbers(160))))

    epoch()
    gc.collect()
    files, blocks, memory = len(os.listdir("/proc/self/fd")), len(_mapped_blocks()), _shared_mb()
    for _ in range(6):
        epoch()
    gc.collect()
    assert len(os.listdir("/proc/self/fd")) <= files + 2
    assert len(_mapped_blocks()) <= blocks + 10, "those of dead workers are dropped"
    assert _soon(lambda: _shared_mb() < memory + 4), "MB: a batch has 1.5"


def test_the_memory_of_workers_that_ended_is_free_at_once() -> None:
    shared._RECEIVED._maps.clear()
    gc.collect()
    before = _shared_mb()
    assert all(map(_is_right, _loader(Numbers(160))))
    gc.collect()
    assert _soon(lambda: _shared_mb() < before + 4), "MB, of some 12"


def test_memory_is_let_go_when_the_last_batch_is() -> None:
    gc.collect()
    before = _shared_mb()
    held = list(_loader(Numbers(160)))
    assert all(map(_is_right, held))
    assert _shared_mb() > before + 20
    held.clear()
    assert _soon(lambda: _shared_mb() < before + 4)


def test_workers_hold_few_files_however_long_they_run() -> None:
    loader = _loader(Numbers(800), persistent_workers=True)
    most = []
    for _ in range(3):
        iterator = iter(loader)
        seen = 0
        for number, _ in enumerate(iterator):
            if number % 10 == 9:
                pids = [w.pid for w in iterator._workers]  # type: ignore[attr-defined]
                seen = max(seen, *(_blocks_of(pid) for pid in pids))
        most.append(seen)
    assert 0 < most[2] <= most[0] + 3 <= 24


def _blocks_of(pid: int) -> int:
    links = (os.readlink(path) for path in Path(f"/proc/{pid}/fd").iterdir())
    return sum("memfd:batch" in link for link in links)


def test_where_the_parent_cannot_open_blocks_torch_carries_the_batches(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refuse(part: Part) -> None:
        raise CannotRead("not here")

    before = len(_mapped_blocks())
    monkeypatch.setattr(shared, "_parent_may_open", lambda: False)  # forked workers have it so as well
    monkeypatch.setattr(shared, "opened", refuse)
    held = list(_loader(Numbers(160)))
    assert len(held) == 20
    assert all(map(_is_right, held))
    assert len(_mapped_blocks()) <= before


def test_a_parent_that_shows_that_it_can_open_blocks_gets_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shared, "_parent_may_open", lambda: False)
    shared._RECEIVED._maps.clear()
    gc.collect()
    before = len(_mapped_blocks())
    held = list(_loader(Numbers(160)))
    assert all(map(_is_right, held))
    assert [batch["image"].is_shared() for batch in held[:2]] == [True, True], "the first go torch's way"
    assert len(_mapped_blocks()) > before + 30


@pytest.mark.parametrize("method", ["fork", "forkserver", "spawn"])
def test_the_first_batch_needs_no_torch_memory_either(method: str) -> None:
    batch = next(iter(_loader(Numbers(), method, num_workers=1)))
    assert _is_right(batch)
    assert not batch["image"].is_shared() and not batch["number"].is_shared()


@pytest.mark.parametrize("missing", ["memfd_create", "posix_fallocate"])
def test_where_the_system_gives_no_blocks_torch_carries_the_batches(
    monkeypatch: pytest.MonkeyPatch, missing: str
) -> None:
    def refuse(*_: object) -> None:
        raise OSError("not here")

    if missing == "memfd_create":
        monkeypatch.delattr(os, missing)
    else:
        monkeypatch.setattr(os, missing, refuse)
    held = list(_loader(Numbers()))
    assert len(held) == 8
    assert all(map(_is_right, held))


# In one process, which sends to itself.


@pytest.fixture
def memory() -> SharedMemory:
    memory = SharedMemory(most_bytes=3 * 4096 * 4)
    return _greeted(memory)


def _greeted(memory: SharedMemory) -> SharedMemory:
    assert memory.tensor((4,), torch.uint8) is None, "before a greeting was received"
    greeting = memory.greeting()
    assert greeting is not None
    shared._RECEIVED.tensor(greeting)
    return memory


def _fresh(memory: SharedMemory, value: int, shape: tuple[int, ...] = (4096,)) -> torch.Tensor:
    tensor = memory.tensor(shape, torch.int32)
    assert tensor is not None
    return tensor.fill_(value)


def _sent(memory: SharedMemory, tensor: torch.Tensor) -> Part:
    part = memory.part(tensor)
    assert part is not None
    return part


def test_a_block_is_used_again_only_when_both_have_let_go(memory: SharedMemory) -> None:
    tensor = _fresh(memory, 1)
    place, part = tensor.data_ptr(), _sent(memory, tensor)
    received = shared._RECEIVED.tensor(part)
    del received
    assert _fresh(memory, 2).data_ptr() != place, "the sender has it"
    part = _sent(memory, tensor)
    del tensor
    assert _fresh(memory, 2).data_ptr() != place, "it is on its way"
    received = shared._RECEIVED.tensor(part)[5:6]
    assert _fresh(memory, 2).data_ptr() != place, "the receiver has a part"
    assert received.item() == 1
    del received
    assert {_fresh(memory, 2).data_ptr(), *(t.data_ptr() for t in [_fresh(memory, 2) for _ in range(3)])} >= {
        place
    }


def test_two_parts_of_a_block_are_waited_for(memory: SharedMemory) -> None:
    tensor = _fresh(memory, 1)
    place = tensor.data_ptr()
    one, two = (shared._RECEIVED.tensor(_sent(memory, t)) for t in (tensor[:9], tensor[7:]))
    del tensor, one
    assert _fresh(memory, 2).data_ptr() != place
    assert (two == 1).all() and len(two) == 4089


def test_a_message_serves_once(memory: SharedMemory) -> None:
    tensor = _fresh(memory, 1)
    part = _sent(memory, tensor)
    received = shared._RECEIVED.tensor(part)
    with pytest.raises(CannotRead, match="twice"):
        shared._RECEIVED.tensor(part)
    del received, tensor
    again = _fresh(memory, 2)
    _sent(memory, again)
    with pytest.raises(CannotRead):  # of the block's time before
        shared._RECEIVED.tensor(part)


def test_the_block_of_a_process_that_ended_is_refused_clearly(memory: SharedMemory) -> None:
    part = _sent(memory, _fresh(memory, 1))
    child = os.fork()
    if child == 0:
        os._exit(0)
    os.waitpid(child, 0)
    gone = Part(child, part.fd, *(getattr(part, n) for n in list(Part.__dataclass_fields__)[2:]))
    other = Part(os.getpid(), 0, *(getattr(part, n) for n in list(Part.__dataclass_fields__)[2:]))
    for wrong in (gone, other):
        with pytest.raises(CannotRead, match=rf"process {wrong.pid}.*before the worker ends"):
            shared._RECEIVED.tensor(wrong)


def test_no_more_is_kept_than_allowed_and_what_others_hold_stays(memory: SharedMemory) -> None:
    received, files = [], len(os.listdir("/proc/self/fd"))
    for value in range(20):
        tensor = _fresh(memory, value)
        received.append(shared._RECEIVED.tensor(_sent(memory, tensor)))
    assert len(os.listdir("/proc/self/fd")) <= files + 3, "three blocks are allowed"
    assert [set(t.tolist()) for t in received] == [{value} for value in range(20)]
    before = len(_mapped_blocks())
    received.clear()
    assert len(_mapped_blocks()) <= before - 16


def test_what_is_on_its_way_stays_however_much_it_is(memory: SharedMemory) -> None:
    parts = [_sent(memory, _fresh(memory, value)) for value in range(9)]
    received = [shared._RECEIVED.tensor(part) for part in parts]
    assert [set(t.tolist()) for t in received] == [{value} for value in range(9)]
    waiting = [_sent(memory, _fresh(memory, 1)) for _ in range(13)]
    assert memory.tensor((4096,), torch.int32) is None, "nobody opens them"
    for part in waiting:
        shared._RECEIVED.tensor(part)
    assert memory.tensor((4096,), torch.int32) is not None


def test_idle_blocks_of_other_sizes_make_room_and_give_their_memory_back() -> None:
    size = 2**20
    memory = _greeted(SharedMemory(most_bytes=3 * 4 * size))
    several = [_fresh(memory, 1, (size,)) for _ in range(3)]
    for tensor in several:
        assert (shared._RECEIVED.tensor(_sent(memory, tensor)) == 1).all()
    del several, tensor
    before, files = _shared_mb(), len(os.listdir("/proc/self/fd"))
    small, large = _fresh(memory, 3, (1024,)), _fresh(memory, 3, (2 * size,))
    assert len(os.listdir("/proc/self/fd")) <= files - 1
    assert _shared_mb() < before - 12, "MB: three blocks of 4, mapped twice, are gone, and one of 8 has come"
    assert small.sum() + large[:7].sum() == 3 * 1031


def test_more_parts_than_a_block_counts_go_torchs_way(memory: SharedMemory) -> None:
    tensor = _fresh(memory, 1)
    parts = [memory.part(tensor[n : n + 1]) for n in range(4090)]
    assert parts[4000] is not None and parts[-1] is None


def test_tensors_of_all_kinds_arrive_as_they_are() -> None:
    memory = _greeted(SharedMemory())
    for dtype in (torch.bool, torch.uint8, torch.int16, torch.bfloat16, torch.float64, torch.complex64):
        tensor = memory.tensor((5, 7, 3), dtype)
        assert tensor is not None
        tensor.copy_(torch.arange(105).view(5, 7, 3))
        for view in (
            tensor,
            tensor[2, 3, 1],
            tensor[1:, ::3],
            tensor.permute(2, 0, 1),
            tensor[:, :1].expand(5, 4, 3),
        ):
            found = shared._RECEIVED.tensor(_sent(memory, view))
            assert found.dtype == dtype and found.stride() == view.stride()
            assert torch.equal(found, view)


def test_what_torch_sends_is_sent_as_before() -> None:
    shared._register()
    plain, leaf = torch.arange(5), torch.ones(3, requires_grad=True)
    for tensor in (plain, leaf, torch.empty(0, 3), torch.ones(2, dtype=torch.complex64).conj()):
        found = pickle.loads(ForkingPickler.dumps(tensor))
        assert torch.equal(found, tensor) and found.requires_grad == tensor.requires_grad
    assert plain.is_shared()
