"""Maps of areas and patches: footprints, splits, a scale bar and a north arrow."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.patches import Patch, PathPatch
from matplotlib.path import Path
from pyproj import CRS, Geod, Transformer
from shapely import get_parts
from shapely.geometry.base import BaseGeometry

from geotoolbox.errors import BadInput, explain
from geotoolbox.visualization.style import ACCENT, LIGHT, Theme, new_axes, plain

__all__ = ["add_scale_bar", "plot_areas", "plot_footprints"]

_FILLS = (ACCENT, "#e69f00", "#d55e00", "#8a6fb3", "#009e73")


def plot_areas(
    areas: Mapping[str, BaseGeometry],
    crs: str,
    *,
    footprints: Sequence[BaseGeometry] = (),
    ax: Axes | None = None,
    theme: Theme = LIGHT,
) -> Axes:
    """Draw named areas, such as a spatial split, over the outlines of the scenes.

    Args:
        areas: Polygons by name.
        crs: The CRS of all geometries.
        footprints: Outlines drawn below.
        ax: Where to draw; a new figure when None.
        theme: Colours of lines and text.
    """
    ax = _map_axes([*areas.values(), *footprints], crs, ax, theme)
    for shape in footprints:
        _add(ax, shape, facecolor="none", edgecolor=theme.muted, linewidth=0.8)
    handles = []
    for number, (name, shape) in enumerate(areas.items()):
        color = _FILLS[number % len(_FILLS)]
        _add(ax, shape, facecolor=color, alpha=0.55, edgecolor=color, linewidth=0.6)
        handles.append(Patch(facecolor=color, alpha=0.7, label=plain(name)))
    ax.legend(handles=handles, loc="upper left", bbox_to_anchor=(1.02, 1), frameon=False, fontsize=9,
              labelcolor=theme.ink, borderaxespad=0)  # fmt: skip
    return ax


def plot_footprints(
    footprints: Sequence[BaseGeometry],
    crs: str,
    *,
    patches: Sequence[BaseGeometry] = (),
    ax: Axes | None = None,
    theme: Theme = LIGHT,
) -> Axes:
    """Draw the footprints of scenes, and the patches that a sampler drew from them.

    Args:
        footprints: Polygons of valid data.
        crs: The CRS of all geometries.
        patches: The drawn windows; dense where many lie.
        ax: Where to draw; a new figure when None.
        theme: Colours of lines and text.
    """
    ax = _map_axes([*footprints, *patches], crs, ax, theme)
    for shape in footprints:
        _add(ax, shape, facecolor="none", edgecolor=theme.muted, linewidth=1.0)
    strength = max(0.04, min(0.35, 12 / max(len(patches), 1)))
    for shape in patches:
        _add(ax, shape, facecolor=ACCENT, alpha=strength, edgecolor=ACCENT, linewidth=0.5)
    return ax


def add_scale_bar(ax: Axes, metres_per_unit: float, theme: Theme = LIGHT) -> Axes:
    """Add a scale bar of a round length, and a north arrow (map north is up)."""
    left, right = ax.get_xlim()
    width_m = abs(right - left) * metres_per_unit
    length_m = _round_length(width_m / 4)
    share = length_m / width_m
    label = f"{length_m / 1000:g} km" if length_m >= 1000 else f"{length_m:g} m"
    style: dict[str, Any] = {"transform": ax.transAxes, "clip_on": False, "color": theme.ink}
    ax.plot([0, share], [-0.06, -0.06], linewidth=2.2, solid_capstyle="butt", **style)
    ax.text(share + 0.015, -0.06, label, va="center", fontsize=8.5, **style)
    arrow = {"arrowstyle": "-|>", "color": theme.ink, "linewidth": 0.9}
    ax.annotate("", xy=(0.985, -0.02), xytext=(0.985, -0.1), xycoords="axes fraction", annotation_clip=False,
                arrowprops=arrow)  # fmt: skip
    ax.text(0.965, -0.06, "N", ha="right", va="center", fontsize=8.5, **style)
    return ax


def _round_length(metres: float) -> float:
    """Return the largest of 1, 2, 5 × 10ⁿ that is not longer.

    Example:
        >>> _round_length(1234), _round_length(60)
        (1000, 50)
    """
    power = 10 ** math.floor(math.log10(max(metres, 1e-9)))
    return max(f * power for f in (1, 2, 5) if f * power <= metres * (1 + 1e-9))


def _map_axes(shapes: Sequence[BaseGeometry], crs: str, ax: Axes | None, theme: Theme) -> Axes:
    known = [s.bounds for s in shapes if not s.is_empty]
    if not known:
        raise BadInput(explain("there is nothing to draw", got="no or empty geometries", expected="polygons"))
    low, high = np.min(known, axis=0)[:2], np.max(known, axis=0)[2:]
    span = np.maximum(high - low, 1e-9)
    degrees = CRS(crs).is_geographic
    shrink = math.cos(math.radians(float(low[1] + high[1]) / 2)) if degrees else 1.0
    ratio = float(span[1] / (span[0] * shrink))
    ax = new_axes(ax, theme, (6.2, max(1.8, min(3.8, 4.4 * ratio) + 0.4)))
    ax.set_xlim(low[0] - 0.02 * span[0], high[0] + 0.02 * span[0])
    ax.set_ylim(low[1] - 0.02 * span[1], high[1] + 0.02 * span[1])
    ax.set_aspect(1 / max(shrink, 0.01))
    ax.set_xticks([])
    ax.set_yticks([])
    for spine in ax.spines.values():
        spine.set_visible(True)
    middle = (float(low[0] + high[0]) / 2, float(low[1] + high[1]) / 2)
    return add_scale_bar(ax, _metres_per_unit(middle, float(span[0]), crs), theme)


def _metres_per_unit(middle: tuple[float, float], width: float, crs: str) -> float:
    """Measure on the ellipsoid how long a unit is, west to east, in the middle of the map."""
    to_lonlat = Transformer.from_crs(crs, "EPSG:4326", always_xy=True)
    step = width / 1000
    lon, lat = to_lonlat.transform([middle[0], middle[0] + step], [middle[1], middle[1]])
    _, _, metres = Geod(ellps="WGS84").inv(lon[0], lat[0], lon[1], lat[1])
    return float(metres) / step


def _add(ax: Axes, shape: BaseGeometry, **style: Any) -> None:
    for part in get_parts(shape):
        if part.geom_type != "Polygon":
            continue
        rings = [np.asarray(r.coords)[:, :2] for r in (part.exterior, *part.interiors)]
        path = Path.make_compound_path(*(Path(r, closed=True) for r in rings))
        ax.add_patch(PathPatch(path, **style))
