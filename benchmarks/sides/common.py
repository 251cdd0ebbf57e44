"""What all sides share: reading the job, timing a loader, and one line of JSON as the answer. Standard library only."""

from __future__ import annotations

import json
import resource
import sys
import time
from collections.abc import Callable, Iterable
from importlib.metadata import PackageNotFoundError, version
from typing import Any

Job = dict[str, Any]


def peak_mb() -> float:
    """Return the most resident memory of this process so far, in MB (Linux: not the parent's)."""
    try:
        with open("/proc/self/status") as status:
            line = next(x for x in status if x.startswith("VmHWM"))
        return int(line.split()[1]) / 1024
    except (OSError, StopIteration):
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def small_files(job: Job) -> list[str]:
    """Return the many small files of a job: their names tell the number, a list would be too long to hand over."""
    return [f"{job['folder']}/{n // 1000:03d}/tile_{n:06d}.tif" for n in range(job["count"])]


def cpu_s() -> float:
    """Return the processor seconds of this process and of the children it has waited for."""
    both = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(r.ru_utime + r.ru_stime for r in both)


def time_batches(batches: Iterable[Any], size: Callable[[Any], int], warm: int, most: int) -> Job:
    """Time the batches after the first ``warm``, up to ``most`` of them.

    Returns:
        ``patches``, ``seconds`` (wall clock), ``cpu`` (seconds; workers count when they have ended).
    """
    iterator = iter(batches)
    for _ in range(warm):
        next(iterator)
    patches, start, cpu = 0, time.perf_counter(), cpu_s()
    for _ in range(most):
        try:
            patches += size(next(iterator))
        except StopIteration:
            break
    seconds = time.perf_counter() - start
    return {"patches": patches, "seconds": seconds, "cpu": cpu_s() - cpu}


def repeat(action: Callable[[], Any], seconds: float, least: int = 5) -> Job:
    """Call again and again for some seconds; return the median of one call, and its processor time, in ms."""
    action()  # what is imported and opened on first use is not what is measured
    taken: list[float] = []
    end, cpu = time.perf_counter() + seconds, time.process_time()
    while time.perf_counter() < end or len(taken) < least:
        start = time.perf_counter()
        action()
        taken.append((time.perf_counter() - start) * 1000)
    busy = (time.process_time() - cpu) * 1000 / len(taken)
    return {"calls": len(taken), "ms": sorted(taken)[len(taken) // 2], "cpu_ms": busy}


def versions(*names: str) -> dict[str, str]:
    """Return the versions of packages."""
    found = {}
    for name in names:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def run(tasks: dict[str, Callable[[Job], Job]], *packages: str) -> int:
    """Do the job in the first argument and print the answer as the last line."""
    job: Job = json.loads(sys.argv[1])
    answer = tasks[job["task"]](job)
    answer["peak_mb"] = round(peak_mb(), 1)
    answer["versions"] = {"python": sys.version.split()[0], **versions(*packages)}
    print(json.dumps(answer))
    return 0
