"""The newest good checkpoint is found, whatever happened to the others."""

from __future__ import annotations

import logging
import os
from pathlib import Path

import pytest

from geotoolbox.trainers.checkpoints import clear_parts, last_good, write_checkpoint


def write(folder: Path, epoch: int, keep: int = 2) -> Path:
    return write_checkpoint(folder, epoch, lambda p: p.write_bytes(b"weights %d" % epoch) and None, keep)


def test_the_newest_is_found_and_old_ones_go(tmp_path: Path) -> None:
    assert last_good(tmp_path) is None
    written = [write(tmp_path, n) for n in range(1, 5)]
    assert last_good(tmp_path) == written[-1]
    assert sorted(tmp_path.glob("*.ckpt")) == written[-2:] and len(list(tmp_path.iterdir())) == 4


@pytest.mark.parametrize("damage", [b"", b"weights x", None])
def test_r01_a_corrupt_newest_checkpoint_leads_to_the_one_before(
    tmp_path: Path, damage: bytes | None, caplog: pytest.LogCaptureFixture
) -> None:
    first, second = write(tmp_path, 1), write(tmp_path, 2)
    if damage is None:
        second.with_suffix(".sha256").unlink()
    else:
        second.write_bytes(damage)
    with caplog.at_level(logging.WARNING):
        assert last_good(tmp_path) == first
    assert "epoch-000002.ckpt is damaged" in caplog.text


def test_a_failed_write_leaves_the_others(tmp_path: Path) -> None:
    first = write(tmp_path, 1)

    def fail(path: Path) -> None:
        path.write_bytes(b"half")
        raise OSError("no")

    with pytest.raises(OSError, match="no"):
        write_checkpoint(tmp_path, 2, fail)
    assert last_good(tmp_path) == first and len(list(tmp_path.iterdir())) == 2


def test_parts_of_dead_processes_go_and_those_of_living_ones_stay(tmp_path: Path) -> None:
    for pid in (os.getpid(), 2**22 + 1):
        (tmp_path / f"epoch-000001.{pid}.part.ckpt").touch()
    clear_parts(tmp_path)
    assert [p.name for p in tmp_path.iterdir()] == [f"epoch-000001.{os.getpid()}.part.ckpt"]
    assert last_good(tmp_path) is None
