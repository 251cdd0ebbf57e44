"""Work on the processes of a Dask cluster: one that is there, or one of our own that nobody else can reach."""

from __future__ import annotations

import multiprocessing
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from itertools import islice
from typing import Any, TypeVar

from geotoolbox.core.events import SILENT, Reporter, check_cancelled
from geotoolbox.errors import BadInput, CannotRead, TooLarge, explain

__all__ = ["Cluster", "Watch", "connected", "map_on", "slots", "unchained", "was_killed"]

Item = TypeVar("Item")
Result = TypeVar("Result")

LOOPBACK = "127.0.0.1"
CONNECT_S = 30.0
POLL_S = 1.0
NO_WORKER_S = 120.0
"""A cluster that has had no worker for so long is given up, in seconds."""


@dataclass(frozen=True, slots=True)
class Cluster:
    """Which cluster works.

    Attributes:
        scheduler: The address of a scheduler (``tcp://host:8786``, ``tls://…``); None starts a cluster of
            our own on this machine, which listens on the loopback interface only.
        workers: Worker processes of our own cluster.
    """

    scheduler: str | None = None
    workers: int = 2

    def __post_init__(self) -> None:
        if not 1 <= self.workers <= 1024:
            raise BadInput(explain("workers", got=self.workers, expected="1 to 1024"))


@contextmanager
def connected(cluster: Cluster, preload: Sequence[str] = ()) -> Iterator[Any]:
    """Give a ``distributed.Client`` of the cluster; one that we started ends with the body.

    Args:
        cluster: Which.
        preload: Modules that workers need, so that one which takes a dead one's place starts at once.

    Raises:
        BadInput: When Dask is not installed.
        CannotRead: When no scheduler answers at the address.
    """
    try:
        from distributed import Client, LocalCluster
    except ImportError as error:
        raise BadInput(
            explain("Dask is not installed", got=str(error), fix="install it: pip install distributed")
        ) from error
    if cluster.scheduler is None:
        # dashboard_address=None would put the dashboard on port 8787, ":0" on every interface.
        with (
            _quick_starts(preload),
            LocalCluster(
                n_workers=cluster.workers,
                threads_per_worker=1,
                processes=True,
                host=LOOPBACK,
                dashboard_address=f"{LOOPBACK}:0",
                memory_limit=0,
                silence_logs=50,
            ) as own,
            Client(own, set_as_default=False) as client,
        ):
            yield client
        return
    try:
        client = Client(cluster.scheduler, timeout=CONNECT_S, set_as_default=False)
    except (OSError, ValueError, TimeoutError) as error:
        raise CannotRead(
            explain(
                "no Dask scheduler answers",
                where=cluster.scheduler,
                got=str(error) or type(error).__name__,
                expected="an address such as tcp://host:8786",
                fix="start one with 'dask scheduler', or leave the address out",
            )
        ) from error
    with client:
        yield client


@contextmanager
def _quick_starts(preload: Sequence[str]) -> Iterator[None]:
    """Let workers fork from a server that has imported what they need, where the system can do that."""
    import dask

    settings = {"distributed.comm.timeouts.connect": "120s", "distributed.comm.timeouts.tcp": "120s"}
    forks = "forkserver" in multiprocessing.get_all_start_methods()
    if forks:
        settings["distributed.worker.multiprocessing-method"] = "forkserver"
    with dask.config.set(settings):
        from distributed.utils import get_mp_context

        if forks:
            get_mp_context().set_forkserver_preload(["distributed", *preload])
        yield


def slots(client: Any) -> int:
    """Return how many tasks the cluster's workers run at once."""
    return sum(client.nthreads().values())


def was_killed(error: BaseException) -> bool:
    """Tell whether a task failed because its workers died, its own fault or not."""
    return type(error).__name__ == "KilledWorker"


class Watch:
    """Waits for tasks, hears of cancelling, and gives up a cluster that has no workers left.

    Args:
        client: The client.
        reporter: Is asked whether to stop.
    """

    def __init__(self, client: Any, reporter: Reporter = SILENT) -> None:
        self._client, self._reporter, self._alone_since = client, reporter, 0.0

    def first(self, pending: Iterable[Any]) -> set[Any]:
        """Return the tasks (futures) that have ended, when at least one has.

        Raises:
            Cancelled: When the reporter asks to stop.
            CannotRead: When the scheduler is gone, or has had no workers for two minutes.
        """
        from distributed import wait

        tasks = list(pending)
        while True:
            check_cancelled(self._reporter)
            with suppress(TimeoutError), self._client.as_current():
                return set(wait(tasks, timeout=POLL_S, return_when="FIRST_COMPLETED").done)
            self._check()

    def _check(self) -> None:
        gone = self._client.status != "running"
        if not gone and slots(self._client):
            self._alone_since = 0.0
            return
        self._alone_since = self._alone_since or time.monotonic()
        if gone or time.monotonic() - self._alone_since > NO_WORKER_S:
            raise CannotRead(
                explain(
                    "the Dask scheduler is gone" if gone else "the Dask cluster has no workers",
                    got=f"no answer ({self._client.status})" if gone else f"none for {NO_WORKER_S:.0f} s",
                    fix="start it again, then run the same command: finished work is kept",
                )
            )


def map_on(
    client: Any,
    function: Callable[[Item], Result],
    items: Sequence[Item],
    *,
    reporter: Reporter = SILENT,
    name: Callable[[Item], str] = str,
) -> Iterator[Result]:
    """Yield ``function(item)`` of all items, in order, from the cluster's workers.

    Only some tasks more than the workers run at once are with the scheduler at a time. A task whose worker
    dies runs again elsewhere; one that dies on every worker although nothing else is running is named.

    Raises:
        TooLarge: When an item kills every worker that it is given to.
        Exception: Whatever ``function`` raises.
    """
    watch, queue = Watch(client, reporter), iter(enumerate(items))
    running: dict[Any, tuple[int, Item]] = {}
    suspects: list[tuple[int, Item]] = []
    ready: dict[int, Result] = {}
    following = 0
    try:
        while following < len(items):
            room = 2 * slots(client) + 2 - len(running) - len(ready) // 8
            for number, item in islice(queue, max(room, 0)):
                running[client.submit(unchained, function, item, pure=False)] = (number, item)
            alone = not running
            if alone:  # what died among others is tried again by itself: now it is its own fault
                number, item = suspects.pop(0)
                running[client.submit(unchained, function, item, pure=False)] = (number, item)
            for task in watch.first(running):
                number, item = running.pop(task)
                error = task.exception()
                if error is None:
                    ready[number] = task.result()
                elif was_killed(error) and not alone:
                    suspects.append((number, item))
                else:
                    raise _deadly(name(item), error) if was_killed(error) else error
            while following in ready:
                yield ready.pop(following)
                following += 1
    finally:
        with suppress(Exception):
            client.cancel(list(running), force=True)


def unchained(function: Callable[..., Result], *arguments: Any) -> Result:
    """Call a function; its errors go without their causes, which may be of kinds that do not travel."""
    try:
        return function(*arguments)
    except Exception as error:
        error.__cause__ = error.__context__ = None
        raise


def _deadly(name: str, error: BaseException) -> TooLarge:
    return TooLarge(
        explain(
            "every worker that is given this dies",
            where=name,
            got=str(error)[:200],
            fix="look at it on one machine with the executor 'local'; most likely it needs too much memory",
        )
    )
