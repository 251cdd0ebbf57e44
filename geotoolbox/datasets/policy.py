"""Strict by default: files that differ are handled exactly, or refused with a list and the fix."""

from __future__ import annotations

import logging
from collections.abc import Callable, Hashable, Sequence
from typing import Literal

from geotoolbox.datasets.groups import Channel, FileGroup
from geotoolbox.errors import BandMismatch, MixedSources, explain
from geotoolbox.indexing.geometry import crs_name

__all__ = ["Mixed", "check_same", "select_bands"]

_logger = logging.getLogger(__name__)

Mixed = Literal["strict", "error", "native"]
"""``error``: files in different CRSs keep their own grids, any other difference is refused. ``native``: also
files of different resolution keep their own grids. ``strict``: different CRSs are refused too."""

_LISTED = 12


def select_bands(groups: Sequence[FileGroup], bands: Sequence[str] | None) -> tuple[FileGroup, ...]:
    """Bring all groups to the same bands in the same order.

    Args:
        groups: Groups of files.
        bands: Names that the files have (case does not matter; ``"1"`` is the first band) select and order;
            names that none of them has, as many as there are bands, rename.

    Raises:
        MixedSources: When groups differ in number, names or order of bands.
        BandMismatch: When a band asked for is not there.
    """
    if bands is not None:
        return tuple(_chosen(group, tuple(bands)) for group in groups)
    first = groups[0]
    for group in groups[1:]:
        if set(group.names) == set(first.names) and len(group.names) == len(first.names):
            continue
        raise _mixed(
            "number or names of bands",
            groups,
            lambda g: (len(g.names), g.names),
            lambda g: f"{len(g.names)} bands: {', '.join(g.names)}",
            "pass bands=[…] with the names that all files have, or leave the others out",
        )
    return tuple(_ordered(group, first.names) for group in groups)


def _ordered(group: FileGroup, names: Sequence[str]) -> FileGroup:
    if group.names == tuple(names):
        return group
    by_name = {c.name: c for c in group.channels}
    return FileGroup(tuple(by_name[n] for n in names), group.time, group.named)


def _chosen(group: FileGroup, bands: tuple[str, ...]) -> FileGroup:
    known = {c.name.lower(): c for c in group.channels}
    for position, channel in enumerate(group.channels, start=1):
        known.setdefault(str(position), channel)
        known.setdefault(f"band_{position}", channel)
    wanted = [known.get(b.lower()) for b in bands]
    if all(c is not None for c in wanted):
        return FileGroup(tuple(c for c in wanted if c is not None), group.time, True)
    if all(c is None for c in wanted) and len(bands) == len(group.channels):
        renamed = (Channel(c.record, c.number, b) for c, b in zip(group.channels, bands, strict=True))
        return FileGroup(tuple(renamed), group.time, True)
    missing = [b for b, c in zip(bands, wanted, strict=True) if c is None]
    raise BandMismatch(
        explain(
            "a band that was asked for is not there",
            where=", ".join(group.paths[:4]),
            got=f"bands {', '.join(group.names)}",
            expected=", ".join(missing),
            fix="choose among these names, or give as many new names as there are bands",
        )
    )


def check_same(groups: Sequence[FileGroup], *, mixed: Mixed, scaled: bool) -> None:
    """Refuse files that differ in data type, scale, offset or (unless ``mixed`` allows) resolution.

    Raises:
        MixedSources: With the files, and what to do.
    """
    _check(
        groups, "data type", lambda g: tuple(c.dtype for c in g.channels),
        "write them with one type (gdal_translate -ot Float32 in.tif out.tif), or make one dataset of each",
    )  # fmt: skip
    if not scaled:
        _check(
            groups, "scale and offset", _scales,
            "pass scaled=True (each file's own scale and offset are applied), or make one dataset of each",
        )  # fmt: skip
    if mixed != "native":
        _check(
            groups, "resolution", _resolution,
            "pass mixed='native' (each file keeps its own grid), or make one dataset of each and join them with &",
        )  # fmt: skip
    crs = {c.record.header.crs for g in groups for c in g.channels}
    if len(crs) > 1 and mixed == "strict":
        _check(
            groups, "CRS", lambda g: tuple(sorted({crs_name(c.record.header.crs) for c in g.channels})),
            "pass mixed='error' (each file keeps its own CRS and grid), or warp them (gdalwarp -t_srs EPSG:…)",
        )  # fmt: skip
    elif len(crs) > 1:
        _logger.info("files in %d CRSs: each keeps its own grid, nothing is warped to a common one", len(crs))


def _scales(group: FileGroup) -> Hashable:
    return tuple(
        (c.record.header.scales[c.number - 1], c.record.header.offsets[c.number - 1]) for c in group.channels
    )


def _resolution(group: FileGroup) -> Hashable:
    sizes = []
    for channel in group.channels:
        transform = channel.record.header.transform
        x, y = (transform.a**2 + transform.d**2) ** 0.5, (transform.b**2 + transform.e**2) ** 0.5
        sizes.append((float(f"{x:.6g}"), float(f"{y:.6g}")))
    return tuple(sizes)


def _check(groups: Sequence[FileGroup], what: str, value: Callable[[FileGroup], Hashable], fix: str) -> None:
    if len({value(g) for g in groups}) > 1:
        raise _mixed(what, groups, value, lambda g: _short(value(g)), fix)


def _short(value: Hashable) -> str:
    parts = value if isinstance(value, tuple) else (value,)
    return ", ".join(str(p) for p in dict.fromkeys(parts))


def _mixed(
    what: str,
    groups: Sequence[FileGroup],
    value: Callable[[FileGroup], Hashable],
    words: Callable[[FileGroup], str],
    fix: str,
) -> MixedSources:
    kinds: dict[Hashable, list[FileGroup]] = {}
    for group in groups:
        kinds.setdefault(value(group), []).append(group)
    lists = []
    for members in kinds.values():
        paths = [p for g in members for p in g.paths]
        more = f" and {len(paths) - _LISTED} more" if len(paths) > _LISTED else ""
        lists.append(f"[{words(members[0])}] {', '.join(paths[:_LISTED])}{more}")
    return MixedSources(
        explain(
            f"files of one dataset differ in {what}", where="; ".join(lists), expected=f"one {what}", fix=fix
        )
    )
