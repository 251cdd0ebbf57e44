"""Every tool's pixels beside exact ones: which windows, and how they are compared."""

from __future__ import annotations

from typing import Any

import numpy as np
import rasterio
from harness import OURS, TORCHGEO, Bench, Box, compare_images, compare_masks, exact
from rasterio.warp import calculate_default_transform, transform, transform_bounds

_KNOWN: dict[tuple[Any, ...], dict[str, str]] = {}


def compare_pixels(bench: Bench, job: dict[str, Any], sides: list[Any]) -> dict[str, str]:
    """Compare the pixels of the sides with exact ones; once for each set of files and CRS."""
    key = (*job["scenes"], job["labels"], job.get("crs"))
    if key not in _KNOWN:
        first = job["scenes"][0]
        _KNOWN[key] = _compare(bench, {**job, "scenes": [first]}, first, sides)
        other = _of_another_zone(job["scenes"])
        if other is not None:
            _KNOWN[key] = _both_zones(bench, job, other, sides, _KNOWN[key])
    return _KNOWN[key]


def _of_another_zone(paths: list[str]) -> str | None:
    """Return the first scene that is not in the CRS of the first of all."""
    with rasterio.open(paths[0]) as source:
        crs = source.crs
    for path in paths[1:]:
        with rasterio.open(path) as source:
            if source.crs != crs:
                return path
    return None


def _both_zones(
    bench: Bench, job: dict[str, Any], other: str, sides: list[Any], found: dict[str, str]
) -> dict[str, str]:
    """Compare a scene of the second zone too: ours on its own grid, TorchGeo's on the grid of the first zone."""
    first = job["scenes"][0]
    for side in sides:
        if side is OURS:
            here = _compare(bench, {**job, "scenes": [other]}, other, [side])
        else:
            places = windows_on(first, other, job["size"])
            here = _compare(bench, {**job, "scenes": [first, other]}, other, [side], places)
        found[side.name] = f"{found.get(side.name, '')}; second zone: {here.get(side.name, '')}"
    return found


def _compare(
    bench: Bench,
    job: dict[str, Any],
    scene: str,
    sides: list[Any],
    places: tuple[str, list[Box]] | None = None,
) -> dict[str, str]:
    crs, windows = places or windows_of(scene, job.get("crs"), job["size"])
    images = [exact(scene, crs, w, job["size"], "bilinear") for w in windows]
    masks = [exact(job["labels"], crs, w, job["size"], "near") for w in windows]
    if any(i is None for i in (*images, *masks)):
        return {}
    found = {}
    for side in sides:
        out = str(bench.work / f"pixels-{side.name}.npz".replace(" ", "-"))
        bench.ask(side, "pixels", **job, windows=windows, window_crs=crs, out=out)
        with np.load(out) as loaded:
            first = compare_images([loaded[f"image_{n}"] for n in range(len(windows))], images)  # type: ignore[arg-type]
            second = compare_masks([loaded[f"mask_{n}"] for n in range(len(windows))], masks)  # type: ignore[arg-type]
        found[side.name] = f"{first}; {second}"
    return found


def windows_on(first: str, other: str, size: int, count: int = 4) -> tuple[str, list[Box]]:
    """Return windows on the grid of one scene, continued to where another one lies."""
    with rasterio.open(first) as source, rasterio.open(other) as there:
        grid, crs = source.transform, str(source.crs)
        west, south, east, north = there.bounds
        parts = np.linspace(0.3, 0.7, count)
        x, y = transform(there.crs, source.crs, west + parts * (east - west), south + parts * (north - south))
    boxes = []
    for place in zip(x, y, strict=True):
        col, row = (int(v) for v in ~grid * place)
        left, top = grid * (col, row)
        boxes.append((left, top + size * grid.e, left + size * grid.a, top))
    return crs, boxes


def windows_of(scene: str, crs: str | None, size: int, count: int = 4) -> tuple[str, list[Box]]:
    """Return a CRS and windows inside a scene: on its own grid, or on the default grid of another CRS."""
    with rasterio.open(scene) as source:
        name, grid, shape = str(source.crs), source.transform, source.shape
        if crs is not None:
            grid, width, height = calculate_default_transform(
                source.crs, crs, *source.shape[::-1], *source.bounds
            )
            name, shape = crs, (height, width)
    steps = np.linspace(0.2, 0.8, count)
    boxes = []
    for number, part in enumerate(steps):
        row, col = int(part * (shape[0] - size)), int(steps[::-1][number] * (shape[1] - size))
        west, north = grid * (col, row)
        boxes.append((west, north + size * grid.e, west + size * grid.a, north))
    return name, boxes


def compare_polygons(bench: Bench, job: dict[str, Any]) -> dict[str, str]:
    """Compare burned masks with polygons whose vertices are transformed exactly and burned by GDAL."""
    import geopandas as gpd
    from affine import Affine
    from rasterio.features import rasterize

    size = job["size"]
    truth = []
    for west, south, east, north in job["windows"][:4]:
        near = transform_bounds(job["crs"], "EPSG:4326", west, south, east, north)
        table = gpd.read_file(job["polygons"], bbox=near, engine="pyogrio")
        dense = table.geometry.segmentize(1e-4).to_crs(job["crs"])
        to_grid = Affine((east - west) / size, 0, west, 0, -(north - south) / size, north)
        pairs = list(zip(dense, table["crop"], strict=True))
        truth.append(rasterize(pairs, (size, size), transform=to_grid, dtype="int32").astype(float))
    found = {}
    for side in (s for s in (OURS, TORCHGEO) if s.there):
        out = str(bench.work / f"polygons-{side.name}.npz".replace(" ", "-"))
        bench.ask(side, "vector_pixels", **{**job, "windows": job["windows"][:4]}, out=out)
        with np.load(out) as loaded:
            found[side.name] = compare_masks([loaded[f"mask_{n}"] for n in range(4)], truth)
    return found
