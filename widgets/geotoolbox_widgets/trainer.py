"""Trainer: a form for the job *train*, its buttons, its curves and what the model makes of held-out places."""

from __future__ import annotations

import html
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import ipywidgets as w
import traitlets as t

from geotoolbox.errors import BadInput, CannotRead, explain
from geotoolbox.jobs.recipe import recipe_text
from geotoolbox.jobs.spec import JobSpec
from geotoolbox.jobs.train import Spec
from geotoolbox.visualization import plot_history
from geotoolbox.visualization.style import PAGE
from geotoolbox_widgets.base import guarded
from geotoolbox_widgets.form import SpecForm
from geotoolbox_widgets.frame import Frame, button, figure, progress_html, share, tiles
from geotoolbox_widgets.process_run import ProcessRun
from geotoolbox_widgets.state import AppState

__all__ = ["Trainer"]

_LOG = logging.getLogger(__name__)
_ESSENTIALS = (
    "images",
    "labels",
    "label_column",
    "area",
    "output",
    "maximum_minutes",
    "epochs",
    "pictures",
    "seed",
)
_SAID = {
    "idle": "ready",
    "running": "training",
    "pausing": "stopping at the last checkpoint …",
    "paused": "paused; Resume goes on from the last finished epoch",
    "cancelling": "stopping …",
    "cancelled": "cancelled; finished epochs are kept, Start goes on from them",
    "done": "done",
    "failed": "failed",
}


class Trainer(Frame):
    """Train a model from the notebook; the kernel stays free meanwhile.

    The training is the job *train* in a process of its own: it goes on when the page is closed or the kernel
    dies. A Trainer with the same output finds it again, at work or finished.

    Args:
        values: Settings to start with, as on the command line (``images``, ``labels``, …).
        folder: Where to look for files to offer.
        state: What all panels of an app share.

    Attributes:
        form: The settings.
        run: How the training stands: ``state``, ``fraction``, ``metrics``, ``log``, ``artifacts``, ``result``.
        epoch: Of which epoch the predicted samples are shown; 0 is always the newest.

    Example:
        >>> trainer = Trainer({"images": ("image.tif",), "labels": ("fields.gpkg",), "epochs": 3})
        >>> trainer.run.state, trainer.form.valid
        ('idle', True)
    """

    epoch = t.Int(0)

    def __init__(
        self,
        values: Mapping[str, Any] | None = None,
        *,
        folder: str | Path = ".",
        state: AppState | None = None,
    ) -> None:
        self.state = state or AppState()
        started = {"pictures": 3, **(values or {})}
        self.form = SpecForm(Spec, started, essentials=_ESSENTIALS, folder=folder)
        self.run = ProcessRun(self._run_folder())
        self._watched: list[Any] = []
        self._build()
        super().__init__(
            [self._settings, self._buttons, self._bar, self._status, self._charts, self._shown, self._log]
        )
        self.add_class("gt-trainer")
        self.form.observe(lambda _: self._look_for_run(), "values")
        self._follow()
        self._look_for_run()
        self._refresh()

    @property
    def output(self) -> str:
        """The bundle that is (to be) written."""
        return str(self.form.values.get("output", Spec.model_fields["output"].default))

    def spec(self) -> JobSpec:
        """Return the settings as the job's spec; the edited sample list goes in where there is one.

        Raises:
            BadInput: One sentence for each value that does not fit.
        """
        self._take_samples()
        return self.form.spec()

    def recipe(self) -> str:
        """Return the recipe (YAML): ``geotoolbox run`` repeats the training from it, with the same result."""
        return recipe_text("train", self.spec())

    def start(self) -> None:
        """Start training, or go on with what was stopped before (with the same settings and ``resume``).

        Raises:
            BadInput: When a setting does not fit, or this training is at work already.
        """
        spec = self.spec()
        self._attach_to(self._run_folder())
        self.run.start("train", spec)

    def pause(self) -> None:
        """Stop at the last checkpoint; :meth:`resume` goes on from it."""
        self.run.pause()

    def resume(self) -> None:
        """Go on from the last checkpoint."""
        self.run.resume()

    def cancel(self) -> None:
        """Stop; finished epochs stay on the disk."""
        self.run.cancel()

    def wait(self, timeout_s: float | None = None) -> str:
        """Wait until the training rests, and return its state.

        Raises:
            TimeoutError: When it is still at work after ``timeout_s`` seconds.
        """
        return self.run.wait(timeout_s)

    def _build(self) -> None:
        self._settings = w.Accordion([self.form], titles=["Settings"], selected_index=0)
        self._start = button("Start", "play", "primary", "start training", self._on_start)
        self._pause = button("Pause", "pause", "", "stop at the last checkpoint", self._on_pause)
        self._resume = button("Resume", "play", "primary", "go on from the last checkpoint", self._on_resume)
        self._cancel = button("Cancel", "stop", "", "stop; finished epochs are kept", self._on_cancel)
        self._buttons = w.HBox([self._start, self._pause, self._resume, self._cancel])
        self._bar = w.FloatProgress(0.0, min=0.0, max=1.0, layout=w.Layout(width="auto"))
        self._bar.add_class("gt-progress")
        self._status, self._charts, self._log = w.HTML(), w.HTML(), w.HTML()
        self._picture = w.Image(
            format="png", layout=w.Layout(width="100%", max_width="720px", display="none")
        )
        self._picture.alt = "Held-out places"
        self._which = w.Dropdown(options=[("newest", 0)], description="epoch", layout=w.Layout(width="14em"))
        t.link((self, "epoch"), (self._which, "value"))
        self._caption = w.HTML()
        self._shown = w.VBox([self._which, self._picture, self._caption])
        self._shown.layout.display = "none"

    def _run_folder(self) -> Path:
        place = Path(self.output).expanduser()
        return place.with_name(place.name + ".run")

    def _look_for_run(self) -> None:
        """Show the training of this output, where there is one, at work or at its end."""
        if not self.run.busy:
            self._attach_to(self._run_folder())

    def _attach_to(self, folder: Path) -> None:
        if folder != self.run.folder:
            self._unfollow()
            self.run = ProcessRun(folder)
            self._follow()
            self._refresh()
        if self.run.state == "idle":
            self.run.attach()

    def _follow(self) -> None:
        self._watched = [
            (self._on_state, ["state"]),
            (self._on_progress, ["fraction", "message", "seconds_left", "stage"]),
            (self._on_metrics, ["metrics"]),
            (self._on_log, ["log"]),
            (self._on_artifacts, ["artifacts"]),
        ]
        for handler, names in self._watched:
            self.run.observe(handler, names)

    def _unfollow(self) -> None:
        for handler, names in self._watched:
            self.run.unobserve(handler, names)

    def _refresh(self) -> None:
        for handler, _ in self._watched:
            handler(None)

    def _take_samples(self) -> None:
        """Write the list that the person has edited beside the output, so that training draws from it."""
        if self.state.samples is None or "samples" not in Spec.model_fields:
            return
        place = Path(self.output).expanduser()
        place.parent.mkdir(parents=True, exist_ok=True)
        path = place.with_name(place.stem + ".samples.parquet")
        self.state.samples.save(path)
        self.form.values = {**self.form.values, "samples": str(path)}

    @guarded
    def _on_start(self, _: Any) -> None:
        self.message.clear()
        self.start()

    @guarded
    def _on_pause(self, _: Any) -> None:
        self.pause()

    @guarded
    def _on_resume(self, _: Any) -> None:
        self.message.clear()
        self.resume()

    @guarded
    def _on_cancel(self, _: Any) -> None:
        self.cancel()

    def _on_state(self, _: Any) -> None:
        state = self.run.state
        self.form.disabled = self.run.busy or state == "paused"
        self._start.disabled = self.run.busy or state == "paused"
        self._pause.disabled = state != "running"
        self._resume.disabled = state != "paused"
        self._cancel.disabled = state not in ("running", "paused")
        for one in (self._start, self._resume):
            one.layout.display = None
        (self._resume if state != "paused" else self._start).layout.display = "none"
        self._bar.bar_style = {"done": "success", "failed": "danger"}.get(state, "info")
        if state == "failed":
            self.message.say(self.run.error, "error")
        elif state == "done":
            self.state.model_path = self.run.result.get("model", self.output)
            self._settings.selected_index = None
        self._on_progress(None)

    def _on_progress(self, _: Any) -> None:
        run = self.run
        self._bar.value = run.fraction
        self._status.value = progress_html(run, _SAID)

    def _on_metrics(self, _: Any) -> None:
        metrics = self.run.metrics
        if not metrics:
            self._charts.value = ""
            return
        history = _history(metrics)
        last = history[-1]
        summary = "; ".join(f"{k.replace('_', ' ')} {v:.3f}" for k, v in last.items() if k != "epoch")
        losses = [k for k in ("train_loss", "val_loss") if k in metrics]
        scores = [k for k in ("val_mean_iou", "val_overall_accuracy") if k in metrics]
        charts = [
            figure(plot_history(history, keys, label=label, theme=PAGE), f"{self.model_id}{label[:2]}",
                   f"{label} over {len(history)} epochs; at epoch {last['epoch']}: {summary}")
            for label, keys in (("loss", losses), ("held-out score", scores))
            if keys
        ]  # fmt: skip
        self._charts.value = _numbers(last) + f'<div class="gt-charts">{"".join(charts)}</div>'

    def _on_log(self, _: Any) -> None:
        lines = "".join(
            f'<li class="gt-{html.escape(line["level"])}">{html.escape(line["message"])}</li>'
            for line in self.run.log
            if line["level"] != "debug"
        )
        count = lines.count("<li")
        opened = " open" if count <= 6 else ""
        self._log.value = (
            f'<details{opened}><summary>What it said ({count})</summary><ul class="gt-log">{lines}</ul></details>'
            if lines
            else ""
        )

    def _on_artifacts(self, _: Any) -> None:
        epochs = [_epoch_of(a["path"]) for a in self.run.artifacts if a["name"] == "pictures"]
        self._shown.layout.display = None if epochs else "none"
        before = self.epoch
        self._which.options = [("newest", 0), *((str(e), e) for e in epochs)]
        self.epoch = before if before in epochs else 0
        self._show_picture()

    @t.observe("epoch")
    def _on_epoch(self, _: Any) -> None:
        self._show_picture()

    def _show_picture(self) -> None:
        made = {_epoch_of(a["path"]): a["path"] for a in self.run.artifacts if a["name"] == "pictures"}
        if not made:
            return
        epoch = self.epoch if self.epoch in made else max(made)
        try:
            self._picture.value = Path(made[epoch]).read_bytes()
        except OSError:
            _LOG.debug("the picture of epoch %d is gone", epoch)
            return
        self._picture.layout.display = None
        self._caption.value = (
            f'<span class="gt-remark">Held-out places after epoch {epoch}, one a row: image, reference, map, and where '
            "map and reference differ (orange).</span>"
        )


def load_spec(path: str | Path) -> dict[str, Any]:
    """Return the settings of a training recipe, to fill a Trainer with.

    Raises:
        CannotRead: When the file cannot be read.
        BadInput: When it is the recipe of another job.
    """
    from geotoolbox.jobs.recipe import read_recipe

    if not Path(path).exists():
        raise CannotRead(explain("no such file", where=path))
    job, spec = read_recipe(path)
    if job != "train":
        raise BadInput(explain("this is the recipe of another job", where=path, got=job, expected="train"))
    return {k: v for k, v in spec.model_dump().items() if v != type(spec).model_fields[k].default}


def _history(metrics: Mapping[str, Sequence[tuple[Any, float]]]) -> list[dict[str, Any]]:
    rows: dict[int, dict[str, Any]] = {}
    for name, pairs in metrics.items():
        for step, value in pairs:
            if step is not None:
                rows.setdefault(int(step), {"epoch": int(step)})[name] = value
    return [rows[epoch] for epoch in sorted(rows)]


def _numbers(row: Mapping[str, Any]) -> str:
    shown = (
        ("epoch", str(row["epoch"]), "finished"),
        ("mean IoU", share(row.get("val_mean_iou")), "held-out blocks"),
        ("overall accuracy", share(row.get("val_overall_accuracy")), "held-out blocks"),
        ("loss", share(row.get("train_loss")), "training"),
    )
    return tiles(shown)


def _epoch_of(path: str) -> int:
    digits = "".join(c for c in Path(path).stem if c.isdigit())
    return int(digits or 0)
