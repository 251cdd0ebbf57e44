"""A run cut into shards, in processes of their own: the same bytes as one process."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from geotoolbox.cli.main import main
from geotoolbox.core.events import Event, Progress
from geotoolbox.errors import BadInput, Cancelled, CannotWrite, Locked
from geotoolbox.models.bundle import save_bundle
from geotoolbox.prediction import PredictOptions, predict_scene
from geotoolbox.prediction.locking import hold
from geotoolbox.prediction.markers import Markers, read_order
from geotoolbox.prediction.sharding import Shard, ShardResult, predict_shard
from tests.make import write_raster
from tests.models.test_bundle import bundle
from tests.prediction.scenes import Filter
from tests.scale.work import Deadly, child, contents, odd_scene, options, predict, scene

pytestmark = pytest.mark.timeout(900)


def shard(folder: Path, which: str, **more: object) -> ShardResult:
    """Make a shard of the scene."""
    folder.mkdir(exist_ok=True)
    torch.set_num_threads(1)
    return predict_shard(
        scene(), Filter(), folder / "map.tif", Shard.parse(which), options=options(folder, **more)
    )


def finish(folder: Path, **more: object) -> dict[str, bytes]:
    """Put the shards together."""
    predict(folder, finish=True, **more)
    return contents(folder)


def test_shards_in_processes_of_their_own_then_finish_give_the_bytes_of_one_run(tmp_path: Path) -> None:
    predict(tmp_path / "whole")
    folder = tmp_path / "shards"
    folder.mkdir()
    processes = [child(shard, folder, f"{number}/2") for number in (1, 2)]
    for process in processes:
        process.join()
        assert process.exitcode == 0
    assert not (folder / "map.tif").exists()
    assert finish(folder) == contents(tmp_path / "whole")
    assert not list(folder.glob(".*"))


def test_finish_names_the_shards_that_are_missing(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="no shard has begun"):
        predict(tmp_path, finish=True)
    assert shard(tmp_path, "2/4").blocks == 2
    with pytest.raises(
        BadInput,
        match=r"missing: shard 1/4 \(3 blocks\), shard 3/4 \(2 blocks\), shard 4/4 \(2 blocks\)",
    ):
        predict(tmp_path, finish=True)
    for number in (1, 3):
        shard(tmp_path, f"{number}/4")
    block = next((tmp_path / ".map.tif.work" / "blocks").rglob("classes-*.tif"))
    block.write_bytes(block.read_bytes()[:-1])  # damaged: it does not count
    with pytest.raises(BadInput, match="missing: ") as error:
        predict(tmp_path, finish=True)
    assert "shard 4/4 (2 blocks)" in str(error.value) and str(error.value).count("shard ") >= 2
    result = predict(tmp_path)  # without finish, the rest is made here
    assert result.blocks_resumed == 6
    predict(tmp_path / "whole")
    assert contents(tmp_path) == contents(tmp_path / "whole")


def test_a_stopped_shard_goes_on_and_all_keep_to_the_first_ones_threads_and_batch(tmp_path: Path) -> None:
    class Stop:
        cancelled = False

        def emit(self, event: Event) -> None:
            self.cancelled = isinstance(event, Progress) and event.done > 20

    with pytest.raises(Cancelled):
        predict_shard(
            scene(), Filter(), tmp_path / "map.tif", Shard(1, 1), options=options(tmp_path), reporter=Stop()
        )
    first = read_order(tmp_path / ".map.tif.work")
    assert first is not None and first[1]["threads"] == 1 and first[1]["batch_size"] == 4
    chosen = PredictOptions(block_px=44, batch_size=8, probabilities=tmp_path / "p.tif")  # of another machine
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        result = predict_shard(scene(), Filter(), tmp_path / "map.tif", Shard(1, 1), options=chosen)
    finally:
        torch.set_num_threads(before)
    assert 1 <= result.blocks_resumed < result.blocks == 9
    predict(tmp_path / "whole")
    assert finish(tmp_path) == contents(tmp_path / "whole")


def test_a_shard_with_other_settings_waits_for_the_others_and_one_alone_begins_anew(tmp_path: Path) -> None:
    shard(tmp_path, "1/2")
    lock = tmp_path / ".map.tif.work" / "lock"
    with hold(lock, tmp_path / "map.tif", shared=True):  # as another shard does while it works
        shard(tmp_path, "2/2")
        with pytest.raises(Locked, match=r"with other settings.*tta: True in place of False"):
            shard(tmp_path, "2/2", tta=True)
        with pytest.raises(Locked, match="3 shards in place of 2"):
            shard(tmp_path, "2/3")
        with pytest.raises(Locked):
            predict(tmp_path, finish=True)
    with hold(tmp_path / ".map.tif.work" / "lock-2-of-2", tmp_path), pytest.raises(Locked):
        shard(tmp_path, "2/2")
    assert shard(tmp_path, "2/2").blocks_resumed == 4
    assert shard(tmp_path, "2/2", resume=False).blocks_resumed == 0
    assert shard(tmp_path, "1/2").blocks_resumed == 5  # the others' blocks are left alone
    assert shard(tmp_path, "2/2", tta=True).blocks_resumed == 0
    with pytest.raises(BadInput, match=r"made with other settings.*tta: False in place of True"):
        predict(tmp_path, finish=True)


def _deadly(folder: Path) -> None:
    torch.set_num_threads(1)
    predict_shard(
        odd_scene(), Deadly(notes=folder / "notes"), folder / "map.tif", Shard(1, 1), options=options(folder)
    )


def test_a_block_that_kills_its_shard_three_times_is_set_aside(tmp_path: Path) -> None:
    (tmp_path / "notes").mkdir()
    codes = []
    for _ in range(4):
        process = child(_deadly, tmp_path)
        process.join()
        codes.append(process.exitcode)
    assert codes == [-9, -9, -9, 0]
    blocks = Markers(
        tmp_path / ".map.tif.work" / "blocks", (read_order(tmp_path / ".map.tif.work") or ("",))[0]
    )
    states = {(b.row, b.column): b.state for b in blocks.each()}
    assert states.pop((1, 0)) == "failed" and set(states.values()) == {"done"} and len(states) == 8
    done = predict_scene(
        odd_scene(), Filter(), tmp_path / "map.tif", options=options(tmp_path, finish=True, retry_failed=True)
    )
    assert {tile.block for tile in done.failed} == {(1, 0)}


def test_folders_without_locks_and_wrong_shards_are_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for text in ("0/2", "3/2", "a/b", "1", "1/2/3", "-1/2"):
        with pytest.raises(BadInput, match="i/n"):
            Shard.parse(text)

    def none(handle: int, shared: bool) -> bool:
        raise OSError(95, "Operation not supported")

    monkeypatch.setattr("geotoolbox.prediction.locking._try_lock", none)
    with pytest.raises(CannotWrite, match="file system has no locks"):
        shard(tmp_path, "1/2")


def test_the_command_line_makes_shards_and_finishes(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    image = np.random.default_rng(1).random((2, 150, 120), dtype=np.float32)
    write_raster(tmp_path / "image.tif", image, names=("red", "nir"))
    save_bundle(tmp_path / "model.gtb", bundle())
    base = ["predict", "--model", str(tmp_path / "model.gtb"), "--images", str(tmp_path / "image.tif")]
    base += ["--threads", "1", "--events", "jsonl", "--output"]
    assert main([*base, str(tmp_path / "a" / "map.tif")]) == 0
    output = str(tmp_path / "b" / "map.tif")
    assert main([*base, output, "--finish"]) == 2
    assert main([*base, output, "--shard", "1/2"]) == 0
    last = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert last["shard"] == "1/2" and last["blocks"] >= 1
    assert main([*base, output, "--shard", "2/2"]) == 0
    assert main([*base, output, "--finish"]) == 0
    for name in ("map.tif", "map.qml"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()
    assert main([*base, output, "--shard", "3/2"]) == 2
    assert main([*base, output, "--shard", "1/2", "--finish"]) == 2
