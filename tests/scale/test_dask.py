"""Predict, polygonise and index on a Dask cluster: the same bytes, whoever dies."""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import dask
import psutil
import pytest
from distributed import LocalCluster

from geotoolbox.core.cluster import Cluster, connected, map_on
from geotoolbox.core.events import Event, Progress
from geotoolbox.errors import BadInput, BlocksFailed, CannotRead, Locked, TooLarge
from geotoolbox.indexing.build import build_index
from geotoolbox.prediction import PredictOptions, predict_scene
from geotoolbox.prediction.polygons import polygonize
from tests.make import ramp, write_raster
from tests.scale.work import Deadly, child, contents, odd_scene, options, predict, scene

pytestmark = pytest.mark.timeout(900)  # processes start slowly where many tests share two cores


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What one process makes of the scene."""
    folder = tmp_path_factory.mktemp("local")
    predict(folder)
    return folder


def _family() -> list[psutil.Process]:
    me = psutil.Process()
    return [me, *me.children(recursive=True)]


@dataclass
class Spy:
    """Calls a function at each event of a stage, and keeps what listens then."""

    at_block: int = 10**9
    do: object = None
    listens: set[str] = field(default_factory=set)
    seen: int = 0
    cancelled: bool = False

    def emit(self, event: Event) -> None:
        if not (isinstance(event, Progress) and event.stage == "predict" and event.done):
            return
        self.seen += 1
        for process in _family():
            try:
                found = process.net_connections("inet")
            except psutil.Error:
                continue
            self.listens |= {c.laddr.ip for c in found if c.status == psutil.CONN_LISTEN}
        if self.seen == self.at_block and callable(self.do):
            self.do()


def _workers() -> list[psutil.Process]:
    """The worker processes of our own cluster: those that hold connections to the scheduler."""
    mine = {c.laddr.port for c in psutil.Process().net_connections("inet") if c.status == psutil.CONN_LISTEN}
    found = []
    for process in _family()[1:]:
        try:
            links = process.net_connections("inet")
        except psutil.Error:
            continue
        if any(c.raddr and c.raddr.port in mine for c in links):
            found.append(process)
    return found


def test_the_same_bytes_as_one_process_and_nothing_listens_beyond_loopback(
    whole: Path, tmp_path: Path
) -> None:
    spy = Spy()
    result = predict(tmp_path, "dask", spy)
    assert contents(tmp_path) == contents(whole)
    assert result.plan.blocks == 9 and spy.seen == 9 and not result.failed
    assert spy.listens == {"127.0.0.1"}
    assert not list(tmp_path.glob(".*")) and not _workers()


def test_a_worker_killed_in_mid_run_costs_nothing_but_time(whole: Path, tmp_path: Path) -> None:
    killed: list[int] = []

    def kill() -> None:
        worker = _workers()[0]
        killed.append(worker.pid)
        worker.kill()

    result = predict(tmp_path, "dask", Spy(2, kill))
    assert killed and not result.failed and contents(tmp_path) == contents(whole)


def test_a_block_that_kills_three_times_is_set_aside_and_the_rest_is_made(tmp_path: Path) -> None:
    """And when the cause is mended, only that block is made anew."""
    notes, folder = tmp_path / "notes", tmp_path / "map"
    notes.mkdir()
    folder.mkdir()
    result = predict_scene(
        odd_scene(), Deadly(notes=notes), folder / "map.tif", options=options(folder, "dask")
    )
    assert len(list(notes.iterdir())) == 3
    assert {tile.block for tile in result.failed} == {(1, 0)}
    assert "killed 3 processes and was set aside" in result.failed[0].reason
    mended = predict_scene(
        odd_scene(),
        Deadly(notes=notes, times=0),
        folder / "map.tif",
        options=options(folder, retry_failed=True),
    )
    assert mended.blocks_resumed == 8 and not mended.failed
    direct = tmp_path / "direct"
    direct.mkdir()
    predict_scene(odd_scene(), Deadly(notes=notes, times=0), direct / "map.tif", options=options(direct))
    assert contents(folder) == contents(direct)


def test_the_driver_killed_and_restarted_goes_on(whole: Path, tmp_path: Path) -> None:
    driver = child(_slow_driver, tmp_path)
    ledger = tmp_path / ".map.tif.work" / "ledger.sqlite"
    while _done(ledger) < 2:
        assert driver.is_alive()
        time.sleep(0.05)
    children = psutil.Process(driver.pid).children(recursive=True)
    driver.kill()
    driver.join()
    psutil.wait_procs(children, timeout=300)
    assert not any(c.is_running() and c.status() != psutil.STATUS_ZOMBIE for c in children), (
        "workers outlive it"
    )
    assert not (tmp_path / "map.tif").exists()
    result = predict(tmp_path, "dask")
    assert 2 <= result.blocks_resumed < 9 and contents(tmp_path) == contents(whole)


def _slow_driver(folder: Path) -> None:
    predict_scene(
        scene(),
        Deadly(notes=folder, times=0, slow_s=0.4),
        folder / "map.tif",
        options=options(folder, "dask"),
    )


def _done(ledger: Path) -> int:
    try:
        with sqlite3.connect(f"file:{ledger}?mode=ro", uri=True) as db:
            return int(db.execute("SELECT count(*) FROM block WHERE state = 'done'").fetchone()[0])
    except sqlite3.Error:
        return 0


def test_two_drivers_on_one_ledger_neither_lose_nor_write_twice(whole: Path, tmp_path: Path) -> None:
    """The second is refused at once, in words; what the first makes is whole, and each block was begun once."""
    refused: list[BaseException] = []
    attempts: list[int] = []

    def second() -> None:
        with pytest.raises(Locked, match="another process is writing this output") as error:
            predict(tmp_path, "dask")
        refused.append(error.value)
        with sqlite3.connect(tmp_path / ".map.tif.work" / "ledger.sqlite") as db:
            attempts.extend(row[0] for row in db.execute("SELECT attempts FROM block"))

    result = predict(tmp_path, "dask", Spy(2, second))
    assert len(refused) == 1 and max(attempts) == 1
    assert not result.failed and contents(tmp_path) == contents(whole)


@pytest.fixture(scope="module")
def scheduler() -> Iterator[str]:
    """A cluster that somebody else has started, with threads."""
    with LocalCluster(
        n_workers=1, threads_per_worker=2, host="127.0.0.1", dashboard_address="127.0.0.1:0", silence_logs=50
    ) as cluster:
        yield cluster.scheduler_address


def test_a_scheduler_that_is_there_already(whole: Path, tmp_path: Path, scheduler: str) -> None:
    chosen = options(tmp_path, "dask")
    elsewhere = PredictOptions(
        block_px=44, threads=1, batch_size=4, probabilities=chosen.probabilities, executor="dask",
        cluster=Cluster(scheduler),
    )  # fmt: skip
    from tests.prediction.scenes import Filter

    predict_scene(scene(), Filter(), tmp_path / "map.tif", options=elsewhere)
    assert contents(tmp_path) == contents(whole)
    strict = PredictOptions(
        block_px=44, threads=1, batch_size=4, executor="dask", strict=True, cluster=Cluster(scheduler)
    )
    broken = scene()
    broken.broken = (slice(70, 80), slice(0, 20))
    with pytest.raises(BlocksFailed, match="the block is corrupt"):
        predict_scene(broken, Filter(), tmp_path / "strict.tif", options=strict)


def test_polygons_and_index_are_the_same_on_a_cluster(tmp_path: Path, whole: Path, scheduler: str) -> None:
    for name, cluster in (("here", None), ("there", Cluster(scheduler))):
        found = polygonize(whole / "map.tif", tmp_path / name / "map.parquet", block_px=32, cluster=cluster)
        assert found.count > 10
    assert contents(tmp_path / "here") == contents(tmp_path / "there")
    files = [write_raster(tmp_path / f"{i}.tif", ramp(20 + i, 30)) for i in range(5)]
    here, there = build_index(files), build_index(files, cluster=Cluster(scheduler))
    assert [(r.header, r.native_footprint, r.footprint, r.time) for r in here] == [
        (r.header, r.native_footprint, r.footprint, r.time) for r in there
    ]
    (tmp_path / "3.tif").write_text("no raster")
    with pytest.raises(CannotRead, match=r"3\.tif"):
        build_index(files, cluster=Cluster(scheduler))


def _die_on_three(number: int) -> int:
    if number == 3:
        os.kill(os.getpid(), 9)
    return number * number


def test_an_item_that_kills_every_worker_is_named_and_bystanders_are_not() -> None:
    with dask.config.set({"distributed.scheduler.allowed-failures": 0}), connected(Cluster()) as client:
        assert list(map_on(client, _die_on_three, [0, 1, 2, 4, 5])) == [0, 1, 4, 16, 25]
        found: list[int] = []
        with pytest.raises(TooLarge, match="every worker that is given this dies: item 3"):
            for result in map_on(client, _die_on_three, [0, 1, 3, 4], name=lambda n: f"item {n}"):
                found.append(result)
        assert found == [0, 1]


def test_no_scheduler_and_wrong_workers_are_said_in_words(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("geotoolbox.core.cluster.CONNECT_S", 1.0)
    with (
        pytest.raises(CannotRead, match="no Dask scheduler answers"),
        connected(Cluster("tcp://127.0.0.1:9")),
    ):
        pass
    with pytest.raises(BadInput, match="workers"):
        Cluster(workers=0)
