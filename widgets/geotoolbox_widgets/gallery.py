"""A gallery of small pictures: one sheet for all of them, choosable by mouse and keyboard."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import traitlets
from numpy.typing import NDArray

from geotoolbox.visualization.webmap import encode_webp, sprite_sheet
from geotoolbox_widgets.base import EsmWidget, plain_dict, script, style

__all__ = ["Gallery"]

_SHEET_COLUMNS = 8
_MOST_CELLS = 256


class Gallery(EsmWidget):
    """Shows pictures in a grid; one is selected.

    The keys are those of a list: arrows, Home and End move, Enter or Space selects; other keys that
    ``told_keys`` names are told.

    Args:
        on_key: Hears (key, id) of ``told_keys`` that are pressed on a cell.
        settings: Traits.

    Example:
        >>> gallery = Gallery()
        >>> gallery.show([np.zeros((4, 4, 4), np.uint8)], labels=["nothing"], ids=[7])
        >>> gallery.cells[0]["id"], len(gallery.sheet) > 0
        (7, True)
    """

    _esm = script("dom.js", "gallery.js")
    _css = style("gallery.css")

    sheet = traitlets.Bytes(b"", help="all pictures in one WebP, row by row").tag(sync=True)
    top = traitlets.Bytes(b"", help="all masks in one WebP, drawn over the pictures").tag(sync=True)
    cells: Any = traitlets.List(help="{id, label, note, mark, group} of each picture").tag(sync=True)
    sheet_columns = traitlets.Int(_SHEET_COLUMNS, help="pictures in a row of the sheet").tag(sync=True)
    size_px = traitlets.Int(96, min=24, max=512, help="side of a picture on the page").tag(sync=True)
    overlay = traitlets.Float(0.5, min=0.0, max=1.0, help="how strongly masks are drawn").tag(sync=True)
    selected = traitlets.Int(-1, help="the id of the selected picture; -1 for none").tag(sync=True)
    title = traitlets.Unicode("Pictures", help="what screen readers call the grid").tag(sync=True)
    told_keys: Any = traitlets.List(traitlets.Unicode(), help="keys that are told to Python").tag(sync=True)
    empty = traitlets.Unicode("Nothing to show.", help="what stands where there is no picture").tag(sync=True)

    def __init__(self, on_key: Callable[[str, int], None] | None = None, **settings: Any) -> None:
        super().__init__(**settings)
        self._on_key = on_key
        self.on_msg(self._receive)

    def show(
        self,
        pictures: Sequence[NDArray[np.uint8]],
        *,
        overlays: Sequence[NDArray[np.uint8]] | None = None,
        labels: Sequence[str] = (),
        notes: Sequence[str] = (),
        ids: Sequence[int] | None = None,
        marks: Sequence[str] = (),
        groups: Sequence[tuple[str, str]] = (),
        cell_px: int | None = None,
    ) -> None:
        """Show these pictures in place of those before.

        Args:
            pictures: (H, W, 4) each, at most 256.
            overlays: A mask for each, drawn over it.
            labels: What each shows, in a sentence, for screen readers and as a tooltip.
            notes: A few words below each.
            ids: A number for each; by default their positions.
            marks: ``excluded``, or a few words drawn on the picture.
            groups: (name, colour) of each, as a bar beside it.
            cell_px: Pixels of each picture that are sent; by default what is shown.
        """
        count = min(len(pictures), _MOST_CELLS)
        numbers = list(ids) if ids is not None else list(range(count))
        side = cell_px or self.size_px
        columns = min(_SHEET_COLUMNS, max(1, count))
        with self.hold_sync():
            self.sheet = _sheet(pictures[:count], side, columns, exact=False)
            self.top = _sheet(overlays[:count], side, columns, exact=True) if overlays else b""
            self.sheet_columns = columns
            self.cells = [
                {
                    "id": int(numbers[i]),
                    "label": _at(labels, i),
                    "note": _at(notes, i),
                    "mark": _at(marks, i),
                    "group": list(groups[i]) if i < len(groups) else [],
                }
                for i in range(count)
            ]

    def remark(self, marks: dict[int, str], notes: dict[int, str] | None = None) -> None:
        """Change marks (and notes) by id; the pictures stay."""
        told = notes or {}
        self.cells = [
            {**cell, "mark": marks.get(cell["id"], ""), "note": told.get(cell["id"], cell["note"])}
            for cell in self.cells
        ]

    def _receive(self, _: Any, content: Any, buffers: Any) -> None:
        message = plain_dict(content)
        if message.get("kind") == "key" and self._on_key is not None:
            self._on_key(str(message.get("key")), int(message.get("id", -1)))


def _sheet(pictures: Sequence[NDArray[np.uint8]], side: int, columns: int, *, exact: bool) -> bytes:
    if not pictures:
        return b""
    rows = math.ceil(len(pictures) / columns)
    # WebP has at most 16383 pixels a side.
    side = min(side, 16_000 // max(rows, columns))
    return encode_webp(sprite_sheet(pictures, side, columns, smooth=not exact), exact=exact)


def _at(texts: Sequence[str], place: int) -> str:
    return texts[place] if place < len(texts) else ""
