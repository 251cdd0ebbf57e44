"""Accuracy and area from a probability sample (Olofsson et al. 2013, 2014; Stehman 2014)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geotoolbox.core.classes import ClassTable
from geotoolbox.errors import BadInput, explain
from geotoolbox.metrics.agreement import Disagreement, cohen_kappa, disagreement
from geotoolbox.metrics.areas import AreaEstimate
from geotoolbox.metrics.estimators import DesignSample, Estimate, estimate_cells, estimate_ratio, z_value

__all__ = ["ACCURACY_MEANINGS", "AccuracyEstimate", "assess_accuracy"]

Floats = NDArray[np.float64]

ACCURACY_MEANINGS = {
    "overall_accuracy": "The share of the mapped ground that the map got right.",
    "users_accuracy": "Of the ground that the map calls this class, the share that truly is (1 − commission error).",
    "producers_accuracy": "Of the ground that truly is this class, the share that the map found (1 − omission error).",
    "f1": "The harmonic mean of user's and producer's accuracy.",
    "iou": "Ground where map and reference both say this class, over ground where either does.",
    "area": "How much ground truly is this class, with the map's errors set right by the sample.",
    "map_area": "What counting the map's pixels gives: biased by the map's errors, and without an interval.",
    "quantity": "Disagreement because classes have the wrong total area on the map.",
    "allocation": "Disagreement because classes stand in the wrong place on the map.",
    "interval": "If the sampling were repeated many times, about this share of such intervals would hold the truth.",
}
"""What each number means, in one sentence."""


@dataclass(frozen=True, slots=True)
class AccuracyEstimate:
    """Accuracy and area of a map, estimated from a probability sample.

    Attributes:
        names: The K classes.
        points: (K, K) sample points; row = map, column = reference. Counts of the sample, not of the map.
        shares: (K, K) the area-adjusted error matrix: shares of the ground, which sum to 1.
        share_errors: (K, K) the standard errors of ``shares``.
        overall: Overall accuracy.
        users: User's accuracy of each class.
        producers: Producer's accuracy of each class.
        f1: F1 of each class.
        iou: Intersection over union of each class.
        area_shares: Share of the ground that truly is each class.
        total_area_ha: The ground that the sample stands for; NaN where not known.
        map_shares: Share of the ground that the map gives to each class, where known (else estimated).
        confidence_percent: The level of all intervals.
        notes: What the reader must know.
    """

    names: tuple[str, ...]
    points: NDArray[np.int64]
    shares: Floats
    share_errors: Floats
    overall: Estimate
    users: tuple[Estimate, ...]
    producers: tuple[Estimate, ...]
    f1: tuple[Estimate, ...]
    iou: tuple[Estimate, ...]
    area_shares: tuple[Estimate, ...]
    total_area_ha: float
    map_shares: tuple[float, ...]
    confidence_percent: float
    notes: tuple[str, ...] = ()

    @property
    def areas_ha(self) -> tuple[Estimate, ...]:
        """The area of each class in hectares."""
        return tuple(e.scaled(self.total_area_ha) for e in self.area_shares)

    @property
    def disagreement(self) -> Disagreement:
        """Quantity and allocation disagreement, on the area-adjusted matrix."""
        return disagreement(self.shares)

    @property
    def kappa(self) -> float:
        """Kappa on the area-adjusted matrix; read :data:`geotoolbox.metrics.KAPPA_NOTE` first."""
        return cohen_kappa(self.shares)

    def area_estimates(self, classes: ClassTable) -> tuple[AreaEstimate, ...]:
        """Return the areas with colours, for figures."""
        rows = zip(self.names, classes.colors, self.areas_ha, self.map_shares, strict=True)
        return tuple(
            AreaEstimate(name, color, a.value, a.low, a.high, share * self.total_area_ha)
            for name, color, a, share in rows
        )

    def to_json(self) -> dict[str, Any]:
        """Return plain data; NaN becomes null, with a reason beside it."""
        split = self.disagreement
        rows = []
        for i, name in enumerate(self.names):
            rows.append(
                {
                    "name": name,
                    "points_mapped": int(self.points[i].sum()),
                    "points_reference": int(self.points[:, i].sum()),
                    "users_accuracy": self.users[i].to_json(),
                    "producers_accuracy": self.producers[i].to_json(),
                    "f1": self.f1[i].to_json(),
                    "iou": self.iou[i].to_json(),
                    "area_share": self.area_shares[i].to_json(),
                    "area_ha": self.areas_ha[i].to_json(),
                    "map_area_share": _null(self.map_shares[i]),
                    "map_area_ha": _null(self.map_shares[i] * self.total_area_ha),
                }
            )
        return {
            "points": int(self.points.sum()),
            "confidence_percent": self.confidence_percent,
            "total_area_ha": _null(self.total_area_ha),
            "overall_accuracy": self.overall.to_json(),
            "quantity_disagreement": _null(split.quantity),
            "allocation_disagreement": _null(split.allocation),
            "classes": rows,
            "point_matrix": self.points.tolist(),
            "area_matrix": _nested(self.shares),
            "area_matrix_standard_errors": _nested(self.share_errors),
            "matrix_rows": "map",
            "notes": list(self.notes),
        }


def assess_accuracy(
    sample: DesignSample,
    names: Sequence[str],
    *,
    total_area_ha: float = math.nan,
    map_shares: Sequence[float] | None = None,
    confidence_percent: float = 95.0,
    finite_population: bool = False,
) -> AccuracyEstimate:
    """Estimate accuracy and areas from a labelled probability sample.

    Args:
        sample: The labelled points, counted, with the sizes of their strata.
        names: The K classes.
        total_area_ha: The ground that the strata cover, in hectares.
        map_shares: Share of that ground that the map gives to each class; where None, the strata's
            shares (they are the map's classes) or what the sample says.
        confidence_percent: The level of the intervals; 95 uses 1.96 standard errors.
        finite_population: Apply the finite-population correction (Stehman 2014; Olofsson et al. do not).

    Returns:
        All estimates; NaN with a reason where the sample cannot tell.

    Raises:
        BadInput: When names and sample do not fit.

    Example:
        >>> counts = np.array([[97, 0, 3], [3, 279, 18], [2, 1, 97]])
        >>> sample = DesignSample.from_matrix(counts, np.array([22353, 1122543, 610228]))
        >>> found = assess_accuracy(sample, ["deforestation", "forest", "other"])
        >>> round(found.overall.value, 6), round(found.overall.half_width, 6)
        (0.944417, 0.021882)
    """
    k = sample.num_classes
    if len(names) != k:
        raise BadInput(explain("class names and sample do not fit", got=len(names), expected=k))
    if sample.by_map_class:
        sample = replace(sample, strata=tuple(names))
    ratios = _Ratios(sample, z_value(confidence_percent), finite_population)
    shares, errors = estimate_cells(sample, finite_population=finite_population)
    users, producers, areas = ratios.users(), ratios.producers(), ratios.areas()
    return AccuracyEstimate(
        names=tuple(names),
        points=sample.counts.sum(axis=0),
        shares=shares,
        share_errors=errors,
        overall=ratios.of(np.eye(k)),
        users=users,
        producers=producers,
        f1=ratios.overlaps(2.0),
        iou=ratios.overlaps(1.0),
        area_shares=areas,
        total_area_ha=total_area_ha,
        map_shares=_map_shares(sample, shares) if map_shares is None else tuple(map(float, map_shares)),
        confidence_percent=confidence_percent,
        notes=_notes(sample, names, users, producers, areas),
    )


_NO_MAP, _NO_TRUTH = "no sample point has this map class", "no sample point has this reference class"
_NOT_MET = "no point was of this class"


@dataclass(frozen=True, slots=True)
class _Ratios:
    """Every accuracy as a ratio: what of each cell of the (K, K) matrix counts above and below the line."""

    sample: DesignSample
    z: float
    finite_population: bool

    @property
    def mapped(self) -> list[Floats]:
        """For each class, 1 in the cells that the map calls so."""
        own = np.eye(self.sample.num_classes)
        return [np.outer(row, np.ones(len(own))) for row in own]

    @property
    def truly(self) -> list[Floats]:
        """For each class, 1 in the cells that truly are so."""
        return [cells.T for cells in self.mapped]

    def of(
        self, above: Floats, below: Floats | None = None, why: str = "", only: int | None = None
    ) -> Estimate:
        """Estimate a mean or a ratio."""
        return estimate_ratio(
            self.sample,
            above,
            below,
            z=self.z,
            finite_population=self.finite_population,
            only=only,
            undefined=why,
        )

    def users(self) -> tuple[Estimate, ...]:
        """User's accuracy; where strata are map classes, all of a class lies in its own stratum."""
        own = self.sample.by_map_class
        rows = enumerate(zip(self.mapped, self.truly, strict=True))
        return tuple(self.of(m * t, m, _NO_MAP, i if own else None) for i, (m, t) in rows)

    def producers(self) -> tuple[Estimate, ...]:
        """Producer's accuracy."""
        return tuple(self.of(m * t, t, _NO_TRUTH) for m, t in zip(self.mapped, self.truly, strict=True))

    def areas(self) -> tuple[Estimate, ...]:
        """The share of the ground of each class; unknown, and not 0, where no point met it and ground was left out."""
        met = self.sample.counts.sum(axis=(0, 1)) > 0
        whole = not self.sample.open_fraction(self.finite_population)[self.sample.stratum_sizes > 0].any()
        unknown = Estimate(math.nan, math.nan, math.nan, math.nan, _NOT_MET)
        found = [self.of(truly) for truly in self.truly]
        return tuple(
            one if known or whole or math.isnan(one.value) else unknown
            for one, known in zip(found, met, strict=True)
        )

    def overlaps(self, weight: float) -> tuple[Estimate, ...]:
        """F1 (weight 2) or IoU (weight 1): undefined where no point truly is of the class."""
        present = self.sample.counts.sum(axis=(0, 1)) > 0
        unknown = Estimate(math.nan, math.nan, math.nan, math.nan, _NO_TRUTH)
        return tuple(
            self.of(weight * m * t, m + t + (weight - 2) * m * t) if known else unknown
            for known, m, t in zip(present, self.mapped, self.truly, strict=True)
        )


def _map_shares(sample: DesignSample, shares: Floats) -> tuple[float, ...]:
    if sample.by_map_class:
        return tuple(map(float, sample.stratum_sizes / sample.stratum_sizes.sum()))
    return tuple(map(float, shares.sum(axis=1)))


def _notes(
    sample: DesignSample,
    names: Sequence[str],
    users: Sequence[Estimate],
    producers: Sequence[Estimate],
    areas: Sequence[Estimate],
) -> tuple[str, ...]:
    kinds = (("User's", users), ("Producer's", producers))
    notes = [text for what, row in kinds if (text := _reasons(f"{what} accuracy", names, row))]
    certain = [
        f"{name} ({int(n)} points)"
        for name, n, e in zip(names, sample.counts.sum(axis=(0, 2)), users, strict=True)
        if e.standard_error == 0 and not e.reason
    ]
    if certain:
        notes.append(
            "All points of a map class agree, or none does, so its standard error comes out as 0, which is too good: "
            f"{', '.join(certain)}. With n points and no error, up to about 3/n of the class may still be wrong."
        )
    wide = [
        name
        for name, u, p in zip(names, users, producers, strict=True)
        if any(e.low < 0 or e.high > 1 for e in (u, p) if e.standard_error > 0)
    ]
    if wide:
        notes.append(
            f"Intervals that reach below 0 or above 1 show that the sample is small for: {', '.join(wide)}. "
            "They are left as the formulas give them."
        )
    below = [n for n, e in zip(names, areas, strict=True) if e.low < 0]
    if below:
        notes.append(
            f"The area's interval reaches below 0 for: {', '.join(below)}. It is left as the formula gives it, the estimate "
            "± its half-width, as in Olofsson et al. (2014); no area is below 0, so the sample is too small for this class."
        )
    return tuple(notes)


def _reasons(what: str, names: Sequence[str], row: Sequence[Estimate]) -> str:
    """Say in one sentence why some classes have no number, those with the same reason together."""
    groups: dict[str, list[str]] = {}
    for name, one in zip(names, row, strict=True):
        if one.reason:
            groups.setdefault(one.reason, []).append(name)
    said = "; of ".join(f"{', '.join(members)}: {why}" for why, members in groups.items())
    return f"{what} of {said}." if said else ""


def _null(value: float) -> float | None:
    return None if math.isnan(value) else float(value)


def _nested(matrix: Floats) -> list[list[float | None]]:
    return [[_null(v) for v in row] for row in matrix]
