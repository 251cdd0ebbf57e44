"""The parts of the sample browser that the page draws: its tools, and one patch in detail."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import traitlets

from geotoolbox_widgets.base import EsmWidget, plain_dict, script, style

__all__ = ["PatchDetail", "SampleTools"]

Hear = Callable[[dict[str, Any]], None]


class SampleTools(EsmWidget):
    """Filters, views and pages; shows traits and sends what is asked for."""

    _esm = script("dom.js", "sample_tools.js")
    _css = style("samples.css")

    view = traitlets.Unicode("read", help="read or model").tag(sync=True)
    views: Any = traitlets.List(help="which views there are").tag(sync=True)
    overlay = traitlets.Float(0.5, help="how strongly masks are drawn").tag(sync=True)
    classes: Any = traitlets.List(help="class names").tag(sync=True)
    class_filter = traitlets.Unicode("", help="show samples with this class").tag(sync=True)
    nodata = traitlets.Float(100.0, help="show samples with at most so many per cent without data").tag(
        sync=True
    )
    parts: Any = traitlets.List(help="parts of the split").tag(sync=True)
    part_filter = traitlets.Unicode("", help="show samples of this part").tag(sync=True)
    page = traitlets.Int(0, help="which page").tag(sync=True)
    pages = traitlets.Int(1, help="how many pages").tag(sync=True)
    counts = traitlets.Unicode("", help="how many are drawn, shown, left out").tag(sync=True)
    legend: Any = traitlets.List(help="[name, colour] of each class").tag(sync=True)

    def __init__(self, hear: Hear, **settings: Any) -> None:
        super().__init__(**settings)
        self.on_msg(lambda _, content, __: hear(plain_dict(content)))


class PatchDetail(EsmWidget):
    """One patch, enlarged, with its facts and what is decided about it."""

    _esm = script("dom.js", "patch_detail.js")
    _css = style("samples.css")

    picture = traitlets.Bytes(b"", help="the image as WebP").tag(sync=True)
    top = traitlets.Bytes(b"", help="the mask as WebP").tag(sync=True)
    overlay = traitlets.Float(0.5, help="how strongly the mask is drawn").tag(sync=True)
    title = traitlets.Unicode("", help="which sample").tag(sync=True)
    facts: Any = traitlets.List(help="[name, value] pairs").tag(sync=True)
    classes: Any = traitlets.List(help="[name, colour, share in words, share] of each class there").tag(
        sync=True
    )
    excluded = traitlets.Bool(False, help="whether training leaves it out").tag(sync=True)
    weight = traitlets.Float(1.0, help="how often training draws it").tag(sync=True)
    chart = traitlets.Unicode("", help="the class balance as SVG, drawn by the engine").tag(sync=True)
    chart_text = traitlets.Unicode("", help="the same in words").tag(sync=True)

    def __init__(self, hear: Hear, **settings: Any) -> None:
        super().__init__(**settings)
        self.on_msg(lambda _, content, __: hear(plain_dict(content)))
