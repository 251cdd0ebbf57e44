"""How *accuracy* estimates, reports and writes."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geotoolbox import __version__
from geotoolbox.core.classes import ClassTable
from geotoolbox.core.events import Artifact, Log, Reporter
from geotoolbox.core.files import check_writable
from geotoolbox.datasets import RasterDataset
from geotoolbox.jobs.accuracy import AccuracyJobResult, Spec
from geotoolbox.jobs.evaluating import write_text
from geotoolbox.jobs.labelled_points import (
    LabelledPoints,
    check_on_map,
    label_indices,
    read_labelled,
    with_extra,
)
from geotoolbox.jobs.recipe import recipe_beside, recipe_path, write_recipe
from geotoolbox.jobs.reference_points import SampleDesign
from geotoolbox.jobs.spec import existing
from geotoolbox.metrics.agreement import KAPPA_NOTE
from geotoolbox.metrics.design_based import AccuracyEstimate, assess_accuracy
from geotoolbox.metrics.estimators import DesignSample
from geotoolbox.metrics.population import Measured, Population, measure
from geotoolbox.models.bundle import software_versions
from geotoolbox.visualization.accuracy_report import accuracy_report

__all__ = ["accuracy_job"]

_ENOUGH = 20  # points a class from which post-stratification is safe (Cochran 1977, section 5A.9)


@dataclass(frozen=True, slots=True)
class _Case:
    """A sample, looked up on the map that is judged."""

    sample: LabelledPoints
    population: Population
    measured: Measured
    classes: ClassTable
    reference: NDArray[np.int64]

    @property
    def kept(self) -> NDArray[np.bool_]:
        """(n,) the points that have a reference."""
        return self.reference >= 0

    @property
    def ground_m2(self) -> float:
        """The ground that the sample stands for."""
        record = self.sample.record
        return float(self.measured.area_m2.sum()) if record is None else sum(record.area_m2)

    def by_class(self, values: NDArray[Any]) -> NDArray[Any]:
        """Sum (S, K) values by map class; classes that only the reference has get 0."""
        sums = values.sum(axis=0)
        return np.pad(sums, (0, len(self.classes) - len(sums)))


def accuracy_job(spec: Spec, events: Reporter) -> AccuracyJobResult:
    """Do what the job *accuracy* says."""
    for path in _outputs(spec):
        check_writable(Path(path))
    map_layer = RasterDataset([str(existing(spec.map))], kind="labels", allow_vrt=spec.allow_vrt)
    sample = read_labelled(spec, Population(map_layer))
    population = Population(map_layer, region=sample.region)
    classes = with_extra(population.classes, spec.extra_classes)
    reference = label_indices(sample.labels, classes, spec)
    measured = measure(population, sample.rows, sample.columns, reporter=events)
    check_on_map(measured, sample)
    case = _Case(sample, population, measured, classes, reference)
    cells, how = _count(case, spec.estimator)
    mapped = case.by_class(measured.area_m2)
    found = assess_accuracy(
        cells,
        classes.names,
        total_area_ha=case.ground_m2 / 10_000,
        map_shares=tuple(map(float, mapped / mapped.sum())),
        confidence_percent=spec.confidence_percent,
        finite_population=spec.finite_population,
    )
    found = replace(found, notes=(*_design_notes(case), *found.notes))
    return _write(spec, found, classes, how, events)


def _outputs(spec: Spec) -> tuple[str, ...]:
    return tuple(p for p in (spec.report, spec.metrics) if p)


def _count(case: _Case, estimator: str) -> tuple[DesignSample, str]:
    """Count the points as the design asks, and say in words which estimator that is."""
    sample, record = case.sample, case.sample.record
    if sample.design == "stratified" and record is not None and not _same_map(case, record):
        return _by_other_strata(
            case, record
        ), "stratified random sample, by strata that are not the classes of this map (Stehman 2014)"
    if sample.design == "stratified":
        return _by_map_class(case), "stratified random sample by map class (Olofsson et al. 2014)"
    kind = "simple random" if sample.design == "simple" else "systematic"
    mapped = np.bincount(case.measured.at_points[case.kept], minlength=len(case.classes))
    fewest = mapped[case.by_class(case.measured.pixels) > 0].min()
    if estimator == "post-stratified" or (estimator == "auto" and fewest >= _ENOUGH):
        return _by_map_class(case), f"{kind} sample, post-stratified by map class"
    return _as_one(case), f"{kind} sample"


def _by_map_class(case: _Case) -> DesignSample:
    kept, mapped = case.kept, case.measured.at_points
    return DesignSample.from_points(
        mapped[kept],
        mapped[kept],
        case.reference[kept],
        case.by_class(case.measured.area_m2),
        len(case.classes),
        strata=case.classes.names,
        unit_sizes=_unit_sizes(case),
        population_px=case.by_class(case.measured.pixels),
        by_map_class=True,
    )


def _by_other_strata(case: _Case, record: SampleDesign) -> DesignSample:
    kept, frame = case.kept, case.sample.frame
    values = [] if frame is None else frame["stratum"].tolist()
    stratum = np.array([record.strata.values.index(v) for v in values])
    return DesignSample.from_points(
        stratum[kept],
        case.measured.at_points[kept],
        case.reference[kept],
        np.array(record.area_m2),
        len(case.classes),
        strata=record.strata.names,
        population_px=np.array(record.pixels),
    )


def _as_one(case: _Case) -> DesignSample:
    kept = case.kept
    return DesignSample.from_points(
        np.zeros(int(kept.sum()), dtype=np.int64),
        case.measured.at_points[kept],
        case.reference[kept],
        np.array([case.ground_m2]),
        len(case.classes),
        strata=("the whole map",),
        unit_sizes=_unit_sizes(case),
        population_px=np.array([case.measured.pixels.sum()]),
    )


def _unit_sizes(case: _Case) -> NDArray[np.float64] | None:
    """Return the points' own areas, where all pixels had the same chance whatever their area."""
    frame, record = case.sample.frame, case.sample.record
    if frame is None or record is None or not record.equal_chance:
        return None
    return frame["pixel_area_m2"].to_numpy(np.float64)[case.kept]


def _same_map(case: _Case, record: SampleDesign) -> bool:
    """Tell whether the strata are the map's classes: same grid, classes, pixel counts and classes at the points."""
    frame, population = case.sample.frame, case.population
    if frame is None or not record.by_map_class or record.geobox != population.geobox:
        return False
    if record.classes.values != population.classes.values:
        return False
    at_points = np.array(population.classes.values)[case.measured.at_points]
    counts = tuple(map(int, case.measured.pixels.sum(axis=0)))
    return counts == record.pixels and np.array_equal(at_points, frame["map_class"].to_numpy())


def _design_notes(case: _Case) -> list[str]:
    notes, kept = [], case.kept
    if case.sample.record is None:
        notes.append(
            "That these points were drawn at random is the word of whoever ran this; nothing in the file shows it. If "
            "they were not, none of these numbers means anything."
        )
    if case.sample.design == "systematic":
        notes.append(
            "A systematic sample has no unbiased standard error; the one of a random sample is given, which is usually "
            "too large rather than too small."
        )
    if not kept.all():
        missing = int((~kept).sum())
        notes.append(
            f"{missing} of {len(kept)} points ({100 * missing / len(kept):.1f} %) have no reference and were dropped, as "
            "if they were like the others in their stratum. Points that are hard to label are seldom like the others: "
            "the truth may lie outside the intervals."
        )
    judged = float(case.measured.area_m2.sum())
    if abs(judged / case.ground_m2 - 1) > 1e-6:
        notes.append(
            f"The sample stands for {case.ground_m2 / 10_000:,.1f} ha, but this map has classes on "
            f"{judged / 10_000:,.1f} ha: the shares are those of the ground that was sampled."
        )
    return notes


def _json(spec: Spec, found: AccuracyEstimate, how: str) -> dict[str, Any]:
    data = {
        "map": Path(spec.map).name,
        "sample": Path(spec.sample).name,
        "geotoolbox": __version__,
        "estimator": how,
        "finite_population_correction": spec.finite_population,
        **found.to_json(),
    }
    if spec.kappa:
        data |= {"kappa": None if math.isnan(found.kappa) else found.kappa, "kappa_note": KAPPA_NOTE}
    return data


def _write(
    spec: Spec, found: AccuracyEstimate, classes: ClassTable, how: str, events: Reporter
) -> AccuracyJobResult:
    data, outputs = _json(spec, found, how), _outputs(spec)
    if spec.metrics:
        write_text(Path(spec.metrics), json.dumps(data, indent=2, ensure_ascii=False))
        events.emit(Artifact("metrics", spec.metrics, "application/json"))
    if spec.report:
        recipe = recipe_beside("accuracy", spec, recipe_path(outputs[0], "accuracy"), spec.report)
        page = accuracy_report(
            title=Path(spec.map).name,
            classes=classes,
            estimate=found,
            design=how,
            kappa=spec.kappa,
            sources=(spec.map, spec.sample),
            recipe_yaml=recipe[0],
            recipe_name=recipe[1],
            versions=software_versions(),
        )
        write_text(Path(spec.report), page)
        events.emit(Artifact("report", spec.report, "text/html"))
    for note in found.notes:
        events.emit(Log(note, "warning"))
    return AccuracyJobResult(
        overall_accuracy=found.overall.value,
        overall_accuracy_low=found.overall.low,
        overall_accuracy_high=found.overall.high,
        points=int(found.points.sum()),
        confidence_percent=spec.confidence_percent,
        areas_ha={n: (e.value, e.half_width) for n, e in zip(found.names, found.areas_ha, strict=True)},
        estimates=data,
        files=outputs,
        recipe=str(write_recipe("accuracy", spec, outputs[0])) if outputs else "",
    )
