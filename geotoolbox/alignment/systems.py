"""Coordinate systems: how to get from one to another, whether two are one, and whether they go round."""

from __future__ import annotations

import math
import os
import threading
from functools import lru_cache

import pyproj
from pyproj.exceptions import CRSError, ProjError

from geotoolbox.errors import CannotAlign
from geotoolbox.errors import explain as message

__all__ = ["same_crs", "transformer", "wrap_period"]


class _Shelf(threading.local):
    """Transformers belong to one thread, and to one process."""

    def __init__(self) -> None:
        self.pid = os.getpid()
        self.transformers: dict[tuple[str, str], pyproj.Transformer] = {}


_SHELF = _Shelf()


def transformer(origin: str, goal: str) -> pyproj.Transformer:
    """Return the transformation between two CRS (x before y), made once for each thread.

    Raises:
        CannotAlign: When none is known.
    """
    if _SHELF.pid != os.getpid():
        _SHELF.__init__()  # type: ignore[misc]
    found = _SHELF.transformers.get((origin, goal))
    if found is None:
        try:
            found = pyproj.Transformer.from_crs(origin, goal, always_xy=True)
        except (ProjError, CRSError) as error:
            raise CannotAlign(
                message(
                    "no transformation between these two CRS is known",
                    got=f"{origin[:60]} and {goal[:60]}",
                    fix="give both layers a CRS that is tied to the earth",
                )
            ) from error
        _SHELF.transformers[origin, goal] = found
    return found


@lru_cache(maxsize=256)
def same_crs(one: str, other: str) -> bool:
    """Tell whether two CRS are one, whatever the order of their axes.

    Example:
        >>> same_crs("EPSG:4326", "OGC:CRS84"), same_crs("EPSG:32633", "EPSG:32634")
        (True, False)
    """
    if one == other:
        return True
    first, second = pyproj.CRS.from_user_input(one), pyproj.CRS.from_user_input(other)
    return first.equals(second, ignore_axis_order=True)


@lru_cache(maxsize=256)
def wrap_period(crs: str) -> float | None:
    """Return after how many units x comes back to the same meridian; None where x does not.

    Example:
        >>> wrap_period("EPSG:4326"), round(wrap_period("EPSG:3857")), wrap_period("EPSG:32633")
        (360.0, 40075017, None)
    """
    system = pyproj.CRS.from_user_input(crs)
    if system.is_geographic:
        unit = system.axis_info[0].unit_conversion_factor
        return 2 * math.pi / unit if abs(unit - math.pi / 180) > 1e-12 else 360.0
    operation = system.coordinate_operation
    name = operation.method_name.lower() if operation is not None else ""
    if not any(word in name for word in ("pseudo mercator", "mercator (", "cylindrical", "mercator variant")):
        return None
    if any(word in name for word in ("transverse", "oblique")):
        return None
    return _cylinder_period(system)


def _cylinder_period(system: pyproj.CRS) -> float | None:
    """Measure the period of a cylindrical projection, where x is proportional to longitude."""
    geodetic = system.geodetic_crs
    if geodetic is None:
        return None
    forward = pyproj.Transformer.from_crs(geodetic, system, always_xy=True)
    inverse = pyproj.Transformer.from_crs(system, geodetic, always_xy=True)
    middle, _ = inverse.transform(0.0, 0.0)
    (x0, x1), _ = forward.transform([middle, middle + 90.0], [0.0, 0.0])
    return abs(x1 - x0) * 4
