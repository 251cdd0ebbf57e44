"""The jobs of the engine, from ``jobs.json`` (made from the engine's specs). Standard library only."""

from __future__ import annotations

import json
from functools import lru_cache
from pathlib import Path
from typing import Any, Dict, List

__all__ = ["ENGINE_VERSION", "fields_of", "results_of"]


@lru_cache(maxsize=1)
def _schema() -> Dict[str, Any]:
    found: Dict[str, Any] = json.loads((Path(__file__).parent / "jobs.json").read_text(encoding="utf-8"))
    return found


ENGINE_VERSION: str = _schema()["engine"]
"""The version of the engine that the jobs were written down from; the oldest that will do."""


def fields_of(job: str) -> Dict[str, Dict[str, Any]]:
    """Return the settings of a job by name."""
    return {field["name"]: field for field in _schema()["jobs"][job]["fields"]}


def results_of(job: str) -> List[Dict[str, str]]:
    """Return the numbers and texts that a job gives back."""
    return list(_schema()["jobs"][job]["results"])
