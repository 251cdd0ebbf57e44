"""Where the engine is, and the environment that it runs in. Standard library only."""

from __future__ import annotations

import json
import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Dict, List, Mapping, Optional

__all__ = [
    "MISSING",
    "Engine",
    "clean_environment",
    "engine_command",
    "find_engine",
    "managed_folder",
    "read_engine",
    "write_engine",
]

VARIABLE = "GEOTOOLBOX_PYTHON"
MISSING = (
    "The GeoToolbox engine is not set up yet. Run 'Set up the engine' (GeoToolbox > Setup) once; or, where Python with "
    "geotoolbox is already on this computer, name it in Settings > Options > Processing > Providers > GeoToolbox."
)

# What QGIS sets for itself, and what would lead another Python to QGIS's libraries or settings.
_DROP = frozenset(
    (
        "VIRTUAL_ENV", "CONDA_PREFIX", "CONDA_DEFAULT_ENV", "CONDA_SHLVL", "OSGEO4W_ROOT", "SSL_CERT_DIR",
        "QT_PLUGIN_PATH", "QT_QPA_PLATFORM_PLUGIN_PATH", "QT_QPA_PLATFORM", "LD_LIBRARY_PATH", "LD_PRELOAD",
        "DYLD_LIBRARY_PATH", "DYLD_INSERT_LIBRARIES", "DYLD_FRAMEWORK_PATH", "GISBASE", "GISRC", "__PYVENV_LAUNCHER__",
    )
)  # fmt: skip
_DROP_PREFIXES = ("PYTHON", "PROJ_", "GDAL_", "OGR_", "CPL_", "QGIS_", "GRASS_", "GEOTIFF_")
_QGIS_ONLY_FILES = ("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")


@dataclass(frozen=True)
class Engine:
    """A Python that the engine is, or should be, installed in.

    Attributes:
        python: Path of the interpreter.
        origin: Who named it: ``variable``, ``option`` or ``managed``.
        version: The engine's version where it is known.
    """

    python: str
    origin: str
    version: str = ""


def clean_environment(variables: Optional[Mapping[str, str]] = None) -> Dict[str, str]:
    """Return the environment of the engine: QGIS's, without what belongs to QGIS.

    ``GEOTOOLBOX_KEEP_ENV`` may name variables to keep, separated by commas (a cluster may need LD_LIBRARY_PATH).
    """
    found = os.environ if variables is None else variables
    keep = {name.strip() for name in found.get("GEOTOOLBOX_KEEP_ENV", "").split(",")}
    left = {}
    for name, value in found.items():
        upper = name.upper()
        foreign = upper in _DROP or upper.startswith(_DROP_PREFIXES)
        if upper in _QGIS_ONLY_FILES and _inside_qgis(value):
            foreign = True
        if name in keep or not foreign:
            left[name] = value
    return left


def _inside_qgis(path: str) -> bool:
    """Tell whether a certificate file is one that QGIS's own installation brings along."""
    words = path.replace("\\", "/").lower()
    return any(word in words for word in ("osgeo4w", "qgis", "python3"))


def engine_command(python: str, *words: str) -> List[str]:
    """Return the command that starts the engine's process."""
    # -E voids PYTHON* variables, -s leaves out packages of the user's own Python, -X utf8 stands for PYTHONUTF8.
    return [python, "-E", "-s", "-X", "utf8", "-u", *(words or ("-m", "geotoolbox.cli.worker"))]


def managed_folder() -> Path:
    """Return where this user's engine is kept: outside the profile and the plugin, so that updates leave it alone."""
    if sys.platform == "win32":
        base = Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local")
    elif sys.platform == "darwin":
        base = Path.home() / "Library" / "Application Support"
    else:
        base = Path(os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share")
    return base / "GeoToolbox"


def find_engine(option: str = "", variables: Optional[Mapping[str, str]] = None) -> Optional[Engine]:
    """Return the engine to use, or None. Looks at files only; nothing is started.

    The order: the variable GEOTOOLBOX_PYTHON, the option of the provider, the engine that was set up.
    """
    found = os.environ if variables is None else variables
    for python, origin in ((found.get(VARIABLE, ""), "variable"), (option, "option")):
        if python.strip():
            return Engine(os.path.expanduser(python.strip()), origin)
    return read_engine()


def read_engine() -> Optional[Engine]:
    """Return the engine that 'Set up the engine' has recorded, where its Python is still there."""
    try:
        found = json.loads((managed_folder() / "engine.json").read_text(encoding="utf-8"))
        python, version = str(found["python"]), str(found.get("version", ""))
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return Engine(python, "managed", version) if os.path.isfile(python) else None


def write_engine(python: str, version: str, device: str) -> Path:
    """Record the engine for all QGIS versions of this user, and return the file's path."""
    path = managed_folder() / "engine.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f"engine.{os.getpid()}.part")
    part.write_text(
        json.dumps({"python": python, "version": version, "device": device}, indent=1), encoding="utf-8"
    )
    os.replace(part, path)
    return path
