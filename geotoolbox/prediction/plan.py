"""The plan of a prediction: everything that decides the bits of the result, as plain JSON."""

from __future__ import annotations

import hashlib
import json
import math
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch

from geotoolbox.prediction.forward import TileModel
from geotoolbox.prediction.grids import Target
from geotoolbox.prediction.lattice import Lattice, Window
from geotoolbox.prediction.options import PredictOptions
from geotoolbox.prediction.outputs import class_dtype, class_nodata

__all__ = ["Plan", "choose_lattice", "make_plan"]

BLOCK_STRIDES = 16
LEAST_STRIDES = 4
LARGEST_TILE_PX = 512
STRIP_BYTES = 56 << 20
CELL_BYTES = 64 << 20
OUTPUT_BYTES = 48 << 20


@dataclass(frozen=True, slots=True)
class Plan:
    """What will be done, decided before the first tile.

    Attributes:
        scene: Grid of the scene: CRS, affine (six numbers), shape (rows, columns).
        area: The output's window in the scene (top, bottom, left, right).
        region: SHA-256 of the polygon of the area, or None.
        tile_px: Side of a tile, in pixels.
        overlap_px: Overlap of neighbouring tiles, in pixels.
        halo_px: Discarded border of a tile, in pixels.
        block_px: Side of a block, in pixels.
        batch_size: Tiles in one forward pass.
        threads: Threads of one forward pass.
        tta: Whether the eight flips and turns are averaged.
        bands: Names of the bands.
        classes: The class table, as rows.
        nodata: The map's value without data.
        dtype: The map's data type.
        outputs: The names of the outputs, the map first.
        blocks: Number of blocks.
        tiles: Number of tiles, those that straddle blocks counted in each.
        memory_bytes: Estimated working memory, without the libraries' own.
        disk_bytes: Estimated upper bound of what is written, working files included.
        model: Fingerprint of the model.
        inputs: SHA-256 over names, sizes and times of the input files.
        versions: Versions of the libraries that decide bits.
    """

    scene: dict[str, Any]
    area: tuple[int, int, int, int]
    region: str | None
    tile_px: int
    overlap_px: int
    halo_px: int
    block_px: int
    batch_size: int
    threads: int
    tta: bool
    bands: tuple[str, ...]
    classes: list[dict[str, Any]]
    nodata: int
    dtype: str
    outputs: tuple[str, ...]
    blocks: int
    tiles: int
    memory_bytes: int
    disk_bytes: int
    model: str
    inputs: str
    versions: dict[str, str]

    @property
    def lattice(self) -> Lattice:
        """The tiling."""
        return Lattice(self.tile_px, self.overlap_px, self.halo_px)

    @property
    def work(self) -> Window:
        """The part of the area that lies in the scene."""
        rows, columns = self.scene["shape"]
        return Window(*self.area) & Window(0, rows, 0, columns)

    def block_window(self, row: int, column: int) -> Window:
        """Return what a block covers."""
        side = self.block_px
        return Window(row * side, (row + 1) * side, column * side, (column + 1) * side) & self.work

    @property
    def run_id(self) -> str:
        """The hash of the plan: two runs with the same id write the same bytes."""
        text = json.dumps(self.to_json(), sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()

    def to_json(self) -> dict[str, Any]:
        """Return the plan for JSON."""
        return asdict(self)


def choose_lattice(model: TileModel, options: PredictOptions) -> Lattice:
    """Choose tile, overlap and halo from the options, else from the model.

    Raises:
        BadInput: When they do not fit together.
    """
    tile = options.tile_px or model.tile_px
    wanted = model.halo_px if options.halo_px is None else options.halo_px
    while options.tile_px is None and tile < 8 * wanted and tile < LARGEST_TILE_PX:
        tile *= 2  # a larger tile costs less than the overlap that a wide halo needs in a small one
    halo = min(wanted, tile // 8) if options.halo_px is None else wanted
    overlap = options.overlap_px
    if overlap is None:
        overlap = min(tile // 2, max(tile // 4, 2 * halo + tile // 16))
    elif options.halo_px is None:
        halo = min(halo, overlap // 2)
    return Lattice(tile, overlap, halo)


def make_plan(
    target: Target,
    model: TileModel,
    options: PredictOptions,
    lattice: Lattice,
    *,
    batch_size: int,
    threads: int,
    fingerprint: str,
    files: Sequence[str],
) -> Plan:
    """Decide everything. Pure, apart from the size and time of the input files."""
    nodata = class_nodata(model.classes)
    dtype = class_dtype(model.classes, nodata)
    outputs = ("classes", *options.extra_outputs())
    rows, columns = (int(n) for n in target.scene.shape)
    work = target.area & Window(0, rows, 0, columns)
    depth = _bytes_per_pixel(dtype, outputs, model.num_classes)
    block = _block_px(lattice, model, depth, options)
    blocks, tiles = lattice.totals(work, block)
    return Plan(
        scene={"crs": str(target.scene.crs), "affine": list(target.scene.affine)[:6], "shape": [rows, columns]},
        area=(target.area.top, target.area.bottom, target.area.left, target.area.right),
        region=None if target.region is None else hashlib.sha256(target.region.wkb).hexdigest(),
        tile_px=lattice.tile_px, overlap_px=lattice.overlap_px, halo_px=lattice.halo_px,
        block_px=block, batch_size=batch_size, threads=threads, tta=options.tta,
        bands=tuple(model.bands), classes=model.classes.to_json(), nodata=nodata, dtype=dtype,
        outputs=outputs, blocks=blocks, tiles=tiles,
        memory_bytes=_memory(lattice, len(model.bands), model.num_classes, min(block, work.width), depth),
        disk_bytes=target.area.pixels * depth * 2, model=fingerprint, inputs=_identity(files),
        versions={"torch": torch.__version__, "numpy": np.__version__},
    )  # fmt: skip


def _block_px(lattice: Lattice, model: TileModel, depth: int, options: PredictOptions) -> int:
    """Choose blocks of 16 strides, smaller where sums, cells or outputs would take too much memory."""
    stride = lattice.stride_px
    if options.block_px is not None:
        return stride * max(1, round(options.block_px / stride))
    strip, cells = model.num_classes * lattice.tile_px * 4, 2 * stride * (4 * len(model.bands) + 1)
    # Narrow blocks predict most of their tiles twice: beyond some classes, memory has to grow with them.
    wide = max(STRIP_BYTES // strip, LEAST_STRIDES * stride)
    side = min(wide, CELL_BYTES // cells, math.isqrt(OUTPUT_BYTES // depth))
    return stride * max(1, min(BLOCK_STRIDES, side // stride))


def _bytes_per_pixel(dtype: str, outputs: Sequence[str], num_classes: int) -> int:
    sizes = {"classes": np.dtype(dtype).itemsize, "probabilities": num_classes, "confidence": 1, "entropy": 1}
    return sum(sizes[name] for name in outputs)


def _memory(lattice: Lattice, channels: int, num_classes: int, width: int, depth: int) -> int:
    strip = lattice.tile_px * width * 4 * (num_classes + 1)
    cells = 2 * lattice.stride_px * width * (4 * channels + 1)
    return int(strip * 1.5) + cells + 3 * width * width * depth


def _identity(files: Sequence[str]) -> str:
    digest = hashlib.sha256()
    for name in files:
        digest.update(name.encode(errors="surrogateescape"))
        try:
            status = os.stat(name)
        except OSError:
            continue
        digest.update(f"|{status.st_size}|{status.st_mtime_ns}\n".encode())
    return digest.hexdigest()
