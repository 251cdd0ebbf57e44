"""Measure the resident memory of predicting a large scene with a trivial model.

    python benchmarks/prediction_memory.py [--side 20000] [--classes 10] [--limit-gb 1.5] [--probabilities]

Writes a synthetic scene (uint16, tiled GeoTIFF), predicts it with a linear model on each pixel and prints
one JSON line with the highest resident memory of the process, torch and GDAL included. Exit code 1 above
the limit.
"""

from __future__ import annotations

import argparse
import json
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import rasterio
from affine import Affine

BANDS = ("blue", "green", "red", "nir")


def write_scene(path: Path, side: int) -> None:
    """Write a scene in strips, in a process of its own so that it does not count."""
    rng = np.random.default_rng(1)
    tile = rng.integers(1, 10_000, (len(BANDS), 512, 1024), dtype=np.uint16)
    profile = dict(
        driver="GTiff", width=side, height=side, count=len(BANDS), dtype="uint16", crs="EPSG:32633", nodata=0,
        transform=Affine(10, 0, 400_000, 0, -10, 5_400_000), tiled=True, blockxsize=512, blockysize=512,
        compress="deflate", zlevel=1, bigtiff="if_safer",
    )  # fmt: skip
    with rasterio.open(path, "w", **profile) as out:
        for number, name in enumerate(BANDS, start=1):
            out.set_band_description(number, name)
        for top in range(0, side, 512):
            height = min(512, side - top)
            strip = np.tile(tile, (1, 1, -(-side // 1024)))[:, :height, :side]
            out.write(strip, window=((top, top + height), (0, side)))


def peak_bytes() -> int:
    """Return the highest resident memory of this process.

    On Linux from /proc: getrusage would also count the parent, as it was when this process started.
    """
    status = Path("/proc/self/status")
    if status.exists():
        line = next(x for x in status.read_text().splitlines() if x.startswith("VmHWM"))
        return int(line.split()[1]) * 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def predict(scene: Path, output: Path, count: int, probabilities: bool) -> dict[str, float]:
    """Predict the scene and return seconds, pixels and memory."""
    import torch

    from geotoolbox.core.classes import ClassTable
    from geotoolbox.datasets import RasterDataset
    from geotoolbox.prediction import PredictOptions, predict_scene

    class Linear:
        bands, num_classes = BANDS, count
        classes = ClassTable.from_values(range(1, count + 1))
        tile_px, halo_px = 512, 0
        weight = torch.linspace(-1, 1, count * len(BANDS)).reshape(count, len(BANDS)) / 2000

        def __call__(self, image: torch.Tensor, valid: torch.Tensor) -> torch.Tensor:
            return torch.softmax(torch.einsum("kc,nchw->nkhw", self.weight, image), dim=1)

    start = time.perf_counter()
    options = PredictOptions(  # one tile at a time, as the job does on a processor
        batch_size=1,
        overlap_px=64,
        probabilities=output.with_name("probabilities.tif") if probabilities else None,
    )
    result = predict_scene(RasterDataset(str(scene), bands=list(BANDS)), Linear(), output, options=options)
    return {
        "seconds": round(time.perf_counter() - start, 1),
        "predicted_pixels": sum(result.class_pixels.values()),
        "max_rss_gb": round(peak_bytes() / 1e9, 3),
        "tiles": result.plan.tiles,
        "block_px": result.plan.block_px,
    }


def main() -> int:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--side", type=int, default=20_000)
    parser.add_argument("--classes", type=int, default=10)
    parser.add_argument("--limit-gb", type=float, default=1.5)
    parser.add_argument("--probabilities", action="store_true")
    parser.add_argument("--scene", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.scene is not None:
        found = predict(
            options.scene, options.scene.with_name("map.tif"), options.classes, options.probabilities
        )
        print(json.dumps({"side": options.side, "classes": options.classes, **found}))
        return int(found["max_rss_gb"] > options.limit_gb)
    folder = Path(tempfile.mkdtemp(prefix="prediction-memory-"))
    try:
        write_scene(folder / "scene.tif", options.side)
        child = [sys.executable, __file__, *sys.argv[1:], "--scene", str(folder / "scene.tif")]
        return subprocess.run(child, check=False).returncode
    finally:
        shutil.rmtree(folder)


if __name__ == "__main__":
    sys.exit(main())
