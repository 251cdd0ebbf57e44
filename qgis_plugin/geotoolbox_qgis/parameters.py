"""From a job's settings to QGIS parameters, and back from their values."""

from __future__ import annotations

import os
from typing import Any, Iterator, List, Mapping, Optional, Tuple

from qgis.core import (
    QgsProcessing,
    QgsProcessingAlgorithm,
    QgsProcessingContext,
    QgsProcessingOutputNumber,
    QgsProcessingOutputString,
    QgsProcessingParameterBoolean,
    QgsProcessingParameterCrs,
    QgsProcessingParameterDefinition,
    QgsProcessingParameterEnum,
    QgsProcessingParameterExtent,
    QgsProcessingParameterFeatureSource,
    QgsProcessingParameterField,
    QgsProcessingParameterFile,
    QgsProcessingParameterFileDestination,
    QgsProcessingParameterFolderDestination,
    QgsProcessingParameterMultipleLayers,
    QgsProcessingParameterNumber,
    QgsProcessingParameterRasterDestination,
    QgsProcessingParameterRasterLayer,
    QgsProcessingParameterString,
    QgsProcessingParameterVectorDestination,
)

from .definition import Definition, LayerInput, Output, Step, parameter_name
from .jobs import fields_of, results_of
from .texts import tr

__all__ = [
    "Setting",
    "column_name",
    "layer_parameters",
    "make_parameter",
    "output_numbers",
    "settings_of",
    "value_of",
]

_FLAG = QgsProcessingParameterDefinition.Flag
_TITLES = {
    "model": "Network",
    "count": "Number of chips",
    "crs": "CRS of the map",
    "maximum_minutes": "Time for training",
    "validation_percent": "Ground held out",
    "unlabelled": "Unlabelled ground is",
    "indices": "Spectral indices",
    "patch_px": "Patch side",
    "size_px": "Side of a chip",
    "overlap_px": "Overlap",
    "method": "Placed",
    "epochs": "Epochs at most",
    "baseline": "Compare with a random forest",
    "augment": "Augment (flips and turns)",
    "allow_single_class": "Train although there is one class only",
    "all_touched": "Polygons take every pixel they touch",
    "label_crs": "CRS of labels that do not say it",
    "label_encoding": "Encoding of the labels' texts",
    "label_buffer_m": "Radius around points and lines",
    "label_order": "Overlapping labels: on top is",
    "resume": "Go on where a stopped run ended",
    "strict": "Stop at the first part that fails",
    "maximum_nodata_percent": "Nodata at most",
    "minimum_area_m2": "Smallest polygon",
    "simplify_m": "Simplify edges by",
}
_LISTS = "Separate several with commas."


class Setting:
    """A setting of a job that becomes a parameter as it is.

    Attributes:
        parameter: Its name in QGIS.
        field: The setting as ``jobs.json`` has it.
        advanced: Whether the dialog hides it at first.
    """

    def __init__(self, parameter: str, field: Mapping[str, Any], advanced: bool, title: str = "") -> None:
        self.parameter, self.field, self.advanced, self._title = parameter, field, advanced, title

    @property
    def title(self) -> str:
        """What the dialog calls it."""
        name, unit = str(self.field["name"]), self.field.get("unit")
        if self.field["role"] == "input" and name == "model":
            return tr("Model")
        text = self._title or _TITLES.get(name)
        if text is None:
            words = name.rsplit("_", 1)[0] if unit and "_" in name else name
            text = words.replace("_", " ").capitalize()
        return tr(text) + (f" [{unit}]" if unit else "")


def settings_of(step: Step) -> Iterator[Setting]:
    """Yield the settings of a step that are neither layers, outputs nor filled in: the basic ones first."""
    fields = fields_of(step.job)
    taken = {place.field for place in step.layers} | {out.field for out in step.outputs}
    taken |= {place.column for place in step.layers} | set(step.hidden) | set(step.given)
    left = [name for name in fields if name not in taken]
    basic = [name for name in step.basic if name in left]
    for name in basic + [name for name in left if name not in basic]:
        field = fields[name]
        advanced = name not in basic and not field["required"]
        yield Setting(parameter_name(step, name), field, advanced, step.titles.get(name, ""))


def column_name(place: LayerInput) -> str:
    """Return the parameter for a column of a layer: FIELD."""
    return "FIELD"


def layer_parameters(place: LayerInput, step: Step) -> List[QgsProcessingParameterDefinition]:
    """Return the parameter of a layer, and that of its column where it has one."""
    fields = fields_of(step.job)
    field = fields[place.field]
    optional = place.optional or not field["required"]
    title, made = tr(place.title), []
    if place.kind == "rasters":
        kind = QgsProcessing.SourceType.TypeRaster
        made.append(QgsProcessingParameterMultipleLayers(place.parameter, title, kind, None, optional))
    elif place.kind == "layers":
        kind = QgsProcessing.SourceType.TypeMapLayer
        made.append(QgsProcessingParameterMultipleLayers(place.parameter, title, kind, None, optional))
    elif place.kind == "raster":
        made.append(QgsProcessingParameterRasterLayer(place.parameter, title, None, optional))
    else:
        made.append(_feature_source(place, title, optional))
    if place.column:
        default = fields[place.column]["default"]
        column = QgsProcessingParameterField(
            column_name(place), tr("Class column"), default, place.parameter, optional=True
        )
        column.setHelp(sentence(fields[place.column]["description"]))
        made.append(column)
    made[0].setHelp(tr(place.help) if place.help else sentence(field["description"]))
    return made


def _feature_source(place: LayerInput, title: str, optional: bool) -> QgsProcessingParameterDefinition:
    types = QgsProcessing.SourceType
    kinds = {
        "polygons": [types.TypeVectorPolygon],
        "points": [types.TypeVectorPoint],
        "vector": [types.TypeVectorPolygon, types.TypeVectorLine, types.TypeVectorPoint],
    }[place.kind]
    return QgsProcessingParameterFeatureSource(place.parameter, title, kinds, None, optional)


def make_parameter(setting: Setting) -> QgsProcessingParameterDefinition:
    """Return the parameter of a setting."""
    made = _of_kind(setting)
    field = setting.field
    text = sentence(field["description"])
    if field["many"] and field["role"] == "value":
        text += " " + tr(_LISTS)
    made.setHelp(text)
    # The hints become a list to choose from, so they are given only where they are all there is.
    if field["name"] == "model" and field.get("examples"):
        made.setMetadata({"widget_wrapper": {"value_hints": list(field["examples"])}})
    elif field["kind"] == "number" and field.get("unit") and not field["many"]:
        made.setMetadata({"widget_wrapper": {"decimals": 2}})
    if setting.advanced:
        made.setFlags(made.flags() | _FLAG.FlagAdvanced)
    return made


def _of_kind(setting: Setting) -> QgsProcessingParameterDefinition:
    name, title, field = setting.parameter, setting.title, setting.field
    default = field["default"]
    optional = not field["required"] and default in (
        None,
        [],
        "",
    )  # a default is always there: nothing to leave out
    if field["role"] == "input":
        kinds = tr("All files (*)")
        if field["name"] == "model":
            kinds = tr("GeoToolbox models (*.gtb)") + ";;" + kinds
        return QgsProcessingParameterFile(
            name, title, optional=optional, defaultValue=default, fileFilter=kinds
        )
    if field["name"] == "crs":
        return QgsProcessingParameterCrs(name, title, default, optional)
    if field["kind"] == "boolean":
        return QgsProcessingParameterBoolean(name, title, default, optional)
    if field.get("choices"):
        return QgsProcessingParameterEnum(
            name, title, field["choices"], False, default, optional, usesStaticStrings=True
        )
    if field["kind"] in ("integer", "number") and not field["many"]:
        return _number(setting, optional)
    text = ", ".join(map(str, default)) if isinstance(default, list) else default
    return QgsProcessingParameterString(name, title, text, False, optional)


def _number(setting: Setting, optional: bool) -> QgsProcessingParameterNumber:
    field = setting.field
    types = QgsProcessingParameterNumber.Type
    kind = types.Integer if field["kind"] == "integer" else types.Double
    made = QgsProcessingParameterNumber(setting.parameter, setting.title, kind, field["default"], optional)
    if "minimum" in field or "above" in field:
        made.setMinimum(float(field.get("minimum", field.get("above"))))
    if "maximum" in field or "below" in field:
        made.setMaximum(float(field.get("maximum", field.get("below"))))
    return made


def web_parameters() -> List[QgsProcessingParameterDefinition]:
    """Return the parameters for layers that have no pixels of their own."""
    extent = QgsProcessingParameterExtent("EXTENT", tr("Extent"), None, True)
    extent.setHelp(tr("Use only this rectangle. Web layers need it: that part of them is downloaded."))
    size = QgsProcessingParameterNumber(
        "PIXEL_SIZE",
        tr("Pixel size of web layers"),
        QgsProcessingParameterNumber.Type.Double,
        None,
        True,
        0.0,
    )
    size.setHelp(
        tr("For web layers only, in units of the layer's CRS: how large the pixels are that are downloaded.")
    )
    for made in (extent, size):
        made.setFlags(made.flags() | _FLAG.FlagAdvanced)
    return [extent, size]


def output_parameter(out: Output, step: Step, default: Any = None) -> QgsProcessingParameterDefinition:
    """Return the parameter of a file to write."""
    title, shown = tr(out.title), not out.optional
    if out.kind == "raster":
        made = QgsProcessingParameterRasterDestination(out.parameter, title, default, out.optional, shown)
    elif out.kind == "vector":
        kind = QgsProcessing.SourceType.TypeVectorAnyGeometry
        made = QgsProcessingParameterVectorDestination(
            out.parameter, title, kind, default, out.optional, shown
        )
    elif out.kind == "folder":
        made = QgsProcessingParameterFolderDestination(out.parameter, title, default, out.optional, shown)
    else:
        kinds = tr("HTML files (*.html)") if out.kind == "html" else out.filter
        made = QgsProcessingParameterFileDestination(
            out.parameter, title, kinds, default, out.optional, shown
        )
    made.setHelp(sentence(fields_of(step.job)[out.field]["description"]))
    return made


def output_numbers(definition: Definition) -> Iterator[Tuple[str, Any]]:
    """Yield (result's name, output) for the numbers and texts that models can branch on.

    A result that is called like a parameter (the epochs that were run, the epochs at most) ends in ``_DONE``.
    """
    outputs = [out for step in definition.steps for out in step.outputs]
    files = {out.result or out.field for out in outputs}
    taken = {out.parameter for out in outputs}
    taken |= {setting.parameter for step in definition.steps for setting in settings_of(step)}
    taken |= {place.parameter for step in definition.steps for place in step.layers}
    seen = set()
    for step in definition.steps:
        for result in results_of(step.job):
            name = str(result["name"])
            if name in files or name in seen:
                continue
            seen.add(name)
            title = tr(name.replace("_", " ").capitalize())
            kind = QgsProcessingOutputNumber if result["kind"] == "number" else QgsProcessingOutputString
            yield name, kind(name.upper() + ("_DONE" if name.upper() in taken else ""), title)


def value_of(
    algorithm: QgsProcessingAlgorithm,
    setting: Setting,
    parameters: Mapping[str, Any],
    context: QgsProcessingContext,
) -> Optional[Any]:
    """Return the value of a setting as the job takes it, or None where it is left open."""
    name, field = setting.parameter, setting.field
    definition = algorithm.parameterDefinition(name)
    given = parameters.get(name, definition.defaultValue() if definition else None)
    if given is None or given == "":
        return None
    if field["role"] == "input":
        path = algorithm.parameterAsFile(parameters, name, context)
        return os.path.abspath(path) if path else None  # the engine stands in another folder
    if field["name"] == "crs":
        crs = algorithm.parameterAsCrs(parameters, name, context)
        return (crs.authid() or crs.toWkt()) if crs.isValid() else None
    if field["many"]:
        return split_words(algorithm.parameterAsString(parameters, name, context), field["kind"])
    read = {
        "boolean": algorithm.parameterAsBoolean,
        "integer": algorithm.parameterAsInt,
        "number": algorithm.parameterAsDouble,
        "string": algorithm.parameterAsEnumString if field.get("choices") else algorithm.parameterAsString,
    }[field["kind"]]
    found = read(parameters, name, context)
    return None if found == "" else found


def split_words(text: str, kind: str) -> List[Any]:
    """Split ``a, b`` or ``a; b`` into its parts.

    Semicolons go first, so that an expression may have commas.
    """
    parts = [part.strip() for part in text.split(";" if ";" in text else ",")]
    made = {"integer": int, "number": float}.get(kind, str)
    return [made(part) for part in parts if part]


def sentence(text: str) -> str:
    """Return a description with a capital and a full stop."""
    text = text.strip()
    return tr(text[:1].upper() + text[1:] + ("" if text.endswith((".", "…", "?")) else ".")) if text else ""
