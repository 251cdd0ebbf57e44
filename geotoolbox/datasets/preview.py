"""Reading to look at: few bands, the coarsest overview that is sharp enough, and the pixel under a point.

Training and prediction never read this way: classes come from overviews here, whatever made them.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from affine import Affine
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox
from pyproj import Transformer
from shapely.geometry import Point

from geotoolbox.alignment import ReadPlan, Resampling, Source, execute, plan_read
from geotoolbox.alignment.source import overview_shape
from geotoolbox.core.classes import IGNORE_INDEX
from geotoolbox.core.query import ALWAYS, Query, Reading, Scene, TimeInterval
from geotoolbox.datasets.algebra import IntersectionDataset
from geotoolbox.datasets.base import GeoDataset
from geotoolbox.datasets.clipped import ClippedDataset
from geotoolbox.datasets.masks import region_mask
from geotoolbox.datasets.quicklook import QuickLooks
from geotoolbox.datasets.raster import RasterDataset
from geotoolbox.datasets.units import Unit
from geotoolbox.datasets.vector import VectorDataset
from geotoolbox.errors import BadInput, explain

__all__ = ["PointValue", "coarsest_px", "read_point", "read_preview", "slow_files"]

_POINT_DEG = 1e-7
_NEAR = 1.43  # just above what alignment calls coarser, so that no averaging is left to do
_SLOW_PX = 6000 * 6000


@dataclass(frozen=True, slots=True)
class PointValue:
    """What a dataset holds at one place.

    Attributes:
        scene: The scene's name.
        row: Row of the pixel in the scene's own grid; -1 for features, which have none.
        col: Its column.
        valid: Whether there is data.
        values: The value of each band, in order; empty for labels.
        class_index: The class, or None where there is none.
    """

    scene: str
    row: int
    col: int
    valid: bool
    values: tuple[float, ...] = ()
    class_index: int | None = None


def read_preview(
    dataset: GeoDataset,
    geobox: GeoBox,
    *,
    bands: Sequence[int] | None = None,
    time: TimeInterval = ALWAYS,
    looks: QuickLooks | None = None,
) -> Reading:
    """Read onto a grid, to look at.

    Args:
        dataset: Images or labels.
        geobox: The target grid, of any CRS and resolution.
        bands: Positions of the image bands wanted (from 0), in order; all when None.
        time: When. Of a time series the last date is taken.
        looks: Where small copies of files without overviews are kept; None makes none.

    Returns:
        ``image`` (B, H, W) float32 of the bands wanted, ``mask`` (H, W) class indices, or both; ``valid``
        (H, W) is where the wanted bands have data.

    Raises:
        BadInput: When a band is not there.
        CannotRead: When a file cannot be read.

    Example:
        >>> import tempfile, rasterio
        >>> path = tempfile.mkdtemp() + "/a.tif"
        >>> with rasterio.open(path, "w", driver="GTiff", width=2, height=1, count=2, dtype="uint8",
        ...                    crs="EPSG:32612", transform=Affine(30, 0, 3e5, 0, -30, 4e6)) as out:
        ...     out.write(np.array([[[1, 2]], [[3, 4]]], "uint8"))
        >>> layer = RasterDataset(path)
        >>> read_preview(layer, layer.scenes()[0].geobox, bands=[1]).image.tolist()
        [[[3.0, 4.0]]]
    """
    count = len(dataset.bands)
    if bands is not None and not all(0 <= b < count for b in bands):
        raise BadInput(explain("no such band", got=f"positions {list(bands)}", expected=f"0 to {count - 1}"))
    query = Query(geobox, time)
    if isinstance(dataset, RasterDataset) and not dataset.time_series:
        if dataset.kind == "labels":
            return _labels(dataset, query, looks)
        return _image(dataset, query, range(count) if bands is None else bands, looks)
    if isinstance(dataset, ClippedDataset):
        inside = region_mask(dataset.region, geobox)
        found = read_preview(dataset.dataset, geobox, bands=bands, time=time, looks=looks)
        mask = None if found.mask is None else np.where(inside, found.mask, np.int64(IGNORE_INDEX))
        return replace(found, mask=mask, valid=found.valid & inside)
    if isinstance(dataset, IntersectionDataset):
        return _joined(dataset, Query(geobox, time), bands, looks)
    return _chosen(_one_date(dataset.read(query)), bands)


def coarsest_px(dataset: GeoDataset) -> tuple[Scene, int]:
    """Return the largest scene and the pixels of its longest side."""
    scenes = dataset.scenes()
    if not scenes:
        raise BadInput(explain("the dataset has no scene", fix="check its files"))
    scene = max(scenes, key=lambda s: int(s.geobox.shape[0]) * int(s.geobox.shape[1]))
    return scene, max(int(n) for n in scene.geobox.shape)


def slow_files(dataset: GeoDataset) -> tuple[str, ...]:
    """Return large files without overviews, which are slow to look at as a whole."""
    if isinstance(dataset, IntersectionDataset):
        return (*slow_files(dataset.first), *slow_files(dataset.second))
    if isinstance(dataset, ClippedDataset):
        return slow_files(dataset.dataset)
    if not isinstance(dataset, RasterDataset):
        return ()
    headers = [r.header for r in dataset.index]
    return tuple(h.path for h in headers if not h.overviews and h.width * h.height > _SLOW_PX)


def read_point(dataset: GeoDataset, lon: float, lat: float, time: TimeInterval = ALWAYS) -> PointValue | None:
    """Read the native pixel under a point: its exact values, not resampled.

    Args:
        dataset: Images, labels or both.
        lon: Longitude in degrees.
        lat: Latitude in degrees.
        time: When.

    Returns:
        The first scene's pixel with data there, else one without, else None where no scene reaches.
    """
    if isinstance(dataset, VectorDataset):
        grid = GeoBox((1, 1), Affine(_POINT_DEG, 0, lon, 0, -_POINT_DEG, lat), "EPSG:4326")
        return _point(dataset.read(Query(grid, time)), dataset.scenes()[0].name, -1, -1)
    found: PointValue | None = None
    places: dict[str, tuple[float, float]] = {}
    for scene in dataset.scenes():
        crs = str(scene.geobox.crs)
        if crs not in places:
            places[crs] = Transformer.from_crs("EPSG:4326", crs, always_xy=True).transform(lon, lat)
        pixel = _pixel(scene, *places[crs])
        if pixel is None or not scene.time.overlaps(time):
            continue
        grid = GeoBox((1, 1), scene.geobox.affine * Affine.translation(pixel[1], pixel[0]), scene.geobox.crs)
        value = _point(_one_date(dataset.read(Query(grid, scene.time))), scene.name, *pixel)
        if value.valid or value.class_index is not None:
            return value
        found = found or value
    return found


def _pixel(scene: Scene, x: float, y: float) -> tuple[int, int] | None:
    if not (math.isfinite(x) and math.isfinite(y)):
        return None
    col, row = ~scene.geobox.affine * (x, y)
    height, width = scene.geobox.shape
    inside = 0 <= col < width and 0 <= row < height and not Point(x, y).is_empty
    return (math.floor(row), math.floor(col)) if inside else None


def _point(reading: Reading, scene: str, row: int, col: int) -> PointValue:
    values = () if reading.image is None else tuple(float(v) for v in reading.image[:, 0, 0])
    index = None if reading.mask is None else int(reading.mask[0, 0])
    index = None if index is None or index < 0 else index
    return PointValue(scene, row, col, bool(reading.valid[0, 0]), values, index)


def _one_date(reading: Reading) -> Reading:
    """Take the last date of a time series."""
    if reading.image is None or reading.image.ndim == 3:
        return reading
    if not len(reading.image):
        shape = reading.image.shape[1:]
        return replace(reading, image=np.zeros(shape, np.float32), valid=np.zeros(shape[1:], bool), dates=())
    return replace(reading, image=reading.image[-1], valid=reading.valid[-1], dates=reading.dates[-1:])


def _chosen(reading: Reading, bands: Sequence[int] | None) -> Reading:
    if bands is None or reading.image is None:
        return reading
    return replace(reading, image=reading.image[list(bands)])


def _joined(
    dataset: IntersectionDataset, query: Query, bands: Sequence[int] | None, looks: QuickLooks | None
) -> Reading:
    """Read the operands that have what is wanted, each from its own overviews."""
    first, second, geobox = dataset.first, dataset.second, query.geobox

    def read(part: GeoDataset, own: Sequence[int] | None) -> Reading:
        time = ALWAYS if dataset.spatial_only and part is second else query.time
        return read_preview(part, geobox, bands=own, time=time, looks=looks)

    labels = next((d for d in (first, second) if d.classes is not None), None)
    mask = None if labels is None else read(labels, [] if labels.bands else None).mask
    count = len(first.bands)
    wanted = list(range(len(dataset.bands))) if bands is None else list(bands)
    if not wanted:
        valid = np.ones(tuple(geobox.shape), bool) if mask is None else mask != IGNORE_INDEX
        return Reading(geobox, None, mask, valid)
    planes: dict[int, NDArray[np.float32]] = {}
    valid = np.ones(tuple(geobox.shape), dtype=bool)
    for part, places in (
        (first, [b for b in wanted if b < count]),
        (second, [b for b in wanted if b >= count]),
    ):
        if places:
            own = [b if part is first else b - count for b in places]
            found = read(part, own)
            assert found.image is not None
            planes |= dict(zip(places, found.image, strict=True))
            valid &= found.valid
    return Reading(geobox, np.stack([planes[b] for b in wanted]), mask, valid)


def _image(dataset: RasterDataset, query: Query, bands: Sequence[int], looks: QuickLooks | None) -> Reading:
    shape = tuple(query.geobox.shape)
    image = np.zeros((len(bands), *shape), dtype=np.float32)
    valid = np.zeros(shape, dtype=bool)
    for unit in dataset.units_for(query):
        values, here = _unit_image(dataset, unit, query.geobox, bands, looks)
        new = here & ~valid
        np.copyto(image, values, where=new)
        valid |= here
        if valid.all():
            break
    return Reading(query.geobox, image, None, valid)


def _unit_image(
    dataset: RasterDataset, unit: Unit, geobox: GeoBox, bands: Sequence[int], looks: QuickLooks | None
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    image = np.zeros((len(bands), *geobox.shape), dtype=np.float32)
    valid = np.ones(tuple(geobox.shape), dtype=bool)
    start = 0
    for source, _ in unit.sources:
        end = start + len(source.bands)
        own = [(place, b - start) for place, b in enumerate(bands) if start <= b < end]
        start = end
        if own:
            part = _some_bands(source, [b for _, b in own])
            values, here = execute(_quick_plan(part, geobox, dataset.resampling, looks))
            if dataset.scaled:
                scale, offset = (np.array(v, np.float64)[:, None, None] for v in (part.scale, part.offset))
                values = (values * scale + offset).astype(np.float32)
            image[[place for place, _ in own]] = values
            valid &= here.all(axis=0)
    return image, valid


def _some_bands(source: Source, positions: Sequence[int]) -> Source:
    def pick(items: tuple[float, ...]) -> tuple[float, ...]:
        return tuple(items[i] for i in positions) if items else ()

    return replace(
        source,
        bands=tuple(source.bands[i] for i in positions),
        nodata=tuple(source.nodata[i] for i in positions),
        scale=pick(source.scale),
        offset=pick(source.offset),
    )


def _labels(dataset: RasterDataset, query: Query, looks: QuickLooks | None) -> Reading:
    classes = dataset.classes
    assert classes is not None
    mask = np.full(tuple(query.geobox.shape), IGNORE_INDEX, dtype=np.int64)
    for unit in dataset.units_for(query):
        plan = _quick_plan(unit.sources[0][0], query.geobox, "nearest", looks)
        values, valid = execute(plan, keep_dtype=True)
        index = classes.to_index(np.where(valid[0], values[0], 0))
        np.copyto(mask, index, where=valid[0] & (mask == IGNORE_INDEX))
        if (mask != IGNORE_INDEX).all():
            break
    return Reading(query.geobox, None, mask, mask != IGNORE_INDEX)


def _quick_plan(source: Source, geobox: GeoBox, resampling: Resampling, looks: QuickLooks | None) -> ReadPlan:
    """Plan to read from the overview, or the small copy, that comes nearest to the target's pixel size.

    It is so near that nothing need be averaged, which is what makes tiles quick.
    """
    plan = plan_read(source, geobox, resampling)
    reach = min(plan.scale_xy) * _NEAR
    fitting = [i for i, factor in enumerate(source.overviews) if factor <= reach]
    if plan.kind == "empty":
        return plan
    if not fitting:
        if looks is None or source.overviews or not 1 < looks.factor(source) <= reach:
            return plan
        return _quick_plan(looks.of(source), geobox, resampling, None)
    height, width = source.geobox.shape
    shape = overview_shape(source, fitting[-1])
    affine = source.geobox.affine * Affine.scale(width / shape[1], height / shape[0])
    small = replace(source, geobox=GeoBox(shape, affine, source.geobox.crs), overviews=())
    return replace(plan_read(small, geobox, resampling), overview=fitting[-1])
