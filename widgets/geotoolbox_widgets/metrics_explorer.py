"""MetricsExplorer: how good a map is, and where it is not: a matrix that answers clicks, curves, blocks on the map."""

from __future__ import annotations

import html
import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import ipywidgets as w
import numpy as np
import traitlets as t
from matplotlib import colormaps
from shapely.geometry import mapping

from geotoolbox.core.classes import ClassTable
from geotoolbox.core.files import atomic_path
from geotoolbox.errors import BadInput, explain
from geotoolbox.jobs.evaluate import Spec
from geotoolbox.jobs.layers import open_images, open_labels
from geotoolbox.jobs.recipe import recipe_text
from geotoolbox.jobs.spec import validate_spec
from geotoolbox.metrics import BlockConfusion, Scores
from geotoolbox.sampling.areas import project
from geotoolbox_widgets.base import guarded
from geotoolbox_widgets.form import SpecForm
from geotoolbox_widgets.frame import Frame, button, percent, progress_html
from geotoolbox_widgets.gallery import Gallery
from geotoolbox_widgets.layermap import LayerMap
from geotoolbox_widgets.matrix import ConfusionMatrixTable
from geotoolbox_widgets.metrics_parts import class_table, curve_charts, read_metrics, score_tiles
from geotoolbox_widgets.patches import Patch, PatchReader
from geotoolbox_widgets.running import ThreadRun
from geotoolbox_widgets.state import AppState

__all__ = ["MetricsExplorer"]

_WORST = 12
_HIDDEN = ("metrics",)
_ESSENTIALS = ("map", "reference", "label_column", "area", "images", "probabilities", "block_px")
_MEASURES = ("chosen cell", "overall accuracy", "mean IoU")
_CALLED = {"overall accuracy": "overall_accuracy", "mean IoU": "mean_iou"}


class MetricsExplorer(Frame):
    """Look into an evaluation: which confusions there are, where they lie, and how sure the scores are.

    It shows what the job *evaluate* has written, and can run that job.

    Args:
        metrics: The ``metrics.json`` of an evaluation, to start with.
        values: Settings of *evaluate* to start with (``map``, ``reference``, ``images``, …).
        folder: Where evaluations that are run here go.
        map: The map to show blocks on; one of its own when None.
        state: What all panels of an app share.

    Attributes:
        metrics: The path of the evaluation that is shown; setting it shows another.
        cell: The chosen (reference, map) class indices; empty for none.
        normalize: What the matrix shows: shares of each row (``truth``), of each column (``predicted``), ``none``.
        measure: What colours the blocks on the map: ``chosen cell``, ``overall accuracy`` or ``mean IoU``.
        blocks: The blocks listed, the worst first.
        block: The chosen block, -1 for none.

    Raises:
        CannotRead: When the file is missing.
        BadInput: When it is no evaluation.
    """

    metrics = t.Unicode()
    cell = t.Tuple(default_value=())
    normalize = t.Enum(("truth", "predicted", "none"), "truth")
    measure = t.Enum(_MEASURES, "overall accuracy")
    blocks = t.Tuple(default_value=())
    block = t.Int(-1)

    def __init__(
        self,
        metrics: str | Path | None = None,
        *,
        values: Mapping[str, Any] | None = None,
        folder: str | Path = "evaluation",
        map: LayerMap | None = None,
        state: AppState | None = None,
    ) -> None:
        self.state = state or AppState()
        given = dict(values or {})
        if self.state.prediction_path and "map" not in given:
            given["map"] = self.state.prediction_path
        shown = [n for n in _ESSENTIALS if n in Spec.model_fields]
        self.form = SpecForm(Spec, given, essentials=shown, hidden=_HIDDEN)
        self.folder, self.run = Path(folder), ThreadRun()
        self.map = map or LayerMap(height="360px", state=self.state)
        self._found: dict[str, Any] = {}
        self._confusion: BlockConfusion | None = None
        self._reader: PatchReader | None = None
        self._features: Any = None
        self._build()
        super().__init__([self._settings, self._buttons, self._bar, self._status, self._body])
        self.add_class("gt-metrics")
        self.run.observe(self._on_state, ["state"])
        self.run.observe(self._on_progress, ["fraction", "message", "stage", "seconds_left"])
        self.state.observe(self._on_map, "prediction_path")
        self._on_state(None)
        if metrics is not None:
            self.load(metrics)

    @property
    def classes(self) -> ClassTable:
        """The classes of the evaluation that is shown."""
        return ClassTable.from_json(self._found["class_table"]) if self._found else ClassTable(())

    @property
    def scores(self) -> Scores:
        """Its scores.

        Raises:
            BadInput: When nothing is shown.
        """
        if not self._found:
            raise BadInput(explain("no evaluation is shown", fix="evaluate a map, or open a metrics.json"))
        return Scores.from_json(self._found)

    def load(self, path: str | Path) -> None:
        """Show an evaluation.

        Raises:
            CannotRead: When the file is missing.
            BadInput: When it is no evaluation.
        """
        found = read_metrics(Path(path))
        blocks = found.get("blocks") or {}
        file = Path(path).parent / str(blocks.get("file", ""))
        confusion = BlockConfusion.open(file) if blocks.get("file") else None
        self._found, self._confusion, self._reader = found, confusion, None
        with self.hold_trait_notifications():
            self.metrics, self.cell, self.block = str(path), (), -1
        self._show()

    def spec(self) -> Any:
        """Return the next evaluation as a spec.

        Raises:
            BadInput: One sentence for each value that does not fit.
        """
        stem = self.folder / (Path(str(self.form.values.get("map", "map"))).stem)
        filled = {"metrics": f"{stem}-metrics.json"}
        return validate_spec(Spec, {**self.form.values, **filled})

    def recipe(self) -> str:
        """Return the recipe (YAML) of the evaluation."""
        return recipe_text("evaluate", self.spec())

    def evaluate(self) -> None:
        """Compare the map with the reference, and show what comes out.

        Raises:
            BadInput: When a setting does not fit.
        """
        spec = self.spec()
        self.folder.mkdir(parents=True, exist_ok=True)
        self.message.clear()
        self.run.start("evaluate", spec, done=lambda _: self.load(spec.metrics))

    def wait(self, timeout_s: float | None = None) -> str:
        """Wait until the evaluation rests, and return its state.

        Raises:
            TimeoutError: When it is still at work after ``timeout_s`` seconds.
        """
        return self.run.wait(timeout_s)

    def save_blocks(self, path: str | Path) -> Path:
        """Write the listed blocks as GeoJSON, for any GIS; return the path.

        Raises:
            BadInput: When no block is listed.
        """
        if not self.blocks or self._confusion is None:
            raise BadInput(explain("no block is listed", fix="choose a cell of the matrix first"))
        features = [self._feature(int(b), 1.0, "") for b in self.blocks]
        target = Path(path)
        with atomic_path(target) as part:
            part.write_text(json.dumps({"type": "FeatureCollection", "features": features}), encoding="utf-8")
        return target

    def _build(self) -> None:
        opened = None if self.form.valid else 0
        self._settings = w.Accordion([self.form], titles=["Map and reference"], selected_index=opened)
        self._start = button("Evaluate", "check", "primary", "compare map and reference", self._on_evaluate)
        self._cancel = button("Cancel", "stop", "", "stop at the next block", lambda _: self.run.cancel())
        self._buttons = w.HBox([self._start, self._cancel])
        self._bar = w.FloatProgress(0.0, min=0.0, max=1.0, layout=w.Layout(width="auto"))
        self._status, self._tiles, self._said = w.HTML(), w.HTML(), w.HTML()
        self.matrix = ConfusionMatrixTable()
        t.link((self, "cell"), (self.matrix, "cell"))
        t.link((self, "normalize"), (self.matrix, "normalize"))
        choice = w.ToggleButtons(
            options=[("% of reference", "truth"), ("% of map", "predicted"), ("pixels", "none")],
            style={"button_width": "auto"},
        )
        choice.add_class("gt-normalize")
        t.link((self, "normalize"), (choice, "value"))
        measure = w.Dropdown(options=list(_MEASURES), description="blocks by", layout=w.Layout(width="18em"))
        t.link((self, "measure"), (measure, "value"))
        self.gallery = Gallery()
        self.gallery.observe(self._on_picked, "selected")
        self._per_class, self._curves = w.HTML(), w.HTML()
        matrix = w.VBox([choice, self.matrix, self._said])
        self._where = w.VBox([measure, self.map])
        self._tabs = w.Tab(
            [w.VBox([matrix, self._where, self.gallery]), self._per_class, self._curves],
            titles=["Confusions", "Classes", "Curves"],
        )
        self._body = w.VBox([self._tiles, self._tabs])
        self._body.layout.display = "none"

    def _show(self) -> None:
        self.matrix.show(np.asarray(self._found["confusion"]), self.classes)
        self._tiles.value = score_tiles(self._found, self.scores)
        self._per_class.value = class_table(self._found, self.scores, self.classes)
        self._curves.value = curve_charts(self._found, self.classes, f"{self.model_id}")
        self._body.layout.display = None
        self._settings.selected_index = None
        self._where.layout.display = "none" if self._confusion is None else None
        self._show_map()
        self._refresh()

    @guarded
    def _show_map(self) -> None:
        """Put the map that was compared under the blocks."""
        values = self.form.values
        if values.get("map") and Path(values["map"]).exists() and not self.map.layers:
            for path in values.get("images", ()):
                self.map.add(path)
            self.map.add(values["map"], name="map", visible=not values.get("images"), fit=True)

    @t.observe("cell")
    def _on_cell(self, change: Any) -> None:
        if change["new"]:
            self.measure = "chosen cell"
        elif self.measure == "chosen cell":
            self.measure = "overall accuracy"
        self._refresh()

    @t.observe("measure")
    def _on_measure(self, _: Any) -> None:
        self._refresh()

    @guarded
    def _refresh(self) -> None:
        """Show the blocks of the chosen cell, or of the chosen score, on the map and as patches."""
        confusion = self._confusion
        if confusion is None:
            return
        if self.cell and self.measure == "chosen cell":
            truth, predicted = self.cell
            numbers, pixels = confusion.find_cell(reference=truth, predicted=predicted)
            values = confusion.cell_shares(reference=truth, predicted=predicted)
            self.blocks = tuple(int(n) for n in numbers[:_WORST])
            self._say_cell(truth, predicted, numbers, pixels)
        else:
            measure = self.measure if self.measure in _CALLED else "overall accuracy"
            values = np.asarray(getattr(confusion, _CALLED[measure])())
            order = np.argsort(np.where(np.isnan(values), np.inf, values), kind="stable")
            self.blocks = tuple(int(n) for n in order[:_WORST] if not math.isnan(values[n]))
            self._said.value = (
                '<p class="gt-remark">Choose a cell to see where that confusion lies. '
                f"Below: the blocks with the lowest {measure}.</p>"
            )
        self.block = -1
        self._show_blocks(values)
        self._show_patches()

    def _say_cell(self, truth: int, predicted: int, numbers: Any, pixels: Any) -> None:
        names, total = self.classes.names, int(pixels.sum())
        verb = "rightly mapped as" if truth == predicted else "mapped as"
        spread = ""
        if len(numbers):
            top = int(np.searchsorted(np.cumsum(pixels), total / 2)) + 1
            spread = f" Half of them lie in {top} of {len(self._confusion or ())} blocks."
        text = f"{total:,} pixels are truly {names[truth]}, {verb} {names[predicted]}, in {len(numbers)} blocks.{spread}"
        self._said.value = f'<p role="status" aria-live="polite">{html.escape(text)}</p>'

    def _show_blocks(self, values: Any) -> None:
        """Colour the blocks by their values: darker is worse, whatever is shown."""
        assert self._confusion is not None
        worse = values if self.measure == "chosen cell" and self.cell else 1 - values
        known = np.flatnonzero(~np.isnan(values))
        top = max(float(np.max(worse[known], initial=0.0)), 1e-9)
        features = [
            self._feature(int(n), float(worse[n]) / top, f"block {n}: {self._named(float(values[n]))}")
            for n in known
        ]
        if self._features is not None:
            self.map.remove(self._features)
            self._features = None
        if features:
            self._features = self.map.add_features(features, name="blocks", on_click=self._pick)

    def _named(self, value: float) -> str:
        return percent(value) + (" of its pixels" if self.measure == "chosen cell" else f" {self.measure}")

    def _feature(self, number: int, strength: float, label: str) -> dict[str, Any]:
        assert self._confusion is not None
        shape = project(self._confusion.polygons[number], self._confusion.crs, "EPSG:4326")
        red, green, blue, _ = colormaps["YlOrBr"](0.1 + 0.8 * min(max(strength, 0.0), 1.0))
        color = "#{:02x}{:02x}{:02x}".format(*(round(255 * c) for c in (red, green, blue)))
        facts = {"id": number, "color": color, "label": label, "fill": 0.65, "weight": 1}
        return {"type": "Feature", "geometry": mapping(shape), "properties": facts, "id": number}

    def _show_patches(self) -> None:
        reader = self._patch_reader()
        if reader is None or self._confusion is None:
            return
        patches = [reader.read(self._confusion.windows[n]) for n in self.blocks]
        pictures = [p.ground for p in patches]
        overlays = [self._overlay(p) for p in patches]
        labels = [f"block {n}" for n in self.blocks]
        notes = [self._note(n) for n in self.blocks]
        self.gallery.show(pictures, overlays=overlays, labels=labels, notes=notes, ids=list(self.blocks))

    def _overlay(self, patch: Patch) -> Any:
        if self.cell and patch.truth is not None and self.measure == "chosen cell":
            return patch.confusion(*self.cell)
        shown = patch.layer("error")
        return np.zeros((*patch.predicted.shape, 4), np.uint8) if shown is None else shown

    def _note(self, number: int) -> str:
        assert self._confusion is not None
        if self.cell and self.measure == "chosen cell":
            return f"{int(self._confusion.counts(number)[tuple(self.cell)]):,} px"
        right = float(self._confusion.overall_accuracy()[number])
        return "" if math.isnan(right) else f"{percent(right)} right"

    def _patch_reader(self) -> PatchReader | None:
        """Open what patches are cut from; None where the map or the reference is not known here."""
        values = self.form.values
        if self._reader is None and values.get("map") and values.get("reference"):
            images = open_images(tuple(values["images"])) if values.get("images") else None
            truth = open_labels(
                tuple(values["reference"]),
                column=values.get("label_column"),
                layer=values.get("label_layer"),
                unlabelled=values.get("unlabelled", "ignore"),
            )
            self._reader = PatchReader(values["map"], images=images, reference=truth)
        return self._reader

    def _pick(self, number: int) -> None:
        self.block = int(number)

    def _on_picked(self, change: Any) -> None:
        self.block = int(change["new"])

    @t.observe("block")
    def _on_block(self, change: Any) -> None:
        number = int(change["new"])
        self.state.block = None if number < 0 else number
        if self._features is not None:
            self._features.selected = number
        if self.gallery.selected != number and (number in self.blocks or number < 0):
            self.gallery.selected = number

    def _on_map(self, change: Any) -> None:
        if change["new"]:
            self.form.values = {**self.form.values, "map": change["new"]}

    def _on_state(self, _: Any) -> None:
        busy = self.run.busy
        self.form.disabled = self._start.disabled = busy
        self._cancel.layout.display = self._bar.layout.display = None if busy else "none"
        if self.run.state == "failed":
            self.message.say(self.run.error, "error")
        self._on_progress(None)

    def _on_progress(self, _: Any) -> None:
        self._bar.value = self.run.fraction
        self._status.value = progress_html(
            self.run, {"running": "comparing", "idle": "", "done": "", "failed": "failed"}
        )

    @guarded
    def _on_evaluate(self, _: Any) -> None:
        self.evaluate()
