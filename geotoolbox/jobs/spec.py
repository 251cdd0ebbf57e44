"""The base of all job specs, and the field types that every door understands."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Any, Literal, cast, get_args

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from geotoolbox.core.files import check_apart
from geotoolbox.errors import BadInput, explain

__all__ = [
    "InputFile",
    "InputFiles",
    "JobSpec",
    "LabelBuffer",
    "LabelCrs",
    "LabelEncoding",
    "LabelOrder",
    "OutputFile",
    "Role",
    "check_paths",
    "field_role",
    "field_unit",
    "validate_spec",
]

Role = Literal["input", "output", "value"]

_ELSEWHERE = re.compile(
    r"/vsi|[A-Za-z0-9_+.-]{2,}:"
)  # URLs and GDAL's own names are looked at when they are opened

InputFile = Annotated[str, Field(json_schema_extra={"role": "input"})]
InputFiles = Annotated[tuple[str, ...], Field(json_schema_extra={"role": "input"})]
OutputFile = Annotated[str, Field(json_schema_extra={"role": "output"})]

LabelCrs = Annotated[
    str | None, Field(description="the CRS of vector labels that do not say it, such as EPSG:25832")
]
LabelBuffer = Annotated[
    float | None, Field(gt=0, description="radius around points and lines, for vector labels, in m")
]
LabelOrder = Annotated[
    str,
    Field(
        description="which of overlapping features is on top: 'file' (the later), 'area' (the smaller), or a column "
        "(the greater value)"
    ),
]
LabelEncoding = Annotated[
    str | None, Field(description="the encoding of a shapefile's texts, where its own statement is wrong")
]


class JobSpec(BaseModel):
    """A job's settings: every field has a name in the field's terms, a description, limits and a default.

    Units stand in the names (``_px``, ``_m``, ``_m2``). Specs are immutable and refuse unknown fields.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)


def field_role(spec: type[JobSpec], name: str) -> Role:
    """Tell whether a field names files that are read, a file that is written, or is a plain value."""
    field = spec.model_fields[name]
    for extra in (field.json_schema_extra, *_extras(field.annotation)):
        role = extra.get("role") if isinstance(extra, dict) else None
        if role in ("input", "output"):
            return cast(Role, role)
    return "value"


def _extras(annotation: Any) -> list[Any]:
    """Return what ``Annotated`` types say, also inside ``… | None``."""
    found = [getattr(item, "json_schema_extra", None) for item in getattr(annotation, "__metadata__", ())]
    for inner in get_args(annotation):
        found += _extras(inner)
    return found


def field_unit(name: str) -> str:
    """Return the unit that a field's name carries, or an empty string.

    Example:
        >>> field_unit("minimum_area_m2"), field_unit("epochs")
        ('m²', '')
    """
    units = {"m": "m", "m2": "m²", "px": "px", "minutes": "min", "mb": "MB", "percent": "%"}
    return units.get(name.rsplit("_", 1)[-1], "")


def validate_spec(spec: type[JobSpec], values: dict[str, Any]) -> JobSpec:
    """Make a spec from plain values.

    Raises:
        BadInput: One sentence for each value that does not fit, with the name of its option.
    """
    try:
        return spec.model_validate(values)
    except ValidationError as error:
        lines = []
        for item in error.errors():
            option = ".".join(str(part) for part in item["loc"]) or "settings"
            lines.append(f"{option}: {item['msg']}" + (f" (got {item['input']!r})" if item["loc"] else ""))
        raise BadInput(
            explain(
                "some settings do not fit",
                where="; ".join(lines),
                fix="see the job's --help for what each one takes",
            )
        ) from None


def check_paths(spec: JobSpec) -> None:
    """Refuse inputs that are not there, and outputs that are also inputs or are one file, before anything is loaded.

    Raises:
        BadInput: With the path.
    """
    paths: dict[Role, list[str]] = {"input": [], "output": []}
    for name in type(spec).model_fields:
        role, value = field_role(type(spec), name), getattr(spec, name)
        if role in paths and value:
            paths[role] += [value] if isinstance(value, str) else value
    for path in paths["input"]:
        if not _ELSEWHERE.match(path):
            existing(path)
    check_apart(paths["output"], paths["input"])


def existing(path: str) -> Path:
    """Return the path when it exists, else say so.

    Raises:
        BadInput: When nothing is there.
    """
    place = Path(path).expanduser()
    if not place.exists():
        raise BadInput(
            explain("no such file", where=path, fix="check the spelling and the folder you stand in")
        )
    return place
