"""Maps: the spatial split, the patches drawn from a scene, and a score in each block."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import PathCollection
from matplotlib.colors import Normalize
from matplotlib.patches import Patch, PathPatch
from matplotlib.path import Path
from numpy.typing import NDArray
from shapely import get_parts
from shapely.geometry.base import BaseGeometry
from shapely.geometry.polygon import orient

from geotoolbox.errors import BadInput, explain
from geotoolbox.visualization.mapframe import Bounds, fit_map
from geotoolbox.visualization.style import (
    ACCENT,
    LIGHT,
    SERIES,
    Theme,
    figure_of,
    legend_right,
    new_axes,
    plain,
)

__all__ = ["Backdrop", "plot_areas", "plot_block_scores", "plot_footprints"]

_MANY = 500  # from so many blocks on, a vector drawing would be large
# Each area has a hatching of its own too, for print without colour.
_FILLS = ((SERIES[0], ""), (SERIES[1], "////"), (SERIES[2], "...."), (SERIES[3], "xxxx"), (SERIES[4], "----"))


@dataclass(frozen=True, slots=True)
class Backdrop:
    """A picture below a map: (H, W, 4) RGBA (as :func:`stretch` makes it), and its bounds in the map's CRS."""

    rgba: NDArray[np.uint8]
    bounds: Bounds


def plot_areas(
    areas: Mapping[str, BaseGeometry],
    crs: str,
    *,
    footprints: Sequence[BaseGeometry] = (),
    backdrop: Backdrop | None = None,
    ax: Axes | None = None,
    theme: Theme = LIGHT,
) -> Axes:
    """Draw named areas, such as a spatial split, over the scene.

    Args:
        areas: Polygons by name.
        crs: The CRS of all geometries.
        footprints: Outlines of the scenes.
        backdrop: The scene itself, below.
        ax: Where to draw; a new figure when None.
        theme: Colours of lines and text.

    Raises:
        BadInput: When there is nothing to draw.
    """
    ax = _map_axes([*areas.values(), *footprints], crs, backdrop, ax, theme)
    for shape in footprints:
        _add(ax, shape, facecolor="none", edgecolor=theme.muted, linewidth=0.6)
    handles = (
        [Patch(facecolor="none", edgecolor=theme.muted, linewidth=0.8, label="footprint")]
        if footprints
        else []
    )
    for number, (name, shape) in enumerate(areas.items()):
        color, hatch = _FILLS[number % len(_FILLS)]
        look: dict[str, Any] = {
            "facecolor": (color, 0.5),
            "edgecolor": color,
            "linewidth": 0.9,
            "hatch": hatch,
        }
        _add(ax, shape, **look)
        handles.append(Patch(label=plain(name), **look))
    legend_right(ax, theme, handles)
    return ax


def plot_footprints(
    footprints: Sequence[BaseGeometry],
    crs: str,
    *,
    patches: Sequence[BaseGeometry] = (),
    backdrop: Backdrop | None = None,
    ax: Axes | None = None,
    theme: Theme = LIGHT,
) -> Axes:
    """Draw the footprints of scenes, and how the patches that a sampler drew are spread over them.

    Args:
        footprints: Polygons of valid data.
        crs: The CRS of all geometries.
        patches: The drawn windows; dense where many lie.
        backdrop: The scene itself, below.
        ax: Where to draw; a new figure when None.
        theme: Colours of lines and text.

    Raises:
        BadInput: When there is nothing to draw.
    """
    ax = _map_axes([*footprints, *patches], crs, backdrop, ax, theme)
    for shape in footprints:
        _add(ax, shape, facecolor="none", edgecolor=theme.muted, linewidth=1.2)
    color = ACCENT if backdrop is None else SERIES[1]
    strength = max(0.04, min(0.35, 12 / max(len(patches), 1)))
    for shape in patches:
        _add(ax, shape, facecolor=(color, strength), edgecolor=(color, min(1.0, 2 * strength)), linewidth=0.7)
    handles = [Patch(facecolor="none", edgecolor=theme.muted, linewidth=1.2, label="footprint of a scene")]
    if patches:
        handles.append(Patch(facecolor=(color, 0.35), edgecolor=color, label=f"{len(patches):,} patches"))
    legend_right(ax, theme, handles)
    return ax


def plot_block_scores(
    values: Sequence[float] | NDArray[np.float64],
    polygons: Sequence[BaseGeometry] | NDArray[np.object_],
    crs: str,
    *,
    label: str = "overall accuracy",
    limits: tuple[float, float] | None = None,
    backdrop: Backdrop | None = None,
    ax: Axes | None = None,
    theme: Theme = LIGHT,
) -> Axes:
    """Draw a score in each block on a map: where the map is good, and where it is not.

    Args:
        values: (N,) a score a block; NaN where it is undefined.
        polygons: (N,) the blocks' outlines.
        crs: The CRS of the polygons.
        label: What the score is.
        limits: The scores at the ends of the colour scale; the least and the largest when None.
        backdrop: The scene itself, below.
        ax: Where to draw; a new figure when None.
        theme: Colours of lines and text.

    Raises:
        BadInput: When values and polygons are not as many, or there are none.
    """
    scores = np.asarray(values, dtype=np.float64)
    if len(scores) != len(polygons):
        raise BadInput(
            explain("each block needs one score", got=len(scores), expected=f"{len(polygons)} values")
        )
    ax = _map_axes(list(polygons), crs, backdrop, ax, theme)
    known = scores[np.isfinite(scores)]
    low, high = limits or ((known.min(), known.max()) if known.size else (0.0, 1.0))
    scale = Normalize(low, high if high > low else low + 1e-6)
    drawn = [(v, path) for v, shape in zip(scores, polygons, strict=True) for path in _paths(shape)]
    filled = PathCollection([p for v, p in drawn if np.isfinite(v)], cmap="cividis", norm=scale, linewidth=0.4,
                            edgecolor=theme.surface, rasterized=len(drawn) > _MANY)  # fmt: skip
    filled.set_array(np.array([v for v, _ in drawn if np.isfinite(v)]))
    empty = PathCollection([p for v, p in drawn if not np.isfinite(v)], facecolor="none", edgecolor=theme.muted,
                           hatch="////", linewidth=0.3, rasterized=len(drawn) > _MANY)  # fmt: skip
    for collection in (filled, empty):
        ax.add_collection(collection, autolim=False)
    bar = figure_of(ax).colorbar(filled, ax=ax, fraction=0.04, pad=0.03)
    bar.outline.set_edgecolor(theme.line)  # type: ignore[operator]
    bar.ax.tick_params(colors=theme.muted, labelcolor=theme.ink, labelsize=8)
    bar.set_label(plain(label), color=theme.ink, fontsize=9)
    if known.size < scores.size:
        undefined = Patch(facecolor="none", edgecolor=theme.muted, hatch="////", label="undefined")
        ax.legend(handles=[undefined], loc="lower right", fontsize=8, labelcolor=theme.ink,
                  facecolor=theme.surface, edgecolor="none", framealpha=0.8)  # fmt: skip
    return ax


def _map_axes(
    shapes: Sequence[BaseGeometry], crs: str, backdrop: Backdrop | None, ax: Axes | None, theme: Theme
) -> Axes:
    known = [s.bounds for s in shapes if not s.is_empty]
    if not known:
        raise BadInput(explain("there is nothing to draw", got="no or empty geometries", expected="polygons"))
    known += [] if backdrop is None else [backdrop.bounds]
    low, high = np.min(known, axis=0)[:2], np.max(known, axis=0)[2:]
    span = np.maximum(high - low, 1e-9)
    ratio = float(np.clip(span[1] / span[0], 0.35, 1.3))
    ax = new_axes(ax, theme, (6.6, 4.4 * ratio + 0.6))
    if backdrop is not None:
        left, bottom, right, top = backdrop.bounds
        ax.imshow(backdrop.rgba, extent=(left, right, bottom, top), interpolation="none", zorder=0)
    return fit_map(
        ax, (float(low[0]), float(low[1]), float(high[0]), float(high[1])), crs, theme=theme, margin=0.02
    )


def _add(ax: Axes, shape: BaseGeometry, **style: Any) -> None:
    for path in _paths(shape):
        ax.add_patch(PathPatch(path, **style))


def _paths(shape: BaseGeometry) -> list[Path]:
    """Return a path for each polygon of a geometry; holes run the other way round, or they would be filled."""
    polygons = [part for part in get_parts(shape) if part.geom_type == "Polygon"]
    rings = [[np.asarray(r.coords)[:, :2] for r in (o.exterior, *o.interiors)] for o in map(orient, polygons)]
    return [Path.make_compound_path(*(Path(r, closed=True) for r in part)) for part in rings]
