"""One function for each row of the table: what is run on which side, and what it is held to."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
import scenes
from harness import (
    FLOOR,
    OURS,
    RASTER_VISION,
    TORCHGEO,
    Bench,
    Row,
    median,
    rate,
    share,
    times,
    verdict,
    warm,
)  # fmt: skip
from pixels import compare_pixels, compare_polygons, windows_of

SIZE, BATCH, ZONE = 256, 32, "32612"
THIRD = "EPSG:3857"
MORE = 4
LARGE = 20_000
Rows = list[Row]


def _job(data: scenes.Data, bench: Bench, kind: str = "plain", **more: Any) -> dict[str, Any]:
    return {
        "scenes": data.scenes(kind, ZONE), "labels": data.labels(kind), "size": SIZE, "stride": 128, "batch": BATCH,
        "workers": 0, "sampler": "random", "warm": 1, "batches": 6 if bench.quick else 16, **more,
    }  # fmt: skip


def _sampled(
    bench: Bench,
    job: dict[str, Any],
    what: str,
    least: float,
    *,
    floor: bool = False,
    ours: dict[str, Any] | None = None,
    theirs: list[dict[str, Any]] | None = None,
) -> Row:
    """Run one sampling row: ours and TorchGeo's in turn (unless its answers are given), and the floor where asked for."""
    warm([*job["scenes"], job["labels"]])
    sides = [s for s in (OURS, TORCHGEO) if s.there and (s is OURS or theirs is None)]
    answers: dict[str, list[dict[str, Any]]] = {OURS.name: [], TORCHGEO.name: theirs or [], FLOOR.name: []}
    # The quicker side reads more patches, so that both are timed for seconds rather than for a moment.
    more = {"batches": MORE * job["batches"], **(ours or {})}
    for _ in range(bench.rounds):
        for side in [*sides, *([FLOOR] if floor else [])]:
            answers[side.name].append(
                bench.ask(side, "sampling", **{**job, **(more if side is OURS else {})})
            )
    if theirs is None:
        _LAST[:] = answers[TORCHGEO.name]
    mine, peer, bare = (rate(answers[s.name]) for s in (OURS, TORCHGEO, FLOOR))
    ratio, target, reached = mine / peer, f"≥ {least:g} ×", verdict(mine / peer, least)
    notes = [] if job["workers"] else [_busy(answers[OURS.name], answers[TORCHGEO.name])]
    if floor:
        target += ", ≥ 0.7 × floor"
        reached += f", {verdict(mine / bare, 0.7)}"
        cost = median([{"ms": a["cpu"] / a["patches"] * 1000} for a in answers[FLOOR.name]], "ms")
        notes.append(f"floor {bare:.0f}/s, {cost:.1f} ms of one thread: ours is {mine / bare:.2f} of it")
    pixels = compare_pixels(bench, job, [s for s in (OURS, TORCHGEO) if s.there])
    return Row(
        what, f"{mine:.0f}/s", f"{peer:.1f}/s", times(ratio), target, reached, pixels.get(OURS.name, ""),
        pixels.get(TORCHGEO.name, ""), "; ".join(notes),
    )  # fmt: skip


def _busy(ours: list[dict[str, Any]], theirs: list[dict[str, Any]]) -> str:
    """Compare processor time for a patch, which other programs on the machine disturb less than the clock."""
    mine, other = (
        median([{"ms": a["cpu"] / a["patches"] * 1000} for a in answers], "ms") for answers in (ours, theirs)
    )
    return f"processor time {mine:.1f} and {other:.1f} ms a patch: {times(other / mine)}"


_LAST: list[dict[str, Any]] = []  # TorchGeo's answers of the last row that asked it


def native(data: scenes.Data, bench: Bench) -> Rows:
    """Random patches, images on their own grid, labels warped; 0 and 2 workers."""
    rows = [
        _sampled(bench, _job(data, bench), "random, images native, labels warped; 0 workers", 10, floor=True)
    ]
    if not bench.quick:
        job = _job(data, bench, workers=2, warm=8, batches=24)
        rows.append(_sampled(bench, job, "the same, 2 workers", 10))
    return rows


def zones(data: scenes.Data, bench: Bench) -> Rows:
    """All four scenes in two UTM zones: TorchGeo warps those of the second zone onto the first."""
    job = _job(data, bench, scenes=data.scenes("plain"), turned=True)
    return [_sampled(bench, job, "random over two UTM zones (ours: native in both)", 10)]


def batch(data: scenes.Data, bench: Bench) -> Rows:
    """Random batches."""
    return [_sampled(bench, _job(data, bench, sampler="batch"), "random batch", 15)]


def grid(data: scenes.Data, bench: Bench) -> Rows:
    """Grid with a stride of 128 px."""
    return [
        _sampled(
            bench, _job(data, bench, sampler="grid", batches=8 if bench.quick else 32), "grid, stride 128", 6
        )
    ]


def third(data: scenes.Data, bench: Bench) -> Rows:
    """Everything onto a third CRS."""
    job = _job(data, bench, crs=THIRD, batches=3 if bench.quick else 8)
    return [_sampled(bench, job, f"all warped onto {THIRD}, bilinear images", 20)]


def deflate(data: scenes.Data, bench: Bench) -> Rows:
    """Deflate, from the first batch of a new process on."""
    job = _job(
        data, bench, "deflate", warm=0, batches=4 if bench.quick else 16, scenes=data.scenes("deflate", ZONE)
    )
    few = {
        "batches": job["batches"]
    }  # as many as the peer: what is cold for one must not be warm for the other
    same = _sampled(bench, job, "deflate, cold, the same random patches", 1, ours=few)
    near = _sampled(
        bench, job, "deflate, cold, sampler with locality", 3, ours={**few, "locality": 16}, theirs=[*_LAST]
    )
    block = bench.ask(FLOOR, "decoding", scenes=data.scenes("deflate", ZONE))["ms_per_block"]
    note = f"decoding a block of 512 px takes {block:.0f} ms; a random patch meets 2.25 of them"
    return [same, Row(*(getattr(near, n) for n in Row.__slots__[:-1]), note=f"{near.note}; {note}")]


def vectors(data: scenes.Data, bench: Bench) -> Rows:
    """20,000 polygons burned onto windows."""
    path = scenes.make_polygons(data)
    crs, windows = windows_of(data.scenes()[0], None, SIZE, 16)
    job = {"polygons": path, "windows": windows, "window_crs": crs, "crs": crs, "size": SIZE}
    answers = bench.in_turn(
        [s for s in (OURS, TORCHGEO) if s.there], "vectors", **job, seconds=2 if bench.quick else 6
    )
    mine, theirs = median(answers[OURS.name], "ms"), median(answers.get(TORCHGEO.name, []), "ms")
    busy, other = median(answers[OURS.name], "cpu_ms"), median(answers.get(TORCHGEO.name, []), "cpu_ms")
    pixels = compare_polygons(bench, job)
    return [
        Row(
            "vector labels, 20,000 polygons",
            f"{mine:.2f} ms a sample",
            f"{theirs:.0f} ms",
            times(theirs / mine),
            "≥ 20 ×",
            verdict(theirs / mine, 20),
            pixels.get(OURS.name, ""),
            pixels.get(TORCHGEO.name, ""),
            note=f"processor time {busy:.1f} and {other:.0f} ms: {times(other / busy)}",
        )
    ]


def index(data: scenes.Data, bench: Bench) -> Rows:
    """Many small files: built, opened again, looked up."""
    count = 1_000 if bench.quick else 100_000
    files = scenes.make_small(data, count)
    folder = str(data.small)
    ours = bench.ask(OURS, "index", folder=folder, count=len(files), seconds=1)
    theirs = {"files_per_s": float("nan"), "lookup_ms": float("nan")}
    if TORCHGEO.there:
        theirs = bench.ask(TORCHGEO, "index", folder=folder, count=min(count, 2_000), rows=count, seconds=2)
    look, built, again = ours["lookup_ms"], ours["files_per_s"], ours["reopen_s"]
    return [
        Row(
            f"index of {count:,} files: look-up", f"{look:.3f} ms", f"{theirs['lookup_ms']:.1f} ms",
            times(theirs["lookup_ms"] / look), "< 0.1 ms", verdict(0.1 / look, 1),
        ),
        Row(
            "index: opened again", f"{again:.2f} s", f"rebuilt: {count / theirs['files_per_s']:.0f} s",
            times(count / theirs["files_per_s"] / again), "< 1 s", verdict(1 / again, 1),
            note=f"as a RasterDataset, every file checked for changes: {ours['dataset_s']:.1f} s",
        ),
        Row(
            "index: built", f"{built:.0f} files/s", f"{theirs['files_per_s']:.0f} files/s",
            times(built / theirs["files_per_s"]), "≥ 300 files/s", verdict(built / 300, 1),
            note="tiles of one making, whose headers are read once",
        ),
        Row(
            "index: built, files that GDAL opens one by one", f"{ours['apart_per_s']:.0f} files/s",
            f"{theirs['files_per_s']:.0f} files/s", times(ours["apart_per_s"] / theirs["files_per_s"]),
            "≥ 300 files/s", verdict(ours["apart_per_s"] / 300, 1), note="2,000 of the files, beside a text file",
        ),
    ]  # fmt: skip


def iobench(data: scenes.Data, bench: Bench) -> Rows:
    """One scene, raw (labels in another CRS) and preprocessed (labels on the image grid), random and grid."""
    rows = []
    for name, labels in (("raw", data.labels()), ("preprocessed", data.gridded)):
        for sampler in ("random", "grid"):
            job = _job(data, bench, sampler=sampler, stride=SIZE, scenes=data.scenes()[:1], labels=labels)
            rows.append(_sampled(bench, job, f"IOBench-like, one scene: {name} {sampler}", 3))
    return rows


def training(data: scenes.Data, bench: Bench) -> Rows:
    """From reading to the optimiser's step: U-Net, ResNet-18, 128 px."""
    job = _job(data, bench, size=128, warm=2, batches=3 if bench.quick else 8, classes=20, threads=2)
    answers = bench.in_turn([s for s in (OURS, TORCHGEO) if s.there], "training", **job)
    mine, theirs = rate(answers[OURS.name]), rate(answers.get(TORCHGEO.name, []))
    return [
        Row(
            "training step, U-Net ResNet-18, 128 px",
            f"{mine:.1f}/s",
            f"{theirs:.1f}/s",
            times(mine / theirs),
            "≥ 1.5 ×",
            verdict(mine / theirs, 1.5),
        )
    ]


def prediction(data: scenes.Data, bench: Bench) -> Rows:
    """A whole scene with one network and overlap, against Raster Vision; overhead; the cost of a free model."""
    common = {
        "classes": 10, "bands": 7, "tile": 256, "overlap": 64, "halo": 0, "batch": 8, "threads": 2,
        "work": str(bench.work),
    }  # fmt: skip
    side = min(data.side, 1024 if bench.quick else 4096)
    scene = scenes.make_one(data.folder.parent, side, scenes.zion_folder())
    warm([scene])
    rows = _with_a_network(bench, scene, {**common, "net": "small"})
    free = bench.in_turn([OURS], "predict", scene=scene, net="linear", **{**common, "classes": 4})[OURS.name]
    speed = median([{"speed": f["pixels"] * scenes.BANDS * 2 / f["seconds"] / 1e6} for f in free], "speed")
    rows.append(
        Row(
            "prediction with a free model (one matrix a pixel, 4 classes)",
            f"{speed:.0f} MB/s of input",
            "–",
            "–",
            "≥ 60 MB/s",
            verdict(speed / 60, 1),
            note=f"of {median(free, 'seconds'):.1f} s the model takes {median(free, 'model_s'):.1f} s; "
            f"{median(free, 'cpu') / free[0]['pixels'] * 1e9:.0f} ns of processor time a pixel",
        )
    )
    if not bench.quick:
        rows.append(_memory(bench, data, {**common, "net": "linear"}))
    return rows


def _with_a_network(bench: Bench, scene: str, job: dict[str, Any]) -> Rows:
    """Run ours, Raster Vision and the forward passes alone in turn; two lines."""
    sides = [s for s in (OURS, RASTER_VISION) if s.there]
    outs = {s.name: str(bench.work / f"map-{n}.npy") for n, s in enumerate(sides)}
    answers: dict[str, list[dict[str, Any]]] = {s.name: [] for s in sides}
    alone: list[dict[str, Any]] = []
    for _ in range(bench.rounds):
        for side in sides:
            answers[side.name].append(bench.ask(side, "predict", scene=scene, out=outs[side.name], **job))
        alone.append(bench.ask(OURS, "forward", tiles=answers[OURS.name][0]["tiles"], **job))
    return [
        _against_raster_vision(answers, outs, job["overlap"] // 2),
        _overhead(answers[OURS.name], alone),
    ]


def _against_raster_vision(
    answers: dict[str, list[dict[str, Any]]], outs: dict[str, str], border: int
) -> Row:
    ours, peer = answers[OURS.name], answers.get(RASTER_VISION.name, [])
    mine, theirs = median(ours, "seconds"), median(peer, "seconds")
    note = ""
    if peer:
        one, other = (np.load(outs[s.name]).astype(np.int64) for s in (OURS, RASTER_VISION))
        inner = (one == other + 1)[border:-border, border:-border]
        note = (
            f"processor time {median(ours, 'cpu'):.0f} and {median(peer, 'cpu'):.0f} s; the two maps agree on "
            f"{share(int(inner.sum()), inner.size)} of the pixels, but for the {border} px at the border, which "
            "Raster Vision leaves empty"
        )
    return Row(
        "whole-scene prediction, same network and overlap, saved", f"{mine:.1f} s", f"{theirs:.1f} s (Raster Vision)",
        times(theirs / mine), "≥ 2 ×", verdict(theirs / mine, 2), note=note,
    )  # fmt: skip


def _overhead(whole: list[dict[str, Any]], alone: list[dict[str, Any]]) -> Row:
    mine, least, last = median(whole, "seconds"), median(alone, "seconds"), median(alone, "last_s")
    return Row(
        "prediction, against the forward passes alone", f"{mine:.1f} s", f"{least:.1f} s (forward)",
        f"{mine / least:.2f}", "≤ 1.1", verdict(1.1 / (mine / least), 1),
        note=f"{whole[0]['tiles']} tiles; prediction runs the network channels last: against such forward passes "
        f"({last:.1f} s) {mine / last:.2f}",
    )  # fmt: skip


def _memory(bench: Bench, data: scenes.Data, job: dict[str, Any]) -> Row:
    """Predict 20,000 × 20,000 pixels; the peer on smaller scenes, since its memory grows with the pixels."""
    path = Path(data.folder.parent) / "large.tif"
    if not path.exists():
        _large(path, data.scenes()[0])
    mine = bench.ask(OURS, "predict", scene=str(path), **job)
    theirs, note = float("nan"), ""
    if RASTER_VISION.there:
        theirs, note = _peer_memory(bench, data, job)
    ratio = theirs / mine["peak_mb"]
    return Row(
        "memory at 20,000 × 20,000, 10 classes", f"{mine['peak_mb'] / 1024:.2f} GiB",
        f"{theirs / 1024:.1f} GiB (Raster Vision)", times(ratio), "≤ 1/5", verdict(ratio, 5),
        note=f"a free model; ours takes {mine['seconds']:.0f} s; {note}",
    )  # fmt: skip


def _peer_memory(bench: Bench, data: scenes.Data, job: dict[str, Any]) -> tuple[float, str]:
    """Return the peer's peak in MB at 20,000 × 20,000, by a straight line through two smaller scenes."""
    sides, peaks = (2048, 4096), []
    for side in sides:
        scene = scenes.make_one(data.folder.parent, side, scenes.zion_folder())
        peaks.append(bench.ask(RASTER_VISION, "predict", scene=scene, **job)["peak_mb"])
    pixels = [side**2 for side in (*sides, LARGE)]
    slope = (peaks[1] - peaks[0]) / (pixels[1] - pixels[0])
    measured = " and ".join(f"{p / 1024:.2f} GiB at {s:,} px" for p, s in zip(peaks, sides, strict=True))
    return peaks[1] + slope * (
        pixels[2] - pixels[1]
    ), f"Raster Vision's by a straight line through {measured}"


def _large(path: Path, scene: str, side: int = LARGE) -> None:
    """Write a scene of 20,000 × 20,000 pixels and 7 bands from a smaller one, in strips."""
    with rasterio.open(scene) as source:
        rows = source.read(window=((0, 512), (0, source.width)))
        profile = {**source.profile, "driver": "GTiff", "width": side, "height": side, "bigtiff": "yes"}
    part = path.with_suffix(".part.tif")
    with rasterio.open(part, "w", **profile) as out:
        strip = np.tile(rows, (1, 1, -(-side // rows.shape[2])))[:, :, :side]
        for top in range(0, side, 512):
            height = min(512, side - top)
            out.write(strip[:, :height], window=((top, top + height), (0, side)))
    part.rename(path)


def start_up(data: scenes.Data, bench: Bench) -> Rows:
    """Starting: the import, and the command line's help."""
    ours = bench.ask(OURS, "start_up", rounds=1 if bench.quick else 5)
    theirs = bench.ask(TORCHGEO, "start_up")["seconds"] if TORCHGEO.there else float("nan")
    note = (
        f"of which Python itself {ours['python_s']:.2f} s; with geotoolbox.datasets {ours['datasets_s']:.2f} s; "
        f"Numba, which the first read loads, {ours['ready_s'] - ours['python_s']:.2f} s"
    )
    return [
        Row(
            "`import geotoolbox`", f"{ours['seconds']:.2f} s", f"{theirs:.1f} s (`import torchgeo.datasets`)",
            times(theirs / ours["seconds"]), "≤ 0.3 s", verdict(0.3 / ours["seconds"], 1), note=note,
        ),
        Row("`geotoolbox --help`", f"{ours['help_s']:.2f} s", "–", "–", "≤ 0.5 s", verdict(0.5 / ours["help_s"], 1)),
    ]  # fmt: skip


ROWS: dict[str, Callable[[scenes.Data, Bench], Rows]] = {
    f.__name__: f
    for f in (
        start_up,
        native,
        zones,
        batch,
        grid,
        third,
        deflate,
        vectors,
        index,
        iobench,
        training,
        prediction,
    )
}
QUICK = ("start_up", "native", "grid", "third", "deflate", "vectors", "index")
