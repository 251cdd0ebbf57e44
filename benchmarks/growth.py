"""How cost grows with the work: files, pixels and classes. Each table must grow no faster than its first column.

python benchmarks/growth.py [--quick] [--data FOLDER] [--output docs/performance.md]
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
import scenes
from affine import Affine
from harness import ROOT, load, machine

BEGIN, END = "<!-- growth: begin -->", "<!-- growth: end -->"
logging.basicConfig(level=logging.ERROR)


Figures = dict[str, float]


@dataclass(frozen=True, slots=True)
class Table:
    """A table of figures by the amount of work.

    Attributes:
        title: What grows.
        work: The head of the first column.
        columns: Head and format of each figure.
        grows: The figures that may grow as the work does; the others may not grow, but for a logarithm.
    """

    title: str
    work: str
    columns: dict[str, str]
    grows: tuple[str, ...]

    def line(self, work: int, found: Figures) -> str:
        """Return one line."""
        return f"| {work:,} | " + " | ".join(format(found[n], f) for n, f in self.columns.items()) + " |"

    def head(self) -> list[str]:
        """Return title and head."""
        return [
            f"### {self.title}",
            "",
            f"| {self.work} | {' | '.join(self.columns)} |",
            "|---" * (len(self.columns) + 1) + "|",
        ]

    def verdict(self, rows: dict[int, Figures]) -> str:
        """Say how each figure grew over the upper half of the table, against the work there."""
        works = sorted(rows)
        low, high = works[(len(works) - 1) // 2], works[-1]
        said = []
        for name in self.columns:
            grew = rows[high][name] / rows[low][name]
            most = high / low if name in self.grows else MOST_FLAT
            said.append(f"{name} × {grew:.2g} ({'no faster' if grew <= most * NOISE else '**faster**'})")
        return f"From {low:,} to {high:,} the work grows × {high / low:.3g}: " + ", ".join(said) + "."


MOST_FLAT = (
    2.0  # what does not depend on the amount of work may wander so far: caches, and trees one level deeper
)
NOISE = 1.1
FILES = Table(
    "Files", "files",
    {
        "index built, s": ".3f", "opened again, ms": ".0f", "look-up, µs": ".0f", "dataset made, s": ".3f",
        "a sample, ms": ".2f",
    },
    ("index built, s", "opened again, ms", "dataset made, s"),
)  # fmt: skip
PIXELS = Table(
    "Pixels", "megapixels",
    {
        "footprint and index, s": ".2f", "a random patch of 256 px, ms": ".2f", "predicted, s": ".1f",
        "beside the network, s": ".1f", "of processor time, s": ".1f", "memory, MB": ".0f",
    },
    ("footprint and index, s", "predicted, s", "beside the network, s", "of processor time, s"),
)  # fmt: skip
CLASSES = Table(
    "Classes",
    "classes",
    {
        "labels of a patch, ms": ".2f",
        "predicted, s": ".1f",
        "beside the network, s": ".1f",
        "of processor time, s": ".1f",
        "memory, MB": ".0f",
    },
    ("predicted, s", "beside the network, s", "of processor time, s", "memory, MB"),
)


def _files(files: list[str]) -> Figures:
    """Index, dataset and a sample of so many files."""
    from geotoolbox import RasterDataset
    from geotoolbox.indexing import FileIndex, build_index

    count = len(files)
    with tempfile.TemporaryDirectory() as work:
        cache = Path(work) / "index.parquet"
        built = _seconds(lambda: build_index(files, cache=cache))
        opened = _seconds(lambda: FileIndex.open(cache).query((0.0, 0.0, 0.1, 0.1)))
        made = _seconds(lambda: RasterDataset(files, kind="image", cache=cache, footprints=False))
        dataset = RasterDataset(files, kind="image", cache=cache, footprints=False)
    grid = dataset.index.records[count // 2].header.geobox
    dataset.index.find(grid)
    look = _median(lambda: dataset.index.find(grid), 200)
    read = _median(lambda: dataset[grid], 200)
    return {
        "index built, s": built, "opened again, ms": opened * 1e3, "look-up, µs": look * 1e6, "dataset made, s": made,
        "a sample, ms": read * 1e3,
    }  # fmt: skip


def _measured(table: Table, works: tuple[int, ...], measure: Callable[[int], Figures]) -> list[str]:
    """Return the table of one kind of work; what fails is told in it and stops nothing else."""
    lines, rows = table.head(), {}
    for work in works:
        try:
            rows[work] = measure(work)
            lines.append(table.line(work, rows[work]))
        except Exception as error:  # whatever it is
            reason = " ".join(str(getattr(error, "stderr", "") or error).split())[-200:].replace("|", "/")
            lines.append(f"| {work:,} | **failed**: {reason} |" + " |" * (len(table.columns) - 1))
    return [*lines, "", table.verdict(rows)] if len(rows) > 1 else lines


def _scene(folder: Path, megapixels: int) -> Path:
    """Write a scene of two bands, tiled, with a collar without data."""
    side = round((megapixels * 1e6) ** 0.5)
    path = folder / f"growth-{megapixels}.tif"
    if path.exists():
        return path
    folder.mkdir(parents=True, exist_ok=True)
    tile = np.random.default_rng(0).integers(1, 9999, (2, 512, 512), dtype=np.uint16)
    profile = dict(
        driver="GTiff", count=2, height=side, width=side, dtype="uint16", crs="EPSG:32612", nodata=0, tiled=True,
        blockxsize=512, blockysize=512, transform=Affine(30, 0, 300_000, 0, -30, 4_000_000), bigtiff="if_safer",
    )  # fmt: skip
    with rasterio.open(path, "w", **profile) as out:
        strip = np.tile(tile, (1, 1, -(-side // 512)))[:, :, :side].copy()
        strip[:, :, : side // 10] = 0
        for top in range(0, side, 512):
            height = min(512, side - top)
            out.write(strip[:, :height], window=((top, top + height), (0, side)))
    return path


def _alone(what: str, *words: Any) -> Figures:
    """Measure in a process of its own, so that its memory is its own."""
    done = subprocess.run(
        [sys.executable, __file__, "--alone", what, *map(str, words)],
        check=True,
        capture_output=True,
        text=True,
    )
    found: Figures = json.loads(done.stdout.strip().splitlines()[-1])
    return found


def _pixels(path: str) -> Figures:
    from geotoolbox import RandomGeoSampler, RasterDataset

    start = time.perf_counter()
    dataset = RasterDataset(path, kind="image")
    index_s = time.perf_counter() - start
    queries = list(RandomGeoSampler(dataset, 256, 64, seed=0))
    patch = _median(None, 0, queries, dataset)
    return {
        "footprint and index, s": index_s,
        "a random patch of 256 px, ms": patch * 1e3,
        **_predicted(path, 4),
    }


def _classes(path: str, count: int) -> Figures:
    from geotoolbox import RandomGeoSampler, RasterDataset

    with rasterio.open(path) as source, tempfile.TemporaryDirectory() as work:
        labels = Path(work) / "labels.tif"
        profile = {**source.profile, "count": 1, "dtype": "uint8", "nodata": 255}
        with rasterio.open(labels, "w", **profile) as out:
            out.write((source.read(1) % count).astype("uint8"), 1)
        dataset = RasterDataset(str(labels), classes=[f"class {n}" for n in range(count)], footprints=False)
        queries = list(RandomGeoSampler(dataset, 256, 64, seed=0))
        patch = _median(None, 0, queries, dataset)
    return {"labels of a patch, ms": patch * 1e3, **_predicted(path, count)}


def _predicted(path: str, count: int) -> Figures:
    sys.path.insert(0, str(Path(__file__).resolve().parent / "sides"))
    from common import peak_mb
    from ours_side import predict

    answer = predict(
        {"scene": path, "net": "linear", "classes": count, "tile": 256, "overlap": 64, "halo": 0, "batch": 1, "threads": 2}
    )  # fmt: skip
    return {
        "predicted, s": answer["seconds"], "beside the network, s": answer["seconds"] - answer["model_s"],
        "of processor time, s": answer["cpu"], "memory, MB": peak_mb(),
    }  # fmt: skip


def _seconds(action: Callable[[], Any]) -> float:
    start = time.perf_counter()
    action()
    return time.perf_counter() - start


def _median(action: Callable[[], Any] | None, count: int, queries: Any = None, dataset: Any = None) -> float:
    """Return the median time of an action, or of reading queries."""
    if queries is not None:
        taken = [_seconds(lambda q=q: dataset[q]) for q in queries]
    else:
        assert action is not None
        taken = [_seconds(action) for _ in range(count)]
    return sorted(taken)[len(taken) // 2]


def main() -> int:
    """Print the three tables."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true")
    default = os.environ.get("GEOTOOLBOX_BENCH_DATA", str(ROOT / "benchmarks" / "data"))
    parser.add_argument("--data", type=Path, default=Path(default))
    parser.add_argument("--output", type=Path)
    parser.add_argument("--alone", nargs="+", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.alone:
        what, *words = given.alone
        found = _pixels(words[0]) if what == "pixels" else _classes(words[0], int(words[1]))
        print(json.dumps(found))
        return 0
    counts = (1, 10, 100, 1_000) if given.quick else (1, 10, 100, 1_000, 10_000)
    pixels = (1, 4, 16) if given.quick else (1, 4, 16, 64, 100, 400)
    classes = (2, 20) if given.quick else (2, 5, 20, 60, 200)
    folder, start = given.data / "growth", time.monotonic()
    names = scenes.make_small(scenes.Data(folder, 0), max(counts))
    parts = [
        f"{machine()}, {load()}. Of figures, medians; every scene and number of classes in a process of its own."
    ]
    for table, works, measure in (
        (FILES, counts, lambda count: _files(names[:count])),
        (PIXELS, pixels, lambda size: _alone("pixels", str(_scene(folder, size)))),
        (CLASSES, classes, lambda count: _alone("classes", str(_scene(folder, 4)), count)),
    ):
        lines = _measured(table, works, measure)
        print("\n".join(lines), "\n", flush=True)
        parts += ["", *lines]
    print(f"{(time.monotonic() - start) / 60:.0f} minutes")
    if given.output:
        from run import put

        put(given.output, "\n".join(parts), BEGIN, END)
    return 0


if __name__ == "__main__":
    sys.exit(main())
