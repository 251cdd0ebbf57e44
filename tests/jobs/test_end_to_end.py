"""The main path on a small scene of two UTM zones: through the command line and through Python, the same pixels."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pyogrio
import pytest
import rasterio

from geotoolbox import RasterDataset, VectorDataset, evaluate, load_model, train
from geotoolbox.cli import main
from geotoolbox.jobs.demo_scene import DemoScene, make_demo_scene
from geotoolbox.jobs.train import TrainSettings

SETTINGS = TrainSettings(patch_px=32, epochs=1, batch_size=8, maximum_minutes=600, baseline=False, seed=3)


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> DemoScene:
    return make_demo_scene(tmp_path_factory.mktemp("scene"), seed=3, size_px=200)


@pytest.fixture(scope="module")
def trained(scene: DemoScene, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("trained")
    words = ["train", "--images", *map(str, scene.images), "--labels", str(scene.label_polygons)]
    words += ["--label-column", "class", "--output", str(folder / "m.gtb"), "--events", "jsonl"]
    words += ["--patch-px", "32", "--epochs", "1", "--batch-size", "8", "--seed", "3"]
    assert main([*words, "--maximum-minutes", "600"]) == 0  # the time changes nothing, on no machine
    return folder / "m.gtb"


def predict_words(model: Path, scene: DemoScene, output: Path) -> list[str]:
    return ["predict", "--model", str(model), "--images", *map(str, scene.images), "--output", str(output)]


def pixels(path: Path) -> np.ndarray:
    with rasterio.open(path) as source:
        return source.read(1)


def test_train_writes_the_model_its_report_and_its_recipe(trained: Path) -> None:
    model = load_model(trained)
    report = trained.with_suffix(".html").read_text()
    assert set(model.classes.names) == {"cropland", "grassland", "forest", "settlement", "water"}
    assert [b.name for b in model.bundle.bands] == ["blue", "green", "red", "nir"]
    assert "random forest" in report and "held-out" in report
    assert ">Calibration on held-out blocks<" in report and "blocks: temperature" not in report
    assert model.bundle.report_html == report
    assert model.bundle.temperature == model.bundle.metrics["calibration"]["temperature"]
    assert model.bundle.metrics["applicability"]["names"][:4] == ["blue", "green", "red", "nir"]
    assert trained.with_name("m.recipe.yaml").exists()


def test_law_9_command_line_python_and_recipe_give_the_same_pixels(
    scene: DemoScene, trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first = tmp_path / "cli.tif"
    assert main([*predict_words(trained, scene, first), "--polygons", str(tmp_path / "cli.gpkg")]) == 0
    said = capsys.readouterr()
    assert "write" in said.out + said.err and "confidence" not in said.out + said.err  # nobody asked for it
    images = RasterDataset([str(p) for p in scene.images])
    second = load_model(trained).predict(images, tmp_path / "python.tif")
    assert np.array_equal(pixels(first), pixels(second.path))
    before = first.read_bytes()
    first.unlink()
    assert main(["run", str(tmp_path / "cli.recipe.yaml")]) == 0
    assert first.read_bytes() == before
    assert len(np.unique(pixels(first))) > 1
    assert pyogrio.read_info(tmp_path / "cli.gpkg")["features"] > 0


def test_python_trains_the_same_model_as_the_command_line(scene: DemoScene, trained: Path) -> None:
    images = RasterDataset([str(p) for p in scene.images])
    labels = VectorDataset(str(scene.label_polygons), column="class")
    model = train(images & labels, settings=SETTINGS)
    other = load_model(trained)
    assert model.bundle.state.keys() == other.bundle.state.keys()
    assert all(bool((model.bundle.state[k] == other.bundle.state[k]).all()) for k in model.bundle.state)


def test_evaluate_writes_numbers_that_the_pixels_bear_out(
    scene: DemoScene, trained: Path, tmp_path: Path
) -> None:
    output = tmp_path / "map.tif"
    assert main(predict_words(trained, scene, output)) == 0
    words = ["evaluate", "--map", str(output), "--reference", str(scene.label_raster)]
    words += ["--area", str(scene.test_area), "--metrics", str(tmp_path / "m.json")]
    assert main([*words, "--report", str(tmp_path / "r.html")]) == 0
    numbers = json.loads((tmp_path / "m.json").read_text())
    counts = np.array(numbers["confusion"])
    assert numbers["pixels"] == counts.sum() > 1000
    assert numbers["overall_accuracy"] == pytest.approx(np.trace(counts) / counts.sum())
    page = (tmp_path / "r.html").read_text()
    assert "When the model was trained, on ground held out then, these labelled correctly: the model " in page
    assert "random forest" in page and "above calling everything" in page.replace(
        "below calling", "above calling"
    )
    labels = RasterDataset(str(scene.label_raster))
    again = evaluate(output, labels).scores
    assert again.pixels > numbers["pixels"]  # the whole map, not the area alone


def test_r70_images_with_other_bands_are_refused(
    scene: DemoScene, trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = predict_words(trained, scene, tmp_path / "map.tif")
    assert main([*words, "--bands", "nir", "red", "green", "blue"]) == 2
    assert "blue, green, red, nir" in capsys.readouterr().err
    assert not (tmp_path / "map.tif").exists()


def test_sample_rasterize_indices_and_stack(scene: DemoScene, tmp_path: Path) -> None:
    image = str(scene.images[0])
    chips = tmp_path / "chips"
    words = ["sample", "--images", image, "--labels", str(scene.label_polygons), "--label-column", "class"]
    assert main([*words, "--output", str(chips), "--size-px", "32", "--count", "5", "--seed", "1"]) == 0
    assert len(list((chips / "images").glob("*.tif"))) == len(list((chips / "masks").glob("*.tif"))) > 0
    assert len(pyogrio.read_dataframe(chips / "footprints.gpkg")) == len(list((chips / "images").glob("*")))
    labels = ["--labels", str(scene.label_polygons), "--label-column", "class"]
    assert main(["rasterize", *labels, "--like", image, "--output", str(tmp_path / "l.tif")]) == 0
    assert main(["indices", "--images", image, "--indices", "ndvi", "--output", str(tmp_path / "i.tif")]) == 0
    assert (
        main(
            [
                "stack",
                "--images",
                *map(str, scene.images),
                "--like",
                image,
                "--output",
                str(tmp_path / "s.tif"),
            ]
        )
        == 0
    )
    with rasterio.open(image) as source, rasterio.open(tmp_path / "i.tif") as index:
        red, nir = (source.read(n).astype("float64") for n in (3, 4))
        ndvi, data = index.read(1), source.read(1) > 0
    nir, red = nir[data], red[data]
    assert np.allclose(ndvi[data], (nir - red) / (nir + red), atol=1e-6)
    assert np.isnan(ndvi[~data]).all()
    with rasterio.open(tmp_path / "s.tif") as stack, rasterio.open(image) as source:
        own, stacked = source.read(), stack.read()
    assert np.array_equal(stacked[:, data], own[:, data].astype("float32"))


def test_inspect_says_what_fits_together(scene: DemoScene, capsys: pytest.CaptureFixture[str]) -> None:
    files = [*map(str, scene.images), str(scene.label_raster), str(scene.label_polygons)]
    assert main(["inspect", *files]) == 0
    text = capsys.readouterr().out
    for words in (
        "EPSG:32632",
        "EPSG:32633",
        "EPSG:3035",
        "images together: 4 bands (blue, green, red, nir)",
    ):
        assert words in text
    assert "columns class" in text


def test_inspect_shows_the_good_files_beside_a_bad_one(
    scene: DemoScene, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bad = tmp_path / "page.tif"
    bad.write_text("<html>not found</html>")
    assert main(["inspect", str(scene.images[0]), str(bad)]) == 2
    text, last = capsys.readouterr()
    assert "page.tif" in last
    assert "PROBLEM" in text and "page.tif" in text and "EPSG:32632" in text
