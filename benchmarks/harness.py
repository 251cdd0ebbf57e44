"""Running the sides in turn, comparing their pixels with exact ones, and writing tables."""

from __future__ import annotations

import datetime as dt
import json
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from numpy.typing import NDArray

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
PEERS = ROOT / ".venv-peers"
LIMIT_S = 3600
Box = tuple[float, float, float, float]


@dataclass(frozen=True, slots=True)
class Side:
    """A tool: its name, the Python that runs it, and its script."""

    name: str
    python: Path
    script: str

    @property
    def there(self) -> bool:
        """Whether its environment is there."""
        return self.python.exists()


OURS = Side("GeoToolbox", Path(sys.executable), "ours_side.py")
FLOOR = Side("bare rasterio", Path(sys.executable), "floor_side.py")
TORCHGEO = Side("TorchGeo", PEERS / "torchgeo" / "bin" / "python", "torchgeo_side.py")
RASTER_VISION = Side("Raster Vision", PEERS / "rastervision" / "bin" / "python", "rastervision_side.py")


class SideFailed(RuntimeError):
    """A side ended with an error."""


@dataclass(slots=True)
class Bench:
    """What all rows need: sizes, folders, and the versions that were met."""

    quick: bool
    rounds: int
    work: Path
    versions: dict[str, dict[str, str]] = field(default_factory=dict)

    def ask(self, side: Side, task: str, **job: Any) -> dict[str, Any]:
        """Run one task of a side in a process of its own; return its answer.

        Raises:
            SideFailed: With the last lines of what it said.
        """
        environment = {k: v for k, v in os.environ.items() if not k.startswith(("GDAL_", "OMP_"))}
        done = subprocess.run(
            [str(side.python), str(HERE / "sides" / side.script), json.dumps({"task": task, **job})],
            check=False, capture_output=True, text=True, timeout=LIMIT_S, cwd=ROOT, env=environment,
        )  # fmt: skip
        if done.returncode:
            raise SideFailed(f"{side.name}, {task}: {done.stderr.strip()[-800:]}")
        answer: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
        self.versions.setdefault(side.name, answer.pop("versions"))
        return answer

    def in_turn(self, sides: Sequence[Side], task: str, **job: Any) -> dict[str, list[dict[str, Any]]]:
        """Run the sides in turn, A B A B …; return all answers of each."""
        answers: dict[str, list[dict[str, Any]]] = {s.name: [] for s in sides}
        for _ in range(self.rounds):
            for side in sides:
                answers[side.name].append(self.ask(side, task, **job))
        return answers


def warm(paths: Iterable[str]) -> None:
    """Read files through once, so that every side finds them in the page cache."""
    for path in paths:
        with open(path, "rb", buffering=0) as file:
            while file.read(1 << 24):
                pass


def rate(answers: Sequence[dict[str, Any]]) -> float:
    """Return the median of patches per second."""
    return statistics.median(a["patches"] / a["seconds"] for a in answers) if answers else float("nan")


def median(answers: Sequence[dict[str, Any]], key: str) -> float:
    """Return the median of one figure."""
    return statistics.median(float(a[key]) for a in answers) if answers else float("nan")


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the main table; figures are text, since their units differ."""

    what: str
    ours: str
    theirs: str
    ratio: str
    target: str
    reached: str
    pixels_ours: str = ""
    pixels_theirs: str = ""
    note: str = ""

    def markdown(self) -> str:
        """Return the line."""
        cells = (
            self.what, self.ours, self.theirs, self.ratio, self.target, self.reached, self.pixels_ours,
            self.pixels_theirs, self.note,
        )  # fmt: skip
        return "| " + " | ".join(cells) + " |"


HEAD = (
    "| what | GeoToolbox | peer | ratio | to reach | reached | our pixels | the peer's pixels | note |\n"
    "|---|---|---|---|---|---|---|---|---|"
)


def verdict(ratio: float, least: float) -> str:
    """Say whether a ratio is reached."""
    return "–" if not np.isfinite(ratio) else "yes" if ratio >= least else "**no**"


def times(ratio: float) -> str:
    """Write a ratio."""
    return "–" if not np.isfinite(ratio) else f"{ratio:.1f} ×" if ratio < 100 else f"{ratio:,.0f} ×"


def exact(source: str, crs: str, box: Box, size: int, method: str) -> NDArray[np.float64] | None:
    """Return what exact coordinates give, (B, size, size), by gdalwarp; None where it is not installed."""
    program = shutil.which("gdalwarp")
    if program is None:
        return None
    with tempfile.TemporaryDirectory(prefix="bench-exact-") as folder:
        out = str(Path(folder) / "exact.tif")
        subprocess.run(
            [
                program, "-q", "-et", "0", "-wo", "XSCALE=1", "-wo", "YSCALE=1", "-r", method, "-t_srs", crs,
                "-te", *(repr(v) for v in box), "-ts", str(size), str(size),
                *(() if method == "near" else ("-ot", "Float64")), source, out,
            ],
            check=True,
        )  # fmt: skip
        with rasterio.open(out) as found:
            return np.asarray(found.read(), dtype=np.float64)


def compare_images(ours: NDArray[np.float64], truth: Sequence[NDArray[np.float64]]) -> str:
    """Say how far images are from exact ones: the share of values within 0.5 DN, and the largest difference."""
    near, count, worst = 0, 0, 0.0
    for image, exact_image in zip(ours, truth, strict=True):
        if image.shape != exact_image.shape:
            return f"another shape: {image.shape[1:]}"
        difference = np.abs(image - exact_image)
        near, count = near + int((difference <= 0.5).sum()), count + difference.size
        worst = max(worst, float(difference.max()))
    return f"{share(near, count)} ≤ 0.5 DN, worst {worst:.3g}"


def share(part: int, whole: int) -> str:
    """Write a share so that nearly all is not taken for all."""
    if part == whole:
        return "100 %"
    return f"{min(part / whole * 100, 99.999):.3f} %"


def compare_masks(ours: Sequence[NDArray[np.int64]], truth: Sequence[NDArray[np.float64]]) -> str:
    """Say how many labels are those of exact coordinates."""
    same = count = 0
    for mask, exact_mask in zip(ours, truth, strict=True):
        if mask.shape != exact_mask.shape[-2:]:
            return f"another shape: {mask.shape}"
        same, count = (
            same + int((np.maximum(mask, 0) == exact_mask.reshape(mask.shape)).sum()),
            count + mask.size,
        )
    return f"labels {share(same, count)}"


def machine() -> str:
    """Describe the machine and the day in one line."""
    name = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.exists():
        names = [x.split(":")[1].strip() for x in info.read_text().splitlines() if x.startswith("model name")]
        name = names[0] if names else name
    memory = ""
    if hasattr(os, "sysconf"):
        memory = f", {os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES') / 1024**3:.0f} GiB of memory"
    today = dt.datetime.now(dt.UTC).strftime("%Y-%m-%d")
    release = ".".join(platform.release().split(".")[:2])  # the rest is the machine's own business
    return f"{today}, {os.cpu_count()} cores ({name}){memory}, {platform.system()} {release}"


def load() -> str:
    """Say how busy the machine is; before the first row that is what others do on it."""
    return f"load {os.getloadavg()[0]:.1f} at the start" if hasattr(os, "getloadavg") else "load not known"


def version_lines(versions: dict[str, dict[str, str]]) -> list[str]:
    """Return one line a side with its versions."""
    return [
        f"- {side}: " + ", ".join(f"{k} {v}" for k, v in found.items()) for side, found in versions.items()
    ]
