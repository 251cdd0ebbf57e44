"""What a continent costs: blocks, hours, storage, from figures measured on this machine or given.

    python benchmarks/continent.py [--pixels 1e11] [--bands 4] [--classes 8] [--side 1536] [--px-per-s N]

Predicts a synthetic scene of ``side`` × ``side`` pixels with the small network (random weights, one thread), and scales
what that took to the number of pixels asked for. With ``--px-per-s``, the speed of one process (a GPU, say) is taken
as given instead. Prints a table in Markdown; docs/scale.md says how to read it.
"""

from __future__ import annotations

import argparse
import math
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import rasterio
import torch
from affine import Affine
from scipy import ndimage

from geotoolbox.core.classes import ClassTable
from geotoolbox.core.query import Band
from geotoolbox.datasets import RasterDataset
from geotoolbox.models.bundle import Bundle
from geotoolbox.models.factory import ModelSpec, create_model
from geotoolbox.models.predictor import Predictor
from geotoolbox.prediction import Plan, PredictOptions, Window, predict_scene

LEDGER_BYTES = 600  # a block; measured with 200,000 (tests/scale/test_plan.py)
PROCESSES = (1, 8, 64, 256)


@dataclass(frozen=True)
class Measured:
    """What a small prediction took: of one process, and in bytes a pixel."""

    px_per_s: float
    map_bytes: float
    probability_bytes: float
    plan: Plan


def measure(bands: int, classes: int, side: int, folder: Path) -> Measured:
    """Predict a scene of smooth noise, with the map and the probabilities."""
    rng = np.random.default_rng(4)
    smooth = np.stack([ndimage.gaussian_filter(rng.normal(size=(side, side)), 6) for _ in range(bands)])
    names = tuple(f"b{i}" for i in range(bands))
    profile = dict(
        driver="GTiff", width=side, height=side, count=bands, dtype="uint16", crs="EPSG:32633", tiled=True,
        transform=Affine(10, 0, 400_000, 0, -10, 5_400_000), blockxsize=512, blockysize=512,
    )  # fmt: skip
    with rasterio.open(folder / "scene.tif", "w", **profile) as out:
        out.write((smooth / smooth.std() * 300 + 2000).clip(1, 65535).astype(np.uint16))
        for number, name in enumerate(names, start=1):
            out.set_band_description(number, name)
    torch.manual_seed(0)
    spec = ModelSpec("small", None, bands, classes, None, 0)
    bundle = Bundle(
        spec=spec, state=create_model(spec).state_dict(), bands=tuple(Band(n) for n in names),
        classes=ClassTable.from_names({i + 1: f"class {i + 1}" for i in range(classes)}), tile_px=384, halo_px=32,
    )  # fmt: skip
    options = PredictOptions(threads=1, batch_size=4, probabilities=folder / "p.tif")
    start = time.monotonic()
    result = predict_scene(
        RasterDataset([str(folder / "scene.tif")]), Predictor(bundle), folder / "map.tif", options=options
    )
    seconds, pixels = time.monotonic() - start, side * side
    sizes = [(folder / n).stat().st_size / pixels for n in ("map.tif", "p.tif")]
    return Measured(pixels / seconds, sizes[0], sizes[1], result.plan)


def table(found: Measured, pixels: float, px_per_s: float) -> str:
    """Return the cost of so many pixels."""
    lattice, side = found.plan.lattice, math.isqrt(int(pixels))
    block_px = found.plan.block_px
    blocks, tiles = lattice.totals(Window(0, side, 0, side), block_px)
    read = tiles * lattice.tile_px**2 / pixels
    rows = [
        ("pixels", f"{pixels:.3g} ({pixels * 100 / 1e12:.1f} million km² at 10 m)"),
        ("blocks", f"{blocks:,} of {block_px:,} × {block_px:,} px"),
        ("tiles", f"{tiles:,} of {lattice.tile_px} px; each pixel goes through the network {read:.2f} times"),
        ("ledger", f"{blocks * LEDGER_BYTES / 1e6:.0f} MB, or as many small files with shards"),
        (
            "class map, compressed like that of the scene here",
            f"{found.map_bytes * pixels / 1e9:,.0f} GB, and twice that while it is made",
        ),
        (
            "probabilities of all classes, likewise",
            f"{found.probability_bytes * pixels / 1e12:,.2f} TB, where asked for",
        ),
        ("speed of one process", f"{px_per_s / 1e6:,.3g} million px/s, reading to writing"),
    ]
    rows += [
        (f"time with {n} process{'es' if n > 1 else ''}", f"{pixels / px_per_s / n / 3600:,.1f} h")
        for n in PROCESSES
    ]
    return "\n".join(["| what | cost |", "|---|---|", *(f"| {a} | {b} |" for a, b in rows)])


def main() -> None:
    """Measure, and print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--pixels", type=float, default=1e11)
    parser.add_argument("--bands", type=int, default=4)
    parser.add_argument("--classes", type=int, default=8)
    parser.add_argument("--side", type=int, default=1536)
    parser.add_argument("--px-per-s", type=float, default=None, help="of one process; default: measured here")
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        found = measure(chosen.bands, chosen.classes, chosen.side, Path(folder))
    print(f"measured here, one thread: {found.px_per_s:,.0f} px/s, torch {torch.__version__}\n")
    print(table(found, chosen.pixels, chosen.px_per_s or found.px_per_s))


if __name__ == "__main__":
    main()
