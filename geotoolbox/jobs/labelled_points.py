"""Labelled reference points: read, checked to be a probability sample, and turned into class indices."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from geotoolbox.core.classes import IGNORE_INDEX, ClassInfo, ClassTable
from geotoolbox.core.query import Region
from geotoolbox.errors import BadInput, BadLabels, NotProbabilitySample, explain
from geotoolbox.jobs.accuracy import Spec
from geotoolbox.jobs.layers import open_region
from geotoolbox.jobs.reference_points import (
    SampleDesign,
    offsets_px,
    pixel_centres,
    pixels_under,
    read_drawn,
    read_points,
)
from geotoolbox.jobs.spec import existing
from geotoolbox.metrics.population import Measured, Population
from geotoolbox.metrics.probability import (
    check_all_there,
    check_distinct,
    check_not_clustered,
    check_not_moved,
)

__all__ = ["LabelledPoints", "check_on_map", "label_indices", "read_labelled", "with_extra"]


@dataclass(frozen=True, slots=True)
class LabelledPoints:
    """Sample points with their labels, in the order of the frame, and how they were drawn.

    Attributes:
        design: ``stratified``, ``simple`` or ``systematic``.
        labels: (n,) what people wrote.
        rows: (n,) pixel rows on the grid of the map judged.
        columns: (n,) pixel columns there.
        region: The area that the points were drawn in.
        record: The design; None for points from elsewhere.
        frame: What was drawn; None for points from elsewhere.
    """

    design: str
    labels: NDArray[np.object_]
    rows: NDArray[np.int64]
    columns: NDArray[np.int64]
    region: Region | None
    record: SampleDesign | None = None
    frame: pd.DataFrame | None = None


def read_labelled(spec: Spec, population: Population) -> LabelledPoints:
    """Read the points, and refuse what is no probability sample.

    Raises:
        NotProbabilitySample: In words.
        BadInput: When a layer or column is missing.
    """
    return _elsewhere(spec, population) if spec.declared_design != "none" else _drawn(spec, population)


def _drawn(spec: Spec, population: Population) -> LabelledPoints:
    """Read a sample that sample-reference drew, and refuse what was done to it since."""
    path = str(existing(spec.sample))
    record, frame, region = read_drawn(str(existing(spec.drawn)) if spec.drawn else path)
    points = read_points(path, spec.sample_layer, ("id", spec.reference_column))
    ids = pd.to_numeric(points["id"], errors="coerce").fillna(-1).astype(np.int64)
    check_all_there(frame["id"].to_numpy(), ids.to_numpy())
    points = points.set_index(ids).loc[frame["id"].to_numpy()]
    rows, columns = frame["pixel_row"].to_numpy(np.int64), frame["pixel_column"].to_numpy(np.int64)
    check_not_moved(frame["id"].to_numpy(), offsets_px(points, record.geobox, rows, columns))
    if record.geobox != population.geobox:  # another map than the one the sample was drawn from
        rows, columns = pixels_under(pixel_centres(record.geobox, rows, columns), population.geobox)
    labels = points[spec.reference_column].to_numpy(dtype=object)
    if spec.area:
        raise BadInput(
            explain(
                "the sample says itself inside which area it was drawn", where=spec.area, fix="leave area out"
            )
        )
    return LabelledPoints(record.design, labels, rows, columns, region, record, frame)


def _elsewhere(spec: Spec, population: Population) -> LabelledPoints:
    """Read points that the person says were drawn at random."""
    points = read_points(str(existing(spec.sample)), spec.sample_layer, (spec.reference_column,))
    rows, columns = pixels_under(points, population.geobox)
    labels = points[spec.reference_column].to_numpy(dtype=object)
    check_distinct(rows, columns)
    return LabelledPoints(spec.declared_design, labels, rows, columns, open_region(spec.area))


def check_on_map(measured: Measured, sample: LabelledPoints) -> None:
    """Refuse points off the mapped ground, and points from elsewhere that lie in clusters.

    Raises:
        NotProbabilitySample: In words.
    """
    outside = int((measured.at_points < 0).sum())
    if outside:
        raise NotProbabilitySample(
            explain(
                f"{outside} of {len(sample.rows)} points lie where the map has no class, so the sample is not one of this map",
                expected="all points on mapped ground, inside the sample's area",
                fix="judge the map that the sample was drawn from, or a map that covers all of its ground",
            )
        )
    if sample.record is not None:
        return
    pixels = measured.pixels.sum(axis=1)
    whole = np.zeros(len(sample.rows), dtype=np.int64)
    strata = measured.at_points if sample.design == "stratified" else whole
    for i in np.unique(strata):
        here = strata == i
        size = int(pixels[i] if sample.design == "stratified" else pixels.sum())
        check_not_clustered(sample.rows[here], sample.columns[here], size)


def with_extra(classes: ClassTable, names: tuple[str, ...]) -> ClassTable:
    """Add classes that only the reference has."""
    infos = list(classes)
    for name in names:
        if name not in classes.names:
            infos.append(ClassInfo(max(c.value for c in infos) + 1, name))
    return ClassTable(tuple(infos))


def label_indices(labels: NDArray[np.object_], classes: ClassTable, spec: Spec) -> NDArray[np.int64]:
    """Turn what people wrote into class indices; ``IGNORE_INDEX`` where they wrote nothing.

    Raises:
        BadLabels: When a label is no class, or labels are missing.
    """
    known = {str(v): i for i, v in enumerate(classes.values)}
    known |= {name.strip().casefold(): i for i, name in enumerate(classes.names)}
    found, strange = np.full(len(labels), IGNORE_INDEX, dtype=np.int64), set()
    for i, label in enumerate(labels):
        text = _text(label)
        if text in known:
            found[i] = known[text]
        elif text:
            strange.add(str(label))
    if strange:
        raise BadLabels(
            explain(
                f"the column {spec.reference_column!r} holds what is no class of the map",
                where=spec.sample,
                got=", ".join(sorted(strange)[:8]),
                expected=", ".join(f"{c.name!r} ({c.value})" for c in classes),
                fix="mend the spelling, or name classes that only the reference has as extra_classes",
            )
        )
    empty = int((found < 0).sum())
    if empty == len(found) or (empty and spec.unlabelled == "refuse"):
        raise BadLabels(
            explain(
                f"{empty} of {len(found)} points have no reference class yet",
                where=f"{spec.sample}, column {spec.reference_column!r}",
                fix="label them all"
                + (
                    ""
                    if empty == len(found)
                    else "; for those that nobody can label, unlabelled=drop says so in the report"
                ),
            )
        )
    return found


def _text(label: Any) -> str:
    if label is None or (isinstance(label, float) and math.isnan(label)) or label is pd.NA:
        return ""
    if isinstance(label, (float, np.floating)) and float(label).is_integer():
        return str(int(label))
    return str(label).strip().casefold()
