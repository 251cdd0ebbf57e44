"""RasterDataset: files on the disk as one layer of images or labels."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import shapely
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox
from shapely.geometry.base import BaseGeometry

from geotoolbox.alignment import ReadPlan, Resampling, execute_into, plan_read
from geotoolbox.alignment import explain as explain_plan
from geotoolbox.core.classes import IGNORE_INDEX, ClassTable
from geotoolbox.core.events import SILENT, Reporter
from geotoolbox.core.opening import check_read_size
from geotoolbox.core.query import Band, Query, Reading, Scene, TimeInterval
from geotoolbox.core.scratch import SCRATCH
from geotoolbox.datasets.arranging import arrange
from geotoolbox.datasets.base import GeoDataset, Kind, Transform
from geotoolbox.datasets.batches import Slot
from geotoolbox.datasets.dates import Dates, times_of
from geotoolbox.datasets.groups import FileGroup, match_names
from geotoolbox.datasets.labels import ClassesLike, check_whole, find_classes
from geotoolbox.datasets.paths import Paths, find_files
from geotoolbox.datasets.policy import Mixed
from geotoolbox.datasets.unit_table import UnitTable
from geotoolbox.datasets.units import Unit, distance, holds
from geotoolbox.errors import BadInput, explain
from geotoolbox.indexing import FileIndex, build_index

__all__ = ["RasterDataset"]

_logger = logging.getLogger(__name__)
_SMALL = frozenset(("uint8", "int8", "uint16", "int16"))  # types whose values become classes by a table
_FEW_UNITS = 32  # so many are looked at one by one before the index is asked


class RasterDataset(GeoDataset):
    """Raster files seen as one layer.

    Files with all bands at different places are tiles. Single-band images on one grid are the bands of one
    image (one file a band), in the order of the list. Files in different CRSs keep their own grids: nothing
    is warped to a common one. Any other difference is refused (see ``mixed``).

    Band names are those in the files, else what differs in the file names (``scene_b2.tif``, ``scene_b3.tif``:
    ``b2``, ``b3``), else ``band_1``, ``band_2``, ….

    Args:
        paths: A file, a folder (with its sub-folders), a glob, a GDAL path, or a list of these.
        bands: Names to select and order; or as many new names as there are bands.
        kind: ``image``, ``labels``, or ``auto``: one band of whole numbers with a palette or class names is
            a label layer.
        classes: The classes of a label layer: ``{value: name}``, a list of names of the values 0, 1, 2, …, or
            a table. By default from the files: attribute table, category names, palette, else their values.
        nodata: A fill value that holds instead of the declared one, in all files.
        filename_glob: Which names in a folder count.
        filename_regex: A pattern for names (``re.VERBOSE``) with the named groups ``band``, ``date`` or ``start``
            and ``stop``.
        date_format: Of the dates in the names, as for ``datetime.strptime``.
        dates: A table of dates by path, file name or stem, instead of dates in names.
        resampling: ``auto`` is bilinear for images and nearest for labels; both average when much coarser
            only as far as :mod:`geotoolbox.alignment` says.
        transforms: Applied to each sample at the end.
        cache: A GeoParquet file to keep the index in; nothing is written without it.
        time_series: Whether an image is (T,C,H,W), one for each date, rather than a mosaic.
        scaled: Whether each file's scale and offset are applied.
        mixed: What to do with files that differ: see :data:`geotoolbox.datasets.policy.Mixed`.
        footprints: Whether to find the polygon of valid data of each file (else its outline).
        allow_vrt: Whether VRT files may be read.
        allow_remote: Whether URLs and /vsi paths may be read.
        reporter: Hears of the progress of indexing.

    Raises:
        CannotRead: When a file cannot be read.
        CannotAlign: When a file has no place on the ground.
        MixedSources: When files differ.
        BandMismatch: When a band asked for is not there.
        BadLabels: When labels cannot be turned into classes.
    """

    def __init__(
        self,
        paths: Paths,
        *,
        bands: Sequence[str] | None = None,
        kind: Literal["auto", "image", "labels"] = "auto",
        classes: ClassesLike | None = None,
        nodata: float | None = None,
        filename_glob: str = "*",
        filename_regex: str | None = None,
        date_format: str = "%Y%m%d",
        dates: Dates | None = None,
        resampling: Resampling = "auto",
        transforms: Transform | None = None,
        cache: str | Path | None = None,
        time_series: bool = False,
        scaled: bool = False,
        mixed: Mixed = "error",
        footprints: bool = True,
        allow_vrt: bool = False,
        allow_remote: bool = False,
        reporter: Reporter = SILENT,
    ) -> None:
        files = find_files(paths, filename_glob=filename_glob, allow_vrt=allow_vrt)
        matches = match_names(files, filename_regex)
        files = tuple(matches) if matches is not None else files
        index = build_index(
            files,
            cache=Path(cache) if cache is not None else None,
            footprints=footprints and nodata is None,
            times=times_of(files, matches, date_format, dates),
            reporter=reporter,
            allow_vrt=allow_vrt,
            allow_remote=allow_remote,
        )
        self.transforms = transforms
        self.time_series = time_series
        self._scaled = scaled
        found = arrange(index, matches, kind=kind, classes=classes, bands=bands, mixed=mixed, scaled=scaled)
        self._kind: Literal["image", "labels"] = found.kind
        self._check_labels(found.groups)
        images = self._kind == "image"
        self._bands = tuple(Band(n) for n in found.groups[0].names) if images else ()
        self._classes = None if images else find_classes(index.records, classes, nodata, found.judged)
        self._resampling: Resampling = resampling if resampling != "auto" else self._default_resampling()
        self._units = found.units(nodata, allow_vrt=allow_vrt, allow_remote=allow_remote)
        many = isinstance(self._units, UnitTable)
        self._index = index if many else FileIndex([u.record for u in self._units])
        self._strangers: set[int] = set()

    def _check_labels(self, groups: Sequence[FileGroup]) -> None:
        wide = [g for g in groups if len(g.channels) > 1]
        if self._kind == "labels" and (wide or self.time_series or self._scaled):
            where = wide[0].paths[0] if wide else groups[0].paths[0]
            got = f"{len(wide[0].channels)} bands" if wide else "time_series or scaled"
            raise BadInput(
                explain("a label layer has one band of class values", where=where, got=got, fix="bands=[…]")
            )

    def _default_resampling(self) -> Resampling:
        return "nearest" if self._kind == "labels" else "bilinear"

    @property
    def kind(self) -> Kind:
        """``image`` or ``labels``."""
        return self._kind

    @property
    def bands(self) -> tuple[Band, ...]:
        """The bands, in channel order; empty for labels."""
        return self._bands

    @property
    def classes(self) -> ClassTable | None:
        """The classes; None for images."""
        return self._classes

    @property
    def index(self) -> FileIndex:
        """The index of the images or tiles (one record for each group of files)."""
        return self._index

    @property
    def resampling(self) -> Resampling:
        """How values between source pixels are found."""
        return self._resampling

    @property
    def scaled(self) -> bool:
        """Whether each file's scale and offset are applied."""
        return self._scaled

    def units_for(self, query: Query) -> tuple[Unit, ...]:
        """Return the images or tiles that a query reads from, the first to be preferred."""
        return tuple(self._units_for(query))

    def source_files(self) -> tuple[str, ...]:
        """Return the paths of all files."""
        if isinstance(self._units, UnitTable):
            return self._units.paths()
        return tuple(dict.fromkeys(p for u in self._units for p in u.paths))

    def scenes(self) -> tuple[Scene, ...]:
        """Return one scene for each image or tile; for a time series, one for each place."""
        if isinstance(self._units, UnitTable):
            scenes = self._units.scenes()
        else:
            scenes = tuple(Scene(u.name, u.geobox, u.record.native_footprint, u.time) for u in self._units)
        return _by_place(scenes) if self.time_series else scenes

    def coverage(self) -> tuple[tuple[BaseGeometry, TimeInterval], ...]:
        """Return where and when there is data, as polygons in longitude and latitude."""
        if isinstance(self._units, UnitTable):
            return tuple(self._units.coverage())
        return tuple((u.record.footprint, u.time) for u in self._units if not u.record.footprint.is_empty)

    def explain(self, query: Query) -> str:
        """Say for each source how it would be read: window, overview, kernel, error."""
        lines = [
            explain_plan(plan_read(source, query.geobox, self._resampling))
            for unit in self._units_for(query)
            for source, _ in unit.sources
        ]
        return "\n".join(lines) or "no file has data there and then"

    def read(self, query: Query) -> Reading:
        """Read onto the query's grid.

        Of several files at a place, those on the query's own grid come first, then those in its CRS, then
        the order of the files; the first that has all bands at a pixel wins.
        """
        return self.read_into(query, Slot())

    def read_into(self, query: Query, slot: Slot) -> Reading:
        """As :meth:`read`; image (of one date) and mask are written into the slot where it has room."""
        wanted = (max(len(self._bands), 1), *query.geobox.shape)
        check_read_size(wanted, "float32", where=self._units[0].paths[0])
        if self._kind == "labels":
            return self._read_labels(self._in_turn(query), query, slot.mask)
        if not self.time_series:
            image, valid = self._mosaic(self._in_turn(query), query.geobox, slot.image)
            return Reading(query.geobox, image, None, valid)
        units = self._units_for(query)
        frames: dict[TimeInterval, list[Unit]] = {}
        for unit in units:
            frames.setdefault(unit.time, []).append(unit)
        dates = sorted(frames, key=lambda t: (t.start is None, t.start, t.end is None, t.end))
        pairs = [self._mosaic(frames[d], query.geobox) for d in dates]
        shape = tuple(query.geobox.shape)
        image = (
            np.stack([p[0] for p in pairs]) if pairs else np.zeros((0, len(self._bands), *shape), np.float32)
        )
        valid = np.stack([p[1] for p in pairs]) if pairs else np.zeros((0, *shape), dtype=bool)
        return Reading(query.geobox, image, None, valid, tuple(dates))

    def _units_for(self, query: Query) -> list[Unit]:
        if len(self._units) == 1:
            only = self._units[0]
            return [only] if only.time.overlaps(query.time) else []
        found = [self._units[i] for i in self._index.find(query.geobox, query.time)]
        return found if len(found) < 2 else sorted(found, key=lambda u: distance(u.geobox, query.geobox))

    def _in_turn(self, query: Query) -> Iterator[Unit]:
        """Yield the units to read, in order of preference; the index is asked only when the first is not enough."""
        first = None
        if 1 < len(self._units) <= _FEW_UNITS:
            first = next((u for u in self._units if holds(u, query)), None)
        if first is not None:
            yield first
        yield from (u for u in self._units_for(query) if u is not first)

    def _mosaic(
        self, units: Iterable[Unit], geobox: GeoBox, out: NDArray[np.float32] | None = None
    ) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
        shape = (int(geobox.shape[0]), int(geobox.shape[1]))
        image = np.empty((len(self._bands), *shape), dtype=np.float32) if out is None else out
        valid: NDArray[np.bool_] | None = None
        for unit in units:
            plans = [plan_read(source, geobox, self._resampling) for source, _ in unit.sources]
            if any(p.kind == "empty" for p in plans):
                continue  # a pixel counts only where all bands have data
            if valid is None:
                here = self._read_unit(unit, plans, image)
                if here is None:
                    return image, np.ones(shape, dtype=bool)
                np.copyto(image, np.float32(0), where=~here)
                valid = here
            else:
                values = np.empty_like(image)
                here = self._read_unit(unit, plans, values)
                new = ~valid if here is None else here & ~valid
                np.copyto(image, values, where=new)
                valid = valid | new
            if valid.all():
                break
        if valid is None:
            image[...] = 0
            valid = np.zeros(shape, dtype=bool)
        return image, valid

    def _read_unit(
        self, unit: Unit, plans: Sequence[ReadPlan], out: NDArray[np.float32]
    ) -> NDArray[np.bool_] | None:
        """Read all bands of a unit into ``out``; return (H, W) where all have data, None where that is everywhere."""
        everywhere: NDArray[np.bool_] | None = None
        first = 0
        for (source, record), plan in zip(unit.sources, plans, strict=True):
            record.check_unchanged()
            part = out[first : first + len(source.bands)]
            first += len(source.bands)
            _, valid = execute_into(plan, part)
            if self._scaled:
                scale, offset = (np.array(v)[:, None, None] for v in (source.scale, source.offset))
                part[...] = (part.astype(np.float64) * scale + offset).astype(np.float32)
            if valid is not None:
                here: NDArray[np.bool_] = valid[0] if len(valid) == 1 else np.asarray(valid.all(axis=0))
                everywhere = here if everywhere is None else everywhere & here
        return everywhere

    def _read_labels(self, units: Iterable[Unit], query: Query, out: NDArray[np.int64] | None) -> Reading:
        assert self._classes is not None
        shape = (int(query.geobox.shape[0]), int(query.geobox.shape[1]))
        mask: NDArray[np.int64] | None = None
        for unit in units:
            found = self._read_classes(unit, query.geobox, out if mask is None else None)
            if found is None:
                continue
            index, whole = found
            if mask is None:
                mask = index
            else:
                np.copyto(mask, index, where=mask == IGNORE_INDEX)
                whole = bool(mask.min() >= 0)
            if whole:
                return Reading(query.geobox, None, _placed(mask, out), np.ones(shape, dtype=bool))
        if mask is None:
            mask = np.full(shape, IGNORE_INDEX, dtype=np.int64)
        return Reading(query.geobox, None, _placed(mask, out), mask != IGNORE_INDEX)

    def _read_classes(
        self, unit: Unit, geobox: GeoBox, out: NDArray[np.int64] | None
    ) -> tuple[NDArray[np.int64], bool] | None:
        """Return the class indices of one file, in ``out`` where that is possible, and whether every pixel has one.

        None where the file has nothing.
        """
        assert self._classes is not None
        source, record = unit.sources[0]
        plan = plan_read(source, geobox, self._resampling)
        if plan.kind == "empty":
            return None
        record.check_unchanged()
        room = None
        if source.dtype in _SMALL and plan.kernel in ("nearest", "mode"):
            room = SCRATCH.array("class values", (1, *geobox.shape), source.dtype)
        found, everywhere = execute_into(plan, room, keep_dtype=True)
        values = found[0]
        if values.dtype.kind == "f":
            check_whole(values if everywhere is None else values[everywhere[0]], source.path)
        index = self._classes.to_index(values, out)
        if everywhere is not None:
            index[~everywhere[0]] = IGNORE_INDEX
        whole = bool(index.min() >= 0)
        if not whole:
            strange = index == IGNORE_INDEX
            self._tell_strangers(
                values[strange if everywhere is None else strange & everywhere[0]], source.path
            )
        return index, whole

    def _tell_strangers(self, values: NDArray[Any], path: str) -> None:
        if not values.size:
            return
        found, counts = np.unique(values, return_counts=True)
        for value, count in zip(found.tolist(), counts.tolist(), strict=True):
            if int(value) not in self._strangers:
                self._strangers.add(int(value))
                _logger.warning("%s: value %d is no class (%d pixels here); ignored", path, value, count)


def _placed(mask: NDArray[np.int64], out: NDArray[np.int64] | None) -> NDArray[np.int64]:
    """Return a mask in the memory that is there for it."""
    if out is None or out is mask:
        return mask
    out[...] = mask
    return out


def _by_place(scenes: Sequence[Scene]) -> tuple[Scene, ...]:
    places: dict[object, list[Scene]] = {}
    for scene in scenes:
        places.setdefault((tuple(scene.geobox.shape), scene.geobox.affine, str(scene.geobox.crs)), []).append(
            scene
        )
    merged = []
    for group in places.values():
        starts, ends = [s.time.start for s in group], [s.time.end for s in group]
        start = None if None in starts else min(t for t in starts if t is not None)
        end = None if None in ends else max(t for t in ends if t is not None)
        footprint = shapely.union_all([s.footprint for s in group])
        merged.append(replace(group[0], footprint=footprint, time=TimeInterval(start, end)))
    return tuple(merged)
