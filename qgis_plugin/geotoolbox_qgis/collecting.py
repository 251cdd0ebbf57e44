"""From what a person has set in a dialog to the settings of the jobs: layers become files here."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Dict, List, Mapping, Optional, Set, Tuple

from qgis.core import (
    QgsMapLayer,
    QgsProcessingAlgorithm,
    QgsProcessingContext,
    QgsProcessingException,
    QgsProcessingFeedback,
    QgsProcessingUtils,
    QgsRasterLayer,
    QgsVectorLayer,
)

from .classes import class_style
from .definition import Definition, LayerInput, Step
from .extent import extent_geojson
from .jobs import fields_of
from .layers import Source, WebGrid, raster_source, vector_layer, vector_source
from .overlap import check_overlap
from .parameters import column_name, settings_of, value_of
from .texts import tr

__all__ = ["Collected", "missing"]


class Collected:
    """What the worker's thread needs of the parameters: looked at in the main thread, no layer is kept.

    Args:
        algorithm: Reads its parameters.
        definition: What the algorithm is.
        parameters: As QGIS gives them.
        context: As QGIS gives it.

    Raises:
        QgsProcessingException: When a layer cannot be used, or layers do not go together, in words.
    """

    def __init__(
        self,
        algorithm: QgsProcessingAlgorithm,
        definition: Definition,
        parameters: Mapping[str, Any],
        context: QgsProcessingContext,
    ) -> None:
        self._algorithm, self._definition = algorithm, definition
        self._sources: Dict[str, List[Source]] = {}
        self._values: Dict[str, Dict[str, Any]] = {}
        self._styles: Dict[str, List[str]] = {}
        self._columns: Dict[str, str] = {}
        layers: Dict[str, List[QgsMapLayer]] = {}
        for step in definition.steps:
            fields = set(fields_of(step.job))
            for place in step.layers:
                if place.parameter not in layers:
                    layers[place.parameter] = self._look_at(place, fields, parameters, context)
            self._values[step.job] = {
                setting.field["name"]: value_of(algorithm, setting, parameters, context)
                for setting in settings_of(step)
            }
        self._area = self._extent_area(layers, parameters, context)
        check_overlap(layers, context)

    def _look_at(
        self,
        place: LayerInput,
        fields: Set[str],
        parameters: Mapping[str, Any],
        context: QgsProcessingContext,
    ) -> List[QgsMapLayer]:
        """Find the layers of a parameter and how each is read; return the layers."""
        found: List[Source] = []
        layers: List[QgsMapLayer] = []
        virtual = "allow_vrt" in fields
        if place.kind in ("polygons", "points", "vector"):
            if parameters.get(place.parameter) not in (None, ""):
                layer, selected, limit = vector_layer(parameters[place.parameter], context)
                _check_loaded(layer, place)
                layers.append(layer)
                one = place.layer_field not in fields
                found.append(vector_source(layer, context, selected=selected, limit=limit, one_table=one))
        elif place.kind == "raster":
            layer = self._algorithm.parameterAsRasterLayer(parameters, place.parameter, context)
            if layer is not None:
                layers.append(layer)
                found.append(raster_source(layer, None, virtual, context))
        else:
            layers = self._algorithm.parameterAsLayerList(parameters, place.parameter, context) or []
            found = [self._any_source(layer, virtual, parameters, context) for layer in layers]
        self._sources[place.parameter] = found
        column = (
            self._algorithm.parameterAsString(parameters, column_name(place), context) if place.column else ""
        )
        if layers and column:
            self._columns[place.parameter] = column
        if place.field in ("labels", "reference") and layers:
            self._styles[place.field] = class_style(layers[0], column)
        return layers

    def _any_source(
        self, layer: QgsMapLayer, virtual: bool, parameters: Mapping[str, Any], context: QgsProcessingContext
    ) -> Source:
        if isinstance(layer, QgsVectorLayer):
            return vector_source(layer, context, selected=False, limit=-1, one_table=False)
        if not isinstance(layer, QgsRasterLayer):
            raise QgsProcessingException(
                tr("The layer '{}' is neither raster nor vector.").format(layer.name())
            )
        return raster_source(layer, self._web_grid(layer, parameters, context), virtual, context)

    def _web_grid(
        self, layer: QgsMapLayer, parameters: Mapping[str, Any], context: QgsProcessingContext
    ) -> Optional[WebGrid]:
        if self._algorithm.parameterDefinition("EXTENT") is None or parameters.get("EXTENT") in (None, ""):
            return None
        size = self._algorithm.parameterAsDouble(parameters, "PIXEL_SIZE", context)
        extent = self._algorithm.parameterAsExtent(parameters, "EXTENT", context, layer.crs())
        return WebGrid(extent, size) if size > 0 and not extent.isNull() else None

    def _extent_area(
        self,
        layers: Mapping[str, List[QgsMapLayer]],
        parameters: Mapping[str, Any],
        context: QgsProcessingContext,
    ) -> Optional[str]:
        """Return the extent as GeoJSON, where one is given and no area."""
        if self._algorithm.parameterDefinition("EXTENT") is None or parameters.get("EXTENT") in (None, ""):
            return None
        if parameters.get("AREA") not in (None, "") or self._algorithm.parameterDefinition("AREA") is None:
            return None
        crs = self._algorithm.parameterAsExtentCrs(parameters, "EXTENT", context)
        layer = next((found[0] for found in layers.values() if found), None)
        if not crs.isValid() and layer is not None:
            crs = layer.crs()
        return extent_geojson(
            self._algorithm.parameterAsExtent(parameters, "EXTENT", context, crs), crs, context
        )

    def specs(self, paths: Dict[str, str], feedback: QgsProcessingFeedback) -> Dict[str, Dict[str, Any]]:
        """Return the settings of each step; exports are made here."""
        first = next(iter(paths.values()), "")
        folder = (
            Path(first).with_suffix(".inputs")
            if first
            else Path(QgsProcessingUtils.tempFolder()) / "geotoolbox"
        )
        if first and is_temporary(first) and "OUTPUT_MODEL" in paths and paths["OUTPUT_MODEL"] == first:
            feedback.pushWarning(
                tr("The model is written to a temporary folder and is gone when QGIS closes.")
            )
        files: Dict[str, List[Tuple[str, Source]]] = {}
        specs: Dict[str, Dict[str, Any]] = {}
        known: Dict[str, Any] = dict(paths)
        for step in self._definition.steps:
            spec = {name: value for name, value in self._values[step.job].items() if value is not None}
            for place in step.layers:
                if place.parameter not in files:
                    files[place.parameter] = [
                        (source.file(folder, f"{place.parameter.lower()}{number or ''}", feedback), source)
                        for number, source in enumerate(self._sources[place.parameter])
                    ]
                self._fill(spec, place, step, files[place.parameter])
            self._fill_area(spec, step, folder)
            spec.update({out.field: paths[out.parameter] for out in step.outputs if out.parameter in paths})
            spec.update(
                {name: known[parameter] for name, parameter in step.given.items() if parameter in known}
            )
            known.update({name.upper(): value for name, value in spec.items() if name.upper() not in known})
            specs[step.job] = spec
        return specs

    def _fill(
        self, spec: Dict[str, Any], place: LayerInput, step: Step, files: List[Tuple[str, Source]]
    ) -> None:
        """Put the files of a layer parameter, and what is known from the layer, into the settings."""
        if not files:
            return
        fields = fields_of(step.job)
        names = [path for path, _ in files]
        spec[place.field] = [*spec.get(place.field, []), *names] if fields[place.field]["many"] else names[0]
        source = files[0][1]
        if place.parameter in self._columns:
            spec[place.column] = self._columns[place.parameter]
        if place.layer_field and source.table and place.layer_field in fields:
            spec[place.layer_field] = source.table
        if "allow_vrt" in fields and any(one.virtual for _, one in files):
            spec["allow_vrt"] = True
        style = self._styles.get(place.field)
        if style and "class_style" in fields:
            spec["class_style"] = style

    def _fill_area(self, spec: Dict[str, Any], step: Step, folder: Path) -> None:
        if self._area and "area" in fields_of(step.job) and "area" not in spec:
            folder.mkdir(parents=True, exist_ok=True)
            path = folder / "extent.geojson"
            path.write_text(self._area, encoding="utf-8")
            spec["area"] = str(path)


def _check_loaded(layer: Any, place: LayerInput) -> None:
    if not isinstance(layer, QgsVectorLayer):
        raise QgsProcessingException(
            tr(
                "{}: this vector layer could not be loaded. Fix: check the path, or add it to the project."
            ).format(tr(place.title))
        )


def is_temporary(path: str) -> bool:
    """Tell whether a file is gone when QGIS closes."""
    return Path(QgsProcessingUtils.tempFolder()) in Path(path).parents


def missing(definition: Definition, parameters: Mapping[str, Any]) -> str:
    """Say what has to be given and is not, by a look at the values alone."""
    for step in definition.steps:
        problem = _one_of(step, parameters) or _no_column(step, parameters)
        if problem:
            return problem
    return ""


def _one_of(step: Step, parameters: Mapping[str, Any]) -> str:
    """Say so when none, or both, of two parameters for one needed setting are given."""
    fields = fields_of(step.job)
    for name in {place.field for place in step.layers}:
        places = [place for place in step.layers if place.field == name]
        if len(places) < 2:
            continue
        given = [place for place in places if parameters.get(place.parameter) not in (None, "")]
        titles = tr(" or ").join(f"'{tr(place.title)}'" for place in places)
        if not given and fields[name]["required"]:
            return tr("Give one of {}.").format(titles)
        if len(given) > 1:
            return tr("Give only one of {}.").format(titles)
    return ""


def _no_column(step: Step, parameters: Mapping[str, Any]) -> str:
    """Say so when features are given without the column that tells their classes."""
    for place in step.layers:
        given = parameters.get(place.parameter) not in (None, "")
        background = str(parameters.get("UNLABELLED") or "ignore") != "ignore"
        default = fields_of(step.job)[place.column]["default"] if place.column else None
        column = parameters.get(column_name(place), default)
        if place.column and given and not background and column in (None, ""):
            return tr("Choose the class column of '{}'.").format(tr(place.title))
    return ""
