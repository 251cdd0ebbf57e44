"""LayerMap in JupyterLab in Chromium: from click to kernel to what is on the page."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from geotoolbox.core.classes import ClassTable
from tests.widgets.lab import Lab, family, listening_ports


@pytest.fixture(scope="module")
def page(lab: Lab, scene: tuple[Path, Path]) -> Iterator[Page]:
    image, labels = scene
    found = lab.open(
        [
            "from geotoolbox_widgets import LayerMap",
            f"view = LayerMap({str(image)!r}, height='420px')\n"
            f"classes = {{1: 'water', 2: 'forest & <b>wood</b>', 3: 'bare rock'}}\n"
            f"from geotoolbox import RasterDataset\n"
            f"view.add(RasterDataset({str(labels)!r}, classes=classes), name='land', opacity=0.5)\nview",
        ]
    )
    expect(found.locator(".gt-panel li.gt-layer")).to_have_count(2)
    wait_for_tiles(found)
    yield found
    assert found.gt_errors == []  # type: ignore[attr-defined]
    lab.close(found)


def wait_for_tiles(page: Page, least: int = 1) -> None:
    """Wait until no tile is missing: each has its bytes, or is known to be empty."""
    page.wait_for_function(
        """(least) => {
          const tiles = [...document.querySelectorAll('img.gt-tile')];
          const shown = tiles.filter((t) => t.complete && t.naturalWidth > 0);
          return shown.length >= least && tiles.every((t) => t.dataset.ms !== undefined);
        }""",
        arg=least,
    )


def python(lab: Lab, page: Page, code: str) -> str:
    return lab.python(page, code)


def color_at(page: Page, x: float, y: float) -> tuple[int, int, int]:
    """The colour on the map at a share of its width and height."""
    import io

    from PIL import Image

    picture = Image.open(io.BytesIO(page.locator(".leaflet-container").first.screenshot())).convert("RGB")
    red, green, blue = picture.getpixel((int(x * picture.width), int(y * picture.height)))
    return int(red), int(green), int(blue)


def wait_for_color(page: Page, x: float, y: float, color: tuple[int, int, int], within: int = 2) -> None:
    """Wait until the map has this colour at a place (tiles fade in, messages take their time)."""
    end = time.monotonic() + 20
    while (found := color_at(page, x, y)) != pytest.approx(color, abs=within) and time.monotonic() < end:
        page.wait_for_timeout(100)
    assert found == pytest.approx(color, abs=within)


def wait_for_empty_map(page: Page) -> None:
    """Wait until the map shows a place without tiles."""
    page.wait_for_function(
        """() => {
          const map = document.querySelector('.leaflet-container').getBoundingClientRect();
          return [...document.querySelectorAll('img.gt-tile')].every((tile) => {
            const box = tile.getBoundingClientRect();
            return box.right < map.left || box.left > map.right || box.bottom < map.top || box.top > map.bottom;
          });
        }"""
    )


CLASSES = ClassTable.from_names({1: "water", 2: "forest & <b>wood</b>", 3: "bare rock"})
FOREST = CLASSES.colors[1]


def test_tiles_are_drawn_with_the_values_of_the_file(lab: Lab, page: Page) -> None:
    # The middle of the map is the middle of the scene, in the middle class: image below, label above.
    python(lab, page, "view.layer('land').opacity = 1.0")
    wait_for_color(page, 0.5, 0.45, FOREST)
    python(lab, page, "view.layer('land').visible = False")
    page.wait_for_function("() => !document.querySelector('.gt-panel input[type=checkbox]').checked")
    # Column, row and their sum are in the middle of their ranges there: one grey, brightened by the gamma.
    grey = round(0.5**0.75 * 255)
    wait_for_color(page, 0.5, 0.45, (grey, grey, grey), within=24)
    python(lab, page, "view.layer('land').visible = True; view.layer('land').opacity = 0.5")


def test_class_names_are_escaped_in_the_legend(page: Page) -> None:
    legend = page.locator(".gt-legend")
    expect(legend).to_contain_text("forest & <b>wood</b>")
    assert legend.locator("b").count() == 0


def test_checkbox_and_slider_reach_the_kernel(lab: Lab, page: Page) -> None:
    card = page.locator(".gt-panel li.gt-layer").first
    card.get_by_label("Show land").uncheck()
    expect(page.locator(".gt-legend")).to_have_count(0)  # a hidden layer has no legend
    lab.expect(page, "print(view.layer('land').visible)", "False")
    card.get_by_label("Show land").check()
    expect(page.locator(".gt-legend")).to_have_count(1)
    slider = card.get_by_label("Opacity of land")
    slider.focus()
    page.keyboard.press("End")
    lab.expect(page, "print(view.layer('land').opacity)", "1.0")
    page.keyboard.press("Home")
    lab.expect(page, "print(view.layer('land').opacity)", "0.0")


def test_band_combination_changes_the_tiles(lab: Lab, page: Page) -> None:
    card = page.locator(".gt-panel li.gt-layer").nth(1)
    card.get_by_text("Bands and stretch").click()
    before = page.locator("img.gt-tile").first.get_attribute("data-version")
    card.get_by_label("Red of image").select_option("nir")
    page.wait_for_function(
        "(v) => [...document.querySelectorAll('img.gt-tile:not(.gt-exact)')].every((t) => t.dataset.version !== v)",
        arg=before,
    )
    lab.expect(page, "print(view.layer('image').bands)", "('nir', 'green', 'blue')")
    card.get_by_label("How image is coloured").select_option("one band")
    expect(card.get_by_label("Colours of image")).to_be_visible()
    card.get_by_label("Colours of image").select_option("viridis")
    lab.expect(page, "l = view.layer('image'); print(l.bands, l.colormap)", "('nir',) viridis")
    python(lab, page, "l.bands = ('red', 'green', 'blue')")


def test_a_wrong_stretch_is_told_and_taken_back(lab: Lab, page: Page) -> None:
    card = page.locator(".gt-panel li.gt-layer").nth(1)
    if not card.locator("details").evaluate("(d) => d.open"):
        card.get_by_text("Bands and stretch").click()
    low = card.get_by_label("Per cent that is black in image")
    low.fill("99")
    low.press("Tab")
    expect(page.locator(".gt-message")).to_contain_text("percentiles are out of order")
    expect(card.get_by_label("Per cent that is black in image")).to_have_value("2")
    lab.expect(page, "print(view.layer('image').percentiles)", "(2.0, 98.0)")


def test_pointer_shows_the_values_of_all_layers(lab: Lab, page: Page) -> None:
    box = page.locator(".leaflet-container").first.bounding_box()
    assert box is not None
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    values = page.locator(".gt-values")
    expect(values).to_contain_text("forest & <b>wood</b>")
    # The native values at the middle: band 1 is the column, band 2 the row.
    found = json.loads(python(lab, page, "import json; print(json.dumps(view.inspected))"))
    by_layer = {row["layer"]: dict(row["values"]) for row in found}
    assert by_layer["image"]["nir"] == 500
    assert abs(by_layer["image"]["red"] - 128) < 12 and abs(by_layer["image"]["green"] - 128) < 12
    assert by_layer["image"]["blue"] == by_layer["image"]["red"] + by_layer["image"]["green"] - 1
    expect(page.locator(".gt-place").first).to_contain_text("° N")


def test_a_click_keeps_the_place_and_enter_reads_the_middle(lab: Lab, page: Page) -> None:
    map_ = page.locator(".leaflet-container").first
    map_.click(position={"x": 150, "y": 150})
    expect(page.locator(".gt-pin")).to_have_count(1)
    kept = python(lab, page, "print(view.state.place)")
    python(lab, page, "heard = []; view._overlay.on_msg(lambda _, m, __: heard.append(m['kind']))")
    page.mouse.move(400, 400)
    lab.expect(page, "print('point' in heard)", "True")  # the pointer was heard, and the place is kept
    assert python(lab, page, "print(view.state.place)") == kept
    map_.focus()
    page.keyboard.press("Enter")
    near = "max(abs(a - b) for a, b in zip(view.state.place, reversed(view.center)))"
    lab.expect(page, f"print({near} < 1e-6)", "True")


def test_swipe_by_mouse_and_keyboard(lab: Lab, page: Page) -> None:
    python(lab, page, "view.layer('land').opacity = 1.0")
    page.locator(".gt-compare").check()
    divider = page.get_by_label("Divider between the two layers")
    expect(divider).to_be_visible()
    divider.focus()
    page.keyboard.press("Home")
    page.wait_for_function("() => document.querySelector('.gt-swipe-line').style.left === '0%'")
    lab.expect(page, "print(float(view.comparing['position']))", "0.0")
    # All of the map is right of the divider now: the labels.
    wait_for_color(page, 0.5, 0.4, FOREST)
    page.keyboard.press("End")
    page.wait_for_function("() => document.querySelector('.gt-swipe-line').style.left === '100%'")
    grey = round(0.5**0.75 * 255)
    wait_for_color(page, 0.5, 0.45, (grey, grey, grey), within=40)
    assert color_at(page, 0.5, 0.45) != pytest.approx(FOREST, abs=12)
    python(lab, page, "view.compare('image', 'land', 0.5)")
    page.wait_for_function("() => document.querySelector('.gt-swipe-line').style.left === '50%'")
    page.locator(".gt-compare").uncheck()
    expect(divider).to_have_count(0)
    lab.expect(page, "print(view.comparing)", "None")


def test_a_drawn_rectangle_becomes_a_region(lab: Lab, page: Page) -> None:
    page.locator("a.leaflet-draw-draw-rectangle").click()
    box = page.locator(".leaflet-container").first.bounding_box()
    assert box is not None
    x, y = box["x"] + box["width"] * 0.4, box["y"] + box["height"] * 0.35
    page.mouse.move(x, y)
    page.mouse.down()
    page.mouse.move(x + 60, y + 50, steps=4)
    page.mouse.up()
    expect(page.locator(".gt-place").nth(1)).to_contain_text(re.compile("km²|ha"))
    text = python(
        lab, page, "print(view.area.crs, view.area.geometry.bounds == view.state.area.geometry.bounds)"
    )
    assert text == "EPSG:4326 True"
    west = page.get_by_label("West of the area, in degrees")
    assert float(west.input_value()) == pytest.approx(
        float(python(lab, page, "print(view.area.geometry.bounds[0])")), abs=1e-6
    )
    page.get_by_role("button", name="Clear the area").click()
    expect(page.get_by_role("button", name="Clear the area")).to_be_disabled()
    lab.expect(page, "print(view.area)", "None")


def test_an_area_can_be_typed_and_a_wrong_one_is_told(lab: Lab, page: Page) -> None:
    for side, value in (("West", "-113.2"), ("South", "37.4"), ("East", "-113.3"), ("North", "37.5")):
        page.get_by_label(f"{side} of the area, in degrees").fill(value)
    page.get_by_role("button", name="Use these").click()
    expect(page.locator(".gt-message")).to_contain_text("these sides make no area")
    page.get_by_label("East of the area, in degrees").fill("-113.1")
    page.get_by_role("button", name="Use these").click()
    expect(page.locator(".gt-place").nth(1)).to_contain_text("km²")
    assert python(lab, page, "print(view.area.geometry.bounds)") == "(-113.2, 37.4, -113.1, 37.5)"
    python(lab, page, "view.area = None")


def test_outlines_answer_clicks(lab: Lab, page: Page) -> None:
    code = """
from shapely.geometry import box, mapping
w, s, e, n = view.layer('image').bounds()
boxes = [box(w + (e - w) * i / 4, s, w + (e - w) * (i + 1) / 4, n) for i in range(4)]
features = [{'type': 'Feature', 'properties': {'id': i, 'fill': 0.3, 'group': 'quarter'}, 'geometry': mapping(b)}
            for i, b in enumerate(boxes)]
clicked = []
outlines = view.add_features(features, name='quarters', on_click=clicked.append)
"""
    assert python(lab, page, code) == ""
    expect(page.locator("path.leaflet-interactive")).to_have_count(4)
    page.locator("path.leaflet-interactive").nth(2).click()
    lab.expect(page, "print(clicked, outlines.selected)", "[2] 2")
    stroke = page.locator("path.leaflet-interactive[stroke='#ffe600']")
    expect(stroke).to_have_count(1)
    python(lab, page, "view.remove('quarters')")
    expect(page.locator("path.leaflet-interactive")).to_have_count(0)


def test_layers_can_be_moved_and_zoomed_to(lab: Lab, page: Page) -> None:
    page.get_by_label("Move land down").click()
    expect(page.locator(".gt-panel .gt-name").first).to_have_text("image")
    lab.expect(page, "print([l.name for l in view.layers])", "['land', 'image']")
    page.get_by_label("Move land up").click()
    expect(page.locator(".gt-panel .gt-name").first).to_have_text("land")
    python(lab, page, "view.leaflet.center = (0, 0)")
    lab.expect(page, "print([round(v, 1) for v in view.leaflet.center])", "[0, 0]")
    wait_for_empty_map(page)
    page.get_by_label("Zoom to image").click()
    lab.expect(page, "print(abs(view.center[0] - 37.35) < 0.1)", "True")


def test_a_reloaded_page_shows_the_running_state(lab: Lab, page: Page) -> None:
    python(lab, page, "view.layer('land').opacity = 0.25")
    lab.save(page)
    page.reload()
    page.wait_for_selector(".gt-panel li.gt-layer", timeout=60_000)
    wait_for_tiles(page)
    expect(page.get_by_label("Opacity of land")).to_have_value("0.25")
    page.get_by_label("Show land").uncheck()
    expect(page.locator(".gt-legend")).to_have_count(0)
    assert python(lab, page, "print(view.layer('land').visible)") == "False"
    page.get_by_label("Show land").check()


def test_only_jupyters_own_sockets_listen(lab: Lab, scene: tuple[Path, Path]) -> None:
    shown = lab.open([f"from geotoolbox_widgets import LayerMap\nLayerMap({str(scene[0])!r})"], run=False)
    pid = int(lab.python(shown, "import os; print(os.getpid())"))
    before = listening_ports(family(pid))
    assert before
    lab.run_all(shown)
    wait_for_tiles(shown)
    assert listening_ports(family(pid)) == before  # a bare kernel's own, and nothing more
    everything = listening_ports(family(lab.process.pid))
    assert lab.port in {port for _, port in everything}
    assert {address for address, _ in everything} == {"0100007F"}  # loopback alone
    lab.close(shown)


def test_the_page_asks_nothing_of_the_network(lab: Lab, scene: tuple[Path, Path]) -> None:
    asked: list[str] = []
    context = lab.browser.new_context()
    page = context.new_page()
    page.on("request", lambda request: asked.append(request.url))
    page.close()
    context.close()
    shown = lab.open([f"from geotoolbox_widgets import LayerMap\nLayerMap({str(scene[0])!r})"], run=False)
    shown.on("request", lambda request: asked.append(request.url))
    lab.run_all(shown)
    wait_for_tiles(shown)
    outside = [u for u in asked if not u.startswith((f"http://127.0.0.1:{lab.port}/", "blob:", "data:"))]
    tiles = [u for u in asked if u.startswith("blob:")]
    assert outside == [] and tiles
    freed = shown.evaluate(
        "async (u) => { try { await fetch(u); return false; } catch { return true; } }", tiles[0]
    )
    assert freed  # a tile's bytes are let go once it is drawn
    lab.close(shown)


def test_a_map_in_a_closed_tab_is_drawn_when_the_tab_opens(lab: Lab, scene: tuple[Path, Path]) -> None:
    cell = (
        "import ipywidgets\nfrom geotoolbox_widgets import LayerMap\n"
        f"hidden = LayerMap({str(scene[0])!r}, panel=False)\n"
        "tabs = ipywidgets.Tab([ipywidgets.HTML('first'), hidden], titles=['one', 'two'])\ntabs"
    )
    shown = lab.open([cell, "hidden"])
    # The second display of the same map is open: it is drawn, and the first one when its tab opens.
    shown.wait_for_function("() => document.querySelectorAll('.leaflet-container').length === 2")
    drawn = "(n) => [...document.querySelectorAll('.leaflet-container')].filter((m) => m.querySelector('img.gt-tile[src]')).length === n"
    shown.wait_for_function(drawn, arg=1)
    shown.get_by_role("tab", name="two").click()
    shown.wait_for_function(drawn, arg=2)
    lab.expect(shown, "print(hidden.attached, hidden._overlay.attached)", "True 2")
    lab.close(shown)
