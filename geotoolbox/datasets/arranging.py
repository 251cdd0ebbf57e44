"""How the files of a dataset go together: images or labels, which bands, and what is read in one go."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from geotoolbox.datasets.groups import FileGroup, data_bands, group_files
from geotoolbox.datasets.labels import ClassesLike, looks_like_labels
from geotoolbox.datasets.policy import Mixed, check_same, select_bands
from geotoolbox.datasets.unit_table import UnitTable, likeness, none_together, typical
from geotoolbox.datasets.units import Unit, make_units
from geotoolbox.errors import BadInput, MixedSources, explain
from geotoolbox.indexing import FileIndex
from geotoolbox.indexing.records import FileRecord
from geotoolbox.indexing.table import RecordTable

__all__ = ["Arrangement", "arrange"]

Matches = dict[str, re.Match[str]]


@dataclass(frozen=True, slots=True)
class Arrangement:
    """What the files are together.

    Attributes:
        kind: ``image`` or ``labels``.
        groups: The groups of files; of many files that are a group each, those of a few of each kind.
        records: The files.
        judged: The files that were looked at: a few of each kind, or all.
        alike: (n,) which kind a file is of, where only a few were looked at.
        rows: Which files those were.
    """

    kind: Literal["image", "labels"]
    groups: tuple[FileGroup, ...]
    records: Sequence[FileRecord]
    judged: Sequence[FileRecord]
    alike: NDArray[np.int64] | None = None
    rows: NDArray[np.int64] | None = None

    def units(self, nodata: float | None, *, allow_vrt: bool, allow_remote: bool) -> Sequence[Unit]:
        """Return what is read in one go; arguments as for :class:`RasterDataset`."""
        found = make_units(
            self.groups, nodata, categorical=self.kind == "labels", allow_vrt=allow_vrt,
            allow_remote=allow_remote, warn=self.alike is None,
        )  # fmt: skip
        if self.alike is None or self.rows is None or not isinstance(self.records, RecordTable):
            return found
        examples = {int(self.alike[row]): unit for row, unit in zip(self.rows, found, strict=True)}
        table = UnitTable(self.records, self.alike, examples)
        table.warn()
        return table


def arrange(
    index: FileIndex,
    matches: Matches | None,
    *,
    kind: str,
    classes: ClassesLike | None,
    bands: Sequence[str] | None,
    mixed: Mixed,
    scaled: bool,
) -> Arrangement:
    """Find out what the files are together; arguments and errors as for :class:`RasterDataset`.

    Files of an index that was kept are judged by a few of each kind, which costs the same for ten files as
    for a hundred thousand.
    """
    records = index.records
    if not isinstance(records, RecordTable) or _tell_bands(matches):
        return _all(records, matches, _kind(kind, records, classes), bands=bands, mixed=mixed, scaled=scaled)
    alike = likeness(records)
    rows = typical(alike)
    few = tuple(records[int(row)] for row in rows)
    found = _kind(kind, few, classes, records)
    single = np.zeros(int(alike.max(initial=0)) + 1, dtype=bool)
    single[alike[rows]] = [len(data_bands(record)) == 1 for record in few]
    if found == "image" and not none_together(records, single[alike]):
        return _all(records, matches, found, bands=bands, mixed=mixed, scaled=scaled)
    try:
        some = _all(few, None, found, bands=bands, mixed=mixed, scaled=scaled)
    except MixedSources:  # the message shall name all files
        return _all(records, matches, found, bands=bands, mixed=mixed, scaled=scaled)
    return Arrangement(found, some.groups, records, few, alike, rows)


def _tell_bands(matches: Matches | None) -> bool:
    return matches is not None and any("band" in m.groupdict() for m in matches.values())


def _all(
    records: Sequence[FileRecord],
    matches: Matches | None,
    kind: Literal["image", "labels"],
    *,
    bands: Sequence[str] | None,
    mixed: Mixed,
    scaled: bool,
) -> Arrangement:
    groups = select_bands(group_files(records, matches, stack=kind == "image"), bands)
    check_same(groups, mixed=mixed, scaled=scaled)
    return Arrangement(kind, groups, records, records)


def _kind(
    asked: str,
    records: Sequence[FileRecord],
    classes: ClassesLike | None,
    everything: Sequence[FileRecord] | None = None,
) -> Literal["image", "labels"]:
    if asked in ("image", "labels"):
        return "labels" if asked == "labels" else "image"
    if asked != "auto":
        raise BadInput(explain("unknown kind", got=repr(asked), expected="auto, image or labels"))
    if classes is not None:
        return "labels"
    found = [looks_like_labels(r.header) for r in records]
    if any(found) and not all(found):
        labels = [r.path for r in everything or records if looks_like_labels(r.header)]
        raise BadInput(
            explain(
                "some files look like labels (a palette or class names), some like images",
                where=", ".join(labels[:10]),
                fix="make one dataset of each and join them with &, or pass kind='image'",
            )
        )
    return "labels" if all(found) else "image"
