"""How quickly the widgets answer: JupyterLab in Chromium, timed on the page itself.

    python benchmarks/widgets.py [--side 20000] [--data benchmarks/data] [--rounds 3]

Makes a COG of ``side`` × ``side`` pixels (three bands, with overviews) and its classes once, starts a JupyterLab of its
own, and measures what a person waits for: the first tiles of a LayerMap after its cell ran, tiles while panning and
zooming, 64 patches of a SampleBrowser, and both the page and the kernel while a training runs. Prints a table in
Markdown. Needs Chromium and the test tools: ``scripts/setup.sh dev notebook +system``.
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import rasterio
import rasterio.shutil
from affine import Affine
from rasterio.enums import Resampling
from rasterio.windows import Window

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from playwright.sync_api import Page, sync_playwright  # noqa: E402

from tests.widgets.lab import Lab  # noqa: E402

GROUND = {
    "transform": Affine(10.0, 0.0, 400_000.0, 0.0, -10.0, 5_400_000.0), "crs": "EPSG:32633", "tiled": True,
    "blockxsize": 512, "blockysize": 512, "compress": "deflate", "zlevel": 1,
}  # fmt: skip
COLORS = {1: (38, 110, 190), 2: (30, 104, 52), 3: (178, 168, 158)}

# Runs the notebook and tells when the cell ended, when the first picture stood, and when all did, in ms.
WATCH = """async ({ ready, first }) => {
  const kernel = window.jupyterapp.shell.currentWidget.context.sessionContext.session.kernel;
  const found = {};
  const hear = (_, message) => {
    const parent = message.parent_header;
    if (message.header.msg_type === 'status' && message.content.execution_state === 'idle'
        && parent.msg_type === 'execute_request') found.ran ??= performance.now();
  };
  kernel.iopubMessage.connect(hear);
  window.jupyterapp.commands.execute('notebook:run-all-cells');
  const [isFirst, isReady] = [new Function(`return ${first}`), new Function(`return ${ready}`)];
  const end = performance.now() + 60000;
  while (performance.now() < end && (found.all === undefined || found.ran === undefined)) {
    await new Promise((done) => requestAnimationFrame(done));
    if (isFirst()) found.first ??= performance.now();
    if (isReady()) found.all ??= performance.now();
  }
  kernel.iopubMessage.disconnect(hear);
  return { first: found.first - found.ran, all: found.all - found.ran };
}"""
TILES = "[...document.querySelectorAll('img.gt-tile')]"
FIRST_TILE = f"{TILES}.some((t) => t.complete && t.naturalWidth > 0)"
ALL_TILES = f"{TILES}.length > 0 && {TILES}.every((t) => t.dataset.ms !== undefined)"
PATCHES = (
    "document.querySelectorAll('.gt-cell').length === 64"
    " && [...document.querySelectorAll('.gt-below')].every((n) => n.style.backgroundImage.startsWith('url'))"
)
# The longest time between two frames, in ms: how long the page stood still.
STILL = """async (ms) => {
  let last = performance.now(), longest = 0;
  for (const end = last + ms; last < end; ) {
    await new Promise((done) => requestAnimationFrame(done));
    const now = performance.now();
    longest = Math.max(longest, now - last);
    last = now;
  }
  return longest;
}"""


def make_cog(folder: Path, side: int) -> tuple[Path, Path]:
    """Write an image of three bands and its classes, both COGs; what is there is kept."""
    image, classes = folder / f"widgets_{side}.tif", folder / f"widgets_{side}_classes.tif"
    if image.exists() and classes.exists():
        return image, classes
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(0)
    step = 2048
    noise = rng.integers(0, 24, (3, step, step), dtype=np.uint8)
    rows, cols = np.mgrid[0:step, 0:step]
    for path, count in ((image, 3), (classes, 1)):
        plain = path.with_suffix(".plain.tif")
        with rasterio.open(
            plain,
            "w",
            driver="GTiff",
            width=side,
            height=side,
            count=count,
            dtype="uint8",
            nodata=0,
            **GROUND,
        ) as out:
            if count == 1:
                out.write_colormap(1, COLORS)
            for top in range(0, side, step):
                for left in range(0, side, step):
                    height, width = min(step, side - top), min(step, side - left)
                    waves = (
                        np.sin((rows + top) / 700) + np.cos((cols + left) / 900) + np.sin((rows + cols) / 90)
                    )
                    land = waves[:height, :width]
                    if count == 1:
                        block = (1 + np.digitize(land, (-0.7, 0.7)))[None].astype(np.uint8)
                    else:
                        block = (40 + 30 * (land + 3) + noise[:, :height, :width]).astype(np.uint8)
                    out.write(block, window=Window(left, top, width, height))
        how = Resampling.mode if count == 1 else Resampling.average
        rasterio.shutil.copy(
            plain,
            path,
            driver="COG",
            compress="DEFLATE",
            level=1,
            blocksize=512,
            overview_resampling=how.name,
        )
        plain.unlink()
    return image, classes


@contextmanager
def notebook(lab: Lab, cell: str, prepared: str = "") -> Iterator[Page]:
    """Open a notebook of one cell that has not run; ``prepared`` is run in its kernel first."""
    page = lab.open([cell], run=False, width=1280, height=900)
    if prepared:
        said = lab.python(page, prepared)
        if "ERROR" in said:
            raise RuntimeError(said)
    try:
        yield page
    finally:
        lab.close(page)


def first_paint(lab: Lab, image: Path, imported: bool) -> dict[str, float]:
    """Time a LayerMap from the end of its cell to its tiles."""
    cell = f"from geotoolbox_widgets import LayerMap\nview = LayerMap({str(image)!r})\nview"
    prepared = "from geotoolbox_widgets import LayerMap; LayerMap().close()" if imported else ""
    with notebook(lab, cell, prepared) as page:
        found: dict[str, float] = page.evaluate(WATCH, {"ready": ALL_TILES, "first": FIRST_TILE})
    return found


def moving(lab: Lab, image: Path, rounds: int) -> dict[str, list[float]]:
    """Pan and zoom, and collect how long each new tile took, and how long until all stood."""
    cell = f"from geotoolbox_widgets import LayerMap\nview = LayerMap({str(image)!r})\nview"
    found: dict[str, list[float]] = {"tile": [], "view": []}
    with notebook(lab, cell) as page:
        page.evaluate(WATCH, {"ready": ALL_TILES, "first": FIRST_TILE})
        box = page.locator(".leaflet-container").first.bounding_box()
        assert box is not None
        middle = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
        for _ in range(rounds):
            for act in ("in", "there", "back", "in", "there", "back", "out", "out"):  # ends where it began
                page.evaluate(f"() => {TILES}.forEach((t) => (t.dataset.seen = '1'))")
                if act in ("in", "out"):
                    page.mouse.move(*middle)
                    page.mouse.wheel(0, -240 if act == "in" else 240)
                else:
                    drag(page, middle, (-300, 160) if act == "there" else (300, -160))
                page.wait_for_timeout(400)  # the map glides on for a moment
                page.wait_for_function(f"() => {ALL_TILES}", timeout=30_000)
                new = f"() => {TILES}.filter((t) => !t.dataset.seen && t.dataset.ms).map((t) => Number(t.dataset.ms))"
                times: list[float] = page.evaluate(new)
                if times:
                    found["tile"] += times
                    found["view"].append(max(times))
    return found


def drag(page: Page, start: tuple[float, float], by: tuple[int, int]) -> None:
    """Drag the map."""
    page.mouse.move(*start)
    page.mouse.down()
    page.mouse.move(start[0] + by[0], start[1] + by[1], steps=6)
    page.mouse.up()


def drawn_in_kernel(image: Path) -> list[float]:
    """Draw tiles one after the other in this process, from the whole view down to the data's own zoom, in ms."""
    from geotoolbox_widgets import LayerMap

    view = LayerMap(str(image))
    layer = view.layers[0]
    west, south, east, north = layer.bounds()
    layer.stretch()
    times = []
    for zoom in range(8, layer.max_zoom + 1):
        for share in (0.3, 0.5, 0.7):
            place = tile_at(west + share * (east - west), south + share * (north - south), zoom)
            begin = time.perf_counter()
            drawn = layer.tile(*place)
            if drawn:
                times.append(1000 * (time.perf_counter() - begin))
    view.close()
    return times


def tile_at(lon: float, lat: float, zoom: int) -> tuple[int, int, int]:
    """Return the Web Mercator tile (zoom, column, row) over a place."""
    count = 2**zoom
    column = int((lon + 180) / 360 * count)
    angle = np.radians(lat)
    row = int((1 - np.arcsinh(np.tan(angle)) / np.pi) / 2 * count)
    return zoom, column, row


def patches(lab: Lab, image: Path, classes: Path) -> dict[str, float]:
    """Time a SampleBrowser from the end of its cell to 64 patches."""
    prepared = (
        "from geotoolbox import RasterDataset\nfrom geotoolbox_widgets import SampleBrowser\n"
        f"data = RasterDataset({str(image)!r}) & RasterDataset({str(classes)!r}, kind='labels')"
    )
    with notebook(lab, "browser = SampleBrowser(data, size_px=128)\nbrowser", prepared) as page:
        begin = "document.querySelectorAll('.gt-cell').length > 0"
        found: dict[str, float] = page.evaluate(WATCH, {"ready": PATCHES, "first": begin})
        time.sleep(1)
        if lab.python(page, "print(browser.message.text, len(browser.gallery.cells))") != "64":
            raise RuntimeError("the browser does not show 64 patches")
    return found


def answers(lab: Lab, image: Path, folder: Path, training: bool) -> dict[str, list[float]]:
    """Time what a person does on a page, while nothing else runs or while a network is trained, in ms."""
    prepared = (
        "from pathlib import Path\nfrom geotoolbox.jobs.demo_scene import make_demo_scene\n"
        "from geotoolbox_widgets import LayerMap, Trainer\n"
        f"scene = make_demo_scene(Path({str(folder)!r}) / 'scene', size_px=400)\n"
        "t = Trainer({'images': tuple(map(str, scene.images)), 'labels': (str(scene.label_raster),),"
        f" 'output': {str(folder / 'm.gtb')!r}, 'epochs': 500, 'baseline': False, 'maximum_minutes': 9}})"
    )
    found: dict[str, list[float]] = {"kernel": [], "bands": [], "still": []}
    with notebook(lab, f"view = LayerMap({str(image)!r})\nview", prepared) as page:
        page.evaluate(WATCH, {"ready": ALL_TILES, "first": FIRST_TILE})
        if training:
            lab.python(page, "t.start()")
            lab.expect(page, "print('train_loss' in t.run.metrics)", "True", within_s=300)
        for turn in range(8):
            begin = time.perf_counter()
            lab.python(page, "pass")
            found["kernel"].append(1000 * (time.perf_counter() - begin))
            begin = time.perf_counter()
            lab.python(page, f"view.layers[0].gamma = {0.5 + 0.05 * turn}")
            version = f"String({turn + 1})"
            page.wait_for_function(
                f"() => {TILES}.every((t) => t.dataset.version === {version})", timeout=30_000
            )
            found["bands"].append(1000 * (time.perf_counter() - begin))
            found["still"].append(page.evaluate(STILL, 1000))
        if training:
            lab.python(page, "t.cancel(); t.wait(120)")
    return found


def row(name: str, values: Sequence[float], limit: str = "") -> str:
    """Return a line of the table: median, 95th of a hundred, and the longest, in ms."""
    known = sorted(values)
    high = known[min(len(known) - 1, int(0.95 * len(known)))]
    middle = statistics.median(known)
    return f"| {name} | {middle:,.0f} | {high:,.0f} | {known[-1]:,.0f} | {len(known)} | {limit} |"


def chromium() -> str:
    """Return the browser that is there."""
    names = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
    found = next((path for name in names if (path := shutil.which(name))), None)
    if found is None:
        raise SystemExit("no Chromium here (Debian: apt-get install chromium)")
    return found


def measure(lab: Lab, image: Path, classes: Path, work: Path, rounds: int) -> list[str]:
    """Measure everything and return the lines of the table."""
    size = f"{image.stat().st_size / 1e6:,.0f} MB"
    lines: list[str] = [
        f"| what (COG of {size}) | median ms | 95 % | longest | n | at most |",
        "|---|--:|--:|--:|--:|---|",
    ]

    def add(name: str, values: Sequence[float], limit: str = "") -> None:
        lines.append(row(name, values, limit))
        print(lines[-1], flush=True)

    new = [first_paint(lab, image, imported=False) for _ in range(rounds)]
    add("LayerMap in a new kernel: first tile after the cell ran", [f["first"] for f in new], "1,000")
    add("… all tiles in view", [f["all"] for f in new])
    warm = [first_paint(lab, image, imported=True) for _ in range(rounds)]
    add("LayerMap, imports done: first tile after the cell ran", [f["first"] for f in warm], "1,000")
    add("… all tiles in view", [f["all"] for f in warm])
    add("one tile, drawn alone", drawn_in_kernel(image), "150")
    moves = moving(lab, image, rounds)
    add("panning and zooming: one tile, from the wish to the picture", moves["tile"])
    add("… until all tiles in view stand", moves["view"])
    shown = [patches(lab, image, classes) for _ in range(rounds)]
    add("SampleBrowser: 64 patches after the cell ran", [f["all"] for f in shown], "2,000")
    for words, training in (("nothing else runs", False), ("a network is trained", True)):
        found = answers(lab, image, work / f"t{training}", training)
        add(f"while {words}: a message to the kernel and back", found["kernel"])
        add("… another stretch, until all tiles are redrawn", found["bands"])
        add("… longest time without a frame, in a second", found["still"])
    return lines


def main() -> None:
    """Make the data, start JupyterLab, measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", maxsplit=1)[0])
    parser.add_argument("--side", type=int, default=20_000, help="of the COG, in pixels")
    default = os.environ.get("GEOTOOLBOX_BENCH_DATA", str(ROOT / "benchmarks" / "data"))
    parser.add_argument("--data", type=Path, default=Path(default), help="where the COG is kept")
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    image, classes = make_cog(options.data, options.side)
    with tempfile.TemporaryDirectory() as scratch, sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=chromium(), args=["--no-sandbox", "--disable-dev-shm-usage"]
        )
        lab = Lab(Path(scratch) / "lab", browser)
        try:
            lines = measure(lab, image, classes, Path(scratch), options.rounds)
        finally:
            lab.stop()
            browser.close()
    print("\n" + "\n".join(lines))


if __name__ == "__main__":
    main()
