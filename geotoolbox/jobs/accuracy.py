"""The job *accuracy*: how good a map is, and how much ground each class has, from labelled sample points."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any, Literal

from pydantic import Field

from geotoolbox.core.events import SILENT, Reporter
from geotoolbox.jobs.results import JobResult
from geotoolbox.jobs.spec import InputFile, JobSpec, OutputFile

__all__ = ["AccuracyJobResult", "Spec", "run"]


class Spec(JobSpec):
    """Settings of an accuracy assessment."""

    map: InputFile = Field(description="the class map to judge")
    sample: InputFile = Field(description="the labelled points that sample-reference drew")
    reference_column: str = Field(
        "reference", description="the column with the true class: its name or value"
    )
    sample_layer: str | None = Field(
        None, description="the layer of the points (default: 'points', or the only one)"
    )
    drawn: InputFile | None = Field(
        None, description="the sample as it was drawn, if the labelled points were saved as another file"
    )
    unlabelled: Literal["refuse", "drop"] = Field(
        "refuse", description="points without a reference: refuse, or drop them and say so in the report"
    )
    extra_classes: tuple[str, ...] = Field((), description="reference classes that the map does not have")
    estimator: Literal["auto", "direct", "post-stratified"] = Field(
        "auto",
        description="for simple and systematic samples: use the map's class areas (post-stratified) or not; "
        "auto does with 20 points or more in each class",
    )
    confidence_percent: float = Field(95.0, gt=0, lt=100, description="the level of the intervals")
    finite_population: bool = Field(
        False, description="apply the finite-population correction (Stehman 2014; Olofsson et al. do not)"
    )
    kappa: bool = Field(False, description="also give kappa, with the note why better not")
    declared_design: Literal["none", "simple", "systematic", "stratified"] = Field(
        "none",
        description="your word that points from elsewhere were drawn at random, and how (stratified: by map class); "
        "never for training or hand-placed points",
    )
    area: InputFile | None = Field(
        None, description="for points from elsewhere: the polygons inside which they were drawn"
    )
    report: OutputFile | None = Field(None, description="the HTML report to write")
    metrics: OutputFile | None = Field(None, description="the numbers as JSON")
    allow_vrt: bool = Field(False, description="open virtual rasters (they can read other files)")


@dataclass(frozen=True, slots=True)
class AccuracyJobResult(JobResult):
    """Accuracy and areas, with intervals."""

    overall_accuracy: float
    overall_accuracy_low: float
    overall_accuracy_high: float
    points: int
    confidence_percent: float
    areas_ha: dict[str, tuple[float, float]] = field(default_factory=dict)
    estimates: dict[str, Any] = field(default_factory=dict)
    files: tuple[str, ...] = ()
    recipe: str = ""

    def to_json(self) -> dict[str, Any]:
        """Return the plain values; what is undefined is null."""
        names = ("overall_accuracy", "overall_accuracy_low", "overall_accuracy_high")
        plain = {n: _null(getattr(self, n)) for n in names}
        areas = {name: [_null(v) for v in pair] for name, pair in self.areas_ha.items()}
        return {
            **plain,
            "points": self.points,
            "confidence_percent": self.confidence_percent,
            "areas_ha": areas,
            "estimates": self.estimates,
            "files": list(self.files),
            "recipe": self.recipe,
        }

    def summary(self) -> str:
        """Say overall accuracy and the areas in a few lines, and name the files."""
        half = (self.overall_accuracy_high - self.overall_accuracy_low) / 2
        width = max((len(n) for n in self.areas_ha), default=0)
        lines = [
            f"accuracy   {_plus_minus(self.overall_accuracy, half, '.3f')} "
            f"({self.confidence_percent:g} % interval, {self.points:,} points)",
            *(f"area       {n:<{width}}  {self._area(n)}" for n in self.areas_ha),
            *(f"wrote      {name}" for name in self.files),
        ]
        return "\n".join([*lines, f"repeat     geotoolbox run {self.recipe}"] if self.recipe else lines)

    def _area(self, name: str) -> str:
        value, half = self.areas_ha[name]
        if math.isnan(value):
            rows = {row["name"]: row for row in self.estimates.get("classes", ())}
            reason = rows.get(name, {}).get("area_ha", {}).get("reason", "")
            return f"–  ({reason})" if reason else "–"
        low = "  (the interval reaches below 0: few points)" if value - half < 0 else ""
        return f"{_plus_minus(value, half, ',.1f')} ha{low}"


def _null(value: float) -> float | None:
    return None if math.isnan(value) else value


def _plus_minus(value: float, half: float, form: str) -> str:
    if math.isnan(value):
        return "undefined"
    return f"{value:{form}} ± " + ("undefined" if math.isnan(half) else f"{half:{form}}")


def run(spec: Spec, events: Reporter = SILENT) -> AccuracyJobResult:
    """Estimate accuracy and areas from a labelled probability sample.

    Raises:
        NotProbabilitySample: When the points are no probability sample, in words.
        BadInput: When labels are missing or are no classes.
    """
    from geotoolbox.jobs.assessing import accuracy_job

    return accuracy_job(spec, events)
