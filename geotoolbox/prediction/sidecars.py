"""What stands beside a result, or in it: an attribute table with the class names, and a QGIS style."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from xml.sax.saxutils import escape, quoteattr

from geotoolbox.core.classes import ClassTable
from geotoolbox.core.files import atomic_path

__all__ = [
    "add_default_style",
    "attribute_table_xml",
    "polygon_style_xml",
    "ramp_style_xml",
    "raster_style_xml",
    "write_text",
]

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

# Even steps for the eye, also for colour-blind ones (five colours of matplotlib's viridis).
_RAMP = ("#440154", "#3b528b", "#21918c", "#5ec962", "#fde725")

# The table in which QGIS keeps styles in a GeoPackage, as QGIS makes it.
_STYLE_TABLE = """CREATE TABLE layer_styles (id INTEGER PRIMARY KEY AUTOINCREMENT NOT NULL,
f_table_catalog TEXT(256), f_table_schema TEXT(256), f_table_name TEXT(256), f_geometry_column TEXT(256),
styleName TEXT(30), styleQML TEXT, styleSLD TEXT, useAsDefault BOOLEAN, description TEXT, owner TEXT(30),
ui TEXT(30), update_time DATETIME)"""


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


def ramp_style_xml(low: float = 0.0, high: float = 1.0, band: int = 1) -> str:
    """Return a QGIS style (``.qml``) that draws one band from dark (``low``) to light (``high``)."""
    steps = len(_RAMP) - 1
    items = "".join(
        f'<item value="{low + (high - low) * i / steps:g}" label="{low + (high - low) * i / steps:g}" '
        f'color="{color}" alpha="255"/>'
        for i, color in enumerate(_RAMP)
    )
    return (
        "<!DOCTYPE qgis PUBLIC 'http://mrcc.com/qgis.dtd' 'SYSTEM'>\n"
        '<qgis version="3.28" styleCategories="AllStyleCategories">\n  <pipe>\n'
        f'    <rasterrenderer type="singlebandpseudocolor" band="{band}" opacity="1" alphaBand="-1" '
        f'nodataColor="" classificationMin="{low:g}" classificationMax="{high:g}">\n'
        f'      <rastershader><colorrampshader colorRampType="INTERPOLATED" classificationMode="1" clip="0" '
        f'minimumValue="{low:g}" maximumValue="{high:g}">{items}</colorrampshader></rastershader>\n'
        "    </rasterrenderer>\n  </pipe>\n</qgis>\n"
    )


def add_default_style(geopackage: Path, layer: str, style: str, geometry: str = "geom") -> None:
    """Put a QGIS style into a GeoPackage as the layer's default, so that it is copied with the file.

    Args:
        geopackage: The file; it must not have styles yet.
        layer: The layer's name.
        style: The style as ``.qml`` text.
        geometry: The layer's geometry column.
    """
    with closing(sqlite3.connect(geopackage)) as database, database:
        # The layer's own date, not today's: the same map gives the same file.
        (date,) = database.execute(
            "SELECT last_change FROM gpkg_contents WHERE table_name = ?", (layer,)
        ).fetchone()
        database.execute(_STYLE_TABLE)
        database.execute(
            "INSERT INTO gpkg_contents (table_name, data_type, identifier, last_change) VALUES (?, ?, ?, ?)",
            ("layer_styles", "attributes", "layer_styles", date),
        )
        database.execute(
            "INSERT INTO layer_styles (f_table_catalog, f_table_schema, f_table_name, f_geometry_column, styleName, "
            "styleQML, styleSLD, useAsDefault, description, update_time) VALUES ('', '', ?, ?, ?, ?, '', 1, '', ?)",
            (layer, geometry, "classes", style, date),
        )


def polygon_style_xml(classes: ClassTable, column: str = "value", *, by_name: bool = False) -> str:
    """Return a QGIS style (``.qml``) that fills polygons by class, with the map's colours and names.

    Args:
        classes: The classes.
        column: The column that tells the class.
        by_name: Whether the column holds names, not values.
    """
    categories, symbols = [], []
    for i, (info, color) in enumerate(zip(classes, classes.colors, strict=True)):
        key = quoteattr(info.name if by_name else str(info.value))
        categories.append(f'<category value={key} symbol="{i}" label={quoteattr(info.name)} render="true"/>')
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
