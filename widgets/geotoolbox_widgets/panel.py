"""The panel beside a map: layers and their settings, legend, pixel values, area, comparison."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import traitlets

from geotoolbox.visualization.webmap import COLORMAPS
from geotoolbox_widgets.base import EsmWidget, plain_dict, script, style

__all__ = ["LayerPanel"]


class LayerPanel(EsmWidget):
    """Shows what a map holds and sends what the person asks for; it decides nothing.

    Args:
        on_message: Hears ``{kind, …}`` from the page.
    """

    _esm = script("dom.js", "panel.js")
    _css = style("panel.css")

    layers: Any = traitlets.List(help="the layers, bottom first, as plain data").tag(sync=True)
    comparing: Any = traitlets.Dict(
        allow_none=True, default_value=None, help="{left, right} ids, or None"
    ).tag(sync=True)
    values: Any = traitlets.List(help="pixel values under the pointer, by layer").tag(sync=True)
    place = traitlets.Unicode("", help="where they are, in words").tag(sync=True)
    area = traitlets.Unicode("", help="the drawn area, in words").tag(sync=True)
    box: Any = traitlets.List(help="west, south, east, north of the area, in degrees").tag(sync=True)
    colormaps: Any = traitlets.List(list(COLORMAPS), help="what a single band can be drawn in").tag(sync=True)

    def __init__(self, on_message: Callable[[dict[str, Any]], None], **settings: Any) -> None:
        super().__init__(**settings)
        self.on_msg(lambda _, content, __: on_message(plain_dict(content)))
