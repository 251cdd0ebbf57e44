"""SampleBrowser in JupyterLab in Chromium: from click to kernel to what is on the page."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from tests.widgets.lab import Lab

CELL = """
classes = {{1: 'water', 2: 'forest & <b>wood</b>', 3: 'bare rock'}}
data = RasterDataset({image!r}) & RasterDataset({labels!r}, classes=classes)
split = spatial_split(data, {{'train': 0.6, 'val': 0.4}}, block_px=64, seed=1)
browser = SampleBrowser(data, size_px=32, count=40, split=split, seed=3)
browser
"""


@pytest.fixture(scope="module")
def page(lab: Lab, scene: tuple[Path, Path]) -> Iterator[Page]:
    start = (
        "from geotoolbox import RasterDataset, spatial_split\nfrom geotoolbox_widgets import SampleBrowser"
    )
    found = lab.open([start, CELL.format(image=str(scene[0]), labels=str(scene[1]))], width=1280, height=1200)
    found.wait_for_selector(".gt-chart svg", timeout=60_000)
    yield found
    assert found.gt_errors == []  # type: ignore[attr-defined]
    lab.close(found)


def facts(lab: Lab, page: Page, expression: str) -> object:
    return json.loads(lab.python(page, f"import json; print(json.dumps({expression}))"))


def told(lab: Lab, page: Page, expression: str, value: object) -> None:
    """Wait until the kernel has heard: an expression's value, as JSON."""
    lab.expect(page, f"import json; print(json.dumps({expression}))", json.dumps(value))


def test_every_drawn_sample_stands_in_the_gallery(lab: Lab, page: Page) -> None:
    count = facts(lab, page, "len(browser.drawn)")
    expect(page.locator(".gt-cell")).to_have_count(count)  # type: ignore[arg-type]
    expect(page.locator(".gt-told")).to_contain_text(f"{count} samples drawn, {count} shown, 0 left out")
    label = page.locator(".gt-cell").first.get_attribute("aria-label")
    assert label is not None and label.startswith("Sample 1: ") and "% without data" in label


def test_the_sheet_shows_the_pixels_that_were_read(lab: Lab, page: Page) -> None:
    # Masks alone: the first pixel of a patch has the colour of its class.
    code = """
import io, json
from PIL import Image
import numpy as np
sheet = np.asarray(Image.open(io.BytesIO(browser.gallery.top)).convert('RGBA'))
side = sheet.shape[1] // browser.gallery.sheet_columns
good = []
for place, cell in enumerate(browser.gallery.cells):
    mask = browser.drawn.reading(cell['id']).mask
    part = sheet[place // 8 * side:, place % 8 * side:][:side, :side]
    index = int(mask[16, 16])
    got = tuple(int(v) for v in part[side // 2, side // 2])
    good.append(got[3] == 0 if index < 0 else got[:3] == data.classes.colors[index])
print(json.dumps(all(good)))
"""
    lab.expect(page, code, "true")


def test_gallery_click_selects_on_the_map_and_in_detail(lab: Lab, page: Page) -> None:
    page.locator(".gt-cell").nth(4).click()
    expect(page.locator(".gt-detail h3")).to_have_text("Sample 5")
    expect(page.locator(".gt-cell").nth(4)).to_have_attribute("aria-selected", "true")
    expect(page.locator("path.leaflet-interactive[stroke='#ffe600']")).to_have_count(1)
    told(lab, page, "[browser.selected, browser.state.patch]", [4, 4])
    shown = page.locator(".gt-frame img").first
    expect(shown).to_have_attribute("src", re.compile("^blob:"))


def test_footprint_click_selects_in_the_gallery(lab: Lab, page: Page) -> None:
    # A footprint that no other lies on, by its own outline.
    number = facts(
        lab,
        page,
        "next(n for n, f in enumerate(browser._outlines.features) if n != browser.selected and not any("
        "m != n and __import__('shapely').geometry.shape(f['geometry']).intersects("
        "__import__('shapely').geometry.shape(g['geometry'])) for m, g in enumerate(browser._outlines.features)))",
    )
    assert isinstance(number, int)
    page.locator(f"path.gt-feature-{number}").click()
    expect(page.locator(".gt-detail h3")).to_have_text(f"Sample {number + 1}")
    told(lab, page, "browser.selected", number)
    expect(page.locator(f".gt-cell[data-id='{number}']")).to_have_attribute("aria-selected", "true")


def test_class_and_nodata_filters(lab: Lab, page: Page) -> None:
    page.get_by_label("Class", exact=True).select_option("water")
    wanted = facts(
        lab, page, "[n for n in range(len(browser.drawn)) if browser.drawn.facts[n].class_pixels[0]]"
    )
    assert isinstance(wanted, list)
    expect(page.locator(".gt-cell")).to_have_count(len(wanted))
    ids = page.locator(".gt-cell").evaluate_all("(all) => all.map((n) => Number(n.dataset.id))")
    assert ids == wanted
    page.get_by_label("Class", exact=True).select_option("")
    box = page.get_by_label("No data ≤ %")
    box.fill("0")
    box.press("Tab")
    full = facts(
        lab, page, "[n for n in range(len(browser.drawn)) if browser.drawn.facts[n].nodata_share == 0]"
    )
    assert isinstance(full, list) and 0 < len(full) < 40
    expect(page.locator(".gt-cell")).to_have_count(len(full))
    box.fill("100")
    box.press("Tab")
    expect(page.locator(".gt-cell")).not_to_have_count(len(full))


def test_split_filter(lab: Lab, page: Page) -> None:
    page.get_by_label("Split").select_option("val")
    count = facts(lab, page, "browser.drawn.parts.count('val')")
    expect(page.locator(".gt-cell")).to_have_count(count)  # type: ignore[arg-type]
    page.get_by_label("Split").select_option("")
    expect(page.locator(".gt-cell")).to_have_count(facts(lab, page, "len(browser.drawn)"))  # type: ignore[arg-type]


def test_keys_move_select_exclude_and_weigh(lab: Lab, page: Page) -> None:
    before = facts(lab, page, "len(browser.samples)")
    page.locator(".gt-cell").first.click()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("Enter")
    expect(page.locator(".gt-detail h3")).to_have_text("Sample 2")
    page.keyboard.press("x")
    expect(page.locator(".gt-cell[data-id='1']")).to_have_attribute("data-mark", "excluded")
    expect(page.locator(".gt-exclude")).to_be_checked()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("+")
    expect(page.locator(".gt-cell[data-id='2'] .gt-badge")).to_have_text("×2")
    weights = "{str(k): v for k, v in browser.weights.items()}"
    told(lab, page, f"[browser.excluded, {weights}]", [[1], {"2": 2.0}])
    in_training = facts(lab, page, "browser.drawn.in_training(1)")
    assert facts(lab, page, "len(browser.samples)") == before - int(in_training)  # type: ignore[operator]
    assert facts(lab, page, "browser.state.samples == browser.samples") is True
    expect(page.locator(".gt-told")).to_contain_text("1 left out, 1 weighted")


def test_detail_excludes_and_weighs(lab: Lab, page: Page) -> None:
    page.locator(".gt-cell[data-id='5']").click()
    expect(page.locator(".gt-detail h3")).to_have_text("Sample 6")
    expect(page.locator(".gt-exclude")).not_to_be_checked()
    page.locator(".gt-exclude").check()
    expect(page.locator(".gt-cell[data-id='5']")).to_have_attribute("data-mark", "excluded")
    page.locator(".gt-exclude").uncheck()
    weight = page.locator(".gt-weight")
    weight.fill("-3")
    weight.press("Tab")
    expect(page.locator(".gt-message").first).to_contain_text("this is no weight")
    weight.fill("2.5")
    weight.press("Tab")
    expect(page.locator(".gt-cell[data-id='5'] .gt-badge")).to_have_text("×2.5")
    told(lab, page, "browser.weights.get(5)", 2.5)


def test_the_model_s_view_is_drawn_anew(lab: Lab, page: Page) -> None:
    before = page.locator(".gt-below").first.evaluate("(n) => n.style.backgroundImage")
    page.get_by_label("Shown", exact=True).select_option("model")
    page.wait_for_function(
        "(b) => document.querySelector('.gt-below').style.backgroundImage !== b", arg=before, timeout=60_000
    )
    told(lab, page, "browser.view", "model")
    page.get_by_label("Shown", exact=True).select_option("read")


def test_balance_tells_shares_in_words(page: Page) -> None:
    words = page.locator(".gt-chart").get_attribute("aria-label")
    assert words is not None and "train: " in words and "val: " in words and "forest & <b>wood</b>" in words
    assert page.locator(".gt-chart b").count() == 0


def test_others_can_be_drawn(lab: Lab, page: Page) -> None:
    before = lab.python(page, "print(browser.drawn.queries[0])")
    page.get_by_role("button", name="Draw others").click()
    page.wait_for_function("() => document.querySelector('.gt-told').textContent.includes('0 left out')")
    told(lab, page, "[browser.epoch, list(browser.excluded), browser.selected]", [2, [], -1])
    assert lab.python(page, "print(browser.drawn.queries[0])") != before
