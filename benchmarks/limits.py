"""What a patch is made of, in one thread, and what a second thread can gain: where the limits of sampling are.

python benchmarks/limits.py [--data FOLDER] [--zion FOLDER] [--output docs/performance.md]
"""

from __future__ import annotations

import argparse
import os
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import scenes
from harness import ROOT, load, machine
from run import put

import geotoolbox  # noqa: F401  (before torch: it says how torch's threads wait)

BEGIN, END = "<!-- limits: begin -->", "<!-- limits: end -->"
SIZE, COUNT = 256, 192


def median_ms(action: Callable[[Any], Any], over: list[Any]) -> float:
    """Return the median time of an action over its arguments, in ms, after one round to warm up."""
    taken = []
    for turn in range(2):
        for one in over:
            start = time.perf_counter()
            action(one)
            if turn:
                taken.append((time.perf_counter() - start) * 1e3)
    return sorted(taken)[len(taken) // 2]


def second_thread() -> tuple[float, float]:
    """Return how many times as much two threads do as one: of a compiled loop in the cache, and of copying memory."""
    from geotoolbox.alignment.kernels import bilinear

    rng = np.random.default_rng(0)
    grid = np.arange(SIZE) * 0.9 + 3.3
    u, v = np.tile(grid, (SIZE, 1)), np.tile(grid[:, None], (1, SIZE))
    data = [rng.random((7, 250, 250)).astype("float32") for _ in range(2)]
    out = [np.empty((7, SIZE, SIZE), np.float32) for _ in range(2)]
    large = [np.ones(32_000_000, np.uint16) for _ in range(4)]

    def loop(number: int) -> None:
        for _ in range(300):
            bilinear(data[number], None, u, v, out=out[number])

    def copy(number: int) -> None:
        for _ in range(10):
            np.copyto(large[number], large[number + 2])

    gains = []
    for work in (loop, copy):
        work(0), work(1)
        start = time.perf_counter()
        work(0)
        one = time.perf_counter() - start
        threads = [threading.Thread(target=work, args=(n,)) for n in range(2)]
        start = time.perf_counter()
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        gains.append(2 * one / (time.perf_counter() - start))
    return gains[0], gains[1]


def parts(data: scenes.Data, crs: str | None) -> list[tuple[str, float]]:
    """Return the parts of a patch and their times: images native, or warped onto ``crs``; labels warped in both."""
    from geotoolbox import RandomGeoSampler, RasterDataset
    from geotoolbox.alignment import execute_into, plan_read
    from geotoolbox.datasets.batches import Slot

    images = RasterDataset([str(s) for s in data.scenes()], kind="image", footprints=False)
    labels = RasterDataset(
        str(data.labels()), kind="labels", classes=[f"class {n}" for n in range(20)], footprints=False
    )
    both = images & labels
    view = both.to_crs(crs) if crs else both
    queries = list(RandomGeoSampler(view, SIZE, COUNT, seed=1))
    image, mask = np.zeros((7, SIZE, SIZE), np.float32), np.zeros((SIZE, SIZE), np.int64)
    slot = Slot(image, mask)
    resampling = images.resampling
    plans = [plan_read(images.units_for(q)[0].sources[0][0], q.geobox, resampling) for q in queries]
    plans = [p for p in plans if p.parts]
    source = labels.units_for(queries[0])[0].sources[0][0]
    return [
        ("bytes of the image's rows, from the page cache to memory", median_ms(_copy_bytes, plans)),
        ("image: how to read it", median_ms(lambda p: plan_read(p.source, p.geobox, resampling), plans)),
        ("image: read, taken apart" + (", four pixels weighed" if crs else ""), median_ms(lambda p: execute_into(p, image), plans)),
        ("labels: how to read them", median_ms(lambda q: plan_read(source, q.geobox, "nearest"), queries)),
        ("labels: all", median_ms(lambda q: labels.read_into(q, Slot(None, mask)), queries)),
        ("**the whole patch**", median_ms(lambda q: view.read_into(q, slot), queries)),
    ]  # fmt: skip


def _copy_bytes(plan: Any) -> None:
    """Copy the rows of blocks that a plan reads, in one call a block, and do nothing with them."""
    import rasterio

    window, path = plan.parts[0].window, plan.source.path
    if path not in _OPEN:
        with rasterio.open(path) as source:
            _OPEN[path] = (os.open(path, os.O_RDONLY), source.block_shapes[0], source.width)
    file, (rows, cols), width = _OPEN[path]
    line, across = cols * 7 * 2, -(-width // cols)
    for i in range(window.row // rows, (window.row + window.height - 1) // rows + 1):
        count = min((i + 1) * rows, window.row + window.height) - max(i * rows, window.row)
        for j in range(window.col // cols, (window.col + window.width - 1) // cols + 1):
            os.preadv(file, [_ROOM[: count * line]], (i * across + j) * rows * line)


_OPEN: dict[str, tuple[int, tuple[int, int], int]] = {}
_ROOM = memoryview(bytearray(16 * 1024**2))


def main() -> int:
    """Print what a patch is made of."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    default = os.environ.get("GEOTOOLBOX_BENCH_DATA", str(ROOT / "benchmarks" / "data"))
    parser.add_argument("--data", type=Path, default=Path(default))
    parser.add_argument("--side", type=int, default=6000)
    parser.add_argument("--zion")
    parser.add_argument("--output", type=Path)
    given = parser.parse_args()
    where = f"{machine()}, {load()}."
    data = scenes.make(given.data, given.side, scenes.zion_folder(given.zion))
    loop, copy = second_thread()
    native, third = parts(data, None), parts(data, "EPSG:3857")
    lines = [
        where, "",
        f"| of a patch of {SIZE} px, in one thread | images native, ms | all onto EPSG:3857, ms |", "|---|---|---|",
        *(f"| {name.split(', taken')[0]} | {a:.2f} | {b:.2f} |" for (name, a), (_, b) in zip(native, third, strict=True)),
        "",
        f"Two threads do {loop:.2f} times as much as one of a compiled loop that has all it needs in the cache, and {copy:.2f} times as much of copying memory.",
    ]  # fmt: skip
    print("\n".join(lines))
    if given.output:
        put(given.output, "\n".join(lines), BEGIN, END)
    return 0


if __name__ == "__main__":
    sys.exit(main())
