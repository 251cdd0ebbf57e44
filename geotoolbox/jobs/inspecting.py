"""How *inspect* describes files."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from odc.geo.crs import CRS
from odc.geo.geobox import GeoBox

from geotoolbox.core.header import RasterHeader, describe
from geotoolbox.datasets import GeoDataset
from geotoolbox.errors import GeoToolboxError
from geotoolbox.indexing.geometry import lonlat_outline
from geotoolbox.jobs.layers import is_raster, open_images, open_labels, raster_files
from geotoolbox.jobs.results import TextResult
from geotoolbox.jobs.spec import existing

__all__ = ["describe_files"]

_UNITS = {
    "metre": "m",
    "meter": "m",
    "degree": "degrees",
    "degrees_north": "degrees",
    "degrees_east": "degrees",
    "kilometre": "km",
    "foot": "ft",
}


def describe_files(paths: Sequence[str], *, allow_vrt: bool, allow_remote: bool) -> TextResult:
    """Describe each file, and how the rasters fit together.

    Returns:
        The text, and the same facts as plain values (``files``, ``together``).

    Raises:
        BadInput: When a file is not there.
    """
    rasters = [p for p in paths if is_raster(p) or Path(p).is_dir()]
    vectors = [str(existing(p)) for p in paths if p not in rasters]
    rows: list[dict[str, Any]] = []
    headers: list[RasterHeader] = []
    for path in raster_files(rasters, allow_remote):
        try:
            header = describe(path, allow_vrt=allow_vrt, allow_remote=allow_remote)
        except GeoToolboxError as error:
            rows.append({"file": path, "problem": str(error)})
            continue
        rows.append(_raster_row(header))
        if "problem" not in rows[-1]:
            headers.append(header)
    rows += [_vector_row(p) for p in vectors]
    together = _together(headers, allow_vrt, allow_remote)
    text = "\n".join([*(_as_text(row) for row in rows), *together])
    return TextResult(text, {"files": rows, "together": together})


def _raster_row(header: RasterHeader) -> dict[str, Any]:
    row = {
        "file": header.path,
        "kind": "labels" if _is_labels(header) else "image",
        "size_px": [header.width, header.height],
        "bands": header.count,
        "dtype": sorted(set(header.dtypes)),
        "nodata": header.nodata[0],
        "overviews": list(header.overviews),
        "classes": {str(k): v for k, v in (header.category_names or {}).items()},
    }
    try:
        return row | _place(header.geobox)
    except GeoToolboxError as error:  # no CRS, no geotransform: still a file to be told about
        return row | {"problem": str(error)}


def _place(geobox: GeoBox) -> dict[str, Any]:
    a, b, _, d, e, _ = geobox.affine[:6]
    crs = CRS(geobox.crs)
    return {
        "crs": _crs_name(crs),
        "pixel_size": [(a * a + d * d) ** 0.5, (b * b + e * e) ** 0.5, crs.units[0]],
        "extent_lon_lat": [round(v, 5) for v in lonlat_outline(geobox).bounds],
    }


def _is_labels(header: RasterHeader) -> bool:
    whole = all(d.startswith(("int", "uint")) for d in header.dtypes)
    return header.count == 1 and whole and bool(header.category_names or header.colormap)


def _crs_name(crs: Any) -> str:
    found = CRS(crs)
    code = f"EPSG:{found.epsg}" if found.epsg else ""
    name = found.proj.name
    return f"{code} ({name})" if code else str(name)


def _vector_row(path: str) -> dict[str, Any]:
    import pyogrio

    try:
        layers = [str(name) for name, _ in pyogrio.list_layers(path) if name != "layer_styles"]
        info = pyogrio.read_info(path, layer=layers[0])
    except Exception as error:
        return {"file": path, "problem": f"cannot be read as a vector file: {error}"}
    return {
        "file": path,
        "kind": "vector",
        "layers": layers,
        "features": int(info["features"]),
        "geometry": str(info["geometry_type"]),
        "columns": [str(f) for f in info["fields"]],
        "crs": _crs_name(info["crs"]) if info["crs"] else "none",
    }


def _together(headers: list[RasterHeader], allow_vrt: bool, allow_remote: bool) -> list[str]:
    images = [h.path for h in headers if not _is_labels(h)]
    labels = [h.path for h in headers if _is_labels(h)]
    lines: list[str] = []
    try:
        image: GeoDataset | None = None
        if images:
            image = open_images(images, allow_vrt=allow_vrt, allow_remote=allow_remote)
            names = ", ".join(b.name for b in image.bands)
            lines.append(
                f"images together: {_count(len(image.bands), 'band')} ({names}), {_count(len(image.scenes()), 'scene')}"
            )
        for path in labels:
            label = open_labels([path], allow_vrt=allow_vrt, allow_remote=allow_remote)
            assert label.classes is not None
            named = ", ".join(f"{c.value} {c.name}" for c in label.classes)
            lines.append(f"classes of {Path(path).name}: {named}")
            if image is not None:
                scenes = (image & label).scenes()
                having = "has" if len(scenes) == 1 else "have"
                lines.append(
                    f"  read onto the images' grid (nearest): {_count(len(scenes), 'scene')} {having} labels"
                )
    except GeoToolboxError as error:
        lines.append(f"these files do not fit together yet: {error}")
    return lines


def _as_text(row: dict[str, Any]) -> str:
    if "problem" in row:
        lines = [row["file"], *([_pixels(row)] if "size_px" in row else []), f"PROBLEM  {row['problem']}"]
        return "\n  ".join(lines)
    if row["kind"] == "vector":
        return (
            f"{row['file']}\n  vector, {row['features']:,} features ({row['geometry']}), {row['crs']}\n"
            f"  layers {', '.join(row['layers'])}; columns {', '.join(row['columns'])}"
        )
    dx, dy, unit = row["pixel_size"]
    unit = _UNITS.get(unit, unit)
    size = f"{dx:.6g} {unit}" if abs(dx - dy) < 1e-9 * dx else f"{dx:.6g} × {dy:.6g} {unit}"
    west, south, east, north = row["extent_lon_lat"]
    return (
        f"{row['file']}\n  {_pixels(row)}\n  {row['crs']}, pixel {size}\n"
        f"  longitude {west:.5f} … {east:.5f}, latitude {south:.5f} … {north:.5f}"
    )


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}" + ("" if number == 1 else "s")


def _pixels(row: dict[str, Any]) -> str:
    width, height = row["size_px"]
    nodata = "none" if row["nodata"] is None else f"{row['nodata']:g}"
    bands = f"{_count(row['bands'], 'band')} {'/'.join(row['dtype'])}"
    return f"{row['kind']}, {width} × {height} px, {bands}, nodata {nodata}"
