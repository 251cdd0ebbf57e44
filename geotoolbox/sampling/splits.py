"""Splits that do not leak: by blocks with a buffer, by polygons, by file and by time."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import geopandas as gpd
import numpy as np
import shapely
from shapely.geometry.base import BaseGeometry

from geotoolbox.core.query import Region, TimeInterval
from geotoolbox.datasets.base import GeoDataset
from geotoolbox.errors import BadInput, explain
from geotoolbox.indexing.geometry import crs_text
from geotoolbox.sampling.areas import project
from geotoolbox.sampling.assign import assign, block_classes
from geotoolbox.sampling.disjoint import check_disjoint, metric_crs, region_of
from geotoolbox.sampling.ground_blocks import (
    block_side_m,
    check_buffer,
    lattice_blocks,
    lattice_origin,
    pixel_m,
)
from geotoolbox.sampling.samplelist import read_frame, write_frame
from geotoolbox.sampling.views import TimeSlice

__all__ = [
    "DEFAULT_FRACTIONS",
    "Split",
    "spatial_split",
    "split_by_file",
    "split_by_polygons",
    "split_by_time",
]

Fractions = Mapping[str, float] | Sequence[float]
DEFAULT_FRACTIONS: Mapping[str, float] = {"train": 0.7, "val": 0.15, "test": 0.15}
_NAMES = ("train", "val", "test")


@dataclass(frozen=True, slots=True)
class Split:
    """A dataset in named parts that share no pixel.

    Attributes:
        datasets: The parts by name; each is a view that has data in its part only.
        regions: The area of each part (empty for a split by time alone).
        buffer_m: The least distance between two parts, in metres.
    """

    datasets: Mapping[str, GeoDataset]
    regions: Mapping[str, Region]
    buffer_m: float = 0.0

    def __getitem__(self, name: str) -> GeoDataset:
        if name not in self.datasets:
            raise BadInput(
                explain("the split has no such part", where=name, expected=", ".join(self.datasets))
            )
        return self.datasets[name]

    def _repr_html_(self) -> str:
        from geotoolbox.core.reprs import split_html

        return split_html(self)

    @property
    def train(self) -> GeoDataset:
        """The part called train."""
        return self["train"]

    @property
    def val(self) -> GeoDataset:
        """The part called val."""
        return self["val"]

    @property
    def test(self) -> GeoDataset:
        """The part called test."""
        return self["test"]

    def to_geodataframe(self) -> gpd.GeoDataFrame:
        """Return one row a connected piece: its ``part``, the ``buffer_m`` and the polygon."""
        rows, shapes = [], []
        for name, region in self.regions.items():
            for piece in shapely.get_parts(region.geometry):
                rows.append({"part": name, "buffer_m": self.buffer_m})
                shapes.append(piece)
        crs = next((r.crs for r in self.regions.values()), None)
        return gpd.GeoDataFrame(rows, columns=["part", "buffer_m"], geometry=shapes, crs=crs)

    def save(self, path: str | Path) -> None:
        """Write the areas: ``.parquet``, ``.gpkg`` or ``.geojson``."""
        if not self.regions:
            raise BadInput(explain("a split by time has no areas to save", fix="keep its intervals"))
        write_frame(self.to_geodataframe(), Path(path), "split")

    @classmethod
    def open(cls, path: str | Path, dataset: GeoDataset) -> Split:
        """Read saved areas, edited or not, and split a dataset by them; they must still keep apart."""
        frame = read_frame(Path(path))
        if "part" not in frame.columns or frame.crs is None or not len(frame):
            raise BadInput(explain("the table is no split", where=path, expected="a column 'part' and a CRS"))
        regions = {
            str(name): Region(shapely.union_all(group.geometry.to_numpy()), crs_text(frame.crs.to_wkt()))
            for name, group in frame.groupby("part", sort=False)
        }
        buffer_m = float(frame["buffer_m"].min()) if "buffer_m" in frame.columns else 0.0
        return split_by_polygons(dataset, regions, buffer_m=buffer_m)


def spatial_split(
    dataset: GeoDataset,
    fractions: Fractions = DEFAULT_FRACTIONS,
    *,
    block_size_m: float | None = None,
    block_px: int | None = None,
    buffer_m: float | None = None,
    stratify: bool = False,
    seed: int = 0,
) -> Split:
    """Split a dataset by square blocks on the ground, parts a buffer apart.

    Args:
        dataset: What to split.
        fractions: The share of the valid area of each part; a sequence is train, val and test. Shares
            that sum to less than 1 leave blocks out.
        block_size_m: Side of the blocks, in metres; by default such that there are about 100.
        block_px: The same in pixels of the first scene, instead.
        buffer_m: The least distance between pixels of two parts; by default 1/16 of a block, at least
            two pixels. A strip of this width between blocks of different parts belongs to none.
        stratify: Give each part its share of every class, as far as blocks allow. Reads the labels.
        seed: What repeats the draw of the blocks.

    Raises:
        BadInput: When there are fewer blocks than parts, or the buffer leaves nothing.
    """
    shares = _shares(fractions)
    scenes = dataset.scenes()
    crs = metric_crs(scenes)
    valid = region_of(dataset, crs)
    pixel = pixel_m(dataset, crs)
    side = block_side_m(block_size_m, block_px, valid, pixel)
    buffer = max(side / 16, 2 * pixel) if buffer_m is None else float(buffer_m)
    check_buffer(buffer, side, dataset)
    blocks = lattice_blocks(valid, side, lattice_origin(dataset, crs))
    if len(blocks) < len(shares):
        raise BadInput(
            explain(
                "the ground is too small to be split: fewer blocks than parts",
                got=f"{len(blocks)} blocks of {side:,.0f} m",
                expected=f"at least {len(shares)}",
                fix="use larger images or a larger area, or pass a smaller block_size_m",
            )
        )
    amounts = np.asarray([[b.intersection(valid).area] for b in blocks])
    if stratify:
        amounts = block_classes(dataset, blocks, crs)
    parts = assign(amounts, list(shares.values()), seed)
    regions = _regions(blocks, parts, list(shares), buffer=buffer, crs=crs, valid=valid)
    return _split(dataset, regions, buffer)


def split_by_polygons(dataset: GeoDataset, regions: Mapping[str, Region], *, buffer_m: float = 0.0) -> Split:
    """Split a dataset by given areas, which must keep apart.

    Raises:
        BadInput: When two areas share pixels or are nearer than ``buffer_m`` (R69).
        NoOverlap: When a part has no data.
    """
    for one, two in itertools.combinations(regions, 2):
        check_disjoint(regions[one], regions[two], buffer_m, names=(one, two))
    return _split(dataset, regions, buffer_m)


def split_by_time(dataset: GeoDataset, times: Mapping[str, TimeInterval]) -> Split:
    """Split a dataset by intervals of time, which must not overlap.

    Raises:
        BadInput: When two intervals share a moment.
        NoOverlap: When a part has no scene, or a scene reaches into two parts.
    """
    for one, two in itertools.combinations(times, 2):
        if times[one].overlaps(times[two]):
            raise BadInput(
                explain("two parts share a time", where=f"{one} and {two}", got=f"{times[one]}, {times[two]}")
            )
    for scene in dataset.scenes():
        both = [n for n, t in times.items() if scene.time.overlaps(t)]
        if len(both) > 1:
            raise BadInput(
                explain(
                    "a scene is of the time of two parts, which would share its pixels",
                    where=scene.name,
                    got=f"{scene.time.start} … {scene.time.end}, in {' and '.join(both)}",
                    fix="give the files dates, or choose intervals between them",
                )
            )
    return Split({n: TimeSlice(dataset, t) for n, t in times.items()}, {})


def split_by_file(
    dataset: GeoDataset,
    fractions: Fractions = DEFAULT_FRACTIONS,
    *,
    buffer_m: float = 0.0,
    stratify: bool = False,
    seed: int = 0,
) -> Split:
    """Split a dataset by whole scenes; scenes that overlap go to one part together.

    Args:
        dataset: What to split.
        fractions: The share of the valid area of each part.
        buffer_m: The least distance between parts: strips nearer to another part are left out.
        stratify: Give each part its share of every class, as far as scenes allow.
        seed: What repeats the draw.

    Raises:
        BadInput: When there are fewer groups of scenes than parts.
    """
    shares = _shares(fractions)
    scenes = dataset.scenes()
    crs = metric_crs(scenes)
    shapes = [project(s.footprint, s.geobox.crs, crs) for s in scenes]
    groups = _groups(shapes, 0.5 * pixel_m(dataset, crs))
    if len(groups) < len(shares):
        raise BadInput(
            explain(
                "fewer separate scenes than parts",
                got=f"{len(groups)} groups of {len(scenes)} scenes (those that overlap go together)",
                expected=f"at least {len(shares)}",
                fix="use spatial_split",
            )
        )
    amounts = np.asarray([[g.area] for g in groups])
    if stratify:
        amounts = block_classes(dataset, groups, crs)
    parts = assign(amounts, list(shares.values()), seed)
    regions = _regions(groups, parts, list(shares), buffer=buffer_m, crs=crs, valid=None)
    return _split(dataset, regions, buffer_m)


def _split(dataset: GeoDataset, regions: Mapping[str, Region], buffer_m: float) -> Split:
    return Split({n: dataset.within(r) for n, r in regions.items()}, dict(regions), buffer_m)


def _shares(fractions: Fractions) -> dict[str, float]:
    if isinstance(fractions, Mapping):
        found = {str(n): float(f) for n, f in fractions.items()}
    else:
        if len(fractions) > len(_NAMES):
            raise BadInput(explain("too many parts without names", where="fractions", fix="pass a dict"))
        found = {n: float(f) for n, f in zip(_NAMES, fractions, strict=False)}
    if not found or any(not f > 0 for f in found.values()) or sum(found.values()) > 1 + 1e-9:
        raise BadInput(
            explain("fractions are no shares", where="fractions", got=found, expected="each > 0, sum ≤ 1")
        )
    return found


def _regions(
    blocks: Sequence[BaseGeometry],
    parts: Sequence[int],
    names: Sequence[str],
    *,
    buffer: float,
    crs: str,
    valid: BaseGeometry | None,
) -> dict[str, Region]:
    """Return each part's blocks less a strip of half the buffer along other parts' blocks."""
    whole = [
        shapely.union_all([b for b, p in zip(blocks, parts, strict=True) if p == n])
        for n in range(len(names))
    ]
    out = {}
    for number, name in enumerate(names):
        others = shapely.union_all([w for i, w in enumerate(whole) if i != number])
        kept = whole[number]
        if buffer > 0 and not others.is_empty:
            # A chord of a rounded corner is a little inside the arc: a hair more keeps the distance.
            kept = kept.difference(others.buffer(buffer / 2 * 1.002, quad_segs=32))
        if kept.is_empty or (valid is not None and kept.intersection(valid).area == 0):
            raise BadInput(
                explain(
                    "the buffer leaves nothing of a part",
                    where=name,
                    fix="pass a smaller buffer or larger blocks",
                )
            )
        out[name] = Region(kept, crs)
    return out


def _groups(shapes: Sequence[BaseGeometry], sliver: float) -> list[BaseGeometry]:
    """Join shapes that overlap by more than a sliver."""
    slim = [s.buffer(-sliver) for s in shapes]
    root = list(range(len(shapes)))

    def find(i: int) -> int:
        while root[i] != i:
            root[i] = root[root[i]]
            i = root[i]
        return i

    for i, j in shapely.STRtree(slim).query(slim, predicate="intersects").T:
        root[find(int(i))] = find(int(j))
    members: dict[int, list[BaseGeometry]] = {}
    for i, shape in enumerate(shapes):
        members.setdefault(find(i), []).append(shape)
    return [shapely.union_all(m) for m in members.values()]
