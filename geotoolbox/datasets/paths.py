"""Finding the files of a dataset: lists, folders, globs and GDAL paths."""

from __future__ import annotations

import glob
import os
import stat
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path

from geotoolbox.core.sniffing import local_path
from geotoolbox.errors import BadInput, CannotRead, explain

__all__ = ["Paths", "find_files"]

Paths = str | Path | Sequence[str | Path]

_RASTERS = (
    ".tif", ".tiff", ".jp2", ".img", ".png", ".jpg", ".jpeg", ".nc", ".hgt", ".dem", ".asc", ".bil", ".ntf", ".pix",
)  # fmt: skip


def find_files(
    paths: Paths, *, filename_glob: str = "*", suffixes: Sequence[str] = _RASTERS, allow_vrt: bool = False
) -> tuple[str, ...]:
    """Return the files that ``paths`` mean, each once.

    A list keeps its order. A folder (searched with its sub-folders) and a glob give sorted paths. ``~`` is
    the home folder.

    Args:
        paths: A file, a folder, a glob, a GDAL path, or a list of these.
        filename_glob: Which names in a folder count; ``*`` means all with a known suffix.
        suffixes: The known suffixes, lower case.
        allow_vrt: Whether ``.vrt`` in folders counts too.

    Raises:
        CannotRead: When a path does not exist or cannot be looked at.
        BadInput: When nothing is found.
    """
    wanted = [paths] if isinstance(paths, (str, Path)) else list(paths)
    known = (*suffixes, ".vrt") if allow_vrt else tuple(suffixes)
    found: list[str] = []
    for path in wanted:
        found.extend(_expand(str(path), filename_glob, known))
    if not found:
        raise BadInput(
            explain(
                "no file found",
                where=", ".join(str(p) for p in wanted[:3]) or "an empty list",
                expected=f"files that match {filename_glob!r}"
                + (f" ({', '.join(known)})" if filename_glob == "*" else ""),
                fix="check the path, or pass filename_glob=",
            )
        )
    return tuple(dict.fromkeys(found))


def _expand(path: str, pattern: str, suffixes: Sequence[str]) -> list[str]:
    if local_path(path) != path:  # a URL, /vsi…, or a driver's own syntax such as NETCDF:file.nc:name
        return [path]
    name = os.path.expanduser(path) if path.startswith("~") else path
    try:
        is_folder = stat.S_ISDIR(os.stat(name).st_mode)
    except (OSError, ValueError) as error:
        if glob.has_magic(name):
            return sorted(p for p in glob.glob(name, recursive=True) if os.path.isfile(p))
        raise CannotRead(
            explain(
                "no such file or folder",
                where=path if len(path) < 300 else path[:300] + "…",
                got=getattr(error, "strerror", None) or str(error),
                fix="check the spelling, and that the disk is there",
            )
        ) from error
    if not is_folder:
        return [name]
    if pattern == "*":
        found = (p.removeprefix(f".{os.sep}") for p in _files_in(str(Path(name))))
        inside = (p for p in found if os.path.splitext(p)[1].lower() in suffixes)
        return sorted(inside, key=lambda p: p.split(os.sep))
    return [str(p) for p in sorted(p for p in Path(name).rglob(pattern) if p.is_file())]


def _files_in(folder: str) -> Iterator[str]:
    """Yield the files of a folder and its sub-folders; links to folders are not followed."""
    inner = []
    with suppress(PermissionError), os.scandir(folder) as entries:
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                inner.append(entry.path)
            elif entry.is_file():
                yield entry.path
    for path in inner:
        yield from _files_in(path)
