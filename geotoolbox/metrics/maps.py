"""A map compared with a reference, block by block, on the map's own grid."""

from __future__ import annotations

import logging
import math
from collections.abc import Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from numpy.typing import NDArray

from geotoolbox.core.classes import ClassTable
from geotoolbox.core.events import SILENT, Reporter, Stage
from geotoolbox.core.query import Region, Scene
from geotoolbox.errors import BadInput, BadLabels, NoOverlap, explain
from geotoolbox.metrics.agreement import Disagreement, disagreement
from geotoolbox.metrics.blocks import BlockConfusion, BlockCounts
from geotoolbox.metrics.confusion import ConfusionMatrix
from geotoolbox.metrics.counting import CountPlan, WindowCounts, count_window
from geotoolbox.metrics.error_raster import write_error_raster
from geotoolbox.metrics.matching import ClassMatch, match_classes
from geotoolbox.metrics.pairs import LabelLayer, PairReader, open_pair
from geotoolbox.metrics.pictures import Overview, Picture
from geotoolbox.metrics.scores import Scores, compute_scores
from geotoolbox.metrics.summing import SceneSums
from geotoolbox.prediction.lattice import Window

__all__ = [
    "BlockCounts",
    "LabelLayer",
    "MapComparison",
    "Overview",
    "RegionComparison",
    "compare_maps",
    "match_classes",
]

_LOG = logging.getLogger(__name__)
_WINDOW_PX = 2048
_STRIP_PX = 8_000_000
_CACHE_BYTES = 64 << 20


@dataclass(frozen=True, slots=True)
class RegionComparison:
    """The comparison inside one named region.

    Attributes:
        name: The region's name.
        confusion: Its counts.
        blocks: The counts of each block that reaches into it.
    """

    name: str
    confusion: ConfusionMatrix
    blocks: BlockConfusion

    @property
    def scores(self) -> Scores:
        """The scores of the region's pixels."""
        return compute_scores(self.confusion.counts, self.blocks.classes.names)


@dataclass(frozen=True, slots=True)
class MapComparison:
    """What :func:`compare_maps` found.

    Attributes:
        confusion: Counts of all blocks; also how many pixels had no label, or no map.
        match: How the classes of both layers were brought together.
        patches: Counts of each block with at least one compared pixel, sparse.
        overviews: A small picture of each scene.
        confusion_m2: (K, K) true ground area of each cell, in m²; NaN without a CRS.
        block_px: The side of the blocks.
        geographic: Whether the map's grid is in degrees, so that its pixels differ in area.
        outside_region: Mapped pixels outside the region.
        regions: The comparison of each named region.
        notes: What a reader must know, in sentences.
    """

    confusion: ConfusionMatrix
    match: ClassMatch
    patches: BlockConfusion
    overviews: tuple[Overview, ...]
    confusion_m2: NDArray[np.float64]
    block_px: int
    geographic: bool = False
    outside_region: int = 0
    regions: tuple[RegionComparison, ...] = ()
    notes: tuple[str, ...] = field(default=())

    @property
    def classes(self) -> ClassTable:
        """The classes of both layers."""
        return self.match.classes

    @property
    def blocks(self) -> tuple[BlockCounts, ...]:
        """Each block with its dense matrix; for very many blocks, ``patches`` is smaller."""
        return tuple(self.patches.block(n) for n in range(len(self.patches)))

    @property
    def compared_area_m2(self) -> float:
        """The true ground area of the compared pixels."""
        return float(self.confusion_m2.sum())

    @property
    def scores(self) -> Scores:
        """The scores of all compared pixels, each counting the same."""
        return compute_scores(self.confusion.counts, self.classes.names)

    @property
    def area_scores(self) -> Scores:
        """The scores with each pixel weighted by its true area; support and pixels are in m²."""
        known = np.nan_to_num(self.confusion_m2)
        return compute_scores(known, self.classes.names)

    @property
    def disagreement(self) -> Disagreement:
        """The disagreement in quantity and in place, by true area where that is known, else by pixels."""
        by_area = not math.isnan(self.compared_area_m2)
        return disagreement(self.confusion_m2 if by_area else self.confusion.counts)

    def to_json(self) -> dict[str, Any]:
        """Return plain data for a metrics file; see docs/evaluation.md."""
        scores = self.scores.to_json()
        infos = zip(self.classes, self.classes.colors, strict=True)
        scores["classes"] = [
            {"value": info.value, **row, "color": list(color)}
            for row, (info, color) in zip(scores["classes"], infos, strict=True)
        ]
        return {
            **scores,
            "quantity_disagreement": _plain(self.disagreement.quantity),
            "allocation_disagreement": _plain(self.disagreement.allocation),
            "confusion": self.confusion.counts.tolist(),
            "confusion_rows": "reference",
            "class_table": self.classes.to_json(),
            "classes_matched_by": self.match.how,
            "unlabelled_pixels": self.confusion.unlabelled,
            "unmapped_pixels": self.confusion.unmapped,
            "compared_area_m2": None if math.isnan(self.compared_area_m2) else self.compared_area_m2,
            "area_weighted": self._by_area(),
            "notes": list(self.notes),
        }

    def _by_area(self) -> dict[str, Any] | None:
        if math.isnan(self.compared_area_m2):
            return None
        scores = self.area_scores.to_json()
        scores["area_m2"] = scores.pop("pixels")
        return {**scores, "confusion_m2": self.confusion_m2.tolist()}


def compare_maps(
    map_layer: LabelLayer,
    reference: LabelLayer,
    *,
    region: Region | None = None,
    regions: Mapping[str, Region] | None = None,
    errors: Path | None = None,
    block_px: int = 256,
    overview_px: int = 640,
    threads: int = 2,
    reporter: Reporter = SILENT,
) -> MapComparison:
    """Compare a map with a reference layer, pixel by pixel on the map's grid, in bounded memory.

    Args:
        map_layer: The map, a dataset of labels.
        reference: The truth: any dataset with labels, on any grid.
        region: Compare only pixels whose centre is inside; everywhere when None.
        regions: Named areas to score one by one as well; they may overlap.
        errors: Where to write, for each pixel, what was taken for what; for a map of one scene.
        block_px: The side of the blocks that are scored one by one.
        overview_px: The longest side of the pictures kept for a report.
        threads: How many windows are read and counted at a time.
        reporter: Who hears of the progress, and can cancel.

    Returns:
        Counts, per-block counts and small pictures; the same for any number of threads.

    Raises:
        BadLabels: When a layer has no classes, or they have none in common.
        NoOverlap: When not one pixel has both a map class and a reference class.
    """
    if block_px < 1 or overview_px < 1 or threads < 1:
        raise BadInput(
            explain("sizes must be positive", got=(block_px, overview_px, threads), expected="1 or more")
        )
    match = match_classes(_classes(map_layer, "the map"), _classes(reference, "the reference"))
    reader, scenes = open_pair(map_layer, reference, match), map_layer.scenes()
    if errors is not None and len(scenes) != 1:
        raise BadInput(
            explain("an error raster is of one map", got=f"{len(scenes)} scenes", fix="one by one")
        )
    sums = SceneSums(match.classes, tuple(scenes), tuple(regions or ()))
    pictures = [Picture(scene, overview_px) for scene in scenes]
    plans = [
        CountPlan(reader, s.geobox, block_px, region, regions or {}, p.step, errors is not None)
        for s, p in zip(scenes, pictures, strict=True)
    ]
    stream = _stream(plans, sums, pictures, threads, reporter)
    with rasterio.Env(GDAL_CACHEMAX=_CACHE_BYTES):  # each block of a file is needed once
        if errors is not None:
            coded = ((w.window, w.codes) for w in stream if w.codes is not None)
            write_error_raster(Path(errors), coded, scenes[0].geobox, match.classes)
        else:
            for _ in stream:
                pass
    return _finish(sums, match, pictures, block_px, region)


def _stream(
    plans: list[CountPlan], sums: SceneSums, pictures: list[Picture], threads: int, reporter: Reporter
) -> Iterator[WindowCounts]:
    """Count window by window, a few at a time, and add them up in order."""
    tasks = [(i, window) for i, plan in enumerate(plans) for window in _windows(plan)]
    stage = Stage(reporter, "compare", total=max(len(tasks), 1))
    with ThreadPoolExecutor(threads) as pool:
        waiting: list[tuple[int, Future[WindowCounts]]] = []
        try:
            for number in range(len(tasks) + threads):
                if number < len(tasks):
                    scene, window = tasks[number]
                    waiting.append((scene, pool.submit(count_window, plans[scene], window)))
                if number >= threads and waiting:
                    scene, future = waiting.pop(0)
                    found = future.result()
                    sums.add(scene, found)
                    place = (found.window.top, found.window.left)
                    pictures[scene].add(*place, found.truth, found.predicted, len(sums.classes))
                    yield found
                    stage.advance()
        finally:
            for _, future in waiting:
                future.cancel()


def _windows(plan: CountPlan) -> Iterator[Window]:
    """Cut a scene into windows of whole blocks that suit how its files are stored."""
    height, width = (int(n) for n in plan.geobox.shape)
    side = plan.block_px
    rows = columns = side * max(1, _WINDOW_PX // side)
    if _in_strips(plan.reader, width) and width * side <= _STRIP_PX:
        rows, columns = side * max(1, _WINDOW_PX * _WINDOW_PX // (width * side)), width
    for top in range(0, height, rows):
        for left in range(0, width, columns):
            yield Window(top, min(top + rows, height), left, min(left + columns, width))


def _in_strips(reader: PairReader, width: int) -> bool:
    block = reader.file_block_px
    return block is not None and block[1] >= min(width, _WINDOW_PX + 1)


def _classes(layer: LabelLayer, what: str) -> ClassTable:
    if layer.classes is None or not len(layer.classes):
        raise BadLabels(
            explain(
                f"{what} has no classes", expected="a layer of labels", fix="pass kind='labels' or classes=…"
            )
        )
    return layer.classes


def _finish(
    sums: SceneSums, match: ClassMatch, pictures: list[Picture], block_px: int, region: Region | None
) -> MapComparison:
    total = sums.confusion()
    if not total.pixels:
        raise NoOverlap(_nothing_compared(total, region))
    found = MapComparison(
        confusion=total,
        match=match,
        patches=sums.blocks(),
        overviews=tuple(p.finish() for p in pictures if p.used),
        confusion_m2=sums.area_m2(),
        block_px=block_px,
        geographic=any(_geographic(p.scene) for p in pictures),
        outside_region=sums.outside,
        regions=tuple(
            RegionComparison(name, sums.confusion(name), sums.blocks(name)) for name in sums.region_names
        ),
        notes=_notes(sums, total, match),
    )
    return replace(found, notes=(*found.notes, *_degrees_note(found)))


def _plain(value: float) -> float | None:
    return None if math.isnan(value) else value


def _degrees_note(found: MapComparison) -> tuple[str, ...]:
    if not found.geographic:
        return ()
    by_area, by_pixel = found.area_scores.overall_accuracy, found.scores.overall_accuracy
    return (
        "The map's grid is in degrees, so its pixels differ in area: "
        f"by true area the overall accuracy is {by_area:.4f}, by pixels {by_pixel:.4f}.",
    )


def _geographic(scene: Scene) -> bool:
    return scene.geobox.crs is not None and bool(scene.geobox.crs.geographic)


def _nothing_compared(total: ConfusionMatrix, region: Region | None) -> str:
    return explain(
        "map and reference have no pixel to compare" + (" inside the area" if region is not None else ""),
        got=f"{total.unlabelled:,} mapped pixels without a label, {total.unmapped:,} labels without a map",
        expected="pixels that have both",
        fix="check that both cover the same place (geotoolbox inspect shows their extents)",
    )


def _notes(sums: SceneSums, total: ConfusionMatrix, match: ClassMatch) -> tuple[str, ...]:
    notes = []
    if match.map_only:
        notes.append(f"Only the map has: {', '.join(match.map_only)}.")
    if match.reference_only:
        notes.append(
            f"Only the reference has: {', '.join(match.reference_only)}. All its pixels are counted as errors."
        )
    if total.unmapped:
        notes.append(
            f"{total.unmapped:,} reference pixels have no map class (nodata) and are not in the scores."
        )
    for what, strange in (("reference", sums.strange_truth), ("map", sums.strange_map)):
        if strange:
            notes.append(
                f"{strange:,} pixels of the {what} hold values that are in no class table, "
                "and are not in the scores."
            )
    for name in sums.region_names:
        if not sums.confusion(name).pixels:
            notes.append(f"The region {name!r} has no pixel to compare.")
    for note in notes:
        _LOG.warning(note)
    return tuple(notes)
