"""LayerMap and SampleBrowser in Notebook 7, the other front end of the same server."""

from __future__ import annotations

from pathlib import Path

import pytest
from playwright.sync_api import expect

from tests.widgets.lab import Lab
from tests.widgets.test_browser_layermap import wait_for_tiles


def test_map_and_gallery_work_in_notebook_7(lab: Lab, scene: tuple[Path, Path]) -> None:
    pytest.importorskip("notebook", reason="Notebook 7 is not installed")
    cells = [
        "from geotoolbox import RasterDataset\nfrom geotoolbox_widgets import LayerMap, SampleBrowser",
        f"view = LayerMap({str(scene[0])!r}, height='300px')\nview",
        f"data = RasterDataset({str(scene[0])!r}) & RasterDataset({str(scene[1])!r}, kind='labels')\n"
        "browser = SampleBrowser(data, size_px=32, count=9, show_map=False)\nbrowser",
    ]
    page = lab.open(cells, height=1500, front="notebooks")
    assert page.evaluate("() => window.jupyterapp.name") == "Jupyter Notebook"
    wait_for_tiles(page)
    page.get_by_label("Show image").uncheck()
    lab.expect(page, "print(view.layers[0].visible)", "False")
    # This front end takes arrow keys for itself, unless the focused element asks it not to.
    page.get_by_label("Opacity of image").focus()
    page.keyboard.press("ArrowLeft")
    lab.expect(page, "print(view.layers[0].opacity < 1)", "True")
    expect(page.locator(".gt-cell")).to_have_count(9)
    page.locator(".gt-cell").first.click()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("Enter")
    expect(page.locator(".gt-detail h3")).to_have_text("Sample 2")
    page.keyboard.press("x")
    lab.expect(page, "print(browser.selected, browser.excluded)", "1 (1,)")
    # The widgets' scripts come as blobs; what the front end's own scripts complain of is not ours.
    assert [e for e in page.gt_errors if "blob:" in e] == []  # type: ignore[attr-defined]
    lab.close(page)
