"""What a new user meets in the first minutes: a wrong path, a shortened option, a folder of all sorts, a band too few."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from affine import Affine

from geotoolbox import RasterDataset
from geotoolbox.cli import main
from geotoolbox.errors import BadInput
from geotoolbox.jobs.layers import open_images
from geotoolbox.models import save_bundle
from tests.make import NORTH_UP, ramp, write_raster
from tests.models.test_bundle import bundle


def alone(code: str, folder: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", code]
    return subprocess.run(command, capture_output=True, text=True, check=False, cwd=folder, timeout=300)


def test_a_missing_file_is_told_before_anything_heavy_is_loaded(tmp_path: Path) -> None:
    code = (
        "import sys; from geotoolbox.cli import main\n"
        "code = main(['train', '--images', 'nosuch.tif', '--labels', 'x.tif'])\n"
        "print(code, sorted({'torch', 'lightning', 'rasterio', 'numpy'} & set(sys.modules)))"
    )
    done = alone(code, tmp_path)
    assert done.stdout == "2 []\n" and "no such file: nosuch.tif" in done.stderr


def test_sigterm_ends_the_program_while_it_loads(tmp_path: Path) -> None:
    (tmp_path / "loading.py").write_text("import os, signal\nos.kill(os.getpid(), signal.SIGTERM)\n")
    (tmp_path / "a.tif").touch()
    code = (
        "import sys, dataclasses; sys.path.insert(0, '.')\n"
        "from geotoolbox.cli import main; from geotoolbox.jobs.registry import JOBS\n"
        "JOBS['train'] = dataclasses.replace(JOBS['train'], engine='loading')\n"
        "main(['train', '--images', 'a.tif', '--labels', 'a.tif'])\nprint('lived on')"
    )
    done = alone(code, tmp_path)
    assert (done.returncode, done.stdout) == (-15, "")


def test_the_process_does_not_wait_for_threads_at_its_end(tmp_path: Path) -> None:
    code = (
        "import sys, threading, atexit; from geotoolbox.cli import main\n"
        "atexit.register(print, 'tidied')\n"
        "threading.Thread(target=threading.Event().wait).start()\n"
        "sys.argv = ['geotoolbox', 'run', 'nothere.yaml']\nmain()"
    )
    done = alone(code, tmp_path)
    assert (done.returncode, done.stdout) == (2, "tidied\n")
    assert "no such file: nothere.yaml. Fix:" in done.stderr


@pytest.mark.parametrize(
    ("words", "hint"),
    [
        (("train", "--image", "a.tif"), "did you mean --images?"),
        (("train", "--lables=b.tif"), "--labels"),
        (("polygonis",), "did you mean 'polygonise'?"),
        (("polygonize", "--map", "gone.tif"), "no such file: gone.tif"),
        (("rasterise", "--labels", "gone.shp", "--like", "a.tif"), "no such file: gone.shp"),
    ],
)
def test_shortened_and_misspelt_words_get_a_hint(
    words: tuple[str, ...], hint: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(words) == 2
    assert hint in capsys.readouterr().err


def test_a_folder_of_images_and_labels_is_refused_at_both_doors(tmp_path: Path) -> None:
    for name in ("s_b2.tif", "s_b3.tif"):
        write_raster(tmp_path / name, ramp(20, 30))
    path = write_raster(tmp_path / "classes.tif", np.ones((20, 30), "uint8"), colormap={1: (0, 99, 0)})
    with pytest.raises(BadInput, match=r"look like labels.*classes\.tif"):
        RasterDataset(tmp_path)
    with pytest.raises(BadInput, match=r"look like labels.*classes\.tif.*list the image files"):
        open_images([str(tmp_path)])
    listed = open_images([str(p) for p in sorted(tmp_path.glob("s_*.tif"))])
    assert [b.name for b in listed.bands] == ["b2", "b3"]
    assert len(open_images([str(tmp_path / "s_b2.tif"), str(path)]).bands) == 2, (
        "a file that is named is meant"
    )
    assert repr(listed) == "RasterDataset(2 bands: b2, b3; EPSG:32612; 1 scene)"
    assert repr(RasterDataset(path)) == "RasterDataset(1 class: class 1; EPSG:32612; 1 scene)"


def test_a_layer_that_covers_less_is_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    image = write_raster(tmp_path / "image.tif", ramp(40, 40))
    dem = write_raster(
        tmp_path / "dem.tif", ramp(15, 20).astype("float32"), transform=NORTH_UP * Affine.scale(2)
    )
    open_images([str(image), str(dem)])
    assert [r.getMessage() for r in caplog.records] == [
        "dem covers 75 % of the images; the rest gets no class"
    ]


def test_predict_says_which_band_is_missing_and_how_to_choose(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = save_bundle(tmp_path / "m.gtb", bundle())
    few = write_raster(tmp_path / "few.tif", ramp(40, 50)[None], names=("red",))
    many = write_raster(tmp_path / "many.tif", np.stack([ramp(40, 50)] * 3), names=("swir", "red", "nir"))
    words = ["predict", "--model", str(model), "--output", str(tmp_path / "map.tif"), "--images"]
    assert main([*words, str(few)]) == 2
    assert "nir is missing: add its file to --images" in capsys.readouterr().err
    assert main([*words, str(many)]) == 2
    assert "Fix: choose bands by name and order: --bands red nir\n" in capsys.readouterr().err
