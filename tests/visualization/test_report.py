"""The report: whole, safe, and honest in its first sentence."""

from __future__ import annotations

import math
import re
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pytest
from shapely.geometry import box

from geotoolbox.core.classes import ClassTable
from geotoolbox.errors import TooLarge
from geotoolbox.metrics import ConfusionMatrix, RegionComparison, compute_scores, confusion_matrix
from geotoolbox.metrics.blocks import BlockConfusion, Cells
from geotoolbox.metrics.bootstrap import bootstrap_scores
from geotoolbox.metrics.boundary import BoundaryCounts
from geotoolbox.metrics.calibration import CalibrationCounts
from geotoolbox.metrics.curves import ScoreCounts
from geotoolbox.metrics.objects import ObjectCounts
from geotoolbox.visualization import Baseline, Preview, SplitMap, evaluation_report, training_report
from geotoolbox.visualization.report import (
    MAX_REPORT_BYTES,
    Cell,
    Code,
    Report,
    Section,
    Table,
    Tile,
    render_report,
)
from geotoolbox.visualization.wording import baseline_sentences, weak_points

EVIL = "<script>alert(1)</script>\"' onload=x"
TABLE = ClassTable.from_names(["field", "forest", "water"])
COUNTS = np.array([[600, 50, 0], [100, 240, 0], [6, 4, 0]])


class Tags(HTMLParser):
    """Collects tags and attributes, and checks that they nest."""

    VOID = frozenset({"meta", "img", "br", "use", "path", "image"})

    def __init__(self, page: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        if tag not in self.VOID:
            assert self.open.pop() == tag


def full_training_report(name: str = "Crops", classes: ClassTable = TABLE) -> str:
    truth = np.random.default_rng(0).integers(-1, 3, (60, 80))
    preview = Preview(name, np.maximum(truth, 0), truth, np.random.default_rng(1).random((4, 60, 80)))
    return training_report(
        title=name,
        classes=classes,
        confusion=COUNTS,
        baselines=[Baseline(name, 0.8, 0.4)],
        history=[
            {"epoch": 0, "train_loss": 1.0, name: 3},
            {"epoch": 1, "train_loss": 0.5, "val_mean_iou": 0.4},
        ],
        best_epoch=1,
        previews=[preview],
        split=SplitMap({name: box(0, 0, 1000, 1000), "test": box(2000, 0, 3000, 1000)}, "EPSG:32612"),
        class_pixels={name: [5, 6, 7]},
        calibration={
            "temperature": 0.7,
            "cross_entropy_before": 0.78,
            "cross_entropy_after": 0.71,
            "ece_before": 0.11,
            "ece_after": 0.06,
        },
        facts={name: name},
        sources=[name],
        notes=[name],
        recipe_yaml=name,
        versions={name: name},
    )


def test_report_is_one_whole_page_that_loads_nothing() -> None:
    page = full_training_report()
    tags = Tags(page)
    assert tags.open == []
    assert len(page.encode()) < MAX_REPORT_BYTES
    for tag, attributes in tags.found:
        assert tag not in {"link", "iframe", "object", "embed"}
        for key in ("src", "href", "xlink:href"):
            value = attributes.get(key)
            assert value is None or value.startswith(("data:image/png", "#")), (tag, value)
    assert "url(http" not in page and "@import" not in page


def test_every_picture_has_words_and_ids_are_unique() -> None:
    tags = Tags(full_training_report())
    pictures = [(t, a) for t, a in tags.found if t == "img" or (t == "svg")]
    assert len(pictures) >= 9
    for tag, attributes in pictures:
        assert attributes.get("alt" if tag == "img" else "aria-label")
    ids = [a["id"] for _, a in tags.found if "id" in a]
    assert len(ids) == len(set(ids))


def test_s14_names_are_escaped_everywhere() -> None:
    evil = ClassTable.from_names({1: EVIL, 2: EVIL + "2", 3: "<img src=x onerror=y>"})
    page = full_training_report(EVIL, evil)
    tags = Tags(page)
    assert sum(tag == "script" for tag, _ in tags.found) == 1
    for _, attributes in tags.found:
        assert not any(key.startswith("on") for key in attributes)
    assert "&lt;script&gt;alert(1)" in page
    other = evaluation_report(
        title=EVIL, classes=evil, confusion=COUNTS, area=EVIL, sources=[EVIL], recipe_yaml=EVIL
    )
    assert sum(tag == "script" for tag, _ in Tags(other).found) == 1


def test_s14_the_page_lets_only_its_own_script_run() -> None:
    policy = re.search(r'Security-Policy" content="([^"]+)"', full_training_report())
    assert policy is not None
    assert "default-src 'none'" in policy[1]
    assert re.search(r"script-src 'sha256-[\w+/=]{44}'", policy[1])


def everything_evaluated() -> str:
    """A report with all that an evaluation can have."""
    rng = np.random.default_rng(0)
    truth = rng.integers(0, 3, (6, 40, 40))
    scores = rng.dirichlet(np.ones(3), truth.shape).transpose(3, 0, 1, 2)
    scores = 0.5 * scores + 0.5 * (np.arange(3)[:, None, None, None] == truth)
    predicted = np.where(rng.random(truth.shape) < np.linspace(0.1, 0.5, 6)[:, None, None], 0, truth)
    counts = [confusion_matrix(t, p, 3) for t, p in zip(truth, predicted, strict=True)]
    cells = [(n, i, j, c[i, j]) for n, c in enumerate(counts) for i, j in np.argwhere(c)]
    columns = [np.array(column) for column in zip(*cells, strict=True)]
    polygons = np.array([box(3e5 + 1200 * n, 4e6, 3e5 + 1200 * (n + 1), 4e6 + 1200) for n in range(6)])
    windows = np.array([[0, 40 * n, 40, 40] for n in range(6)])
    blocks = BlockConfusion(
        TABLE, "EPSG:32612", ("map.tif",) * 6, windows, polygons, np.full(6, 900.0), Cells(*columns)
    )
    curves, certainty = ScoreCounts(3), CalibrationCounts(3)
    curves.update(scores, truth)
    certainty.update(scores, truth)
    edges, objects = BoundaryCounts(TABLE.names, 2, 60.0), ObjectCounts(TABLE.names)
    for one, other in zip(truth, predicted, strict=True):
        edges.update(one, other)
        objects.update(one, other, 900.0)
        objects.new_scene()
    too_few = replace(bootstrap_scores(blocks, resamples=50), reason="too few", scores=dict.fromkeys(
        ("overall_accuracy", "mean_iou"), (math.nan, math.nan)))  # fmt: skip
    regions = [
        RegionComparison(n, ConfusionMatrix(3, c), blocks)
        for n, c in (("west", counts[0]), ("<east>", counts[5]))
    ]
    return evaluation_report(
        title="map.tif",
        classes=TABLE,
        confusion=blocks.total(),
        blocks=blocks,
        intervals=bootstrap_scores(blocks, resamples=50),
        regions=regions,
        region_intervals={"west": bootstrap_scores(blocks, resamples=50), "<east>": too_few},
        area_scores=compute_scores(blocks.total(), TABLE.names),
        boundary=edges.result(),
        objects=objects.result(),
        curves=curves.curves(TABLE.names),
        calibration=certainty.result(),
        temperature=0.5,
        notes=["the classes are unlike in size", "1,234,567 pixels (12,5) are not in b2,100x.tif"],
    )


def test_an_evaluation_shows_where_it_is_good_and_how_sure_it_is() -> None:
    page = everything_evaluated()
    tags = Tags(page)
    headings = re.findall(r"<h2[^>]*>([^<]+)<", page)
    assert {"Where it is good", "How far its probabilities can be believed"} <= set(headings)
    assert "Half of the 6 blocks have more than" in page
    captions = re.findall(r'<caption class="sr">([^<]+)<', page)
    assert {
        "The weakest blocks, by their centre",
        "Calibration",
        "Each class against the rest",
        "95 % intervals of each class, by drawing 6 blocks anew 50 times",
    } <= set(captions)
    assert "it is not sure enough by" in page and "Dividing its logits by 0.50" in page
    for term in (
        "Interval",
        "Area under ROC",
        "Average precision",
        "Expected calibration error",
        "Brier score",
        "Quantity disagreement",
        "Boundary IoU",
        "Objects",
    ):
        assert f"<dt>{term}</dt>" in page
    assert sum(tag == "svg" for tag, _ in tags.found) >= 6
    assert len(page.encode()) < MAX_REPORT_BYTES


class Rows(HTMLParser):
    """Collects the tables of a page: caption to rows of exact values (or texts where there are none)."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tables: dict[str, list[list[str]]] = {}
        self.caption, self.inside, self.exact = "", "", False
        self.rows: list[list[str]] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        value = dict(attrs).get("data-value")
        if tag == "table":
            self.rows, self.caption = [], ""
        elif tag == "tr":
            self.rows.append([])
        elif tag in ("td", "th"):
            self.rows[-1].append(value or "")
            self.inside, self.exact = "cell", value is not None
        elif tag == "caption":
            self.inside = "caption"
        elif tag == "span" and self.inside == "cell":
            self.exact = True  # the reason, for screen readers

    def handle_data(self, data: str) -> None:
        if self.inside == "caption":
            self.caption += data
        elif self.inside == "cell" and not self.exact:
            self.rows[-1][-1] += data

    def handle_endtag(self, tag: str) -> None:
        if tag in ("td", "th", "caption"):
            self.inside = ""
        elif tag == "table":
            self.tables[self.caption] = self.rows


def test_regions_edges_objects_and_all_pixels_are_tables_of_exact_values() -> None:
    tables = Rows(everything_evaluated()).tables
    whole = {row[0]: row[1:] for row in tables["All compared pixels, with 95 % intervals"]}
    assert whole["Score"] == ["Value", "From", "To", "By true area"]
    value, low, high, by_area = (float(v) for v in whole["Overall accuracy"])
    assert low < value < high and by_area == value
    parts = [float(whole[f"{kind} disagreement"][0]) for kind in ("Quantity", "Allocation")]
    assert sum(parts) == pytest.approx(1 - value)
    heads, west, east = tables["Scores of each region, with 95 % intervals"]
    assert heads == ["Region", "Overall accuracy", "accuracy from", "accuracy to", "Mean IoU", "IoU from", "IoU to",
                     "Compared px"]  # fmt: skip
    assert (west[0], east[0], west[7], east[7]) == ("west", "<east>", "1600", "1600")
    assert float(west[1]) > float(east[1]) and east[2:4] == ["NaN", "NaN"] != west[2:4]
    edges = tables["Edges of each class"]
    assert [row[0] for row in edges] == ["Class", *TABLE.names, "Mean over classes"]
    ious = [float(row[1]) for row in edges[1:]]
    assert ious[3] == pytest.approx(sum(ious[:3]) / 3)
    for _, iou, reference, mapped, both in edges[1:4]:
        assert float(iou) == pytest.approx(int(both) / (int(reference) + int(mapped) - int(both)))
    objects = tables["Objects of each class; the same from an IoU of 0.5 on"]
    for _, reference, mapped, same, precision, recall, _ in objects[1:]:
        assert float(precision) == pytest.approx(int(same) / int(mapped))
        assert float(recall) == pytest.approx(int(same) / int(reference))
    (sizes,) = (rows for caption, rows in tables.items() if caption.startswith("Areas of objects"))
    assert [row[:2] for row in sizes[1:3]] == [["field", "reference"], ["field", "map"]]
    for row in sizes[1:]:
        steps = [float(v) for v in row[2:]]
        assert steps == sorted(steps)
    assert (
        tables["95 % intervals of each class, by drawing 6 blocks anew 50 times"][0][1] == "Precision, from"
    )


def test_too_few_blocks_for_intervals_are_said_once_and_regions_go_without() -> None:
    empty = BlockConfusion(TABLE, "", (), np.zeros((0, 4), int), np.zeros(0, object), np.zeros(0),
                           Cells(*np.zeros((4, 0), int)))  # fmt: skip
    none = bootstrap_scores(empty)
    region = RegionComparison("a", ConfusionMatrix(3, COUNTS), empty)
    page = evaluation_report(title="m", classes=TABLE, confusion=COUNTS, intervals=none, regions=[region],
                             region_intervals={"a": none})  # fmt: skip
    assert page.count("There are no intervals: 0 blocks are too few") == 1
    tables = Rows(page).tables
    assert tables["All compared pixels"][0] == ["Score", "Value"]
    assert tables["Scores of each region"][0] == ["Region", "Overall accuracy", "Mean IoU", "Compared px"]
    assert "agrees best" not in page


def test_without_probabilities_or_blocks_there_are_no_empty_sections() -> None:
    page = evaluation_report(title="m", classes=TABLE, confusion=COUNTS)
    assert "Where it is good" not in page and "believed" not in page and "Brier" not in page


def test_a_screen_reader_finds_its_way() -> None:
    tags = Tags(everything_evaluated())
    names = [tag for tag, _ in tags.found]
    assert [names.count(n) for n in ("h1", "header", "main", "footer", "nav")] == [1, 1, 1, 1, 1]
    assert names.count("caption") == names.count("table") > 5
    for tag, attributes in tags.found:
        if tag == "th":
            assert attributes.get("scope") in ("col", "row")
        if tag == "button":
            assert (attributes.get("aria-label") or "").startswith("Copy as CSV: ")
        if tag == "section":
            assert attributes.get("aria-labelledby")
    assert dict(tags.found[names.index("html")][1])["lang"] == "en"
    assert any(a.get("href") == "#main" for t, a in tags.found if t == "a")
    assert any(a.get("aria-live") == "polite" for _, a in tags.found)


def test_notes_are_sentences() -> None:
    page = everything_evaluated()
    assert ">1\u202f234\u202f567 pixels (12,5) are not in b2,100x.tif.<" in page
    assert ">The classes are unlike in size.<" in page


def test_control_characters_do_not_reach_the_page() -> None:
    page = render_report(
        Report("a", "b\x00\x1b\u202ec", "", [Tile("x", "1")], [Section("s", [Code("l1\nl2", "r")])])
    )
    assert "<h1>bc</h1>" in page and "l1\nl2" in page


def test_first_sentence_says_how_good_against_what_on_how_many() -> None:
    page = full_training_report()
    summary = re.search(r'class="summary">([^<]+)<', page)
    assert summary is not None
    text = summary[1].replace("\u202f", " ")
    assert text.startswith("The model labels 84.0 % of 1 000 held-out pixels correctly (mean IoU 0.468).")
    assert (
        "It beats a Crops (80.0 %, mean IoU 0.400) by 4.0 points of accuracy and 0.068 of mean IoU." in text
    )


def test_training_tells_what_its_temperature_changes() -> None:
    page = full_training_report()
    assert "its logits are divided by 0.70." in page
    rows = Rows(page).tables["Calibration on held-out blocks"]
    assert rows == [["Number", "Before", "After"], ["Cross-entropy", "0.78", "0.71"],
                    ["Expected calibration error", "0.11", "0.06"]]  # fmt: skip
    assert "<dt>Expected calibration error</dt>" in page


def test_a_model_worse_than_its_baseline_is_said_to_be_so() -> None:
    scores = compute_scores(COUNTS, TABLE.names)
    worse = baseline_sentences(scores, [Baseline("random forest", 0.9, 0.9)], "It")
    assert worse.startswith("It does not beat a random forest (90.0 %")
    mixed = baseline_sentences(scores, [Baseline("random forest", 0.8, 0.9)], "It")
    assert mixed.endswith("in accuracy, but not in mean IoU.")
    assert "No baseline" in baseline_sentences(scores, [], "It")
    assert "No baseline" in baseline_sentences(scores, [Baseline("x", math.nan, math.nan)], "It")


def test_weak_classes_are_named() -> None:
    counts = np.array([[5000, 0, 0, 0], [1900, 100, 0, 0], [5, 0, 5, 0], [0, 0, 0, 0]])
    poor, few, absent = weak_points(compute_scores(counts, ["a", "b", "c", "d"]))
    assert "b (0.05)" in poor and "c (10)" in few and "d" in absent


def test_evaluation_says_whether_the_pixels_were_held_out() -> None:
    def page(held_out: bool | None) -> str:
        return evaluation_report(title="m", classes=TABLE, confusion=COUNTS, held_out=held_out)

    assert "held-out pixels" in page(True) and "flatter" not in page(True)
    assert "were trained on, so the scores flatter" in page(False)
    some = evaluation_report(
        title="m",
        classes=TABLE,
        confusion=COUNTS,
        held_out=False,
        trained_share=0.123,
        in_training="As then.",
    )
    assert "About 12.3 % of the map&#x27;s ground here was trained on" in some.replace("'", "&#x27;")
    assert "As then." in some
    assert "It is not known whether" in page(None)


def test_overlapping_split_is_warned_of() -> None:
    areas = {"train": box(0, 0, 20, 10), "test": box(10, 0, 30, 10)}
    page = training_report(title="m", classes=TABLE, confusion=COUNTS, split=SplitMap(areas, "EPSG:32612"))
    assert "These areas overlap: train and test (50.0 % of the latter)" in page


def test_a_split_that_touches_does_not_overlap() -> None:
    areas = {"train": box(0, 0, 20 + 1e-9, 10), "test": box(20, 0, 30, 10)}
    near = {"train": box(0, 0, 20.9, 10), "test": box(20, 0, 30, 10)}
    for split in (SplitMap(areas, "EPSG:32612"), SplitMap(near, "EPSG:32612", pixel=1.0)):
        assert "do not overlap" in training_report(title="m", classes=TABLE, confusion=COUNTS, split=split)
    page = training_report(title="m", classes=TABLE, confusion=COUNTS, split=SplitMap(near, "EPSG:32612"))
    assert "(9.0 % of the latter)" in page


def test_the_only_baseline_is_called_by_its_name() -> None:
    alone = evaluation_report(title="m", classes=TABLE, confusion=COUNTS)
    assert "above calling everything" in alone and "best baseline" not in alone
    two = [Baseline("majority class", 0.1, 0.1), Baseline("random forest", 0.2, 0.2)]
    page = evaluation_report(title="m", classes=TABLE, confusion=COUNTS, baselines=two)
    assert "above the best baseline" in page


def test_the_recipe_says_where_its_file_is() -> None:
    def page(name: str) -> str:
        return evaluation_report(
            title="m", classes=TABLE, confusion=COUNTS, recipe_yaml="job: x", recipe_name=name
        )

    assert "Save this as recipe.yaml beside this report" in page("")
    assert "the file r.recipe.yaml (beside this report)" in page("r.recipe.yaml")
    assert "There run: geotoolbox run ../m/r.recipe.yaml" in page("../m/r.recipe.yaml")


def test_r66_report_of_a_single_class_is_made_and_says_undefined() -> None:
    page = evaluation_report(title="m", classes=ClassTable.from_names(["x"]), confusion=np.array([[9]]))
    assert "undefined of 9" in page and "one class only" in page


def test_pictures_shrink_until_the_report_fits() -> None:
    noise = np.random.default_rng(0).random((3, 700, 700)) * 255
    mask = np.zeros((700, 700), dtype=int)
    previews = [Preview(f"place {i}", mask, mask, noise) for i in range(5)]
    page = evaluation_report(title="m", classes=TABLE, confusion=COUNTS, previews=previews)
    assert len(page.encode()) < MAX_REPORT_BYTES


def test_a_report_that_cannot_fit_is_refused() -> None:
    with pytest.raises(TooLarge, match="5,000,000"):
        render_report(Report("a", "b", "c", [], [Section("s", [Code("x" * MAX_REPORT_BYTES, "r")])]))


def test_sixty_classes_make_a_report_that_can_be_printed() -> None:
    counts = np.random.default_rng(0).poisson(3, (60, 60)) + 900 * np.eye(60, dtype=int)
    classes = ClassTable.from_names([f"a habitat with a long name {i}" for i in range(60)])
    page = evaluation_report(title="m", classes=classes, confusion=counts)
    assert page.count("Too wide for paper: copy it as CSV from the page.") == 1
    assert page.count('class="scroll tall"') == 2  # the scores and the matrix
    assert '<b class="long">a habitat with a long name' in page
    assert len(page.encode()) < MAX_REPORT_BYTES


def test_tables_carry_exact_values_for_the_csv() -> None:
    table = Table(
        "t", ["Class", "IoU"], [[Cell("a"), Cell("0.333", 1 / 3)], [Cell("b"), Cell("–", math.nan, "why")]]
    )
    page = render_report(Report("a", "b", "c", [], [Section("s", [table])]))
    assert f'data-value="{1 / 3}"' in page and 'data-value="NaN"' in page and "(why)" in page


def test_a_report_has_one_order_of_classes() -> None:
    counts = np.diag([2000, 9000, 4000])
    classes = ClassTable.from_names(["ash", "birch", "cedar"])
    page = evaluation_report(title="m", classes=classes, confusion=counts)
    rows = re.findall(r"<tbody>.*?</tbody>", page, re.S)
    orders = [re.findall(r"<th[^>]*>.*?(ash|birch|cedar)<", r) for r in rows]
    assert [o for o in orders if len(o) > 1] == [["ash", "birch", "cedar"]] * 2  # the scores and the matrix
    drawn = re.findall(r">(ash|birch|cedar)</text>", page)
    assert drawn[:3] == ["ash", "birch", "cedar"]  # the chart, from top to bottom
