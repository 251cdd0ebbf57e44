"""What a raster file says about itself, read once."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path

import pyproj
import rasterio
from affine import Affine
from defusedxml import ElementTree
from odc.geo.geobox import GeoBox
from pyproj.exceptions import CRSError
from rasterio.enums import ColorInterp

from geotoolbox.core.classes import Color
from geotoolbox.core.opening import open_raster
from geotoolbox.core.sniffing import local_path
from geotoolbox.errors import BadInput, CannotAlign, CannotRead, explain

__all__ = ["RasterHeader", "describe", "header_of", "horizontal_crs", "is_on_earth"]


MAX_PROBE_PX = 4096 * 4096
"""The largest overview whose mask is looked at when a file is described."""


@dataclass(frozen=True, slots=True)
class RasterHeader:
    """The facts of one raster file; nothing of it stays open.

    Attributes:
        path: The path as it was given.
        driver: The GDAL driver's short name.
        width: Columns.
        height: Rows.
        crs: The horizontal CRS, as ``EPSG:n`` where that says all, else as WKT; None without one.
        transform: Pixel corner to CRS coordinates.
        count: Number of bands.
        dtypes: One numpy type name a band.
        nodata: The declared fill value of each band, or None.
        scales: What to multiply each band by (not applied when reading).
        offsets: What to add to each band afterwards (not applied when reading).
        units: The unit of each band, or None.
        descriptions: The name of each band, or None.
        colorinterp: The colour meaning of each band, such as ``gray``, ``red`` or ``alpha``.
        overviews: The factors of the overviews that can be used, finest first.
        block_shape: (rows, columns) of the file's own blocks.
        mask_flags: For each band, which of ``all_valid``, ``per_dataset``, ``alpha``, ``nodata`` hold.
        tags: The file's own metadata.
        size_bytes: Size of the file; 0 for a remote one.
        mtime_ns: Time of the last change; 0 for a remote file.
        colormap: Colour of each value of band 1, or None.
        category_names: Name of each value of band 1, or None.
        datetime_tag: The acquisition or file time as it is written in the file, or None.
        subdatasets: Names of the rasters inside, for container formats.
        gcp_count: Number of ground control points.
        has_rpcs: Whether rational polynomial coefficients are there.
    """

    path: str
    driver: str
    width: int
    height: int
    crs: str | None
    transform: Affine
    count: int
    dtypes: tuple[str, ...]
    nodata: tuple[float | None, ...]
    scales: tuple[float, ...]
    offsets: tuple[float, ...]
    units: tuple[str | None, ...]
    descriptions: tuple[str | None, ...]
    colorinterp: tuple[str, ...]
    overviews: tuple[int, ...]
    block_shape: tuple[int, int]
    mask_flags: tuple[tuple[str, ...], ...]
    tags: dict[str, str]
    size_bytes: int
    mtime_ns: int
    colormap: dict[int, Color] | None = None
    category_names: dict[int, str] | None = None
    datetime_tag: str | None = None
    subdatasets: tuple[str, ...] = ()
    gcp_count: int = 0
    has_rpcs: bool = False

    @property
    def geobox(self) -> GeoBox:
        """The file's own pixel grid.

        Raises:
            CannotAlign: When the file has no CRS or no geotransform (the reason is in the message).
        """
        reason = self.cannot_align()
        if reason is not None:
            raise CannotAlign(
                explain(
                    "this raster has no grid on the ground", where=self.path, got=reason[0], fix=reason[1]
                )
            )
        return GeoBox((self.height, self.width), self.transform, self.crs)

    @property
    def image_bands(self) -> tuple[int, ...]:
        """The numbers of the bands that hold data: all but alpha."""
        return tuple(n for n, kind in enumerate(self.colorinterp, start=1) if kind != "alpha")

    def cannot_align(self) -> tuple[str, str] | None:
        """Return why the file has no pixel grid, and what helps; None when it has one."""
        if self.transform == Affine.identity():
            return self._no_geotransform()
        if self.crs is None:
            return "no CRS", "add the right one: gdal_edit.py -a_srs EPSG:… file.tif"
        if not is_on_earth(self.crs):
            return (
                f"a CRS that is not tied to the earth: {pyproj.CRS(self.crs).name!r}",
                "give the CRS that the coordinates are in: gdal_edit.py -a_srs EPSG:… file.tif",
            )
        if abs(self.transform.determinant) == 0:
            return f"a geotransform without area: {tuple(self.transform)[:6]}", "write the right geotransform"
        return None

    def _no_geotransform(self) -> tuple[str, str]:
        if self.gcp_count:
            return (
                f"{self.gcp_count} ground control points only",
                "warp it first: gdalwarp -tps in.tif out.tif",
            )
        if self.has_rpcs:
            return (
                "rational polynomial coefficients (RPC) only",
                "orthorectify it first: gdalwarp -rpc in.tif out.tif",
            )
        return "no geotransform", "add one: gdal_edit.py -a_ullr … -a_srs EPSG:… file.tif"


def describe(
    path: str | Path,
    *,
    bands: Sequence[int] | None = None,
    allow_vrt: bool = False,
    allow_remote: bool = False,
) -> RasterHeader:
    """Read the header of one raster file.

    Args:
        path: The file.
        bands: Band numbers (from 1) that must be there; None for no demand.
        allow_vrt: As in :func:`~geotoolbox.core.opening.open_raster`.
        allow_remote: As in :func:`~geotoolbox.core.opening.open_raster`.

    Raises:
        CannotRead: When the file cannot be opened, or has no bands or no pixels.
        BadInput: When a band asked for is not in the file.
        UnsafeInput: As :func:`~geotoolbox.core.opening.open_raster`.
    """
    name = str(path)
    with open_raster(name, allow_vrt=allow_vrt, allow_remote=allow_remote) as dataset:
        header = header_of(name, dataset, allow_vrt=allow_vrt, allow_remote=allow_remote)
    missing = [b for b in bands or () if not 1 <= b <= header.count]
    if missing:
        raise BadInput(
            explain("no such band", where=name, got=f"bands {missing}", expected=f"1 to {header.count}")
        )
    return header


def header_of(
    name: str, dataset: rasterio.DatasetReader, *, allow_vrt: bool = False, allow_remote: bool = False
) -> RasterHeader:
    """Return the facts of a raster that is open; arguments and errors as :func:`describe`."""
    header = _read(name, dataset)
    masked = any("per_dataset" in f and "alpha" not in f for f in header.mask_flags)
    if header.overviews and masked:
        header = _with_masked_overviews(header, allow_vrt, allow_remote)
    return header


def _read(path: str, dataset: rasterio.DatasetReader) -> RasterHeader:
    subdatasets = tuple(dataset.subdatasets)
    if dataset.count == 0 or dataset.width == 0 or dataset.height == 0:
        inside = f" It holds: {', '.join(subdatasets[:5])}" if subdatasets else ""
        raise CannotRead(
            explain(
                "this file has no bands or no pixels of its own",
                where=path,
                got=f"{dataset.count} bands of {dataset.width} × {dataset.height}.{inside}",
                fix="name one of the rasters inside" if subdatasets else "leave the file out",
            )
        )
    local = local_path(path)
    facts = os.stat(local) if local is not None else None
    names, rat_colors = _categories(local) if local is not None else (None, None)
    gcps = dataset.gcps[0]
    return RasterHeader(
        path=path,
        driver=dataset.driver,
        width=dataset.width,
        height=dataset.height,
        crs=horizontal_crs(dataset.crs.to_wkt(version="WKT2_2019")) if dataset.crs else None,
        transform=dataset.transform,
        count=dataset.count,
        dtypes=tuple(dataset.dtypes),
        nodata=tuple(dataset.nodatavals),
        scales=tuple(dataset.scales),
        offsets=tuple(dataset.offsets),
        units=tuple(u or None for u in dataset.units),
        descriptions=tuple(dataset.descriptions),
        colorinterp=tuple(c.name for c in dataset.colorinterp),
        overviews=tuple(dataset.overviews(1)),
        block_shape=tuple(dataset.block_shapes[0]),
        mask_flags=tuple(tuple(f.name for f in flags) for flags in dataset.mask_flag_enums),
        tags=dict(dataset.tags()),
        size_bytes=facts.st_size if facts else 0,
        mtime_ns=facts.st_mtime_ns if facts else 0,
        colormap=_colormap(dataset) or rat_colors,
        category_names=names,
        datetime_tag=_datetime_tag(dataset),
        subdatasets=subdatasets,
        gcp_count=len(gcps),
        has_rpcs=dataset.rpcs is not None,
    )


def _with_masked_overviews(header: RasterHeader, allow_vrt: bool, allow_remote: bool) -> RasterHeader:
    """Keep overviews only when they have the mask too: without it, GDAL calls all their pixels valid."""
    coarsest = len(header.overviews) - 1
    with open_raster(
        header.path, allow_vrt=allow_vrt, allow_remote=allow_remote, overview_level=coarsest
    ) as overview:
        small = overview.width * overview.height <= MAX_PROBE_PX
        masked = small and bool((overview.read_masks(1) == 0).any())
    return header if masked else replace(header, overviews=())


@lru_cache(maxsize=512)
def horizontal_crs(text: str) -> str:
    """Return the horizontal part of a CRS, as ``EPSG:n`` where that loses nothing, else as WKT.

    Raises:
        BadInput: When PROJ does not understand the CRS.

    Example:
        >>> horizontal_crs("EPSG:32633+5773")
        'EPSG:32633'
    """
    try:
        crs = pyproj.CRS.from_user_input(text)
        if crs.is_compound:
            crs = next(c for c in crs.sub_crs_list if not c.is_vertical)
        if len(crs.axis_info) == 3 and not crs.is_geocentric:
            crs = crs.to_2d()
        code = crs.to_epsg() or (4326 if crs.is_geographic else None)
        if code and crs.equals(pyproj.CRS.from_epsg(code), ignore_axis_order=True):
            return f"EPSG:{code}"
        wkt: str = crs.to_wkt()
    except CRSError as error:
        raise BadInput(
            explain("this CRS is not understood", where=text[:80], got=str(error)[:200])
        ) from error
    return wkt


@lru_cache(maxsize=512)
def is_on_earth(crs: str) -> bool:
    """Tell whether a CRS places (x, y) on the earth: not a local (engineering) nor a geocentric one.

    Example:
        >>> is_on_earth("EPSG:32633"), is_on_earth("EPSG:4978")
        (True, False)
    """
    system = pyproj.CRS.from_user_input(crs)
    return system.geodetic_crs is not None and not system.is_geocentric


def _colormap(dataset: rasterio.DatasetReader) -> dict[int, Color] | None:
    if dataset.colorinterp[0] is not ColorInterp.palette:
        return None
    try:
        return {int(value): (c[0], c[1], c[2]) for value, c in dataset.colormap(1).items()}
    except ValueError:
        return None


def _datetime_tag(dataset: rasterio.DatasetReader) -> str | None:
    tags = dataset.tags()
    acquired = dataset.tags(ns="IMAGERY").get("ACQUISITIONDATETIME")
    return acquired or tags.get("ACQUISITIONDATETIME") or tags.get("TIFFTAG_DATETIME")


def _categories(local: str) -> tuple[dict[int, str] | None, dict[int, Color] | None]:
    """Read names and colours of values from the ``.aux.xml`` beside the file (GDAL's own form)."""
    side = Path(local + ".aux.xml")
    if not side.is_file():
        return None, None
    try:
        root = ElementTree.parse(str(side)).getroot()
    except Exception as error:
        raise CannotRead(
            explain("the side-car metadata is not valid XML", where=side, got=str(error))
        ) from error
    band = root.find("PAMRasterBand[@band='1']")
    if band is None:
        return None, None
    table = band.find("GDALRasterAttributeTable")
    if table is not None:
        names, colors = _attribute_table(table)
        if names:
            return names, colors or None
    texts = [c.text or "" for c in band.findall("CategoryNames/Category")]
    return ({i: t for i, t in enumerate(texts) if t} or None), None


_RAT_NAME, _RAT_VALUE, _RAT_RGB = "2", "5", ("6", "7", "8")


def _attribute_table(table: object) -> tuple[dict[int, str], dict[int, Color]]:
    """Return {value: name} and {value: colour} of a raster attribute table."""
    usage: dict[str | None, int] = {}
    for column in table.findall("FieldDefn"):  # type: ignore[attr-defined]
        usage.setdefault(column.findtext("Usage"), int(column.get("index")))
    if _RAT_VALUE not in usage or _RAT_NAME not in usage:
        return {}, {}
    names: dict[int, str] = {}
    colors: dict[int, Color] = {}
    for row in table.findall("Row"):  # type: ignore[attr-defined]
        cells = [f.text or "" for f in row.findall("F")]
        value = float(cells[usage[_RAT_VALUE]])
        if not value.is_integer():
            continue
        names[int(value)] = cells[usage[_RAT_NAME]]
        if all(u in usage for u in _RAT_RGB):
            r, g, b = (round(float(cells[usage[u]] or 0)) for u in _RAT_RGB)
            colors[int(value)] = (r, g, b)
    return names, colors
