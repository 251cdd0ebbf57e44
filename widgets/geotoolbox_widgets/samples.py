"""SampleBrowser: what a sampler draws, before any training, and which of it training shall use."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import ipywidgets
import numpy as np
import traitlets

from geotoolbox.core.query import Query
from geotoolbox.datasets import GeoDataset
from geotoolbox.errors import BadInput, explain
from geotoolbox.sampling import SampleList, Split
from geotoolbox.visualization import rgb_bands
from geotoolbox.visualization.webmap import encode_webp
from geotoolbox_widgets import sample_words as words
from geotoolbox_widgets.base import MessageLine, guarded, in_background, sentence
from geotoolbox_widgets.drawn import DrawnSamples, default_sampler
from geotoolbox_widgets.gallery import Gallery
from geotoolbox_widgets.layermap import LayerMap
from geotoolbox_widgets.layers import FeatureLayer
from geotoolbox_widgets.recipes import browser_recipe
from geotoolbox_widgets.sample_parts import PatchDetail, SampleTools
from geotoolbox_widgets.sample_pictures import Pictures, SamplePictures
from geotoolbox_widgets.state import AppState

__all__ = ["SampleBrowser"]

_PAGE = 64
_SETTABLE = ("view", "overlay", "class_filter", "part_filter", "max_nodata_percent", "page")


class SampleBrowser(ipywidgets.VBox):
    """Shows what is drawn: patches with masks and validity, footprints on the map, class balance.

    Pixels without data show a chequerboard. In the gallery, arrow keys move, Enter selects, ``x`` leaves a
    sample out, ``+`` and ``-`` change its weight. What is left is :attr:`samples`: a sampler for a
    ``DataLoader``, and what training draws from.

    Args:
        dataset: Images, with labels where there are any.
        sampler: Draws the windows: one of :mod:`geotoolbox.sampling`, or a sample list; by default
            windows at random.
        size_px: Side of the windows of the default sampler, in pixels.
        count: How many are drawn of a sampler; a sample list is taken whole.
        split: The parts that windows are coloured by.
        preprocess: What the model sees: a ``geotoolbox.transforms.Preprocess``; by default made from the
            dataset's statistics when it is first looked at.
        show_map: Whether the footprints are shown on a map.
        seed: Of the default sampler.
        state: Shared with other widgets.

    Attributes:
        drawn: The windows, what was read of them, and their facts.
        message: The line that tells problems.
    """

    view = traitlets.Enum(("read", "model"), "read", help="as read, or normalised and augmented")
    overlay = traitlets.Float(0.45, min=0.0, max=1.0, help="how strongly masks are drawn")
    class_filter = traitlets.Unicode("", help="a class name: only samples with it; empty for all")
    part_filter = traitlets.Unicode("", help="a part of the split; empty for all")
    max_nodata_percent = traitlets.Float(
        100.0, min=0.0, max=100.0, help="only samples with at most so much without data"
    )
    page = traitlets.Int(0, min=0, help="which page of the gallery, from 0")
    selected = traitlets.Int(-1, help="the number of the selected sample; -1 for none")
    excluded: Any = traitlets.Tuple(help="numbers of the samples that training leaves out")
    weights: Any = traitlets.Dict(help="{number: weight} of samples drawn more or less often than others")
    bands: Any = traitlets.Tuple(help="the bands shown as red, green and blue (or one band), by name")
    loaded = traitlets.Int(0, help="how many samples have been read")

    def __init__(
        self,
        dataset: GeoDataset | None = None,
        sampler: Iterable[Query] | SampleList | None = None,
        *,
        size_px: int = 128,
        count: int = 64,
        split: Split | None = None,
        preprocess: Any = None,
        show_map: bool = True,
        seed: int = 0,
        state: AppState | None = None,
    ) -> None:
        self.state = state or AppState()
        self.message = MessageLine()
        data = dataset if dataset is not None else self.state.dataset
        if data is None:
            raise BadInput(
                explain("there is nothing to sample", expected="a dataset", fix="pass images & labels")
            )
        self.dataset, self.size_px, self.count, self.seed = data, size_px, count, seed
        self.split = split if split is not None else self.state.split
        self.own_sampler = sampler is None
        self.sampler: Iterable[Any] = (
            sampler if sampler is not None else default_sampler(data, self.split, size_px, count, seed)
        )
        self.classes = data.classes
        self.epoch = 0
        self._drawing = SamplePictures(data, self.split, preprocess, seed)
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self._lock = threading.RLock()
        self._make_parts(show_map)
        super().__init__(children=self._layout())
        self.add_class("gt-samples")
        if not self.bands:
            names = [b.name for b in data.bands]
            self.bands = tuple(names[i] for i in rgb_bands(names)) if names else ()
        self.observe(self._filtered, ["class_filter", "part_filter", "max_nodata_percent"])
        self.observe(self._repage, ["page", "view", "bands"])
        self.observe(self._overlaid, "overlay")
        self.observe(self._decided, ["excluded", "weights"])
        self.observe(self._select, "selected")
        self.draw()

    def _make_parts(self, show_map: bool) -> None:
        self.gallery = Gallery(self._key, title="Samples", told_keys=["x", "+", "-"], overlay=self.overlay)
        self.gallery.observe(self._picked, "selected")
        self._tools = SampleTools(self._heard, overlay=self.overlay)
        self._detail = PatchDetail(self._heard, overlay=self.overlay)
        if self.classes is not None:
            self._tools.classes = list(self.classes.names)
            self._tools.legend = [list(c) for c in words.legend(self.classes)]
        self._tools.views = ["read", "model"] if self.dataset.bands else ["read"]
        self._tools.parts = list(self.split.regions) if self.split is not None else []
        self.map: LayerMap | None = None
        self._outlines: FeatureLayer | None = None
        if show_map:
            self.map = LayerMap(height="320px", panel=False, state=self.state)
            self.map.add(self.dataset, name="data") if self.dataset.bands else None
            for layer in self.map.layers[1:]:
                layer.visible = False
            self._outlines = self.map.add_features([], name="samples", on_click=self._clicked)

    def _layout(self) -> list[ipywidgets.Widget]:
        right = [*([self.map] if self.map is not None else []), self._detail]
        columns = [
            ipywidgets.VBox([self.gallery], layout=ipywidgets.Layout(flex="1 1 430px", min_width="260px")),
            ipywidgets.VBox(right, layout=ipywidgets.Layout(flex="1 1 330px", min_width="260px")),
        ]
        row = ipywidgets.Box(columns, layout=ipywidgets.Layout(display="flex", flex_flow="row wrap"))
        return [self.message, self._tools, row]

    # What scripts use.

    @property
    def samples(self) -> SampleList:
        """The list that training uses: what was drawn in its part, less what is excluded, with weights."""
        return self.drawn.edited(self.excluded, self.weights)

    @property
    def shown(self) -> list[int]:
        """The numbers of the samples that pass the filters, over all pages."""
        names = () if self.classes is None else self.classes.names
        index = names.index(self.class_filter) if self.class_filter in names else None
        part = self.part_filter or None
        return self.drawn.shown(class_index=index, nodata_percent=self.max_nodata_percent, part=part)

    @guarded
    def draw(self) -> None:
        """Draw the sampler's next epoch in place of what is there; decisions about it are forgotten."""
        self._halt()
        epoch = SampleList.from_sampler(self.sampler)
        listed = isinstance(self.sampler, SampleList)
        queries = epoch.queries if listed or self.own_sampler else epoch.queries[: self.count]
        if not queries:
            raise BadInput(explain("the sampler draws nothing", fix="give it a length of 1 or more"))
        self.epoch += 1
        self.drawn = DrawnSamples(self.dataset, queries, self.split)
        start = self.sampler.weights if isinstance(self.sampler, SampleList) else ()
        with self.hold_trait_notifications():
            self.selected, self.page, self.loaded = -1, 0, 0
            self.excluded = ()
            self.weights = {i: w for i, w in enumerate(start) if w != 1.0}
        self._footprints(fit=self.epoch == 1)
        self.state.samples = self.samples
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._load, args=(self.drawn, self._stop), daemon=True)
        self._thread.start()

    def wait(self, timeout_s: float = 60.0) -> SampleBrowser:
        """Wait until all samples have been read and the page is drawn."""
        if self._thread is not None:
            self._thread.join(timeout_s)
        return self

    def exclude(self, *numbers: int) -> None:
        """Leave samples out of training."""
        self._check(numbers)
        self.excluded = tuple(sorted({*self.excluded, *numbers}))

    def include(self, *numbers: int) -> None:
        """Take samples in again."""
        self.excluded = tuple(n for n in self.excluded if n not in numbers)

    def weigh(self, number: int, weight: float) -> None:
        """Draw a sample ``weight`` times as often as others; 0 is never.

        Raises:
            BadInput: When the weight is negative or not finite, or there is no such sample.
        """
        self._check((number,))
        if not (np.isfinite(weight) and weight >= 0):
            raise BadInput(explain("this is no weight", got=weight, expected="a number of 0 or more"))
        rest = {k: v for k, v in self.weights.items() if k != number}
        self.weights = rest if weight == 1.0 else {**rest, number: float(weight)}

    def save(self, path: str | Path) -> Path:
        """Write the edited list: ``.parquet``, ``.gpkg`` or ``.geojson``; the job *train* takes it as ``samples``."""
        self.samples.save(path)
        return Path(path)

    def recipe(self) -> str:
        """Return a code cell that draws and decides the same again."""
        return browser_recipe(self)

    def close(self) -> None:
        """Stop reading and take the widget off all pages."""
        if hasattr(self, "gallery"):  # not there when the arguments were wrong
            self._halt()
            if self.map is not None:
                self.map.close()
            for part in (self.gallery, self._tools, self._detail, self.message):
                part.close()
        super().close()

    # Reading, in a thread of its own.

    def _halt(self) -> None:
        self._stop.set()
        if self._thread is not None and self._thread is not threading.current_thread():
            self._thread.join(30)

    def _load(self, drawn: DrawnSamples, stop: threading.Event) -> None:
        try:
            for number in range(len(drawn)):
                if stop.is_set():
                    return
                drawn.reading(number)
                self.loaded = number + 1
                if number + 1 in (16, _PAGE) or (number + 1) % 256 == 0:
                    self._show_page()
            if not stop.is_set():
                self._show_page()
                self._balance()
        except Exception as error:
            self._say(error)

    # Drawing.

    @guarded
    def _show_page(self) -> None:
        with self._lock:
            shown = self.shown
            pages = max(1, -(-len(shown) // _PAGE))
            if self.page >= pages:
                self.page = pages - 1
            numbers = shown[self.page * _PAGE : (self.page + 1) * _PAGE]
            pictures, masks = self._pictures(numbers)
            self.gallery.empty = "No sample passes the filters." if self.loaded else "Reading …"
            self.gallery.show(
                pictures,
                overlays=masks,
                ids=numbers,
                labels=[words.spoken(self.drawn, n) for n in numbers],
                notes=[words.note(self.drawn, n) for n in numbers],
                marks=[self._mark(n) for n in numbers],
                groups=[(p, words.part_color(self.drawn, p)) for p in (self.drawn.parts[n] for n in numbers)]
                if self.split
                else (),
            )
            self._tools.pages = pages
            self._tell(len(shown))

    def _tell(self, shown: int) -> None:
        self._tools.counts = words.counts_words(
            self.drawn, self.loaded, shown, len(self.excluded), len(self.weights)
        )

    def _pictures(self, numbers: Sequence[int]) -> Pictures:
        if self.view == "model" and numbers:
            return self._drawing.seen(self.drawn, numbers)
        return self._drawing.read(self.drawn, numbers, self.bands)

    def _mark(self, number: int) -> str:
        return words.mark(number, self.excluded, self.weights)

    def _footprints(self, fit: bool) -> None:
        if self._outlines is None or self.map is None:
            return
        self._outlines.features = [
            words.footprint(self.drawn, n, excluded=n in self.excluded) for n in range(len(self.drawn))
        ]
        if fit:
            self.map.fit(self._outlines)

    def _balance(self) -> None:
        """Draw the class balance of what is kept, weights counted."""
        chart, text = words.balance_chart(self.drawn, self.excluded, self.weights, f"balance{id(self)}")
        self._detail.chart, self._detail.chart_text = chart, text

    # Answers to traits and to the page.

    @guarded
    def _heard(self, message: dict[str, Any]) -> None:
        kind = message.get("kind")
        if kind == "set" and message.get("name") in _SETTABLE:
            self.message.clear()
            setattr(self, str(message["name"]), message["value"])
        elif kind == "draw":
            self.draw()
        elif kind == "exclude" and self.selected >= 0:
            (self.exclude if message.get("value") else self.include)(self.selected)
        elif kind == "weight" and self.selected >= 0:
            self.weigh(self.selected, float(message["value"]))

    @guarded
    def _key(self, key: str, number: int) -> None:
        weight = float(self.weights.get(number, 1.0))
        if key == "x":
            (self.include if number in self.excluded else self.exclude)(number)
        elif key == "+":
            self.weigh(number, weight + 1.0)
        elif key == "-":
            self.weigh(number, max(0.0, weight - 1.0))

    def _clicked(self, number: int) -> None:
        self.selected = number

    def _picked(self, change: Any) -> None:
        self.selected = change.new

    @guarded
    def _select(self, change: Any) -> None:
        number = int(change.new)
        if not -1 <= number < len(self.drawn):
            self.selected = -1
            raise BadInput(explain("no such sample", got=number, expected=f"0 to {len(self.drawn) - 1}"))
        if number >= 0 and number in (shown := self.shown):
            self.page = shown.index(number) // _PAGE
        self.gallery.selected = number
        self.state.patch = number
        if self._outlines is not None:
            self._outlines.selected = number
        self._show_detail()

    def _show_detail(self) -> None:
        number, detail = self.selected, self._detail
        if number < 0:
            detail.title = ""
            return
        pictures, masks = self._pictures([number])
        with detail.hold_sync():
            detail.picture = encode_webp(pictures[0], quality=92)
            detail.top = encode_webp(masks[0], exact=True) if masks else b""
            detail.facts = words.detail_rows(self.drawn, number)
            detail.classes = words.class_shares(self.drawn, number)
            detail.excluded = number in self.excluded
            detail.weight = float(self.weights.get(number, 1.0))
            detail.title = f"Sample {number + 1}"

    def _filtered(self, _: Any) -> None:
        self._tools.class_filter, self._tools.part_filter = self.class_filter, self.part_filter
        self._tools.nodata = self.max_nodata_percent
        if self.page:
            self.page = 0
        else:
            self._show_page()

    @guarded
    def _repage(self, change: Any) -> None:
        self._tools.page, self._tools.view = self.page, self.view
        if self.view == "model" and not self._drawing.ready:
            self.message.say("Computing the statistics that the images are normalised with …")
            in_background(self._drawing.prepare, done=lambda _: self._prepared_now(change), failed=self._say)
        else:
            self._prepared_now(change)

    def _prepared_now(self, change: Any) -> None:
        self.message.clear()
        self._show_page()
        if change.name in ("view", "bands"):
            self._show_detail()

    def _say(self, error: BaseException) -> None:
        self.message.say(sentence(error), "error")

    def _overlaid(self, _: Any) -> None:
        self._tools.overlay = self.gallery.overlay = self._detail.overlay = self.overlay

    @guarded
    def _decided(self, _: Any) -> None:
        self.state.samples = self.samples
        ids = [cell["id"] for cell in self.gallery.cells]
        self.gallery.remark({n: self._mark(n) for n in ids})
        self._footprints(fit=False)
        self._tell(len(self.shown))
        if self.selected >= 0:
            self._detail.excluded = self.selected in self.excluded
            self._detail.weight = float(self.weights.get(self.selected, 1.0))
        if self.loaded >= len(self.drawn):
            in_background(self._balance, failed=self._say)

    def _check(self, numbers: Iterable[int]) -> None:
        wrong = [n for n in numbers if not 0 <= n < len(self.drawn)]
        if wrong:
            raise BadInput(explain("no such sample", got=wrong, expected=f"0 to {len(self.drawn) - 1}"))
