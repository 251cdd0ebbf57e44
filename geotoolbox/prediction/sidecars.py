"""What stands beside a class map: an attribute table with the class names, and a QGIS style."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from xml.sax.saxutils import escape, quoteattr

from geotoolbox.core.classes import ClassTable
from geotoolbox.core.files import atomic_path

__all__ = ["attribute_table_xml", "polygon_style_xml", "raster_style_xml", "write_text"]

# GDAL's codes for what a column of an attribute table means: (name, type, usage).
_COLUMNS = (
    ("Value", 0, 5),
    ("Class_name", 2, 2),
    ("Red", 0, 6),
    ("Green", 0, 7),
    ("Blue", 0, 8),
    ("Alpha", 0, 9),
)
_MAX_CATEGORIES = 4096


def attribute_table_xml(classes: ClassTable) -> str:
    """Return GDAL's ``.aux.xml`` with category names and a raster attribute table.

    Category names are a list by pixel value, so they are written only where no value is negative or very
    large; the attribute table is written always.

    Example:
        >>> text = attribute_table_xml(ClassTable.from_names({1: "water & ice"}))
        >>> "<F>1</F><F>water &amp; ice</F>" in text
        True
    """
    fields = "".join(
        f'<FieldDefn index="{i}"><Name>{name}</Name><Type>{kind}</Type><Usage>{usage}</Usage></FieldDefn>'
        for i, (name, kind, usage) in enumerate(_COLUMNS)
    )
    rows = "".join(
        f'<Row index="{i}">' + "".join(f"<F>{escape(str(cell))}</F>" for cell in cells) + "</Row>"
        for i, cells in enumerate(
            (info.value, info.name, *color, 255) for info, color in zip(classes, classes.colors, strict=True)
        )
    )
    return (
        f'<PAMDataset>\n  <PAMRasterBand band="1">\n    {_category_names(classes)}\n'
        f'    <GDALRasterAttributeTable tableType="thematic">{fields}{rows}</GDALRasterAttributeTable>\n'
        "  </PAMRasterBand>\n</PAMDataset>\n"
    )


def _category_names(classes: ClassTable) -> str:
    values = classes.values
    if not values or min(values) < 0 or max(values) >= _MAX_CATEGORIES:
        return ""
    names = {info.value: info.name for info in classes}
    rows = "".join(f"<Category>{escape(names.get(v, ''))}</Category>" for v in range(max(values) + 1))
    return f"<CategoryNames>{rows}</CategoryNames>"


def raster_style_xml(classes: ClassTable) -> str:
    """Return a QGIS style (``.qml``) that draws band 1 in the classes' colours with their names."""
    entries = "".join(
        f'<paletteEntry value="{info.value}" color="{_hex(color)}" alpha="255" label={quoteattr(info.name)}/>'
        for info, color in zip(classes, classes.colors, strict=True)
    )
    return (
        "<!DOCTYPE qgis PUBLIC 'http://mrcc.com/qgis.dtd' 'SYSTEM'>\n"
        '<qgis version="3.28" styleCategories="AllStyleCategories">\n  <pipe>\n'
        '    <rasterrenderer type="paletted" band="1" opacity="1" alphaBand="-1" nodataColor="">\n'
        f"      <colorPalette>{entries}</colorPalette>\n"
        "    </rasterrenderer>\n  </pipe>\n</qgis>\n"
    )


def polygon_style_xml(classes: ClassTable, column: str = "value") -> str:
    """Return a QGIS style (``.qml``) that fills polygons by class, with the map's colours and names."""
    categories, symbols = [], []
    for i, (info, color) in enumerate(zip(classes, classes.colors, strict=True)):
        categories.append(
            f'<category value="{info.value}" symbol="{i}" label={quoteattr(info.name)} render="true"/>'
        )
        options = "".join(
            f'<Option type="QString" name="{name}" value="{value}"/>'
            for name, value in (
                ("color", ",".join(map(str, (*color, 255)))),
                ("outline_color", "60,60,60,255"),
                ("outline_width", "0.1"),
                ("style", "solid"),
            )
        )
        symbols.append(
            f'<symbol name="{i}" type="fill" alpha="1"><layer class="SimpleFill" enabled="1">'
            f'<Option type="Map">{options}</Option></layer></symbol>'
        )
    return (
        "<!DOCTYPE qgis PUBLIC 'http://mrcc.com/qgis.dtd' 'SYSTEM'>\n"
        '<qgis version="3.28" styleCategories="AllStyleCategories">\n'
        f'  <renderer-v2 type="categorizedSymbol" attr={quoteattr(column)}>\n'
        f"    <categories>{''.join(categories)}</categories>\n    <symbols>{''.join(symbols)}</symbols>\n"
        "  </renderer-v2>\n</qgis>\n"
    )


def _hex(color: Sequence[int]) -> str:
    return "#{:02x}{:02x}{:02x}".format(*color)


def write_text(path: Path, text: str) -> None:
    """Write a small text file, whole or not at all."""
    with atomic_path(path) as part:
        part.write_text(text, encoding="utf-8")
