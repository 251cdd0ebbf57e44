"""The words that algorithms are defined in. Standard library only."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Dict, Tuple

__all__ = ["GROUPS", "Definition", "LayerInput", "Output", "Step", "parameter_name"]

GROUPS = {
    "setup": "Setup",
    "prepare": "Prepare",
    "segmentation": "Segmentation",
    "evaluation": "Evaluation",
}


@dataclass(frozen=True)
class LayerInput:
    """A setting that is a layer in QGIS.

    Attributes:
        parameter: Its name in QGIS.
        kind: ``rasters`` (several), ``raster``, ``layers`` (several of any kind), ``polygons``, ``vector``.
        field: The job's setting that gets the file.
        title: What the dialog calls it.
        optional: Whether it can be left out.
        column: The job's setting for a column of this layer, or an empty string.
        help: Overrides the job's own description.
        layer_field: The job's setting for the layer's name inside a file, where it has one.
    """

    parameter: str
    kind: str
    field: str
    title: str
    optional: bool = False
    column: str = ""
    help: str = ""
    layer_field: str = ""


@dataclass(frozen=True)
class Output:
    """A setting that is a file to write.

    Attributes:
        parameter: Its name in QGIS.
        kind: ``raster``, ``vector``, ``folder``, ``html`` or ``file``.
        field: The job's setting.
        title: What the dialog calls it.
        optional: Whether it can be left out.
        filter: For ``file``, what the file dialog shows, such as ``Model (*.gtb)``.
        result: The job's result that names the file, where it is written even if not asked for.
    """

    parameter: str
    kind: str
    field: str
    title: str
    optional: bool = False
    filter: str = ""
    result: str = ""


@dataclass(frozen=True)
class Step:
    """One job that an algorithm runs.

    Attributes:
        job: The job's name.
        layers: Settings that are layers.
        outputs: Settings that are files to write.
        basic: Settings shown at once; the others are advanced.
        hidden: Settings that the plugin fills in, or leaves at the engine's default.
        given: Setting → parameter of an earlier step whose value it takes.
        weight: The part of the progress bar.
        names: Setting → parameter, where the name is not simply in capitals.
        titles: Setting → what the dialog calls it, where this job means something of its own.
    """

    job: str
    layers: Tuple[LayerInput, ...] = ()
    outputs: Tuple[Output, ...] = ()
    basic: Tuple[str, ...] = ()
    hidden: Tuple[str, ...] = ()
    given: Dict[str, str] = field(default_factory=dict)
    weight: float = 1.0
    names: Dict[str, str] = field(default_factory=dict)
    titles: Dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Definition:
    """An algorithm.

    Attributes:
        id: Its id in the provider ``geotoolbox``.
        title: What the toolbox calls it.
        group: One of :data:`GROUPS`.
        summary: One plain sentence.
        steps: The jobs, in order.
        tags: More words to find it by.
        example: The parameters of a ``qgis_process`` command that shows it.
    """

    id: str
    title: str
    group: str
    summary: str
    steps: Tuple[Step, ...]
    tags: Tuple[str, ...] = ()
    example: str = ""


def parameter_name(step: Step, setting: str) -> str:
    """Return the parameter of a setting.

    Example:
        >>> parameter_name(Step("train"), "maximum_minutes")
        'MAXIMUM_MINUTES'
    """
    return step.names.get(setting, setting.upper())
