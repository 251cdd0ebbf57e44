"""R06: a disk that fills up while something is written: a clear error, no half-written file, and it goes on later.

On a tmpfs of 2 MB where this user may mount one, else with a limit on the size of files.
"""

from __future__ import annotations

import os
import resource
import signal
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import geopandas as gpd
import numpy as np
import pytest

from geotoolbox.errors import CannotWrite
from geotoolbox.indexing import build_index
from geotoolbox.prediction.polygons import polygonize
from geotoolbox.prediction.sidecars import write_text
from geotoolbox.trainers import TrainOptions, train_segmentation
from tests.make import write_raster
from tests.trainers.scene import learnable

DISK_BYTES = 2 << 20


@dataclass(frozen=True)
class SmallDisk:
    """A folder on a disk that can be filled, and emptied."""

    folder: Path
    limited: bool

    def fill(self, leave_bytes: int) -> None:
        """Leave only so many bytes."""
        if self.limited:
            limit_file_size(leave_bytes)
            return
        free = os.statvfs(self.folder)
        room = free.f_bavail * free.f_frsize - leave_bytes
        (self.folder / "ballast").write_bytes(b"x" * max(room, 0))

    def empty(self) -> None:
        """Give the room back."""
        if self.limited:
            limit_file_size(resource.RLIM_INFINITY)
        else:
            (self.folder / "ballast").unlink()


def limit_file_size(size: int) -> None:
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, resource.getrlimit(resource.RLIMIT_FSIZE)[1]))


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[SmallDisk]:
    folder = tmp_path / "small"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={DISK_BYTES}", "none", str(folder)]
    mounted = os.geteuid() == 0 and not subprocess.run(mount, capture_output=True, check=False).returncode
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        yield SmallDisk(folder, not mounted)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)
        if mounted:
            subprocess.run(["umount", str(folder)], check=True)


def left(folder: Path) -> set[str]:
    return {path.name for path in folder.rglob("*") if path.is_file() and path.name != "ballast"}


def check(disk: SmallDisk, output: Path, write: Callable[[], object], leave_bytes: int = 8_192) -> None:
    """Fail on the full disk without a trace of the output, then succeed once there is room."""
    disk.fill(leave_bytes)
    with pytest.raises(CannotWrite) as caught:
        write()
    assert output.name in str(caught.value) or output.parent.name in str(caught.value)
    assert not output.exists() and not [name for name in left(disk.folder) if ".part" in name]
    disk.empty()
    write()
    assert output.exists()


def test_r06_polygonise(disk: SmallDisk, tmp_path: Path) -> None:
    values = np.random.default_rng(0).integers(1, 4, (60, 60)).astype("uint8")
    source = write_raster(tmp_path / "m.tif", values)
    for name in ("p.gpkg", "p.parquet", "p.geojson"):
        output = disk.folder / name
        check(disk, output, lambda output=output: polygonize(source, output))
        output.unlink()
    assert left(disk.folder) == {"p.qml"}


def test_r06_index(disk: SmallDisk, tmp_path: Path) -> None:
    files = [
        str(write_raster(tmp_path / f"scene_with_a_long_name_{n:03d}.tif", np.ones((4, 4), "uint8")))
        for n in range(40)
    ]
    output = disk.folder / "index.parquet"
    check(disk, output, lambda: build_index(files).save(output), leave_bytes=4_096)
    assert len(gpd.read_parquet(output)) == 40


def test_r06_plot(disk: SmallDisk) -> None:
    output = disk.folder / "page.html"
    check(disk, output, lambda: write_text(output, "<p>" + "word " * 10_000))


def test_r06_train_goes_on_from_the_checkpoints(disk: SmallDisk, tmp_path: Path) -> None:
    options = TrainOptions(
        width=4,
        patch_px=32,
        batch_size=4,
        patches_per_epoch=8,
        epochs=2,
        baseline=False,
        max_minutes=None,
        seed=1,
    )

    def train() -> object:
        return train_segmentation(
            learnable(), learnable(seed=1, x=310_000), options=options, work_dir=disk.folder / "work"
        )

    disk.fill(16_384)
    with pytest.raises(CannotWrite):
        train()
    assert not [name for name in left(disk.folder) if ".part" in name]
    disk.empty()
    result = train()
    whole = train_segmentation(
        learnable(), learnable(seed=1, x=310_000), options=options, work_dir=tmp_path / "whole"
    )
    assert [row["train_loss"] for row in result.history] == [row["train_loss"] for row in whole.history]


def test_the_disk_of_these_tests_is_small(disk: SmallDisk) -> None:
    if disk.limited:
        disk.fill(1000)
        with pytest.raises(OSError):
            (disk.folder / "a").write_bytes(b"x" * 2000)
    else:
        assert os.statvfs(disk.folder).f_blocks * os.statvfs(disk.folder).f_frsize == DISK_BYTES
