"""Options made from specs: a field becomes an option, its description the help."""

from __future__ import annotations

import argparse
from typing import Any

from pydantic.fields import FieldInfo

from geotoolbox.jobs.schema import plain_type
from geotoolbox.jobs.spec import JobSpec, field_unit

__all__ = ["add_options", "option_name", "values_of"]

_UNSET = object()


def option_name(field: str) -> str:
    """Return the option of a field.

    Example:
        >>> option_name("label_column")
        '--label-column'
    """
    return "--" + field.replace("_", "-")


def add_options(parser: argparse.ArgumentParser, spec: type[JobSpec], positional: str | None) -> None:
    """Add one option for each field of a spec."""
    needed = parser.add_argument_group("needed")
    optional = parser.add_argument_group("settings")
    for name, field in spec.model_fields.items():
        group = needed if field.is_required() else optional
        settings = _settings(name, field)
        if name == positional:
            settings.pop("default", None)
            settings.pop("required", None)
            group.add_argument(name, **settings)
        else:
            group.add_argument(option_name(name), dest=name, **settings)


def values_of(arguments: argparse.Namespace, spec: type[JobSpec]) -> dict[str, Any]:
    """Return the values that were given on the command line; the spec fills in the rest."""
    return {
        name: getattr(arguments, name)
        for name in spec.model_fields
        if getattr(arguments, name, _UNSET) is not _UNSET
    }


def _settings(name: str, field: FieldInfo) -> dict[str, Any]:
    kind, many, choices = plain_type(field.annotation)
    settings: dict[str, Any] = {"help": _help(name, field), "default": _UNSET}
    if field.is_required():
        settings["required"] = True
    if kind is bool:
        return settings | {"action": argparse.BooleanOptionalAction}
    settings["metavar"] = _metavar(name, kind)
    if choices:
        settings |= {"choices": choices, "metavar": None}
    if many:
        settings["nargs"] = "+"
    # Numbers stay text here: the spec turns them into numbers and words its own complaint.
    return settings


def _metavar(name: str, kind: Any) -> str:
    unit = field_unit(name)
    if unit:
        return unit.upper() if unit.isascii() else unit
    return {int: "N", float: "NUMBER"}.get(kind, name.rsplit("_", 1)[-1].upper())


def _help(name: str, field: FieldInfo) -> str:
    text = (field.description or "").rstrip(".")
    if not field.is_required() and field.default not in (None, (), "", False):
        shown = " ".join(map(str, field.default)) if isinstance(field.default, tuple) else field.default
        text += f" (default: {shown})"
    return text.replace("%", "%%")
