"""``qgis_process``, as a server runs it: a profile of its own, no screen, JSON out."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from qgis.core import QgsRasterLayer


def test_all_algorithms_are_listed(server: Any) -> None:
    listed = server.call("list").stdout
    assert listed.count("geotoolbox:") == 16
    helped = server.call("help", "geotoolbox:predictsegmentation").stdout
    assert "MODEL: Model" in helped and "The model bundle (.gtb)." in helped


def test_the_demo_scene_from_images_to_a_report(server: Any, scene: Path, qgis_app) -> None:
    images = [f"INPUT={scene / name}" for name in ("image_utm32.tif", "image_utm33.tif")]
    trained = server.run(
        "trainsegmentation", *images, f"LABELS={scene / 'labels.gpkg'}", "FIELD=class",
        f"AREA={scene / 'train_area.geojson'}", "PATCH_PX=32", "EPOCHS=1", "BATCH_SIZE=8", "SEED=3", "MODEL=small",
        "BASELINE=false", "OUTPUT_MODEL=out/m.gtb",
    )  # fmt: skip
    assert 0.2 < trained["OVERALL_ACCURACY"] <= 1
    made = server.run(
        "predictsegmentation", *images, "MODEL=out/m.gtb", "BATCH_SIZE=1", "OUTPUT=out/map.tif",
        "POLYGONS=out/map.gpkg", "CONFIDENCE=out/confidence.tif",
    )  # fmt: skip
    assert made["OUTPUT"] == str(server.home / "out" / "map.tif")
    layer = QgsRasterLayer(made["OUTPUT"])
    assert layer.crs().authid() == "EPSG:32632" and len(layer.renderer().classes()) == 5
    judged = server.run(
        "evaluatesegmentation", f"INPUT={made['OUTPUT']}", f"REFERENCE_RASTER={scene / 'landcover.tif'}",
        f"AREA={scene / 'test_area.geojson'}", "RESAMPLES=10", "REPORT=out/r.html", "METRICS=out/m.json",
    )  # fmt: skip
    numbers = json.loads(Path(judged["METRICS"]).read_text())
    assert judged["PIXELS"] == sum(map(sum, numbers["confusion"])) > 1000


def test_failures_end_with_1_and_words(server: Any, scene: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    done = server.call(
        "--json", "run", "geotoolbox:predictsegmentation", "--", f"INPUT={scene / 'image_utm32.tif'}", "MODEL=gone.gtb",
        "OUTPUT=x.tif",
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (1, "") and "no such file" in done.stderr
    monkeypatch.setitem(server.environment, "GEOTOOLBOX_PYTHON", "/no/python")
    done = server.call("--json", "run", "geotoolbox:checkengine")
    assert done.returncode == 1 and "cannot be started" in done.stderr
