"""Starting the processes of a training, hearing of the first one's progress, and ending all when one dies."""

from __future__ import annotations

import logging
import multiprocessing as mp
import queue
import tempfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist

from geotoolbox.core.events import SILENT, Event, Reporter
from geotoolbox.errors import Cancelled, ModelFailed, explain
from geotoolbox.trainers.ranks import Rank, meet

__all__ = ["launch"]

Work = Callable[[Rank, Reporter], None]
_POLL_S = 0.2


def launch(work: Work, processes: int, device: str, reporter: Reporter) -> None:
    """Run ``work`` in several processes of this machine that train together.

    Args:
        work: A function (or bound method) that can be sent to a process; is called with its rank, and with a
            reporter that passes on what the first process says.
        processes: How many.
        device: ``cpu``, or ``cuda`` (a GPU for each).
        reporter: Hears of it, and can cancel.

    Raises:
        Cancelled: When the reporter asks to stop; checkpoints stay.
        ModelFailed: When a process dies.
        Exception: What a process raised.
    """
    forks = "forkserver" in mp.get_all_start_methods()
    context: Any = mp.get_context("forkserver" if forks else "spawn")
    if forks:
        context.set_forkserver_preload(["geotoolbox.trainers.training"])
    events: Any = context.Queue()
    threads = max(1, torch.get_num_threads() // processes)
    with tempfile.TemporaryDirectory(prefix="geotoolbox-") as folder:
        place = Path(folder) / "meeting"
        team = [
            context.Process(
                target=_run,
                args=(work, Rank(number, processes), (place, device, threads), events),
            )
            for number in range(processes)
        ]
        try:
            for process in team:
                process.start()
            _follow(team, events, reporter)
        finally:
            for process in team:
                if process.is_alive():
                    process.kill()
                process.join()


def _follow(team: list[Any], events: Any, reporter: Reporter) -> None:
    """Pass events on until all processes have ended well."""
    left = len(team)
    while left:
        if reporter.cancelled:
            raise Cancelled("cancelled: finished work is kept; run the same command to go on.")
        found = _next(events)
        if isinstance(found, BaseException):
            raise found
        if found == "done":
            left -= 1
        elif found is not None:
            reporter.emit(found)
        elif any(process.exitcode not in (None, 0) for process in team):
            found = _next(events)  # its last words may still be on their way
            if isinstance(found, BaseException):
                raise found
            codes = ", ".join(str(process.exitcode) for process in team if process.exitcode)
            raise ModelFailed(
                explain(
                    "a process of the training died",
                    got=f"exit code {codes}",
                    fix="most likely the memory was full: use fewer processes or a smaller batch, then start again "
                    "(training goes on from the last checkpoint)",
                )
            )


def _next(events: Any) -> Any:
    with suppress(queue.Empty):
        return events.get(timeout=_POLL_S)
    return None


class _Passing:
    """Passes events to the process that started the training."""

    cancelled = False  # it ends us when it is cancelled

    def __init__(self, events: Any) -> None:
        self._events = events

    def emit(self, event: Event) -> None:
        self._events.put(event)


def _run(work: Work, rank: Rank, facts: tuple[Path, str, int], events: Any) -> None:
    """Be one of the processes."""
    place, device, threads = facts
    torch.set_num_threads(threads)
    if not rank.first:
        logging.disable(logging.WARNING)  # the first one says it
    try:
        meet(rank, place, device)
        work(rank, _Passing(events) if rank.first else SILENT)
        dist.destroy_process_group()
        events.put("done")
    except Exception as error:
        error.__cause__ = error.__context__ = None
        with suppress(Exception):
            events.put(error)
        raise
    finally:
        events.close()
        events.join_thread()
