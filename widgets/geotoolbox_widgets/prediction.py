"""PredictionViewer: predict where one draws, and look at image, reference, map, confidence and error."""

from __future__ import annotations

import html
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import ipywidgets as w
import numpy as np
import traitlets as t
from shapely.geometry import mapping

from geotoolbox.core.classes import ClassTable
from geotoolbox.core.files import atomic_path, check_writable
from geotoolbox.core.query import Region
from geotoolbox.datasets import GeoDataset
from geotoolbox.errors import BadInput, explain
from geotoolbox.jobs.evaluate import Spec as EvaluateSpec
from geotoolbox.jobs.layers import open_images, open_labels
from geotoolbox.jobs.polygonise import Spec as PolygoniseSpec
from geotoolbox.jobs.predict import Spec
from geotoolbox.jobs.recipe import recipe_text
from geotoolbox.jobs.registry import find_job
from geotoolbox.jobs.spec import validate_spec
from geotoolbox.sampling.areas import project
from geotoolbox_widgets.base import guarded
from geotoolbox_widgets.form import SpecForm
from geotoolbox_widgets.frame import Frame, button, chip, hectares, percent, progress_html, table
from geotoolbox_widgets.gallery import Gallery
from geotoolbox_widgets.layermap import LayerMap
from geotoolbox_widgets.patches import PatchReader, grid_windows
from geotoolbox_widgets.running import ThreadRun
from geotoolbox_widgets.state import AppState

__all__ = ["PredictionViewer"]

_FILLED_IN = (
    "output",
    "area",
    "confidence",
    "probabilities",
    "entropy",
    "polygons",
    "minimum_area_m2",
    "simplify_m",
)
_PATCH_PX, _PATCHES = 96, 32


class PredictionViewer(Frame):
    """Predict the drawn area, or everything, and see what comes out beside what is known.

    Every prediction is the job *predict*, so its pixels are those that any other door gives, and its recipe
    stands beside it.

    Args:
        values: Settings of *predict* to start with (``model``, ``images``, …).
        reference: Labels to compare with: files, as for *evaluate*.
        label_column: The column of the classes, for vector labels.
        folder: Where predictions go.
        map: The map to draw on; one of its own when None.
        state: What all panels of an app share.

    Attributes:
        form: The settings.
        run: How the prediction stands.
        predictions: What has been predicted, the newest last: ``map``, ``confidence``, ``errors`` and ``metrics``
            (paths, empty where there is none), ``area``, and ``class_areas_ha``.
        shown: Which of them is shown; -1 is the newest.
        overlay: What lies over the patches: ``map``, ``reference``, ``confidence``, ``error`` or ``none``.
    """

    predictions: t.List[Any] = t.List()
    shown = t.Int(-1)
    overlay = t.Enum(("map", "reference", "confidence", "error", "none"), "map")

    def __init__(
        self,
        values: Mapping[str, Any] | None = None,
        *,
        reference: str | Path | Sequence[str | Path] = (),
        label_column: str | None = None,
        folder: str | Path = "predictions",
        map: LayerMap | None = None,
        state: AppState | None = None,
    ) -> None:
        self.state = state or AppState()
        given = dict(values or {})
        if self.state.model_path and "model" not in given:
            given["model"] = self.state.model_path
        self.form = SpecForm(Spec, given, essentials=("model", "images"), hidden=_FILLED_IN)
        self.folder, self.label_column = Path(folder), label_column
        given_labels = [reference] if isinstance(reference, str | Path) else reference
        self.reference = tuple(str(p) for p in given_labels)
        self.run = ThreadRun()
        self.map = map or LayerMap(state=self.state)
        self._layers: dict[str, Any] = {}
        self._spec: Any = None
        self._build()
        super().__init__([self._settings, self._buttons, self._bar, self._status, self.map, self._which,
                          self._areas, self._patches, self._export])  # fmt: skip
        self.add_class("gt-prediction")
        self.run.observe(self._on_state, ["state"])
        self.run.observe(self._on_progress, ["fraction", "message", "stage", "seconds_left"])
        self.state.observe(self._on_model, "model_path")
        self._on_state(None)
        self._show_inputs()

    def spec(self, area: Region | None = None) -> Any:
        """Return the next prediction as a spec; the drawn area is written beside its output.

        Raises:
            BadInput: One sentence for each value that does not fit.
        """
        number = len(self.predictions) + 1
        while (self.folder / f"map-{number:03d}.tif").exists():
            number += 1
        self.folder.mkdir(parents=True, exist_ok=True)
        stem = self.folder / f"map-{number:03d}"
        filled = {"output": f"{stem}.tif", "confidence": f"{stem}-confidence.tif"}
        if area is not None:
            filled["area"] = str(_write_area(area, stem.with_name(f"{stem.name}-area.geojson")))
        return validate_spec(Spec, {**self.form.values, **filled})

    def recipe(self) -> str:
        """Return the recipe (YAML) of the prediction that is shown, or of the next one."""
        return recipe_text("predict", self._spec or self.spec(self.state.area))

    def predict_area(self) -> None:
        """Predict the drawn area.

        Raises:
            BadInput: When none is drawn, or a setting does not fit.
        """
        if self.state.area is None:
            raise BadInput(explain("no area is drawn", fix="draw a rectangle or a polygon on the map first"))
        self._predict(self.spec(self.state.area))

    def predict_all(self) -> None:
        """Predict everything that the images cover.

        Raises:
            BadInput: When a setting does not fit.
        """
        self._predict(self.spec())

    def save_cog(self, path: str | Path) -> Path:
        """Copy the shown map, a COG, with its class names and style; return its path.

        Raises:
            BadInput: When nothing has been predicted.
            CannotWrite: When the folder cannot be written to.
        """
        source, target = Path(self._current()["map"]), Path(path)
        check_writable(target)
        pairs = [(source, target)]
        pairs += [
            (source.with_name(source.name + s), target.with_name(target.name + s)) for s in (".aux.xml",)
        ]
        pairs.append((source.with_suffix(".qml"), target.with_suffix(".qml")))
        for one, other in pairs:
            if one.exists():
                with atomic_path(other) as part:
                    part.write_bytes(one.read_bytes())
        return target

    def save_polygons(
        self, path: str | Path, *, minimum_area_m2: float = 0.0, simplify_m: float = 0.0
    ) -> None:
        """Write the shown map as polygons (``.gpkg``, ``.parquet`` or ``.geojson``), with the job *polygonise*.

        Raises:
            BadInput: When nothing has been predicted, or a value does not fit.
        """
        row = self._current()
        given = {"map": row["map"], "output": str(path), "confidence": row["confidence"] or None,
                 "minimum_area_m2": minimum_area_m2, "simplify_m": simplify_m}  # fmt: skip
        self.run.start("polygonise", validate_spec(PolygoniseSpec, given))

    def wait(self, timeout_s: float | None = None) -> str:
        """Wait until the work in hand rests, and return its state.

        Raises:
            TimeoutError: When it is still at work after ``timeout_s`` seconds.
        """
        return self.run.wait(timeout_s)

    def _build(self) -> None:
        self._settings = w.Accordion([self.form], titles=["Model and images"], selected_index=None)
        if not self.form.valid:
            self._settings.selected_index = 0
        self._predict_area = button("Predict drawn area", "pencil", "primary", "", self._on_predict_area)
        self._predict_all = button("Predict everything", "map", "", "", self._on_predict_all)
        self._cancel = button("Cancel", "stop", "", "stop at the next block", self._on_cancel)
        self._buttons = w.HBox([self._predict_area, self._predict_all, self._cancel])
        self._bar = w.FloatProgress(0.0, min=0.0, max=1.0, layout=w.Layout(width="auto"))
        self._status, self._areas = w.HTML(), w.HTML()
        self._which = w.Dropdown(options=[("newest", -1)], description="map", layout=w.Layout(width="22em"))
        self._which.layout.display = "none"
        t.link((self, "shown"), (self._which, "value"))
        choice = w.Dropdown(
            options=["map", "reference", "confidence", "error", "none"], description="over image",
            layout=w.Layout(width="18em"),
        )  # fmt: skip
        t.link((self, "overlay"), (choice, "value"))
        self.gallery = Gallery()
        self._patches = w.VBox([choice, self.gallery])
        self._patches.layout.display = "none"
        self._path = w.Text("map.tif", description="save as", layout=w.Layout(width="24em"))
        self._path.add_class("gt-save-path")
        cog = button("Save COG", "save", "", "the map as a Cloud Optimized GeoTIFF", self._on_cog)
        polygons = button("Save GeoPackage", "save", "", "the map as polygons", self._on_polygons)
        self._export = w.HBox([self._path, cog, polygons], layout=w.Layout(flex_flow="row wrap"))
        self._export.layout.display = "none"

    def _images(self) -> GeoDataset | None:
        values = self.form.values
        if not values.get("images"):
            return None
        return open_images(tuple(values["images"]), bands=tuple(values.get("bands", ())))

    def _truth(self, classes: ClassTable | None = None) -> GeoDataset | None:
        if not self.reference:
            return self.state.reference
        return open_labels(self.reference, column=self.label_column, classes=classes)

    @guarded
    def _show_inputs(self) -> None:
        """Put the images, and the reference where there is one, on the map."""
        for name, found in (("image", self._images()), ("reference", self._truth())):
            if found is not None and name not in self._layers:
                self._layers[name] = self.map.add(found, name=name, visible=name == "image")

    def _predict(self, spec: Any) -> None:
        self.message.clear()
        self._spec = spec
        self._show_inputs()
        self.run.call("predict", lambda: self._work(spec), done=lambda row: self._take(spec, row))

    def _work(self, spec: Any) -> Any:
        """Predict, and compare with the reference where there is one; in the run's thread."""
        made = find_job("predict").run(spec, self.run)
        judged: dict[str, str] = {"errors": "", "metrics": ""}
        if self.reference:
            stem = Path(spec.output).with_suffix("")
            judged = {"errors": f"{stem}-errors.tif", "metrics": f"{stem}-metrics.json"}
            given = {
                "map": spec.output,
                "reference": self.reference,
                "label_column": self.label_column,
                **judged,
            }
            known = {k: v for k, v in given.items() if k in EvaluateSpec.model_fields}
            try:
                find_job("evaluate").run(validate_spec(EvaluateSpec, known), self.run)
            except BadInput as error:  # the drawn area may have no labels; the map is there all the same
                self.message.say(str(error), "warning")
                judged = {"errors": "", "metrics": ""}
        return made, judged

    def _take(self, spec: Any, row: Any) -> None:
        made, judged = row
        self.predictions = [
            *self.predictions,
            {
                "map": made.map,
                "confidence": spec.confidence or "",
                "area": spec.area or "",
                "class_areas_ha": dict(made.class_areas_ha),
                **judged,
            },
        ]
        self.state.prediction_path = made.map

    @t.observe("predictions")
    def _on_predictions(self, _: Any) -> None:
        names = [(Path(p["map"]).name, i) for i, p in enumerate(self.predictions)]
        self._which.options = [("newest", -1), *names]
        self._which.layout.display = None if names else "none"
        self.shown = -1
        self._show()

    @t.observe("shown")
    def _on_shown(self, _: Any) -> None:
        self._show()

    @t.observe("overlay")
    def _on_overlay(self, _: Any) -> None:
        if self.predictions:
            self._show_patches()

    @guarded
    def _show(self) -> None:
        if not self.predictions:
            return
        row = self._current()
        self._show_layers(row)
        self._show_areas(row)
        self._show_patches()
        self._export.layout.display = None

    def _show_layers(self, row: Mapping[str, Any]) -> None:
        for name in ("map", "confidence", "errors"):
            if name in self._layers:
                self.map.remove(self._layers.pop(name))
        for name in ("confidence", "errors", "map"):
            path = row[name]
            if path and Path(path).exists():
                self._layers[name] = self.map.add(path, name=name, visible=name == "map", fit=name == "map")

    def _show_areas(self, row: Mapping[str, Any]) -> None:
        areas = row["class_areas_ha"]
        reader = PatchReader(row["map"])
        colors = dict(zip(reader.classes.names, reader.classes.colors, strict=True))
        total = sum(areas.values()) or 1.0
        rows = [
            [
                (chip(colors.get(name, (128, 128, 128))) + html.escape(name),),
                hectares(area),
                percent(area / total),
            ]
            for name, area in areas.items()
        ]
        self._areas.value = table("Areas of the classes, as mapped", ["Class", "Area", "Share"], rows)

    @guarded
    def _show_patches(self) -> None:
        row = self._current()
        reader = PatchReader(
            row["map"],
            images=self._images(),
            reference=self._truth(),
            confidence_path=row["confidence"] or None,
        )
        patches = [reader.read(window) for window in grid_windows(reader.scene, _PATCH_PX, _PATCHES)]
        patches = [p for p in patches if (p.predicted >= 0).any()]
        pictures = [p.ground for p in patches]
        overlays = [p.layer(self.overlay) for p in patches]
        clear = [
            np.zeros_like(picture) if o is None else o for o, picture in zip(overlays, pictures, strict=True)
        ]
        notes = ["" if np.isnan(p.wrong) else f"{percent(p.wrong)} wrong" for p in patches]
        labels = [f"place {i + 1}, with the {self.overlay} over the image" for i in range(len(patches))]
        self.gallery.show(pictures, overlays=clear, labels=labels, notes=notes)
        self._patches.layout.display = None

    def _current(self) -> Any:
        if not self.predictions:
            raise BadInput(explain("nothing has been predicted yet", fix="predict the drawn area first"))
        return self.predictions[self.shown if 0 <= self.shown < len(self.predictions) else -1]

    def _on_model(self, change: Any) -> None:
        self.form.values = {**self.form.values, "model": change["new"]}

    def _on_state(self, _: Any) -> None:
        busy = self.run.busy
        self.form.disabled = self._predict_area.disabled = self._predict_all.disabled = busy
        self._cancel.disabled = self.run.state != "running"
        self._bar.layout.display = None if busy else "none"
        if self.run.state == "failed":
            self.message.say(self.run.error, "error")
        elif self.run.state == "done" and self.run.job == "polygonise":
            self.message.say(self.run.message or "written")
        self._on_progress(None)

    def _on_progress(self, _: Any) -> None:
        self._bar.value = self.run.fraction
        self._status.value = progress_html(
            self.run, {"running": "predicting", "idle": "", "failed": "failed"}
        )

    @guarded
    def _on_predict_area(self, _: Any) -> None:
        self.predict_area()

    @guarded
    def _on_predict_all(self, _: Any) -> None:
        self.predict_all()

    @guarded
    def _on_cancel(self, _: Any) -> None:
        self.run.cancel()

    @guarded
    def _on_cog(self, _: Any) -> None:
        self.message.say(f"written: {self.save_cog(Path(self._path.value).with_suffix('.tif'))}")

    @guarded
    def _on_polygons(self, _: Any) -> None:
        self.save_polygons(Path(self._path.value).with_suffix(".gpkg"))


def _write_area(area: Region, path: Path) -> Path:
    """Write an area as GeoJSON, which is in longitude and latitude."""
    shape = project(area.geometry, area.crs, "EPSG:4326")
    feature = {"type": "Feature", "properties": {}, "geometry": mapping(shape)}
    with atomic_path(path) as part:
        part.write_text(json.dumps({"type": "FeatureCollection", "features": [feature]}), encoding="utf-8")
    return path
