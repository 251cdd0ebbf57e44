"""The bundle: a trained model and all that is needed to use it, in one file that runs nothing.

A bundle is a zip of ``model.json``, ``weights.safetensors`` and, where there is one, ``report.html``.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor, nn

from geotoolbox.core.classes import ClassTable
from geotoolbox.core.query import Band
from geotoolbox.errors import BadBundle, BadInput, explain
from geotoolbox.models.archive import CARD, REPORT, WEIGHTS, read_archive, sha256, write_archive
from geotoolbox.models.card import SCHEMA_VERSION, Card, dump_card, parse_card, plain
from geotoolbox.models.factory import ModelSpec, create_model, resolve_spec

__all__ = ["Bundle", "load_bundle", "save_bundle", "software_versions"]

State = dict[str, Tensor]


@dataclass(frozen=True, slots=True)
class Bundle:
    """A trained model: the weights, and what it needs and knows.

    Attributes:
        spec: The network.
        state: Its weights, by name, on the CPU.
        bands: The bands it reads, in order.
        classes: The classes it tells apart, in the order of its output channels.
        preprocess: What turns raw pixel values into its input (JSON of ``Preprocess``), or None.
        resolution_m: The pixel size it was trained at, in metres.
        crs: The CRS of the training imagery (of the first scene).
        tile_px: The side of the square tiles it is to be run on.
        halo_px: The border of a tile's answer that is to be thrown away.
        temperature: What logits are divided by before the softmax (calibration).
        task: What it does.
        training_area: GeoJSON geometry in longitude and latitude (EPSG:4326).
        sources: Name, size and checksum (where known) of the files it was trained on.
        metrics: Scores on the validation area.
        history: One row for each epoch.
        baseline: Scores of simple baselines on the same validation pixels.
        versions: Versions of the software that trained it.
        created: When, in UTC (ISO 8601).
        report_html: The training report, where there is one.
    """

    spec: ModelSpec
    state: State
    bands: tuple[Band, ...]
    classes: ClassTable
    preprocess: dict[str, Any] | None = None
    resolution_m: float | None = None
    crs: str | None = None
    tile_px: int = 256
    halo_px: int = 0
    temperature: float = 1.0
    task: str = "semantic-segmentation"
    training_area: dict[str, Any] | None = None
    sources: tuple[dict[str, Any], ...] = ()
    metrics: dict[str, Any] = field(default_factory=dict)
    history: tuple[dict[str, Any], ...] = ()
    baseline: tuple[dict[str, Any], ...] = ()
    versions: dict[str, str] = field(default_factory=dict)
    created: str = ""
    report_html: str | None = None

    def module(self) -> nn.Module:
        """Build the network with these weights, in evaluation mode, on the CPU.

        Raises:
            BadBundle: When the weights do not fit the network.
        """
        # On the meta device nothing is allocated, so a false description cannot fill the memory.
        try:
            with torch.device("meta"):
                network = create_model(replace(self.spec, encoder_weights=None))
        except BadInput as error:
            raise BadBundle(explain("the model's network cannot be built", got=error)) from error
        _check_fit(self.spec, self.state, dict(network.state_dict()))
        network.load_state_dict(self.state, strict=True, assign=True)
        _materialise(network)
        return network.eval().requires_grad_(False)

    def _repr_html_(self) -> str:
        from geotoolbox.core.reprs import bundle_html

        return bundle_html(self)

    def save(self, path: str | Path) -> Path:
        """Write the bundle to ``path``; see :func:`save_bundle`."""
        return save_bundle(path, self)


def save_bundle(
    path: str | Path, bundle: Bundle, module: nn.Module | None = None, report_html: str | None = None
) -> Path:
    """Write a bundle, whole or not at all.

    Args:
        path: The file to write; by custom it ends in ``.gtb``.
        bundle: What to write.
        module: Take the weights from this network instead of from the bundle.
        report_html: Take this report instead of the bundle's own.

    Returns:
        The path.

    Raises:
        BadBundle: When something in the bundle cannot be written.
        CannotWrite: When the folder cannot be written to.

    Example:
        >>> import tempfile
        >>> spec = ModelSpec("fcn8s", in_channels=1, num_classes=2, width=2)
        >>> net = create_model(spec)
        >>> bundle = Bundle(spec, {}, (Band("nir"),), ClassTable.from_names(["water", "land"]))
        >>> file = save_bundle(Path(tempfile.mkdtemp()) / "a.gtb", bundle, net)
        >>> load_bundle(file).classes.names
        ('water', 'land')
    """
    path = Path(path)
    state = bundle.state if module is None else _state_of(module)
    if not state:
        raise BadBundle(explain("a bundle without weights", where=path, fix="pass the trained network"))
    weights = save({name: tensor.detach().cpu().contiguous() for name, tensor in state.items()})
    members = {CARD: _card_bytes(bundle, state, weights), WEIGHTS: weights}
    report = report_html if report_html is not None else bundle.report_html
    if report is not None:
        members[REPORT] = report.encode()
    write_archive(path, members)
    return path


def load_bundle(path: str | Path) -> Bundle:
    """Read a bundle; nothing in it is executed.

    Raises:
        CannotRead: When there is no such file.
        BadBundle: When the file is no bundle, damaged, newer than this version, or not safe.
    """
    path = Path(path)
    members = read_archive(path)
    card = parse_card(members[CARD], path)
    _check_sum(path, card, members[WEIGHTS])
    report = members.get(REPORT)
    try:
        spec = ModelSpec(**card.spec.model_dump())
        classes = ClassTable.from_json([c.model_dump() for c in card.classes])
        text = None if report is None else report.decode("utf-8")
    except (BadInput, UnicodeDecodeError) as error:
        raise BadBundle(explain("the model bundle is wrong", where=path, got=error)) from error
    return Bundle(
        spec=spec,
        state=_load_weights(path, members[WEIGHTS]),
        bands=tuple(Band(b.name, b.wavelength_um, b.description) for b in card.bands),
        classes=classes,
        preprocess=card.preprocess,
        resolution_m=card.resolution_m,
        crs=card.crs,
        tile_px=card.tile_px,
        halo_px=card.halo_px,
        temperature=card.temperature,
        task=card.task,
        training_area=card.training_area,
        sources=card.sources,
        metrics=card.metrics,
        history=card.history,
        baseline=card.baseline,
        versions=card.versions,
        created=card.created,
        report_html=text,
    )


def software_versions() -> dict[str, str]:
    """Return the versions that matter for repeating a training."""
    import platform
    from importlib.metadata import PackageNotFoundError, version

    found = {"python": platform.python_version()}
    for name in (
        "geotoolbox",
        "torch",
        "lightning",
        "numpy",
        "rasterio",
        "segmentation-models-pytorch",
        "timm",
    ):
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def _card_bytes(bundle: Bundle, state: State, weights: bytes) -> bytes:
    spec = resolve_spec(bundle.spec).to_json()
    section = {
        "schema_version": SCHEMA_VERSION,
        "spec": {k: v for k, v in spec.items() if k != "encoder_weights"},
        "bands": [
            {"name": b.name, "wavelength_um": b.wavelength_um, "description": b.description}
            for b in bundle.bands
        ],
        "classes": bundle.classes.to_json(),
        "created": bundle.created or datetime.now(UTC).isoformat(timespec="seconds"),
        "versions": bundle.versions or software_versions(),
        "checksums": {WEIGHTS: sha256(weights)},
    }
    for name in (
        "preprocess", "resolution_m", "crs", "tile_px", "halo_px", "temperature", "task",
        "training_area", "sources", "metrics", "history", "baseline",
    ):  # fmt: skip
        section[name] = plain(getattr(bundle, name))
    try:
        card = Card.model_validate(section)
    except ValueError as error:
        raise BadBundle(explain("this bundle cannot be written", got=error)) from error
    return dump_card(card, sum(t.numel() for t in state.values()))


def _state_of(module: nn.Module) -> State:
    return {name: value.detach().cpu().contiguous() for name, value in module.state_dict().items()}


def _check_sum(path: Path, card: Card, weights: bytes) -> None:
    found, noted = sha256(weights), card.checksums.get(WEIGHTS)
    if found != noted:
        raise BadBundle(
            explain(
                "the weights are not those that the bundle describes",
                where=f"{path}, {WEIGHTS}",
                got=f"SHA-256 {found[:12]}…",
                expected=f"{str(noted)[:12]}…",
                fix="copy or download the bundle again",
            )
        )


def _load_weights(path: Path, data: bytes) -> State:
    try:
        return load(data)
    except (SafetensorError, ValueError, KeyError, RuntimeError, struct.error) as error:
        raise BadBundle(
            explain("the weights cannot be read", where=f"{path}, {WEIGHTS}", got=str(error)[:200])
        ) from error


def _check_fit(spec: ModelSpec, state: State, wanted: State) -> None:
    missing, extra = sorted(wanted.keys() - state.keys()), sorted(state.keys() - wanted.keys())
    other = [
        f"{n} {tuple(state[n].shape)} {state[n].dtype}, not {tuple(wanted[n].shape)} {wanted[n].dtype}"
        for n in sorted(wanted.keys() & state.keys())
        if state[n].shape != wanted[n].shape or state[n].dtype != wanted[n].dtype
    ]
    if missing or extra or other:
        first = [*(f"no {n}" for n in missing), *(f"a needless {n}" for n in extra), *other][0]
        raise BadBundle(
            explain(
                "the weights do not fit the network",
                where=f"{spec.architecture} with {spec.in_channels} channels and {spec.num_classes} classes",
                got=f"{len(missing) + len(extra) + len(other)} differences, first: {first}",
                fix="the bundle is damaged, or another version of GeoToolbox wrote it",
            )
        )


def _materialise(network: nn.Module) -> None:
    """Refuse networks that keep a tensor outside their state: it would stay on the meta device."""
    left = [n for n, b in network.named_buffers() if b.is_meta]
    if left:
        raise BadBundle(explain("this network keeps values that no bundle holds", got=", ".join(left)))
