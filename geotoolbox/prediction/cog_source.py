"""A raster as it shall look in its COG: names, palette, nodata and tags over the pixels of another file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal
from xml.sax.saxutils import escape, quoteattr

from rasterio.io import DatasetReader

from geotoolbox.core.classes import ClassTable
from geotoolbox.errors import CannotWrite, explain

__all__ = ["BandInfo", "Look", "Resampling", "virtual_copy"]

Resampling = Literal["mode", "nearest", "average"]

_PALETTE_DTYPES = ("uint8", "uint16")
_GDAL_TYPES = {
    "uint8": "Byte", "int8": "Int8", "uint16": "UInt16", "int16": "Int16", "uint32": "UInt32",
    "int32": "Int32", "float32": "Float32", "float64": "Float64",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class BandInfo:
    """One band of an output: its name, and how stored numbers become physical ones.

    ``physical = stored * scale + offset``.
    """

    name: str
    scale: float = 1.0
    offset: float = 0.0


@dataclass(frozen=True, slots=True)
class Look:
    """What the copy to COG adds to the pixels."""

    bands: tuple[BandInfo, ...]
    nodata: float | None
    resampling: Resampling
    tags: Mapping[str, str] = field(default_factory=dict)
    classes: ClassTable | None = None


def virtual_copy(raster: DatasetReader, source: Path, look: Look) -> str:
    """Return a GDAL virtual raster: the source's pixels with the look's names, palette, nodata and tags."""
    if raster.count != len(look.bands):
        raise CannotWrite(
            explain(
                "band names do not match the bands", where=source, got=len(look.bands), expected=raster.count
            )
        )
    t = raster.transform
    srs = "" if raster.crs is None else f"<SRS>{escape(raster.crs.to_wkt())}</SRS>"
    numbers = ", ".join(repr(float(v)) for v in (t.c, t.a, t.b, t.f, t.d, t.e))
    tags = "".join(f"<MDI key={quoteattr(k)}>{escape(str(v))}</MDI>" for k, v in sorted(look.tags.items()))
    bands = "".join(_band(raster, source, number, look) for number in raster.indexes)
    return (
        f'<VRTDataset rasterXSize="{raster.width}" rasterYSize="{raster.height}">{srs}'
        f"<GeoTransform>{numbers}</GeoTransform><Metadata>{tags}</Metadata>{bands}</VRTDataset>"
    )


def _band(raster: DatasetReader, source: Path, number: int, look: Look) -> str:
    info, dtype = look.bands[number - 1], raster.dtypes[number - 1]
    nodata = "" if look.nodata is None else f"<NoDataValue>{look.nodata!r}</NoDataValue>"
    if (info.scale, info.offset) != (1.0, 0.0):
        nodata += f"<Offset>{info.offset!r}</Offset><Scale>{info.scale!r}</Scale>"
    color = ""
    if look.classes is not None and dtype in _PALETTE_DTYPES:
        color = f"<ColorInterp>Palette</ColorInterp><ColorTable>{_palette(look.classes)}</ColorTable>"
    rectangle = f'xOff="0" yOff="0" xSize="{raster.width}" ySize="{raster.height}"'
    return (
        f'<VRTRasterBand dataType="{_GDAL_TYPES[dtype]}" band="{number}">'
        f"<Description>{escape(info.name)}</Description>{nodata}{color}<SimpleSource>"
        f'<SourceFilename relativeToVRT="0">{escape(str(source.resolve()))}</SourceFilename>'
        f"<SourceBand>{number}</SourceBand><SrcRect {rectangle}/><DstRect {rectangle}/></SimpleSource>"
        "</VRTRasterBand>"
    )


def _palette(classes: ClassTable) -> str:
    colors = {info.value: color for info, color in zip(classes, classes.colors, strict=True)}
    rows = ((*colors[v], 255) if v in colors else (0, 0, 0, 0) for v in range(max(classes.values) + 1))
    return "".join(f'<Entry c1="{r}" c2="{g}" c3="{b}" c4="{a}"/>' for r, g, b, a in rows)
