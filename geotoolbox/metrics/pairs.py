"""A map and its reference read together, as small codes of the shared classes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox

from geotoolbox.alignment import Resampling, read_onto
from geotoolbox.alignment.source import Source
from geotoolbox.core.classes import ClassTable
from geotoolbox.core.query import Query, Reading, Scene
from geotoolbox.datasets import RasterDataset
from geotoolbox.errors import BadLabels, explain
from geotoolbox.indexing.records import FileRecord
from geotoolbox.metrics.matching import ClassMatch

__all__ = ["Codes", "LabelLayer", "PairReader", "open_pair"]

Codes = NDArray[Any]
"""Class indices 0 … K-1; K where there is no class; K + 1 where a file's value is in no class table."""

_LOOKUP_DTYPES = ("uint8", "int8", "uint16", "int16")


class LabelLayer(Protocol):
    """What is compared: any dataset with classes."""

    @property
    def classes(self) -> ClassTable | None:
        """The classes that the layer's masks refer to."""

    def scenes(self) -> tuple[Scene, ...]:
        """The native grids."""

    def read(self, query: Query) -> Reading:
        """Read a mask onto a grid."""


@dataclass(frozen=True, slots=True)
class PairReader:
    """Reads windows of both layers; may be used from several threads.

    Attributes:
        num_classes: K, the number of shared classes.
        read_truth: A grid to (H, W) codes of the reference.
        read_map: A grid to (H, W) codes of the map.
        file_block_px: (rows, columns) of the files' own blocks, the largest of both; None where not known.
    """

    num_classes: int
    read_truth: Callable[[GeoBox], Codes]
    read_map: Callable[[GeoBox], Codes]
    file_block_px: tuple[int, int] | None = None


def open_pair(map_layer: LabelLayer, reference: LabelLayer, match: ClassMatch) -> PairReader:
    """Make the quickest reader that gives what the layers' own ``read`` would give.

    A layer of one file of small whole numbers is read in its own data type and looked up by value; any other
    layer by its ``read``.
    """
    k = len(match.classes)
    truth = _reader(reference, match.reference_lookup, k, "the reference")
    mapped = _reader(map_layer, match.map_lookup, k, "the map")
    shapes = [s for s in (_file_block(reference), _file_block(map_layer)) if s is not None]
    block = (max(s[0] for s in shapes), max(s[1] for s in shapes)) if shapes else None
    return PairReader(k, truth, mapped, block)


@dataclass(frozen=True, slots=True)
class _OneFile:
    """A layer of one label file, read in the file's own data type."""

    source: Source
    record: FileRecord
    resampling: Resampling
    table: NDArray[Any]
    num_classes: int

    def read(self, geobox: GeoBox) -> Codes:
        """Read codes onto a grid."""
        self.record.check_unchanged()
        values, valid = read_onto(self.source, geobox, self.resampling, keep_dtype=True)
        codes = self.table[values[0].view(values.dtype.str.replace("i", "u"))]
        if not valid.all():
            codes[~valid[0]] = self.num_classes
        return codes


def _file_block(layer: LabelLayer) -> tuple[int, int] | None:
    found = _only_source(layer)
    return None if found is None else found[0].block_shape


def _only_source(layer: LabelLayer) -> tuple[Source, FileRecord] | None:
    """Return what a layer of one file of small whole numbers reads; None for any other layer."""
    if not isinstance(layer, RasterDataset) or len(layer.scenes()) != 1:
        return None
    units = layer.units_for(Query(layer.scenes()[0].geobox))
    if len(units) != 1 or len(units[0].sources) != 1:
        return None
    return units[0].sources[0] if units[0].sources[0][0].dtype in _LOOKUP_DTYPES else None


def _reader(
    layer: LabelLayer, lookup: NDArray[np.int64], num_classes: int, what: str
) -> Callable[[GeoBox], Codes]:
    dtype = np.uint8 if num_classes + 2 <= 256 else np.uint16
    only = _only_source(layer)
    if only is not None and isinstance(layer, RasterDataset):
        assert layer.classes is not None
        table = _value_table(layer.classes, only[0].dtype, lookup, num_classes, dtype)
        return _OneFile(*only, layer.resampling, table, num_classes).read
    indices = np.append(lookup, num_classes).astype(dtype)

    def read(geobox: GeoBox) -> Codes:
        mask = layer.read(Query(geobox)).mask
        if mask is None:
            raise BadLabels(explain(f"{what} answered without a mask", expected="a layer of labels"))
        inside = (mask >= 0) & (mask < len(lookup))
        return indices[np.where(inside, mask, len(lookup))]

    return read


def _value_table(
    classes: ClassTable, stored: str, lookup: NDArray[np.int64], num_classes: int, dtype: type[Any]
) -> NDArray[Any]:
    """Return the code of each value that the file's type can hold, by the value's bits taken as unsigned."""
    limits = np.iinfo(stored)
    table = np.full(int(limits.max) - int(limits.min) + 1, num_classes + 1, dtype=dtype)
    for value, index in zip(classes.values, lookup.tolist(), strict=True):
        if limits.min <= value <= limits.max:
            table[value] = index  # a negative value counts from the end, as its bits do
    return table
