"""SampleBrowser without a browser: what is drawn, filtered, left out and weighted, and what training gets."""

from __future__ import annotations

import io
import itertools
import runpy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from geotoolbox_widgets import AppState, SampleBrowser
from PIL import Image

from geotoolbox import GridGeoSampler, RasterDataset, spatial_split
from geotoolbox.datasets import GeoDataset
from geotoolbox.errors import BadInput
from geotoolbox.sampling import SampleList, Split

Scene = tuple[Path, Path]


@pytest.fixture(scope="module")
def data(scene: Scene) -> GeoDataset:
    classes = {1: "water", 2: "forest", 3: "bare rock"}
    return RasterDataset(str(scene[0])) & RasterDataset(str(scene[1]), classes=classes)


@pytest.fixture(scope="module")
def split(data: GeoDataset) -> Split:
    return spatial_split(data, {"train": 0.6, "val": 0.4}, block_px=64, seed=1)


@pytest.fixture
def browser(data: GeoDataset) -> SampleBrowser:
    # A grid of windows of 40 pixels; the first reaches into the corner without data.
    return SampleBrowser(data, GridGeoSampler(data, 40), show_map=False).wait()


def page(browser: SampleBrowser, **message: Any) -> None:
    browser._heard(message)


def sheet(data: bytes) -> np.ndarray[Any, Any]:
    return np.asarray(Image.open(io.BytesIO(data)).convert("RGBA"))


def test_everything_drawn_is_read_and_shown(browser: SampleBrowser) -> None:
    assert browser.loaded == len(browser.drawn) == len(browser.gallery.cells)
    assert browser.shown == list(range(len(browser.drawn)))
    for number, query in enumerate(browser.drawn.queries):
        reading = browser.dataset.read(query)
        facts = browser.drawn.facts[number]
        counts = [int(((reading.mask == c) & reading.valid).sum()) for c in range(3)]
        assert facts.class_pixels == tuple(counts)
        assert facts.nodata_share == pytest.approx(1 - reading.valid.mean())


def test_pictures_show_pixels_masks_and_no_data(browser: SampleBrowser) -> None:
    side = browser.gallery.size_px
    images, masks = sheet(browser.gallery.sheet), sheet(browser.gallery.top)
    colors = browser.classes.colors
    for place, cell in enumerate(browser.gallery.cells):
        reading = browser.drawn.reading(cell["id"])
        rows, cols = place // 8 * side, place % 8 * side
        image, mask = (
            images[rows : rows + side, cols : cols + side],
            masks[rows : rows + side, cols : cols + side],
        )
        middle = side // 2
        assert (image[middle, middle, 3] > 0) == reading.valid[20, 20]
        index = reading.mask[20, 20]
        assert mask[middle, middle, 3] == 0 if index < 0 else tuple(mask[middle, middle, :3]) == colors[index]


def test_patches_share_one_stretch(browser: SampleBrowser) -> None:
    # band 1 is the column: patches further east are redder, which a stretch of each alone would hide.
    pictures, _ = browser._pictures(browser.shown)
    means = {}
    for number, picture in zip(browser.shown, pictures, strict=True):
        box = browser.drawn.queries[number].geobox
        if browser.drawn.facts[number].nodata_share == 0:
            means.setdefault(round(box.affine.c), []).append(picture[..., 0].mean())
    reds = [float(np.mean(means[x])) for x in sorted(means)]
    assert all(a < b for a, b in itertools.pairwise(reds))


def test_filters(browser: SampleBrowser) -> None:
    page(browser, kind="set", name="class_filter", value="water")
    facts = browser.drawn.facts
    assert browser.shown == [n for n in range(len(browser.drawn)) if facts[n].class_pixels[0]]
    assert [c["id"] for c in browser.gallery.cells] == browser.shown
    page(browser, kind="set", name="class_filter", value="")
    page(browser, kind="set", name="max_nodata_percent", value=0)
    assert browser.shown == [n for n in range(len(browser.drawn)) if facts[n].nodata_share == 0]
    assert 0 < len(browser.shown) < len(browser.drawn)
    page(browser, kind="set", name="max_nodata_percent", value=400)
    assert browser.message.level == "error"


def test_left_out_and_weighted_samples_are_what_training_gets(browser: SampleBrowser) -> None:
    browser.exclude(3, 5)
    browser.weigh(7, 2.5)
    samples = browser.samples
    queries = browser.drawn.queries
    assert queries[3] not in samples.queries and queries[5] not in samples.queries
    assert len(samples) == len(queries) - 2
    assert dict(zip(samples.queries, samples.weights, strict=True))[queries[7]] == 2.5
    assert browser.state.samples == samples
    browser.include(3)
    browser.weigh(7, 1.0)
    assert browser.samples.weights == () and len(browser.samples) == len(queries) - 1
    marks = {c["id"]: c["mark"] for c in browser.gallery.cells}
    assert marks[5] == "excluded" and marks[3] == marks[7] == ""


@pytest.mark.parametrize("weight", [-1.0, float("nan"), float("inf")])
def test_wrong_weights_and_numbers_are_refused(browser: SampleBrowser, weight: float) -> None:
    with pytest.raises(BadInput, match="this is no weight"):
        browser.weigh(0, weight)
    with pytest.raises(BadInput, match="no such sample"):
        browser.exclude(10_000)
    page(browser, kind="set", name="selected", value=3)  # not settable so: nothing
    assert browser.selected == -1


def test_keys_of_the_gallery(browser: SampleBrowser) -> None:
    for key in ("x", "+", "+"):
        browser.gallery._receive(None, {"kind": "key", "key": key, "id": 4}, [])
    assert browser.excluded == (4,) and browser.weights == {4: 3.0}
    for key in ("x", "-", "-", "-", "-"):
        browser.gallery._receive(None, {"kind": "key", "key": key, "id": 4}, [])
    assert browser.excluded == () and browser.weights == {4: 0.0}


def test_split_parts_are_read_from_their_own_part(data: GeoDataset, split: Split) -> None:
    browser = SampleBrowser(data, size_px=32, count=40, split=split, show_map=False, seed=3).wait()
    assert set(browser.drawn.parts) == {"train", "val"}
    for number, part in enumerate(browser.drawn.parts):
        expected = split[part].read(browser.drawn.queries[number])
        assert np.array_equal(browser.drawn.reading(number).valid, expected.valid)
    kept = {q for q, p in zip(browser.drawn.queries, browser.drawn.parts, strict=True) if p == "train"}
    assert set(browser.samples.queries) == kept  # training gets its own part alone
    page(browser, kind="set", name="part_filter", value="val")
    assert browser.shown == [n for n, p in enumerate(browser.drawn.parts) if p == "val"]
    groups = {c["group"][0] for c in browser.gallery.cells}
    assert groups == {"val"}


def test_balance_counts_weights_and_leaves_out(browser: SampleBrowser) -> None:
    from geotoolbox.sampling.facts import class_balance

    facts = [browser.drawn.facts[n] for n in range(len(browser.drawn))]
    before = class_balance(facts, [""] * len(facts))[""]
    assert sum(before) == sum(sum(f.class_pixels) for f in facts)
    assert "samples: " in browser._detail.chart_text and browser._detail.chart.startswith("<svg")


def test_the_model_s_view_is_normalised_and_the_same_in_detail(browser: SampleBrowser) -> None:
    browser._drawing.prepare()
    browser.view = "model"
    assert browser.message.text == ""
    in_gallery, _ = browser._pictures([9, 10])
    in_detail, _ = browser._pictures([10])
    assert np.array_equal(in_gallery[1], in_detail[0])
    browser.view = "read"
    assert not np.array_equal(browser._pictures([10])[0][0], in_detail[0])


def test_draw_forgets_decisions_and_repeats_by_seed(data: GeoDataset) -> None:
    first = SampleBrowser(data, size_px=32, count=12, seed=5, show_map=False).wait()
    queries = first.drawn.queries
    first.exclude(1)
    first.selected = 2
    first.draw()
    first.wait()
    assert first.excluded == () and first.selected == -1 and first.drawn.queries != queries
    again = SampleBrowser(data, size_px=32, count=12, seed=5, show_map=False).wait()
    assert again.drawn.queries == queries


def test_a_saved_list_is_browsed_with_its_weights(
    data: GeoDataset, browser: SampleBrowser, tmp_path: Path
) -> None:
    browser.exclude(0, 1)
    browser.weigh(2, 4.0)
    path = browser.save(tmp_path / "edited.gpkg")
    again = SampleBrowser(data, SampleList.open(path), show_map=False).wait()
    assert again.samples == browser.samples
    assert again.weights == {0: 4.0}


def test_selection_goes_to_the_map_and_the_state(data: GeoDataset) -> None:
    state = AppState(dataset=data)
    browser = SampleBrowser(size_px=32, count=6, state=state).wait()
    assert browser._outlines is not None and len(browser._outlines.features) == 6
    browser._clicked(3)
    assert browser.selected == browser.gallery.selected == browser._outlines.selected == state.patch == 3
    assert browser._detail.title == "Sample 4" and len(browser._detail.picture) > 0
    browser.exclude(3)
    assert browser._outlines.features[3]["properties"]["muted"] and browser._detail.excluded


def test_images_alone_can_be_browsed(scene: Scene) -> None:
    browser = SampleBrowser(RasterDataset(str(scene[0])), size_px=32, count=5, show_map=False).wait()
    assert browser.gallery.top == b"" and len(browser.gallery.cells) == 5
    assert browser.message.text == "" and browser._detail.chart == ""


def test_nothing_to_sample_is_told() -> None:
    with pytest.raises(BadInput, match="nothing to sample"):
        SampleBrowser()


def test_recipe_draws_and_decides_the_same(scene: Scene, tmp_path: Path) -> None:
    data = RasterDataset(str(scene[0])) & RasterDataset(str(scene[1]), kind="labels")
    browser = SampleBrowser(data, size_px=32, count=9, seed=2, show_map=False).wait()
    browser.exclude(1, 4)
    browser.weigh(2, 3.0)
    (tmp_path / "recipe.py").write_text(browser.recipe(), encoding="utf-8")
    names = runpy.run_path(str(tmp_path / "recipe.py"))
    names["browser"].wait()
    assert names["samples"] == browser.samples


def test_a_read_error_is_told_in_the_widget(tmp_path: Path, data: GeoDataset) -> None:
    class Broken(RasterDataset):
        def read(self, query: Any) -> Any:
            raise BadInput("these pixels cannot be read: a.tif.")

    path = data.source_files()[0]
    browser = SampleBrowser(Broken(path), size_px=32, count=3, show_map=False).wait()
    assert browser.message.level == "error" and "a.tif" in browser.message.text
