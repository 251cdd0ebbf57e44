"""Where a network runs: the device that is asked for, if this machine has it."""

from __future__ import annotations

import torch

from geotoolbox.errors import BadInput, explain

__all__ = ["find_device"]


def find_device(name: str, *, best: tuple[str, ...] = ("cuda", "mps")) -> str:
    """Return the device to use.

    Args:
        name: ``cpu``, ``cuda``, ``mps``, or ``auto``: the first of ``best`` that is there, else the processor.
        best: What ``auto`` looks for.

    Raises:
        BadInput: When this machine, or this PyTorch, does not have the device.

    Example:
        >>> find_device("cpu")
        'cpu'
    """
    there = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if name == "auto":
        return next((d for d in best if there[d]), "cpu")
    if not there.get(name, False):
        raise BadInput(
            explain(
                "this machine has no such device",
                got=name,
                expected=f"one of {', '.join(d for d, is_there in there.items() if is_there)}, or auto",
                fix="'geotoolbox check' tells what PyTorch finds; leave the device out to take the best one",
            )
        )
    return name
