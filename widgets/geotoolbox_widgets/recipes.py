"""What a widget shows, as code: a cell that makes it again."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import traitlets

from geotoolbox_widgets.layers import FeatureLayer, MapLayer, RasterLayer
from geotoolbox_widgets.sources import dataset_words

if TYPE_CHECKING:
    from geotoolbox_widgets.layermap import LayerMap
    from geotoolbox_widgets.samples import SampleBrowser

__all__ = ["browser_recipe", "call", "changed_traits", "map_recipe"]

_BROWSER_TRAITS = (
    "view", "overlay", "class_filter", "part_filter", "max_nodata_percent", "excluded", "weights",
)  # fmt: skip
_LAYER_TRAITS = ("bands", "percentiles", "limits", "gamma", "colormap", "opacity", "visible")


def call(function: str, *args: str, **settings: Any) -> str:
    """Return a call as code; positional arguments are code already.

    Example:
        >>> call("view.add", "dataset", name="image", opacity=0.5)
        "view.add(dataset, name='image', opacity=0.5)"
    """
    parts = [*args, *(f"{k}={v!r}" for k, v in settings.items())]
    return f"{function}({', '.join(parts)})"


def changed_traits(owner: traitlets.HasTraits, names: tuple[str, ...]) -> dict[str, Any]:
    """Return the traits that are not at their defaults."""
    found = {}
    for name in names:
        if owner.has_trait(name):
            value, default = getattr(owner, name), owner.traits()[name].default(owner)
            if value != default:
                found[name] = value
    return found


def map_recipe(view: LayerMap) -> str:
    """Return a code cell that makes a LayerMap again."""
    lat, lon = view.center
    start: dict[str, Any] = {}
    if view.attached:
        start = {"center": (round(lat, 6), round(lon, 6)), "zoom": int(view.zoom)}
    if view.basemap:
        start["basemap"] = view.basemap
    lines = [
        "from geotoolbox import RasterDataset, Region, VectorDataset",
        "from geotoolbox_widgets import LayerMap",
    ]
    lines += ["from shapely import from_wkt", "", call("view = LayerMap", **start)]
    both: set[int] = set()
    for layer in view.layers:
        if isinstance(layer, RasterLayer) and layer.dataset.kind == "both":
            if id(layer.dataset) not in both and layer.kind == "image":
                lines.append(_added(layer, view.attached))
            both.add(id(layer.dataset))
        else:
            lines.append(_added(layer, view.attached))
    if view.comparing:
        left, right = (view.layer(view.comparing[side]).name for side in ("left", "right"))
        lines.append(call("view.compare", repr(left), repr(right), position=view.comparing["position"]))
    if view.area is not None:
        lines.append(f"view.area = Region(from_wkt({view.area.geometry.wkt!r}), 'EPSG:4326')")
    return "\n".join([*lines, "view"])


def _added(layer: MapLayer, placed: bool) -> str:
    settings = {"name": layer.name, **changed_traits(layer, _LAYER_TRAITS)}
    if isinstance(layer, FeatureLayer):
        return call("view.add_features", repr(layer.features), **settings)
    assert isinstance(layer, RasterLayer)
    if placed:
        settings["fit"] = False
    text = call("view.add", layer.source, **settings)
    return text if layer.source != "dataset" else f"{text}  # dataset: what you opened in a cell before"


def browser_recipe(browser: SampleBrowser) -> str:
    """Return a code cell that draws and decides the same as a SampleBrowser again."""
    words = dataset_words(browser.dataset)
    remark = "" if words != "dataset" else "  # dataset: what you opened in a cell before"
    first = words if browser.own_sampler else f"{words}, sampler"
    more = f"size_px={browser.size_px}, count={browser.count}, seed={browser.seed}"
    split = ", split=split" if browser.split else ""
    lines = [
        "from geotoolbox import RasterDataset, VectorDataset",
        "from geotoolbox_widgets import SampleBrowser",
        "",
        f"browser = SampleBrowser({first}, {more}{split}){remark}",
        *["browser.draw()"] * (browser.epoch - 1),
    ]
    decided = changed_traits(browser, _BROWSER_TRAITS)
    lines += [f"browser.{name} = {value!r}" for name, value in decided.items()]
    return "\n".join([*lines, "samples = browser.samples", "browser"])
