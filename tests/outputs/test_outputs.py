"""Class maps and continuous maps: palette, names, nodata, overviews, whole or not at all."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
import rasterio
from affine import Affine
from odc.geo.geobox import GeoBox

from geotoolbox.core.classes import ClassTable
from geotoolbox.errors import BadLabels, CannotWrite, NoSpace
from geotoolbox.prediction.outputs import (
    BandInfo,
    class_dtype,
    class_nodata,
    finalize_class_map,
    finalize_continuous,
    write_class_raster,
    write_raster_atomic,
)
from tests.make import write_raster

CLASSES = ClassTable.from_names(
    {1: "water", 4: "forest & wood", 9: "<field>"}, {1: (0, 0, 255), 4: (0, 99, 0), 9: (200, 180, 10)}
)


def blobs(height: int = 1100, width: int = 700) -> np.ndarray:
    rows, columns = np.mgrid[0:height, 0:width]
    wave = np.sin(rows / 37.0) + np.cos(columns / 23.0)
    values = np.select([wave < -0.5, wave < 0.6], [1, 4], 9).astype("uint8")
    values[:50, :60] = 255
    return values


def test_class_map_keeps_every_pixel_palette_names_and_nodata(tmp_path: Path) -> None:
    values = blobs()
    source = write_raster(tmp_path / "work.tif", values)
    output = tmp_path / "kärte 1.tif"
    finalize_class_map(source, output, CLASSES, 255, {"GEOTOOLBOX_RUN": "abc"})
    with rasterio.open(output) as raster:
        np.testing.assert_array_equal(raster.read(1), values)
        assert raster.nodata == 255
        palette = raster.colormap(1)
        assert [palette[v][:3] for v in CLASSES.values] == list(CLASSES.colors)
        assert raster.tags(ns="IMAGE_STRUCTURE")["LAYOUT"] == "COG"
        assert raster.tags()["GEOTOOLBOX_RUN"] == "abc"
        assert ClassTable.from_json(json.loads(raster.tags()["GEOTOOLBOX_CLASSES"])) == CLASSES
        assert raster.descriptions == ("class",)
    assert sorted(p.name for p in tmp_path.iterdir()) == [
        "kärte 1.qml", "kärte 1.tif", "kärte 1.tif.aux.xml", "work.tif",
    ]  # fmt: skip


def test_overviews_invent_no_class(tmp_path: Path) -> None:
    values = np.where(np.random.default_rng(0).random((1500, 1500)) < 0.5, 1, 9).astype("uint8")
    finalize_class_map(write_raster(tmp_path / "w.tif", values), tmp_path / "m.tif", CLASSES, 255)
    with rasterio.open(tmp_path / "m.tif") as raster:
        levels = raster.overviews(1)
    assert levels
    for level in range(len(levels)):
        with rasterio.open(tmp_path / "m.tif", overview_level=level) as raster:
            assert set(np.unique(raster.read(1))) <= {1, 9}


def test_overviews_take_the_most_frequent_class_and_average_measurements(tmp_path: Path) -> None:
    cell = np.array([[1, 4], [4, 4]], "uint8")
    finalize_class_map(
        write_raster(tmp_path / "w.tif", np.tile(cell, (512, 512))), tmp_path / "m.tif", CLASSES, 255
    )
    numbers = np.tile(np.array([[0.0, 1.0], [1.0, 2.0]], "float32"), (512, 512))
    finalize_continuous(write_raster(tmp_path / "n.tif", numbers), tmp_path / "c.tif", ["p"])
    with rasterio.open(tmp_path / "m.tif", overview_level=0) as raster:
        assert (raster.read(1) == 4).all()
    with rasterio.open(tmp_path / "c.tif", overview_level=0) as raster:
        np.testing.assert_allclose(raster.read(1), 1.0)


def test_attribute_table_is_read_by_gdal(tmp_path: Path) -> None:
    finalize_class_map(write_raster(tmp_path / "w.tif", blobs(64, 64)), tmp_path / "m.tif", CLASSES, 255)
    told = json.loads(
        subprocess.run(
            ["gdalinfo", "-json", str(tmp_path / "m.tif")], check=True, capture_output=True, text=True
        ).stdout
    )
    rows = [row["f"][:5] for row in told["rat"]["row"]]
    assert rows == [[c.value, c.name, *c.color] for c in CLASSES]  # type: ignore[misc]
    style = ElementTree.parse(tmp_path / "m.qml")
    entries = [(int(e.get("value", "")), e.get("label"), e.get("color")) for e in style.iter("paletteEntry")]
    assert entries[1] == (4, "forest & wood", "#006300")


def test_continuous_keeps_values_names_scale_and_nodata(tmp_path: Path) -> None:
    data = np.random.default_rng(1).integers(0, 254, (2, 600, 530)).astype("uint8")
    data[:, :5] = 255
    source = write_raster(tmp_path / "w.tif", data)
    finalize_continuous(source, tmp_path / "p.tif", ["water", "land"], nodata=255, scale=1 / 254)
    with rasterio.open(tmp_path / "p.tif") as raster:
        np.testing.assert_array_equal(raster.read(), data)
        assert raster.descriptions == ("water", "land")
        assert raster.scales == (1 / 254, 1 / 254) and raster.nodata == 255


def test_nan_nodata(tmp_path: Path) -> None:
    data = np.full((40, 40), np.nan, "float32")
    data[3, 4] = 2.5
    finalize_continuous(
        write_raster(tmp_path / "w.tif", data), tmp_path / "p.tif", ["x"], nodata=float("nan")
    )
    with rasterio.open(tmp_path / "p.tif") as raster:
        np.testing.assert_array_equal(raster.read(1), data)
        assert np.isnan(raster.nodata)


def test_r56_values_never_wrap() -> None:
    assert class_dtype(ClassTable.from_names({0: "a", 254: "b"}), 255) == "uint8"
    assert class_dtype(ClassTable.from_names({0: "a", 300: "b"}), 255) == "uint16"
    assert class_dtype(ClassTable.from_names({-1: "a", 300: "b"}), 255) == "int16"
    assert class_dtype(ClassTable.from_names({-1: "a", 60_000: "b"}), 255) == "int32"
    with pytest.raises(BadLabels, match="fits no raster"):
        class_dtype(ClassTable.from_names({2**40: "a"}), 255)
    with pytest.raises(BadLabels, match="nodata is also a class value"):
        class_dtype(ClassTable.from_names({255: "a"}), 255)


def test_r56_a_raster_too_narrow_for_its_classes_is_refused(tmp_path: Path) -> None:
    source = write_raster(tmp_path / "w.tif", np.zeros((4, 4), "uint8"))
    with pytest.raises(BadLabels, match="uint16"):
        finalize_class_map(source, tmp_path / "m.tif", ClassTable.from_names({300: "a"}), 0)
    assert not (tmp_path / "m.tif").exists()


@pytest.mark.parametrize(("values", "dtype"), [((5, 300), "uint16"), ((-1, 300), "int16")])
def test_wide_class_values_survive(tmp_path: Path, values: tuple[int, int], dtype: str) -> None:
    table = ClassTable.from_names({v: f"c{v}" for v in values})
    grid = GeoBox((3, 4), Affine(1, 0, 40, 0, -1, 30), "EPSG:3035")
    data = np.array([[values[0], values[1]] * 2] * 3, dtype)
    write_class_raster(tmp_path / "m.tif", [((slice(0, 3), slice(0, 4)), data)], grid, table)
    with rasterio.open(tmp_path / "m.tif") as raster:
        np.testing.assert_array_equal(raster.read(1), data)
        assert raster.dtypes == (dtype,) and raster.nodata == class_nodata(table)


def test_blocks_that_do_not_fit_are_refused_and_nothing_is_left(tmp_path: Path) -> None:
    grid = GeoBox((8, 8), Affine(1, 0, 40, 0, -1, 30), "EPSG:3035")
    where = (slice(0, 4), slice(0, 4))
    for wrong in (np.zeros((4, 5), "uint8"), np.zeros((4, 4), "uint16")):
        with pytest.raises(CannotWrite, match="a block does not fit"):
            write_raster_atomic(tmp_path / "m.tif", [(where, wrong)], grid, dtype="uint8")
    assert not list(tmp_path.iterdir())


def test_uncovered_pixels_are_nodata(tmp_path: Path) -> None:
    grid = GeoBox((8, 8), Affine(2, 0, 0, 0, -2, 0), "EPSG:3035")
    ones = np.ones((2, 4, 4), "int16")
    write_raster_atomic(
        tmp_path / "m.tif", [((slice(4, 8), slice(0, 4)), ones)], grid,
        dtype="int16", bands=[BandInfo("ndvi", 1e-4), "x"], nodata=-9999, tags={"k": "v"},
    )  # fmt: skip
    expected = np.full((2, 8, 8), -9999, "int16")
    expected[:, 4:, :4] = 1
    with rasterio.open(tmp_path / "m.tif") as raster:
        np.testing.assert_array_equal(raster.read(), expected)
        assert raster.transform == grid.transform and raster.crs.to_epsg() == 3035
        assert raster.scales == (1e-4, 1.0) and raster.tags()["k"] == "v"


def test_an_earlier_map_stays_when_writing_fails(tmp_path: Path) -> None:
    grid = GeoBox((4, 4), Affine(1, 0, 40, 0, -1, 30), "EPSG:3035")
    where = (slice(0, 4), slice(0, 4))
    write_raster_atomic(tmp_path / "m.tif", [(where, np.ones((4, 4), "uint8"))], grid, dtype="uint8")
    before = (tmp_path / "m.tif").read_bytes()
    with pytest.raises(CannotWrite):
        write_raster_atomic(tmp_path / "m.tif", [(where, np.ones((3, 4), "uint8"))], grid, dtype="uint8")
    assert (tmp_path / "m.tif").read_bytes() == before


def test_the_same_pixels_give_the_same_bytes(tmp_path: Path) -> None:
    source = write_raster(tmp_path / "w.tif", blobs())
    for name in ("a", "b"):
        finalize_class_map(source, tmp_path / name / "m.tif", CLASSES, 255, {"x": "1"})
    assert (tmp_path / "a/m.tif").read_bytes() == (tmp_path / "b/m.tif").read_bytes()


def test_r06_a_full_disk_leaves_no_file(tmp_path: Path) -> None:
    code = (
        "import resource, signal, sys, numpy as np\n"
        "from pathlib import Path\n"
        "from affine import Affine\n"
        "from odc.geo.geobox import GeoBox\n"
        "from geotoolbox.prediction.outputs import write_raster_atomic\n"
        "from geotoolbox.errors import CannotWrite\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, 200_000))\n"
        "data = np.random.default_rng(0).integers(0, 255, (1024, 1024)).astype('uint8')\n"
        "grid = GeoBox((1024, 1024), Affine(1, 0, 40, 0, -1, 30), 'EPSG:3035')\n"
        "try:\n"
        "    write_raster_atomic(Path(sys.argv[1]), [((slice(0, 1024), slice(0, 1024)), data)], grid, dtype='uint8')\n"
        "except CannotWrite as error:\n"
        "    print(type(error).__name__)\n"
    )
    import sys

    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "m.tif")], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() in {"NoSpace", "CannotWrite"}
    assert not list(tmp_path.iterdir())
    assert issubclass(NoSpace, CannotWrite)
