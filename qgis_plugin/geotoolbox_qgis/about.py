"""What ``metadata.txt`` says about the plugin. Standard library only."""

from __future__ import annotations

from configparser import ConfigParser
from functools import lru_cache
from pathlib import Path

__all__ = ["help_url", "plugin_version"]


@lru_cache(maxsize=1)
def _metadata() -> ConfigParser:
    parser = ConfigParser(interpolation=None)
    parser.read(Path(__file__).parent / "metadata.txt", encoding="utf-8")
    return parser


def plugin_version() -> str:
    """Return the plugin's version."""
    return _metadata().get("general", "version")


def help_url() -> str:
    """Return the address of the manual."""
    return _metadata().get("general", "homepage").rstrip("/") + "/blob/main/docs/qgis.md"
