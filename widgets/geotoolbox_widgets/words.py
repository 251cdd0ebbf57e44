"""Places and areas in words."""

from __future__ import annotations

from pyproj import Geod

from geotoolbox.core.query import Region
from geotoolbox.indexing.geometry import transform_geometry

__all__ = ["area_words", "place_words"]

_GEOD = Geod(ellps="WGS84")


def place_words(lon: float, lat: float) -> str:
    """Return a place for people.

    Example:
        >>> place_words(-113.05, 37.3)
        '37.30000° N, 113.05000° W'
    """
    return f"{abs(lat):.5f}° {'N' if lat >= 0 else 'S'}, {abs(lon):.5f}° {'E' if lon >= 0 else 'W'}"


def area_words(region: Region) -> str:
    """Return how large an area is on the ground.

    Example:
        >>> from shapely.geometry import box
        >>> area_words(Region(box(0, 0, 0.1, 0.1), "EPSG:4326"))
        '123 km²'
    """
    lonlat = transform_geometry(region.geometry, region.crs, "EPSG:4326")
    square_m = abs(float(_GEOD.geometry_area_perimeter(lonlat)[0]))
    if square_m >= 1e6:
        return f"{square_m / 1e6:,.3g} km²" if square_m < 1e9 else f"{square_m / 1e6:,.0f} km²"
    return f"{square_m / 1e4:,.3g} ha" if square_m >= 1e4 else f"{square_m:,.0f} m²"
