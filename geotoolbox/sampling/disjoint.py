"""Whether two areas keep apart, on the ground and in metres."""

from __future__ import annotations

from collections.abc import Sequence

import pyproj
import shapely
from shapely.geometry.base import BaseGeometry

from geotoolbox.core.query import Region, Scene
from geotoolbox.errors import BadInput, explain
from geotoolbox.indexing.geometry import crs_text
from geotoolbox.sampling.areas import project
from geotoolbox.sampling.protocol import Sampled

__all__ = ["check_disjoint", "metric_crs", "region_of"]

_SLIVER_M = 0.01


def metric_crs(scenes: Sequence[Scene]) -> str:
    """Return a CRS in metres that is true enough around the scenes.

    That of the scenes where they share one in metres with lengths true within 2 %, else a Lambert
    equal-area projection centred on them.
    """
    crss = {crs_text(s.geobox.crs) for s in scenes}
    centre = shapely.union_all(
        [project(s.footprint, s.geobox.crs, "EPSG:4326").envelope for s in scenes]
    ).centroid
    if len(crss) == 1:
        only = next(iter(crss))
        found = pyproj.CRS(only)
        in_metres = found.is_projected and abs(found.axis_info[0].unit_conversion_factor - 1) < 1e-9
        if in_metres:
            scale = pyproj.Proj(found).get_factors(centre.x, centre.y)
            if max(abs(scale.meridional_scale - 1), abs(scale.parallel_scale - 1)) < 0.02:
                return only
    return _equal_area(centre)


def _equal_area(centre: shapely.Point) -> str:
    text = f"+proj=laea +lat_0={centre.y:.4f} +lon_0={centre.x:.4f} +datum=WGS84 +units=m +no_defs"
    return str(pyproj.CRS(text).to_wkt())


def region_of(dataset: Sampled, crs: str) -> BaseGeometry:
    """Return the valid area of a dataset as one geometry in ``crs``."""
    return shapely.union_all([project(s.footprint, s.geobox.crs, crs) for s in dataset.scenes()])


def check_disjoint(
    a: Region | Sampled,
    b: Region | Sampled,
    buffer_m: float = 0.0,
    *,
    names: tuple[str, str] = ("training", "validation"),
) -> None:
    """Refuse two areas that share pixels, or come nearer than a buffer (R69).

    Args:
        a: A region, or a dataset (its valid area counts).
        b: The other.
        buffer_m: The least distance, in metres.
        names: What the two are called, for the message.

    Raises:
        BadInput: When they overlap or are too near; the message says by how much and where.
    """
    one, two, crs = _both(a, b)
    if one.is_empty or two.is_empty:
        return
    if _apart_in_time(a, b):
        return
    shared = one.intersection(two).buffer(-_SLIVER_M)
    if not shared.is_empty:
        raise BadInput(_complaint(names, f"{shared.area:,.0f} m² in both", "none", shared, crs))
    distance = one.distance(two)
    if distance < buffer_m * (1 - 1e-6) - _SLIVER_M:
        where = shapely.shortest_line(one, two)
        raise BadInput(
            _complaint(names, f"{distance:,.1f} m apart", f"at least {buffer_m:,.1f} m", where, crs)
        )


def _both(a: Region | Sampled, b: Region | Sampled) -> tuple[BaseGeometry, BaseGeometry, str]:
    pieces = [(p.geometry, p.crs) if isinstance(p, Region) else None for p in (a, b)]
    if pieces[0] and pieces[1] and crs_text(pieces[0][1]) == crs_text(pieces[1][1]):
        own = pyproj.CRS(pieces[0][1])
        if own.is_projected:
            return pieces[0][0], pieces[1][0], pieces[0][1]
    lonlat = [
        region_of(p, "EPSG:4326") if not isinstance(p, Region) else project(p.geometry, p.crs, "EPSG:4326")
        for p in (a, b)
    ]
    crs = _common_crs(a, b) or _equal_area(shapely.union_all([g.envelope for g in lonlat]).centroid)
    found = [
        region_of(p, crs) if not isinstance(p, Region) else project(p.geometry, p.crs, crs) for p in (a, b)
    ]
    return found[0], found[1], crs


def _common_crs(a: Region | Sampled, b: Region | Sampled) -> str | None:
    """Return the projected CRS that everything is in already, which keeps shared edges exact."""
    crss = set()
    for part in (a, b):
        crss |= (
            {crs_text(part.crs)}
            if isinstance(part, Region)
            else {crs_text(s.geobox.crs) for s in part.scenes()}
        )
    only = next(iter(crss)) if len(crss) == 1 else None
    return only if only and pyproj.CRS(only).is_projected else None


def _apart_in_time(a: Region | Sampled, b: Region | Sampled) -> bool:
    if isinstance(a, Region) or isinstance(b, Region):
        return False
    return not any(s.time.overlaps(t.time) for s in a.scenes() for t in b.scenes())


def _complaint(names: tuple[str, str], got: str, expected: str, where: BaseGeometry, crs: str) -> str:
    centre = project(where.centroid, crs, "EPSG:4326")
    return explain(
        f"{names[0]} and {names[1]} are not apart",
        where=f"near {centre.x:.5f} °E, {centre.y:.5f} °N",
        got=got,
        expected=expected,
        fix="use spatial_split with a buffer, or draw areas that keep apart",
    )
