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
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
import scenes
from affine import Affine
from harness import ROOT, machine

BEGIN, END = "<!-- growth: begin -->", "<!-- growth: end -->"
logging.basicConfig(level=logging.ERROR)


def by_files(folder: Path, counts: tuple[int, ...]) -> list[str]:
    """Index, dataset and a sample of so many files."""
    files = scenes.make_small(scenes.Data(folder, 0), max(counts))
    lines = [
        "| files | index built, ms a file | opened again, ms | look-up, µs | dataset made, ms a file | a sample, ms |",
        "|---|---|---|---|---|---|",
    ]
    return lines + [_files_line(files[:count]) for count in counts]


def _files_line(files: list[str]) -> str:
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
    read = _median(lambda: dataset[grid], 50)
    return (
        f"| {count:,} | {built / count * 1e3:.2f} | {opened * 1e3:.0f} | {look * 1e6:.0f} | "
        f"{made / count * 1e3:.3f} | {read * 1e3:.2f} |"
    )


def by_pixels(folder: Path, megapixels: tuple[int, ...]) -> list[str]:
    """Index, sampling and prediction of scenes of so many megapixels."""
    lines = [
        "| megapixels | footprint and index, s | a random patch of 256 px, ms | predicted, s | Mpx/s | memory, MB |",
        "|---|---|---|---|---|---|",
    ]
    for size in megapixels:
        path = _scene(folder, size)
        found = _alone("pixels", str(path))
        lines.append(
            f"| {size} | {found['index_s']:.2f} | {found['patch_ms']:.2f} | {found['predict_s']:.1f} | "
            f"{size / found['predict_s']:.1f} | {found['peak_mb']:.0f} |"
        )
    return lines


def by_classes(folder: Path, counts: tuple[int, ...]) -> list[str]:
    """Reading labels and predicting with so many classes, on 4 megapixels."""
    path = _scene(folder, 4)
    lines = ["| classes | labels of a patch, ms | predicted, s | memory, MB |", "|---|---|---|---|"]
    for count in counts:
        found = _alone("classes", str(path), count)
        lines.append(
            f"| {count} | {found['labels_ms']:.2f} | {found['predict_s']:.1f} | {found['peak_mb']:.0f} |"
        )
    return lines


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


def _alone(what: str, *words: Any) -> dict[str, float]:
    """Measure in a process of its own, so that its memory is its own."""
    done = subprocess.run(
        [sys.executable, __file__, "--alone", what, *map(str, words)],
        check=True,
        capture_output=True,
        text=True,
    )
    found: dict[str, float] = json.loads(done.stdout.strip().splitlines()[-1])
    return found


def _pixels(path: str) -> dict[str, float]:
    from geotoolbox import RandomGeoSampler, RasterDataset

    start = time.perf_counter()
    dataset = RasterDataset(path, kind="image")
    index_s = time.perf_counter() - start
    queries = list(RandomGeoSampler(dataset, 256, 64, seed=0))
    patch = _median(None, 0, queries, dataset)
    return {"index_s": index_s, "patch_ms": patch * 1e3, **_predicted(path, 4)}


def _classes(path: str, count: int) -> dict[str, float]:
    from geotoolbox import RandomGeoSampler, RasterDataset

    with rasterio.open(path) as source, tempfile.TemporaryDirectory() as work:
        labels = Path(work) / "labels.tif"
        profile = {**source.profile, "count": 1, "dtype": "uint8", "nodata": 255}
        with rasterio.open(labels, "w", **profile) as out:
            out.write((source.read(1) % count).astype("uint8"), 1)
        dataset = RasterDataset(str(labels), classes=[f"class {n}" for n in range(count)], footprints=False)
        queries = list(RandomGeoSampler(dataset, 256, 64, seed=0))
        patch = _median(None, 0, queries, dataset)
    return {"labels_ms": patch * 1e3, **_predicted(path, count)}


def _predicted(path: str, count: int) -> dict[str, float]:
    sys.path.insert(0, str(Path(__file__).resolve().parent / "sides"))
    from common import peak_mb
    from ours_side import predict

    answer = predict(
        {"scene": path, "net": "linear", "classes": count, "tile": 256, "overlap": 64, "halo": 0, "batch": 8, "threads": 2}
    )  # fmt: skip
    return {"predict_s": answer["seconds"], "peak_mb": peak_mb()}


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
    files = (1, 10, 100, 1_000) if given.quick else (1, 10, 100, 1_000, 10_000)
    pixels = (1, 4, 16) if given.quick else (1, 4, 16, 64, 100, 400)
    classes = (2, 20) if given.quick else (2, 5, 20, 60, 200)
    folder = given.data / "growth"
    parts = [machine() + "."]
    for title, lines in (
        ("Files", by_files(folder, files)),
        ("Pixels", by_pixels(folder, pixels)),
        ("Classes", by_classes(folder, classes)),
    ):
        parts += ["", f"### {title}", "", *lines]
        print("\n".join(parts[-len(lines) - 3 :]), flush=True)
    if given.output:
        from run import put

        put(given.output, "\n".join(parts), BEGIN, END)
    return 0


if __name__ == "__main__":
    sys.exit(main())
