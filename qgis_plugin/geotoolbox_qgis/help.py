"""The help beside a dialog, made from the parameters' own texts; light markup, since a terminal shows it raw."""

from __future__ import annotations

from html import escape
from typing import Any

from qgis.core import QgsProcessingParameterDefinition

from .texts import tr

__all__ = ["help_html"]


def help_html(algorithm: Any, summary: str, example: str) -> str:
    """Return summary, parameters, outputs and an example command as HTML."""
    shown, advanced, outputs = [], [], []
    flag = QgsProcessingParameterDefinition.Flag.FlagAdvanced
    for parameter in algorithm.parameterDefinitions():
        line = (
            f"<b>{escape(parameter.description(), quote=False)}</b>: {escape(parameter.help(), quote=False)}"
        )
        if parameter.isDestination():
            outputs.append(line)
        elif parameter.flags() & flag:
            advanced.append(line)
        else:
            shown.append(line)
    parts = [escape(summary), *shown]
    if advanced:
        parts += [f"<i>{tr('Advanced')}</i>", *advanced]
    if outputs:
        parts += [f"<i>{tr('Outputs')}</i>", *outputs]
    if example:
        command = f"qgis_process run geotoolbox:{algorithm.name()} -- {example}"
        parts.append(f"<i>{tr('From a terminal')}</i><br>{escape(command)}")
    parts.append(tr("The work is done by the GeoToolbox engine on this computer; nothing is sent anywhere."))
    return "<br><br>".join(parts)
