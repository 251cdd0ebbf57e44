"""Layers of a map: what is shown of a dataset, and how; every setting is a trait."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Sequence
from typing import Any

import numpy as np
import traitlets
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox

from geotoolbox.core.classes import ClassTable
from geotoolbox.core.query import Reading
from geotoolbox.datasets import GeoDataset
from geotoolbox.datasets.preview import coarsest_px, read_point, read_preview
from geotoolbox.datasets.quicklook import QuickLooks
from geotoolbox.errors import BadInput, explain
from geotoolbox.visualization import mask_rgba, rgb_bands
from geotoolbox.visualization.webmap import (
    COLORMAPS,
    Stretch,
    encode_webp,
    fitted_grid,
    native_zoom,
    tile_geobox,
)

__all__ = ["FeatureLayer", "MapLayer", "RasterLayer"]

_IDS = itertools.count(1)
_OVERVIEW_PX = 384
_OVERZOOM = 1  # a tile is drawn so many zooms beyond the data's own; the page enlarges it from there on


class MapLayer(traitlets.HasTraits):
    """What all layers have: a name, whether and how strongly they show.

    Attributes:
        id: Names the layer between page and kernel; never used twice.
    """

    name = traitlets.Unicode("", help="what the panel calls it")
    visible = traitlets.Bool(True, help="whether it is drawn")
    opacity = traitlets.Float(1.0, min=0.0, max=1.0, help="0 is not there, 1 hides what is below")

    def __init__(self, **settings: Any) -> None:
        self.id = f"layer{next(_IDS)}"
        super().__init__(**settings)

    def bounds(self) -> tuple[float, float, float, float] | None:
        """Return (west, south, east, north) in degrees, or None when empty."""
        raise NotImplementedError


class RasterLayer(MapLayer):
    """A dataset drawn as tiles: bands of an image, or classes in their colours.

    Args:
        dataset: Images or labels; of a dataset with both, ``kind`` says which.
        kind: ``image`` or ``labels``.
        source: How the person named it, for the recipe.
        settings: Traits.

    Attributes:
        dataset: What is drawn.
        classes: The classes of a label layer, else None.
        band_names: All bands of an image.
    """

    bands: Any = traitlets.Tuple(help="one band (drawn in a colormap) or three (red, green, blue), by name")
    percentiles: Any = traitlets.Tuple(
        traitlets.Float(), traitlets.Float(), default_value=(2.0, 98.0),
        help="the shares of valid pixels, in per cent, that become black and white",
    )  # fmt: skip
    limits: Any = traitlets.Tuple(
        default_value=None, allow_none=True, help="((low, high), …) a band instead of percentiles, or None"
    )
    gamma = traitlets.Float(0.75, min=0.1, max=5.0, help="below 1 brightens what lies between")
    colormap = traitlets.Enum(COLORMAPS, "gray", help="the colours of a single band")
    version = traitlets.Int(0, help="counts up when tiles must be drawn anew")

    def __init__(
        self, dataset: GeoDataset, *, kind: str | None = None, source: str = "dataset", **settings: Any
    ) -> None:
        self.dataset, self.source = dataset, source
        self.kind = kind or ("labels" if dataset.kind == "labels" else "image")
        self.classes: ClassTable | None = dataset.classes if self.kind == "labels" else None
        self.band_names = () if self.kind == "labels" else tuple(b.name for b in dataset.bands)
        self._lock, self._looks = threading.Lock(), QuickLooks()
        self._stretches: dict[tuple[Any, ...], Stretch] = {}
        self._overview: dict[tuple[str, ...], tuple[NDArray[np.float32], NDArray[np.bool_]]] = {}
        self.max_zoom = max(native_zoom(coarsest_px(dataset)[0].geobox) + _OVERZOOM, 2)
        if self.kind == "image" and "bands" not in settings:
            settings["bands"] = tuple(self.band_names[i] for i in rgb_bands(self.band_names))
        super().__init__(**settings)
        self.observe(self._redraw, ["bands", "percentiles", "limits", "gamma", "colormap"])

    @traitlets.validate("bands")
    def _check_bands(self, proposal: Any) -> tuple[str, ...]:
        names = tuple(str(n) for n in proposal["value"])
        if self.kind == "labels":
            return ()
        missing = [n for n in names if n not in self.band_names]
        if missing or len(names) not in (1, 3):
            raise BadInput(
                explain(
                    "these bands cannot be shown",
                    where=self.name or "layer",
                    got=", ".join(names) or "none",
                    expected=f"one or three of {', '.join(self.band_names)}",
                )
            )
        return names

    @traitlets.validate("percentiles")
    def _check_percentiles(self, proposal: Any) -> tuple[float, float]:
        low, high = (float(v) for v in proposal["value"])
        if not 0 <= low < high <= 100:
            raise BadInput(
                explain("percentiles are out of order", got=(low, high), expected="0 ≤ low < high ≤ 100")
            )
        return low, high

    def _redraw(self, _: Any) -> None:
        self.version += 1

    def bounds(self) -> tuple[float, float, float, float] | None:
        """Return (west, south, east, north) in degrees, or None when there is no data."""
        boxes = np.array([shape.bounds for shape, _ in self.dataset.coverage()])
        if not len(boxes):
            return None
        west, south = boxes[:, :2].min(axis=0)
        east, north = boxes[:, 2:].max(axis=0)
        return float(west), float(south), float(east), float(north)

    def stretch(self) -> Stretch:
        """Return how values become colours: the same for all tiles, from a coarse view of the largest scene."""
        if self.limits is not None:
            low, high = zip(*self.limits, strict=True)
            return Stretch(tuple(map(float, low)), tuple(map(float, high)), self.gamma, self.colormap)
        key = (self.bands, self.percentiles, self.gamma, self.colormap)
        with self._lock:  # several threads draw the first tiles; one finds the limits
            if key not in self._stretches:
                image, valid = self._coarse(self.bands)
                self._stretches[key] = Stretch.of(image, valid, self.percentiles, self.gamma, self.colormap)
            return self._stretches[key]

    def _coarse(self, bands: Sequence[str]) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
        key = tuple(bands)
        if key not in self._overview:
            scene, _ = coarsest_px(self.dataset)
            grid = fitted_grid(scene.geobox, _OVERVIEW_PX)
            reading = self._read(grid, self._positions())
            assert reading.image is not None
            self._overview[key] = (reading.image, reading.valid)
        return self._overview[key]

    def _read(self, grid: GeoBox, bands: list[int] | None) -> Reading:
        return read_preview(self.dataset, grid, bands=bands, looks=self._looks)

    def _positions(self) -> list[int]:
        return [self.band_names.index(n) for n in self.bands]

    def tile(self, zoom: int, column: int, row: int) -> bytes:
        """Draw a Web Mercator tile as WebP; empty bytes where there is nothing to see."""
        grid = tile_geobox(zoom, column, row)
        if self.classes is not None:
            reading = self._read(grid, [] if self.dataset.bands else None)
            assert reading.mask is not None
            rgba = mask_rgba(reading.mask, self.classes)
            return encode_webp(rgba, exact=True) if rgba[..., 3].any() else b""
        reading = self._read(grid, self._positions())
        assert reading.image is not None
        if not reading.valid.any():
            return b""
        return encode_webp(self.stretch().rgba(reading.image, reading.valid))

    def value_at(self, lon: float, lat: float) -> dict[str, Any]:
        """Return the native pixel under a point as ``{layer, values: [[name, value], …], note}``."""
        found = read_point(self.dataset, lon, lat)
        row: dict[str, Any] = {"layer": self.name, "values": [], "note": ""}
        if found is None:
            return row | {"note": "outside"}
        if self.classes is not None:
            if found.class_index is None:
                return row | {"note": "no label"}
            info = self.classes[found.class_index]
            return row | {
                "values": [["class", info.name], ["value", info.value]],
                "color": list(self.classes.colors[found.class_index]),
            }
        if not found.valid:
            return row | {"note": "no data"}
        return row | {"values": [list(p) for p in zip(self.band_names, found.values, strict=True)]}

    def legend(self) -> list[list[Any]]:
        """Return ``[name, "#rrggbb"]`` for each class; empty for images."""
        if self.classes is None:
            return []
        return [
            [n, "#{:02x}{:02x}{:02x}".format(*c)]
            for n, c in zip(self.classes.names, self.classes.colors, strict=True)
        ]


class FeatureLayer(MapLayer):
    """Outlines drawn as vectors, in one layer however many; a click selects one.

    Args:
        features: GeoJSON features in EPSG:4326; their ``properties`` may have ``id`` (a whole number),
            ``color``, ``dash``, ``weight``, ``fill`` (0 to 1), ``muted`` (bool) and ``label``.
        settings: Traits.
    """

    features: Any = traitlets.List(help="GeoJSON features in longitude and latitude")
    selected = traitlets.Int(-1, help="the id of the selected feature; -1 for none")

    def __init__(self, features: Sequence[dict[str, Any]] = (), **settings: Any) -> None:
        super().__init__(features=list(features), **settings)

    def bounds(self) -> tuple[float, float, float, float] | None:
        """Return (west, south, east, north) in degrees, or None without features."""
        from shapely import total_bounds
        from shapely.geometry import shape

        if not self.features:
            return None
        west, south, east, north = total_bounds([shape(f["geometry"]) for f in self.features])
        return float(west), float(south), float(east), float(north)

    def legend(self) -> list[list[Any]]:
        """Return one entry for each label."""
        found: dict[str, str] = {}
        for feature in self.features:
            properties = feature.get("properties") or {}
            if properties.get("group"):
                found.setdefault(str(properties["group"]), str(properties.get("color", "#1b6f8a")))
        return [[n, c] for n, c in found.items()]
