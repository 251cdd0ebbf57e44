"""Run by the engine's Python: files as the engine writes them, small and known to the pixel.

``make_results.py FOLDER``: in ``results`` a class map of 64 × 64 pixels, its polygons, its confidence, and a reference
that differs from it in known places; in ``scene`` the demo scene.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
from affine import Affine
from odc.geo.geobox import GeoBox

from geotoolbox.core.classes import ClassTable
from geotoolbox.jobs import evaluate
from geotoolbox.jobs.demo_scene import make_demo_scene
from geotoolbox.prediction.outputs import BandInfo, write_class_raster, write_raster_atomic
from geotoolbox.prediction.polygons import polygonize
from geotoolbox.prediction.sidecars import ramp_style_xml, write_text

CLASSES = ClassTable.from_names(
    {1: "water", 2: "<b>forest</b> & more", 7: "town"},
    {1: (58, 120, 200), 2: (30, 105, 50), 7: (190, 70, 70)},
)
GRID = GeoBox((64, 64), Affine(10, 0, 600_000, 0, -10, 5_000_000), "EPSG:32633")


def main(folder: Path) -> None:
    """Write the files."""
    truth = np.full((64, 64), 1, "uint8")
    truth[:, 32:] = 2
    truth[48:, :] = 7
    mapped = truth.copy()
    mapped[:10, :5] = 2  # 50 pixels of water mapped as forest, all in the north-west
    mapped[60:, 60:] = 1  # 16 pixels of town mapped as water, in the south-east
    whole = (slice(0, 64), slice(0, 64))
    write_class_raster(folder / "map.tif", [(whole, mapped)], GRID, CLASSES)
    write_class_raster(folder / "truth.tif", [(whole, truth)], GRID, CLASSES)
    polygonize(folder / "map.tif", folder / "map.gpkg")
    _measure(folder / "confidence.tif", ["confidence"])
    _measure(folder / "probabilities.tif", list(CLASSES.names))
    evaluate.run(
        evaluate.Spec(
            map=str(folder / "map.tif"),
            reference=(str(folder / "truth.tif"),),
            metrics=str(folder / "metrics.json"),
            errors=str(folder / "errors.tif"),
            report=str(folder / "report.html"),
            block_px=32,
        )
    )


def _measure(path: Path, names: list[str]) -> None:
    """Write probabilities as the engine stores them: bytes with a scale."""
    ramp = np.tile(np.linspace(0, 250, 64).astype("uint8"), (len(names), 64, 1))
    bands = [BandInfo(name, 1 / 250) for name in names]
    whole = (slice(0, 64), slice(0, 64))
    write_raster_atomic(path, [(whole, ramp)], GRID, dtype="uint8", bands=bands, nodata=255)
    write_text(path.with_suffix(".qml"), ramp_style_xml())


if __name__ == "__main__":
    for name in ("results", "scene"):
        (Path(sys.argv[1]) / name).mkdir()
    main(Path(sys.argv[1]) / "results")
    make_demo_scene(Path(sys.argv[1]) / "scene", seed=3, size_px=128)
