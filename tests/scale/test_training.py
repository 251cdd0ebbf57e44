"""Two processes train what one trains: the same losses, each on its own part of every batch."""

from __future__ import annotations

import json
import multiprocessing as mp
import os
import socket
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import psutil
import pytest
import torch

from geotoolbox.core.events import Event, Metric
from geotoolbox.errors import BadInput, Cancelled, ModelFailed
from geotoolbox.trainers import TrainOptions, TrainResult, train_segmentation
from geotoolbox.trainers.checks import check_team
from geotoolbox.trainers.launching import launch
from geotoolbox.trainers.listing import epoch_sampler
from geotoolbox.trainers.losses import SegmentationLoss
from geotoolbox.trainers.ranks import (
    GlobalBatchNorm2d,
    Rank,
    RankSampler,
    launched,
    share_batches,
    total,
)
from geotoolbox.trainers.source import Source
from tests.scale.work import child
from tests.trainers.scene import learnable

pytestmark = pytest.mark.timeout(900)

OPTIONS = TrainOptions(
    model="small", width=4, patch_px=32, batch_size=4, patches_per_epoch=4, epochs=4, baseline=False,
    learning_rate=1e-2, seed=3, loss="ce+dice", calibrate=False, device="cpu", max_minutes=None,
)  # fmt: skip


@dataclass
class Spy:
    """Keeps events, and what listens on which address while a training runs."""

    events: list[Event] = field(default_factory=list)
    listens: set[str] = field(default_factory=set)
    stop_at: int = 10**9

    @property
    def cancelled(self) -> bool:
        return sum(isinstance(e, Metric) for e in self.events) >= self.stop_at

    def emit(self, event: Event) -> None:
        self.events.append(event)
        for process in psutil.Process().children(recursive=True):
            try:
                found = process.net_connections("inet")
            except psutil.Error:
                continue
            self.listens |= {c.laddr.ip for c in found if c.status == psutil.CONN_LISTEN}


def train(folder: Path, options: TrainOptions, spy: Spy | None = None) -> TrainResult:
    torch.set_num_threads(1)
    return train_segmentation(
        learnable(), learnable(seed=1, x=310_000), options=options, work_dir=folder, reporter=spy or Spy()
    )


def test_two_processes_have_the_losses_of_one_and_listen_on_loopback_only(tmp_path: Path) -> None:
    alone = train(tmp_path / "one", OPTIONS)
    spy = Spy()
    together = train(tmp_path / "two", replace(OPTIONS, processes=2), spy)
    one, two = ([row["train_loss"] for row in r.history] for r in (alone, together))
    # An epoch is one step here. AdamW divides each gradient by its size, so what is only rounding in the first
    # step's gradients (1e-6, see below) is of the size of the learning rate where a gradient should be 0.
    np.testing.assert_allclose(two[0], one[0], rtol=1e-5)
    np.testing.assert_allclose(two, one, rtol=1e-2)
    assert abs(one[0] - one[-1]) > 0.05, "it learns, by far more than the two differ"
    for name in ("learning_rate", "step"):
        assert [r[name] for r in together.history] == [r[name] for r in alone.history]
    assert [e.step for e in spy.events if isinstance(e, Metric) and e.name == "train_loss"] == [1, 2, 3, 4]
    assert spy.listens <= {"127.0.0.1", "::1"}


def _on_machine(folder: Path, number: int, port: int) -> None:
    """Be the one process of one of two machines, started as torchrun or Slurm would start it."""
    slurm = {"SLURM_PROCID": number, "SLURM_NTASKS": 2, "SLURM_NNODES": 2}
    torchrun = {"RANK": number, "WORLD_SIZE": 2, "LOCAL_RANK": 0, "LOCAL_WORLD_SIZE": 1}
    facts = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, **(slurm if number else torchrun)}
    os.environ.update({name: str(value) for name, value in facts.items()})
    result = train(folder, replace(OPTIONS, epochs=2))
    state = {name: float(value.double().sum()) for name, value in result.bundle.state.items()}
    found = {"losses": [row["train_loss"] for row in result.history], "state": state}
    (folder / f"{number}.json").write_text(json.dumps(found))


def test_two_machines_that_a_launcher_started_train_what_one_process_trains(tmp_path: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    team = [child(_on_machine, tmp_path, number, port) for number in (0, 1)]
    alone = train(tmp_path / "one", replace(OPTIONS, epochs=2))
    for process in team:
        process.join()
        assert process.exitcode == 0
    first, second = (json.loads((tmp_path / f"{number}.json").read_text()) for number in (0, 1))
    assert first == second, "both end with the same model"
    np.testing.assert_allclose(first["losses"][0], alone.history[0]["train_loss"], rtol=1e-5)
    np.testing.assert_allclose(first["losses"], [r["train_loss"] for r in alone.history], rtol=1e-2)
    assert len(list(tmp_path.glob("run-*/epoch-*.ckpt"))) == len(
        list(tmp_path.glob("one/run-*/epoch-*.ckpt"))
    )


def test_what_a_launcher_says_of_processes_and_machines(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("MASTER_ADDR", "RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE"):
        monkeypatch.delenv(name, raising=False)
    assert launched() == Rank()
    for name, value in {"SLURM_PROCID": "5", "SLURM_NTASKS": "8", "SLURM_NNODES": "2"}.items():
        monkeypatch.setenv(name, value)
    assert launched() == Rank(), "a batch job without a meeting place trains alone"
    monkeypatch.setenv("MASTER_ADDR", "node1")
    assert launched() == Rank(5, 8, 2) and launched().per_machine == 4
    for name, value in {"RANK": "3", "WORLD_SIZE": "6", "LOCAL_WORLD_SIZE": "2"}.items():
        monkeypatch.setenv(name, value)
    assert launched() == Rank(3, 6, 3)
    with pytest.raises(BadInput, match="started twice"):
        check_team(TrainOptions(processes=2, batch_size=6), 6)
    with pytest.raises(BadInput, match="multiple of 6"):
        check_team(TrainOptions(batch_size=16), 6)


def test_a_cancelled_training_goes_on_with_another_number_of_processes(tmp_path: Path) -> None:
    with pytest.raises(Cancelled):
        train(tmp_path, replace(OPTIONS, processes=2, epochs=3), Spy(stop_at=1))
    assert list(tmp_path.glob("run-*/epoch-*.ckpt"))
    assert not psutil.Process().children() or not mp.active_children()
    resumed = train(tmp_path, replace(OPTIONS, epochs=3))
    direct = train(tmp_path / "direct", replace(OPTIONS, epochs=3))
    losses = [[row["train_loss"] for row in r.history] for r in (resumed, direct)]
    np.testing.assert_allclose(losses[0], losses[1], rtol=1e-2)


def test_each_rank_draws_its_own_part_and_all_parts_are_the_epoch() -> None:
    source, many = Source(learnable(), 100), replace(OPTIONS, patches_per_epoch=16)
    whole = list(epoch_sampler(source, many, None))
    parts = [list(RankSampler(epoch_sampler(source, many, None), 4, Rank(r, 2))) for r in (0, 1)]
    assert [len(p) for p in parts] == [8, 8]
    for step in range(4):
        batch = parts[0][2 * step : 2 * step + 2] + parts[1][2 * step : 2 * step + 2]
        assert [q.geobox for q in batch] == [q.geobox for q in whole[4 * step : 4 * step + 4]]


def _compare(rank: Rank, reporter: object) -> None:
    """Loss and gradients of two halves, with unlike numbers of labelled pixels, against the whole."""
    torch.manual_seed(1)
    image, mask = torch.randn(4, 3, 6, 6), torch.randint(-1, 3, (4, 6, 6))
    mask[2:, 1:] = -1
    own = slice(rank.number * 2, rank.number * 2 + 2)
    for name in ("ce", "focal", "dice", "jaccard", "ce+dice"):
        for weights in (None, [0.5, 1.0, 3.0]):
            losses, gradients = [], []
            for shared in (False, True):
                torch.manual_seed(2)
                network = torch.nn.Sequential(
                    torch.nn.Conv2d(3, 4, 3, padding=1), torch.nn.BatchNorm2d(4), torch.nn.ReLU(), torch.nn.Dropout(0.2),
                    torch.nn.BatchNorm2d(4, affine=False, momentum=None), torch.nn.Dropout2d(0.3), torch.nn.Conv2d(4, 3, 1),
                )  # fmt: skip
                loss = SegmentationLoss(name, weights, ignore_index=-1, label_smoothing=0.1)
                if shared:
                    share_batches(network, rank)
                    assert isinstance(network[1], GlobalBatchNorm2d)
                    loss.total = total
                torch.manual_seed(7)
                value = loss(network(image[own] if shared else image), mask[own] if shared else mask)
                value.backward()
                losses.append(float(value))
                gradient = torch.cat([p.grad.flatten() for p in network.parameters()])
                gradients.append(total(gradient) / rank.count if shared else gradient)
                statistics = [b.clone() for b in network.buffers()]
                losses += [float(b.double().sum()) for b in statistics]
            half = len(losses) // 2
            np.testing.assert_allclose(losses[half:], losses[:half], rtol=1e-5)
            np.testing.assert_allclose(gradients[1].detach(), gradients[0].detach(), atol=2e-6)


def test_losses_and_gradients_of_two_halves_are_those_of_the_whole() -> None:
    launch(_compare, 2, "cpu", Spy())


def _fail(rank: Rank, reporter: object) -> None:
    if rank.number == 1:
        raise BadInput("said by the second process")


def _die(rank: Rank, reporter: object) -> None:
    if rank.number == 1:
        os._exit(9)
    while True:
        pass


def test_what_a_process_raises_is_raised_and_a_dead_one_ends_all() -> None:
    with pytest.raises(BadInput, match="said by the second process"):
        launch(_fail, 2, "cpu", Spy())
    with pytest.raises(ModelFailed, match=r"a process of the training died.*exit code 9"):
        launch(_die, 2, "cpu", Spy())
    assert not mp.active_children()
    with pytest.raises(BadInput, match="cannot be shared evenly"):
        TrainOptions(batch_size=5, processes=2)
