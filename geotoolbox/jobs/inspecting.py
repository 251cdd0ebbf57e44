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
from geotoolbox.jobs.layers import is_raster, open_images, open_labels, raster_files
from geotoolbox.jobs.results import TextResult

__all__ = ["describe_files"]


def describe_files(paths: Sequence[str], *, allow_vrt: bool, allow_remote: bool) -> TextResult:
    """Describe each file, and how the rasters fit together.

    Returns:
        The text, and the same facts as plain values (``files``, ``together``).
    """
    rasters = [p for p in paths if is_raster(p) or Path(p).is_dir()]
    rows: list[dict[str, Any]] = []
    headers: list[RasterHeader] = []
    for path in raster_files(rasters, allow_remote):
        try:
            header = describe(path, allow_vrt=allow_vrt, allow_remote=allow_remote)
        except GeoToolboxError as error:
            rows.append({"file": path, "problem": str(error)})
            continue
        headers.append(header)
        rows.append(_raster_row(header))
    rows += [_vector_row(p) for p in paths if p not in rasters]
    together = _together(headers, allow_vrt, allow_remote)
    text = "\n".join([*(_as_text(row) for row in rows), *together])
    return TextResult(text, {"files": rows, "together": together})


def _raster_row(header: RasterHeader) -> dict[str, Any]:
    geobox = GeoBox((header.height, header.width), header.transform, header.crs)
    box = geobox.extent.to_crs("EPSG:4326").boundingbox
    unit = CRS(header.crs).units[0]
    a, b, d, e = (getattr(header.transform, n) for n in "abde")
    names = dict(header.category_names or {})
    return {
        "file": header.path,
        "kind": "labels" if _is_labels(header) else "image",
        "size_px": [header.width, header.height],
        "bands": header.count,
        "dtype": sorted(set(header.dtypes)),
        "nodata": header.nodata[0],
        "crs": _crs_name(header.crs),
        "pixel_size": [(a * a + d * d) ** 0.5, (b * b + e * e) ** 0.5, unit],
        "extent_lon_lat": [round(v, 5) for v in (box.left, box.bottom, box.right, box.top)],
        "overviews": list(header.overviews),
        "classes": {str(k): v for k, v in names.items()},
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
                f"images together: {len(image.bands)} bands ({names}), {len(image.scenes())} scene(s)"
            )
        for path in labels:
            label = open_labels([path], allow_vrt=allow_vrt, allow_remote=allow_remote)
            assert label.classes is not None
            named = ", ".join(f"{c.value} {c.name}" for c in label.classes)
            lines.append(f"classes of {Path(path).name}: {named}")
            if image is not None:
                scenes = (image & label).scenes()
                lines.append(f"  read onto the images' grid (nearest): {len(scenes)} scene(s) have labels")
    except GeoToolboxError as error:
        lines.append(f"these files do not fit together yet: {error}")
    return lines


def _as_text(row: dict[str, Any]) -> str:
    if "problem" in row:
        return f"{row['file']}\n  PROBLEM  {row['problem']}"
    if row["kind"] == "vector":
        return (
            f"{row['file']}\n  vector, {row['features']:,} features ({row['geometry']}), {row['crs']}\n"
            f"  layers {', '.join(row['layers'])}; columns {', '.join(row['columns'])}"
        )
    width, height = row["size_px"]
    dx, dy, unit = row["pixel_size"]
    size = f"{dx:.6g} {unit}" if abs(dx - dy) < 1e-9 * dx else f"{dx:.6g} × {dy:.6g} {unit}"
    west, south, east, north = row["extent_lon_lat"]
    nodata = "none" if row["nodata"] is None else f"{row['nodata']:g}"
    return (
        f"{row['file']}\n  {row['kind']}, {width} × {height} px, {row['bands']} band(s) {'/'.join(row['dtype'])}, "
        f"nodata {nodata}\n  {row['crs']}, pixel {size}\n"
        f"  longitude {west} … {east}, latitude {south} … {north}"
    )
