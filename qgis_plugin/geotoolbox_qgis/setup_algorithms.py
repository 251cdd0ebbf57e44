"""The two algorithms of the group Setup: make the engine's environment, and look at it."""

from __future__ import annotations

import os
from functools import partial
from html import escape
from pathlib import Path
from typing import Any, Dict, Optional

from qgis.core import (
    Qgis,
    QgsProcessingAlgorithm,
    QgsProcessingContext,
    QgsProcessingException,
    QgsProcessingFeedback,
    QgsProcessingOutputString,
    QgsProcessingParameterBoolean,
    QgsProcessingParameterDefinition,
    QgsProcessingParameterEnum,
    QgsProcessingParameterFile,
    QgsProcessingParameterFileDestination,
    QgsProcessingParameterString,
)
from qgis.PyQt.QtGui import QIcon

from .about import help_url, plugin_version
from .connection import fetch, tool_variables
from .definition import GROUPS
from .environment import MISSING
from .help import help_html
from .install import Hands, Installed, check_engine, install
from .jobs import ENGINE_VERSION
from .planning import Request, make_plan
from .progress import Bar
from .runner import Cancelled, EngineError
from .settings import current_engine
from .texts import tr

__all__ = ["CheckEngine", "SetupEngine"]

_ICON = Path(__file__).parent / "icons" / "setup.svg"
_ADVANCED = QgsProcessingParameterDefinition.Flag.FlagAdvanced


class _SetupAlgorithm(QgsProcessingAlgorithm):
    """What the two share."""

    title = ""
    summary = ""
    example = ""

    def createInstance(self) -> _SetupAlgorithm:
        """Return a new one of the kind."""
        return type(self)()

    def displayName(self) -> str:
        """Return what the toolbox shows."""
        return tr(self.title)

    def group(self) -> str:
        """Return the group's name."""
        return tr(GROUPS["setup"])

    def groupId(self) -> str:
        """Return the group's id."""
        return "setup"

    def icon(self) -> QIcon:
        """Return its icon."""
        return QIcon(str(_ICON))

    def svgIconPath(self) -> str:
        """Return the path of its icon."""
        return str(_ICON)

    def shortDescription(self) -> str:
        """Return one sentence."""
        return tr(self.summary)

    def shortHelpString(self) -> str:
        """Return the help beside the dialog."""
        return help_html(self, tr(self.summary), self.example)

    def helpUrl(self) -> str:
        """Return the manual's address."""
        return f"{help_url()}#{self.name()}"

    def _add(self, parameter: Any, help_text: str, *, advanced: bool = False) -> None:
        parameter.setHelp(tr(help_text))
        if advanced:
            parameter.setFlags(parameter.flags() | _ADVANCED)
        self.addParameter(parameter)


class SetupEngine(_SetupAlgorithm):
    """Makes the engine's environment."""

    title = "Set up the engine"
    summary = "Makes the environment that the work is done in, once: PyTorch and the libraries for maps, apart from QGIS's own."
    example = "DEVICE=cpu"

    def name(self) -> str:
        """Return the id."""
        return "setupengine"

    def initAlgorithm(self, configuration: Optional[Dict[str, Any]] = None) -> None:
        """Make the parameters."""
        self._add(
            QgsProcessingParameterEnum(
                "DEVICE", tr("Device"), ["auto", "cpu", "cuda"], False, "auto", False, usesStaticStrings=True
            ),
            "What to compute on: cuda needs a graphics card of NVIDIA and a much larger download; auto looks for one.",
        )
        self._add(
            QgsProcessingParameterFile(
                "PYTHON", tr("Existing Python"), optional=True, fileFilter=tr("All files (*)")
            ),
            "A Python 3.11 or newer to use. One that has geotoolbox already (a conda environment, a module of a cluster) "
            "is used as it is, and nothing is downloaded. Empty: one is looked for, else uv brings one.",
        )
        self._add(
            QgsProcessingParameterBoolean("PLAN_ONLY", tr("Only say what would be done"), False),
            "Say what would be downloaded from where, and how big it is; do nothing.",
        )
        self._add(
            QgsProcessingParameterBoolean("UPDATE", tr("Update"), False),
            "Install again although there is an engine.",
        )
        self._add(
            QgsProcessingParameterString("SOURCE", tr("Source of geotoolbox"), optional=True),
            "A folder or a wheel to install geotoolbox from. Empty: what came with this plugin.",
            advanced=True,
        )
        self._add(
            QgsProcessingParameterFile(
                "FOLDER", tr("Folder"), QgsProcessingParameterFile.Behavior.Folder, optional=True
            ),
            "Where the environment goes. Empty: this user's folder for application data.",
            advanced=True,
        )
        self._add(
            QgsProcessingParameterString("INDEX_URL", tr("Package index"), optional=True),
            "The address of a package index, such as a mirror of your organisation. Empty: the Python Package Index.",
            advanced=True,
        )
        for name, title in (("STATUS", "Status"), ("PYTHON_USED", "Python"), ("VERSION", "Version")):
            self.addOutput(QgsProcessingOutputString(name, tr(title)))

    def processAlgorithm(
        self, parameters: Dict[str, Any], context: QgsProcessingContext, feedback: QgsProcessingFeedback
    ) -> Dict[str, Any]:
        """Say what will be done, and do it."""
        request = Request(
            device=self.parameterAsEnumString(parameters, "DEVICE", context),
            python=_absolute(self.parameterAsFile(parameters, "PYTHON", context)),
            source=_absolute(self.parameterAsString(parameters, "SOURCE", context)),
            folder=_absolute(self.parameterAsFile(parameters, "FOLDER", context)),
            index=self.parameterAsString(parameters, "INDEX_URL", context),
            update=self.parameterAsBoolean(parameters, "UPDATE", context),
            version=ENGINE_VERSION,
        )
        try:
            plan = make_plan(request, feedback.isCanceled)
            feedback.pushInfo(plan.sentence)
            if self.parameterAsBoolean(parameters, "PLAN_ONLY", context):
                return {"STATUS": plan.sentence}
            hands = Hands(
                feedback.pushConsoleInfo,
                feedback.isCanceled,
                partial(fetch, feedback=feedback),
                tool_variables(),
            )
            found = install(plan, hands, _events(feedback))
        except Cancelled:
            feedback.pushInfo(tr("Cancelled: what is there is kept; the next time goes on from there."))
            return {}
        except (EngineError, OSError) as error:
            raise QgsProcessingException(str(error)) from error
        _tell(found, feedback)
        return {"STATUS": "ready", "PYTHON_USED": found.python, "VERSION": found.version}


class CheckEngine(_SetupAlgorithm):
    """Looks at the engine."""

    title = "Check the engine"
    summary = (
        "Starts the engine, lets it try itself, and says what is there: a text to paste into a question."
    )
    example = "TEST=true"

    def name(self) -> str:
        """Return the id."""
        return "checkengine"

    def initAlgorithm(self, configuration: Optional[Dict[str, Any]] = None) -> None:
        """Make the parameters."""
        self._add(
            QgsProcessingParameterBoolean("TEST", tr("Also try a small training"), True),
            "Train a network of a few weights, and write and read a raster.",
        )
        self._add(
            QgsProcessingParameterFileDestination(
                "REPORT", tr("Diagnostics"), tr("HTML files (*.html)"), None, True, False
            ),
            "The facts as a page.",
        )
        for name, title in (
            ("STATUS", "Status"),
            ("VERSION", "Version"),
            ("DEVICE", "Device"),
            ("TEXT", "Facts"),
        ):
            self.addOutput(QgsProcessingOutputString(name, tr(title)))

    def processAlgorithm(
        self, parameters: Dict[str, Any], context: QgsProcessingContext, feedback: QgsProcessingFeedback
    ) -> Dict[str, Any]:
        """Look, and say what is there."""
        engine = current_engine()
        if engine is None:
            raise QgsProcessingException(tr(MISSING))
        test = self.parameterAsBoolean(parameters, "TEST", context)
        try:
            found = check_engine(
                engine.python, _events(feedback), feedback.pushConsoleInfo, feedback.isCanceled, train=test
            )
        except Cancelled:
            return {}
        except (EngineError, OSError) as error:
            raise QgsProcessingException(str(error)) from error
        text = f"QGIS {Qgis.QGIS_VERSION}, plugin {plugin_version()}, engine by {engine.origin}\n{found.text}"
        for line in text.splitlines():
            feedback.pushInfo(line)
        outputs = {"STATUS": "ready", "VERSION": found.version, "DEVICE": found.device, "TEXT": text}
        if parameters.get("REPORT") not in (None, ""):
            path = self.parameterAsFileOutput(parameters, "REPORT", context)
            page = f"<!DOCTYPE html><meta charset='utf-8'><title>GeoToolbox</title><pre>{escape(text)}</pre>"
            Path(path).write_text(page, encoding="utf-8")
            outputs["REPORT"] = path
        return outputs


def _absolute(path: str) -> str:
    """Return a path from the root, where it is one: tools stand in another folder. A program's name stays."""
    return os.path.abspath(path) if path and (os.sep in path or os.path.exists(path)) else path


def _events(feedback: QgsProcessingFeedback) -> Any:
    bar = Bar({"check": 1.0})

    def take(event: Dict[str, Any]) -> None:
        if event.get("kind") == "progress":
            percent, _ = bar.take("check", event)
            feedback.setProgress(percent)

    return take


def _tell(found: Installed, feedback: QgsProcessingFeedback) -> None:
    for line in found.text.splitlines():
        feedback.pushInfo(line)
    feedback.pushInfo(tr("The engine {} is ready: {}").format(found.version, found.python))
