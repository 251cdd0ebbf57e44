"""Zion side by side: a random forest, TorchGeo's U-Net and GeoToolbox with its defaults.

    python benchmarks/zion.py --data FOLDER [--output results.md] [--only forest,geotoolbox] [--epochs N]

Landsat 8 bands 2–5 of Zion National Park with 8 land cover classes on another grid and datum, and SRTM
elevation in geographic coordinates. Everything is trained on x < 322209 m and tested on x > 322887 m
(EPSG:32612). Two figures: overall accuracy, and mean IoU of the five classes with at least 1,000 reference
pixels in the test area. Prints a Markdown table, with the machine and the versions.

The forest gets its features prepared by hand: NDVI, and the slope on the image grid. GeoToolbox gets the
files as they are. TorchGeo (U-Net, ResNet-18, 480 patches of 128 px, 4 epochs) runs in the environment that
benchmarks/setup_peers.sh makes; without it, its figure is quoted.
"""

from __future__ import annotations

import argparse
import logging
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import numpy as np
import rasterio
from numpy.typing import NDArray
from rasterio.enums import Resampling
from rasterio.vrt import WarpedVRT
from shapely.geometry import box

from geotoolbox.api import evaluate, train
from geotoolbox.core.events import Event, Log
from geotoolbox.core.query import Region
from geotoolbox.datasets import GeoDataset, RasterDataset
from geotoolbox.jobs.train import TrainSettings

ROOT = Path(__file__).resolve().parents[1]
TRAIN_BELOW, TEST_ABOVE, CRS = 322_209.0, 322_887.0, "EPSG:32612"
JUDGED = ("Developed", "Barren", "Forest", "Shrubland", "Wetlands")
LANDSAT = tuple(f"landsat_b{n}.tif" for n in (2, 3, 4, 5))
BAND_NAMES = ("blue", "green", "red", "nir")
FOUR, RELIEF = "4 bands", "4 bands + SRTM"
FOREST_PIXELS, FOREST_TREES, FOREST_DEPTH = 40_000, 100, 18


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table."""

    method: str
    layers: str
    accuracy: float
    mean_iou: float
    seconds: float
    ious: tuple[float, ...] = ()
    note: str = ""

    def markdown(self) -> str:
        """Return the line."""
        cells = [self.method, self.layers, f"{self.accuracy:.3f}", f"{self.mean_iou:.3f}"]
        cells += [f"{value:.3f}" for value in self.ious] or ["–"] * len(JUDGED)
        cells += [f"{self.seconds:.0f} s" if self.seconds else "–", self.note]
        return "| " + " | ".join(cells) + " |"


@dataclass(frozen=True, slots=True)
class Scene:
    """The scene on the Landsat grid, for the methods that want it prepared.

    Attributes:
        image: (4, H, W) float32 digital numbers.
        elevation: (H, W) float32 metres, NaN where there is none.
        truth: (H, W) class values, 255 where there is none.
        train: (H, W) where training is allowed; ``test`` where it is judged.
    """

    image: NDArray[np.float32]
    elevation: NDArray[np.float32]
    truth: NDArray[np.uint8]
    train: NDArray[np.bool_]
    test: NDArray[np.bool_]


def load_scene(data: Path) -> Scene:
    """Warp everything onto the Landsat grid with GDAL."""
    bands = []
    for name in LANDSAT:
        with rasterio.open(data / name) as source:
            bands.append(source.read(1))
            grid = {
                "crs": source.crs,
                "transform": source.transform,
                "width": source.width,
                "height": source.height,
            }
    image = np.stack(bands).astype(np.float32)
    with rasterio.open(data / "nlcd.tif") as source, WarpedVRT(source, **grid) as warped:
        truth = warped.read(1)
    with (
        rasterio.open(data / "srtm.tif") as source,
        WarpedVRT(source, resampling=Resampling.bilinear, dtype="float32", **grid) as warped,
    ):
        elevation = warped.read(1, masked=True).filled(np.nan)
    x = grid["transform"].c + (np.arange(grid["width"]) + 0.5) * grid["transform"].a
    usable = (image != 65535).all(axis=0) & (truth != 255)
    return Scene(image, elevation, truth, usable & (x < TRAIN_BELOW), usable & (x > TEST_ABOVE))


def forest(scene: Scene, relief: bool, seed: int) -> Row:
    """Train and judge the random forest."""
    from sklearn.ensemble import RandomForestClassifier

    blue, green, red, nir = scene.image
    features = [blue, green, red, nir, (nir - red) / np.maximum(nir + red, 1)]
    train_here, test_here = scene.train, scene.test
    if relief:
        along, across = np.gradient(scene.elevation, 30.0)
        features += [scene.elevation, np.hypot(along, across)]
        known = np.isfinite(features[-1])
        train_here, test_here = train_here & known, test_here & known
    start = time.perf_counter()
    rng = np.random.default_rng(seed)
    picked = rng.choice(np.flatnonzero(train_here), FOREST_PIXELS, replace=False)
    stack = np.stack([f.ravel() for f in features], axis=1)
    model = RandomForestClassifier(FOREST_TREES, max_depth=FOREST_DEPTH, n_jobs=-1, random_state=seed)
    model.fit(stack[picked], scene.truth.ravel()[picked])
    seconds = time.perf_counter() - start
    where = np.flatnonzero(test_here)
    accuracy, ious = judge(scene.truth.ravel()[where], model.predict(stack[where]))
    features_text = "NDVI, elevation and slope prepared" if relief else "NDVI prepared"
    return Row(
        "random forest (scikit-learn)", RELIEF if relief else FOUR, accuracy, float(np.mean(ious)), seconds, ious,
        f"{FOREST_TREES} trees, depth {FOREST_DEPTH}, {FOREST_PIXELS:,} px, {features_text}",
    )  # fmt: skip


def judge(truth: NDArray[np.uint8], predicted: NDArray[np.uint8]) -> tuple[float, tuple[float, ...]]:
    """Return overall accuracy and the IoU of the judged classes (values 2, 3, 4, 5 and 8)."""
    ious = []
    for value in (2, 3, 4, 5, 8):
        either = ((truth == value) | (predicted == value)).sum()
        ious.append(float(((truth == value) & (predicted == value)).sum() / either))
    return float((truth == predicted).mean()), tuple(ious)


class Printing:
    """Shows messages, and stays silent about progress."""

    def emit(self, event: Event) -> None:
        """Print a message."""
        if isinstance(event, Log):
            print(f"  {event.message}", file=sys.stderr, flush=True)

    @property
    def cancelled(self) -> bool:
        """Never."""
        return False


def geotoolbox(data: Path, relief: bool, settings: TrainSettings) -> Row:
    """Train with the defaults on the files as they are, predict the test area and evaluate it."""
    images: GeoDataset = RasterDataset(
        [str(data / name) for name in LANDSAT], bands=list(BAND_NAMES), kind="image"
    )
    if relief:
        images = images & RasterDataset(str(data / "srtm.tif"), kind="image")
    labels = RasterDataset(str(data / "nlcd.tif"), kind="labels")
    west = Region(box(300_000, 4_100_000, TRAIN_BELOW, 4_160_000), CRS)
    east = Region(box(TEST_ABOVE, 4_100_000, 340_000, 4_160_000), CRS)
    events = Printing()
    with tempfile.TemporaryDirectory(prefix="zion-") as folder:
        start = time.perf_counter()
        model = train((images & labels).within(west), settings=settings, events=events)
        seconds = time.perf_counter() - start
        prediction = model.predict(images, Path(folder) / "map.tif", region=east, events=events)
        scores = evaluate(prediction, labels, region=east, events=events).scores
    by_name = dict(zip(scores.names, scores.iou, strict=True))
    ious = tuple(float(by_name[name]) for name in JUDGED)
    return Row(
        "GeoToolbox", RELIEF if relief else FOUR, scores.overall_accuracy, float(np.mean(ious)), seconds, ious,
        f"the files as they are, {describe(settings)}",
    )  # fmt: skip


def describe(settings: TrainSettings) -> str:
    """Say what is not as by default."""
    changed = settings.model_dump(exclude_defaults=True)
    return "defaults" if not changed else ", ".join(f"{name}={value}" for name, value in changed.items())


def torchgeo(data: Path, python: Path, seed: int) -> Row:
    """Train and judge TorchGeo in its own environment; where there is none, quote what was measured elsewhere."""
    if not python.exists():
        note = "quoted: TorchGeo is not installed here (benchmarks/setup_peers.sh does that)"
        return Row("TorchGeo U-Net (ResNet-18)", FOUR, 0.708, 0.287, 420, (), note)
    scene = load_scene(data)
    with tempfile.TemporaryDirectory(prefix="zion-") as folder:
        output = Path(folder) / "classes.npz"
        side = Path(__file__).parent / "sides" / "torchgeo_zion.py"
        subprocess.run(
            [str(python), str(side), str(data), str(output), str(seed)], check=True, stdout=sys.stderr
        )
        with np.load(output) as found:
            classes, seconds, which = found["classes"], float(found["seconds"]), str(found["version"])
    where = scene.test & (classes > 0)
    accuracy, ious = judge(scene.truth[where], classes[where])
    note = f"torchgeo {which}, 480 patches of 128 px, 4 epochs, no pretrained weights"
    return Row("TorchGeo U-Net (ResNet-18)", FOUR, accuracy, float(np.mean(ious)), seconds, ious, note)


def header() -> str:
    """Return the machine, the versions and the head of the table."""
    names = ("geotoolbox", "torch", "scikit-learn", "rasterio", "numpy")
    versions = []
    for name in names:
        try:
            versions.append(f"{name} {version(name)}")
        except PackageNotFoundError:
            versions.append(f"{name} (not installed as a package)")
    machine = f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}"
    titles = (
        "method",
        "layers",
        "overall accuracy",
        "mean IoU (5)",
        *(f"IoU {n}" for n in JUDGED),
        "training",
        "",
    )
    return "\n".join(
        [
            "# Zion, trained in the west, tested in the east",
            "",
            f"{machine}; {', '.join(versions)}.",
            "",
            "| " + " | ".join(titles) + " |",
            "|" + "---|" * len(titles),
        ]
    )


def main() -> int:
    """Run what is asked for and print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--data", type=Path, required=True, help="folder with landsat_b2.tif … srtm.tif, nlcd.tif"
    )
    parser.add_argument("--output", type=Path, help="also write the table to this file")
    parser.add_argument("--only", default="forest,torchgeo,geotoolbox", help="methods, separated by commas")
    parser.add_argument("--layers", choices=("both", "four", "relief"), default="both")
    parser.add_argument("--epochs", type=int, help="instead of the default number")
    parser.add_argument("--minutes", type=float, help="instead of the default time limit of training")
    parser.add_argument("--indices", default="", help="spectral indices to add, such as ndvi")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--torchgeo-python",
        type=Path,
        default=ROOT / ".venv-peers/torchgeo/bin/python",
        help="its environment",
    )
    given = parser.parse_args()
    logging.basicConfig(level=logging.ERROR)
    methods = given.only.split(",")
    settings = {"both": (False, True), "four": (False,), "relief": (True,)}[given.layers]
    changed = {"seed": given.seed, "epochs": given.epochs, "maximum_minutes": given.minutes}
    changed["indices"] = tuple(given.indices.split(",")) if given.indices else None
    asked = TrainSettings.model_validate({k: v for k, v in changed.items() if v is not None})
    todo: list[Callable[[], Row]] = []
    if "forest" in methods:
        scene = load_scene(given.data)
        todo += [lambda r=relief: forest(scene, r, given.seed) for relief in settings]  # type: ignore[misc]
    if "torchgeo" in methods and False in settings:
        todo.append(lambda: torchgeo(given.data, given.torchgeo_python, given.seed))
    if "geotoolbox" in methods:
        todo += [lambda r=relief: geotoolbox(given.data, r, asked) for relief in settings]  # type: ignore[misc]
    lines = [header()]
    print(lines[0], flush=True)
    for run in todo:
        lines.append(run().markdown())
        print(lines[-1], flush=True)
    if given.output:
        given.output.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
