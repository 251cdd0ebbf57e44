"""One class for all algorithms that run jobs: collect in the main thread, run out of process, hand back files."""

from __future__ import annotations

import re
import shutil
import time
from pathlib import Path
from typing import Any, Dict, List, Mapping, Optional, Tuple

from qgis.core import (
    QgsProcessingAlgorithm,
    QgsProcessingContext,
    QgsProcessingException,
    QgsProcessingFeedback,
    QgsProcessingOutputFile,
    QgsProcessingParameterVectorDestination,
    QgsProject,
)
from qgis.PyQt.QtGui import QIcon

from . import styling
from .about import help_url
from .collecting import Collected, missing
from .definition import GROUPS, Definition, Output
from .demo import load_scene
from .environment import MISSING
from .help import help_html
from .jobs import ENGINE_VERSION
from .listening import Listener
from .parameters import (
    layer_parameters,
    make_parameter,
    output_numbers,
    output_parameter,
    settings_of,
    web_parameters,
)
from .progress import Bar
from .records import CANCELLED, DONE, FAILED, Record
from .runner import Cancelled, EngineError, run_engine
from .settings import current_engine, runs_folder
from .texts import tr

__all__ = ["JobAlgorithm"]

_ICONS = Path(__file__).parent / "icons"


class JobAlgorithm(QgsProcessingAlgorithm):
    """A Processing algorithm that runs one or more jobs of the engine.

    Args:
        definition: What it is.
    """

    def __init__(self, definition: Definition) -> None:
        super().__init__()
        self._definition = definition
        self._collected: Optional[Collected] = None

    # --- what it is ----------------------------------------------------------------------------------------------

    def createInstance(self) -> JobAlgorithm:
        """Return a new one of the kind."""
        return JobAlgorithm(self._definition)

    def name(self) -> str:
        """Return the id."""
        return self._definition.id

    def displayName(self) -> str:
        """Return what the toolbox shows."""
        return tr(self._definition.title)

    def group(self) -> str:
        """Return the group's name."""
        return tr(GROUPS[self._definition.group])

    def groupId(self) -> str:
        """Return the group's id."""
        return self._definition.group

    def tags(self) -> List[str]:
        """Return more words to find it by."""
        return list(self._definition.tags)

    def icon(self) -> QIcon:
        """Return its icon."""
        return QIcon(str(_ICONS / f"{self._definition.group}.svg"))

    def svgIconPath(self) -> str:
        """Return the path of its icon."""
        return str(_ICONS / f"{self._definition.group}.svg")

    def shortDescription(self) -> str:
        """Return one sentence."""
        return tr(self._definition.summary)

    def shortHelpString(self) -> str:
        """Return the help beside the dialog."""
        return help_html(self, tr(self._definition.summary), self._definition.example)

    def helpUrl(self) -> str:
        """Return the manual's address."""
        return f"{help_url()}#{self._definition.id}"

    def canExecute(self) -> Tuple[bool, str]:
        """Tell whether there is an engine, by a look at a file."""
        return (True, "") if current_engine() else (False, tr(MISSING))

    def initAlgorithm(self, configuration: Optional[Dict[str, Any]] = None) -> None:
        """Make the parameters: layers, settings, files to write, numbers to branch on."""
        steps = self._definition.steps
        for setting in (one for step in steps for one in settings_of(step) if one.field["required"]):
            self._add(make_parameter(setting))
        for parameter in (
            made for step in steps for place in step.layers for made in layer_parameters(place, step)
        ):
            self._add(parameter)
        for setting in (one for step in steps for one in settings_of(step)):
            self._add(make_parameter(setting))
        if any(place.kind == "rasters" for step in steps for place in step.layers):
            for parameter in web_parameters():
                self._add(parameter)
        for step in steps:
            for out in step.outputs:
                self._add(output_parameter(out, step, _default_path(out)))
        if self._definition.id == "exportchips":
            self._add(_footprints())
        for _, output in output_numbers(self._definition):
            self.addOutput(output)
        self.addOutput(QgsProcessingOutputFile("RUN", tr("Record of the run")))

    def _add(self, parameter: Any) -> None:
        if self.parameterDefinition(parameter.name()) is None:
            self.addParameter(parameter)

    # --- before the run ------------------------------------------------------------------------------------------

    def checkParameterValues(
        self, parameters: Dict[str, Any], context: QgsProcessingContext
    ) -> Tuple[bool, str]:
        """Say what is missing, or does not go together, before anything starts."""
        problem = missing(self._definition, parameters)
        if problem:
            return False, problem
        good, words = super().checkParameterValues(parameters, context)
        if not good:
            return good, words
        try:
            Collected(self, self._definition, parameters, context)
        except QgsProcessingException as error:
            return False, str(error)
        return True, ""

    def prepareAlgorithm(
        self, parameters: Dict[str, Any], context: QgsProcessingContext, feedback: QgsProcessingFeedback
    ) -> bool:
        """Look at the layers, in the main thread: what the worker gets are paths and texts."""
        self._collected = Collected(self, self._definition, parameters, context)
        return True

    # --- the run -------------------------------------------------------------------------------------------------

    def processAlgorithm(
        self, parameters: Dict[str, Any], context: QgsProcessingContext, feedback: QgsProcessingFeedback
    ) -> Dict[str, Any]:
        """Run the jobs one after the other and return what was really made."""
        engine = current_engine()
        if engine is None:
            raise QgsProcessingException(tr(MISSING))
        paths = self._output_paths(parameters, context)
        record = Record(runs_folder(), self._definition.id)
        try:
            specs = self._collected.specs(paths, feedback)
            _keep_for_dock(specs, record.folder)
            if feedback.isCanceled():
                raise Cancelled("")
            record.asked(specs, engine.python)
            bar = Bar({step.job: step.weight for step in self._definition.steps})
            outputs, values = self._run(engine.python, specs, paths, Listener(feedback, record, bar))
            self._copy_footprints(outputs, parameters, context)
        except Cancelled as ended:
            kept = str(ended) or tr(
                "cancelled; what was finished is kept, and the same run goes on from there"
            )
            feedback.pushInfo(tr("Cancelled: {}").format(kept.partition(": ")[2] or kept))
            record.finish(CANCELLED, kept, {}, {})
            return {}
        except (EngineError, QgsProcessingException, OSError) as error:
            words = self._in_parameters(str(error))
            record.finish(FAILED, words, {}, {})
            raise QgsProcessingException(words) from error
        except BaseException as error:
            record.finish(FAILED, f"{type(error).__name__}: {error}", {}, {})
            raise
        outputs["RUN"] = str(record.folder)
        record.finish(DONE, str(values.get("message", "")), outputs, values)
        styling.style_outputs(context, outputs, feedback)
        if self._definition.id == "demoscene":
            load_scene(Path(outputs["OUTPUT"]), context)
        return outputs

    def _run(
        self, python: str, specs: Mapping[str, Dict[str, Any]], paths: Mapping[str, str], listener: Listener
    ) -> Tuple[Dict[str, Any], Dict[str, Any]]:
        """Run the steps; return the outputs that are there, and the values of the results."""
        outputs: Dict[str, Any] = {}
        values: Dict[str, Any] = {}
        for step in self._definition.steps:
            listener.job = step.job
            result = run_engine(
                python,
                step.job,
                specs[step.job],
                needs=ENGINE_VERSION,
                on_event=listener.event,
                on_line=listener.record.line,
                is_cancelled=listener.is_cancelled,
                folder=listener.record.folder,
                outputs=[paths[out.parameter] for out in step.outputs if out.parameter in paths],
            )
            listener.finish(result)
            values.update(result)
            for out in step.outputs:
                made = paths.get(out.parameter) or (result.get(out.result) if out.result else None)
                if made and Path(str(made)).exists():
                    outputs[out.parameter] = made
        for name, output in output_numbers(self._definition):
            if values.get(name) is not None:
                outputs[output.name()] = values[name]
        return outputs, values

    def _output_paths(self, parameters: Dict[str, Any], context: QgsProcessingContext) -> Dict[str, str]:
        """Return where each file that is asked for goes."""
        paths = {}
        for step in self._definition.steps:
            for out in step.outputs:
                default = self.parameterDefinition(out.parameter).defaultValue()
                if parameters.get(out.parameter, default) in (None, ""):
                    continue
                if out.kind in ("raster", "vector"):
                    path = self.parameterAsOutputLayer(parameters, out.parameter, context)
                else:
                    path = self.parameterAsFileOutput(parameters, out.parameter, context)
                paths[out.parameter] = str(Path(path).absolute())
        return paths

    def _copy_footprints(
        self, outputs: Dict[str, Any], parameters: Dict[str, Any], context: QgsProcessingContext
    ) -> None:
        if self._definition.id != "exportchips" or parameters.get("FOOTPRINTS") in (None, ""):
            return
        target = self.parameterAsOutputLayer(parameters, "FOOTPRINTS", context)
        shutil.copyfile(Path(outputs["OUTPUT"]) / "footprints.gpkg", target)
        outputs["FOOTPRINTS"] = target

    def _in_parameters(self, text: str) -> str:
        """Name parameters as this dialog does, where the engine names options of its command line."""

        def title(found: re.Match[str]) -> str:
            name = found.group(0).lstrip("-").replace("-", "_").upper()
            aliases = {"LABEL_COLUMN": "FIELD", "ALLOW_VRT": "INPUT", "IMAGES": "INPUT"}
            definition = self.parameterDefinition(aliases.get(name, name))
            return f"'{definition.description()}'" if definition else found.group(0)

        return re.sub(r"(?<![\w./-])(?:--[a-z][a-z0-9-]+|[a-z]+_[a-z0-9_]+)(?![\w./-])", title, text)


def _keep_for_dock(specs: Mapping[str, Dict[str, Any]], folder: Path) -> None:
    """Let an evaluation write its numbers and its error map into the run's record where nobody asked for them."""
    if "evaluate" in specs:
        specs["evaluate"].setdefault("metrics", str(folder / "metrics.json"))
        specs["evaluate"].setdefault("errors", str(folder / "errors.tif"))


def _footprints() -> QgsProcessingParameterVectorDestination:
    made = QgsProcessingParameterVectorDestination("FOOTPRINTS", tr("Footprints of the chips"), optional=True)
    made.setHelp(tr("One polygon for each chip."))
    return made


def _default_path(out: Output) -> Any:
    """Return where a model goes by default: a real folder, a new name each time; other files are temporary."""
    if out.parameter != "OUTPUT_MODEL":
        return None
    home = QgsProject.instance().homePath() or str(Path.home() / "GeoToolbox")
    return str(Path(home) / f"model-{time.strftime('%Y%m%d-%H%M%S')}.gtb")
