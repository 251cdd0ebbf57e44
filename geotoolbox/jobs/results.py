"""What jobs give back: small values that say themselves in a sentence and as JSON."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, field
from typing import Any

from geotoolbox.errors import explain

__all__ = [
    "EvaluateJobResult",
    "FileResult",
    "JobResult",
    "PredictJobResult",
    "ShardJobResult",
    "TextResult",
    "TrainJobResult",
]


@dataclass(frozen=True, slots=True)
class JobResult:
    """The base of all results."""

    @property
    def problem(self) -> str:
        """What is wrong with the input, where the job is done all the same; empty when nothing is."""
        return ""

    def summary(self) -> str:
        """Return what a person wants to read at the end."""
        return ""

    def to_json(self) -> dict[str, Any]:
        """Return the plain values."""
        return asdict(self)

    def _repr_html_(self) -> str:
        from geotoolbox.core.reprs import result_html

        return result_html(self)


@dataclass(frozen=True, slots=True)
class TextResult(JobResult):
    """A result that is a text, with the values behind it."""

    text: str
    values: dict[str, Any] = field(default_factory=dict)

    @property
    def problem(self) -> str:
        """Which files have a problem."""
        bad = [str(row["file"]) for row in self.values.get("files", ()) if "problem" in row]
        return (
            explain(
                "some files have a PROBLEM, told above",
                where=", ".join(bad),
                fix="mend them, or leave them out",
            )
            if bad
            else ""
        )

    def summary(self) -> str:
        """Return the text."""
        return self.text


@dataclass(frozen=True, slots=True)
class FileResult(JobResult):
    """Files that were written, with a sentence about them."""

    files: tuple[str, ...]
    recipe: str
    note: str = ""

    def summary(self) -> str:
        """Name the files and the recipe."""
        lines = [self.note] if self.note else []
        return "\n".join(
            [*lines, *(f"  {name}" for name in self.files), f"repeat with: geotoolbox run {self.recipe}"]
        )


@dataclass(frozen=True, slots=True)
class TrainJobResult(JobResult):
    """A trained model: its bundle, report and scores on the held-out blocks."""

    model: str
    report: str
    recipe: str
    overall_accuracy: float
    mean_iou: float
    epochs: int
    seconds: float
    baselines: dict[str, dict[str, float]] = field(default_factory=dict)

    def summary(self) -> str:
        """Say how good the model is, next to its baselines."""
        lines = [
            f"model      {self.model}",
            f"report     {self.report}",
            f"held out   accuracy {self.overall_accuracy:.3f}, mean IoU {self.mean_iou:.3f} "
            f"after {self.epochs} epochs ({self.seconds:.0f} s)",
        ]
        for name, scores in self.baselines.items():
            lines.append(
                f"compare    {name}: accuracy {scores['overall_accuracy']:.3f}, mean IoU {scores['mean_iou']:.3f}"
            )
        return "\n".join([*lines, f"repeat     geotoolbox run {self.recipe}"])


@dataclass(frozen=True, slots=True)
class PredictJobResult(JobResult):
    """A map, and what was written with it."""

    map: str
    recipe: str
    files: tuple[str, ...]
    class_areas_ha: dict[str, float]
    seam_ratio: float
    failed_blocks: tuple[str, ...]
    seconds: float

    def summary(self) -> str:
        """Name the files, the class areas and how seamless the map is."""
        lines = [f"map        {self.map}", *(f"also       {name}" for name in self.files)]
        width = max((len(name) for name in self.class_areas_ha), default=0)
        lines += [
            f"area       {name:<{width}}  {area:>12,.1f} ha" for name, area in self.class_areas_ha.items()
        ]
        lines.append(f"seams      {self._seams()}  in {self.seconds:.0f} s")
        return "\n".join([*lines, f"repeat     geotoolbox run {self.recipe}"])

    def _seams(self) -> str:
        if math.isnan(self.seam_ratio):
            return "none: there are no tile edges inside the map"
        return f"ratio {self.seam_ratio:.3f} (1 is seamless)"


@dataclass(frozen=True, slots=True)
class ShardJobResult(JobResult):
    """The blocks of one shard of a map."""

    shard: str
    output: str
    blocks: int
    blocks_resumed: int
    seconds: float

    def summary(self) -> str:
        """Say what was made, and what comes next."""
        return "\n".join(
            [
                f"shard      {self.shard}: {self.blocks:,} blocks ({self.blocks_resumed:,} were there) "
                f"in {self.seconds:.0f} s",
                f"next       when all shards are made: the same command with --finish writes {self.output}",
            ]
        )


@dataclass(frozen=True, slots=True)
class EvaluateJobResult(JobResult):
    """How well a map agrees with a reference."""

    overall_accuracy: float
    mean_iou: float
    pixels: int
    scores: dict[str, Any]
    files: tuple[str, ...]
    recipe: str
    intervals: dict[str, Any] | None = None

    def summary(self) -> str:
        """Say the scores in a line, and name the files."""
        lines = [
            f"accuracy   {self.overall_accuracy:.3f}, mean IoU {self.mean_iou:.3f} on {self.pixels:,} pixels",
            *self._interval_lines(),
            *(f"wrote      {name}" for name in self.files),
        ]
        return "\n".join([*lines, f"repeat     geotoolbox run {self.recipe}"] if self.recipe else lines)

    def _interval_lines(self) -> list[str]:
        found = self.intervals
        if not found or not found["scores"]["overall_accuracy"] or not found["scores"]["mean_iou"]:
            return []
        (low, high), (least, most) = found["scores"]["overall_accuracy"], found["scores"]["mean_iou"]
        return [
            f"interval   {low:.3f} to {high:.3f}, mean IoU {least:.3f} to {most:.3f} "
            f"({found['level']:.0%}, bootstrap over {found['blocks']:,} blocks)"
        ]
