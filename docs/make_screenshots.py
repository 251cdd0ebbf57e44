"""Makes the pictures of the widgets: JupyterLab in Chromium, on the demo's scene, in both themes and at two widths.

    python docs/make_screenshots.py [--output docs/images/widgets] [--only trainer …]

Needs Chromium and the test tools: ``scripts/setup.sh dev notebook +system``. Takes a few minutes.
"""

from __future__ import annotations

import argparse
import io
import shutil
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from PIL import Image
from playwright.sync_api import Page, sync_playwright

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from tests.widgets.lab import Lab  # noqa: E402

SCENE = """
from pathlib import Path
from geotoolbox.jobs.demo_scene import make_demo_scene
from geotoolbox.datasets import read_region
from geotoolbox_widgets import AppState, Explorer, LayerMap, MetricsExplorer, PredictionViewer, SampleBrowser, Trainer
scene = make_demo_scene(Path("scene"), size_px=400)
images = tuple(map(str, scene.images))
"""
TRAINING = """{"images": images, "labels": (str(scene.label_polygons),), "label_column": "class",
 "area": str(scene.train_area), "output": "model.gtb", "epochs": 4, "maximum_minutes": 6}"""
WIDE, NARROW, HEIGHT = 1180, 620, 2600


@dataclass(frozen=True, slots=True)
class Shot:
    """A picture: its name, the cell that shows the widget, what is done before, and the widget's class."""

    name: str
    cell: str
    selector: str
    prepare: Callable[[Lab, Page], None]
    width: int = WIDE
    dark: bool = False


def wait(lab: Lab, page: Page, code: str, printed: str) -> None:
    """Wait until code prints what is expected."""
    lab.expect(page, f"print({code})", printed, within_s=600)


def trained(lab: Lab, page: Page) -> None:
    """Train, or show what was trained before."""
    if lab.python(page, "print(t.run.state)") != "done":
        lab.python(page, "t.start()")
        wait(lab, page, "t.run.state", "done")


def at_work(lab: Lab, page: Page) -> None:
    """Train until the first numbers are there."""
    lab.python(page, "t.start()")
    wait(lab, page, "len(t.run.metrics.get('val_mean_iou', ())) > 3", "True")


def stopped(lab: Lab, page: Page) -> None:
    """End a training."""
    lab.python(page, "t.cancel(); t.wait(60)")


def predicted(lab: Lab, page: Page) -> None:
    """Draw an area and predict it."""
    lab.python(page, "v.state.area = read_region(scene.test_area); v.predict_area()")
    wait(lab, page, "v.run.state", "done")
    lab.python(page, "v.map.layer('map').opacity = 0.85; v.map.fit('map')")


def judged(lab: Lab, page: Page) -> None:
    """Evaluate the map and choose the largest confusion."""
    lab.python(page, "m.evaluate()")
    wait(lab, page, "m.run.state", "done")
    lab.python(
        page,
        "import numpy as np\nn = np.array(m.matrix.counts); np.fill_diagonal(n, 0)\n"
        "m.cell = tuple(int(v) for v in np.unravel_index(n.argmax(), n.shape))",
    )


def explored(lab: Lab, page: Page) -> None:
    """Open the tab with the samples."""
    page.get_by_role("tab", name="Samples", exact=True).first.click()
    wait(lab, page, "e.samples.wait().loaded > 0", "True")
    page.locator(".gt-cell").nth(3).click()


TRAINER = f"t = Trainer({TRAINING})\nt"
LONG = f"t = Trainer({TRAINING} | {{'epochs': 60, 'output': 'long.gtb'}})\nt"
VIEWER = "v = PredictionViewer({'model': 'model.gtb', 'images': images}, reference=scene.label_raster, folder='maps')\nv"
METRICS = (
    "m = MetricsExplorer(values={'map': 'maps/map-001.tif', 'reference': (str(scene.label_raster),), "
    "'images': images, 'area': str(scene.test_area), 'block_px': 48})\nm"
)
EXPLORER = "e = Explorer(images, [scene.label_polygons], label_column='class')\ne"
SHOTS = (
    Shot("trainer-light", TRAINER, ".gt-trainer", trained),
    Shot("trainer-dark-narrow", LONG, ".gt-trainer", at_work, NARROW, True),
    Shot("prediction-light", VIEWER, ".gt-prediction", predicted),
    Shot("prediction-dark-narrow", VIEWER, ".gt-prediction", predicted, NARROW, True),
    Shot("metrics-light", METRICS, ".gt-metrics", judged),
    Shot("metrics-dark-narrow", METRICS, ".gt-metrics", judged, NARROW, True),
    Shot("explorer-light", EXPLORER, ".gt-explorer", explored),
    Shot("explorer-dark-narrow", EXPLORER, ".gt-explorer", explored, NARROW, True),
)


def take(lab: Lab, shot: Shot, folder: Path) -> None:
    """Make one picture."""
    page = lab.open([SCENE, shot.cell], width=shot.width, height=HEIGHT)
    try:
        lab.theme(page, "Dark" if shot.dark else "Light")
        widget = page.locator(shot.selector).first
        widget.wait_for(timeout=60_000)
        shot.prepare(lab, page)
        widget.scroll_into_view_if_needed()
        page.wait_for_timeout(2500)
        picture = Image.open(io.BytesIO(widget.screenshot()))
        picture.convert("RGB").save(folder / f"{shot.name}.webp", quality=82, method=6)
        if page.gt_errors:  # type: ignore[attr-defined]
            raise RuntimeError(f"{shot.name}: {page.gt_errors}")  # type: ignore[attr-defined]
        if shot.prepare is at_work:
            stopped(lab, page)
    finally:
        lab.close(page)


def main() -> None:
    """Make the pictures that are asked for."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", maxsplit=1)[0])
    parser.add_argument("--output", type=Path, default=ROOT / "docs" / "images" / "widgets")
    parser.add_argument("--only", nargs="*", default=[], help="names that begin so")
    options = parser.parse_args()
    options.output.mkdir(parents=True, exist_ok=True)
    program = shutil.which("chromium") or shutil.which("google-chrome")
    with tempfile.TemporaryDirectory() as scratch, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
        lab = Lab(Path(scratch) / "lab", browser)
        try:
            for shot in SHOTS:
                if not options.only or shot.name.startswith(tuple(options.only)):
                    take(lab, shot, options.output)
        finally:
            lab.stop()
            browser.close()


if __name__ == "__main__":
    main()
