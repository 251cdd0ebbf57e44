"""The page's side of a map: tile layers, outlines, the swipe and the pointer, put into an ipyleaflet map."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import ipyleaflet
import traitlets

from geotoolbox_widgets.base import EsmWidget, plain_dict, script, style
from geotoolbox_widgets.tiles import TileKey, Tiler

__all__ = ["MapOverlay"]


class MapOverlay(EsmWidget):
    """Draws layers into a map, and tells what happens on it.

    Args:
        leaflet: The map.
        on_message: Hears everything from the page but wishes for tiles.
        settings: Traits.
    """

    _esm = script("overlay.js")
    _css = style("overlay.css")

    map_id = traitlets.Unicode(help="the model of the ipyleaflet map").tag(sync=True)
    layers: Any = traitlets.List(help="what is drawn, bottom first, as plain data").tag(sync=True)
    features: Any = traitlets.Dict(help="GeoJSON feature collections by layer id").tag(sync=True)
    swipe: Any = traitlets.Dict(
        allow_none=True, default_value=None, help="{left, right, position} or None"
    ).tag(sync=True)
    pointing = traitlets.Bool(True, help="whether the pointer's place is told while it moves").tag(sync=True)
    view: Any = traitlets.List(
        allow_none=True, default_value=None, help="[[south, west], [north, east], serial] to go to, or None"
    ).tag(sync=True)
    pin: Any = traitlets.List(
        allow_none=True, default_value=None, help="[longitude, latitude] that is marked, or None"
    ).tag(sync=True)
    attached = traitlets.Int(
        0, help="in how many maps the layers have been put; -1 where the page hides its map"
    ).tag(sync=True)

    def __init__(
        self, leaflet: ipyleaflet.Map, on_message: Callable[[dict[str, Any]], None], **settings: Any
    ) -> None:
        self.tiler: Tiler | None = None
        self._hear = on_message
        super().__init__(map_id=leaflet.model_id, **settings)
        self.on_msg(self._receive)

    def _receive(self, _: Any, content: Any, buffers: Any) -> None:
        message = plain_dict(content)
        kind = message.get("kind")
        if kind == "want" and self.tiler is not None:
            for wish in message.get("tiles", []):
                ticket, layer, *place = wish
                version, zoom, column, row = (int(n) for n in place)
                self.tiler.want(str(ticket), TileKey(str(layer), version, zoom, column, row))
        elif kind == "cancel" and self.tiler is not None:
            for ticket in message.get("tickets", []):
                self.tiler.cancel(str(ticket))
        else:
            self._hear(message)

    def send_tile(self, message: dict[str, Any], tile: bytes) -> None:
        """Send one tile; from any thread."""
        self.send(message, buffers=[tile])
