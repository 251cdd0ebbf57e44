"""From a class map to polygons, block by block, with no trace of the blocks.

Each block is turned into polygons on its own, on whole pixel corners. Pieces of one patch are found by
comparing the two rows (or columns) of pixels on either side of a block line, joined by union-find, and only
they are merged. So memory follows the polygons, not the raster, and no edge lies on a block line unless the
class changes there.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import pyproj
import rasterio.errors
import shapely
from affine import Affine
from numpy.typing import NDArray
from rasterio.io import DatasetReader

from geotoolbox.core.classes import ClassTable
from geotoolbox.core.cluster import Cluster
from geotoolbox.core.events import SILENT, Artifact, Reporter
from geotoolbox.core.files import atomic_path, check_writable
from geotoolbox.core.header import describe
from geotoolbox.core.opening import open_raster
from geotoolbox.datasets.labels import name_values
from geotoolbox.errors import BadInput, CannotAlign, CannotRead, explain
from geotoolbox.prediction.outputs import read_classes
from geotoolbox.prediction.sidecars import add_default_style, polygon_style_xml, write_text
from geotoolbox.prediction.stitching import Patches, collect_patches

__all__ = ["PolygonResult", "polygonize"]

_FORMATS = (".gpkg", ".parquet", ".geoparquet", ".geojson", ".json")
_MAX_SEGMENT_PX = 64.0
_EQUAL_AREA = "+proj=laea +lat_0={lat} +lon_0={lon} +datum=WGS84 +units=m +type=crs"


@dataclass(frozen=True, slots=True)
class PolygonResult:
    """What polygonising made.

    Attributes:
        path: The vector file.
        count: The number of polygons.
        area_m2: The area of each class, by class value.
        dropped: How many polygons were smaller than the least area.
    """

    path: Path
    count: int
    area_m2: dict[int, float]
    dropped: int = 0


def polygonize(
    map_path: Path,
    output: Path,
    *,
    classes: ClassTable | None = None,
    confidence_path: Path | None = None,
    min_area_m2: float = 0.0,
    simplify_m: float = 0.0,
    block_px: int = 2048,
    reporter: Reporter = SILENT,
    cluster: Cluster | None = None,
) -> PolygonResult:
    """Turn a class map into polygons with class, area, perimeter and mean confidence.

    Args:
        map_path: A one-band raster of class values; nodata is left out.
        output: ``.gpkg``, ``.parquet`` or ``.geojson`` (then in longitude and latitude). A GeoPackage holds
            its QGIS style itself; beside the others goes a ``.qml``, unless a raster of the same name has
            it. Replaced as a whole, or left as it is.
        classes: Names and colours; read from the map where None.
        confidence_path: A raster on the same grid; its band 1 is averaged over each polygon.
        min_area_m2: Smaller polygons are left out (square metres on the ground, in an equal-area CRS).
        simplify_m: Edges are simplified by about this many metres; shared edges stay shared.
        block_px: The side of the blocks in pixels; it changes memory and speed, not the result.
        reporter: Who listens.
        cluster: The Dask cluster that polygonises the blocks; None for this process. The file is the same.

    Returns:
        What was written; the areas add up to the classes' areas in the map.

    Raises:
        BadInput: When the format is unknown, an option is negative, or the two rasters' grids differ.
        CannotAlign: When the map has no CRS.
        CannotRead: When a raster cannot be read.
        CannotWrite: When the output cannot be written.
    """
    map_path, output = Path(map_path), Path(output)
    _check_options(output, min_area_m2=min_area_m2, simplify_m=simplify_m, block_px=block_px)
    check_writable(output)
    try:
        with open_raster(str(map_path)) as raster:
            _check_map(raster, map_path)
            table = classes if classes is not None else read_classes(raster)
            patches = _patches(raster, confidence_path, block_px, reporter, cluster)
            ground = _Ground.of(raster)
    except rasterio.errors.RasterioIOError as error:
        raise CannotRead(explain("the map cannot be read", where=map_path, got=error)) from error
    frame = _frame(patches, ground, simplify_m)
    if confidence_path is None:
        frame = frame.drop(columns="confidence")
    if table is None:
        table = name_values(frame["value"].tolist(), describe(str(map_path)))
    kept = frame[frame["area_m2"] >= min_area_m2].reset_index(drop=True)
    names = dict(zip(table.values, table.names, strict=True))
    kept.insert(1, "class", [_plain_text(names.get(v, f"class {v}")) for v in kept["value"]])
    style = polygon_style_xml(table)
    _write(kept, output, style)
    if output.suffix.lower() != ".gpkg" and not output.with_suffix(".tif").exists():
        write_text(output.with_suffix(".qml"), style)  # beside map.tif, map.qml is the raster's style
    reporter.emit(Artifact("polygons", str(output)))
    sums = kept.groupby("value")["area_m2"].sum()
    areas = {int(v): float(a) for v, a in sums.items()}
    return PolygonResult(output, len(kept), areas, len(frame) - len(kept))


def _check_options(output: Path, *, min_area_m2: float, simplify_m: float, block_px: int) -> None:
    if output.suffix.lower() not in _FORMATS:
        raise BadInput(
            explain("unknown vector format", where=output, got=output.suffix, expected=", ".join(_FORMATS))
        )
    for name, value, least in (
        ("min_area_m2", min_area_m2, 0),
        ("simplify_m", simplify_m, 0),
        ("block_px", block_px, 2),
    ):
        if not (np.isfinite(value) and value >= least):
            raise BadInput(explain(f"option {name}", got=value, expected=f"a number of at least {least}"))


def _check_map(raster: DatasetReader, where: Path) -> None:
    if raster.crs is None:
        raise CannotAlign(
            explain("the map has no CRS", where=where, fix="assign one, for example with gdal_edit.py -a_srs")
        )
    if not np.issubdtype(np.dtype(raster.dtypes[0]), np.integer) or raster.count != 1:
        raise BadInput(
            explain(
                "this is no class map",
                where=where,
                got=f"{raster.count} band(s) of {raster.dtypes[0]}",
                expected="one band of integers",
            )
        )


def _check_same_grid(raster: DatasetReader, other: DatasetReader, where: Path) -> None:
    same = raster.shape == other.shape and raster.crs == other.crs
    if not same or not raster.transform.almost_equals(other.transform, precision=1e-6):
        raise BadInput(
            explain(
                "the confidence raster is on another grid than the map",
                where=where,
                got=f"{other.width} × {other.height} px, {other.crs}",
                expected=f"{raster.width} × {raster.height} px, {raster.crs}",
                fix="use the confidence raster written with this map",
            )
        )


def _patches(
    raster: DatasetReader,
    confidence_path: Path | None,
    block_px: int,
    reporter: Reporter,
    cluster: Cluster | None,
) -> Patches:
    if confidence_path is None:
        return collect_patches(raster, None, block_px, reporter, cluster)
    with open_raster(str(confidence_path)) as confidence:
        _check_same_grid(raster, confidence, Path(confidence_path))
        return collect_patches(raster, confidence, block_px, reporter, cluster)


@dataclass(frozen=True, slots=True)
class _Ground:
    """From pixel coordinates to the map's CRS, and to true areas."""

    transform: Affine
    crs: str
    to_equal_area: pyproj.Transformer
    pixel_m: float

    @classmethod
    def of(cls, raster: DatasetReader) -> _Ground:
        """Take an equal-area projection about the middle of the raster."""
        crs, t = raster.crs.to_wkt(), raster.transform
        column, row = raster.width // 2, raster.height // 2
        middle = (t.a * column + t.b * row + t.c, t.d * column + t.e * row + t.f)
        lon, lat = pyproj.Transformer.from_crs(crs, 4326, always_xy=True).transform(*middle)
        to_equal_area = pyproj.Transformer.from_crs(crs, _EQUAL_AREA.format(lat=lat, lon=lon), always_xy=True)
        ground = cls(t, crs, to_equal_area, 1.0)
        pixel = shapely.box(column, row, column + 1, row + 1)
        area = float(shapely.area(ground.equal_area(np.array([pixel])))[0])
        return cls(t, crs, to_equal_area, float(np.sqrt(area)))

    def native(self, geometry: NDArray[np.object_]) -> NDArray[np.object_]:
        """Bring polygons from pixel coordinates to the map's CRS."""
        t = self.transform

        def place(x: NDArray[np.float64], y: NDArray[np.float64]) -> tuple[Any, Any]:
            return t.a * x + t.b * y + t.c, t.d * x + t.e * y + t.f

        return np.asarray(shapely.transform(geometry, place, interleaved=False), object)

    def equal_area(self, geometry: NDArray[np.object_]) -> NDArray[np.object_]:
        """Bring polygons from pixel coordinates to the equal-area CRS; long edges get points in between."""
        dense = shapely.segmentize(geometry, _MAX_SEGMENT_PX)
        place = self.to_equal_area.transform
        return np.asarray(shapely.transform(self.native(dense), place, interleaved=False), object)


def _frame(patches: Patches, ground: _Ground, simplify_m: float) -> gpd.GeoDataFrame:
    """Return the patches as a table with area and perimeter, in the map's CRS."""
    geometry = patches.geometry
    if simplify_m > 0 and len(geometry):
        # Neighbours must have the same points on a shared edge: one at every pixel corner.
        dense = shapely.segmentize(geometry, 1.0)
        geometry = shapely.coverage_simplify(dense, simplify_m / ground.pixel_m)
    true = ground.equal_area(geometry)
    columns = {
        "value": patches.value,
        "area_m2": shapely.area(true),
        "perimeter_m": shapely.length(true),
        "confidence": patches.confidence,
    }
    return gpd.GeoDataFrame(columns, geometry=shapely.normalize(ground.native(geometry)), crs=ground.crs)


def _plain_text(name: str) -> str:
    """Return a name that no spreadsheet takes for a formula."""
    return f"'{name}" if name[:1] in {"=", "+", "-", "@", "\t", "\r"} else name


def _write(frame: gpd.GeoDataFrame, output: Path, style: str) -> None:
    suffix = output.suffix.lower()
    with atomic_path(output) as part:
        if suffix.endswith("parquet"):
            frame.to_parquet(part, schema_version="1.1.0", write_covering_bbox=True)
        elif suffix == ".gpkg":
            frame.to_file(part, layer=output.stem, driver="GPKG", engine="pyogrio", geometry_type="Polygon")
            add_default_style(part, output.stem, style)
        else:
            frame.to_crs(4326).to_file(part, driver="GeoJSON", engine="pyogrio", RFC7946="YES")
