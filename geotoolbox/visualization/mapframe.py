"""What makes a drawing a map: map units on the axes, a scale bar of true length, an arrow to true north."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from matplotlib.axes import Axes
from matplotlib.offsetbox import AnchoredOffsetbox, AuxTransformBox, TextArea, VPacker
from matplotlib.patches import Rectangle
from matplotlib.text import OffsetFrom
from matplotlib.ticker import FuncFormatter, MaxNLocator
from pyproj import CRS, Geod, Transformer

from geotoolbox.errors import BadInput, explain
from geotoolbox.visualization.style import LIGHT, Theme, halo, label_outside

__all__ = ["Bounds", "add_north_arrow", "add_scale_bar", "fit_map", "true_north_degrees"]

Bounds = tuple[float, float, float, float]
_GEOD = Geod(ellps="WGS84")
_KM_FROM_M = 5000.0


def add_scale_bar(ax: Axes, crs: str, *, theme: Theme = LIGHT) -> Axes:
    """Add a scale bar of a round length, measured on the ellipsoid in the middle of the map.

    Args:
        ax: Axes in units of ``crs``; their limits must be set.
        crs: The CRS of the axes.
        theme: Colours of lines and text.
    """
    (left, right), (bottom, top) = ax.get_xlim(), ax.get_ylim()
    metres = _metres_per_unit((left + right) / 2, (bottom + top) / 2, abs(right - left), crs)
    length_m = _round_length(abs(right - left) * metres / 4)
    label = f"{length_m / 1000:g} km" if length_m >= 1000 else f"{length_m:g} m"
    bar = AuxTransformBox(ax.transData)
    style: dict[str, Any] = {"linewidth": 0.8, "edgecolor": theme.ink}
    half, thick = length_m / metres / 2, abs(top - bottom) * 0.011
    bar.add_artist(Rectangle((0, 0), half, thick, facecolor=theme.ink, **style))
    bar.add_artist(Rectangle((half, 0), half, thick, facecolor=theme.surface, **style))
    text = TextArea(label, textprops={"color": theme.ink, "fontsize": 8.5})
    packed = VPacker(children=[text, bar], align="center", pad=0, sep=2)
    box = AnchoredOffsetbox("lower left", child=packed, pad=0.35, borderpad=0.5, frameon=True)
    box.patch.set(
        facecolor=theme.surface, edgecolor="none", alpha=0.8, boxstyle="round,pad=0,rounding_size=0.3"
    )
    box.set_label("scale bar")
    box.set_zorder(6)
    ax.add_artist(box)
    return ax


def add_north_arrow(ax: Axes, crs: str, *, theme: Theme = LIGHT) -> Axes:
    """Add an arrow to true north; in most projections that is not quite up.

    Args:
        ax: Axes in units of ``crs``; their limits must be set.
        crs: The CRS of the axes.
        theme: Colours of lines and text.
    """
    (left, right), (bottom, top) = ax.get_xlim(), ax.get_ylim()
    turn = math.radians(true_north_degrees((left + right) / 2, (bottom + top) / 2, crs))
    corner = OffsetFrom(ax.patch, (1, 1), unit="points")
    along = (-math.sin(turn), math.cos(turn))
    foot, tip, name = ((-13 + r * along[0], -23 + r * along[1]) for r in (-9, 9, 14))
    ax.annotate(
        "", xy=tip, xycoords=corner, xytext=foot, textcoords=corner, zorder=7, annotation_clip=False,
        arrowprops={"arrowstyle": "-|>", "color": theme.ink, "linewidth": 1.3, "shrinkA": 0, "shrinkB": 0,
                    "path_effects": halo(theme, 3)},
    )  # fmt: skip
    ax.annotate(
        "N", xy=name, xycoords=corner, xytext=name, textcoords=corner, fontsize=8.5, fontweight="bold",
        color=theme.ink, ha="center", va="center", path_effects=halo(theme, 3), zorder=7, annotation_clip=False,
    )  # fmt: skip
    return ax


def true_north_degrees(x: float, y: float, crs: str) -> float:
    """Return by how much true north is turned from the map's "up" at a point, anticlockwise; 0 where unknown.

    Example:
        >>> true_north_degrees(500_000, 5_000_000, "EPSG:32632")  # on the zone's middle meridian
        0.0
        >>> round(true_north_degrees(700_000, 5_000_000, "EPSG:32632"), 2)  # east of it
        1.8
    """
    if CRS(crs).is_geographic:
        return 0.0
    there = Transformer.from_crs(crs, "EPSG:4326", always_xy=True)
    lon, lat = there.transform(x, y)
    step = 1e-3 if lat < 89.9 else -1e-3
    x2, y2 = there.transform(lon, lat + step, direction="INVERSE")
    turn = math.degrees(math.atan2(-(x2 - x) * step, (y2 - y) * step))
    return round(turn, 6) + 0.0 if math.isfinite(turn) else 0.0


def fit_map(ax: Axes, bounds: Bounds, crs: str, *, theme: Theme = LIGHT, margin: float = 0.0) -> Axes:
    """Turn axes into a map: limits, true shape, map units, a scale bar and an arrow to true north.

    Args:
        ax: The axes.
        bounds: (left, bottom, right, top) to show, in units of ``crs``.
        crs: The CRS of the axes.
        theme: Colours of lines and text.
        margin: What to leave free around, as a share of the extent.
    """
    left, bottom, right, top = bounds
    if not (right > left and top > bottom):
        raise BadInput(
            explain("these bounds have no extent", got=bounds, expected="left < right and bottom < top")
        )
    aside, above = margin * (right - left), margin * (top - bottom)
    ax.set_xlim(left - aside, right + aside)
    ax.set_ylim(bottom - above, top + above)
    system = CRS(crs)
    shrink = math.cos(math.radians((bottom + top) / 2)) if system.is_geographic else 1.0
    ax.set_aspect(1 / max(shrink, 0.01))
    for spine in ax.spines.values():
        spine.set_visible(True)
    _units(ax, system, max(right - left, top - bottom), theme)
    add_scale_bar(ax, crs, theme=theme)
    return add_north_arrow(ax, crs, theme=theme)


def _units(ax: Axes, system: CRS, extent: float, theme: Theme) -> None:
    unit = system.axis_info[0].unit_name if system.axis_info else ""
    names = ("Easting", "Northing")
    write: Callable[[float, int], str] = lambda v, _: f"{v:,.10g}".replace(",", "\u202f")  # noqa: E731
    if system.is_geographic:
        names, unit = ("Longitude", "Latitude"), ""
        write = lambda v, _: f"{v:.6g}°"  # noqa: E731
    elif unit == "metre" and extent >= _KM_FROM_M:
        unit = "km"
        write = lambda v, _: f"{v / 1000:,.10g}".replace(",", "\u202f")  # noqa: E731
    elif unit == "metre":
        unit = "m"
    for axis in (ax.xaxis, ax.yaxis):
        axis.set_major_locator(MaxNLocator(4, steps=[1, 2, 5, 10]))
        axis.set_major_formatter(FuncFormatter(write))
    ax.tick_params(labelsize=8)
    ax.tick_params(axis="y", labelrotation=90)
    for label in ax.get_yticklabels():
        label.set_verticalalignment("center")
    text = [f"{n} ({unit})" if unit else n for n in names]
    label_outside(ax, theme, text[0], text[1])


def _round_length(metres: float) -> float:
    """Return the largest of 1, 2, 5 × 10ⁿ that is not longer.

    Example:
        >>> _round_length(1234), _round_length(60)
        (1000, 50)
    """
    power = 10 ** math.floor(math.log10(max(metres, 1e-9)))
    return max(f * power for f in (1, 2, 5) if f * power <= metres * (1 + 1e-9))


def _metres_per_unit(x: float, y: float, width: float, crs: str) -> float:
    """Measure on the ellipsoid how long a unit is, west to east, around a point."""
    to_lonlat = Transformer.from_crs(crs, "EPSG:4326", always_xy=True)
    step = width / 1000
    lon, lat = to_lonlat.transform([x - step / 2, x + step / 2], [y, y])
    _, _, metres = _GEOD.inv(lon[0], lat[0], lon[1], lat[1])
    if not math.isfinite(metres) or metres <= 0:
        raise BadInput(explain("the CRS does not hold in the middle of this map", got=f"({x:g}, {y:g}) in {crs}",
                               expected="coordinates within the CRS"))  # fmt: skip
    return float(metres) / step
