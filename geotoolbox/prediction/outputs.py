"""Rasters that last: Cloud-Optimised GeoTIFFs with palette, class names, nodata and fitting overviews.

Work in progress is a plain tiled GeoTIFF; what this module finishes is copied to a COG in a ``.part`` file,
compared with its source, and renamed. So a file under its final name is always whole.
"""

from __future__ import annotations

import json
import os
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
import rasterio.shutil
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox
from rasterio.errors import RasterioError
from rasterio.io import DatasetReader, MemoryFile
from rasterio.windows import Window

from geotoolbox.core.classes import ClassTable
from geotoolbox.core.files import NEARLY_FULL_BYTES, atomic_path, check_space, check_writable, free_bytes
from geotoolbox.errors import BadLabels, CannotWrite, NoSpace, explain
from geotoolbox.prediction.cog_source import BandInfo, Look, virtual_copy
from geotoolbox.prediction.sidecars import attribute_table_xml, raster_style_xml, write_text

__all__ = [
    "BLOCK_PX",
    "BandInfo",
    "class_dtype",
    "class_nodata",
    "finalize_class_map",
    "finalize_continuous",
    "read_classes",
    "write_class_raster",
    "write_raster_atomic",
]

BLOCK_PX = 512
"""The side of a COG's internal tiles."""

_CLASS_DTYPES = ("uint8", "uint16", "int16", "int32")
_CACHE_BYTES = 64 << 20

Block = tuple[tuple[slice, slice], NDArray[Any]]


def class_nodata(classes: ClassTable) -> int:
    """Return a value for "no class here" that no class uses: 255, else 0, else the next free one.

    Example:
        >>> class_nodata(ClassTable.from_names({1: "water", 2: "land"}))
        255
        >>> class_nodata(ClassTable.from_names({1: "water", 255: "land"}))
        0
    """
    taken = set(classes.values)
    return next(v for v in (255, 0, 254, *range(65535, 0, -1)) if v not in taken)


def class_dtype(classes: ClassTable, nodata: int) -> str:
    """Return the smallest dtype that holds every class value and ``nodata`` (never wraps a value).

    Raises:
        BadLabels: When a value fits no 32-bit integer, or nodata is a class value.

    Example:
        >>> class_dtype(ClassTable.from_names({1: "a", 300: "b"}), 0)
        'uint16'
    """
    if nodata in classes.values:
        raise BadLabels(
            explain(
                "nodata is also a class value",
                got=nodata,
                expected="a value that no class has",
                fix=f"use nodata={class_nodata(classes)}",
            )
        )
    values = (*classes.values, nodata)
    for dtype in _CLASS_DTYPES:
        limits = np.iinfo(dtype)
        if limits.min <= min(values) and max(values) <= limits.max:
            return dtype
    raise BadLabels(
        explain(
            "a class value fits no raster",
            got=f"{min(values)} … {max(values)}",
            expected="values within 32-bit integers",
            fix="give the classes smaller values",
        )
    )


def finalize_class_map(
    blocks_tif: Path,
    output: Path,
    classes: ClassTable,
    nodata: int,
    tags: Mapping[str, str] | None = None,
) -> None:
    """Copy a finished raster of class values to a COG that GIS programs show with names and colours.

    Writes ``output``, ``output + ".aux.xml"`` (attribute table with names and colours) and a ``.qml`` style.
    Overviews take the most frequent class, so that no zoom level shows a class that is not there.

    Args:
        blocks_tif: A one-band integer raster of class values.
        output: The COG to write; replaced as a whole, or left as it is.
        classes: Value, name and colour of each class.
        nodata: The value of pixels without a class.
        tags: Metadata for the file.

    Raises:
        BadLabels: When the raster's dtype cannot hold the class values, or nodata is a class value.
        CannotWrite: When the copy differs from the source, or cannot be written.
        NoSpace: When the disk is, or becomes, too full.
    """
    class_dtype(classes, nodata)
    with rasterio.open(blocks_tif) as source:
        _check_values_fit(source.dtypes[0], classes, nodata, blocks_tif)
    every = {**(tags or {}), "GEOTOOLBOX_CLASSES": json.dumps(classes.to_json(), ensure_ascii=False)}
    look = Look((BandInfo("class"),), nodata, "mode", every, classes)
    with _copy_to_cog(Path(blocks_tif), Path(output), look):
        write_text(Path(f"{output}.aux.xml"), attribute_table_xml(classes))
        write_text(Path(output).with_suffix(".qml"), raster_style_xml(classes))


def read_classes(raster: DatasetReader) -> ClassTable | None:
    """Return the class table that :func:`finalize_class_map` wrote into a map, or None."""
    text = raster.tags().get("GEOTOOLBOX_CLASSES")
    if text is None:
        return None
    try:
        return ClassTable.from_json(json.loads(text))
    except (ValueError, TypeError, KeyError, IndexError) as error:
        raise BadLabels(explain("the map's class table is damaged", where=raster.name, got=error)) from error


def finalize_continuous(
    tif: Path,
    output: Path,
    band_names: Sequence[str],
    *,
    nodata: float | None = None,
    scale: float = 1.0,
    offset: float = 0.0,
    tags: Mapping[str, str] | None = None,
) -> None:
    """Copy a finished raster of measurements (probabilities, confidence, indices) to a COG.

    Args:
        tif: The raster to copy, of any band count.
        output: The COG to write; replaced as a whole, or left as it is.
        band_names: One name for each band.
        nodata: The stored value that means "no data" (NaN is allowed for floats).
        scale: ``physical = stored * scale + offset``, the same for all bands.
        offset: See ``scale``.
        tags: Metadata for the file.

    Raises:
        CannotWrite: When the copy differs from the source, or cannot be written.
        NoSpace: When the disk is, or becomes, too full.
    """
    bands = tuple(BandInfo(name, scale, offset) for name in band_names)
    with _copy_to_cog(Path(tif), Path(output), Look(bands, nodata, "average", dict(tags or {}))):
        Path(f"{output}.aux.xml").unlink(missing_ok=True)  # what an earlier file left would describe this one


def write_raster_atomic(
    path: Path,
    blocks: Iterable[Block],
    geobox: GeoBox,
    *,
    dtype: str,
    bands: Sequence[BandInfo | str] = ("1",),
    nodata: float | None = None,
    tags: Mapping[str, str] | None = None,
) -> None:
    """Write a standardised multi-band COG from blocks, in bounded memory, whole or not at all.

    Args:
        path: The file to write.
        blocks: Pairs of ``((row slice, column slice), array)``; an array is (H, W) or (B, H, W). Pixels that no
            block covers are ``nodata`` (0 without one).
        geobox: The grid of the raster.
        dtype: The dtype to store; an array of another dtype is refused, never cast.
        bands: Names, or names with scale and offset.
        nodata: The stored value that means "no data".
        tags: Metadata for the file.

    Raises:
        CannotWrite: When an array has another dtype or shape than its window, or writing fails.
        NoSpace: When the disk is, or becomes, too full.

    Example:
        >>> import tempfile
        >>> from affine import Affine
        >>> target = Path(tempfile.mkdtemp()) / "ones.tif"
        >>> grid = GeoBox((2, 3), Affine(10, 0, 0, 0, -10, 0), "EPSG:32633")
        >>> ones = np.ones((2, 3), "uint8")
        >>> write_raster_atomic(target, [((slice(0, 2), slice(0, 3)), ones)], grid, dtype="uint8")
        >>> with rasterio.open(target) as raster:
        ...     raster.read(1).sum(), raster.descriptions
        (np.uint64(6), ('1',))
    """
    infos = tuple(b if isinstance(b, BandInfo) else BandInfo(b) for b in bands)
    with _working_raster(path, blocks, geobox, dtype=dtype, count=len(infos), nodata=nodata) as work:
        with _copy_to_cog(work, Path(path), Look(infos, nodata, "average", dict(tags or {}))):
            Path(f"{path}.aux.xml").unlink(missing_ok=True)


def write_class_raster(
    path: Path,
    blocks: Iterable[Block],
    geobox: GeoBox,
    classes: ClassTable,
    *,
    nodata: int | None = None,
    tags: Mapping[str, str] | None = None,
) -> None:
    """Write blocks of class *values* as :func:`finalize_class_map` would, whole or not at all.

    Args:
        path: The COG to write.
        blocks: Pairs of ``((row slice, column slice), (H, W) array)`` in ``class_dtype(classes, nodata)``.
        geobox: The grid of the raster.
        classes: Value, name and colour of each class.
        nodata: The value of pixels without a class; ``class_nodata(classes)`` where None.
        tags: Metadata for the file.
    """
    fill = class_nodata(classes) if nodata is None else nodata
    with _working_raster(
        path, blocks, geobox, dtype=class_dtype(classes, fill), count=1, nodata=fill
    ) as work:
        finalize_class_map(work, Path(path), classes, fill, tags)


@contextmanager
def _working_raster(
    path: Path, blocks: Iterable[Block], geobox: GeoBox, *, dtype: str, count: int, nodata: float | None
) -> Iterator[Path]:
    """Put blocks into a tiled GeoTIFF beside ``path``, and take it away at the end."""
    path = Path(path)
    check_writable(path)
    check_space(path, int(np.prod(geobox.shape)) * count * np.dtype(dtype).itemsize // 8)
    work = path.with_name(f"{path.stem}.{os.getpid()}.work.tif")
    profile: dict[str, Any] = {
        "driver": "GTiff", "height": geobox.height, "width": geobox.width, "count": count, "dtype": dtype,
        "crs": None if geobox.crs is None else geobox.crs.to_wkt(), "transform": geobox.transform,
        "nodata": nodata, "tiled": True, "blockxsize": BLOCK_PX, "blockysize": BLOCK_PX,
        "compress": "deflate", "zlevel": 1, "bigtiff": "if_safer",
    }  # fmt: skip
    try:
        with atomic_path(work) as part, _writing(path):
            with rasterio.Env(GDAL_CACHEMAX=_CACHE_BYTES), rasterio.open(part, "w", **profile) as out:
                sums = [
                    (rows, columns, _write_block(out, rows, columns, data, path))
                    for (rows, columns), data in blocks
                ]
            _check_blocks(part, sums, path)
        yield work
    finally:
        work.unlink(missing_ok=True)


@contextmanager
def _writing(path: Path) -> Iterator[None]:
    """Turn GDAL's errors while writing into ours; GDAL often hides that the disk is full."""
    try:
        yield
    except RasterioError as error:
        found = " ".join(str(e) for e in (error, error.__cause__, error.__context__) if e is not None)
        free = free_bytes(path.parent)
        kind = NoSpace if free < NEARLY_FULL_BYTES or "no space" in found.lower() else CannotWrite
        raise kind(
            explain(
                "the raster could not be written",
                where=path,
                got=f"{found} ({free:,} bytes free)",
                fix="free some space or choose another output folder, then run the same command again",
            )
        ) from error


def _check_blocks(part: Path, sums: Sequence[tuple[slice, slice, int]], path: Path) -> None:
    """Read back what was written: on a full disk, GDAL may lose a cached block without an error."""
    with rasterio.Env(GDAL_CACHEMAX=_CACHE_BYTES), rasterio.open(part) as written:
        for rows, columns, crc in sums:
            if zlib.crc32(written.read(window=Window.from_slices(rows, columns)).tobytes()) != crc:
                raise _differs(
                    f"{path}, rows {rows.start}–{rows.stop}, columns {columns.start}–{columns.stop}"
                )


def _differs(where: str) -> CannotWrite:
    return CannotWrite(
        explain(
            "what was written differs from what should have been",
            where=where,
            fix="check the disk (and that no two blocks overlap), then run the same command again",
        )
    )


def _write_block(out: Any, rows: slice, columns: slice, data: NDArray[Any], path: Path) -> int:
    """Write one block and return its checksum."""
    planes = data if data.ndim == 3 else data[None]
    window = Window.from_slices(rows, columns)
    wanted = (out.count, int(window.height), int(window.width))
    if planes.shape != wanted or planes.dtype != np.dtype(out.dtypes[0]):
        raise CannotWrite(
            explain(
                "a block does not fit its raster",
                where=f"{path}, rows {rows.start}–{rows.stop}, columns {columns.start}–{columns.stop}",
                got=f"{planes.dtype} {planes.shape}",
                expected=f"{out.dtypes[0]} {wanted}",
            )
        )
    out.write(planes, window=window)
    return zlib.crc32(np.ascontiguousarray(planes).tobytes())


@contextmanager
def _copy_to_cog(source: Path, output: Path, look: Look) -> Iterator[None]:
    """Copy to ``output`` by a ``.part`` file; the body runs when the copy is whole, before the rename."""
    check_writable(output)
    with rasterio.open(source) as raster:
        document = virtual_copy(raster, source, look)
        integers = np.issubdtype(np.dtype(raster.dtypes[0]), np.integer)
    check_space(output, source.stat().st_size // 2)
    options = {
        "driver": "COG", "COMPRESS": "DEFLATE", "BLOCKSIZE": BLOCK_PX, "BIGTIFF": "IF_SAFER",
        "PREDICTOR": "NO" if look.classes else ("STANDARD" if integers else "FLOATING_POINT"),
        "OVERVIEW_RESAMPLING": look.resampling.upper(),
    }  # fmt: skip
    with atomic_path(output) as part:
        try:
            with _writing(output):
                with (
                    rasterio.Env(GDAL_CACHEMAX=_CACHE_BYTES),
                    MemoryFile(document.encode(), ext=".vrt") as file,
                ):
                    rasterio.shutil.copy(file.name, part, **options)
                _check_same_pixels(source, part, output)
        finally:
            for suffix in (".ovr.tmp", ".msk.ovr.tmp"):
                part.with_name(part.name + suffix).unlink(missing_ok=True)
        yield


def _check_same_pixels(source: Path, part: Path, output: Path) -> None:
    """Compare checksums: GDAL may report a full disk late, or only in the pixels."""
    with rasterio.Env(GDAL_CACHEMAX=_CACHE_BYTES), rasterio.open(source) as a, rasterio.open(part) as b:
        for band in a.indexes:
            if a.shape != b.shape or a.checksum(band) != b.checksum(band):
                raise _differs(f"{output}, band {band}")


def _check_values_fit(dtype: str, classes: ClassTable, nodata: int, where: Path) -> None:
    values = (*classes.values, nodata)
    kind = np.dtype(dtype)
    limits = np.iinfo(kind) if np.issubdtype(kind, np.integer) else None
    if limits is None or min(values) < limits.min or max(values) > limits.max:
        raise BadLabels(
            explain(
                "the raster cannot hold the class values",
                where=where,
                got=f"{dtype} and the values {min(values)} … {max(values)}",
                expected=class_dtype(classes, nodata),
                fix=f"write the raster as {class_dtype(classes, nodata)}",
            )
        )
