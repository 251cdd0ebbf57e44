"""LayerMap: rasters and vectors of any CRS on one map, over Jupyter's own connection."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import ipywidgets
import traitlets
from shapely.geometry import shape
from shapely.geometry.base import BaseGeometry

from geotoolbox.core.query import Region
from geotoolbox.datasets.preview import slow_files
from geotoolbox.errors import BadInput, explain
from geotoolbox_widgets.base import MessageLine, guarded
from geotoolbox_widgets.layers import FeatureLayer, MapLayer, RasterLayer
from geotoolbox_widgets.map_parts import (
    draw_control,
    drawing,
    layer_spec,
    leaflet_map,
    near,
    title_of,
    typed_box,
)
from geotoolbox_widgets.overlay import MapOverlay
from geotoolbox_widgets.panel import LayerPanel
from geotoolbox_widgets.recipes import map_recipe
from geotoolbox_widgets.sources import features_of, open_source
from geotoolbox_widgets.state import AppState
from geotoolbox_widgets.tiles import Tiler
from geotoolbox_widgets.words import area_words, place_words

__all__ = ["LayerMap"]

_SETTABLE = ("visible", "opacity", "bands", "percentiles", "gamma", "colormap", "limits")


class LayerMap(ipywidgets.VBox):
    """A map of layers: band combination, stretch, opacity, legend, swipe, pixel values, a drawn area.

    Rasters are drawn as tiles by the kernel, from overviews where the files have them, and sent over
    Jupyter's own connection: no port is opened and no network is needed. All state is in traits.

    Args:
        sources: What to show, bottom first: paths, datasets, tables of features, regions.
        basemap: ``"osm"`` for OpenStreetMap below the layers (needs the network); None for a plain ground.
        center: (latitude, longitude) to start at; by default the layers are fitted.
        zoom: The zoom to start at.
        height: Of the map, as CSS.
        panel: Whether the panel with layers, legend and values stands beside the map.
        state: Shared with other widgets.

    Attributes:
        leaflet: The ipyleaflet map.
        message: The line that tells problems.

    Example:
        >>> view = LayerMap()
        >>> view.layers, view.area is None
        ((), True)
    """

    layers: Any = traitlets.Tuple(help="the layers, bottom first")
    inspected: Any = traitlets.List(help="the values of all layers at the place last pointed at")
    comparing: Any = traitlets.Dict(
        allow_none=True, default_value=None, help="{left, right, position}: the swipe, or None"
    )
    area: Any = traitlets.Instance(Region, allow_none=True, help="the area drawn last, in EPSG:4326")

    def __init__(
        self,
        sources: Sequence[Any] | Any = (),
        *,
        basemap: str | None = None,
        center: tuple[float, float] | None = None,
        zoom: int | None = None,
        height: str = "480px",
        panel: bool = True,
        state: AppState | None = None,
    ) -> None:
        self.state = state or AppState()
        self.message = MessageLine()
        self._serial = 0
        self._fitted = center is not None
        self._click: dict[str, Callable[[int], None]] = {}
        self._pinned = False
        self.basemap = basemap
        self.leaflet = leaflet_map(basemap, center or (0.0, 0.0), zoom if zoom is not None else 2, height)
        self._draw = draw_control()
        self._draw.on_draw(self._drawn)
        self.leaflet.add(self._draw)
        self._overlay = MapOverlay(self.leaflet, self._heard)
        self._overlay.tiler = Tiler(self._raster, self._overlay.send_tile, self._failed)
        self._panel = LayerPanel(self._heard)
        super().__init__(children=self._children(panel, height))
        self.add_class("gt-map")
        self._overlay.observe(self._swiped, "swipe")
        self._overlay.observe(self._missing, "attached")
        self.observe(self._area_changed, "area")
        self.observe(self._layers_changed, "layers")
        self.observe(self._compare_changed, "comparing")
        self.state.observe(self._state_area, "area")
        several = isinstance(sources, Sequence) and not isinstance(sources, str)
        for source in sources if several else [sources]:
            self.add(source)

    def _children(self, panel: bool, height: str) -> list[ipywidgets.Widget]:
        layout = ipywidgets.Layout(flex="20 1 420px", min_width="280px", height=height)
        self.leaflet.layout = layout
        parts: list[ipywidgets.Widget] = [self.leaflet]
        if panel:
            self._panel.layout = ipywidgets.Layout(
                flex="1 1 290px", min_width="240px", max_height=height, overflow="auto"
            )
            parts.append(self._panel)
        row = ipywidgets.Box(parts, layout=ipywidgets.Layout(display="flex", flex_flow="row wrap"))
        return [self.message, row, self._overlay]

    @property
    def center(self) -> tuple[float, float]:
        """(latitude, longitude) of the middle."""
        lat, lon = self.leaflet.center
        return float(lat), float(lon)

    @property
    def zoom(self) -> float:
        """The zoom."""
        return float(self.leaflet.zoom)

    @property
    def attached(self) -> bool:
        """Whether a page shows the layers."""
        return int(self._overlay.attached) > 0

    def add(
        self,
        source: Any,
        *,
        name: str | None = None,
        fit: bool | None = None,
        **settings: Any,
    ) -> MapLayer:
        """Add a layer on top.

        Args:
            source: A path of a raster or vector file, a dataset, a GeoDataFrame, a Region or a geometry
                in longitude and latitude. A dataset with images and labels becomes two layers.
            name: What the panel calls it.
            fit: Whether the map goes there; by default for the first layer.
            settings: Traits of the layer: ``bands``, ``percentiles``, ``gamma``, ``opacity``, ``visible``, ….

        Returns:
            The layer (of two, that of the image): change its traits and the map follows.

        Raises:
            BadInput: When the source is nothing that can be shown.
        """
        if isinstance(source, (Region, BaseGeometry)) or hasattr(source, "__geo_interface__"):
            layer: MapLayer = FeatureLayer(features_of(source), name=name or "area", **settings)
            return self._put(layer, fit)
        dataset, words = open_source(source)
        title = name or title_of(dataset)
        if dataset.kind != "both":
            return self._put(RasterLayer(dataset, source=words, name=title, **settings), fit)
        image = RasterLayer(dataset, source=words, name=title, **settings)
        self._put(image, fit)
        labels = RasterLayer(dataset, kind="labels", source=words, name=f"{title}: labels", opacity=0.6)
        self._put(labels, False)
        return image

    def add_features(
        self,
        features: Sequence[dict[str, Any]],
        *,
        name: str = "features",
        on_click: Callable[[int], None] | None = None,
        fit: bool | None = False,
        **settings: Any,
    ) -> FeatureLayer:
        """Add outlines as one layer.

        Args:
            features: GeoJSON features in longitude and latitude; see :class:`FeatureLayer`.
            name: What the panel calls it.
            on_click: Hears the id of a feature that is clicked.
            fit: Whether the map goes there.
            settings: Traits of the layer.
        """
        layer = FeatureLayer(features, name=name, **settings)
        if on_click is not None:
            self._click[layer.id] = on_click
        self._put(layer, fit)
        return layer

    def _put(self, layer: MapLayer, fit: bool | None) -> MapLayer:
        taken = {other.name for other in self.layers}
        base, number = layer.name, 2
        while layer.name in taken:
            layer.name = f"{base} {number}"
            number += 1
        layer.observe(self._layer_changed)
        self.layers = (*self.layers, layer)
        if isinstance(layer, RasterLayer):
            slow = slow_files(layer.dataset)
            if slow:
                self.message.say(
                    f"{Path(slow[0]).name} is large and has no overviews, so whole views are slow. "
                    "Fix: gdaladdo, or gdal_translate -of COG",
                    "warning",
                )
        if fit or (fit is None and not self._fitted):
            self.fit(layer)
        return layer

    def remove(self, layer: MapLayer | str) -> None:
        """Take a layer away."""
        found = self.layer(layer) if isinstance(layer, str) else layer
        if self.comparing and found.id in (self.comparing["left"], self.comparing["right"]):
            self.compare(None)
        self.layers = tuple(other for other in self.layers if other is not found)
        found.unobserve(self._layer_changed)
        self._click.pop(found.id, None)
        if self._overlay.tiler is not None:
            self._overlay.tiler.store.forget(found.id)

    def layer(self, name: str) -> MapLayer:
        """Return a layer by its name or id.

        Raises:
            BadInput: When there is none.
        """
        for found in self.layers:
            if name in (found.name, found.id):
                return found
        names = ", ".join(other.name for other in self.layers) or "no layer"
        raise BadInput(explain("no such layer", got=repr(name), expected=names))

    def fit(self, layer: MapLayer | str | None = None) -> None:
        """Go to a layer, or to all of them."""
        chosen = [self.layer(layer) if isinstance(layer, str) else layer] if layer else list(self.layers)
        boxes = [b for b in (one.bounds() for one in chosen if one is not None) if b is not None]
        if boxes:
            self.go(
                min(b[0] for b in boxes), min(b[1] for b in boxes),
                max(b[2] for b in boxes), max(b[3] for b in boxes),
            )  # fmt: skip

    def go(self, west: float, south: float, east: float, north: float) -> None:
        """Show a box, in degrees."""
        self._serial += 1
        self._fitted = True
        self._overlay.view = [[south, west], [north, east], self._serial]

    def compare(
        self, left: MapLayer | str | None, right: MapLayer | str | None = None, position: float = 0.5
    ) -> None:
        """Show one layer left of a divider and another right of it; ``compare(None)`` ends it.

        Raises:
            BadInput: When one is missing, or both are the same.
        """
        if left is None:
            self.comparing = None
            return
        sides = [self.layer(s) if isinstance(s, str) else s for s in (left, right)]
        if sides[0] is sides[1] or not all(isinstance(s, RasterLayer) for s in sides):
            raise BadInput(
                explain("two raster layers can be compared", got=[getattr(s, "name", None) for s in sides])
            )
        for side in sides:
            assert side is not None
            side.visible = True
        assert sides[0] is not None and sides[1] is not None
        self.comparing = {
            "left": sides[0].id, "right": sides[1].id, "position": min(max(float(position), 0.0), 1.0)
        }  # fmt: skip

    def inspect(self, lon: float, lat: float) -> list[dict[str, Any]]:
        """Read the native pixel of every visible raster layer at a place, the top layer first.

        Returns:
            One ``{layer, values: [[name, value], …], note}`` a layer.
        """
        shown = [n for n in reversed(self.layers) if isinstance(n, RasterLayer) and n.visible]
        self.inspected = [layer.value_at(lon, lat) for layer in shown]
        self._panel.values = self.inspected
        self._panel.place = place_words(lon, lat)
        self.state.place = (lon, lat)
        return self.inspected

    def recipe(self) -> str:
        """Return a code cell that makes this map again."""
        return map_recipe(self)

    # What follows answers changes of traits and messages from the page.

    def _specs(self) -> list[dict[str, Any]]:
        return [layer_spec(layer) for layer in self.layers]

    def _layers_changed(self, _: Any) -> None:
        features = {
            n.id: {"type": "FeatureCollection", "features": n.features}
            for n in self.layers
            if isinstance(n, FeatureLayer)
        }
        if features != self._overlay.features:
            self._overlay.features = features
        self._show()

    def _show(self) -> None:
        specs = self._specs()
        self._overlay.layers = specs
        self._panel.layers = specs

    def _layer_changed(self, change: Any) -> None:
        if change["name"] == "features":
            self._layers_changed(change)
        elif not (change["name"] != "version" and isinstance(change["owner"], RasterLayer)
                  and change["name"] in ("bands", "percentiles", "limits", "gamma", "colormap")):  # fmt: skip
            self._show()  # a drawing setting is followed by the change of version

    def _raster(self, layer_id: str) -> RasterLayer | None:
        return next((n for n in self.layers if n.id == layer_id and isinstance(n, RasterLayer)), None)

    def _failed(self, text: str) -> None:
        self.message.say(text, "error")

    @guarded
    def _heard(self, message: dict[str, Any]) -> None:
        kind = message.get("kind")
        if kind == "point" and not self._pinned:
            self.inspect(float(message["lon"]), float(message["lat"]))
        elif kind == "pin":
            self.pin(float(message["lon"]), float(message["lat"]))
        elif kind == "set" and message.get("name") in _SETTABLE:
            value = message["value"]
            layer = self.layer(str(message["layer"]))
            try:
                setattr(layer, message["name"], tuple(value) if isinstance(value, list) else value)
            except Exception:
                self._panel.layers = []  # so that the panel shows again what holds
                self._panel.layers = self._specs()
                raise
            self.message.clear()
        else:
            self._asked(kind, message)

    def _asked(self, kind: Any, message: dict[str, Any]) -> None:
        if kind == "fit":
            self.fit(self.layer(str(message["layer"])))
        elif kind == "move":
            self.move(self.layer(str(message["layer"])), int(message["by"]))
        elif kind == "compare":
            self.compare(message.get("left"), message.get("right"))
        elif kind == "box":
            self.area = None if message.get("box") is None else typed_box(message["box"])
        elif kind == "feature":
            layer = self.layer(str(message["layer"]))
            assert isinstance(layer, FeatureLayer)
            layer.selected = int(message["id"])
            if layer.id in self._click:
                self._click[layer.id](int(message["id"]))

    def pin(self, lon: float, lat: float) -> None:
        """Keep a place: its values stay while the pointer moves; the same place again lets it go."""
        pinned = self._overlay.pin if self._pinned else None
        again = pinned is not None and near(pinned, lon, lat, self.zoom)
        self._pinned = not again
        self._overlay.pin = None if again else [lon, lat]
        self.inspect(lon, lat)

    def move(self, layer: MapLayer, by: int) -> None:
        """Move a layer up (positive) or down among the others."""
        order = list(self.layers)
        place = order.index(layer)
        order.insert(min(max(place + by, 0), len(order) - 1), order.pop(place))
        self.layers = tuple(order)

    @guarded
    def _drawn(self, _: Any, action: str, geo_json: dict[str, Any]) -> None:
        if action == "deleted":
            self.area = None
        elif geo_json and geo_json.get("geometry"):
            self.area = Region(shape(geo_json["geometry"]), "EPSG:4326")

    def _area_changed(self, _: Any) -> None:
        region = self.area
        self._panel.area = "" if region is None else area_words(region)
        self._panel.box = [] if region is None else [float(v) for v in region.geometry.bounds]
        wanted = [] if region is None else [drawing(region)]
        if self._draw.data != wanted:
            self._draw.data = wanted
        self.state.area = region

    def _state_area(self, change: Any) -> None:
        if change.new is not self.area:
            self.area = change.new

    def _compare_changed(self, _: Any) -> None:
        swipe = self.comparing
        if self._overlay.swipe != swipe:
            self._overlay.swipe = swipe
        self._panel.comparing = None if swipe is None else {k: swipe[k] for k in ("left", "right")}

    def _swiped(self, change: Any) -> None:
        if change.new != self.comparing:
            self.comparing = change.new

    def _missing(self, change: Any) -> None:
        if change.new < 0:
            self.message.say(
                "This front end does not give access to its map, so the layers cannot be drawn. "
                "Fix: open the notebook in JupyterLab or Notebook 7 with ipyleaflet 0.20",
                "error",
            )

    def close(self) -> None:
        """Stop the threads and take the map off all pages."""
        overlay = getattr(self, "_overlay", None)  # not there when the arguments were wrong
        if overlay is not None:
            overlay.tiler.close()
            for part in (self.leaflet, overlay, self._panel, self.message):
                part.close()
        super().close()
