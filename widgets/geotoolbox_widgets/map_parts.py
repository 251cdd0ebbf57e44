"""The parts of a LayerMap: the ipyleaflet map, its pencil, and what the page is told of layers and areas."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import ipyleaflet
from shapely.geometry import box as shapely_box
from shapely.geometry import mapping

from geotoolbox.core.query import Region
from geotoolbox.datasets import GeoDataset
from geotoolbox.errors import BadInput, explain
from geotoolbox_widgets.layers import FeatureLayer, MapLayer, RasterLayer

__all__ = ["draw_control", "drawing", "layer_spec", "leaflet_map", "near", "title_of", "typed_box"]


def leaflet_map(basemap: str | None, center: tuple[float, float], zoom: int, height: str) -> ipyleaflet.Map:
    """Return the map, with a scale.

    Raises:
        BadInput: When there is no such base map.
    """
    if basemap not in (None, "osm"):
        raise BadInput(explain("unknown base map", got=repr(basemap), expected="'osm' or None"))
    below = (ipyleaflet.basemaps.OpenStreetMap.Mapnik,) if basemap else ()
    view = ipyleaflet.Map(
        layers=tuple(ipyleaflet.basemap_to_tiles(b) for b in below),
        center=center,
        zoom=zoom,
        max_zoom=24,
        scroll_wheel_zoom=True,
        attribution_control=bool(basemap),
        world_copy_jump=False,
    )
    view.add(ipyleaflet.ScaleControl(position="bottomleft"))
    return view


def draw_control() -> ipyleaflet.DrawControl:
    """Return the pencil: rectangles and polygons."""
    look = {"shapeOptions": {"color": "#d6248f", "weight": 2, "fillOpacity": 0.06}}
    return ipyleaflet.DrawControl(
        rectangle=look,
        polygon=look,
        polyline={},
        circlemarker={},
        circle={},
        marker={},
        edit=True,
        remove=True,
    )


def drawing(region: Region) -> dict[str, Any]:
    """Return an area as what the pencil would have drawn."""
    style = {"color": "#d6248f", "weight": 2, "fillOpacity": 0.06}
    return {
        "type": "Feature",
        "properties": {"style": style},
        "geometry": _listed(mapping(region.geometry)),
    }


def _listed(geometry: Any) -> Any:
    """Return a geometry's mapping with lists for tuples, as it comes back from the page."""
    if isinstance(geometry, dict):
        return {k: _listed(v) for k, v in geometry.items()}
    return [_listed(v) for v in geometry] if isinstance(geometry, (list, tuple)) else geometry


def layer_spec(layer: MapLayer) -> dict[str, Any]:
    """Return what the page is told of a layer, as plain data."""
    spec: dict[str, Any] = {
        "id": layer.id, "name": layer.name, "visible": layer.visible, "opacity": layer.opacity,
    }  # fmt: skip
    if isinstance(layer, FeatureLayer):
        return spec | {
            "kind": "features", "version": len(layer.features), "selected": layer.selected,
            "legend": layer.legend(),
        }  # fmt: skip
    assert isinstance(layer, RasterLayer)
    return spec | {
        "kind": layer.kind,
        "version": layer.version,
        "bounds": layer.bounds(),
        "max_zoom": layer.max_zoom,
        "exact": layer.classes is not None,
        "bands": list(layer.bands),
        "band_names": list(layer.band_names),
        "percentiles": list(layer.percentiles),
        "gamma": layer.gamma,
        "colormap": layer.colormap,
        "legend": layer.legend(),
    }


def title_of(dataset: GeoDataset) -> str:
    """Return what the panel calls a dataset."""
    scenes = dataset.scenes()
    return scenes[0].name if scenes else "layer"


def typed_box(values: Sequence[Any]) -> Region:
    """Return west, south, east, north in degrees as an area.

    Raises:
        BadInput: When they make none.
    """
    try:
        west, south, east, north = (float(v) for v in values)
    except (TypeError, ValueError):
        raise BadInput(
            explain("the area needs four numbers", got=values, expected="west, south, east, north in degrees")
        ) from None
    if not (-180 <= west < east <= 180 and -90 <= south < north <= 90):
        raise BadInput(
            explain(
                "these sides make no area",
                got=f"west {west:g}, south {south:g}, east {east:g}, north {north:g}",
                expected="west < east within ±180, south < north within ±90",
            )
        )
    return Region(shapely_box(west, south, east, north), "EPSG:4326")


def near(pin: Sequence[float], lon: float, lat: float, zoom: float) -> bool:
    """Tell whether a place is within a few pixels of a pin (longitude, latitude)."""
    reach = 360 / 256 / 2**zoom * 6
    return abs(pin[0] - lon) < reach and abs(pin[1] - lat) < reach
