"""Queries from slices, as TorchGeo users write them."""

from __future__ import annotations

import math
from collections.abc import Callable
from datetime import UTC, date, datetime
from typing import Any

from affine import Affine
from odc.geo.geobox import GeoBox

from geotoolbox.core.query import Query, Scene, TimeInterval
from geotoolbox.errors import BadInput, explain

__all__ = ["moment", "query_from_slices"]

_SNAP_PX = 1e-6


def moment(value: Any) -> datetime | None:
    """Return a datetime (UTC where it has no zone) from a datetime, date, ISO text or timestamp.

    Example:
        >>> moment("2015-08-18")
        datetime.datetime(2015, 8, 18, 0, 0, tzinfo=datetime.timezone.utc)
    """
    if value is None:
        return None
    if isinstance(value, datetime):
        found = value
    elif isinstance(value, date):
        found = datetime(value.year, value.month, value.day)
    elif isinstance(value, (int, float)):
        found = datetime.fromtimestamp(float(value), UTC)
    else:
        try:
            found = datetime.fromisoformat(str(value))
        except ValueError as error:
            raise BadInput(
                explain("not a moment in time", got=repr(value), expected="a datetime or ISO text")
            ) from error
    return found if found.tzinfo else found.replace(tzinfo=UTC)


def query_from_slices(key: Any, first_scene: Callable[[], Scene]) -> Query:
    """Turn what stands between ``[`` and ``]`` into a query.

    Args:
        key: A query, a GeoBox, or up to three slices x, y, t (``start:stop:resolution``).
        first_scene: Gives the scene whose CRS and grid the slices are about.
    """
    if isinstance(key, Query):
        return key
    if isinstance(key, GeoBox):
        return Query(key)
    slices = key if isinstance(key, tuple) else (key,)
    if not 1 <= len(slices) <= 3 or not all(isinstance(s, slice) for s in slices):
        raise BadInput(
            explain(
                "a dataset is read by place and time",
                got=repr(key)[:80],
                expected="a Query, a GeoBox, or slices [xmin:xmax, ymin:ymax, tmin:tmax]",
            )
        )
    padded = [*slices, *(slice(None),) * (3 - len(slices))]
    scene = first_scene()
    time = TimeInterval(moment(padded[2].start), moment(padded[2].stop))
    return Query(_geobox(scene, padded[0], padded[1]), time)


def _geobox(scene: Scene, x: slice, y: slice) -> GeoBox:
    west, south, east, north = scene.geobox.boundingbox
    west = west if x.start is None else float(x.start)
    east = east if x.stop is None else float(x.stop)
    south = south if y.start is None else float(y.start)
    north = north if y.stop is None else float(y.stop)
    if not (west < east and south < north):
        raise BadInput(
            explain("an empty box", got=f"x {west} … {east}, y {south} … {north}", expected="start < stop")
        )
    affine = scene.geobox.affine
    if x.step or y.step:
        step_x = float(x.step or y.step)
        step_y = float(y.step or x.step)
        shape = (max(1, round((north - south) / step_y)), max(1, round((east - west) / step_x)))
        return GeoBox(shape, Affine(step_x, 0.0, west, 0.0, -step_y, north), scene.geobox.crs)
    corners = [~affine * point for point in ((west, south), (west, north), (east, south), (east, north))]
    columns, rows = [c for c, _ in corners], [r for _, r in corners]
    left, top = math.floor(min(columns) + _SNAP_PX), math.floor(min(rows) + _SNAP_PX)
    right, bottom = math.ceil(max(columns) - _SNAP_PX), math.ceil(max(rows) - _SNAP_PX)
    shape = (max(1, bottom - top), max(1, right - left))
    return GeoBox(shape, affine * Affine.translation(left, top), scene.geobox.crs)
