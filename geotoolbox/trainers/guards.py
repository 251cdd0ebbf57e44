"""What Lightning and torch say around a training, made quiet or made clear."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

from geotoolbox.errors import Cancelled, TooLarge, explain

__all__ = ["named_workers", "quiet"]


@contextmanager
def quiet() -> Iterator[None]:
    """Keep Lightning's tips and device tables off the terminal."""
    loggers = [logging.getLogger(n) for n in ("lightning.pytorch", "lightning.fabric")]
    levels = [one.level for one in loggers]
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module="lightning.*")
        for one in loggers:
            one.setLevel(logging.ERROR)
        try:
            yield
        finally:
            for one, level in zip(loggers, levels, strict=True):
                one.setLevel(level)


@contextmanager
def named_workers() -> Iterator[None]:
    """Turn torch's word on a dead reading process into one that helps (R04)."""
    try:
        yield
    except RuntimeError as error:
        if "DataLoader worker" not in str(error) or isinstance(error, Cancelled):
            raise
        raise TooLarge(
            explain(
                "a process that reads patches was killed",
                got=str(error).splitlines()[0],
                fix="most likely the memory was full: use fewer workers or smaller patches, then start again "
                "(training goes on from the last checkpoint)",
            )
        ) from error
