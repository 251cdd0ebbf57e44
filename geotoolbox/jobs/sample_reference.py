"""The job *sample-reference*: draw the points at which a map is to be judged."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from pydantic import Field

from geotoolbox.core.events import SILENT, Reporter
from geotoolbox.jobs.results import JobResult
from geotoolbox.jobs.spec import InputFile, JobSpec, OutputFile

__all__ = ["SampleReferenceResult", "Spec", "run"]


class Spec(JobSpec):
    """Settings of a reference sample."""

    map: InputFile = Field(description="the class map that will be judged")
    output: OutputFile = Field("reference.gpkg", description="the points to label (a GeoPackage)")
    design: Literal["stratified", "simple", "systematic"] = Field(
        "stratified",
        description="how points are drawn: so many in each map class, anywhere, or on a lattice with a random start",
    )
    points: int | None = Field(
        None, ge=2, description="points in all (default: as many as the wanted standard error takes)"
    )
    target_standard_error_percent: float = Field(
        2.0,
        gt=0,
        lt=50,
        description="wanted standard error of overall accuracy, where no number of points is given",
    )
    expected_accuracy_percent: tuple[float, ...] = Field(
        (80.0,),
        description="a guess of user's accuracy, one for all classes or one a class in the order of their values",
    )
    allocation: Literal["balanced", "proportional", "equal", "neyman"] = Field(
        "balanced",
        description="how points are shared among classes: balanced gives rare ones at least the minimum",
    )
    minimum_points: int | None = Field(
        None, ge=2, description="points that each class gets at least (default: 50 for balanced, else 2)"
    )
    strata: InputFile | None = Field(
        None, description="a class raster to stratify by, if not by the map itself; it may be on another grid"
    )
    area: InputFile | None = Field(
        None, description="draw only inside these polygons, and speak only of them"
    )
    blind: bool = Field(
        False,
        description="keep map class and stratum out of the layer that is labelled, so that they sway nobody",
    )
    seed: int = Field(0, ge=0, description="the same seed draws the same points")
    allow_vrt: bool = Field(False, description="open virtual rasters (they can read other files)")


@dataclass(frozen=True, slots=True)
class SampleReferenceResult(JobResult):
    """A sample that was drawn."""

    output: str
    recipe: str
    points: int
    points_by_stratum: dict[str, int] = field(default_factory=dict)

    def summary(self) -> str:
        """Say how many points there are, and what to do with them."""
        width = max((len(n) for n in self.points_by_stratum), default=0)
        return "\n".join(
            [
                f"sample     {self.output}: {self.points:,} points",
                *(f"stratum    {n:<{width}}  {c:>6,} points" for n, c in self.points_by_stratum.items()),
                "next       fill in the column 'reference' of the layer 'points' with the true class at each point,",
                "           without moving, adding or deleting any; then run geotoolbox accuracy",
                f"repeat     geotoolbox run {self.recipe}",
            ]
        )


def run(spec: Spec, events: Reporter = SILENT) -> SampleReferenceResult:
    """Draw a probability sample of pixels, block by block.

    Raises:
        BadInput: When the points asked for cannot be drawn.
    """
    from geotoolbox.jobs.drawing_reference import sample_reference_job

    return sample_reference_job(spec, events)
