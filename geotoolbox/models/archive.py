"""The zip that a bundle is: written whole or not at all, and read as if a stranger had made it.

Reading looks at every entry before it opens one, and reads entries into memory: nothing is extracted,
so no name can lead anywhere.
"""

from __future__ import annotations

import hashlib
import stat
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path

from geotoolbox.core.files import atomic_path, check_writable
from geotoolbox.errors import BadBundle, CannotRead, UnsafeBundle, explain

__all__ = ["CARD", "MEMBERS", "REPORT", "WEIGHTS", "read_archive", "sha256", "write_archive"]

CARD, WEIGHTS, REPORT = "model.json", "weights.safetensors", "report.html"

MEMBERS: Mapping[str, int] = {CARD: 16 << 20, WEIGHTS: 4 << 30, REPORT: 64 << 20}
"""What a bundle may hold, and the most bytes of each."""

_MAX_ENTRIES = 16
_MAX_RATIO = 100
_SMALL_BYTES = 1 << 20  # below this, no compression ratio is a danger
_CODE = (".pkl", ".pickle", ".pt", ".pth", ".ckpt", ".bin", ".joblib", ".npy", ".npz", ".py", ".pyc", ".so")
_FIX = "use a bundle that 'geotoolbox train' wrote, from someone you trust"


def sha256(data: bytes) -> str:
    """Return the SHA-256 of ``data``, as hex."""
    return hashlib.sha256(data).hexdigest()


def write_archive(path: Path, members: Mapping[str, bytes]) -> None:
    """Write the members into a zip at ``path``, or leave ``path`` as it was.

    The same members give the same bytes: no time and no system is written down.

    Raises:
        CannotWrite: When the folder cannot be written to.
        NoSpace: When the disk is full.
    """
    check_writable(path)
    with atomic_path(path) as part, zipfile.ZipFile(part, "w") as archive:
        for name, data in members.items():
            info = zipfile.ZipInfo(name)
            info.external_attr = (stat.S_IFREG | 0o644) << 16
            packed = len(zlib.compress(data, 6)) if name != WEIGHTS else len(data)
            dense = packed * (_MAX_RATIO // 2) > len(data) and packed < len(data)
            info.compress_type = zipfile.ZIP_DEFLATED if dense else zipfile.ZIP_STORED
            archive.writestr(info, data)


def read_archive(path: Path) -> dict[str, bytes]:
    """Return the members of the bundle at ``path``, after every check.

    Raises:
        CannotRead: When the file is not there or cannot be opened.
        BadBundle: When it is no bundle, or damaged.
        UnsafeBundle: When an entry could run code or write elsewhere (it is a ``BadBundle``, too).
    """
    try:
        with path.open("rb") as stream:
            start = stream.read(16)
    except OSError as error:
        raise CannotRead(
            explain("cannot open the model bundle", where=path, got=error.strerror or error)
        ) from error
    _check_magic(path, start)
    try:
        with zipfile.ZipFile(path) as archive:
            _check_entries(path, archive.infolist())
            return {info.filename: _read(path, archive, info) for info in archive.infolist()}
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, ValueError, OSError) as error:
        if isinstance(error, BadBundle):
            raise
        raise BadBundle(
            explain(
                "the model bundle is damaged", where=path, got=str(error), fix="copy or download it again"
            )
        ) from error


def _check_magic(path: Path, start: bytes) -> None:
    if start[:1] == b"\x80" and start[1:2] in (b"\x02", b"\x03", b"\x04", b"\x05"):
        raise UnsafeBundle(explain("this is a pickle, which can run code", where=path, fix=_FIX))
    if not start.startswith(b"PK\x03\x04"):
        raise BadBundle(
            explain(
                "not a model bundle",
                where=path,
                got=f"a file that starts with {start[:8]!r}" if start else "an empty file",
                expected="a zip with model.json and weights.safetensors",
                fix=_FIX,
            )
        )


def _check_entries(path: Path, entries: list[zipfile.ZipInfo]) -> None:
    if len(entries) > _MAX_ENTRIES:
        _refuse(path, f"{len(entries)} entries", f"at most {_MAX_ENTRIES}")
    seen: set[str] = set()
    for info in entries:
        _check_name(path, info)
        if info.filename.lower() in seen:
            _refuse(path, f"the entry {info.filename!r} twice", "each name once")
        seen.add(info.filename.lower())
        _check_size(path, info)
    for name in (CARD, WEIGHTS):
        if name not in seen:
            raise BadBundle(
                explain(
                    "not a model bundle", where=path, got=f"a zip without {name}", expected=name, fix=_FIX
                )
            )


def _check_name(path: Path, info: zipfile.ZipInfo) -> None:
    name = info.orig_filename
    mode = info.external_attr >> 16
    if mode and stat.S_IFMT(mode) not in (0, stat.S_IFREG):
        _refuse(path, f"the entry {name!r}, which is a link, folder or device", "plain files")
    if info.flag_bits & 0x1:
        _refuse(path, f"the encrypted entry {name!r}", "plain files")
    if name.lower().endswith(_CODE):
        _refuse(path, f"the entry {name!r}, which can hold code", "only " + ", ".join(MEMBERS))
    if name != info.filename or name not in MEMBERS:
        _refuse(path, f"the entry {name!r}", "only " + ", ".join(MEMBERS))


def _check_size(path: Path, info: zipfile.ZipInfo) -> None:
    most = MEMBERS[info.filename]
    if info.file_size > most:
        _refuse(path, f"{info.filename} of {info.file_size:,} bytes", f"at most {most:,}")
    if info.file_size > _SMALL_BYTES and info.file_size > _MAX_RATIO * max(info.compress_size, 1):
        _refuse(path, f"{info.filename} packed to less than 1/{_MAX_RATIO}", "no decompression bomb")


def _read(path: Path, archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> bytes:
    with archive.open(info) as stream:
        data = stream.read(info.file_size + 1)
    if len(data) != info.file_size:
        raise BadBundle(
            explain(
                "the model bundle is damaged",
                where=f"{path}, {info.filename}",
                got=f"{len(data):,} bytes",
                expected=f"{info.file_size:,}",
            )
        )
    if info.filename != WEIGHTS:
        hidden = data[:4] == b"PK\x03\x04" or data[:2] in (b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05")
        if hidden:
            _refuse(path, f"a pickle or an archive inside {info.filename}", "text")
    return data


def _refuse(path: Path, got: str, expected: str) -> None:
    raise UnsafeBundle(
        explain("the model bundle is not safe to open", where=path, got=got, expected=expected, fix=_FIX)
    )
