"""Measure time and memory of comparing a large map with its reference.

    python benchmarks/evaluation_speed.py [--side 20000] [--classes 10] [--limit-s 20] [--limit-mb 500]
                                          [--errors] [--degrees] [--strips] [--runs 1]

Makes a pair of class maps (uint8, deflate), compares them by ``compare_maps`` with scores of each block of 256
pixels, writes the block file, checks every count against plain numpy, and prints one JSON line a run: seconds on
the clock, seconds of the processor, and the highest resident memory of the process. Exit code 1 above a limit.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import rasterio
from affine import Affine

ROWS = 512


def write_pair(folder: Path, side: int, count: int, degrees: bool, strips: bool) -> None:
    """Write map and reference in strips, with their confusion matrix by plain numpy."""
    rng = np.random.default_rng(1)
    metres, lonlat = Affine(10, 0, 400_000, 0, -10, 5_400_000), Affine(1e-4, 0, 8, 0, -1e-4, 50)
    profile = dict(
        driver="GTiff", width=side, height=side, count=1, dtype="uint8", nodata=255, compress="deflate", zlevel=6,
        crs="EPSG:4326" if degrees else "EPSG:32633", transform=lonlat if degrees else metres,
    )  # fmt: skip
    if not strips:
        profile |= dict(tiled=True, blockxsize=512, blockysize=512)
    total = np.zeros(count * count, dtype=np.int64)
    with (
        rasterio.open(folder / "map.tif", "w", **profile) as mapped,
        rasterio.open(folder / "truth.tif", "w", **profile) as truth,
    ):
        for top in range(0, side, ROWS):
            height = min(ROWS, side - top)
            coarse = rng.integers(0, count, (ROWS // 16, -(-side // 16)), dtype=np.uint8)
            one = np.kron(coarse, np.ones((16, 16), np.uint8))[:height, :side]
            two = one.copy()
            wrong = rng.integers(0, one.size, one.size // 10)
            two.reshape(-1)[wrong] = rng.integers(0, count, len(wrong), dtype=np.uint8)
            two[:, :100], one[:, -100:] = 255, 255
            both = (one < 255) & (two < 255)
            total += np.bincount(two[both].astype(np.int64) * count + one[both], minlength=count * count)
            for out, values in ((mapped, one), (truth, two)):
                out.write(values, 1, window=((top, top + height), (0, side)))
    np.save(folder / "confusion.npy", total.reshape(count, count))


def peak_bytes() -> int:
    """Return the highest resident memory of this process."""
    line = next(x for x in Path("/proc/self/status").read_text().splitlines() if x.startswith("VmHWM"))
    return int(line.split()[1]) * 1024


def compare(folder: Path, count: int, errors: bool) -> dict[str, object]:
    """Compare the pair and return seconds and memory."""
    from geotoolbox.core.classes import ClassTable
    from geotoolbox.datasets import RasterDataset
    from geotoolbox.metrics import compare_maps

    classes = ClassTable.from_values(range(count))
    start, spent = time.perf_counter(), time.process_time()
    layers = [  # as the job does: the polygon of valid data is looked for in the map only
        RasterDataset([str(folder / name)], kind="labels", classes=classes, footprints=name == "map.tif")
        for name in ("map.tif", "truth.tif")
    ]
    opened = time.perf_counter() - start
    found = compare_maps(*layers, errors=folder / "errors.tif" if errors else None)
    found.patches.save(folder / "metrics.blocks.gpkg")
    seconds, cpu = time.perf_counter() - start, time.process_time() - spent
    assert np.array_equal(found.confusion.counts, np.load(folder / "confusion.npy")), "counts differ"
    return {
        "seconds": round(seconds, 2),
        "of_that_opening": round(opened, 2),
        "cpu_seconds": round(cpu, 2),
        "max_rss_mb": round(peak_bytes() / 1024**2),
        "blocks": len(found.patches),
        "cells": len(found.patches.cells.pixels),
        "overall_accuracy": round(found.scores.overall_accuracy, 6),
    }


def main() -> int:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--side", type=int, default=20_000)
    parser.add_argument("--classes", type=int, default=10)
    parser.add_argument("--limit-s", type=float, default=20.0)
    parser.add_argument("--limit-mb", type=float, default=500.0)
    parser.add_argument("--errors", action="store_true", help="also write the error raster")
    parser.add_argument("--degrees", action="store_true", help="a grid in degrees: pixels weighted by area")
    parser.add_argument("--strips", action="store_true", help="files in strips of rows rather than tiles")
    parser.add_argument("--runs", type=int, default=1)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.folder is not None:
        found = compare(options.folder, options.classes, options.errors)
        print(json.dumps({"side": options.side, "classes": options.classes, **found}))
        return int(found["seconds"] > options.limit_s or found["max_rss_mb"] > options.limit_mb)
    folder = Path(tempfile.mkdtemp(prefix="evaluation-speed-"))
    try:
        write_pair(folder, options.side, options.classes, options.degrees, options.strips)
        child = [sys.executable, __file__, *sys.argv[1:], "--folder", str(folder)]
        return max(subprocess.run(child, check=False).returncode for _ in range(options.runs))
    finally:
        shutil.rmtree(folder)


if __name__ == "__main__":
    sys.exit(main())
