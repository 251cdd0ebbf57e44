"""Polygons between coordinate systems: edges densified, longitudes unwrapped, the antimeridian cut."""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Any

import numpy as np
import shapely
from affine import Affine
from numpy.typing import NDArray
from odc.geo.crs import CRS
from odc.geo.geobox import GeoBox
from pyproj import Transformer
from shapely.affinity import translate
from shapely.geometry import MultiPolygon, Polygon, box
from shapely.geometry.base import BaseGeometry

__all__ = [
    "apply_affine",
    "crs_name",
    "crs_of",
    "crs_text",
    "geobox_polygon",
    "lonlat_outline",
    "lonlat_polygon",
    "same_crs",
    "side_places",
    "side_steps",
    "to_lonlat",
    "transform_geometry",
    "transformer",
]

LONLAT = "EPSG:4326"
_WORLD = box(-180.0, -90.0, 180.0, 90.0)
EDGE_STEPS = 64
SMALL_DEG, BEND = 3.0, 0.01  # away from poles, a side so long bends by less than this share of its length
FEW_X = np.array([0.0, 0.5, 1.0, 1.0, 1.0, 0.5, 0.0, 0.0])  # corners and middles of the sides, in turn
FEW_Y = np.array([0.0, 0.0, 0.0, 0.5, 1.0, 1.0, 1.0, 0.5])


@lru_cache(maxsize=512)
def transformer(source: str, target: str) -> Transformer:
    """Return what brings x and y from one CRS to another, made once."""
    return Transformer.from_crs(source, target, always_xy=True)


@lru_cache(maxsize=512)
def crs_of(text: str) -> CRS:
    """Return a CRS, made once."""
    return CRS(text)


def crs_text(crs: Any) -> str:
    """Return a CRS as ``EPSG:…`` where it has a code, else as WKT.

    Example:
        >>> crs_text(CRS("EPSG:32612"))
        'EPSG:32612'
    """
    found = crs_of(str(crs))
    return f"EPSG:{found.epsg}" if found.epsg else str(found.to_wkt())


def same_crs(first: Any, second: Any) -> bool:
    """Tell whether two CRSs are the same."""
    return str(first) == str(second) or bool(crs_of(str(first)) == crs_of(str(second)))


def apply_affine(
    affine: Affine, x: NDArray[np.float64], y: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return an affine's answer for many points."""
    return affine.a * x + affine.b * y + affine.c, affine.d * x + affine.e * y + affine.f


def crs_name(crs: Any) -> str:
    """Return a CRS for people: ``EPSG:…`` where it has a code, else its name.

    Example:
        >>> crs_name("EPSG:26912")
        'EPSG:26912'
    """
    text = crs_text(crs)
    return text if text.startswith("EPSG:") else str(crs_of(text).proj.name)


def geobox_polygon(geobox: GeoBox, steps: int = 1) -> Polygon:
    """Return the outline of a grid in its own CRS; each side is cut into ``steps`` edges."""
    height, width = geobox.shape
    across, down = side_places(steps)
    x, y = apply_affine(geobox.affine, across * width, down * height)
    return Polygon(np.column_stack([x, y]))


def side_places(steps: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return points round a grid as shares of its width and height; each side is cut into ``steps`` edges.

    Example:
        >>> [places.tolist() for places in side_places(1)]
        [[0.0, 1.0, 1.0, 0.0], [0.0, 0.0, 1.0, 1.0]]
    """
    along = np.linspace(0.0, 1.0, steps, endpoint=False)
    zero, one = np.zeros(steps), np.ones(steps)
    return np.concatenate([along, one, 1 - along, zero]), np.concatenate([zero, along, one, 1 - along])


def transform_geometry(
    geometry: BaseGeometry, source: Any, target: Any, *, max_edge: float | None = None
) -> BaseGeometry:
    """Transform a geometry exactly at its vertices, its edges densified first.

    Args:
        geometry: Anything of shapely, in ``source``.
        source: The CRS it is in.
        target: The CRS to bring it to.
        max_edge: The longest edge to keep, in units of ``source``; by default 1/64 of the extent.

    Returns:
        The geometry in ``target``; valid, and empty where nothing of it can be expressed there.
    """
    if geometry.is_empty or same_crs(source, target):
        return geometry
    west, south, east, north = geometry.bounds
    span = max(east - west, north - south)
    edge = max_edge if max_edge else span / EDGE_STEPS
    dense = shapely.segmentize(geometry, edge) if edge > 0 else geometry
    if _is_lonlat(target):
        return to_lonlat(dense, source)
    convert = transformer(str(source), str(target)).transform
    moved = shapely.transform(dense, lambda xy: np.column_stack(convert(xy[:, 0], xy[:, 1])))
    return _mended(moved)


def _is_lonlat(crs: Any) -> bool:
    return bool(crs_of(str(crs)).epsg == 4326)


def _mended(geometry: BaseGeometry) -> BaseGeometry:
    if not np.isfinite(shapely.get_coordinates(geometry)).all():
        geometry = _finite_parts(geometry)
    return geometry if geometry.is_valid else shapely.make_valid(geometry)


def _finite_parts(geometry: BaseGeometry) -> BaseGeometry:
    # Vertices outside the projection's domain have no place in the target: what is left of each ring stays.
    kept = []
    for part in shapely.get_parts(geometry):
        if not isinstance(part, Polygon):
            if np.isfinite(shapely.get_coordinates(part)).all():
                kept.append(part)
            continue
        ring = shapely.get_coordinates(part.exterior)
        ring = ring[np.isfinite(ring).all(axis=1)]
        if len(ring) >= 3:
            kept.append(Polygon(ring))
    return shapely.union_all(kept) if kept else Polygon()


def to_lonlat(geometry: BaseGeometry, source: Any) -> BaseGeometry:
    """Bring a (densified) geometry to longitude and latitude, cut at the antimeridian.

    A ring that goes round a pole is closed over the pole.
    """
    convert = transformer(str(source), LONLAT).transform
    parts = []
    for part in shapely.get_parts(geometry):
        if isinstance(part, Polygon):
            parts.append(_lonlat_ring(part, convert))
        else:
            parts.append(shapely.transform(part, lambda xy: np.column_stack(convert(xy[:, 0], xy[:, 1]))))
    if len(parts) == 1:
        return parts[0]
    return shapely.union_all(parts) if parts else Polygon()


def _lonlat_ring(polygon: Polygon, convert: Any) -> BaseGeometry:
    shell = _unwrapped(polygon.exterior, convert)
    if len(shell) < 4:
        return Polygon()
    turn = shell[-1, 0] - shell[0, 0]
    if abs(turn) > 180.0:  # the ring goes round a pole
        pole = 90.0 if shell[:, 1].mean() > 0 else -90.0
        shell = np.vstack([shell, [[shell[-1, 0], pole], [shell[0, 0], pole]]])
    holes = []
    for interior in polygon.interiors:
        ring = _unwrapped(interior, convert)
        shift = 360.0 * np.round((shell[:, 0].mean() - ring[:, 0].mean()) / 360.0) if len(ring) else 0.0
        holes.append(ring + np.array([shift, 0.0]))
    whole = Polygon(shell, [h for h in holes if len(h) >= 4 and abs(turn) <= 180.0])
    whole = whole if whole.is_valid else shapely.make_valid(whole)
    return _wrapped(whole)


def _unwrapped(ring: Any, convert: Any) -> NDArray[np.float64]:
    xy = shapely.get_coordinates(ring)
    lon, lat = convert(xy[:, 0], xy[:, 1])
    points = np.column_stack([lon, lat])
    points = points[np.isfinite(points).all(axis=1)]
    if len(points):
        points[:, 0] = np.unwrap(points[:, 0], period=360.0)
    return points


def _wrapped(geometry: BaseGeometry) -> BaseGeometry:
    west, _, east, _ = geometry.bounds if not geometry.is_empty else (0.0, 0.0, 0.0, 0.0)
    if west >= -180.0 and east <= 180.0:
        return geometry
    pieces = []
    for turn in range(int(np.floor((west + 180.0) / 360.0)), int(np.floor((east + 180.0) / 360.0)) + 1):
        piece = translate(geometry, xoff=-360.0 * turn).intersection(_WORLD)
        if not piece.is_empty and piece.area > 0:
            pieces.append(piece)
    merged = shapely.union_all(pieces)
    polygons = [p for p in shapely.get_parts(merged) if isinstance(p, Polygon)]
    return polygons[0] if len(polygons) == 1 else MultiPolygon(polygons)


def lonlat_polygon(geobox: GeoBox) -> BaseGeometry:
    """Return the outline of a grid in longitude and latitude, its sides densified.

    Example:
        >>> from affine import Affine
        >>> grid = GeoBox((10, 10), Affine(1, 0, 175, 0, -1, 5), "EPSG:4326")
        >>> [round(v, 6) for v in lonlat_polygon(grid).bounds]
        [-180.0, -5.0, 180.0, 5.0]
    """
    return to_lonlat(geobox_polygon(geobox, steps=EDGE_STEPS), geobox.crs)


def side_steps(geobox: GeoBox) -> int:
    """Return into how many edges a side is to be cut so that in lon/lat it errs by < 1e-6 of its length.

    The bend of a side grows with its square, and falls with the square of the steps.
    """
    found = _few_points(geobox)
    if found is None:
        return EDGE_STEPS
    lon, lat = found
    degrees = max(float(lon.max() - lon.min()), float(lat.max() - lat.min()))
    return min(EDGE_STEPS, math.ceil(math.sqrt(BEND / 1e-6 * degrees / SMALL_DEG)))


def lonlat_outline(geobox: GeoBox) -> BaseGeometry:
    """As :func:`lonlat_polygon`, from few points where the grid is small: for look-ups that allow some slack.

    A side of up to 3 degrees away from poles and antimeridian bends by less than a hundredth of itself.
    """
    found = _few_points(geobox)
    if found is None:
        return lonlat_polygon(geobox)
    outline: BaseGeometry = shapely.polygons(np.column_stack(found))
    return outline


def _few_points(geobox: GeoBox) -> tuple[NDArray[np.float64], NDArray[np.float64]] | None:
    """Return corners and middles of the sides in lon/lat; None for a large grid, or one near poles or antimeridian."""
    columns, rows = (steps * float(n) for steps, n in zip((FEW_X, FEW_Y), geobox.shape[::-1], strict=True))
    x, y = apply_affine(geobox.affine, columns, rows)
    lon, lat = transformer(str(geobox.crs), LONLAT).transform(x, y)
    west, east, south, north = float(lon.min()), float(lon.max()), float(lat.min()), float(lat.max())
    small = east - west < SMALL_DEG and north - south < SMALL_DEG
    near = -177.0 < west and east < 177.0 and -80.0 < south and north < 80.0
    return (lon, lat) if small and near else None
