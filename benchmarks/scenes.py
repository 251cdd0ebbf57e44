"""Makes what the benchmarks read: Landsat-like scenes, class rasters, polygons and many small files.

    python benchmarks/scenes.py FOLDER [--side 6000] [--zion ../shared/data/zion]

Four scenes of seven uint16 bands in two UTM zones, each as an uncompressed and as a deflate COG with blocks of
512 px, and one class raster in EPSG:5070 that covers them. The pixels are those of a Landsat scene of Zion
National Park, mirrored until they fill the scene, else those of the demo's made-up land. What is there already is
kept; GDAL is all that writes.
"""

from __future__ import annotations

import argparse
import os
import struct
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import rasterio
import rasterio.shutil
from affine import Affine
from numpy.typing import NDArray
from rasterio.enums import Resampling
from rasterio.io import MemoryFile
from rasterio.warp import reproject, transform_bounds

PIXEL_M, TOP_M, BLOCK_PX, BANDS = 30.0, 4_200_000.0, 512, 7
ZIONS = ("ZION", "../shared/data/zion")  # an environment variable, else a folder beside the project
NAMES = tuple(f"band_{n}" for n in range(1, BANDS + 1))
CORNERS = (("32612", 0), ("32612", 1), ("32613", 0), ("32613", 1))  # zone, and position from the west
WEST_M = {"32612": 760_000.0, "32613": 240_000.0}  # where the two zones meet, at 108° W


@dataclass(frozen=True, slots=True)
class Data:
    """Where the benchmarks' files are.

    Attributes:
        folder: The folder of one size.
        side: Side of a scene, in pixels.
    """

    folder: Path
    side: int

    def scenes(self, kind: str = "plain", zone: str | None = None) -> list[str]:
        """Return the scenes of a kind (``plain`` or ``deflate``), of one zone or of both."""
        names = [f"scene_{z}_{i}.tif" for z, i in CORNERS if zone in (None, z)]
        return [str(self.folder / kind / name) for name in names]

    def labels(self, kind: str = "plain") -> str:
        """Return the class raster in EPSG:5070."""
        return str(self.folder / kind / "classes.tif")

    @property
    def gridded(self) -> str:
        """The classes on the grid of the first scene."""
        return str(self.folder / "gridded" / "classes.tif")

    @property
    def polygons(self) -> str:
        """20,000 polygons over the first scene, in EPSG:4326."""
        return str(self.folder / "polygons.gpkg")

    @property
    def small(self) -> Path:
        """The folder of many small files."""
        return self.folder / "small"


def zion_folder(given: str | None = None) -> Path | None:
    """Return the folder with the Zion scene, or None."""
    for place in (given, os.environ.get(ZIONS[0]), ZIONS[1]):
        if place and (Path(place) / "landsat_b2.tif").is_file():
            return Path(place)
    return None


def base_pixels(zion: Path | None) -> tuple[NDArray[np.uint16], NDArray[np.uint8]]:
    """Return (7, h, w) pixel values and (h', w') classes from 1, all of them valid."""
    if zion is not None:
        bands = [rasterio.open(zion / f"landsat_b{n}.tif").read(1) for n in (2, 3, 4, 5)]
        image, classes = np.stack(bands), rasterio.open(zion / "nlcd.tif").read(1)
        image = image[:, 300:1100, 150:950]
        classes = classes[300:1100, 150:950]
        image, classes = np.where(image == 65535, 7000, image), np.where(classes == 255, 1, classes)
    else:
        from geotoolbox.jobs.demo_land import make_land

        land = make_land(6000.0, 10.0, 7)
        image, classes = np.clip(land.bands, 1, 65000).astype(np.uint16), land.classes
    blue, green, red, nir = (band.astype(np.int32) for band in image)
    more = [(blue + green) // 2, (red + nir) // 2, (green + nir) // 2]
    return np.stack([blue, green, red, nir, *more]).astype(np.uint16), classes.astype(np.uint8)


def mirrored(tile: NDArray[np.generic], shape: tuple[int, int], shift: int) -> NDArray[np.generic]:
    """Fill a shape with a tile and its mirror images, beginning ``shift`` pixels into it."""
    height, width = tile.shape[-2:]
    rows = np.abs((np.arange(shape[0]) + shift) % (2 * height - 2) - (height - 1))
    cols = np.abs((np.arange(shape[1]) + 2 * shift) % (2 * width - 2) - (width - 1))
    return tile[..., rows[:, None], cols[None, :]]


def write_cog(path: Path, data: NDArray[np.generic], crs: str, transform: Affine, *, compress: str) -> None:
    """Write a COG with blocks of 512 px; beside it as ``.part`` until it is whole."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_suffix(".part.tif")
    layers = data if data.ndim == 3 else data[None]
    profile = dict(
        driver="GTiff", count=len(layers), height=layers.shape[1], width=layers.shape[2], dtype=layers.dtype.name,
        crs=crs, transform=transform, nodata=0, tiled=True, blockxsize=BLOCK_PX, blockysize=BLOCK_PX,
        interleave="pixel",
    )  # fmt: skip
    whole = path.with_suffix(".whole.tif")
    with rasterio.open(whole, "w", **profile) as out:
        out.write(layers)
        if len(layers) > 1:
            out.descriptions = NAMES
        else:
            values = range(1, int(layers.max()) + 1)
            out.write_colormap(1, {v: (v * 37 % 256, v * 91 % 256, v * 53 % 256) for v in values})
    more = {"predictor": "YES"} if compress == "DEFLATE" else {}
    rasterio.shutil.copy(
        whole,
        part,
        driver="COG",
        blocksize=BLOCK_PX,
        compress=compress,
        overview_resampling="nearest",
        **more,
    )
    whole.unlink()
    part.rename(path)


def make(folder: Path, side: int, zion: Path | None) -> Data:
    """Make scenes and class rasters of one size; what is there is kept."""
    data = Data(folder / f"side-{side}", side)
    pixels, classes = None, None
    for kind, compress in (("plain", "NONE"), ("deflate", "DEFLATE")):
        for number, ((zone, position), path) in enumerate(zip(CORNERS, data.scenes(kind), strict=True)):
            if Path(path).exists():
                continue
            if pixels is None:
                pixels, classes = base_pixels(zion)
            image = mirrored(pixels, (side, side), 137 * number)
            write_cog(
                Path(path), image, f"EPSG:{zone}", transform_of(zone, position, side), compress=compress
            )
            print(path, file=sys.stderr)
    for kind, compress in (("plain", "NONE"), ("deflate", "DEFLATE")):
        if not Path(data.labels(kind)).exists():
            if classes is None:
                _, classes = base_pixels(zion)
            make_labels(data, kind, compress, classes)
    if not Path(data.gridded).exists():
        make_gridded(data)
    return data


def make_one(folder: Path, side: int, zion: Path | None) -> str:
    """Make one uncompressed scene of a size and nothing else; return it. What is there is kept."""
    data = Data(folder / f"side-{side}", side)
    zone, position = CORNERS[0]
    path = Path(data.scenes()[0])
    if not path.exists():
        image = mirrored(base_pixels(zion)[0], (side, side), 0)
        write_cog(path, image, f"EPSG:{zone}", transform_of(zone, position, side), compress="NONE")
    return str(path)


def transform_of(zone: str, position: int, side: int) -> Affine:
    """Return the grid of a scene: two of them, side by side, in each zone."""
    span = side * PIXEL_M
    west = WEST_M[zone] - (2 - position) * span if zone == "32612" else WEST_M[zone] + position * span
    return Affine(PIXEL_M, 0, west, 0, -PIXEL_M, TOP_M)


def make_labels(data: Data, kind: str, compress: str, classes: NDArray[np.uint8]) -> None:
    """Write the class raster that covers all scenes."""
    boxes = []
    for path in data.scenes(kind):
        with rasterio.open(path) as scene:
            boxes.append(transform_bounds(scene.crs, "EPSG:5070", *scene.bounds, densify_pts=64))
    west, south = (min(b[i] for b in boxes) // PIXEL_M * PIXEL_M - 20 * PIXEL_M for i in (0, 1))
    east, north = (max(b[i] for b in boxes) + 20 * PIXEL_M for i in (2, 3))
    shape = (int((north - south) / PIXEL_M) + 1, int((east - west) / PIXEL_M) + 1)
    top = south + shape[0] * PIXEL_M
    raster = mirrored(classes, shape, 61)
    write_cog(
        Path(data.labels(kind)),
        raster,
        "EPSG:5070",
        Affine(PIXEL_M, 0, west, 0, -PIXEL_M, top),
        compress=compress,
    )


def make_gridded(data: Data) -> None:
    """Write the classes on the grid of the first scene, as after preprocessing."""
    with rasterio.open(data.scenes()[0]) as scene, rasterio.open(data.labels()) as labels:
        out = np.zeros(scene.shape, np.uint8)
        reproject(
            rasterio.band(labels, 1), out, dst_crs=scene.crs, dst_transform=scene.transform,
            resampling=Resampling.nearest,
        )  # fmt: skip
        write_cog(Path(data.gridded), out, str(scene.crs), scene.transform, compress="NONE")


def make_polygons(data: Data, count: int = 20_000) -> str:
    """Write polygons of about 20 points over the first scene, in EPSG:4326."""
    import geopandas as gpd
    import shapely

    path = Path(data.polygons)
    if path.exists():
        return str(path)
    rng = np.random.default_rng(3)
    with rasterio.open(data.scenes()[0]) as scene:
        bounds, crs = scene.bounds, scene.crs
    across = int(np.ceil(count**0.5))
    step_x, step_y = (bounds.right - bounds.left) / across, (bounds.top - bounds.bottom) / across
    col, row = np.arange(count) % across, np.arange(count) // across
    x = bounds.left + (col + 0.5) * step_x + rng.uniform(-0.1, 0.1, count) * step_x
    y = bounds.bottom + (row + 0.5) * step_y + rng.uniform(-0.1, 0.1, count) * step_y
    angle = np.linspace(0, 2 * np.pi, 20, endpoint=False)
    reach = rng.uniform(0.3, 0.5, (count, 20)) * min(step_x, step_y)
    points = np.stack([x[:, None] + reach * np.cos(angle), y[:, None] + reach * np.sin(angle)], axis=-1)
    frame = gpd.GeoDataFrame(
        {"crop": rng.integers(1, 9, count)}, geometry=shapely.polygons(points), crs=crs
    ).to_crs("EPSG:4326")
    part = path.with_suffix(".part.gpkg")
    frame.to_file(part, driver="GPKG", engine="pyogrio", layer="polygons")
    part.rename(path)
    return str(path)


def make_small(data: Data, count: int) -> list[str]:
    """Write many small GeoTIFFs side by side: one is written, the others are it with another corner."""
    folder = data.small
    folder.mkdir(parents=True, exist_ok=True)
    west, north = -2_000_000.0, 3_000_000.0
    with MemoryFile() as memory:
        profile = dict(
            driver="GTiff", count=1, height=16, width=16, dtype="uint8", crs="EPSG:5070",
            transform=Affine(PIXEL_M, 0, west, 0, -PIXEL_M, north),
        )  # fmt: skip
        with memory.open(**profile) as out:
            out.write(np.ones((1, 16, 16), np.uint8))
        template = bytes(memory.read())
    place = template.find(struct.pack("<dd", west, north))
    if place < 0:
        raise RuntimeError("the corner's coordinates are not in the file as expected")
    paths, across = [], 1000
    for number in range(count):
        path = folder / f"{number // 1000:03d}" / f"tile_{number:06d}.tif"
        paths.append(str(path))
        if number % 1000 == 0:
            path.parent.mkdir(exist_ok=True)
        if not path.exists():
            x, y = west + number % across * 16 * PIXEL_M, north - number // across * 16 * PIXEL_M
            path.write_bytes(template[:place] + struct.pack("<dd", x, y) + template[place + 16 :])
    return paths


def main() -> int:
    """Make the files."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path)
    parser.add_argument("--side", type=int, default=6000, help="side of a scene, in pixels")
    parser.add_argument("--zion", help="folder with landsat_b2.tif … and nlcd.tif")
    given = parser.parse_args()
    zion = zion_folder(given.zion)
    print("pixels of Zion" if zion else "pixels of the demo's land", file=sys.stderr)
    data = make(given.folder, given.side, zion)
    make_polygons(data)
    print(data.folder)
    return 0


if __name__ == "__main__":
    sys.exit(main())
