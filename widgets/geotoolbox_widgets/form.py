"""A form made from a job's spec: the same names, units, limits and words as on the command line."""

from __future__ import annotations

import html
import types
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, Union, get_args, get_origin

import ipywidgets as w
import traitlets as t
from pydantic import ValidationError
from pydantic.fields import FieldInfo

from geotoolbox.errors import BadInput, explain
from geotoolbox.jobs.spec import JobSpec, field_role, field_unit, validate_spec

__all__ = ["SpecForm"]

_FILE_LIMIT = 300
_RASTERS = (".tif", ".tiff", ".vrt", ".img", ".jp2", ".nc")
_VECTORS = (".gpkg", ".geojson", ".json", ".shp", ".parquet", ".fgb")
_OTHERS = (".gtb", ".yaml")
_AREAS = ("area", "polygons", "sample", "prototypes")


class SpecForm(w.VBox):
    """Controls for all settings of a job.

    A value that does not fit is answered beside its control; nothing is clipped or dropped in silence. What
    is left empty keeps the job's default.

    Args:
        spec_class: The job's settings.
        values: What to start with, by name.
        essentials: The settings that are always in view, in this order; the others stand under
            "More settings". By default those that are needed, and those that name files.
        hidden: Settings that the caller fills in itself.
        folder: Where to look for files to offer.

    Attributes:
        values: What the person has set, by name, as plain values; setting it fills the controls.
        problems: What does not fit, by name.
        valid: Whether :meth:`spec` would succeed.
        disabled: Whether the controls are locked.
        controls: The control of each setting, by name.
        choosers: What offers the files near by, for settings that name files.

    Raises:
        BadInput: When ``values`` or ``essentials`` names a setting that the job does not have.

    Example:
        >>> from geotoolbox.jobs.train import Spec
        >>> form = SpecForm(Spec, {"images": ("a.tif",), "labels": ("b.gpkg",)})
        >>> form.controls["epochs"].value = "zero"
        >>> form.valid, sorted(form.problems)
        (False, ['epochs'])
    """

    values = t.Dict()
    problems = t.Dict()
    valid = t.Bool(False)
    disabled = t.Bool(False)

    def __init__(
        self,
        spec_class: type[JobSpec],
        values: Mapping[str, Any] | None = None,
        *,
        essentials: Sequence[str] | None = None,
        hidden: Sequence[str] = (),
        folder: str | Path = ".",
    ) -> None:
        super().__init__()
        self.spec_class, self.folder = spec_class, Path(folder)
        shown = _essentials(spec_class) if essentials is None else tuple(essentials)
        self._check_names(shown)
        self._busy, self._asked = False, False
        self.controls: dict[str, w.Widget] = {}
        self.choosers: dict[str, w.Combobox] = {}
        self._said: dict[str, w.HTML] = {}
        rows = {name: self._row(name, field) for name, field in spec_class.model_fields.items()}
        others = [rows[name] for name in rows if name not in shown and name not in hidden]
        more = w.Accordion([w.VBox(others)], titles=["More settings"], selected_index=None)
        self.children = [*(rows[name] for name in shown), *([more] if others else [])]
        self.add_class("gt")
        self.add_class("gt-form")
        self.values = dict(values or {})
        self._check()

    def spec(self) -> JobSpec:
        """Return the settings, checked.

        Raises:
            BadInput: One sentence for each value that does not fit; they also stand in the form.
        """
        self._asked = True
        self._check()
        return validate_spec(self.spec_class, dict(self.values))

    def message_of(self, name: str) -> str:
        """Return what stands beside a control as HTML, or an empty text."""
        return str(self._said[name].value)

    def _row(self, name: str, field: FieldInfo) -> w.Widget:
        kind = _kind_of(field.annotation)
        role = field_role(self.spec_class, name)
        unit = field_unit(name)
        label = f"{_without_unit(name)} ({unit})" if unit and unit != "min" else name.replace("_", " ")
        common: dict[str, Any] = {
            "description": label,
            "tooltip": field.description or "",
            "style": {"description_width": "11em"},
            "layout": w.Layout(width="100%", max_width="46rem"),
        }
        control = self._control(kind, role, field, common)
        control.add_class(f"gt-field-{name.replace('_', '-')}")
        self.controls[name] = control
        control.observe(lambda _: self._gather(), "value")
        help_text = html.escape(field.description or "")
        note = w.HTML(f'<span class="gt-help">{help_text}{_default_of(field)}</span>')
        self._said[name] = w.HTML()
        parts = [control]
        if role == "input":
            self.choosers[name] = self._chooser(name, kind.many)
            parts.append(self.choosers[name])
        row = w.VBox([*parts, note, self._said[name]])
        row.add_class("gt-field")
        return row

    def _control(self, kind: _Kind, role: str, field: FieldInfo, common: dict[str, Any]) -> w.Widget:
        if kind.type is bool:
            return w.Checkbox(value=bool(field.default), indent=True, **common)
        if kind.choices:
            return w.Dropdown(options=[(str(c), c) for c in kind.choices], value=field.default, **common)
        if kind.many and role == "input":
            return w.Textarea(rows=2, placeholder="one path a line", continuous_update=False, **common)
        placeholder = "" if field.is_required() else _shown(field.default) or "not set"
        return w.Text(placeholder=placeholder, continuous_update=False, **common)

    def _chooser(self, name: str, many: bool) -> w.Widget:
        """Offer the files that are near; choosing one adds it (or takes it, where one is wanted)."""
        files = _files_near(self.folder, name)
        box = w.Combobox(
            options=files,
            placeholder="add a file from this folder …" if many else "choose a file from this folder …",
            ensure_option=True,
            continuous_update=False,
            description=" ",
            tooltip=f"files for {name.replace('_', ' ')}",
            style={"description_width": "11em"},
            layout=w.Layout(width="100%", max_width="46rem"),
        )
        box.add_class(f"gt-choose-{name.replace('_', '-')}")

        def choose(change: Any) -> None:
            if not change["new"]:
                return
            control = self.controls[name]
            before = [line for line in control.value.splitlines() if line.strip()] if many else []
            if change["new"] not in before:
                control.value = "\n".join([*before, change["new"]])
            box.value = ""

        box.observe(choose, "value")
        box.layout.display = None if files else "none"
        return box

    @t.observe("values")
    def _fill(self, change: Any) -> None:
        if self._busy or not hasattr(self, "controls"):
            return
        self._check_names(change["new"])
        self._busy = True
        try:
            for name, field in self.spec_class.model_fields.items():
                default = None if field.is_required() else field.default
                self._set(name, change["new"].get(name, default), change["new"])
        finally:
            self._busy = False
        self._check()

    def _set(self, name: str, value: Any, given: Mapping[str, Any]) -> None:
        control = self.controls[name]
        if isinstance(control, w.Checkbox):
            control.value = bool(value)
        elif isinstance(control, w.Dropdown):
            if value in [v for _, v in control.options]:
                control.value = value
        elif name not in given or value is None:
            control.value = ""
        else:
            between = "\n" if isinstance(control, w.Textarea) else ", "
            control.value = between.join(map(str, value)) if isinstance(value, tuple | list) else str(value)

    def _gather(self) -> None:
        """Take what stands in the controls; what is empty, or the default, is left to the spec."""
        if self._busy:
            return
        found: dict[str, Any] = {}
        for name, field in self.spec_class.model_fields.items():
            value = self._value(name, field)
            if value is not None and (field.is_required() or value != field.default):
                found[name] = value
        self._busy = True
        try:
            self.values = found
        finally:
            self._busy = False
        self._check()

    def _value(self, name: str, field: FieldInfo) -> Any:
        control = self.controls[name]
        if isinstance(control, w.Checkbox | w.Dropdown):
            return control.value
        text = control.value.strip()
        if not text:
            return None
        if isinstance(control, w.Textarea):
            return tuple(line.strip() for line in text.splitlines() if line.strip())
        return tuple(_split(text)) if _kind_of(field.annotation).many else text

    def _check(self) -> None:
        found: dict[str, str] = {}
        try:
            self.spec_class.model_validate(dict(self.values))
        except ValidationError as error:
            for item in error.errors():
                name = str(item["loc"][0]) if item["loc"] else "settings"
                missing = item["type"] == "missing"
                found[name] = "this is needed" if missing else str(item["msg"])
        self.problems = found
        self.valid = not found
        for name, said in self._said.items():
            silent = found.get(name) == "this is needed" and not self._asked
            text = "" if silent else found.get(name, "")
            said.value = f'<span class="gt-error" role="alert">{html.escape(text)}</span>' if text else ""

    @t.observe("disabled")
    def _switch(self, change: Any) -> None:
        for control in (*self.controls.values(), *self.choosers.values()):
            control.disabled = change["new"]

    def _check_names(self, names: Any) -> None:
        unknown = [n for n in names if n not in self.spec_class.model_fields]
        if unknown:
            raise BadInput(
                explain(
                    "the job has no such setting",
                    got=", ".join(map(str, unknown)),
                    expected=f"some of {', '.join(self.spec_class.model_fields)}",
                )
            )


def _essentials(spec: type[JobSpec]) -> tuple[str, ...]:
    needed = [n for n, f in spec.model_fields.items() if f.is_required()]
    files = [n for n in spec.model_fields if n not in needed and field_role(spec, n) != "value"]
    return (*needed, *files)


@dataclass(frozen=True, slots=True)
class _Kind:
    """The plain type of a field, whether it takes several values, and its choices."""

    type: Any
    many: bool = False
    choices: tuple[Any, ...] = ()


def _kind_of(annotation: Any) -> _Kind:
    origin = get_origin(annotation)
    if origin in (Union, types.UnionType):
        return _kind_of(next(a for a in get_args(annotation) if a is not type(None)))
    if origin in (tuple, list):
        return replace(_kind_of(get_args(annotation)[0]), many=True)
    if origin is Literal:
        return _Kind(str, choices=get_args(annotation))
    if origin is not None and get_args(annotation):
        return _kind_of(get_args(annotation)[0])
    return _Kind(annotation)


def _without_unit(name: str) -> str:
    """Drop the unit that a name ends in, since it stands in brackets behind.

    Example:
        >>> _without_unit("minimum_area_m2")
        'minimum area'
    """
    head, _, _ = name.rpartition("_")
    return head.replace("_", " ")


def _shown(value: Any) -> str:
    if value in (None, (), ""):
        return ""
    return ", ".join(map(str, value)) if isinstance(value, tuple | list) else str(value)


def _default_of(field: FieldInfo) -> str:
    if field.is_required():
        return " <b>(needed)</b>"
    shown = _shown(field.default)
    return "" if not shown or isinstance(field.default, bool) else f" (default: {html.escape(shown)})"


def _split(text: str) -> list[str]:
    """Split at commas that are not inside brackets.

    Example:
        >>> _split("ndvi, x = max(red, nir), savi")
        ['ndvi', 'x = max(red, nir)', 'savi']
    """
    parts, depth = [""], 0
    for letter in text:
        depth += (letter in "([") - (letter in ")]")
        if letter == "," and depth <= 0:
            parts.append("")
        else:
            parts[-1] += letter
    return [p.strip() for p in parts if p.strip()]


def _files_near(folder: Path, name: str) -> tuple[str, ...]:
    """Name the geospatial files in a folder and the folders in it, those that fit the setting first."""
    if not folder.is_dir():
        return ()
    wanted = (".gtb",) if name == "model" else _VECTORS if name in _AREAS else (*_RASTERS, *_VECTORS)
    found: list[str] = []
    for depth in ("*", "*/*"):
        for path in sorted(folder.glob(depth)):
            hidden = any(part.startswith(".") for part in path.parts[len(folder.parts) :])
            if path.suffix.lower() in wanted and not hidden:
                found.append(path.as_posix())
            if len(found) >= _FILE_LIMIT:
                return tuple(found)
    return tuple(found)
