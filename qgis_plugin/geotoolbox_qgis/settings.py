"""Where this profile keeps its things, and which engine it uses."""

from __future__ import annotations

from pathlib import Path
from typing import Optional

from qgis.core import QgsApplication, QgsSettings

from .environment import VARIABLE, Engine, find_engine

__all__ = ["current_engine", "runs_folder"]


def runs_folder() -> Path:
    """Return the folder of the records of all runs."""
    return Path(QgsApplication.qgisSettingsDirPath()) / "geotoolbox" / "runs"


def current_engine() -> Optional[Engine]:
    """Return the engine of this profile, or None; a look at settings and files only."""
    # Where Processing keeps the options of providers; read directly, so that a bare QgsApplication can as well.
    option = QgsSettings().value(f"Processing/Configuration/{VARIABLE}", "")
    return find_engine(str(option or ""))
