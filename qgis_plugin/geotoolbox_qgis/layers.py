"""From QGIS layers to files that the engine can read.

A layer that is a plain file is passed as its path. Anything else (a selection, a filter, unsaved edits, memory and
database layers, web layers, virtual rasters, GeoPackage rasters, a nodata value or CRS set in QGIS) is exported
once, beside the output, so that the recipe can be run again.

Layers are looked at in the main thread (``vector_source``, ``raster_source``); files are written in the worker's.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any, Callable, List, Optional

from qgis.core import (
    QgsFeatureRequest,
    QgsFeatureSink,
    QgsMapLayer,
    QgsProcessingContext,
    QgsProcessingException,
    QgsProcessingFeatureSourceDefinition,
    QgsProcessingFeedback,
    QgsProcessingUtils,
    QgsRasterBlockFeedback,
    QgsRasterFileWriter,
    QgsRasterLayer,
    QgsRasterPipe,
    QgsRectangle,
    QgsVectorFileWriter,
    QgsVectorLayer,
    QgsVectorLayerFeatureSource,
)

from .texts import tr

__all__ = ["Source", "WebGrid", "raster_source", "vector_source"]

_PLAIN_RASTERS = (".tif", ".tiff", ".gtiff", ".img", ".jp2", ".png", ".jpg")
_PLAIN_VECTORS = (".gpkg", ".shp", ".geojson", ".json", ".fgb", ".gml", ".kml", ".sqlite")
_MAX_EXPORT_PX = 40_000_000_000

Writer = Callable[[Path, QgsProcessingFeedback], None]


@dataclass
class Source:
    """What the engine will read in place of a layer.

    Attributes:
        layer_name: The layer's name in QGIS, for messages.
        path: The absolute path of a plain file; empty where the layer has to be exported.
        table: The layer inside the file, where there are several.
        reason: Why it is exported, for the log.
        write: Writes the export.
        suffix: Of the export.
        virtual: Whether the file is a virtual raster, which the engine opens only when told to.
    """

    layer_name: str
    path: str = ""
    table: str = ""
    reason: str = ""
    write: Optional[Writer] = None
    suffix: str = ""
    virtual: bool = False

    def file(self, folder: Path, name: str, feedback: QgsProcessingFeedback) -> str:
        """Return the file to read; the export is made here, in ``folder``."""
        if self.write is None:
            return self.path
        folder.mkdir(parents=True, exist_ok=True)
        target = folder / (name + self.suffix)
        feedback.pushInfo(f"{self.layer_name}: {self.reason}; {tr('exported to')} {target}")
        self.write(target, feedback)
        return str(target)


@dataclass(frozen=True)
class WebGrid:
    """The extent and pixel size, in the layer's CRS, that a layer without pixels of its own is exported with."""

    extent: QgsRectangle
    pixel_size: float


def check_crs(layer: QgsMapLayer) -> None:
    """Say so when a layer has no CRS.

    Raises:
        QgsProcessingException: With what to do.
    """
    if not layer.crs().isValid():
        raise QgsProcessingException(
            tr(
                "The layer '{}' has no coordinate reference system, so it cannot be placed. Fix: right-click the "
                "layer > Layer CRS > Set layer CRS, choose the one its data is in, and run again."
            ).format(layer.name())
        )


# --- vectors -----------------------------------------------------------------------------------------------------


def vector_layer(value: Any, context: QgsProcessingContext) -> Any:
    """Return (layer, selected only, feature limit) of the value of a feature source parameter."""
    selected, limit = False, -1
    if isinstance(value, QgsProcessingFeatureSourceDefinition):
        selected, limit = value.selectedFeaturesOnly, getattr(value, "featureLimit", -1)
        value = value.source.valueAsString(context.expressionContext())[0]
    if isinstance(value, QgsVectorLayer):
        return value, selected, limit
    return QgsProcessingUtils.mapLayerFromString(str(value), context), selected, limit


def vector_source(
    layer: QgsVectorLayer, context: QgsProcessingContext, *, selected: bool, limit: int, one_table: bool
) -> Source:
    """Return how a vector layer is read.

    Args:
        layer: The layer.
        context: Knows how coordinates are transformed.
        selected: Whether only selected features are meant.
        limit: The number of features at most; -1 for all.
        one_table: Whether the job cannot choose a layer inside a file.
    """
    check_crs(layer)
    if layer.featureCount() == 0 or (selected and layer.selectedFeatureCount() == 0):
        what = tr("no selected features") if selected else tr("no features")
        raise QgsProcessingException(
            tr("The layer '{}' has {}. Fix: choose or draw some.").format(layer.name(), what)
        )
    path, _, rest = layer.source().partition("|")
    table = _part(rest, "layername")
    reason = _why_export_vector(layer, path, selected or limit > 0, one_table and bool(table))
    if reason:
        write = _vector_writer(layer, _request(layer, selected, limit), context)
        return Source(layer.name(), reason=reason, write=write, suffix=".gpkg", table="labels")
    return Source(layer.name(), path=os.path.abspath(path), table=table)


def _why_export_vector(layer: QgsVectorLayer, path: str, part: bool, inner: bool) -> str:
    reasons = (
        (part, tr("only some features are used")),
        (bool(layer.subsetString()), tr("it has a filter")),
        (layer.isEditable() and layer.isModified(), tr("it has unsaved edits")),
        (layer.providerType() != "ogr", tr("it is no file")),
        (not _is_plain(path, _PLAIN_VECTORS), tr("its kind of file is read through QGIS")),
        (
            bool(layer.vectorJoins()) or layer.fields().count() > layer.dataProvider().fields().count(),
            tr("it has joins"),
        ),
        (layer.crs() != layer.dataProvider().crs(), tr("its CRS was set in QGIS")),
        (inner and len(layer.dataProvider().subLayers()) > 1, tr("its file has several layers")),
    )
    return next((text for true, text in reasons if true), "")


def _request(layer: QgsVectorLayer, selected: bool, limit: int) -> QgsFeatureRequest:
    request = QgsFeatureRequest()
    if selected:
        request.setFilterFids(layer.selectedFeatureIds())
    if limit > 0:
        request.setLimit(limit)
    return request


def _vector_writer(
    layer: QgsVectorLayer, request: QgsFeatureRequest, context: QgsProcessingContext
) -> Writer:
    fields, kind, crs, transforms = layer.fields(), layer.wkbType(), layer.crs(), context.transformContext()
    source = QgsVectorLayerFeatureSource(layer)  # a snapshot that another thread may read

    def write(target: Path, feedback: QgsProcessingFeedback) -> None:
        options = QgsVectorFileWriter.SaveVectorOptions()
        options.driverName, options.layerName = "GPKG", "labels"
        # A column named like GeoPackage's own would clash.
        kept = [i for i in range(fields.count()) if fields.at(i).name().lower() not in ("fid", "geom")]
        options.attributes = kept
        chosen = type(fields)()
        for i in kept:
            chosen.append(fields.at(i))
        part = target.with_name(target.stem + ".part.gpkg")
        writer = QgsVectorFileWriter.create(str(part), chosen, kind, crs, transforms, options)
        problem = writer.errorMessage() if writer.hasError() else ""
        for feature in () if problem else source.getFeatures(request):
            if feedback.isCanceled():
                break
            values = feature.attributes()
            feature.setAttributes([values[i] for i in kept])
            feature.setId(0)
            writer.addFeature(feature, QgsFeatureSink.Flag.FastInsert)
        writer.flushBuffer()
        problem = problem or (writer.errorMessage() if writer.hasError() else "")
        del writer  # closes the file
        if problem or feedback.isCanceled():
            part.unlink(missing_ok=True)
        else:
            os.replace(part, target)
        if problem:
            raise QgsProcessingException(tr("Cannot write {}: {}").format(target, problem))

    return write


# --- rasters -----------------------------------------------------------------------------------------------------


def raster_source(
    layer: QgsRasterLayer, grid: Optional[WebGrid], may_be_virtual: bool, context: QgsProcessingContext
) -> Source:
    """Return how a raster layer is read.

    Args:
        layer: The layer.
        grid: Extent and pixel size for layers without pixels of their own.
        may_be_virtual: Whether the job can open a virtual raster file.
        context: Knows how coordinates are transformed.
    """
    check_crs(layer)
    path = layer.source().split("|", 1)[0]
    virtual = layer.providerType() == "gdal" and _is_plain(path, (".vrt",))
    reason = _why_export_raster(layer, path, virtual and may_be_virtual)
    if not reason:
        return Source(layer.name(), path=os.path.abspath(path), virtual=virtual)
    write = _raster_writer(layer, grid, context)
    return Source(layer.name(), reason=reason, write=write, suffix=".tif")


def _why_export_raster(layer: QgsRasterLayer, path: str, virtual: bool) -> str:
    provider = layer.dataProvider()
    bands = range(1, layer.bandCount() + 1)
    if any(provider.sourceHasNoDataValue(b) and not provider.useSourceNoDataValue(b) for b in bands):
        raise QgsProcessingException(
            tr(
                "The layer '{}' has its nodata value switched off in QGIS, but the file says that it is no data. Fix: "
                "switch it on again (Properties > Transparency), or save the layer without a nodata value."
            ).format(layer.name())
        )
    reasons = (
        (layer.providerType() != "gdal", tr("it is no file")),
        (not virtual and not _is_plain(path, _PLAIN_RASTERS), tr("its kind of file is read through QGIS")),
        (any(provider.userNoDataValues(b) for b in bands), tr("it has a nodata value set in QGIS")),
        (layer.crs() != provider.crs(), tr("its CRS was set in QGIS")),
    )
    return next((text for true, text in reasons if true), "")


def _raster_writer(layer: QgsRasterLayer, grid: Optional[WebGrid], context: QgsProcessingContext) -> Writer:
    provider = layer.dataProvider()
    extent, columns, rows = _export_grid(layer, grid)
    names = (
        []
        if provider.xSize() <= 0
        else [provider.generateBandName(b) for b in range(1, layer.bandCount() + 1)]
    )
    clone, crs, transforms, layer_name = (
        provider.clone(),
        layer.crs(),
        context.transformContext(),
        layer.name(),
    )
    _copy_nodata(provider, clone)

    def write(target: Path, feedback: QgsProcessingFeedback) -> None:
        pipe = QgsRasterPipe()
        if not pipe.set(clone):
            raise QgsProcessingException(tr("The layer '{}' cannot be read for export.").format(layer_name))
        part = target.with_name(target.stem + ".part.tif")
        writer = QgsRasterFileWriter(str(part))
        writer.setOutputFormat("GTiff")
        writer.setCreateOptions(["COMPRESS=DEFLATE", "TILED=YES", "BIGTIFF=IF_SAFER"])
        watch = QgsRasterBlockFeedback()
        feedback.canceled.connect(watch.cancel)
        code = writer.writeRaster(pipe, columns, rows, extent, crs, transforms, watch)
        if feedback.isCanceled():
            part.unlink(missing_ok=True)
            return
        if int(code) != 0 or not part.exists():
            raise QgsProcessingException(
                tr("The layer '{}' could not be exported to {} (code {}).").format(
                    layer_name, target, int(code)
                )
            )
        _name_bands(target, names)
        os.replace(part, target)

    return write


def _copy_nodata(source: Any, clone: Any) -> None:
    """Set a copy's nodata as the layer's own is set; a fresh copy of a file may not have it."""
    for band in range(1, source.bandCount() + 1):
        clone.setUserNoDataValue(band, source.userNoDataValues(band))


def _export_grid(layer: QgsRasterLayer, grid: Optional[WebGrid]) -> Any:
    provider = layer.dataProvider()
    if provider.xSize() > 0 and provider.ySize() > 0:
        return layer.extent(), provider.xSize(), provider.ySize()
    if grid is None:
        raise QgsProcessingException(
            tr(
                "The layer '{}' comes from the web and has no pixels of its own. Fix: set Extent and Pixel size "
                "(advanced parameters); that part is then downloaded and used."
            ).format(layer.name())
        )
    columns = max(1, round(grid.extent.width() / grid.pixel_size))
    rows = max(1, round(grid.extent.height() / grid.pixel_size))
    if columns * rows > _MAX_EXPORT_PX:
        raise QgsProcessingException(tr("{} × {} pixels are too many to export.").format(columns, rows))
    left, top = grid.extent.xMinimum(), grid.extent.yMaximum()
    extent = QgsRectangle(left, top - rows * grid.pixel_size, left + columns * grid.pixel_size, top)
    return extent, columns, rows


def _name_bands(target: Path, names: List[str]) -> None:
    """Write the bands' names beside an export (QGIS's writer leaves them out)."""
    known = [name.partition(": ")[2] for name in names]
    if not any(known):
        return
    rows = "".join(
        f'<PAMRasterBand band="{i}"><Description>{escape(name)}</Description></PAMRasterBand>'
        for i, name in enumerate(known, start=1)
        if name
    )
    aux = target.with_name(target.name + ".aux.xml")
    aux.write_text(f"<PAMDataset>{rows}</PAMDataset>\n", encoding="utf-8")


def _part(text: str, name: str) -> str:
    """Return a part of a source such as ``layername=a|subset=…``."""
    found = re.search(rf"(?:^|\|){name}=([^|]*)", text)
    return found.group(1) if found else ""


def _is_plain(path: str, suffixes: Any) -> bool:
    return path.lower().endswith(suffixes) and not path.startswith("/vsi") and os.path.isfile(path)
