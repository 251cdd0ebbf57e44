"""From samples to batches and back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch

from geotoolbox.core.classes import IGNORE_INDEX
from geotoolbox.datasets.shared import shared_tensor
from geotoolbox.errors import BadInput, explain

__all__ = ["concat_samples", "merge_samples", "stack_samples", "unbind_samples"]

Sample = dict[str, Any]


def stack_samples(samples: Sequence[Mapping[str, Any]]) -> Sample:
    """Stack samples to a batch: tensors along a new first axis, the rest as lists.

    Samples that were read together (``dataset.__getitems__``, as a ``DataLoader`` does) are already parts of one
    block of memory: the batch is that block, not a copy.

    Raises:
        BadInput: When the samples differ in keys or in the shape of a tensor; the message names both.

    Example:
        >>> batch = stack_samples([{"image": torch.zeros(3, 2, 2), "crs": "EPSG:32612"}] * 2)
        >>> tuple(batch["image"].shape), batch["crs"]
        ((2, 3, 2, 2), ['EPSG:32612', 'EPSG:32612'])
    """
    keys = _same_keys(samples)
    return {key: _stack(key, [s[key] for s in samples]) for key in keys}


def unbind_samples(batch: Mapping[str, Any]) -> list[Sample]:
    """Take a batch apart again: the inverse of :func:`stack_samples`."""
    sizes = {key: len(value) for key, value in batch.items()}
    if len(set(sizes.values())) > 1:
        raise BadInput(explain("the parts of a batch differ in length", got=sizes))
    count = next(iter(sizes.values()), 0)
    return [{key: value[i] for key, value in batch.items()} for i in range(count)]


def concat_samples(samples: Sequence[Mapping[str, Any]]) -> Sample:
    """Join samples of one place: image channels one after another, valid where all are valid.

    The mask and the georeference are those of the first sample that has them.
    """
    if not samples:
        raise BadInput(explain("no samples to join", expected="at least one"))
    out: Sample = {}
    for sample in samples:
        for key, value in sample.items():
            if key not in out:
                out[key] = value
            elif key == "image":
                _same_shape(key, out[key].shape[-2:], value.shape[-2:])
                out[key] = torch.cat([out[key], value], dim=-3)
            elif key == "valid":
                _same_shape(key, out[key].shape, value.shape)
                out[key] = out[key] & value
    return out


def merge_samples(samples: Sequence[Mapping[str, Any]]) -> Sample:
    """Lay samples of one place over each other: per pixel, the first that is valid wins."""
    if not samples:
        raise BadInput(explain("no samples to merge", expected="at least one"))
    out: Sample = dict(samples[0])
    for sample in samples[1:]:
        if "valid" in out and "valid" in sample:
            _merge_valid(out, sample)
        if "mask" in out and "mask" in sample:
            _same_shape("mask", out["mask"].shape, sample["mask"].shape)
            out["mask"] = torch.where(out["mask"] == IGNORE_INDEX, sample["mask"], out["mask"])
        for key in sample.keys() - out.keys():
            out[key] = sample[key]
    return out


def _merge_valid(out: Sample, sample: Mapping[str, Any]) -> None:
    first = out["valid"]
    _same_shape("valid", first.shape, sample["valid"].shape)
    if "image" in out and "image" in sample:
        _same_shape("image", out["image"].shape, sample["image"].shape)
        out["image"] = torch.where(first.unsqueeze(-3), out["image"], sample["image"])
    out["valid"] = first | sample["valid"]


def _same_keys(samples: Sequence[Mapping[str, Any]]) -> list[str]:
    if not samples:
        raise BadInput(explain("no samples to stack", expected="at least one"))
    first = samples[0].keys()
    for number, sample in enumerate(samples):
        if sample.keys() != first:
            raise BadInput(
                explain(
                    "samples of one batch have different keys",
                    where=f"sample {number}",
                    got=sorted(sample),
                    expected=sorted(first),
                )
            )
    return list(first)


def _stack(key: str, values: list[Any]) -> Any:
    if not isinstance(values[0], torch.Tensor):
        return values
    shapes = sorted({tuple(v.shape) for v in values})
    if len(shapes) > 1:
        raise BadInput(
            explain(
                "samples of one batch have different shapes",
                where=key,
                got=" and ".join(map(str, shapes)),
                fix="use a sampler with one size for all scenes, or batch_size=1",
            )
        )
    return _one_memory(values) if len(values) > 1 else _copied(values)


def _one_memory(values: list[torch.Tensor]) -> torch.Tensor:
    """Stack tensors; without a copy where they lie one after the other in one block of memory, as read_batch has it."""
    first = values[0]
    size, start, block = first.numel(), first.storage_offset(), first.untyped_storage().data_ptr()
    for number, value in enumerate(values):
        together = value.untyped_storage().data_ptr() == block and value.dtype == first.dtype
        if not (together and value.is_contiguous() and value.storage_offset() == start + number * size):
            return _copied(values)
    if size == 0:
        return _copied(values)
    return first.as_strided((len(values), *first.shape), (size, *first.stride()), start)


def _copied(values: list[torch.Tensor]) -> torch.Tensor:
    """Stack tensors into new memory; in a worker, into memory that the parent has mapped already."""
    first = values[0]
    plain = all(v.device.type == "cpu" and v.dtype == first.dtype and not v.requires_grad for v in values)
    shared = shared_tensor((len(values), *first.shape), first.dtype) if plain else None
    return torch.stack(values) if shared is None else torch.stack(values, out=shared)


def _same_shape(key: str, one: Sequence[int], two: Sequence[int]) -> None:
    if tuple(one) != tuple(two):
        raise BadInput(
            explain("samples of one place differ in shape", where=key, got=tuple(two), expected=tuple(one))
        )
