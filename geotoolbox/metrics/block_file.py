"""The block file: a GeoPackage of blocks, their scores, and their sparse confusion matrices."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import geopandas as gpd
import numpy as np
import pandas as pd
import pyogrio

from geotoolbox.core.classes import ClassInfo, ClassTable
from geotoolbox.core.files import atomic_path, check_writable
from geotoolbox.errors import BadInput, CannotRead, explain
from geotoolbox.indexing.geometry import crs_text
from geotoolbox.metrics.blocks import BlockConfusion, Cells

__all__ = ["block_file_of", "read_blocks", "write_blocks"]

_PLACE = ["row_px", "column_px", "height_px", "width_px"]


def block_file_of(metrics: str | Path) -> Path:
    """Return where the block file of a metrics file goes: beside it.

    Example:
        >>> block_file_of("out/metrics.json").as_posix()
        'out/metrics.blocks.gpkg'
    """
    metrics = Path(metrics)
    return metrics.with_name(metrics.stem + ".blocks.gpkg")


def write_blocks(blocks: BlockConfusion, path: Path) -> Path:
    """Write the GeoPackage, whole or not at all.

    Raises:
        BadInput: When the name does not end in ``.gpkg``.
        CannotWrite: When the folder cannot be written to.
    """
    if path.suffix.lower() != ".gpkg":
        raise BadInput(explain("a block file is a GeoPackage", where=path, expected="a name in .gpkg"))
    check_writable(path)
    with atomic_path(path) as part:
        _frame(blocks).to_file(part, layer="blocks", driver="GPKG", engine="pyogrio")
        for name, table in (("cells", _cells(blocks)), ("classes", _classes(blocks.classes))):
            pyogrio.write_dataframe(table, part, layer=name, driver="GPKG")
        with closing(sqlite3.connect(part)) as database:
            database.execute("CREATE INDEX cell_places ON cells (reference, map, pixels)")
            database.execute("CREATE INDEX cell_blocks ON cells (block)")
            database.commit()
    return path


def read_blocks(path: Path) -> BlockConfusion:
    """Read a block file; the order of its rows does not matter."""
    if not path.is_file():
        raise CannotRead(explain("no such file", where=path, fix="run 'geotoolbox evaluate --metrics' again"))
    try:
        frame = gpd.read_file(path, layer="blocks", engine="pyogrio").sort_values("block")
        cells = pyogrio.read_dataframe(path, layer="cells", read_geometry=False)
        classes = pyogrio.read_dataframe(path, layer="classes", read_geometry=False)
        cells = cells.sort_values(["block", "reference", "map"])
        return BlockConfusion(
            _table(classes.sort_values("class")),
            crs_text(frame.crs.to_wkt()) if frame.crs is not None else "",
            tuple(frame["scene"]),
            frame[_PLACE].to_numpy(dtype=np.int64),
            frame.geometry.to_numpy(),
            frame["compared_area_m2"].to_numpy(dtype=np.float64) / np.maximum(frame["pixels"], 1).to_numpy(),
            Cells(*(cells[c].to_numpy(dtype=np.int64) for c in ("block", "reference", "map", "pixels"))),
        )
    except (KeyError, pyogrio.errors.DataLayerError, pyogrio.errors.DataSourceError) as error:
        raise BadInput(
            explain(
                "this is no block file",
                where=path,
                got=error,
                expected="a GeoPackage with the layers blocks, cells and classes",
                fix="use the .blocks.gpkg that 'geotoolbox evaluate --metrics' wrote",
            )
        ) from error


def _frame(blocks: BlockConfusion) -> gpd.GeoDataFrame:
    middle = gpd.GeoSeries(blocks.polygons).centroid
    columns = {
        "block": np.arange(len(blocks)),
        "scene": list(blocks.scene),
        **{name: blocks.windows[:, i] for i, name in enumerate(_PLACE)},
        "x": middle.x.to_numpy(),
        "y": middle.y.to_numpy(),
        "pixels": blocks.pixels,
        "errors": blocks.errors,
        "overall_accuracy": blocks.overall_accuracy(),
        "mean_iou": blocks.mean_iou(),
        "compared_area_m2": blocks.pixels * blocks.pixel_area_m2,
    }
    return gpd.GeoDataFrame(columns, geometry=blocks.polygons, crs=blocks.crs or None)


def _cells(blocks: BlockConfusion) -> pd.DataFrame:
    cells = blocks.cells
    return pd.DataFrame(
        {"block": cells.block, "reference": cells.truth, "map": cells.predicted, "pixels": cells.pixels}
    )


def _classes(classes: ClassTable) -> pd.DataFrame:
    rows = zip(classes, classes.colors, strict=True)
    return pd.DataFrame(
        [
            {"class": i, "value": c.value, "name": c.name, "color": "#{:02x}{:02x}{:02x}".format(*rgb)}
            for i, (c, rgb) in enumerate(rows)
        ]
    )


def _table(frame: pd.DataFrame) -> ClassTable:
    infos = []
    for row in frame.itertuples():
        red, green, blue = bytes.fromhex(str(row.color).lstrip("#"))
        infos.append(ClassInfo(int(str(row.value)), str(row.name), (red, green, blue)))
    return ClassTable(tuple(infos))
