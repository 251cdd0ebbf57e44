"""How a source is read onto a grid: decided before anything is read, and told to whoever asks."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from odc.geo.geobox import GeoBox

from geotoolbox.alignment.pixelmap import PixelMap, affine_map, grid_map
from geotoolbox.alignment.source import Resampling, Source, overview_shape
from geotoolbox.alignment.systems import same_crs, wrap_period
from geotoolbox.errors import BadInput, CannotAlign
from geotoolbox.errors import explain as message

__all__ = ["Kernel", "Kind", "Part", "ReadPlan", "SourceWindow", "explain", "plan_read"]

Kind = Literal["slice", "shift", "gather", "interpolate", "overview", "area", "empty"]
Kernel = Literal["nearest", "bilinear", "cubic", "average", "mode"]

_KERNELS = ("nearest", "bilinear", "cubic", "average", "mode")
_MARGIN = {"nearest": 0, "bilinear": 1, "cubic": 2}
COARSER = 1.4
"""From how many source pixels a target pixel on, values are averaged rather than interpolated."""
ALIGNED_PX = 1e-5


@dataclass(frozen=True, slots=True)
class SourceWindow:
    """A window of source pixels; never reaches beyond the source."""

    col: int
    row: int
    width: int
    height: int


@dataclass(frozen=True, slots=True, eq=False)
class Part:
    """One window of the source and the map of the target's pixels onto it.

    There is more than one where a layer goes round the earth. ``slices`` is set where pixels are copied as
    they are: (target rows, target columns, step of rows, step of columns); without ``pixels``, the window is what
    is copied. ``inside`` tells that every target pixel has its centre in the source.
    """

    window: SourceWindow
    pixels: PixelMap | None
    slices: tuple[slice, slice, int, int] | None = None
    inside: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class ReadPlan:
    """How one source will be read onto one grid.

    Attributes:
        source: What is read.
        geobox: The target grid.
        kind: ``slice`` (pixels as they are), ``shift`` (same CRS and pixel size), ``gather`` (nearest),
            ``interpolate``, ``overview`` and ``area`` (averages), or ``empty`` (no overlap).
        kernel: The resampling that is done.
        parts: The windows to read, usually one.
        overview: Position in ``source.overviews``, or None for the full resolution.
        scale_xy: Source columns and rows that a target pixel spans.
        grid_step_px: Distance of the points between which places are interpolated; 0 without a transform.
        max_coordinate_error_px: Largest error of the places, in source pixels, measured all over the source.
    """

    source: Source
    geobox: GeoBox
    kind: Kind
    kernel: Kernel
    parts: tuple[Part, ...]
    overview: int | None
    scale_xy: tuple[float, float]
    grid_step_px: int
    max_coordinate_error_px: float

    def to_json(self) -> dict[str, Any]:
        """Return the plan as plain values."""
        factor = 1 if self.overview is None else self.source.overviews[self.overview]
        windows = [(p.window.col, p.window.row, p.window.width, p.window.height) for p in self.parts]
        return {
            "path": self.source.path,
            "kind": self.kind,
            "kernel": self.kernel,
            "source_windows": [list(w) for w in windows],
            "overview_factor": factor,
            "scale_xy": [round(s, 6) for s in self.scale_xy],
            "grid_step_px": self.grid_step_px,
            "max_coordinate_error_px": self.max_coordinate_error_px,
            "source_crs": str(self.source.geobox.crs)[:80],
            "target_crs": str(self.geobox.crs)[:80],
            "target_shape": list(self.geobox.shape),
        }


_WORDS: dict[str, str] = {
    "slice": "pixels are copied as they are (same grid)",
    "shift": "same CRS and pixel size, shifted by part of a pixel",
    "gather": "the nearest source pixel",
    "interpolate": "interpolated between source pixels",
    "overview": "averaged from an overview of the file",
    "area": "summarised over the source pixels that a target pixel covers",
    "empty": "no overlap: nothing is read",
}


def explain(plan: ReadPlan) -> str:
    """Say in one line of text how a source is read, for people; :meth:`ReadPlan.to_json` is for programs."""
    facts = plan.to_json()
    words = f"{facts['path']}: {plan.kind} ({plan.kernel}): {_WORDS[plan.kind]}"
    if plan.kind == "empty":
        return words
    words += f"; scale {plan.scale_xy[0]:.4g} × {plan.scale_xy[1]:.4g}; windows {json.dumps(facts['source_windows'])}"
    if plan.overview is not None:
        words += f"; overview 1:{facts['overview_factor']}"
    if plan.grid_step_px:
        words += (
            f"; {facts['source_crs']} → {facts['target_crs']}, a point every {plan.grid_step_px} px,"
            f" error ≤ {plan.max_coordinate_error_px:.1g} px"
        )
    return words


def plan_read(source: Source, geobox: GeoBox, resampling: Resampling = "auto") -> ReadPlan:
    """Decide how ``source`` is read onto ``geobox``. Reads nothing.

    Args:
        source: Bands of one file.
        geobox: The target grid.
        resampling: What is asked for; a much coarser target is averaged (images) in any case but nearest.

    Raises:
        CannotAlign: When a grid has no CRS, or no transformation between the two is known.
        BadInput: When the resampling is not known.
    """
    _check(source, geobox, resampling)
    if same_crs(str(source.geobox.crs), str(geobox.crs)):
        copied = _copied(source, geobox, resampling)
        if copied is not None:
            return copied
        pixels = affine_map(source.geobox, geobox)
    else:
        pixels = grid_map(source.geobox, geobox)
    scale = pixels.typical_scale()
    kernel = _kernel(source, resampling, scale)
    overview, zoom = _overview(source, kernel, scale)
    if overview is not None:
        pixels = pixels.zoomed(*zoom)
    height, width = source.geobox.shape
    parts = _parts(source, pixels, kernel, (round(height * zoom[1]), round(width * zoom[0])), zoom)
    return ReadPlan(
        source=source,
        geobox=geobox,
        kind=_kind(parts, kernel, pixels, scale, overview),
        kernel=kernel,
        parts=parts,
        overview=overview,
        scale_xy=scale,
        grid_step_px=pixels.step_px,
        max_coordinate_error_px=pixels.error_px,
    )


def _check(source: Source, geobox: GeoBox, resampling: str) -> None:
    if resampling not in (*_KERNELS, "auto"):
        raise BadInput(
            message("unknown resampling", got=repr(resampling), expected=f"auto, {', '.join(_KERNELS)}")
        )
    for what, box in ((source.path, source.geobox), ("the target grid", geobox)):
        if box.crs is None:
            raise CannotAlign(message("a grid has no CRS", where=what, fix="give it the CRS it is in"))
    if 0 in geobox.shape:
        raise BadInput(message("the target grid has no pixels", got=f"{geobox.shape[0]} × {geobox.shape[1]}"))


def _copied(source: Source, geobox: GeoBox, resampling: Resampling) -> ReadPlan | None:
    """Return the plan of a target whose pixels are source pixels, found without a map; None for any other."""
    if wrap_period(str(source.geobox.crs)) is not None:
        return None
    own, asked = source.geobox.affine, geobox.affine
    if own.b or own.d or asked.b or asked.d:
        return None
    height, width = geobox.shape
    col = _first((asked.c - own.c) / own.a, (asked.c + asked.a * width - own.c) / own.a, width)
    row = _first((asked.f - own.f) / own.e, (asked.f + asked.e * height - own.f) / own.e, height)
    if col is None or row is None:
        return None
    rows = slice(max(0, -row), min(height, source.geobox.shape[0] - row))
    cols = slice(max(0, -col), min(width, source.geobox.shape[1] - col))
    parts: tuple[Part, ...] = ()
    if rows.stop > rows.start and cols.stop > cols.start:
        window = SourceWindow(
            col + cols.start, row + rows.start, cols.stop - cols.start, rows.stop - rows.start
        )
        whole = (window.height, window.width) == (height, width)
        parts = (Part(window, None, (rows, cols, 1, 1), whole),)
    return ReadPlan(
        source=source,
        geobox=geobox,
        kind="slice" if parts else "empty",
        kernel=_kernel(source, resampling, (1.0, 1.0)),
        parts=parts,
        overview=None,
        scale_xy=(1.0, 1.0),
        grid_step_px=0,
        max_coordinate_error_px=0.0,
    )


def _first(start: float, stop: float, count: int) -> int | None:
    """Return the source pixel that the first of ``count`` target pixels is; None when they are not the same."""
    first = round(start)
    return first if abs(start - first) < ALIGNED_PX and abs(stop - first - count) < ALIGNED_PX else None


def _kernel(source: Source, resampling: Resampling, scale: tuple[float, float]) -> Kernel:
    if resampling == "auto":
        resampling = "nearest" if source.categorical else "bilinear"
    coarser = max(scale) > COARSER
    if resampling == "nearest":
        return "nearest"
    if resampling == "mode":
        return "mode" if coarser else "nearest"
    if coarser:
        return "average"
    return "bilinear" if resampling == "average" else resampling


def _overview(
    source: Source, kernel: Kernel, scale: tuple[float, float]
) -> tuple[int | None, tuple[float, float]]:
    """Choose the coarsest overview that still has two pixels or more for each target pixel."""
    fitting = [i for i, factor in enumerate(source.overviews) if 2 * factor <= min(scale) * (1 + 1e-6)]
    if kernel != "average" or not fitting:
        return None, (1.0, 1.0)
    height, width = source.geobox.shape
    rows, columns = overview_shape(source, fitting[-1])
    return fitting[-1], (columns / width, rows / height)


def _kind(
    parts: tuple[Part, ...],
    kernel: Kernel,
    pixels: PixelMap,
    scale: tuple[float, float],
    overview: int | None,
) -> Kind:
    if not parts:
        return "empty"
    if all(p.slices is not None for p in parts):
        return "slice"
    if kernel in ("average", "mode"):
        return "area" if overview is None else "overview"
    if pixels.separable and all(abs(s - 1) < 1e-9 for s in scale):
        return "shift"
    return "gather" if kernel == "nearest" else "interpolate"


def _parts(
    source: Source, pixels: PixelMap, kernel: Kernel, shape: tuple[int, int], zoom: tuple[float, float]
) -> tuple[Part, ...]:
    """Return the windows to read: one, or more where the layer goes round the earth."""
    period = wrap_period(str(source.geobox.crs))
    turns = (0,) if period is None else (0, -1, 1, -2, 2)
    inverse = ~source.geobox.affine
    found = []
    for turn in turns:
        move = turn * (period or 0.0)
        moved = pixels.moved(inverse.a * move * zoom[0], inverse.d * move * zoom[1]) if turn else pixels
        extent = moved.extent()
        window = None if extent is None else _window(moved, extent, kernel, shape)
        if window is not None and extent is not None:
            inside = moved.finite and min(extent[:2]) >= 0 and _below(extent[2:], shape)
            found.append(Part(window, moved, _slices(moved, shape), inside))
    return tuple(found)


def _window(
    pixels: PixelMap, extent: tuple[float, float, float, float], kernel: Kernel, shape: tuple[int, int]
) -> SourceWindow | None:
    """Return the source pixels that the target needs; None when it needs none."""
    margin = [float(_MARGIN.get(kernel, 0))] * 2
    if kernel in ("average", "mode"):
        margin = [float(s[np.isfinite(s)].max(initial=1.0)) / 2 + 1 for s in pixels.scales()]
    height, width = shape
    reach = (extent[0] - margin[0], extent[1] - margin[1], extent[2] + margin[0], extent[3] + margin[1])
    # A window that only its margin brings into the source has no pixel centre there.
    if kernel in _MARGIN:
        outside = extent[2] < -1e-6 or extent[3] < -1e-6 or extent[0] >= width or extent[1] >= height
    else:
        outside = reach[2] <= 1 or reach[3] <= 1 or reach[0] >= width - 1 or reach[1] >= height - 1
    if outside:
        return None
    col, row = max(0, math.floor(reach[0])), max(0, math.floor(reach[1]))
    right, bottom = min(width, math.floor(reach[2] + 1e-6) + 1), min(height, math.floor(reach[3] + 1e-6) + 1)
    if right <= col or bottom <= row:
        return None
    return SourceWindow(col, row, right - col, bottom - row)


def _below(place: tuple[float, ...], shape: tuple[int, int]) -> bool:
    return place[0] < shape[1] - 1e-5 and place[1] < shape[0] - 1e-5


def _slices(pixels: PixelMap, shape: tuple[int, int]) -> tuple[slice, slice, int, int] | None:
    """Return which target pixels are source pixels as they are, when all that overlap are."""
    if not pixels.separable:
        return None
    rows = _steps(pixels.v[: pixels.shape[0], 0], shape[0])
    cols = _steps(pixels.u[0, : pixels.shape[1]], shape[1])
    if rows is None or cols is None:
        return None
    return rows[0], cols[0], rows[1], cols[1]


def _steps(places: np.ndarray[Any, np.dtype[np.float64]], size: int) -> tuple[slice, int] | None:
    """Return (target pixels inside the source, +1 or -1) for places in the middle of successive pixels."""
    count = places.size
    first, last = float(places[0]), float(places[-1])
    sign = 1 if count == 1 or last > first else -1
    start = math.floor(first)
    expected = first if count == 1 else start + 0.5 + sign * (count - 1)
    if abs(first - start - 0.5) > ALIGNED_PX or abs(last - expected) > ALIGNED_PX:
        return None
    if sign > 0:
        inside = slice(max(0, -start), min(count, size - start))
    else:
        inside = slice(max(0, start - size + 1), min(count, start + 1))
    return (inside, sign) if inside.stop > inside.start else None
