"""Training on several processes: each has a part of every batch, and all together do what one would do.

The loss, batch normalisation, dropout and augmentation are those of the whole batch, so the losses of a run are the same to
rounding, however many processes share it. Those that we start meet at a file, and nothing listens beyond this machine;
those that a launcher has started, on several machines too, meet where it says.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import Sampler

from geotoolbox.core.query import Query
from geotoolbox.transforms.augment import Augment

__all__ = [
    "GlobalBatchNorm2d",
    "Rank",
    "RankAugment",
    "RankSampler",
    "from_first",
    "joined",
    "launched",
    "meet",
    "share_batches",
    "total",
]


@dataclass(frozen=True, slots=True)
class Rank:
    """One of the processes that train together: ``number`` (from 0) of ``count``, on so many ``machines``."""

    number: int = 0
    count: int = 1
    machines: int = 1

    @property
    def first(self) -> bool:
        """Whether this is the process that reports and writes."""
        return self.number == 0

    @property
    def per_machine(self) -> int:
        """How many processes each machine has."""
        return self.count // self.machines


def meet(rank: Rank, place: Path, device: str) -> None:
    """Join the processes that meet at a file, and prepare what Lightning asks for.

    Args:
        rank: Which process this is.
        place: A file that does not exist yet, the same for all.
        device: ``cpu`` or ``cuda``.
    """
    loopback = "lo0" if sys.platform == "darwin" else "lo"
    os.environ.update(
        MASTER_ADDR="127.0.0.1", MASTER_PORT="1",  # not used: they have met when Lightning would need them
        GLOO_SOCKET_IFNAME=loopback, NCCL_SOCKET_IFNAME=loopback,
    )  # fmt: skip
    _join(rank, device, place.absolute().as_uri())


def launched() -> Rank:
    """Return which process this is of those that torchrun or Slurm has started for one training.

    They are told by the variables that torchrun sets (``RANK``, ``WORLD_SIZE``, ``LOCAL_WORLD_SIZE``), or by Slurm's
    for ``srun``; ``MASTER_ADDR`` names the machine where they meet.

    Returns:
        ``Rank()`` where nothing of the kind has started this process.
    """
    given = os.environ
    if "MASTER_ADDR" not in given:
        return Rank()
    if "WORLD_SIZE" in given and "RANK" in given:
        count = int(given["WORLD_SIZE"])
        return Rank(int(given["RANK"]), count, count // int(given.get("LOCAL_WORLD_SIZE", "1")))
    if "SLURM_NTASKS" in given and "SLURM_PROCID" in given:
        return Rank(
            int(given["SLURM_PROCID"]), int(given["SLURM_NTASKS"]), int(given.get("SLURM_NNODES", "1"))
        )
    return Rank()


@contextmanager
def joined(rank: Rank, device: str) -> Iterator[None]:
    """Join the processes of :func:`launched` at ``MASTER_ADDR`` and ``MASTER_PORT`` (29500), and part at the end."""
    os.environ.setdefault("MASTER_PORT", "29500")
    _join(rank, device, "env://")
    try:
        yield
    finally:
        dist.destroy_process_group()


def _join(rank: Rank, device: str, place: str) -> None:
    """Meet the others, and tell Lightning what it would else find out by itself."""
    node, local = divmod(rank.number, rank.per_machine)
    facts = {"RANK": rank.number, "LOCAL_RANK": local, "WORLD_SIZE": rank.count, "NODE_RANK": node}
    os.environ.update({name: str(value) for name, value in facts.items()})
    if device == "cuda":
        torch.cuda.set_device(local)
    backend = "nccl" if device == "cuda" else "gloo"
    dist.init_process_group(backend, init_method=place, rank=rank.number, world_size=rank.count)


class _Total(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, value: Tensor) -> Tensor:
        out = value.clone().contiguous()
        dist.all_reduce(out)
        return out

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        out = gradients[0].clone().contiguous()
        dist.all_reduce(out)
        return out


def total(value: Tensor) -> Tensor:
    """Return the sum over all processes; gradients flow back to each."""
    out: Tensor = _Total.apply(value)
    return out


def from_first(value: float) -> float:
    """Return the first process's value, so that clocks do not divide the processes."""
    device = "cuda" if dist.get_backend() == "nccl" else "cpu"
    shared = torch.tensor([value], dtype=torch.float64, device=device)
    dist.broadcast(shared, 0)
    return float(shared)


class RankSampler(Sampler[Query]):
    """The part of each batch that is one process's: all draw the same epoch, none draws another's patch.

    Example:
        >>> list(RankSampler(range(8), batch_size=4, rank=Rank(1, 2)))
        [2, 3, 6, 7]
    """

    def __init__(self, sampler: Any, batch_size: int, rank: Rank) -> None:
        self.sampler, self.batch_size, self.rank = sampler, batch_size, rank

    def set_epoch(self, epoch: int) -> None:
        """Make the next iteration that of ``epoch``."""
        self.sampler.set_epoch(epoch)

    def __len__(self) -> int:
        return len(self.sampler) // self.rank.count

    def __iter__(self) -> Iterator[Query]:
        """Draw the process's part of an epoch."""
        share, drawn = self.batch_size // self.rank.count, iter(self.sampler)
        start = self.rank.number * share
        while batch := list(islice(drawn, self.batch_size)):
            yield from batch[start : start + share]


class RankAugment(Augment):
    """Changes a process's part of a batch as the whole batch would have been changed."""

    def __init__(self, like: Augment, rank: Rank) -> None:
        super().__init__(
            flips=like.flips, scale=like.scale, rotation_deg=like.rotation_deg, brightness=like.brightness,
            contrast=like.contrast, noise=like.noise, probability=like.probability,
        )  # fmt: skip
        self._rank = rank

    def _random(self, count: int) -> Tensor:
        start = self._rank.number * count
        return super()._random(count * self._rank.count)[start : start + count]


class GlobalBatchNorm2d(nn.BatchNorm2d):
    """Batch normalisation over the batches of all processes, on any device."""

    def forward(self, input: Tensor) -> Tensor:
        """Normalise (N, C, H, W)."""
        if not self.training:
            return super().forward(input)
        count = total(input.new_tensor(input.numel() / input.shape[1]))
        mean = total(input.sum(dim=(0, 2, 3))) / count
        centred = input - mean[:, None, None]
        variance = total(centred.square().sum(dim=(0, 2, 3))) / count
        self._follow(mean, variance * count / (count - 1).clamp_min(1))
        out = centred * torch.rsqrt(variance + self.eps)[:, None, None]
        return out if self.weight is None else out * self.weight[:, None, None] + self.bias[:, None, None]

    @torch.no_grad()
    def _follow(self, mean: Tensor, variance: Tensor) -> None:
        if self.running_mean is None or self.running_var is None or self.num_batches_tracked is None:
            return
        self.num_batches_tracked += 1
        share = self.momentum if self.momentum is not None else 1 / float(self.num_batches_tracked)
        self.running_mean.lerp_(mean, share)
        self.running_var.lerp_(variance, share)


class RankDropout(nn.Module):
    """Leaves out of a process's part what would have been left out of the whole batch.

    Args:
        like: ``nn.Dropout`` or ``nn.Dropout2d``.
        rank: Which part.
    """

    def __init__(self, like: nn.Dropout | nn.Dropout2d, rank: Rank) -> None:
        super().__init__()
        self._share, self._channels, self._rank = like.p, isinstance(like, nn.Dropout2d), rank

    def forward(self, x: Tensor) -> Tensor:
        """Leave values, or whole channels, out of (N, C, …)."""
        if not self.training:
            return x
        rest = [1] * (x.ndim - 2) if self._channels else x.shape[2:]
        whole = x.new_ones(len(x) * self._rank.count, x.shape[1], *rest)
        kept = F.dropout2d(whole, self._share) if self._channels else F.dropout(whole, self._share)
        start = self._rank.number * len(x)
        return x * kept[start : start + len(x)]


def share_batches(network: nn.Module, rank: Rank) -> None:
    """Make what looks at a whole batch in a network look at the parts of all processes."""
    for module in list(network.modules()):
        for name, child in module.named_children():
            if type(child) is nn.BatchNorm2d:
                new: nn.Module = GlobalBatchNorm2d(
                    child.num_features, child.eps, child.momentum, child.affine, child.track_running_stats
                )
                new.load_state_dict(child.state_dict())
            elif isinstance(child, nn.Dropout | nn.Dropout2d):
                new = RankDropout(child, rank)
            else:
                continue
            setattr(module, name, new.train(child.training))
