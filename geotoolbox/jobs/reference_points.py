"""A reference sample on the disk: points to label, the frame they were drawn from, and the design.

One GeoPackage holds the layers ``points`` (to label), ``frame`` (what was drawn, for checking), ``design`` (one row of
JSON) and, where there is one, ``area`` (the polygons inside which the points were drawn).
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import pandas as pd
import pyogrio
import shapely
from affine import Affine
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox
from pyproj import Transformer

from geotoolbox import __version__
from geotoolbox.core.classes import ClassTable
from geotoolbox.core.files import atomic_path, check_writable
from geotoolbox.core.query import Region
from geotoolbox.errors import BadInput, CannotRead, NotProbabilitySample, explain
from geotoolbox.jobs.label_style import label_style_xml
from geotoolbox.metrics.drawing import DrawnPoints
from geotoolbox.prediction.sidecars import add_default_style

__all__ = ["SampleDesign", "read_drawn", "read_points", "write_sample"]

_LAYERS = ("points", "frame", "design", "area")


@dataclass(frozen=True, slots=True)
class SampleDesign:
    """How a sample was drawn.

    Attributes:
        design: ``stratified``, ``simple`` or ``systematic``.
        seed: Of the draw.
        map_name: The map's file name.
        classes: The map's classes.
        strata: The strata; the map's classes unless another raster gave them.
        by_map_class: Whether the strata are the map's classes.
        pixels: Pixels of each stratum.
        area_m2: Their true ground area.
        points: Points drawn in each stratum.
        equal_chance: Whether all pixels had the same chance (systematic), or one in proportion to their area.
        crs: The map's CRS.
        transform: The six numbers of the map's affine, as in ``affine.Affine``.
        shape: Rows and columns of the map.
        frame_sha256: Of the frame's rows, to notice changes.
    """

    design: str
    seed: int
    map_name: str
    classes: ClassTable
    strata: ClassTable
    by_map_class: bool
    pixels: tuple[int, ...]
    area_m2: tuple[float, ...]
    points: tuple[int, ...]
    equal_chance: bool
    crs: str
    transform: tuple[float, ...]
    shape: tuple[int, int]
    frame_sha256: str = ""

    @property
    def geobox(self) -> GeoBox:
        """The grid of the map that was sampled."""
        return GeoBox(self.shape, Affine(*self.transform), self.crs)

    def to_json(self) -> dict[str, Any]:
        """Return plain data for the GeoPackage."""
        return {
            "geotoolbox": __version__,
            "design": self.design,
            "seed": self.seed,
            "map": self.map_name,
            "classes": self.classes.to_json(),
            "strata": self.strata.to_json(),
            "strata_are_map_classes": self.by_map_class,
            "pixels": list(self.pixels),
            "area_m2": list(self.area_m2),
            "points": list(self.points),
            "chance": "equal for all pixels" if self.equal_chance else "in proportion to the pixel's area",
            "crs": self.crs,
            "transform": list(self.transform),
            "shape": list(self.shape),
            "frame_sha256": self.frame_sha256,
        }

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> SampleDesign:
        """Read what :meth:`to_json` wrote."""
        rows, columns = data["shape"]
        return cls(
            str(data["design"]),
            int(data["seed"]),
            str(data["map"]),
            ClassTable.from_json(data["classes"]),
            ClassTable.from_json(data["strata"]),
            bool(data["strata_are_map_classes"]),
            tuple(int(n) for n in data["pixels"]),
            tuple(float(a) for a in data["area_m2"]),
            tuple(int(n) for n in data["points"]),
            str(data["chance"]).startswith("equal"),
            str(data["crs"]),
            tuple(float(n) for n in data["transform"]),
            (int(rows), int(columns)),
            str(data["frame_sha256"]),
        )


def write_sample(
    path: Path, design: SampleDesign, drawn: DrawnPoints, *, region: Region | None = None, blind: bool = False
) -> SampleDesign:
    """Write a drawn sample; the column ``reference`` is empty, to be filled in.

    Args:
        path: The GeoPackage; replaced as a whole, or left as it is.
        design: How it was drawn.
        drawn: The points.
        region: The area that they were drawn in.
        blind: Leave what would tell the map's class out of the layer ``points``.

    Returns:
        The design with the frame's checksum.

    Raises:
        BadInput: When the file is to be no GeoPackage.
        CannotWrite: When it cannot be written.
    """
    if path.suffix.lower() != ".gpkg":
        raise BadInput(
            explain("a sample is written as a GeoPackage", got=path.name, expected="a name ending in .gpkg")
        )
    check_writable(path)
    frame = _frame(design, drawn)
    sealed = SampleDesign.from_json({**design.to_json(), "frame_sha256": _checksum(frame)})
    points = _points(frame, design, blind)
    with atomic_path(path) as part:
        points.to_file(part, layer="points", driver="GPKG", engine="pyogrio", geometry_type="Point")
        pyogrio.write_dataframe(frame, part, layer="frame", driver="GPKG")
        text = json.dumps(sealed.to_json(), ensure_ascii=False)
        pyogrio.write_dataframe(pd.DataFrame({"design": [text]}), part, layer="design", driver="GPKG")
        if region is not None:
            area = gpd.GeoDataFrame(geometry=[region.geometry], crs=region.crs)
            area.to_file(part, layer="area", driver="GPKG", engine="pyogrio")
        locked = tuple(c for c in points.columns if c not in ("reference", "remark", "geometry"))
        add_default_style(part, "points", label_style_xml(design.classes, locked))
    return sealed


def _frame(design: SampleDesign, drawn: DrawnPoints) -> pd.DataFrame:
    strata, classes = np.array(design.strata.values), np.array(design.classes.values)
    return pd.DataFrame(
        {
            "id": np.arange(1, len(drawn) + 1),
            "pixel_row": drawn.row,
            "pixel_column": drawn.column,
            "stratum": strata[drawn.stratum],
            "map_class": classes[drawn.mapped],
            "inclusion_probability": drawn.probability,
            "pixel_area_m2": drawn.area_m2,
        }
    )


def _points(frame: pd.DataFrame, design: SampleDesign, blind: bool) -> gpd.GeoDataFrame:
    grid = design.geobox
    x, y = _centres(grid, frame["pixel_row"].to_numpy(), frame["pixel_column"].to_numpy())
    lon, lat = Transformer.from_crs(str(grid.crs), "EPSG:4326", always_xy=True).transform(x, y)
    nothing = pd.Series([None] * len(frame), dtype=object)
    columns: dict[str, Any] = {"id": frame["id"], "reference": nothing, "remark": nothing}
    if not blind:
        names = dict(zip(design.classes.values, design.classes.names, strict=True))
        strata = dict(zip(design.strata.values, design.strata.names, strict=True))
        columns |= {
            "stratum": frame["stratum"],
            "stratum_name": frame["stratum"].map(strata),
            "map_class": frame["map_class"],
            "map_class_name": frame["map_class"].map(names),
            "inclusion_probability": frame["inclusion_probability"],
        }
    columns |= {"longitude": lon, "latitude": lat}
    return gpd.GeoDataFrame(columns, geometry=shapely.points(x, y), crs=str(grid.crs))


def read_drawn(path: str) -> tuple[SampleDesign, pd.DataFrame, Region | None]:
    """Read what was drawn: the design, the frame and the area.

    Raises:
        NotProbabilitySample: When the file tells nothing of how its points were drawn, or its frame was changed.
    """
    names = _layer_names(path)
    if not {"frame", "design"} <= set(names):
        raise NotProbabilitySample(
            explain(
                "nothing tells how these points were drawn, so they cannot be taken for a probability sample",
                where=path,
                got=f"layers {', '.join(names)}",
                expected="a file that sample-reference wrote, with the layers 'frame' and 'design'",
                fix="give that file as drawn=; or, if the points were drawn at random elsewhere, declared_design=. Training "
                "pixels, digitised polygons and hand-placed points can never give accuracies: draw a sample first",
            )
        )
    try:
        text = str(pyogrio.read_dataframe(path, layer="design")["design"].iloc[0])
        design = SampleDesign.from_json(json.loads(text))
    except (ValueError, KeyError, TypeError, IndexError) as error:
        raise CannotRead(explain("the sample's design is damaged", where=path, got=error)) from error
    frame = pyogrio.read_dataframe(path, layer="frame")
    if _checksum(frame) != design.frame_sha256:
        raise NotProbabilitySample(
            explain(
                "the layer 'frame' was changed since the sample was drawn",
                where=path,
                fix="use the file as drawn",
            )
        )
    region = None
    if "area" in names:
        table = gpd.read_file(path, layer="area", engine="pyogrio")
        region = Region(shapely.union_all(table.geometry.to_numpy()), table.crs.to_wkt())
    return design, frame, region


def read_points(path: str, layer: str | None, columns: tuple[str, ...]) -> gpd.GeoDataFrame:
    """Read labelled points.

    Args:
        path: A vector file.
        layer: Its layer; ``points``, or the only one, when None.
        columns: Columns that must be there.

    Raises:
        BadInput: When the layer or a column is missing.
        NotProbabilitySample: When the layer holds anything but single points.
    """
    names = _layer_names(path)
    chosen = layer or ("points" if "points" in names else names[0] if len(names) == 1 else None)
    if chosen is None or chosen not in names:
        raise BadInput(
            explain("which layer holds the points?", where=path, got=", ".join(names), fix="sample_layer=…")
        )
    table = gpd.read_file(path, layer=chosen, engine="pyogrio")
    missing = [c for c in columns if c not in table.columns]
    if missing:
        raise BadInput(
            explain(
                "no such column",
                where=path,
                got=", ".join(map(str, table.columns)),
                expected=", ".join(missing),
            )
        )
    kinds = set(table.geometry.geom_type.dropna()) - {"Point"}
    if kinds or table.geometry.isna().any() or table.geometry.is_empty.any():
        raise NotProbabilitySample(
            explain(
                "a probability sample is made of single points",
                where=path,
                got=", ".join(sorted(map(str, kinds))) or "rows without a place",
                fix="polygons that were drawn by hand are training data; draw a sample with sample-reference",
            )
        )
    if table.crs is None:
        raise BadInput(explain("the points do not say their CRS", where=path, fix="save them with a CRS"))
    return table


def offsets_px(
    points: gpd.GeoDataFrame, grid: GeoBox, rows: NDArray[Any], columns: NDArray[Any]
) -> NDArray[np.float64]:
    """Return (n,) how far points are from the centres of pixels, along rows or columns, in pixels."""
    c, r = _pixel_places(points, grid)
    return np.asarray(np.maximum(np.abs(r - rows - 0.5), np.abs(c - columns - 0.5)))


def pixels_under(points: gpd.GeoDataFrame, grid: GeoBox) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return (rows, columns) of the pixels of a grid that points lie in."""
    c, r = _pixel_places(points, grid)
    return np.floor(r).astype(np.int64), np.floor(c).astype(np.int64)


def pixel_centres(grid: GeoBox, rows: NDArray[Any], columns: NDArray[Any]) -> gpd.GeoDataFrame:
    """Return the centres of pixels as points."""
    return gpd.GeoDataFrame(geometry=shapely.points(*_centres(grid, rows, columns)), crs=str(grid.crs))


def _pixel_places(points: gpd.GeoDataFrame, grid: GeoBox) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    moved = points.geometry.to_crs(str(grid.crs))
    x, y, inverse = moved.x.to_numpy(), moved.y.to_numpy(), ~grid.affine
    return inverse.a * x + inverse.b * y + inverse.c, inverse.d * x + inverse.e * y + inverse.f


def _centres(
    grid: GeoBox, rows: NDArray[Any], columns: NDArray[Any]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    t, c, r = grid.affine, columns + 0.5, rows + 0.5
    return t.a * c + t.b * r + t.c, t.d * c + t.e * r + t.f


def _layer_names(path: str) -> list[str]:
    try:
        return [str(name) for name, _ in pyogrio.list_layers(path)]
    except Exception as error:
        raise CannotRead(explain("cannot read this vector file", where=path, got=str(error)[:200])) from error


def _checksum(frame: pd.DataFrame) -> str:
    rows = frame[["id", "pixel_row", "pixel_column", "stratum", "map_class"]].to_numpy(dtype=np.int64)
    return hashlib.sha256(np.ascontiguousarray(rows[np.argsort(rows[:, 0])]).tobytes()).hexdigest()
