"""Rasters derived from datasets, block by block: burnt labels, spectral indices, stacks of layers."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox

from geotoolbox.core.classes import ClassTable
from geotoolbox.core.events import SILENT, Reporter, Stage
from geotoolbox.core.query import ALWAYS, Query, Reading, TimeInterval
from geotoolbox.datasets.base import GeoDataset
from geotoolbox.errors import BadInput, BadLabels, explain
from geotoolbox.prediction.outputs import (
    BLOCK_PX,
    Block,
    class_dtype,
    class_nodata,
    write_class_raster,
    write_raster_atomic,
)

__all__ = ["compute_indices", "rasterize_labels", "stack_layers"]

_STEP_PX = 2 * BLOCK_PX


def rasterize_labels(
    labels: GeoDataset,
    geobox: GeoBox,
    output: Path,
    *,
    time: TimeInterval = ALWAYS,
    nodata: int | None = None,
    reporter: Reporter = SILENT,
) -> None:
    """Burn a label layer onto a grid, as a COG of class values with palette and names.

    Args:
        labels: A dataset with classes (polygons or a raster).
        geobox: The grid, usually that of the imagery.
        output: The file to write, whole or not at all.
        time: When, for labels that have dates.
        nodata: The value of pixels without a label; one that no class uses where None.
        reporter: Who listens.

    Raises:
        BadLabels: When the dataset has no classes, or nodata is a class value.
    """
    classes = labels.classes
    if classes is None or len(classes) == 0:
        raise BadLabels(explain("this layer has no classes", got=labels.kind, expected="a layer of labels"))
    fill = class_nodata(classes) if nodata is None else nodata
    dtype = class_dtype(classes, fill)

    def burn(reading: Reading) -> NDArray[Any]:
        return _values(reading, classes, fill).astype(dtype)

    blocks = _blocks(labels, geobox, time, burn, Stage(reporter, "rasterize", total=_area(geobox)))
    write_class_raster(output, blocks, geobox, classes, nodata=fill)


def _values(reading: Reading, classes: ClassTable, fill: int) -> NDArray[np.int64]:
    if reading.mask is None:
        raise BadLabels(explain("this layer answered without labels", expected="a mask"))
    return classes.to_value(reading.mask, fill)


def compute_indices(
    images: GeoDataset,
    indices: Sequence[str],
    output: Path,
    *,
    geobox: GeoBox | None = None,
    time: TimeInterval = ALWAYS,
    scale: float = 1.0,
    reporter: Reporter = SILENT,
) -> None:
    """Compute spectral indices of a scene, one band each (float32, NaN where undefined).

    Args:
        images: A dataset with image bands.
        indices: Names (``NDVI``) or ``name = expression``.
        output: The COG to write, whole or not at all.
        geobox: The grid; that of the only scene where None.
        time: When.
        scale: What to multiply stored numbers with to get reflectance (only EVI2 and SAVI depend on it).
        reporter: Who listens.

    Raises:
        BandMismatch: When an index needs a band that is not there.
        BadInput: When no index is given, or there are several scenes and no ``geobox``.
        UnsafeInput: When an expression is more than band arithmetic.
    """
    import torch

    from geotoolbox.transforms.indices import compute_index, parse_indices

    names = tuple(band.name for band in images.bands)
    found = parse_indices(list(indices), names)
    if not found:
        raise BadInput(explain("no index is given", expected="at least one, for example NDVI"))
    grid = _only_grid(images) if geobox is None else geobox

    def compute(reading: Reading) -> NDArray[Any]:
        image = torch.from_numpy(_image(reading))
        planes = []
        for index in found:
            value, defined = compute_index(index, image, names, scale)
            good = defined.numpy().reshape(reading.valid.shape) & reading.valid
            planes.append(np.where(good, value.numpy().reshape(good.shape), np.nan))
        return np.stack(planes).astype(np.float32)

    blocks = _blocks(images, grid, time, compute, Stage(reporter, "indices", total=_area(grid)))
    bands = [index.name for index in found]
    write_raster_atomic(output, blocks, grid, dtype="float32", bands=bands, nodata=float("nan"))


def stack_layers(
    images: GeoDataset,
    output: Path,
    *,
    geobox: GeoBox | None = None,
    time: TimeInterval = ALWAYS,
    reporter: Reporter = SILENT,
) -> None:
    """Write an image layer (``a & b & c`` for several) as one multi-band COG on one grid.

    Values are stored as float32, since layers of different kinds share a file; NaN where there is no data.

    Args:
        images: A dataset with image bands; layers are combined with ``&``.
        output: The COG to write, whole or not at all.
        geobox: The grid; that of the only scene where None.
        time: When.
        reporter: Who listens.

    Raises:
        BadInput: When there are several scenes and no ``geobox``.
    """
    grid = _only_grid(images) if geobox is None else geobox

    def stack(reading: Reading) -> NDArray[Any]:
        return np.where(reading.valid, _image(reading), np.float32(np.nan)).astype(np.float32)

    blocks = _blocks(images, grid, time, stack, Stage(reporter, "stack", total=_area(grid)))
    bands = [band.name for band in images.bands]
    write_raster_atomic(output, blocks, grid, dtype="float32", bands=bands, nodata=float("nan"))


def _image(reading: Reading) -> NDArray[np.float32]:
    if reading.image is None or reading.image.ndim != 3:
        got = "labels" if reading.image is None else "a time series"
        raise BadInput(explain("this layer is no single image", got=got, expected="one image of (C, H, W)"))
    return reading.image


def _only_grid(images: GeoDataset) -> GeoBox:
    grids = list(dict.fromkeys(scene.geobox for scene in images.scenes()))
    if len(grids) != 1:
        raise BadInput(
            explain(
                "the grid of the output is not clear",
                got=f"{len(grids)} scenes on different grids",
                expected="one",
                fix="pass geobox=, for example that of one of the scenes",
            )
        )
    return grids[0]


def _area(geobox: GeoBox) -> float:
    return float(geobox.height * geobox.width)


def _blocks(
    dataset: GeoDataset,
    geobox: GeoBox,
    time: TimeInterval,
    make: Callable[[Reading], NDArray[Any]],
    stage: Stage,
) -> Iterator[Block]:
    """Read the grid block by block, on multiples of the file's internal tiles."""
    for top in range(0, geobox.height, _STEP_PX):
        for left in range(0, geobox.width, _STEP_PX):
            rows = slice(top, min(top + _STEP_PX, geobox.height))
            columns = slice(left, min(left + _STEP_PX, geobox.width))
            reading = dataset.read(Query(geobox[rows, columns], time))
            yield (rows, columns), make(reading)
            stage.advance(float((rows.stop - top) * (columns.stop - left)))
