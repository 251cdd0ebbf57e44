"""The report in a real browser: copying a table, narrow and dark pages, print."""

from __future__ import annotations

import csv
import io
import math
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page

from geotoolbox.visualization.report import Cell, Report, Section, Table, render_report
from tests.visualization.test_report import everything_evaluated


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("report") / "ä report.html"
    path.write_text(everything_evaluated(), encoding="utf-8")
    return path


def opened(browser: Browser, path: Path, width: int, **options: str) -> tuple[Page, list[str]]:
    context = browser.new_context(viewport={"width": width, "height": 900}, offline=True, **options)  # type: ignore[arg-type]
    context.grant_permissions(["clipboard-read", "clipboard-write"])
    page, said = context.new_page(), list[str]()
    page.on("console", lambda message: said.append(message.text))
    page.on("pageerror", lambda error: said.append(str(error)))
    page.goto(path.as_uri())
    return page, said


def test_the_button_copies_exact_values_as_csv_offline(browser: Browser, tmp_path: Path) -> None:
    rows = [
        [Cell('a, "b"'), Cell("0.333", 1 / 3)],
        [Cell("=1+1"), Cell("–", math.nan, "why")],
        [Cell("c"), Cell("−1", -1)],
    ]
    table = Table("Scores", ["Class", "IoU"], rows)
    path = tmp_path / "t.html"
    path.write_text(render_report(Report("k", "t", "s", [], [Section("h", [table])])), encoding="utf-8")
    page, said = opened(browser, path, 900)
    page.get_by_role("button", name="Copy as CSV: Scores").click()
    page.get_by_text("Copied").first.wait_for()
    copied = page.evaluate("navigator.clipboard.readText()")
    found = list(csv.reader(io.StringIO(copied)))
    assert found == [["Class", "IoU"], ['a, "b"', repr(1 / 3)], ["'=1+1", "NaN"], ["c", "-1"]]
    assert page.locator("#said").text_content() == "Copied"
    assert said == []


@pytest.mark.parametrize("width", [420, 1280])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_pages_fit_and_follow_the_scheme(browser: Browser, report: Path, width: int, scheme: str) -> None:
    page, said = opened(browser, report, width, color_scheme=scheme)
    page.evaluate("document.querySelectorAll('details').forEach(d => { d.open = true; })")
    assert page.evaluate("document.documentElement.scrollWidth") <= width  # only what is inside scrolls
    red, green, blue = page.evaluate(
        "getComputedStyle(document.body).backgroundColor.match(/\\d+/g).map(Number)"
    )
    assert (red + green + blue < 150) == (scheme == "dark")
    ink = page.evaluate(
        "getComputedStyle(document.querySelector('svg text')).fill.match(/\\d+/g).map(Number)"
    )
    assert (sum(ink) > 400) == (scheme == "dark")
    assert said == []


def test_a_person_without_sight_hears_headings_tables_and_pictures(browser: Browser, report: Path) -> None:
    page, _ = opened(browser, report, 1280)
    assert page.get_by_role("main").count() == page.get_by_role("contentinfo").count() == 1
    assert page.get_by_role("heading", level=1).text_content() == "map.tif"
    assert page.get_by_role("table", name="Scores of each class").count() == 1
    assert page.get_by_role("rowheader", name="forest").count() >= 2
    assert page.get_by_role("img", name="ROC curves, area under them").count() == 1
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.getAttribute('href')") == "#main"


def test_print_opens_what_is_folded_and_hides_buttons(browser: Browser, report: Path) -> None:
    page, _ = opened(browser, report, 1280, color_scheme="dark")
    folded = page.locator("details").count()
    assert folded > 1
    assert page.pdf().startswith(b"%PDF")
    assert page.locator("details[open]").count() == folded
    page.emulate_media(media="print", color_scheme="dark")
    assert page.locator("button.copy").first.is_hidden()
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
