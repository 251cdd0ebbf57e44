"""The error raster: for each pixel, what was taken for what."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox

from geotoolbox.core.classes import ClassInfo, ClassTable, Color
from geotoolbox.prediction.lattice import Window
from geotoolbox.prediction.outputs import class_dtype, write_class_raster

__all__ = ["error_classes", "error_codes", "write_error_raster"]

RIGHT: Color = (236, 236, 236)
"""The colour of pixels where map and reference agree."""


def error_classes(classes: ClassTable) -> ClassTable:
    """Return what each value of an error raster means: ``1 + reference · K + map``.

    Example:
        >>> table = error_classes(ClassTable.from_names(["field", "water"]))
        >>> [(c.value, c.name) for c in table]
        [(1, 'field'), (2, 'field → water'), (3, 'water → field'), (4, 'water')]
    """
    k, infos = len(classes), []
    for i, (truth, color) in enumerate(zip(classes, classes.colors, strict=True)):
        for j, mapped in enumerate(classes):
            name = truth.name if i == j else f"{truth.name} → {mapped.name}"
            infos.append(ClassInfo(1 + i * k + j, name, RIGHT if i == j else color))
    return ClassTable(tuple(infos))


def error_codes(num_classes: int) -> NDArray[np.int64]:
    """Return the raster's value for each joint code ``reference · (K + 2) + map``; 0 where a class is missing."""
    side = num_classes + 2
    truth, mapped = np.divmod(np.arange(side * side), side)
    both = (truth < num_classes) & (mapped < num_classes)
    return np.where(both, 1 + truth * num_classes + mapped, 0)


def write_error_raster(
    path: Path, windows: Iterable[tuple[Window, NDArray[np.integer]]], geobox: GeoBox, classes: ClassTable
) -> None:
    """Write the raster from windows of joint codes, in bounded memory, whole or not at all.

    Args:
        path: The COG to write; a ``.qml`` and a ``.aux.xml`` go beside it.
        windows: Places and (H, W) codes ``reference · (K + 2) + map``.
        geobox: The map's grid.
        classes: The K classes.
    """
    legend = error_classes(classes)
    table = error_codes(len(classes)).astype(class_dtype(legend, 0))
    blocks = (((slice(w.top, w.bottom), slice(w.left, w.right)), table[codes]) for w, codes in windows)
    write_class_raster(path, blocks, geobox, legend, nodata=0)
