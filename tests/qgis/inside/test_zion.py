"""A real scene through ``qgis_process``, where it is present: the numbers and the bytes of the command line."""

from __future__ import annotations

import json
import os
import subprocess
import zipfile
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[3]
BANDS = "blue, green, red, nir"
TRAIN = {"EPOCHS": 1, "PATCH_PX": 32, "BATCH_SIZE": 8, "MODEL": "small", "BASELINE": "false", "SEED": 7}
# Longitude and latitude: small parts of the scene, so that this takes seconds.
TRAIN_BOX, MAP_BOX = (-113.09, 37.28, -113.05, 37.31), (-112.96, 37.28, -112.92, 37.31)


@pytest.fixture(scope="module")
def zion() -> Path:
    """The folder of the scene: the variable ZION, else beside the project."""
    for place in (os.environ.get("ZION"), ROOT.parent / "shared" / "data" / "zion"):
        if place and (Path(place) / "landsat_b2.tif").is_file():
            return Path(place)
    pytest.skip("no Zion scene here (ZION, or ../shared/data/zion)")


def area(path: Path, box: tuple) -> str:
    """Write a rectangle as GeoJSON and return its path."""
    west, south, east, north = box
    ring = [[west, south], [east, south], [east, north], [west, north], [west, south]]
    feature = {"type": "Feature", "properties": {}, "geometry": {"type": "Polygon", "coordinates": [ring]}}
    path.write_text(json.dumps({"type": "FeatureCollection", "features": [feature]}))
    return str(path)


COMMANDS = """
import json, sys
from geotoolbox.cli import main
for words in json.loads(sys.argv[1]):
    assert main(words) == 0
"""


def options(values: dict) -> list[str]:
    """Return settings as options of the command line."""
    words: list[str] = []
    for name, value in values.items():
        option = "--" + name.lower().replace("_", "-")
        words += ["--no-" + option[2:]] if value == "false" else [option, str(value)]
    return words


def contents(model: Path) -> dict[str, bytes]:
    """Return what is in a bundle."""
    with zipfile.ZipFile(model) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def test_qgis_and_the_command_line_give_the_same_model_and_map(
    zion: Path, server: Any, tmp_path: Path, engine: str
) -> None:
    images = [str(zion / f"landsat_b{n}.tif") for n in (2, 3, 4, 5)]
    train_area, map_area = (
        area(tmp_path / "train.geojson", TRAIN_BOX),
        area(tmp_path / "map.geojson", MAP_BOX),
    )
    given = [f"INPUT={path}" for path in images]
    trained = server.run(
        "trainsegmentation", *given, f"LABEL_RASTER={zion / 'nlcd.tif'}", f"AREA={train_area}", f"BANDS={BANDS}",
        *(f"{name}={value}" for name, value in TRAIN.items()), f"OUTPUT_MODEL={tmp_path / 'qgis.gtb'}",
    )  # fmt: skip
    mapped = server.run(
        "predictsegmentation", *given, f"MODEL={tmp_path / 'qgis.gtb'}", f"AREA={map_area}", f"BANDS={BANDS}",
        "BATCH_SIZE=1",
        f"OUTPUT={tmp_path / 'qgis.tif'}",
    )  # fmt: skip
    common = ["--images", *images, "--bands", *BANDS.split(", ")]
    model, output = tmp_path / "cli.gtb", tmp_path / "cli.tif"
    commands = [
        ["train", *common, "--labels", str(zion / "nlcd.tif"), "--area", train_area, *options(TRAIN), "--output", str(model)],
        ["predict", *common, "--model", str(model), "--area", map_area, "--batch-size", "1", "--output", str(output)],
    ]  # fmt: skip
    clean = {k: v for k, v in os.environ.items() if not k.startswith(("PYTHON", "PROJ", "GDAL"))}
    words = [engine, "-s", "-c", COMMANDS, json.dumps(commands)]
    subprocess.run(words, check=True, env=clean, cwd=tmp_path, capture_output=True)
    ours, theirs = contents(tmp_path / "qgis.gtb"), contents(model)
    assert ours["weights.safetensors"] == theirs["weights.safetensors"]
    numbers, same = (
        json.loads(one["model.json"])["properties"]["geotoolbox:card"]["metrics"] for one in (ours, theirs)
    )
    assert numbers == same and numbers["validation_mean_iou"] == trained["MEAN_IOU"]
    assert numbers["validation_overall_accuracy"] == trained["OVERALL_ACCURACY"] > 0.2
    assert Path(mapped["OUTPUT"]).read_bytes() == output.read_bytes()
