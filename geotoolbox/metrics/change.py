"""What became what between two dates: transitions counted from two maps, or estimated from a sample.

Two maps compared pixel by pixel show change wherever either of them errs, so counted transitions have no honest
interval. Areas of change with intervals come from a probability sample whose points were labelled for both dates.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geotoolbox.core.events import SILENT, Reporter
from geotoolbox.core.query import Region
from geotoolbox.errors import BadInput, CannotAlign, explain
from geotoolbox.metrics.estimators import DesignSample, Estimate, estimate_cells, estimate_ratio, z_value
from geotoolbox.metrics.maps import compare_maps
from geotoolbox.metrics.pairs import LabelLayer

__all__ = ["TransitionEstimate", "TransitionMatrix", "count_transitions", "estimate_transitions"]

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class TransitionMatrix:
    """Transitions counted from two maps.

    Attributes:
        names: The K classes of both maps.
        pixels: (K, K) pixels; row = class before, column = class after.
        area_ha: (K, K) their true ground area; NaN without a CRS.
        notes: What the reader must know.
    """

    names: tuple[str, ...]
    pixels: NDArray[np.int64]
    area_ha: Floats
    notes: tuple[str, ...] = ()

    @property
    def changed_ha(self) -> float:
        """The ground that the two maps class differently."""
        return float(self.area_ha.sum() - np.trace(self.area_ha))

    @property
    def losses_ha(self) -> Floats:
        """(K,) ground that each class lost."""
        return np.asarray(self.area_ha.sum(axis=1) - np.diag(self.area_ha))

    @property
    def gains_ha(self) -> Floats:
        """(K,) ground that each class gained."""
        return np.asarray(self.area_ha.sum(axis=0) - np.diag(self.area_ha))

    def to_json(self) -> dict[str, Any]:
        """Return plain data; NaN becomes null."""
        return {
            "classes": list(self.names),
            "rows": "before",
            "pixels": self.pixels.tolist(),
            "area_ha": _nested(self.area_ha),
            "notes": list(self.notes),
        }


@dataclass(frozen=True, slots=True)
class TransitionEstimate:
    """Transitions estimated from a probability sample.

    Attributes:
        names: The K classes.
        area_ha: (K, K) estimated areas; row = class before, column = class after.
        standard_error_ha: (K, K) their standard errors.
        low_ha: (K, K) lower bounds of the intervals.
        high_ha: (K, K) upper bounds.
        changed_ha: All ground that changed its class.
        net_ha: The net gain of each class (after minus before).
        confidence_percent: The level of all intervals.
    """

    names: tuple[str, ...]
    area_ha: Floats
    standard_error_ha: Floats
    low_ha: Floats
    high_ha: Floats
    changed_ha: Estimate
    net_ha: tuple[Estimate, ...]
    confidence_percent: float

    def to_json(self) -> dict[str, Any]:
        """Return plain data; NaN becomes null."""
        return {
            "classes": list(self.names),
            "rows": "before",
            "confidence_percent": self.confidence_percent,
            "area_ha": _nested(self.area_ha),
            "standard_error_ha": _nested(self.standard_error_ha),
            "low_ha": _nested(self.low_ha),
            "high_ha": _nested(self.high_ha),
            "changed_ha": self.changed_ha.to_json(),
            "net_ha": {n: e.to_json() for n, e in zip(self.names, self.net_ha, strict=True)},
        }


def count_transitions(
    before: LabelLayer,
    after: LabelLayer,
    *,
    region: Region | None = None,
    align: bool = False,
    reporter: Reporter = SILENT,
) -> TransitionMatrix:
    """Count what became what between two class maps, in bounded memory.

    Args:
        before: The earlier map.
        after: The later map, on whose grid both are compared.
        region: Count only inside this area.
        align: Whether maps on different grids may be compared, the earlier one read onto the grid of the later
            one (nearest pixel). Such shifts look like change along every edge, so this is a choice.
        reporter: Hears of the progress, and can cancel.

    Raises:
        CannotAlign: When the maps are on different grids and ``align`` is false.
        BadLabels: When a map has no classes, or they have none in common.
        NoOverlap: When no pixel has a class on both maps.
    """
    notes = [
        "Transitions counted from two maps contain the errors of both: estimate areas of change from a probability sample."
    ]
    if not _same_grid(before, after):
        if not align:
            raise CannotAlign(
                explain(
                    "the two maps are on different pixel grids",
                    got=_grids(before),
                    expected=_grids(after),
                    fix="bring one onto the grid of the other (geotoolbox stack), or pass align=True and take change "
                    "along edges for what it is",
                )
            )
        notes.append(
            "The earlier map was read onto the grid of the later one; part of the change along edges is due to it."
        )
    found = compare_maps(after, before, region=region, reporter=reporter)
    return TransitionMatrix(
        found.classes.names, found.confusion.counts, found.confusion_m2 / 10_000, tuple(notes)
    )


def estimate_transitions(
    sample: DesignSample,
    names: Sequence[str],
    *,
    total_area_ha: float,
    confidence_percent: float = 95.0,
    finite_population: bool = False,
) -> TransitionEstimate:
    """Estimate areas of transitions with intervals, from points labelled for both dates.

    Args:
        sample: A probability sample whose points count by stratum, reference class *before* (in the place of the
            map class) and reference class *after*: ``DesignSample.from_points(stratum, before, after, …)``.
        names: The K classes.
        total_area_ha: The ground that the strata cover.
        confidence_percent: The level of the intervals.
        finite_population: Apply the finite-population correction.

    Raises:
        BadInput: When names and sample do not fit, or the sample is one of a map's accuracy.
    """
    k = sample.num_classes
    if len(names) != k:
        raise BadInput(explain("class names and sample do not fit", got=len(names), expected=k))
    if sample.by_map_class:
        raise BadInput(
            explain(
                "this sample counts map classes, not reference classes before",
                fix="DesignSample.from_points(stratum, before, after, …) with by_map_class=False",
            )
        )
    z = z_value(confidence_percent)
    share, error = estimate_cells(sample, finite_population=finite_population)
    area, spread = share * total_area_ha, error * total_area_ha
    own = np.eye(k)

    def mean(values: Floats) -> Estimate:
        one = estimate_ratio(sample, values, z=z, finite_population=finite_population)
        return one.scaled(total_area_ha)

    return TransitionEstimate(
        names=tuple(names),
        area_ha=area,
        standard_error_ha=spread,
        low_ha=area - z * spread,
        high_ha=area + z * spread,
        changed_ha=mean(1 - own),
        net_ha=tuple(mean(own[None, i] * np.ones((k, 1)) - own[:, i, None] * np.ones(k)) for i in range(k)),
        confidence_percent=confidence_percent,
    )


def _same_grid(first: LabelLayer, second: LabelLayer) -> bool:
    boxes = [[s.geobox for s in layer.scenes()] for layer in (first, second)]
    return len(boxes[0]) == len(boxes[1]) and all(a in boxes[1] for a in boxes[0])


def _grids(layer: LabelLayer) -> str:
    boxes = [s.geobox for s in layer.scenes()]
    return "; ".join(f"{b.shape[1]} × {b.shape[0]} px, {b.crs}, {tuple(b.affine)[:6]}" for b in boxes[:2])


def _nested(matrix: Floats) -> list[list[float | None]]:
    return [[None if math.isnan(v) else float(v) for v in row] for row in matrix]
