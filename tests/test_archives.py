"""Archives of strangers: nothing is ever written outside, and what is odd is refused unwritten."""

from __future__ import annotations

import gzip
import io
import stat
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from geotoolbox.core.archives import ArchiveLimits, unpack
from geotoolbox.errors import CannotRead, CannotWrite, GeoToolboxError, UnsafeInput


def _zip(path: Path, *names: str, data: bytes = b"data", packed: int = zipfile.ZIP_STORED) -> Path:
    with zipfile.ZipFile(path, "w", packed) as archive:
        for name in names:
            info = zipfile.ZipInfo("x")
            info.filename, info.compress_type = name, packed
            archive.writestr(info, data)
    return path


def _tar(path: Path, *entries: tarfile.TarInfo | str, data: bytes = b"data", mode: str = "w") -> Path:
    with tarfile.open(path, mode, format=tarfile.PAX_FORMAT) as archive:  # type: ignore[call-overload]
        for entry in entries:
            info = tarfile.TarInfo(entry) if isinstance(entry, str) else entry
            if info.isreg():
                info.size = len(data)
            archive.addfile(info, io.BytesIO(data) if info.isreg() else None)
    return path


def _link(name: str, target: str, kind: bytes = tarfile.SYMTYPE) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, target
    return info


def _refused(archive: Path, words: str, folder: Path) -> None:
    around = sorted(p.name for p in folder.parent.rglob("*"))
    with pytest.raises(UnsafeInput, match=words) as caught:
        unpack(archive, folder)
    assert str(archive) in str(caught.value)
    assert sorted(p.name for p in folder.parent.rglob("*")) == around, "nothing is left, inside or outside"


@pytest.mark.parametrize("mode", ["w", "w:gz", "w:bz2", "w:xz"])
def test_a_tar_comes_out_whole(tmp_path: Path, mode: str) -> None:
    folder = tarfile.TarInfo("images")
    folder.type = tarfile.DIRTYPE
    archive = _tar(tmp_path / "a.tar", folder, "images/b2.tif", "./images/ä 日本.tif", mode=mode)
    files = unpack(archive, tmp_path / "out")
    assert [f.relative_to(tmp_path / "out").as_posix() for f in files] == [
        "images/b2.tif",
        "images/ä 日本.tif",
    ]
    assert all(f.read_bytes() == b"data" for f in files)
    assert not list(tmp_path.glob(".*"))


def test_a_zip_comes_out_whole(tmp_path: Path) -> None:
    data = bytes(range(256)) * 5000
    archive = _zip(tmp_path / "a.zip", "s/", "s/a.tif", "b.tif", data=b"")
    archive = _zip(tmp_path / "a.zip", "s/a.tif", "b.tif", data=data, packed=zipfile.ZIP_DEFLATED)
    files = unpack(archive, tmp_path / "out", limits=ArchiveLimits(ratio=10_000))
    assert [f.read_bytes() == data for f in files] == [True, True]
    with pytest.raises(CannotWrite, match="not empty"):
        unpack(archive, tmp_path / "out")


SLIPS = {
    "../evil.tif": "leads out",
    "a/../../evil.tif": "leads out",
    "a/..": "leads out",
    "/etc/evil.tif": "absolute",
    "//server/share/evil.tif": "absolute",
    "..\\evil.tif": "backslash",
    "a\\b.tif": "backslash",
    "C:/evil.tif": "colon",
    "C:evil.tif": "colon",
    "a.tif:stream": "colon",
    "a//b.tif": "no file name",
    "a/./b.tif": "no file name",
    "a. /b.tif": "no file name",
    "aux.tif": "no file name",
    "line\nbreak.tif": "control character",
    "/".join("a" * 40): "too deep",
    "x" * 300: "too long",
}


@pytest.mark.parametrize("name", SLIPS)
@pytest.mark.parametrize("make", [_zip, _tar])
def test_s03_names_that_lead_out_are_refused(tmp_path: Path, make: Callable[..., Path], name: str) -> None:
    (tmp_path / "in").mkdir()
    _refused(make(tmp_path / "in" / "a", "good.tif", name), SLIPS[name], tmp_path / "in" / "out")


@pytest.mark.parametrize(
    "names",
    [
        ("a.tif", "a.tif"),
        ("a.tif", "A.TIF"),
        ("straße.tif", "STRASSE.tif"),
        ("é.tif", "e\u0301.tif"),
        ("a", "a/b.tif"),
        ("a/b.tif", "a"),
        ("A/x.tif", "a/y.tif"),
    ],
)
@pytest.mark.parametrize("make", [_zip, _tar])
@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_s03_names_that_clash_are_refused(
    tmp_path: Path, make: Callable[..., Path], names: tuple[str, str]
) -> None:
    _refused(make(tmp_path / "a", *names), "another entry has", tmp_path / "out")


def test_s03_links_and_devices_in_a_tar_are_refused(tmp_path: Path) -> None:
    for number, kind in enumerate(
        (tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE, tarfile.CHRTYPE, tarfile.BLKTYPE)
    ):
        archive = _tar(tmp_path / f"{number}.tar", _link("a", "../outside", kind), "a/evil.tif")
        _refused(archive, "link or a device", tmp_path / "out")


def test_s03_a_chain_of_links_longer_than_a_path_can_be_is_refused(tmp_path: Path) -> None:
    """The pattern of CVE-2025-4517: folders and links so long that a check of the real path gives up."""
    entries: list[tarfile.TarInfo | str] = []
    long, here = "d" * 240, ""
    for letter in "abcdefghijklmnop":
        folder = tarfile.TarInfo(f"{here}{long}")
        folder.type = tarfile.DIRTYPE
        entries += [folder, _link(f"{here}{letter}", long)]
        here += f"{letter}/"
    entries += [_link(f"{here}l", "../" * 16), _link("escape", f"{here}l/../../outside"), "escape/evil.tif"]
    (tmp_path / "in").mkdir()
    _refused(_tar(tmp_path / "in" / "a.tar", *entries), "link or a device", tmp_path / "in" / "out")
    assert [p.name for p in tmp_path.iterdir()] == ["in"]


def test_s03_links_and_secrets_in_a_zip_are_refused(tmp_path: Path) -> None:
    archive = tmp_path / "a.zip"
    for kind in (stat.S_IFLNK, stat.S_IFCHR, stat.S_IFIFO):
        with zipfile.ZipFile(archive, "w") as out:
            info = zipfile.ZipInfo("a")
            info.external_attr = (kind | 0o777) << 16
            out.writestr(info, "/etc/passwd")
        _refused(archive, "link or a device", tmp_path / "out")
    data = bytearray(_zip(archive, "a.tif").read_bytes())
    data[data.index(b"PK\x01\x02") + 8] |= 1
    archive.write_bytes(data)
    _refused(archive, "encrypted", tmp_path / "out")


def test_s03_bombs_and_crowds_are_refused(tmp_path: Path) -> None:
    zeros = bytes(4 << 20)
    _refused(_zip(tmp_path / "z", "a", data=zeros, packed=zipfile.ZIP_DEFLATED), "bomb", tmp_path / "out")
    _refused(_tar(tmp_path / "t", "a", data=zeros, mode="w:gz"), "bomb", tmp_path / "out")
    small = ArchiveLimits(entries=3, size_bytes=10)
    for archive in (_zip(tmp_path / "z", *"abcd", data=b""), _tar(tmp_path / "t", *"abcd", data=b"")):
        with pytest.raises(UnsafeInput, match="more than 3 entries"):
            unpack(archive, tmp_path / "out", limits=small)
    for archive in (
        _zip(tmp_path / "z", "a", "b", data=b"123456"),
        _tar(tmp_path / "t", "a", "b", data=b"123456"),
    ):
        with pytest.raises(UnsafeInput, match="more than 10 bytes"):
            unpack(archive, tmp_path / "out", limits=small)
    assert not (tmp_path / "out").exists()


def test_s03_a_header_that_asks_for_much_memory_is_refused(tmp_path: Path) -> None:
    header = tarfile.TarInfo("x")
    header.type, header.size = tarfile.XHDTYPE, 1 << 32
    (tmp_path / "a.tar.gz").write_bytes(gzip.compress(header.tobuf() + bytes(4096)))
    _refused(tmp_path / "a.tar.gz", "header of", tmp_path / "out")


def test_s03_sizes_that_lie_are_damage(tmp_path: Path) -> None:
    data = bytearray(_zip(tmp_path / "a.zip", "a.tif", data=b"x" * 100).read_bytes())
    data[data.index(b"xxxx")] ^= 1
    (tmp_path / "a.zip").write_bytes(data)
    with pytest.raises(CannotRead, match="CRC"):
        unpack(tmp_path / "a.zip", tmp_path / "out")
    tar = _tar(tmp_path / "a.tar", "a.tif", data=b"x" * 5000).read_bytes()
    (tmp_path / "a.tar").write_bytes(tar[:2000])
    with pytest.raises(CannotRead, match="damaged"):
        unpack(tmp_path / "a.tar", tmp_path / "out")
    (tmp_path / "page.zip").write_text("<html>404</html>")
    for path in (tmp_path / "page.zip", tmp_path / "gone.zip"):
        with pytest.raises(CannotRead, match=path.name):
            unpack(path, tmp_path / "out")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.tar", "a.zip", "page.zip"]


@settings(max_examples=25, deadline=None)
@given(places=st.lists(st.tuples(st.floats(0, 0.999), st.integers(0, 255)), max_size=8), kind=st.sampled_from([_zip, _tar]))  # fmt: skip
def test_s03_any_damage_stays_inside(
    tmp_path_factory: pytest.TempPathFactory, places: list[tuple[float, int]], kind: Callable[..., Path]
) -> None:
    folder = tmp_path_factory.mktemp("damage")
    archive = kind(folder / "a", "one.tif", "deep/two.tif")
    data = bytearray(archive.read_bytes())
    for place, value in places:
        data[int(place * len(data))] = value
    archive.write_bytes(data)
    try:
        unpack(archive, folder / "out")
    except GeoToolboxError:
        assert [p.name for p in folder.iterdir()] == ["a"]
    assert {p.name for p in folder.iterdir()} <= {"a", "out"}
