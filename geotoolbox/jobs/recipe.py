"""Recipes: a job and its settings in a small YAML file, which any door can run again."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import yaml

from geotoolbox import __version__
from geotoolbox.core.files import atomic_path
from geotoolbox.errors import BadInput, CannotRead, GeoToolboxError, explain
from geotoolbox.jobs.registry import find_job
from geotoolbox.jobs.spec import JobSpec, field_role, validate_spec

__all__ = ["command_line", "read_recipe", "recipe_beside", "recipe_path", "recipe_text", "write_recipe"]

_MAX_BYTES = 10_000_000


def recipe_path(output: str | Path, job: str | None = None) -> Path:
    """Return where the recipe of an output goes: beside it.

    Where another job's recipe has that name (``map.tif`` was predicted, ``map.gpkg`` made from it), the job's
    own name joins it, so that no recipe takes the place of another.

    Example:
        >>> recipe_path("maps/map.tif").as_posix()
        'maps/map.recipe.yaml'
    """
    output = Path(output)
    plain = output.with_name(output.stem + ".recipe.yaml")
    if job is None or _job_of(plain) in (None, job):
        return plain
    return output.with_name(f"{output.stem}.{job}.recipe.yaml")


def _job_of(path: Path) -> str | None:
    try:
        content = _load(path)
    except GeoToolboxError:
        return None
    return str(content["job"]) if isinstance(content, dict) and "job" in content else None


def recipe_text(job: str, spec: JobSpec, folder: Path | None = None) -> str:
    """Return the recipe as YAML; paths are relative to ``folder`` where it is given."""
    values = spec.model_dump(mode="json")
    if folder is not None:
        for name in values:
            if field_role(type(spec), name) != "value":
                moved = _each(values[name], lambda p: _relative(p, folder))
                values[name] = list(moved) if isinstance(moved, tuple) else moved
    content = {"geotoolbox": __version__, "job": job, "spec": values}
    return yaml.safe_dump(content, sort_keys=False, allow_unicode=True)


def recipe_beside(job: str, spec: JobSpec, recipe: Path, report: str | Path) -> tuple[str, str]:
    """Return what a report shows: the recipe, its paths as seen from the report, and the name of its file likewise."""
    folder = Path(report).parent
    return recipe_text(job, spec, folder), _relative(str(recipe), folder)


def write_recipe(job: str, spec: JobSpec, output: str | Path) -> Path:
    """Write the recipe beside an output and return its path; paths in it are relative to its folder."""
    path = recipe_path(output, job)
    with atomic_path(path) as part:
        part.write_text(recipe_text(job, spec, path.parent), encoding="utf-8")
    return path


def read_recipe(path: str | Path) -> tuple[str, JobSpec]:
    """Read a recipe: the job's name and its spec, with paths as seen from here.

    Raises:
        CannotRead: When the file cannot be read.
        BadInput: When it is no recipe, is newer, or its settings do not fit.
    """
    path = Path(path)
    content = _load(path)
    if not isinstance(content, dict) or not {"job", "spec"} <= set(content):
        raise BadInput(
            explain(
                "this is not a recipe",
                where=path,
                expected="a YAML mapping with 'job' and 'spec'",
                fix="use the .recipe.yaml file that a job wrote beside its output",
            )
        )
    job = find_job(str(content["job"]))
    values = content["spec"]
    if not isinstance(values, dict):
        raise BadInput(explain("the recipe's 'spec' is not a mapping", where=path, got=type(values).__name__))
    _check_version(str(content.get("geotoolbox", __version__)), path)
    spec = job.spec
    known = validate_spec(spec, values)
    paths = {
        name: _each(getattr(known, name), lambda p: _absolute(p, path.parent))
        for name in values
        if field_role(spec, name) != "value"
    }
    return job.name, known.model_copy(update=paths)


def command_line(path: Path) -> str:
    """Return the command that repeats a recipe."""
    return f"geotoolbox run {path}"


def _load(path: Path) -> Any:
    try:
        if path.stat().st_size > _MAX_BYTES:
            raise BadInput(explain("too large for a recipe", where=path, expected=f"≤ {_MAX_BYTES:,} bytes"))
        return yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise CannotRead(explain("cannot read the recipe", where=path, got=error.strerror)) from error
    except (yaml.YAMLError, UnicodeDecodeError, ValueError, RecursionError) as error:
        reason = str(error).replace("\n", " ")
        raise BadInput(explain("the recipe is not plain YAML", where=path, got=reason)) from None


def _check_version(version: str, path: Path) -> None:
    def major_minor(text: str) -> tuple[int, ...]:
        return tuple(int(p) for p in text.split(".")[:2] if p.isdigit())

    if major_minor(version) > major_minor(__version__):
        raise BadInput(
            explain(
                "the recipe was written by a newer GeoToolbox",
                where=path,
                got=version,
                expected=f"at most {__version__}",
                fix=f"install geotoolbox {version} or later",
            )
        )


def _each(value: Any, change: Any) -> Any:
    if value is None:
        return None
    return change(value) if isinstance(value, str) else tuple(change(v) for v in value)


def _is_url(path: str) -> bool:
    return "://" in path or path.startswith("/vsi")


def _relative(path: str, folder: Path) -> str:
    if _is_url(path):
        return path
    full = os.path.abspath(os.path.expanduser(path))
    try:
        return Path(os.path.relpath(full, folder.resolve())).as_posix()
    except ValueError:  # another drive on Windows
        return full


def _absolute(path: str, folder: Path) -> str:
    if _is_url(path) or os.path.isabs(path):
        return path
    full = os.path.normpath(folder / path)
    return os.path.relpath(full) if not os.path.relpath(full).startswith("..") else full
