"""``model.json``: what a model is, as a STAC item with the MLM extension and one section of our own.

Other tools read the MLM fields (bands, shapes, classes); we read only ``geotoolbox:card``, which holds all
that is needed to use the model again.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, FiniteFloat, ValidationError

from geotoolbox.errors import BadBundle, explain

__all__ = ["SCHEMA_VERSION", "Card", "dump_card", "parse_card", "plain"]

SCHEMA_VERSION = 1
_SECTION = "geotoolbox:card"
_EXTENSIONS = [
    "https://stac-extensions.github.io/mlm/v1.4.0/schema.json",
    "https://stac-extensions.github.io/file/v2.1.0/schema.json",
]
Name = Annotated[str, Field(max_length=10_000)]
Rows = tuple[dict[str, Any], ...]


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore", strict=False)


class SpecCard(_Strict):
    """The fields of a ``ModelSpec``."""

    architecture: Name
    encoder: Name | None = None
    in_channels: int
    num_classes: int
    width: int = 0


class BandCard(_Strict):
    """One band, in the order of the channels."""

    name: Name
    wavelength_um: FiniteFloat | None = None
    description: Name = ""


class ClassCard(_Strict):
    """One class, in the order of the channels that come out."""

    value: int
    name: Name
    color: tuple[int, int, int] | None = None


class Card(_Strict):
    """Everything but the weights."""

    schema_version: Literal[1]
    spec: SpecCard
    bands: tuple[BandCard, ...] = Field(min_length=1)
    classes: tuple[ClassCard, ...] = Field(min_length=1)
    preprocess: dict[str, Any] | None
    resolution_m: FiniteFloat | None
    crs: Name | None
    tile_px: int = Field(ge=8, le=65_536)
    halo_px: int = Field(ge=0, le=32_768)
    temperature: FiniteFloat = Field(gt=0)
    task: Literal["semantic-segmentation"]
    training_area: dict[str, Any] | None = None
    sources: Rows = ()
    metrics: dict[str, Any] = {}
    history: Rows = ()
    baseline: Rows = ()
    versions: dict[str, str] = {}
    created: Name = ""
    checksums: dict[str, str]


def dump_card(card: Card, parameters: int) -> bytes:
    """Return ``model.json`` for a card; ``parameters`` is the number of weights of the network.

    Raises:
        BadBundle: When a value cannot be written as JSON.
    """
    item = {
        "type": "Feature",
        "stac_version": "1.0.0",
        "stac_extensions": _EXTENSIONS,
        "id": f"geotoolbox-{card.spec.architecture}-{card.checksums['weights.safetensors'][:12]}",
        "geometry": card.training_area,
        **({"bbox": _bbox(card.training_area)} if card.training_area else {}),
        "properties": {
            "datetime": card.created or None,
            "description": "Semantic segmentation model trained with GeoToolbox",
            **_mlm(card, parameters),
            _SECTION: plain(card.model_dump(mode="json")),
        },
        "links": [],
        "assets": _assets(card),
    }
    try:
        return json.dumps(item, indent=1, ensure_ascii=False, allow_nan=False).encode()
    except (TypeError, ValueError) as error:
        raise BadBundle(explain("the model's description cannot be written", got=error)) from error


def parse_card(data: bytes, where: object) -> Card:
    """Read ``model.json``.

    Raises:
        BadBundle: When it is no JSON, of a newer schema, or a field is missing or wrong.
    """
    try:
        item = json.loads(data.decode("utf-8"), parse_constant=_no_constant)
        section = item["properties"][_SECTION]
        version = section["schema_version"]
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise BadBundle(
            explain(
                "the model's description cannot be read",
                where=f"{where}, model.json",
                got=f"{type(error).__name__}: {error}"[:200],
                expected=f"JSON with properties.{_SECTION}",
            )
        ) from error
    if not isinstance(version, int) or version > SCHEMA_VERSION:
        wrote = (section.get("versions") or {}).get("geotoolbox", "a newer version")
        raise BadBundle(
            explain(
                "the model bundle is newer than this GeoToolbox",
                where=where,
                got=f"schema version {version!r}",
                expected=f"at most {SCHEMA_VERSION}",
                fix=f"update GeoToolbox: version {wrote} wrote this bundle and reads it",
            )
        )
    try:
        return Card.model_validate(section)
    except ValidationError as error:
        first = error.errors()[0]
        raise BadBundle(
            explain(
                "the model's description is wrong",
                where=f"{where}, model.json, {'.'.join(map(str, first['loc']))}",
                got=str(first.get("input"))[:100],
                expected=first["msg"],
            )
        ) from error


def plain(value: Any) -> Any:
    """Return ``value`` with everything JSON cannot hold made plain: NaN becomes null, tuples lists."""
    if isinstance(value, Mapping):
        return {str(k): plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [plain(v) for v in value]
    if hasattr(value, "tolist"):
        return plain(value.tolist())
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def _no_constant(name: str) -> float:
    raise ValueError(f"{name} is no JSON")


def _mlm(card: Card, parameters: int) -> dict[str, Any]:
    tile, bands = card.tile_px, [b.name for b in card.bands]
    return {
        "mlm:name": f"{card.spec.architecture} for {len(card.classes)} classes",
        "mlm:architecture": " ".join(filter(None, (card.spec.architecture, card.spec.encoder))),
        "mlm:tasks": [card.task],
        "mlm:framework": "pytorch",
        "mlm:framework_version": card.versions.get("torch", "unknown"),
        "mlm:total_parameters": parameters,
        "mlm:pretrained": True,
        "mlm:accelerator_constrained": False,
        "mlm:input": [
            {
                "name": "image",
                "bands": bands,
                "input": {
                    "shape": [-1, len(bands), tile, tile],
                    "dim_order": ["batch", "bands", "height", "width"],
                    "data_type": "float32",
                },
                "description": "Raw pixel values; the preprocessing is in geotoolbox:card",
                "pre_processing_function": None,
            }
        ],
        "mlm:output": [
            {
                "name": "probabilities",
                "tasks": [card.task],
                "result": {
                    "shape": [-1, len(card.classes), tile, tile],
                    "dim_order": ["batch", "class", "height", "width"],
                    "data_type": "float32",
                },
                "classification:classes": [_stac_class(c) for c in card.classes],
                "post_processing_function": None,
            }
        ],
    }


def _stac_class(info: ClassCard) -> dict[str, Any]:
    row: dict[str, Any] = {"value": info.value, "name": info.name}
    if info.color is not None:
        row["color_hint"] = "{:02X}{:02X}{:02X}".format(*info.color)
    return row


def _assets(card: Card) -> dict[str, Any]:
    return {
        "model": {
            "href": "./weights.safetensors",
            "type": "application/octet-stream; application=safetensors",
            "title": "Weights",
            "mlm:artifact_type": "safetensors",
            # A multihash: 0x12 is SHA-256, 0x20 its length in bytes.
            "file:checksum": "1220" + card.checksums["weights.safetensors"],
            "roles": ["mlm:model", "mlm:weights", "data"],
        }
    }


def _bbox(geometry: Mapping[str, Any]) -> list[float]:
    from shapely.geometry import shape

    return list(shape(geometry).bounds)
