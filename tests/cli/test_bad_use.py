"""What a hurried person does: wrong paths, the output over the input, nobody at the other end of the pipe."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import geopandas
import numpy as np
import pytest
import rasterio
from shapely.geometry import box

from geotoolbox.cli import main
from geotoolbox.core.files import check_apart
from geotoolbox.errors import BadInput
from geotoolbox.models import save_bundle
from tests.make import NORTH_UP, UTM12, ramp, write_raster
from tests.models.test_bundle import bundle

NAMES = ("red", "nir")


def image(path: Path, **profile: object) -> Path:
    return write_raster(path, np.stack([ramp(40, 50), ramp(40, 50) + 7]), names=NAMES, **profile)  # type: ignore[arg-type]


def fields(path: Path) -> Path:
    west, top = NORTH_UP.c, NORTH_UP.f
    shapes = [box(west, top - 1200, west + 700, top), box(west + 700, top - 1200, west + 1500, top)]
    geopandas.GeoDataFrame({"crop": ["a", "b"], "n": [1, 2]}, geometry=shapes, crs=UTM12).to_file(path)
    return path


def said(capsys: pytest.CaptureFixture[str]) -> str:
    found = capsys.readouterr().err
    assert "Traceback" not in found
    return found


def test_an_output_never_takes_the_place_of_an_input(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = image(tmp_path / "scene.tif")
    before = path.read_bytes()
    os.link(path, tmp_path / "same.tif")
    (tmp_path / "also.tif").symlink_to(path)
    for output in ("scene.tif", "same.tif", "also.tif"):
        words = ["--images", str(path), "--output", str(tmp_path / output)]
        assert main(["stack", *words]) == 2
        assert "take the place of an input" in said(capsys)
        assert main(["indices", *words, "--indices", "d = nir - red"]) == 2
    labels = fields(tmp_path / "fields.gpkg")
    words = ["--labels", str(labels), "--label-column", "crop", "--like", str(path)]
    assert main(["rasterize", *words, "--output", str(path)]) == 2
    assert path.read_bytes() == before


def test_a_map_never_takes_the_place_of_an_image_in_a_folder(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = image(tmp_path / "folder" / "scene.tif")
    before = path.read_bytes()
    model = save_bundle(tmp_path / "m.gtb", bundle())
    words = ["predict", "--model", str(model), "--images", str(path.parent)]
    assert main([*words, "--output", str(path)]) == 2
    assert "take the place of an input" in said(capsys)
    assert path.read_bytes() == before


def test_two_outputs_need_two_names(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path, labels = image(tmp_path / "scene.tif"), fields(tmp_path / "fields.gpkg")
    words = ["train", "--images", str(path), "--labels", str(labels), "--label-column", "crop"]
    assert main([*words, "--output", str(tmp_path / "m.html")]) == 2  # where the report would go
    assert "two outputs are one file" in said(capsys)
    with pytest.raises(BadInput, match="two outputs"):
        check_apart([tmp_path / "a.tif", tmp_path / "x" / ".." / "a.tif"], [])


def test_r07_polygons_that_cannot_be_written_fail_before_the_work(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path, model = image(tmp_path / "s.tif"), save_bundle(tmp_path / "m.gtb", bundle())
    words = ["predict", "--model", str(model), "--images", str(path), "--output", str(tmp_path / "map.tif")]
    assert main([*words, "--polygons", str(path / "p.gpkg")]) == 2
    assert "cannot write here" in said(capsys)
    assert main([*words, "--polygons", str(path.with_name("map.shp"))]) == 2
    assert ".gpkg" in said(capsys)
    assert not (tmp_path / "map.tif").exists()


def test_polygons_tell_their_mean_confidence_though_no_raster_of_it_is_wanted(tmp_path: Path) -> None:
    path, model = image(tmp_path / "s.tif"), save_bundle(tmp_path / "m.gtb", bundle())
    words = ["predict", "--model", str(model), "--images", str(path), "--output", str(tmp_path / "map.tif")]
    assert main([*words, "--polygons", str(tmp_path / "map.gpkg")]) == 0
    names = {p.name for p in tmp_path.iterdir()}
    assert not [n for n in names if "confidence" in n or "work" in n]
    asked = ["--confidence", str(tmp_path / "c.tif"), "--polygons", str(tmp_path / "two.gpkg")]
    assert main([*words, *asked]) == 0 and (tmp_path / "c.tif").exists()
    one, two = (geopandas.read_file(tmp_path / name) for name in ("map.gpkg", "two.gpkg"))
    assert len(one) > 0 and (one["confidence"] > 0).all()
    assert one["confidence"].tolist() == two["confidence"].tolist()


def test_r34_inspect_names_what_a_file_lacks(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = image(tmp_path / "nowhere.tif", crs=None)
    good = image(tmp_path / "good.tif")
    assert main(["inspect", str(path), str(good)]) == 2, "one has a problem; all is shown"
    text = capsys.readouterr().out
    assert "no CRS" in text and "50 × 40 px, 2 bands uint16" in text and "pixel 30 m\n" in text
    assert "images together: 2 bands (red, nir), 1 scene" in text
    assert main(["inspect", str(good)]) == 0
    capsys.readouterr()
    assert main(["inspect", str(good), str(tmp_path / "gone.gpkg")]) == 2
    assert "gone.gpkg" in said(capsys)


def test_a_device_that_is_not_there_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path, labels = image(tmp_path / "s.tif"), fields(tmp_path / "f.gpkg")
    model = save_bundle(tmp_path / "m.gtb", bundle())
    words = ["--images", str(path), "--device", "mps", "--output"]  # no machine of these tests has one
    assert main(["predict", "--model", str(model), *words, str(tmp_path / "o.tif")]) == 2
    assert "no such device" in said(capsys)
    words = [*words, str(tmp_path / "o.gtb"), "--labels", str(labels), "--label-column", "crop"]
    assert main(["train", *words]) == 2
    assert "no such device" in said(capsys)


@pytest.mark.parametrize("events", ["auto", "jsonl"])
def test_nobody_at_the_other_end_of_the_pipe(tmp_path: Path, events: str) -> None:
    path = image(tmp_path / "s.tif")
    words = [sys.executable, "-m", "geotoolbox", "stack", "--images", str(path), "--events", events]
    reader, writer = os.pipe()
    os.close(reader)
    ways = {"stdout": writer, "stderr": subprocess.PIPE} if events == "jsonl" else {"stderr": writer}
    try:
        done = subprocess.run(
            [*words, "--output", str(tmp_path / "o.tif")], check=False, text=True, timeout=300, **ways
        )
    finally:
        os.close(writer)
    assert done.returncode == 130, "nobody listens: the job stops as if it were asked to"
    assert not done.stderr
    assert {p.name for p in tmp_path.iterdir()} == {"s.tif"}


def test_the_work_counts_when_only_the_last_word_is_not_heard(tmp_path: Path) -> None:
    path = image(tmp_path / "s.tif")
    reader, writer = os.pipe()
    os.close(reader)
    words = [sys.executable, "-m", "geotoolbox", "inspect", str(path)]
    try:
        done = subprocess.run(
            words, check=False, stdout=writer, stderr=subprocess.PIPE, text=True, timeout=300
        )
    finally:
        os.close(writer)
    assert (done.returncode, done.stderr) == (0, "")


def test_the_command_line_says_what_json_says(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = image(tmp_path / "dir with ünïcode 🛰" / "s.tif")
    assert main(["inspect", str(path), "--events", "jsonl"]) == 0
    last = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert last["exit_code"] == 0 and last["values"]["files"][0]["file"] == str(path)
    assert rasterio.open(path).count == 2


@pytest.mark.parametrize(
    ("images", "labels", "more", "words"),
    [
        ("f.shp", "s.tif", (), ("not a raster", "shapefile", "as labels")),
        ("f.gpkg", "s.tif", (), ("not a raster", "GeoPackage", "as labels")),
        ("s.tif", "f.shp", (), ("no column tells the classes", "crop, n", "--label-column")),
        ("s.tif", "f.shp", ("--label-column", "crp"), ("no such column", "crop, n", "crp")),
        ("s.tif", "noprj.shp", ("--label-column", "crop"), ("noprj.shp", "CRS", "--label-crs")),
        ("one.tif", "f.shp", ("--label-column", "crop"), ("too small to be split",)),
        ("s.tif", "f.shp", ("--label-column", "crop", "--model", "huge"), ("unknown architecture", "unet")),
        ("s.tif", "f.shp", ("--label-column", "crop", "--patch-px", "4096"), ("4096 px", "50 × 40 px")),
        ("s.tif", "f.shp", ("--label-column", "crop", "--loss", "l1"), ("unknown loss", "dice")),
        ("s.tif", "f.shp", ("--label-column", "crop", "--indices", "x = swir"), ("swir", "red, nir")),
        ("s.tif", "f.shp", ("--label-column", "crop", "--encoder", "resnet18", "--model", "small"), ("no encoder",)),
        ("s.tif", "f.shp", ("--label-column", "crop", "--area", "empty.geojson"), ("no polygon", "empty.geojson")),
        ("s.tif", "f.shp", ("--label-column", "crop", "--area", "far.geojson"), ("lon 0.0",)),
    ],
)  # fmt: skip
def test_train_says_what_is_wrong_before_it_trains(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    images: str,
    labels: str,
    more: tuple[str, ...],
    words: tuple[str, ...],
) -> None:
    monkeypatch.chdir(tmp_path)
    image(tmp_path / "s.tif")
    write_raster(tmp_path / "one.tif", ramp(2, 2))
    for name in ("f.shp", "f.gpkg", "noprj.shp"):
        fields(tmp_path / name)
    (tmp_path / "noprj.prj").unlink()
    (tmp_path / "empty.geojson").write_text('{"type": "FeatureCollection", "features": []}')
    geopandas.GeoDataFrame(geometry=[box(0, 0, 1, 1)], crs="EPSG:4326").to_file("far.geojson")
    assert main(["train", "--images", images, "--labels", labels, "--output", "m.gtb", *more]) == 2
    found = said(capsys)
    assert all(word in found for word in words), found
    assert not Path("m.gtb").exists()


def test_labels_that_need_a_word_more_get_it_on_the_command_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    like = str(image(tmp_path / "s.tif"))
    where = NORTH_UP * (20.5, 10.5)
    points = geopandas.GeoDataFrame({"crop": ["ä", "b"]}, geometry=geopandas.points_from_xy([where[0]] * 2, [where[1]] * 2), crs=UTM12)  # fmt: skip
    points.to_file(tmp_path / "p.shp", encoding="latin1")
    (tmp_path / "p.prj").unlink()
    (tmp_path / "p.cpg").write_text("UTF-8")
    words = ["rasterize", "--labels", str(tmp_path / "p.shp"), "--label-column", "crop", "--like", like]
    words += ["--output", str(tmp_path / "l.tif"), "--label-buffer-m", "95"]
    assert main([*words, "--label-encoding", "latin1"]) == 2 and "--label-crs" in said(capsys)
    assert main([*words, "--label-crs", UTM12, "--label-encoding", "latin1"]) == 0
    with rasterio.open(tmp_path / "l.tif") as made:
        burned, names = made.read(1), made.tags(1)
    assert (burned != 255).sum() == 37 and burned[10, 20] == 1, (
        "the lattice points within 3.17 pixels; the later, b, is on top"
    )
    assert "ä" in " ".join(names.values()) or "ä" in (tmp_path / "l.tif.aux.xml").read_text(encoding="utf-8")
    assert main([*words, "--label-crs", UTM12, "--label-encoding", "latin1", "--label-order", "area"]) == 0


def test_r05_ctrl_c_ends_a_prediction_with_130_and_nothing_half_written(tmp_path: Path) -> None:
    wide = np.zeros((2, 1500, 1500), "uint8")
    path = write_raster(tmp_path / "s.tif", wide, names=NAMES, compress="deflate")
    model = save_bundle(tmp_path / "m.gtb", bundle())  # with tiles of 32 px: thousands of them
    words = ["predict", "--model", str(model), "--images", str(path), "--output", str(tmp_path / "map.tif")]
    words += ["--polygons", str(tmp_path / "p.gpkg"), "--events", "jsonl"]
    command = [sys.executable, "-m", "geotoolbox", *words]
    last: dict[str, object] = {}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if not last and '"progress"' in line:
                process.send_signal(signal.SIGINT)
            last = json.loads(line)
    assert process.returncode == 130 and last["exit_code"] == 130
    assert {p.name for p in tmp_path.iterdir()} == {"s.tif", "m.gtb", ".map.tif.work"}
