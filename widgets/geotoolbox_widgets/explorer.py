"""Explorer: all panels as one app on one state, in a notebook or as a page of its own (Voilà)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import ipywidgets as w
import traitlets as t

from geotoolbox.jobs.layers import open_images, open_labels
from geotoolbox_widgets.base import guarded
from geotoolbox_widgets.frame import Frame
from geotoolbox_widgets.layermap import LayerMap
from geotoolbox_widgets.metrics_explorer import MetricsExplorer
from geotoolbox_widgets.prediction import PredictionViewer
from geotoolbox_widgets.samples import SampleBrowser
from geotoolbox_widgets.state import AppState
from geotoolbox_widgets.trainer import Trainer

__all__ = ["Explorer"]

_TABS = ("Data", "Samples", "Train", "Predict", "Judge")


class Explorer(Frame):
    """From imagery and labels to a judged map in one place: look, sample, train, predict, judge.

    The panels share one state: the samples that were kept are what is trained on, the model that was trained
    is what predicts, the area that was drawn is what is predicted, and the map that was made is what is judged.

    Args:
        images: Image files.
        labels: Label files: polygons, or a raster of classes.
        label_column: The column of the classes, for polygons.
        area: Train only inside these polygons.
        reference: What maps are judged by; the labels when None.
        folder: Where models, maps and evaluations go.
        state: What the panels share; one of its own when None.

    Attributes:
        tab: The panel in view: ``Data``, ``Samples``, ``Train``, ``Predict`` or ``Judge``.
        data, samples, trainer, prediction, metrics: The panels. ``samples`` is None where no data are given.

    Raises:
        BadInput: When the layers do not fit together.
    """

    tab = t.Enum(_TABS, "Data")

    def __init__(
        self,
        images: Sequence[str | Path] = (),
        labels: Sequence[str | Path] = (),
        *,
        label_column: str | None = None,
        area: str | Path | None = None,
        reference: Sequence[str | Path] | None = None,
        folder: str | Path = "explorer",
        state: AppState | None = None,
    ) -> None:
        self.state = state or AppState()
        self.folder = Path(folder)
        self.folder.mkdir(parents=True, exist_ok=True)
        files = {"images": tuple(map(str, images)), "labels": tuple(map(str, labels))}
        truth = files["labels"] if reference is None else tuple(map(str, reference))
        column = label_column if truth == files["labels"] else None
        self._open(files, label_column)
        self.data = LayerMap(self._sources(), state=self.state)
        self.samples = (
            None if self.state.dataset is None else SampleBrowser(self.state.dataset, state=self.state)
        )
        self.trainer = Trainer(
            _given({**files, "label_column": label_column, "area": None if area is None else str(area),
                    "output": str(self.folder / "model.gtb")}),
            state=self.state,
        )  # fmt: skip
        self.prediction = PredictionViewer(
            _given({"images": files["images"]}), reference=truth, label_column=column,
            folder=self.folder / "maps", state=self.state,
        )  # fmt: skip
        self.metrics = MetricsExplorer(
            values=_given({"reference": truth, "label_column": column, "images": files["images"]}),
            folder=self.folder / "evaluation", state=self.state,
        )  # fmt: skip
        nothing = w.HTML(
            "<p>Give images and labels to draw samples from: <code>Explorer(images, labels)</code>.</p>"
        )
        panels = [self.data, self.samples or nothing, self.trainer, self.prediction, self.metrics]
        self._tabs = w.Tab(panels, titles=_TABS)
        self._tabs.observe(lambda c: self.set_trait("tab", _TABS[c["new"] or 0]), "selected_index")
        super().__init__([self._tabs])
        self.add_class("gt-explorer")
        self.prediction.observe(self._on_prediction, "predictions")

    def recipe(self) -> str:
        """Return a code cell that makes this Explorer again."""
        form = self.trainer.form.values
        lines = ["from geotoolbox_widgets import Explorer", "", "Explorer("]
        lines += [f"    images={form.get('images', ())!r},", f"    labels={form.get('labels', ())!r},"]
        lines += [f"    {name}={form[name]!r}," for name in ("label_column", "area") if form.get(name)]
        return "\n".join([*lines, f"    folder={str(self.folder)!r},", ")"])

    def _open(self, files: Mapping[str, Sequence[str]], column: str | None) -> None:
        if not files["images"]:
            return
        images = open_images(files["images"])
        if files["labels"]:
            labels = open_labels(files["labels"], column=column)
            self.state.dataset = images & labels
            self.state.reference = labels

    def _sources(self) -> tuple[Any, ...]:
        return () if self.state.dataset is None else (self.state.dataset,)

    @t.observe("tab")
    def _on_tab(self, change: Any) -> None:
        self._tabs.selected_index = _TABS.index(change["new"])

    @guarded
    def _on_prediction(self, change: Any) -> None:
        """Show how good the new map is, where it was compared."""
        newest = change["new"][-1] if change["new"] else {}
        if newest.get("metrics"):
            self.metrics.load(newest["metrics"])


def _given(values: Mapping[str, Any]) -> dict[str, Any]:
    """Leave out what was not said, so that the job's defaults hold."""
    return {name: value for name, value in values.items() if value not in (None, (), "")}
