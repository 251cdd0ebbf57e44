"""Class probabilities of a whole map against the reference: curves and calibration, window by window."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from numpy.typing import NDArray
from rasterio.windows import Window as RasterWindow

from geotoolbox.core.classes import ClassTable
from geotoolbox.core.events import SILENT, Reporter, Stage
from geotoolbox.core.opening import open_raster
from geotoolbox.core.query import Region, Scene
from geotoolbox.errors import BadInput, explain
from geotoolbox.indexing.geometry import same_crs
from geotoolbox.metrics.calibration import LEAST_PROBABILITY, Calibration, CalibrationCounts
from geotoolbox.metrics.curves import Curves, ScoreCounts
from geotoolbox.metrics.matching import ClassMatch
from geotoolbox.metrics.pairs import LabelLayer, PairReader, open_pair
from geotoolbox.metrics.shapes import read_codes
from geotoolbox.prediction.lattice import Window

__all__ = ["Certainty", "compare_probabilities"]

_WINDOW_PX = 1024
_SAMPLE_PX = 100_000
_PER_WINDOW_PX = 4_000


@dataclass(frozen=True, slots=True, eq=False)
class Certainty:
    """What :func:`compare_probabilities` found.

    Attributes:
        curves: ROC and precision-recall of each class.
        calibration: Cross-entropy, Brier score, calibration errors and the reliability diagram.
        log_probabilities: (n, K) logarithms of a sample of pixels, as logits to fit a temperature to.
        truth: (n,) their classes.
    """

    curves: Curves
    calibration: Calibration
    log_probabilities: NDArray[np.float64]
    truth: NDArray[np.int64]


def compare_probabilities(
    path: str | Path,
    map_layer: LabelLayer,
    reference: LabelLayer,
    match: ClassMatch,
    *,
    region: Region | None = None,
    bins: int = 15,
    seed: int = 0,
    allow_vrt: bool = False,
    reporter: Reporter = SILENT,
) -> Certainty:
    """Compare a raster of class probabilities with the reference, in bounded memory.

    Pixels count where there is a probability of every class, a map class and a reference class.

    Args:
        path: One band a class, with the classes' names or in the order of the map's classes, on the map's grid.
        map_layer: The map that was made from them.
        reference: The truth.
        match: How their classes go together (a comparison has it).
        region: Count only pixels whose centre is inside.
        bins: Bins of the reliability diagram.
        seed: What repeats the sample of pixels.
        allow_vrt: Whether the file may be a VRT.
        reporter: Hears of the progress, and can cancel.

    Raises:
        BadInput: When the raster is on another grid, or its bands are not the classes.
    """
    (scene,) = _one(map_layer.scenes())
    reader, k = open_pair(map_layer, reference, match), len(match.classes)
    rng, kept = np.random.default_rng(seed), []
    with open_raster(str(path), allow_vrt=allow_vrt) as raster:
        _check_grid(raster, scene, path)
        order, least = _band_order(raster, match, path), _least(raster)
        scores, counts = ScoreCounts(k), CalibrationCounts(k, bins, least)
        windows = list(_windows(scene))
        stage = Stage(reporter, "certainty", len(windows))
        for window in windows:
            p, truth = _read(raster, reader, scene, window, order=order, region=region)
            scores.update(p, truth)
            counts.update(p, truth)
            chosen = rng.permutation(len(truth))[:_PER_WINDOW_PX]
            kept.append((np.log(np.maximum(p[:, chosen].T, least)), truth[chosen]))
            stage.advance()
    logs, classes = (np.concatenate(part) for part in zip(*kept, strict=True))
    some = rng.permutation(len(classes))[:_SAMPLE_PX]
    return Certainty(scores.curves(match.classes.names), counts.result(), logs[some], classes[some])


def _one(scenes: Sequence[Scene]) -> Sequence[Scene]:
    if len(scenes) != 1:
        raise BadInput(
            explain("probabilities belong to one map", got=f"{len(scenes)} scenes", fix="one by one")
        )
    return scenes


def _check_grid(raster: rasterio.DatasetReader, scene: Scene, path: str | Path) -> None:
    grid = scene.geobox
    same = raster.shape == tuple(grid.shape) and raster.transform.almost_equals(grid.affine, precision=1e-6)
    if not same or raster.crs is None or not same_crs(raster.crs.to_wkt(), grid.crs):
        raise BadInput(
            explain(
                "the probabilities are on another grid than the map",
                where=path,
                got=f"{raster.width} × {raster.height} px, {raster.crs}",
                expected=f"{grid.shape[1]} × {grid.shape[0]} px, {grid.crs}",
                fix="use the probabilities that were written with this map",
            )
        )


def _band_order(raster: rasterio.DatasetReader, match: ClassMatch, path: str | Path) -> list[int | None]:
    """Return the band (from 1) of each shared class; None for classes that only the reference has."""
    names = [str(d or "").strip().casefold() for d in raster.descriptions]
    table: ClassTable = match.classes
    mapped = len(match.map_lookup)
    found = [
        names.index(n.strip().casefold()) + 1 if n.strip().casefold() in names else None for n in table.names
    ]
    if all(b is not None for b in found[:mapped]):
        return found
    if raster.count == mapped:
        return [*range(1, mapped + 1), *([None] * (len(table) - mapped))]
    raise BadInput(
        explain(
            "the bands are not the map's classes",
            where=path,
            got=f"{raster.count} bands: {', '.join(n or '(no name)' for n in names)}",
            expected=", ".join(table.names[:mapped]),
            fix="use the probabilities that were written with this map",
        )
    )


def _least(raster: rasterio.DatasetReader) -> float:
    """Return half of the smallest step that the file can store."""
    whole = np.issubdtype(np.dtype(raster.dtypes[0]), np.integer)
    return abs(float(raster.scales[0])) / 2 if whole else LEAST_PROBABILITY


def _windows(scene: Scene) -> Iterator[Window]:
    height, width = (int(n) for n in scene.geobox.shape)
    for top in range(0, height, _WINDOW_PX):
        for left in range(0, width, _WINDOW_PX):
            yield Window(top, min(top + _WINDOW_PX, height), left, min(left + _WINDOW_PX, width))


def _read(
    raster: rasterio.DatasetReader,
    reader: PairReader,
    scene: Scene,
    window: Window,
    *,
    order: Sequence[int | None],
    region: Region | None,
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Return (K, n) probabilities and (n,) classes of the pixels that count."""
    k = reader.num_classes
    geobox = scene.geobox[window.top : window.bottom, window.left : window.right]
    truth, predicted = read_codes(reader, geobox, region)
    bands = [b for b in order if b is not None]
    place = RasterWindow(window.left, window.top, window.width, window.height)
    raw: NDArray[Any] = raster.read(bands, window=place)
    known = (truth < k) & (predicted < k) & (raster.read_masks(bands, window=place) > 0).all(axis=0)
    known &= np.isfinite(raw).all(axis=0)
    scale, offset = float(raster.scales[0]), float(raster.offsets[0])
    p = np.zeros((k, int(known.sum())), dtype=np.float32)
    p[[i for i, b in enumerate(order) if b is not None]] = raw[:, known] * scale + offset
    return p, truth[known].astype(np.int64)
