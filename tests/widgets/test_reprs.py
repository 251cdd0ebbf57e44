"""How things show themselves in a notebook: facts as text, escaped, small, readable in any theme."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import geopandas as gpd
import pytest
from shapely.geometry import box

from geotoolbox import (
    ProgressBars,
    RandomGeoSampler,
    RasterDataset,
    VectorDataset,
    evaluate,
    load_model,
    spatial_split,
)
from geotoolbox.core.events import Artifact, Log, Progress
from geotoolbox.core.html import bars, card, facts, outlines, rows
from geotoolbox.jobs.results import TrainJobResult
from geotoolbox.sampling import SampleList
from tests.make import write_raster
from tests.widgets.conftest import make_scene

HOSTILE = "<img src=x onerror=alert(1)>"
MOST_BYTES = 20_000


def sound(page: str) -> str:
    """Check what holds for all: small, no script, nothing from elsewhere, every tag closed; return its text."""
    assert len(page.encode()) < MOST_BYTES
    assert "<script" not in page and "http" not in page and "onerror=" not in re.sub("&lt;.*?&gt;", "", page)
    body = re.sub("<style>.*?</style>", "", page, flags=re.DOTALL)
    for tag in ("div", "table", "details", "svg", "dl", "tr"):
        assert len(re.findall(f"<{tag}[ >]", body)) == body.count(f"</{tag}>"), tag
    return re.sub("<[^>]+>", " ", body)


def test_a_dataset_says_what_it_holds(scene: tuple[Path, Path]) -> None:
    image, labels = scene
    page = (RasterDataset([str(image)]) & RasterDataset([str(labels)], kind="labels"))._repr_html_()
    said = sound(page)
    for word in (
        "IntersectionDataset",
        "red, green, blue, nir",
        "256 × 256",
        "EPSG:32612",
        "30 m",
        image.name,
    ):
        assert word in said
    assert 'role="img"' in page


def test_a_dataset_of_many_files_stays_small(tmp_path: Path) -> None:
    paths = []
    for number in range(60):
        from affine import Affine

        grid = Affine(30.0, 0.0, 3e5 + 300 * number, 0.0, -30.0, 4.14e6)
        image, _ = make_scene(tmp_path / f"{number}", side=16)
        import rasterio

        with rasterio.open(image, "r+") as file:
            file.transform = grid
        target = tmp_path / f"tile_{number:02d}.tif"
        image.rename(target)
        paths.append(str(target))
    said = sound(RasterDataset(paths)._repr_html_())
    assert "and 50 more" in said


def test_hostile_names_stay_text(tmp_path: Path) -> None:
    frame = gpd.GeoDataFrame(
        {"class": [HOSTILE, "b"]}, geometry=[box(0, 0, 1, 1), box(1, 0, 2, 1)], crs="EPSG:4326"
    )
    frame.to_file(tmp_path / "a.gpkg")
    page = VectorDataset(tmp_path / "a.gpkg", column="class")._repr_html_()
    sound(page)
    assert "<img" not in page
    assert "&lt;img src=x" in page
    for made in (
        card(HOSTILE, HOSTILE, []), facts({HOSTILE: HOSTILE}), rows([HOSTILE], [[HOSTILE]]),
        bars([HOSTILE], [1.0], [(0, 0, 0)]), outlines([(box(0, 0, 1, 1), (0, 0, 0), HOSTILE)], label=HOSTILE),
    ):  # fmt: skip
        assert "<img" not in made


def test_a_sample_shows_arrays_and_grid(scene: tuple[Path, Path]) -> None:
    data = RasterDataset([str(scene[0])]) & RasterDataset([str(scene[1])], kind="labels")
    sample = data[data.scenes()[0].geobox[0:32, 0:64]]
    assert isinstance(sample, dict)
    said = sound(sample._repr_html_())
    assert "4 × 32 × 64" in said and "int64" in said and "EPSG:32612" in said
    assert "50 % valid" in said  # the corner of 32 × 32 pixels has no data


def test_a_split_and_a_sample_list_show_where_they_are(scene: tuple[Path, Path]) -> None:
    data = RasterDataset([str(scene[0])]) & RasterDataset([str(scene[1])], kind="labels")
    split = spatial_split(data, {"train": 0.5, "val": 0.5}, block_px=64, seed=0)
    page = split._repr_html_()
    said = sound(page)
    assert "train" in said and "km²" in said and f"{split.buffer_m:,.0f} m apart" in said
    assert page.count("<path") == 2
    samples = SampleList.from_sampler(RandomGeoSampler(data, size=32, length=7, seed=0))
    said = sound(samples._repr_html_())
    assert "7 samples" in said and "32 × 32 px" in said


def test_a_model_a_map_and_an_evaluation_say_how_good_they_are(
    scene: tuple[Path, Path], model: Path, tmp_path: Path
) -> None:
    loaded = load_model(model)
    said = sound(loaded._repr_html_())
    assert "red, green, blue, nir" in said and "held-out blocks" in said
    iou = loaded.bundle.metrics["validation_mean_iou"]
    assert f"{iou:.3f} on held-out blocks" in said
    made = loaded.predict(RasterDataset([str(scene[0])]), tmp_path / "map.tif")
    said = sound(made._repr_html_())
    assert "map.tif" in said and "seam ratio" in said
    area = next(iter(made.result.class_areas_m2.values())) / 1e4
    assert f"{area:,.1f} ha" in said
    judged = evaluate(made, RasterDataset([str(scene[1])], kind="labels"))
    assert f"{judged.scores.overall_accuracy:.3f}" in sound(judged._repr_html_())


def test_a_result_shows_its_numbers_and_files() -> None:
    result = TrainJobResult(
        HOSTILE, "r.html", "m.recipe.yaml", 0.91234, 0.8, 3, 12.0, {"forest": {"mean_iou": 0.7}}
    )
    page = result._repr_html_()
    said = sound(page)
    assert "0.9123" in said and "m.recipe.yaml" in said and "forest" in said
    assert "<img" not in page


@pytest.mark.parametrize("value", [float("nan"), 0.0, 3.0])
def test_bars_know_what_is_not_defined(value: float) -> None:
    page = bars(["a"], [value], [(1, 2, 3)])
    assert ("n/a" in page) == (value != value)


def test_progress_bars_follow_events(capsys: Any) -> None:
    bar = ProgressBars()
    bar.emit(Progress("predict", 0, 4))
    bar.emit(Progress("predict", 2, 4, 3.0, "block 2"))
    assert (bar._bar.n, bar._bar.total) == (2, 4)
    bar.emit(Log("careful", "warning"))
    bar.emit(Log("quiet", "info"))
    bar.emit(Progress("write", 1, 4))
    assert bar._bar.desc.startswith("write")
    bar.emit(Artifact("map", "map.tif"))
    bar.emit(Progress("write", 4, 4))
    assert bar._bar is None
    said = capsys.readouterr()
    assert "warning: careful" in said.out and "wrote map.tif" in said.out and "quiet" not in said.out
    assert not bar.cancelled


def test_a_class_raster_shows_its_classes(tmp_path: Path) -> None:
    import numpy as np

    write_raster(tmp_path / "c.tif", np.ones((8, 8), "uint8"), nodata=0, colormap={1: (10, 20, 30)})
    page = RasterDataset([str(tmp_path / "c.tif")], kind="labels")._repr_html_()
    sound(page)
    assert "rgb(10,20,30)" in page
