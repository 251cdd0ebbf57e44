"""How *sample-reference* plans, draws and writes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from geotoolbox.core.events import Artifact, Log, Reporter
from geotoolbox.core.files import check_writable
from geotoolbox.datasets import RasterDataset
from geotoolbox.errors import BadInput, explain
from geotoolbox.jobs.layers import open_region
from geotoolbox.jobs.recipe import write_recipe
from geotoolbox.jobs.reference_points import SampleDesign, write_sample
from geotoolbox.jobs.sample_reference import SampleReferenceResult, Spec
from geotoolbox.jobs.spec import existing
from geotoolbox.metrics.drawing import DrawnPoints, draw_points, draw_systematic
from geotoolbox.metrics.planning import allocate, plan_sample_size, plan_simple_sample_size
from geotoolbox.metrics.population import Measured, Population, measure

__all__ = ["sample_reference_job"]


def sample_reference_job(spec: Spec, events: Reporter) -> SampleReferenceResult:
    """Do what the job *sample-reference* says."""
    check_writable(Path(spec.output))
    if spec.strata and spec.design != "stratified":
        raise BadInput(
            explain("strata are for the stratified design", got=spec.design, fix="leave strata out")
        )
    map_layer = RasterDataset([str(existing(spec.map))], kind="labels", allow_vrt=spec.allow_vrt)
    strata = None
    if spec.strata:
        strata = RasterDataset([str(existing(spec.strata))], kind="labels", allow_vrt=spec.allow_vrt)
    population = Population(map_layer, strata, open_region(spec.area))
    measured = measure(population, reporter=events)
    drawn = _draw(spec, population, measured, events)
    design = _design(spec, population, measured, drawn)
    write_sample(Path(spec.output), design, drawn, region=population.region, blind=spec.blind)
    recipe = write_recipe("sample-reference", spec, spec.output)
    events.emit(Artifact("sample", spec.output, "application/geopackage+sqlite3"))
    _warn(design, measured, events)
    counts = {n: c for n, c, p in zip(design.strata.names, design.points, design.pixels, strict=True) if p}
    return SampleReferenceResult(spec.output, str(recipe), len(drawn), counts)


def _draw(spec: Spec, population: Population, measured: Measured, events: Reporter) -> DrawnPoints:
    area, pixels = measured.area_m2.sum(axis=1), measured.pixels.sum(axis=1)
    expected = _expected(spec, len(area), area)
    if spec.design == "stratified":
        target = spec.target_standard_error_percent / 100
        total = spec.points or _enough(spec, pixels, plan_sample_size(area, expected, target))
        shares = allocate(
            total,
            area,
            spec.allocation,
            minimum=spec.minimum_points,
            expected_users_accuracy=expected if spec.allocation == "neyman" else None,
            population_px=pixels,
        )
        return draw_points(population, measured, shares, seed=spec.seed, reporter=events)
    mean = float((expected * area).sum() / area.sum())
    width = min(1.96 * spec.target_standard_error_percent / 100, 0.99)
    total = spec.points or plan_simple_sample_size(mean, width, population_px=int(pixels.sum()))
    if spec.design == "simple":
        return draw_points(population, measured, np.array([total]), seed=spec.seed, reporter=events)
    return draw_systematic(population, measured, total, seed=spec.seed, reporter=events)


def _enough(spec: Spec, pixels: NDArray[np.int64], planned: int) -> int:
    """Return the planned size, raised to what the least number for each class takes, within the map."""
    least = spec.minimum_points or (50 if spec.allocation == "balanced" else 2)
    return int(min(max(planned, np.minimum(least, pixels).sum()), pixels.sum()))


def _expected(spec: Spec, strata: int, area: NDArray[np.float64]) -> NDArray[np.float64]:
    guesses = np.array(spec.expected_accuracy_percent) / 100
    present = int((area > 0).sum())
    if len(guesses) == 1:
        guesses = np.repeat(guesses, strata)
    elif (
        len(guesses) == present < strata
    ):  # classes that the table has, but the map does not show, need no guess
        full = np.full(strata, 0.5)
        full[area > 0] = guesses
        guesses = full
    if len(guesses) != strata:
        raise BadInput(
            explain(
                "expected accuracies: one for all classes, or one a class",
                got=f"{len(guesses)} numbers",
                expected=f"1 or {present}",
            )
        )
    return guesses


def _design(spec: Spec, population: Population, measured: Measured, drawn: DrawnPoints) -> SampleDesign:
    grid, strata = population.geobox, population.strata
    points = np.bincount(drawn.stratum, minlength=len(strata))
    return SampleDesign(
        design=spec.design,
        seed=spec.seed,
        map_name=Path(spec.map).name,
        classes=population.classes,
        strata=strata,
        by_map_class=population.strata_layer is None,
        pixels=tuple(map(int, measured.pixels.sum(axis=1))),
        area_m2=tuple(map(float, measured.area_m2.sum(axis=1))),
        points=tuple(map(int, points)),
        equal_chance=spec.design == "systematic",
        crs=str(grid.crs),
        transform=tuple(grid.affine)[:6],
        shape=(int(grid.shape[0]), int(grid.shape[1])),
    )


def _warn(design: SampleDesign, measured: Measured, events: Reporter) -> None:
    if measured.left_out_px:
        said = (
            f"{measured.left_out_px:,} mapped pixels lie in no stratum: the sample does not speak for them."
        )
        events.emit(Log(said, "warning"))
    few = [
        f"{n} ({c})"
        for n, c, p in zip(design.strata.names, design.points, design.pixels, strict=True)
        if p and c < 20
    ]
    if few:
        events.emit(
            Log(
                f"Few points, so wide intervals, for: {', '.join(few)}. 50 or more a class are advised.",
                "warning",
            )
        )
