"""The area of a class, with its confidence interval: what figures and reports show."""

from __future__ import annotations

from dataclasses import dataclass

from geotoolbox.core.classes import Color

__all__ = ["AreaEstimate"]


@dataclass(frozen=True, slots=True)
class AreaEstimate:
    """The area of one class, estimated from a probability sample.

    Attributes:
        name: The class.
        color: Its colour (RGB, 0–255).
        area_ha: The estimate, in hectares; NaN where undefined.
        ci_low: The lower bound of the confidence interval, in hectares; below 0 when the sample is too small.
        ci_high: The upper bound, in hectares.
        map_area_ha: What counting the map's pixels gives, in hectares.

    Example:
        >>> AreaEstimate("water", (38, 110, 190), 120.0, 90.0, 150.0, 80.0).area_ha
        120.0
    """

    name: str
    color: Color
    area_ha: float
    ci_low: float
    ci_high: float
    map_area_ha: float
