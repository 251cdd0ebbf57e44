"""The job *run*: repeat what a recipe says."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from geotoolbox.core.events import SILENT, Reporter
from geotoolbox.errors import BadInput, explain
from geotoolbox.jobs.spec import InputFile, JobSpec

__all__ = ["Spec", "run"]


class Spec(JobSpec):
    """Which recipe to run."""

    recipe: InputFile = Field(description="the recipe (.recipe.yaml) that a job wrote beside its output")


def run(spec: Spec, events: Reporter = SILENT) -> Any:
    """Run the recipe's job; the result is that job's own.

    Raises:
        BadInput: When it is no recipe, or one that runs a recipe.
    """
    from geotoolbox.jobs.recipe import read_recipe
    from geotoolbox.jobs.registry import find_job

    name, inner = read_recipe(spec.recipe)
    if isinstance(inner, Spec):
        raise BadInput(
            explain("this recipe runs a recipe", where=spec.recipe, got=inner.recipe, fix="run that one")
        )
    return find_job(name).run(inner, events)
