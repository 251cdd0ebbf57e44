"""From files to groups: what together gives all bands of one place at one time.

A group is one file with all bands, or several single-band files on one grid (one file a band).
"""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass

from geotoolbox.core.query import TimeInterval
from geotoolbox.errors import BadInput, MixedSources, explain
from geotoolbox.indexing.records import FileRecord

__all__ = ["Channel", "FileGroup", "data_bands", "group_files", "match_names"]

_logger = logging.getLogger(__name__)
_COLOURS = {"red", "green", "blue", "nir", "swir", "rededge", "coastal", "pan", "undefined", "gray"}


@dataclass(frozen=True, slots=True)
class Channel:
    """One band of one file, and its name."""

    record: FileRecord
    number: int
    name: str

    @property
    def dtype(self) -> str:
        """The numpy type of the band."""
        return self.record.header.dtypes[self.number - 1]


@dataclass(frozen=True, slots=True)
class FileGroup:
    """All bands of one place at one time.

    Attributes:
        channels: The bands, in order.
        time: When it is from.
        named: Whether the names come from the files themselves (else they were made up from the position).
    """

    channels: tuple[Channel, ...]
    time: TimeInterval
    named: bool

    @property
    def names(self) -> tuple[str, ...]:
        """The band names, in order."""
        return tuple(c.name for c in self.channels)

    @property
    def paths(self) -> tuple[str, ...]:
        """The files, each once."""
        return tuple(dict.fromkeys(c.record.path for c in self.channels))


def match_names(paths: Sequence[str], pattern: str | None) -> dict[str, re.Match[str]] | None:
    """Match file names with a pattern (``re.VERBOSE``, as TorchGeo has it); what does not match is left out.

    Returns:
        The match of each path that fits; None without a pattern.

    Raises:
        BadInput: When the pattern is wrong or fits no file.
    """
    if pattern is None:
        return None
    try:
        compiled = re.compile(pattern, re.VERBOSE)
    except re.error as error:
        raise BadInput(explain("filename_regex is no pattern", where=pattern, got=str(error))) from error
    found = {p: m for p in paths if (m := compiled.match(os.path.basename(p)))}
    if not found:
        raise BadInput(
            explain(
                "no file name fits filename_regex",
                where=pattern,
                got=f"{len(paths)} files such as {os.path.basename(paths[0])!r}",
                fix="try the pattern on this name",
            )
        )
    if len(found) < len(paths):
        left = next(p for p in paths if p not in found)
        _logger.warning(
            "%d files do not fit filename_regex and are left out; first: %s", len(paths) - len(found), left
        )
    return found


def group_files(
    records: Sequence[FileRecord], matches: dict[str, re.Match[str]] | None, *, stack: bool
) -> tuple[FileGroup, ...]:
    """Put files together that hold the bands of one place and time.

    Args:
        records: The files, in order.
        matches: Their names' matches; a named group ``band`` says which band a file holds.
        stack: Whether single-band files on one grid are bands of one image (images: yes, labels: no).
    """
    if matches is not None and any("band" in m.groupdict() for m in matches.values()):
        return _by_pattern(records, matches)
    buckets: dict[object, list[FileRecord]] = {}
    for position, record in enumerate(records):
        header = record.header
        single = stack and len(data_bands(record)) == 1
        grid = (header.crs, tuple(header.transform), header.width, header.height, record.time)
        buckets.setdefault(grid if single else position, []).append(record)
    groups = [_stacked(b) if len(b) > 1 else _alone(b[0]) for b in buckets.values()]
    return _common_names(groups)


def data_bands(record: FileRecord) -> tuple[int, ...]:
    """Return the numbers of the bands that hold data: all but alpha, or all where there is no other."""
    return record.header.image_bands or tuple(range(1, record.header.count + 1))


def _by_pattern(records: Sequence[FileRecord], matches: dict[str, re.Match[str]]) -> tuple[FileGroup, ...]:
    together: dict[tuple[str, TimeInterval], dict[str, FileRecord]] = {}
    for record in records:
        match = matches[record.path]
        start, end = match.span("band")
        band = match.group("band")
        key = (match.string[:start] + "\0" + match.string[end:], record.time)
        twin = together.setdefault(key, {}).setdefault(band, record)
        if twin is not record:
            raise BadInput(
                explain(
                    "two files hold the same band of the same scene", where=f"{twin.path} and {record.path}"
                )
            )
    return tuple(
        FileGroup(tuple(Channel(r, 1, b) for b, r in sorted(bands.items())), time, True)
        for (_, time), bands in together.items()
    )


def _stacked(records: list[FileRecord]) -> FileGroup:
    dtypes = {r.header.dtypes[0] for r in records}
    if len(dtypes) > 1:
        lines = "; ".join(f"{r.path} ({r.header.dtypes[0]})" for r in records[:10])
        raise MixedSources(
            explain(
                "files on one grid differ in data type, so they are not taken for the bands of one image",
                where=lines,
                expected="one data type",
                fix="make one dataset of each and join them: RasterDataset(a) & RasterDataset(b)",
            )
        )
    names, named = _names_of_files(records)
    channels = tuple(Channel(r, data_bands(r)[0], n) for r, n in zip(records, names, strict=True))
    return FileGroup(channels, records[0].time, named)


def _names_of_files(records: Sequence[FileRecord]) -> tuple[list[str], bool]:
    told = [r.header.descriptions[data_bands(r)[0] - 1] for r in records]
    if all(told) and len(set(told)) == len(told):
        return [str(t) for t in told], True
    stems = [os.path.splitext(os.path.basename(r.path))[0] for r in records]
    tokens = [re.split(r"[_\-. ]+", s) for s in stems]
    shared = 0
    while all(len(t) > shared + 1 and t[shared] == tokens[0][shared] for t in tokens):
        shared += 1
    tails = 0
    while all(len(t) - tails > shared + 1 and t[-1 - tails] == tokens[0][-1 - tails] for t in tokens):
        tails += 1
    short = ["_".join(t[shared : len(t) - tails]) for t in tokens]
    good = len(set(short)) == len(short) and all(s and not s[0].isdigit() for s in short)
    names = short if good else stems
    if len(set(names)) < len(names):
        return [f"band_{i + 1}" for i in range(len(names))], False
    return names, True


def _alone(record: FileRecord) -> FileGroup:
    header, numbers = record.header, data_bands(record)
    told = [header.descriptions[n - 1] for n in numbers]
    colours = [header.colorinterp[n - 1] for n in numbers]
    named = True
    if all(told) and len(set(told)) == len(told):
        names = [str(t) for t in told]
    elif (
        len(numbers) > 1
        and len(set(colours)) == len(colours)
        and {"red", "green", "blue"} <= set(colours) <= _COLOURS
    ):
        names = [
            c if c not in ("undefined", "gray") else f"band_{n}"
            for c, n in zip(colours, numbers, strict=True)
        ]
    elif len(numbers) == 1:
        names, named = [os.path.splitext(os.path.basename(record.path))[0]], False
    else:
        names, named = [f"band_{n}" for n in numbers], False
    channels = tuple(Channel(record, n, name) for n, name in zip(numbers, names, strict=True))
    return FileGroup(channels, record.time, named)


def _common_names(groups: list[FileGroup]) -> tuple[FileGroup, ...]:
    # Names made from a file's own stem say nothing once there are several files.
    if len(groups) < 2 or all(g.named for g in groups):
        return tuple(groups)
    told = next((g.names for g in groups if g.named), None)
    out = []
    for group in groups:
        names = told if told and len(told) == len(group.channels) else tuple(
            f"band_{i + 1}" for i in range(len(group.channels))
        )  # fmt: skip
        if group.named:
            out.append(group)
            continue
        channels = tuple(Channel(c.record, c.number, n) for c, n in zip(group.channels, names, strict=True))
        out.append(FileGroup(channels, group.time, False))
    return tuple(out)
