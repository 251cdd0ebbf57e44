"""Memory stays flat however many blocks a map has."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from geotoolbox.core.events import Event, Progress
from geotoolbox.prediction import PredictOptions, predict_scene
from tests.prediction.scenes import Constant, noise

pytestmark = pytest.mark.timeout(900)


@dataclass
class Watch:
    """Keeps the resident memory at each event of the prediction, in MB."""

    megabytes: list[float] = field(default_factory=list)
    cancelled: bool = False

    def emit(self, event: Event) -> None:
        if isinstance(event, Progress) and event.stage == "predict":
            pages = int(Path("/proc/self/statm").read_text().split()[1])
            self.megabytes.append(pages * os.sysconf("SC_PAGE_SIZE") / 1e6)


def test_memory_is_flat_over_five_hundred_blocks(tmp_path: Path) -> None:
    watch = Watch()
    options = PredictOptions(tile_px=16, overlap_px=4, halo_px=2, block_px=12, threads=1, batch_size=1)
    result = predict_scene(
        noise(2, 276, 264), Constant(), tmp_path / "map.tif", options=options, reporter=watch
    )
    assert result.plan.blocks == 23 * 22 == 506 and len(watch.megabytes) >= 506
    settled = watch.megabytes[len(watch.megabytes) // 5]  # after a hundred blocks
    assert max(watch.megabytes) - settled < 15, "MB more after 400 blocks"
