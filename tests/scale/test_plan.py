"""A plan of 200,000 blocks: made without making them, recorded and summed up in little memory."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

CHILD = """
import json, resource, sys, time
from pathlib import Path
from types import SimpleNamespace
import torch
from affine import Affine
from odc.geo.geobox import GeoBox
from geotoolbox.core.classes import ClassTable
from geotoolbox.prediction import engine
from geotoolbox.prediction.grids import Target
from geotoolbox.prediction.lattice import Lattice, Window
from geotoolbox.prediction.ledger import BlockRecord, Ledger
from geotoolbox.prediction.options import PredictOptions
from geotoolbox.prediction.plan import make_plan
from geotoolbox.prediction.sharding import Shard

def peak_mb():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1024 if sys.platform == "linux" else 1 << 20)

side = 447 * 768
grid = GeoBox((side, side), Affine(10, 0, 0, 0, -10, 0), "EPSG:3035")
classes = ClassTable.from_names({i + 1: f"class {i}" for i in range(8)})
model = SimpleNamespace(bands=("b0", "b1"), classes=classes, num_classes=8)
target = Target(grid, Window(0, side, 0, side), None)
lattice, options = Lattice(256, 64, 16), PredictOptions(block_px=768)
start, begun_s, before = time.monotonic(), time.process_time(), peak_mb()
plan = make_plan(target, model, options, lattice, batch_size=8, threads=1, fingerprint="f", files=["a.tif"])
planned_s = time.process_time() - begun_s
blocks = list(plan.lattice.blocks(plan.work, plan.block_px))
listed_s = time.process_time() - begun_s
folder = Path(sys.argv[1])
ledger = Ledger(folder / "ledger.sqlite")
ledger.begin(plan.run_id, plan.to_json(), ((r, c) for r, c, _ in blocks))
facts = {"counts": [1] * 8, "areas_m2": [100.0] * 8, "seams": [[1.0] * 25] * 2, "invalid": 2, "failures": []}
ledger.record_all(BlockRecord(r, c, "done", 1, {"classes": "0" * 64}, 0.5, facts) for r, c, _ in blocks)
begun = len(Shard(7, 100).mine(blocks))
result = engine._summary(plan, classes, ledger.each(), {}, resumed=0, start=0.0)
ledger.close()
print(json.dumps({
    "blocks": plan.blocks, "listed": len(blocks), "tiles": plan.tiles, "mine": begun, "planned_s": planned_s,
    "listed_s": listed_s, "all_s": time.monotonic() - start, "grown_mb": peak_mb() - before, "pixels": result.class_pixels["class 0"],
    "invalid": result.invalid_pixels, "ledger_mb": (folder / "ledger.sqlite").stat().st_size / 1e6,
}))
"""


@pytest.mark.skipif(sys.platform == "win32", reason="peak memory is asked of the system in another way there")
def test_200_000_blocks_are_planned_recorded_and_summed_in_under_200_mb(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", CHILD, str(tmp_path)], capture_output=True, text=True, check=False,
        cwd=Path(__file__).resolve().parents[2],
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    print(found)
    assert found["blocks"] == found["listed"] == found["pixels"] == 447**2 == 199_809
    assert found["tiles"] == (447 * 5 - 1) ** 2 or found["tiles"] == (447 * 5) ** 2
    assert found["invalid"] == 2 * 199_809 and found["mine"] == 1_999
    assert found["grown_mb"] < 200
    # Of the processor, which a busy machine does not change: hundredths of a second, and some tenths with the list.
    assert found["planned_s"] < 1 and found["listed_s"] < 5
