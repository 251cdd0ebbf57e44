"""How QGIS shows points to label: a list of classes to choose from, and a colour for what is labelled already."""

from __future__ import annotations

from xml.sax.saxutils import quoteattr

from geotoolbox.core.classes import ClassTable, Color

__all__ = ["label_style_xml"]

_NOTHING = "{2839923C-8B7D-419E-B84B-CA2FE9B80EC7}"  # QGIS's own word for NULL in a list of values
_TO_DO: Color = (255, 0, 200)


def label_style_xml(classes: ClassTable, locked: tuple[str, ...], column: str = "reference") -> str:
    """Return a QGIS style (``.qml``) for points to label.

    Args:
        classes: What can be chosen.
        locked: Columns that cannot be edited.
        column: The column to fill in.

    Example:
        >>> text = label_style_xml(ClassTable.from_names({1: "water"}), ("id",))
        >>> 'value="water"' in text, '<field name="id" editable="0"/>' in text
        (True, True)
    """
    shown = [
        (info.name, info.name, color, "circle") for info, color in zip(classes, classes.colors, strict=True)
    ]
    shown.append(("", "not labelled yet", _TO_DO, "cross2"))
    categories = "".join(
        f'<category value={quoteattr(value)} symbol="{i}" label={quoteattr(text)} render="true"/>'
        for i, (value, text, _, _) in enumerate(shown)
    )
    symbols = "".join(_symbol(i, color, shape) for i, (_, _, color, shape) in enumerate(shown))
    choices = [("(not labelled)", _NOTHING), *((name, name) for name in classes.names)]
    values = "".join(
        f'<Option type="Map"><Option name={quoteattr(text)} type="QString" value={quoteattr(value)}/></Option>'
        for text, value in choices
    )
    fields = "".join(f'<field name={quoteattr(name)} editable="0"/>' for name in locked)
    return (
        "<!DOCTYPE qgis PUBLIC 'http://mrcc.com/qgis.dtd' 'SYSTEM'>\n"
        '<qgis version="3.22" styleCategories="Symbology|Fields|Forms">\n'
        f'  <renderer-v2 type="categorizedSymbol" attr={quoteattr(column)} enableorderby="0" forceraster="0">\n'
        f"    <categories>{categories}</categories>\n    <symbols>{symbols}</symbols>\n  </renderer-v2>\n"
        f'  <fieldConfiguration><field name={quoteattr(column)}><editWidget type="ValueMap"><config><Option type="Map">'
        f'<Option name="map" type="List">{values}</Option></Option></config></editWidget></field></fieldConfiguration>\n'
        f"  <editable>{fields}</editable>\n</qgis>\n"
    )


def _symbol(number: int, color: Color, shape: str) -> str:
    options = "".join(
        f'<Option type="QString" name="{name}" value="{value}"/>'
        for name, value in (
            ("name", shape),
            ("color", ",".join(map(str, (*color, 255)))),
            ("outline_color", ",".join(map(str, (*color, 255))) if shape == "cross2" else "255,255,255,255"),
            ("outline_width", "0.5"),
            ("size", "3"),
        )
    )
    return (
        f'<symbol name="{number}" type="marker" alpha="1"><layer class="SimpleMarker" enabled="1">'
        f'<Option type="Map">{options}</Option></layer></symbol>'
    )
