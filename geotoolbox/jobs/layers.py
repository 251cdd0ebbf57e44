"""From lists of files to layers: what the jobs *train*, *predict* and their kin open in the same way."""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping, Sequence
from functools import reduce
from itertools import accumulate
from operator import and_
from pathlib import Path

import shapely

from geotoolbox.core.classes import ClassTable
from geotoolbox.core.header import RasterHeader, describe
from geotoolbox.core.query import Region
from geotoolbox.datasets import GeoDataset, RasterDataset, VectorDataset, read_region
from geotoolbox.datasets.labels import looks_like_labels
from geotoolbox.datasets.vector_files import columns_of
from geotoolbox.errors import BadInput, explain
from geotoolbox.jobs.spec import existing

__all__ = ["check_column", "is_raster", "open_images", "open_labels", "open_region", "raster_files"]

_log = logging.getLogger(__name__)
_FEW_SCENES = 200  # of more the union of footprints takes a while
_ALL = 0.995
_RASTER_SUFFIXES = frozenset(
    (".tif", ".tiff", ".gtiff", ".vrt", ".img", ".jp2", ".nc", ".hdf", ".png", ".jpg")
)


def is_raster(path: str) -> bool:
    """Tell by its name whether a file is a raster (anything else is read as a vector file)."""
    return Path(path.split("?", maxsplit=1)[0]).suffix.lower() in _RASTER_SUFFIXES


def raster_files(paths: Sequence[str], remote: bool = False) -> list[str]:
    """Replace folders by the rasters in them, sorted by name."""
    files: list[str] = []
    for path in paths:
        if remote and ("://" in path or path.startswith("/vsi")):
            files.append(path)
            continue
        place = existing(path)
        if place.is_dir():
            found = sorted(str(p) for p in place.rglob("*") if is_raster(p.name))
            if not found:
                raise BadInput(explain("no rasters in this folder", where=path, expected="GeoTIFF or alike"))
            files += found
        else:
            files.append(str(place))
    return files


def open_images(
    paths: Sequence[str],
    *,
    bands: Sequence[str] = (),
    allow_vrt: bool = False,
    allow_remote: bool = False,
) -> GeoDataset:
    """Open image files as one dataset.

    Files that are alike in resolution, data type and number of bands are one layer (bands of a scene, or
    tiles side by side); a file that differs, such as an elevation model, joins as one more layer, read onto
    the grid of the first.

    Raises:
        BadInput: When a file is missing, a folder holds images and labels, or a band name is not there.
    """
    files = raster_files(paths, allow_remote)
    headers = {f: describe(f, allow_vrt=allow_vrt, allow_remote=allow_remote) for f in files}
    _refuse_labels(paths, headers)
    groups: dict[tuple[object, ...], list[str]] = {}
    for file in files:
        groups.setdefault(_signature(headers[file]), []).append(file)
    layers: list[GeoDataset] = [
        RasterDataset(g, kind="image", allow_vrt=allow_vrt, allow_remote=allow_remote)
        for g in groups.values()
    ]
    if bands:
        layers = _select(layers, list(groups.values()), bands, allow_vrt, allow_remote)
    _tell_gaps(layers)
    return reduce(and_, layers)


def _refuse_labels(paths: Sequence[str], headers: Mapping[str, RasterHeader]) -> None:
    """Refuse folders that hold labels beside images; a file that is named itself is meant as an image."""
    labels = [f for f, header in headers.items() if f not in paths and looks_like_labels(header)]
    if not labels or len(labels) == len(headers):
        return
    raise BadInput(
        explain(
            "some files of the folder look like labels (a palette or class names), some like images",
            where=", ".join(labels[:10]),
            fix="list the image files, or write a pattern such as --images FOLDER/scene_b*.tif",
        )
    )


def _tell_gaps(layers: Sequence[GeoDataset]) -> None:
    """Tell of layers that cover less than the first; footprints are known already, so this costs little."""
    if len(layers) < 2 or any(len(layer.scenes()) > _FEW_SCENES for layer in layers):
        return
    grounds = [shapely.union_all([shape for shape, _ in layer.coverage()]) for layer in layers]
    whole = grounds[0].area
    for layer, ground in zip(layers[1:], grounds[1:], strict=True):
        share = grounds[0].intersection(ground).area / whole if whole else 1.0
        if 0 < share < _ALL:
            names = ", ".join(band.name for band in layer.bands[:3])
            _log.warning(
                "%s covers %d %% of the images; the rest gets no class", names, math.floor(100 * share)
            )


def _signature(header: RasterHeader) -> tuple[object, ...]:
    """What files of one layer share: unit and size of their pixels, data type, number of bands."""
    from odc.geo.crs import CRS

    unit = CRS(header.crs).units[0] if header.crs else ""
    a, b = header.transform.a, header.transform.b
    size = float(f"{(a * a + b * b) ** 0.5:.4g}")
    return unit, size, header.count, header.dtypes[0]


def _select(
    layers: list[GeoDataset],
    groups: list[list[str]],
    bands: Sequence[str],
    allow_vrt: bool,
    allow_remote: bool,
) -> list[GeoDataset]:
    counts = [len(layer.bands) for layer in layers]
    known = [b.name for layer in layers for b in layer.bands]
    missing = [b for b in bands if b not in known]
    if missing and not (len(missing) == len(bands) == len(known)):
        raise BadInput(
            explain(
                "no such band",
                got=", ".join(missing),
                expected=f"some of {', '.join(known)}, or {len(known)} new names, one for each",
                fix="run 'geotoolbox inspect' on the files to see their bands",
            )
        )
    chosen: list[GeoDataset] = []
    for layer, files, start in zip(layers, groups, accumulate([0, *counts]), strict=False):
        own = bands[start : start + len(layer.bands)]  # new names, in the order of the files
        if not missing:
            own = [name for name in bands if name in {b.name for b in layer.bands}]
        if own:
            chosen.append(
                RasterDataset(files, bands=own, kind="image", allow_vrt=allow_vrt, allow_remote=allow_remote)
            )
    return chosen


def open_labels(
    paths: Sequence[str],
    *,
    column: str | None = None,
    layer: str | None = None,
    where: str | None = None,
    unlabelled: str = "ignore",
    all_touched: bool = False,
    crs: str | None = None,
    encoding: str | None = None,
    buffer_m: float | None = None,
    order: str = "file",
    classes: ClassTable | None = None,
    allow_vrt: bool = False,
    allow_remote: bool = False,
    footprints: bool = True,
) -> GeoDataset:
    """Open a label layer: a raster of classes, or polygons with a class column.

    Without ``footprints`` the outlines of rasters stand for the polygons of their valid data, which are then
    not looked for in the pixels.
    """
    rasters = [p for p in paths if is_raster(p) or Path(p).is_dir()]
    if rasters and len(rasters) != len(paths):
        raise BadInput(
            explain("labels are partly rasters and partly vectors", got=", ".join(paths), fix="give one kind")
        )
    if rasters:
        vain = {"column": column, "layer": layer, "filter": where, "crs": crs, "buffer": buffer_m}
        for name in (name for name, value in vain.items() if value is not None):
            _log.warning("the setting label %s is for vector labels; these are a raster: %s", name, paths[0])
        files = raster_files(paths, allow_remote)
        return RasterDataset(
            files,
            kind="labels",
            classes=classes,
            footprints=footprints,
            allow_vrt=allow_vrt,
            allow_remote=allow_remote,
        )
    return VectorDataset(
        [str(existing(p)) for p in paths],
        column=column,
        layer=layer,
        where=where,
        unlabelled=unlabelled,
        all_touched=all_touched,
        crs=crs,
        encoding=encoding,
        buffer_m=buffer_m,
        order=order,
        classes=classes,
    )


def check_column(labels: GeoDataset, column: str | None) -> None:
    """Refuse vector labels of one class where a column could tell more, for jobs that need several.

    Raises:
        BadInput: With the columns of the file.
    """
    if column is not None or not isinstance(labels, VectorDataset) or len(labels.classes) > 1:
        return
    path = labels.source_files()[0]
    raise BadInput(
        explain(
            "no column tells the classes of the labels",
            where=path,
            got=f"columns {', '.join(columns_of(path)) or 'none'}",
            fix="choose one (--label-column), or say what the ground without a feature is (--unlabelled NAME)",
        )
    )


def open_region(path: str | None) -> Region | None:
    """Read the polygons of an area, or None where no area is given."""
    return None if path is None else read_region(existing(path))
