"""All jobs as plain data, for doors that cannot import the engine: ``python -m geotoolbox.jobs.schema``."""

from __future__ import annotations

import dataclasses
import json
import sys
import types
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from pydantic.fields import FieldInfo

from geotoolbox import __version__
from geotoolbox.jobs.registry import JOBS, Job
from geotoolbox.jobs.spec import field_role, field_unit

__all__ = ["jobs_schema", "plain_type"]

_KINDS = {bool: "boolean", int: "integer", float: "number", str: "string"}
_LIMITS = {"ge": "minimum", "gt": "above", "le": "maximum", "lt": "below"}


def jobs_schema() -> dict[str, Any]:
    """Return every job with its settings and results.

    Returns:
        ``{"engine": version, "jobs": {name: {"summary", "fields": [...], "results": [...]}}}``. A field has
        ``name``, ``kind`` (boolean, integer, number, string), ``role`` (input, output, value), ``many``,
        ``required``, ``optional`` (may be None), ``default``, ``description``, and where they apply
        ``choices``, ``examples``, ``unit``, ``minimum``, ``above``, ``maximum``, ``below``. A result has
        ``name`` and ``kind`` (string, number).

    Example:
        >>> fields = {f["name"]: f for f in jobs_schema()["jobs"]["predict"]["fields"]}
        >>> fields["minimum_area_m2"]["unit"], fields["minimum_area_m2"]["minimum"]
        ('m²', 0)
    """
    return {"engine": __version__, "jobs": {name: _job(job) for name, job in JOBS.items()}}


def plain_type(annotation: Any) -> tuple[Any, bool, list[str]]:
    """Return the plain type of an annotation, whether it takes several values, and its choices.

    Example:
        >>> plain_type(tuple[int, ...] | None)
        (<class 'int'>, True, [])
    """
    origin = get_origin(annotation)
    if origin in (Union, types.UnionType):
        inner = [a for a in get_args(annotation) if a is not type(None)]
        return plain_type(inner[0])
    if origin in (tuple, list):
        kind, _, choices = plain_type(get_args(annotation)[0])
        return kind, True, choices
    if origin is Literal:
        return str, False, [str(a) for a in get_args(annotation)]
    if origin is not None and get_args(annotation):
        return plain_type(get_args(annotation)[0])
    return annotation, False, []


def _job(job: Job) -> dict[str, Any]:
    spec = job.spec
    fields = [_field(name, field, field_role(spec, name)) for name, field in spec.model_fields.items()]
    return {"summary": job.summary, "fields": fields, "results": _results(job)}


def _field(name: str, field: FieldInfo, role: str) -> dict[str, Any]:
    kind, many, choices = plain_type(field.annotation)
    found: dict[str, Any] = {
        "name": name,
        "kind": _KINDS.get(kind, "string"),
        "role": role,
        "many": many,
        "required": field.is_required(),
        "optional": type(None) in get_args(field.annotation),
        "default": None if field.is_required() else _plain(field.default),
        "description": field.description or "",
    }
    if choices:
        found["choices"] = choices
    if field.examples:
        found["examples"] = [str(value) for value in field.examples]
    if field_unit(name):
        found["unit"] = field_unit(name)
    for rule in field.metadata:
        found |= {word: getattr(rule, key) for key, word in _LIMITS.items() if hasattr(rule, key)}
    return found


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value


def _results(job: Job) -> list[dict[str, str]]:
    """Return the numbers and texts that a job gives back, in the order of its result class."""
    answer = get_type_hints(job.run).get("return")
    # A job that answers in one of several ways gives what the first of them has.
    options = get_args(answer) if get_origin(answer) in (Union, types.UnionType) else (answer,)
    made = options[0]
    if not isinstance(made, type) or not dataclasses.is_dataclass(made):
        return []
    hints = get_type_hints(made)
    kinds = {str: "string", int: "number", float: "number"}
    return [
        {"name": field.name, "kind": kinds[hints[field.name]]}
        for field in dataclasses.fields(made)
        if hints[field.name] in kinds
    ]


if __name__ == "__main__":
    sys.stdout.write(json.dumps(jobs_schema(), indent=1, ensure_ascii=False) + "\n")
