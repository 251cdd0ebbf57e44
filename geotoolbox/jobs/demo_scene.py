"""The demo scene: files like those a person would have, of land that is made up.

Two satellite images in neighbouring UTM zones, label polygons in longitude and latitude, a label raster in an
equal-area CRS with larger cells, and the areas to train and to test in. See docs/demo-scene.md.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import pyproj
import shapely
from affine import Affine
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox
from rasterio.features import shapes
from scipy import ndimage
from shapely.geometry import Polygon, shape

from geotoolbox.core.classes import ClassTable
from geotoolbox.core.events import SILENT, Reporter, Stage
from geotoolbox.core.files import atomic_path, check_writable
from geotoolbox.errors import BadInput, explain
from geotoolbox.jobs.demo_land import BAND_NAMES, CROPLAND, GRASSLAND, Land, make_land
from geotoolbox.prediction.outputs import Block, write_class_raster, write_raster_atomic
from geotoolbox.prediction.sidecars import add_default_style, polygon_style_xml

__all__ = ["DEMO_CLASSES", "DemoScene", "make_demo_scene"]

DEMO_CLASSES = ClassTable.from_names(
    {1: "water", 2: "forest", 3: "grassland", 4: "cropland", 5: "settlement"},
    {1: (30, 96, 180), 2: (16, 80, 42), 3: (118, 172, 64), 4: (247, 222, 140), 5: (180, 46, 98)},
)

LON, LAT = 12.0, 48.0  # on the border of UTM zones 32 and 33
LAND_CRS = f"+proj=tmerc +lat_0={LAT} +lon_0={LON} +k=1 +x_0=0 +y_0=0 +ellps=WGS84 +units=m +type=crs"
PIXEL_M, LABEL_M, CELL_M = 10.0, 25.0, 6.25
_SHARED_PX, _GAP_M, _MIN_PX, _MAX_PX = 24, 150.0, 64, 6000
_NOISE_DN = 22.0


@dataclass(frozen=True, slots=True)
class DemoScene:
    """The files of a demo scene.

    Attributes:
        folder: Where they are.
        images: Two GeoTIFFs (blue, green, red, near infrared; uint16, 0 = nodata; 10 m), the western one in
            EPSG:32632, the eastern one in EPSG:32633; they share a strip along 12° E.
        label_polygons: GeoPackage in EPSG:4326, column ``class`` (text), one feature for each field or patch.
        label_raster: GeoTIFF of class values with palette and names, EPSG:3035, 25 m, 255 = no label.
        train_area: GeoJSON polygon, the west.
        test_area: GeoJSON polygon, the east, at least 300 m away from the first.
        classes: Values, names and colours of the labels.
        seed: What all of it was made from.
    """

    folder: Path
    images: tuple[Path, Path]
    label_polygons: Path
    label_raster: Path
    train_area: Path
    test_area: Path
    classes: ClassTable
    seed: int

    @property
    def paths(self) -> tuple[Path, ...]:
        """All files."""
        return (*self.images, self.label_polygons, self.label_raster, self.train_area, self.test_area)


def make_demo_scene(
    folder: Path, seed: int = 7, size_px: int = 1200, *, reporter: Reporter = SILENT
) -> DemoScene:
    """Make the demo scene in ``folder``; files of that name there are replaced.

    Args:
        folder: Where to write; made where it is missing.
        seed: The same seed gives the same pixels.
        size_px: The scene's width and height in image pixels of 10 m (64 … 6000).
        reporter: Who listens to the progress.

    Returns:
        The paths of what was made.

    Raises:
        BadInput: When ``size_px`` is outside its limits.
        CannotWrite: When the folder cannot be written to.

    Example:
        >>> import tempfile
        >>> scene = make_demo_scene(Path(tempfile.mkdtemp()), size_px=64)
        >>> [path.name for path in scene.images]
        ['image_utm32.tif', 'image_utm33.tif']
    """
    if not _MIN_PX <= size_px <= _MAX_PX:
        raise BadInput(
            explain("size of the demo scene", got=size_px, expected=f"{_MIN_PX} … {_MAX_PX} pixels")
        )
    folder = Path(folder)
    names = (
        "image_utm32.tif", "image_utm33.tif", "labels.gpkg", "landcover.tif", "train_area.geojson",
        "test_area.geojson",
    )  # fmt: skip
    west, east, polygons, raster, train, test = (folder / name for name in names)
    check_writable(west)
    stage = Stage(reporter, "make demo scene", total=10)
    half_m = size_px * PIXEL_M / 2
    land = make_land(half_m * 1.08 + 100, CELL_M, seed)
    stage.advance(5, "land")
    for number, (path, epsg, side) in enumerate(((west, 32632, -1), (east, 32633, 1))):
        _write_image(
            path, land, _image_grid(size_px, epsg, side), np.random.default_rng([seed, 100 + number])
        )
        stage.advance(1, path.name)
    _write_label_raster(raster, land, half_m)
    stage.advance(1, raster.name)
    _write_label_polygons(polygons, land, half_m)
    stage.advance(1, polygons.name)
    _write_area(train, (-half_m, -half_m, -_GAP_M, half_m), "train")
    _write_area(test, (_GAP_M, -half_m, half_m, half_m), "test")
    stage.advance(1, "areas")
    return DemoScene(folder, (west, east), polygons, raster, train, test, DEMO_CLASSES, seed)


def _image_grid(size_px: int, epsg: int, side: int) -> GeoBox:
    """Return the grid of the western (-1) or eastern (1) image, on whole tens of metres of its zone."""
    to_utm = pyproj.Transformer.from_crs(LAND_CRS, epsg, always_xy=True)
    width = size_px // 2 + _SHARED_PX
    x, y = to_utm.transform(0.0, 0.0)
    left = x - (width - _SHARED_PX if side < 0 else _SHARED_PX) * PIXEL_M
    origin = [round(v / PIXEL_M) * PIXEL_M for v in (left, y + size_px / 2 * PIXEL_M)]
    return GeoBox((size_px, width), Affine(PIXEL_M, 0, origin[0], 0, -PIXEL_M, origin[1]), f"EPSG:{epsg}")


def _cells(land: Land, grid: GeoBox, rows: slice, parts: int = 1) -> tuple[NDArray[Any], NDArray[Any]]:
    """Return where the grid's pixels (or ``parts`` × ``parts`` points in each) lie: land rows and columns."""
    j = (np.arange(rows.start * parts, rows.stop * parts) + 0.5) / parts
    i = (np.arange(grid.width * parts) + 0.5) / parts
    columns, lines = np.meshgrid(i, j)
    t = grid.transform
    x, y = t.a * columns + t.c, t.e * lines + t.f
    to_land = pyproj.Transformer.from_crs(str(grid.crs), LAND_CRS, always_xy=True)
    east, north = to_land.transform(x, y)
    to_cell = ~land.transform
    return to_cell.e * north + to_cell.f, to_cell.a * east + to_cell.c


def _write_image(path: Path, land: Land, grid: GeoBox, rng: np.random.Generator) -> None:
    row, column = _cells(land, grid, slice(0, grid.height))
    where = np.stack([row - 0.5, column - 0.5])
    bands = np.stack([ndimage.map_coordinates(b, where, order=1, mode="nearest") for b in land.bands])
    hidden = ndimage.map_coordinates(land.clouds.astype(np.uint8), where, order=0, mode="nearest") > 0
    bands += _NOISE_DN * rng.standard_normal(bands.shape, dtype=np.float32)
    image = np.clip(np.rint(bands), 1, 10_000).astype(np.uint16)
    image[:, hidden] = 0
    tags = {"TIFFTAG_DATETIME": "2024:06:02 10:20:00", "MADE_BY": "GeoToolbox demo scene, not a real image"}
    whole: Block = ((slice(0, grid.height), slice(0, grid.width)), image)
    write_raster_atomic(path, [whole], grid, dtype="uint16", bands=BAND_NAMES, nodata=0, tags=tags)


def _write_label_raster(path: Path, land: Land, half_m: float) -> None:
    """Write the most frequent class of each 25 m cell, from 4 × 4 points in it."""
    to_laea = pyproj.Transformer.from_crs(LAND_CRS, 3035, always_xy=True)
    left, bottom, right, top = to_laea.transform_bounds(-half_m, -half_m, half_m, half_m)
    left, top = np.floor(left / LABEL_M) * LABEL_M, np.ceil(top / LABEL_M) * LABEL_M
    height, width = int(np.ceil((top - bottom) / LABEL_M)), int(np.ceil((right - left) / LABEL_M))
    grid = GeoBox((height, width), Affine(LABEL_M, 0, left, 0, -LABEL_M, top), "EPSG:3035")
    row, column = (np.floor(v).astype(np.intp) for v in _cells(land, grid, slice(0, height), parts=4))
    limit = land.classes.shape[0] - 1
    values = land.classes[np.clip(row, 0, limit), np.clip(column, 0, limit)]
    votes = values.reshape(height, 4, width, 4).transpose(0, 2, 1, 3).reshape(height, width, 16)
    counts = np.stack([(votes == value).sum(axis=-1) for value in DEMO_CLASSES.values])
    most = np.array(DEMO_CLASSES.values, np.uint8)[counts.argmax(axis=0)]
    middle = (row[2::4, 2::4], column[2::4, 2::4])
    edge = half_m / CELL_M
    most[np.maximum(*(np.abs(v - land.classes.shape[0] / 2) for v in middle)) > edge] = 255
    whole: Block = ((slice(0, height), slice(0, width)), most)
    write_class_raster(path, [whole], grid, DEMO_CLASSES, nodata=255)


def _write_label_polygons(path: Path, land: Land, half_m: float) -> None:
    """Write one polygon for each field and patch: fields by parcel, the other classes as they hang together."""
    inside = int(np.floor((half_m - land.transform.f) / -land.transform.a + 1e-9))
    window = slice(inside, land.classes.shape[0] - inside)
    transform = land.transform * Affine.translation(inside, inside)
    classes = land.classes[window, window]
    fields = np.isin(classes, (GRASSLAND, CROPLAND))
    _, number = np.unique(land.parcels[window, window], return_inverse=True)
    patches = np.where(fields, number.reshape(classes.shape) * 8, 0) + classes
    found = list(shapes(patches.astype(np.int32), transform=transform))
    geometry = np.array([shape(g) for g, _ in found])
    names = [DEMO_CLASSES.names[DEMO_CLASSES.values.index(int(v) % 8)] for _, v in found]
    geometry = shapely.coverage_simplify(geometry, CELL_M, simplify_boundary=False)
    frame = gpd.GeoDataFrame({"class": names}, geometry=geometry, crs=LAND_CRS)
    frame = frame[~frame.geometry.is_empty].to_crs(4326)
    with atomic_path(path) as part:
        frame.to_file(part, layer="labels", driver="GPKG", engine="pyogrio")
        add_default_style(part, "labels", polygon_style_xml(DEMO_CLASSES, "class", by_name=True))


def _write_area(path: Path, box: tuple[float, float, float, float], name: str) -> None:
    """Write a rectangle of the land as a GeoJSON polygon, its sides with enough points to stay straight."""
    ring = shapely.segmentize(shapely.box(*box), max_segment_length=1000.0).exterior.coords
    to_lonlat = pyproj.Transformer.from_crs(LAND_CRS, 4326, always_xy=True)
    x, y = to_lonlat.transform([p[0] for p in ring], [p[1] for p in ring])
    corners = [[round(a, 7), round(b, 7)] for a, b in zip(x, y, strict=True)]
    polygon = shapely.geometry.mapping(Polygon(corners).normalize().reverse())
    feature = {"type": "Feature", "properties": {"name": name}, "geometry": polygon}
    with atomic_path(path) as part:
        part.write_text(json.dumps({"type": "FeatureCollection", "features": [feature]}) + "\n")
