"""The names of an archive's entries: which may become files, on any system."""

from __future__ import annotations

import re
import unicodedata
from pathlib import Path

from geotoolbox.errors import UnsafeInput, explain

__all__ = ["EntryNames"]

_MAX_PARTS = 32
_MAX_NAME_BYTES = 255
_RESERVED = re.compile(r"^(con|prn|aux|nul|com[0-9]|lpt[0-9])(\..*)?$", re.IGNORECASE)


class EntryNames:
    """The names seen so far, on a disk that may not tell ``A`` from ``a``.

    Args:
        archive: The archive, for messages.

    Example:
        >>> EntryNames(Path("a.zip")).add("./images/b2.tif", is_folder=False)
        'images/b2.tif'
    """

    def __init__(self, archive: Path) -> None:
        self._archive = archive
        self._files: set[str] = set()
        self._folders: dict[str, str] = {}

    def add(self, name: str, *, is_folder: bool) -> str:
        """Return the plain relative name of an entry, with ``/`` between its parts.

        Raises:
            UnsafeInput: When the name leads out of the folder, cannot be a file on every system, or is
                another entry's (also when only their case differs).
        """
        plain = name.removesuffix("/") if is_folder else name
        while plain.startswith("./"):
            plain = plain[2:]
        parts = plain.split("/")
        for words in self._faults(plain, parts):
            self._refuse(name, words)
        for depth in range(1, len(parts)):
            self._folder("/".join(parts[:depth]), name)
        if is_folder:
            self._folder(plain, name)
            return plain
        key = _key(plain)
        if key in self._files or key in self._folders:
            self._refuse(name, "a name that another entry has, too")
        self._files.add(key)
        return plain

    def _folder(self, folder: str, name: str) -> None:
        key = _key(folder)
        if key in self._files or self._folders.setdefault(key, folder) != folder:
            self._refuse(name, "a name that another entry has, too")

    @staticmethod
    def _faults(plain: str, parts: list[str]) -> list[str]:
        faults = []
        if plain.startswith("/"):
            faults.append("an absolute name")
        if ".." in parts:
            faults.append("a name that leads out of the folder")
        if "\\" in plain:
            faults.append("a backslash in the name")
        if ":" in plain:
            faults.append("a colon in the name, which can be a drive")
        if any(unicodedata.category(c) in ("Cc", "Cs") for c in plain):
            faults.append("a control character in the name")
        if len(parts) > _MAX_PARTS or any(len(p.encode("utf-8", "replace")) > _MAX_NAME_BYTES for p in parts):
            faults.append("a name that is too long or too deep")
        if any(p in ("", ".") or p.endswith((" ", ".")) or _RESERVED.match(p) for p in parts):
            faults.append("a name that is no file name on every system")
        return faults

    def _refuse(self, name: str, words: str) -> None:
        raise UnsafeInput(
            explain(
                "the archive is not safe to unpack",
                where=self._archive,
                got=f"the entry {name[:200]!r}: {words}",
                expected="plain relative names, each once",
                fix="unpack it by hand if you trust where it comes from",
            )
        )


def _key(name: str) -> str:
    """Return what a disk that ignores case and spelling of accents takes a name for."""
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).casefold())
