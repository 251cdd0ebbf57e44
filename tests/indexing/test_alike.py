"""Files made alike are not opened one by one, and the index says of each what it says when they are."""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
import rasterio.shutil
from affine import Affine
from hypothesis import given, settings
from hypothesis import strategies as st
from rasterio.enums import ColorInterp, Resampling
from rasterio.rpc import RPC

from geotoolbox.core.events import Event, Progress
from geotoolbox.core.header import RasterHeader, describe
from geotoolbox.errors import Cancelled, CannotAlign, CannotRead
from geotoolbox.indexing import FileRecord, build_index, reading
from geotoolbox.indexing.alike import AlikeFiles, mark_of
from geotoolbox.indexing.outlines import quick_outlines
from geotoolbox.indexing.reading import Reading, _Found, _record, read_each, read_one
from tests.make import NORTH_UP, ramp, write_raster

COUNT = 36
Maker = Callable[[Path, Affine, int], object]


def _identical(a: FileRecord, b: FileRecord) -> None:
    for field in fields(RasterHeader):
        assert repr(getattr(a.header, field.name)) == repr(getattr(b.header, field.name)), field.name
    assert (a.native_footprint.wkb, a.footprint.wkb, a.time) == (
        b.native_footprint.wkb,
        b.footprint.wkb,
        b.time,
    )


def _plain(**options: Any) -> Maker:
    given = {"height": 16, "width": 20, "dtype": "uint16"} | options
    shape, dtype = (given.pop("height"), given.pop("width")), given.pop("dtype")

    def make(path: Path, at: Affine, number: int) -> None:
        count = given.get("count", 1)
        data = np.stack([ramp(*shape) + band + number for band in range(count)]).astype(dtype)
        more = {k: v for k, v in given.items() if k != "count"}
        write_raster(path, data, transform=at, **more)

    return make


def _described(path: Path, at: Affine, number: int) -> None:
    _plain(count=3, compress="deflate", tiled=True, blockxsize=16, blockysize=16)(path, at, number)
    with rasterio.open(path, "r+") as out:
        out.descriptions = ("red", "nir", None)
        out.scales, out.offsets, out.units = (0.5, 1.0, 2.0), (0.0, 1.0, 0.0), ("m", None, "K")
        out.update_tags(DATE_ACQUIRED="2020-05-01", maker="Ä")
        out.colorinterp = (ColorInterp.red, ColorInterp.green, ColorInterp.alpha)


def _colored(path: Path, at: Affine, number: int) -> None:
    write_raster(path, ramp(8, 8, dtype="uint8"), transform=at, colormap={1: (9, 8, 7), 200: (1, 2, 3)})


def _point(path: Path, at: Affine, number: int) -> None:
    _plain()(path, at, number)
    with rasterio.open(path, "r+") as out:
        out.update_tags(AREA_OR_POINT="Point")


def _cog(path: Path, at: Affine, number: int) -> None:
    whole = _plain(height=300, width=200)
    whole(path.with_suffix(".whole"), at, number)
    rasterio.shutil.copy(path.with_suffix(".whole"), path, driver="COG", blocksize=128, compress="ZSTD")
    path.with_suffix(".whole").unlink()


def _own_mask(path: Path, at: Affine, number: int) -> None:
    with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True):
        _plain(height=64, width=64, tiled=True, blockxsize=16, blockysize=16)(path, at, number)
        with rasterio.open(path, "r+") as out:
            valid = np.full((64, 64), 255, np.uint8)
            valid[: number + 1] = 0
            out.write_mask(valid)
            if number % 2:  # without overviews of the mask, and with
                out.build_overviews([2, 4], Resampling.nearest)


def _dated(path: Path, at: Affine, number: int) -> None:
    _plain()(path, at, number)
    with rasterio.open(path, "r+") as out:
        out.update_tags(DATE_ACQUIRED=f"2020-05-{number % 28 + 1:02d}")


def _rpc(path: Path, at: Affine, number: int) -> None:
    _plain()(path, at, number)
    with rasterio.open(path, "r+") as out:
        out.rpcs = RPC(
            100.0, 100.0, 12.0, 0.1, [0.0] * 20, [1.0] + [0.0] * 19, 8.0, 5.0, 15.0, 0.1, [0.0] * 20,
            [1.0] + [0.0] * 19, 8.0, 5.0,
        )  # fmt: skip


def _pages(path: Path, at: Affine, number: int) -> None:
    _plain()(path, at, number)
    with rasterio.open(
        path, "w", driver="GTiff", height=4, width=5, count=1, dtype="uint8", crs="EPSG:32612", transform=NORTH_UP,
        append_subdataset=True,
    ) as out:  # fmt: skip
        out.write(np.ones((1, 4, 5), np.uint8))


LOCAL = 'LOCAL_CS["site",UNIT["metre",1]]'
ALBERS = (
    'PROJCS["own",GEOGCS["NAD83",DATUM["North_American_Datum_1983",SPHEROID["GRS 1980",6378137,298.257222101]],'
    'PRIMEM["Greenwich",0],UNIT["degree",0.0174532925199433]],PROJECTION["Albers_Conic_Equal_Area"],'
    'PARAMETER["latitude_of_center",31],PARAMETER["longitude_of_center",-111],PARAMETER["standard_parallel_1",29.5],'
    'PARAMETER["standard_parallel_2",45.5],PARAMETER["false_easting",0],PARAMETER["false_northing",0],UNIT["metre",1]]'
)
ONCE, NEVER = COUNT - 1, 0
KINDS: dict[str, tuple[Maker, int]] = {
    "one plain strip": (_plain(), ONCE),
    "one long plain strip, cut by libtiff": (_plain(height=400, width=300, blockysize=400), ONCE),
    "plain strips": (_plain(height=200, width=300, blockysize=16), ONCE),
    "sparse": (_plain(height=64, width=64, tiled=True, blockxsize=16, blockysize=16, sparse_ok=True), ONCE),
    "deflate": (_plain(compress="deflate", predictor=2), ONCE),
    "lzw, bands apart": (_plain(count=3, compress="lzw", interleave="band"), ONCE),
    "big": (_plain(bigtiff="YES"), ONCE),
    "big-endian": (_plain(endianness="BIG", count=2), ONCE),
    "big and big-endian": (_plain(endianness="BIG", bigtiff="YES", count=5, compress="zstd"), ONCE),
    "float": (_plain(dtype="float32", nodata=float("nan")), ONCE),
    "complex": (_plain(dtype="complex64"), ONCE),
    "signed bytes": (_plain(dtype="int8"), ONCE),
    "fill value": (_plain(nodata=12), ONCE),
    "names, scales, units, alpha": (_described, ONCE),
    "colours": (_colored, ONCE),
    "own CRS": (_plain(crs=ALBERS), ONCE),
    "feet": (_plain(crs="EPSG:2225"), ONCE),
    "with a height": (_plain(crs="EPSG:32612+5703"), ONCE),
    "overviews": (_cog, ONCE),
    "masks": (_own_mask, NEVER),
    "points": (_point, NEVER),
    "another date each": (_dated, COUNT - 28),
    "jpeg": (_plain(count=3, dtype="uint8", compress="jpeg", photometric="YCbCr"), NEVER),
    "rational polynomials": (_rpc, NEVER),
    "several pages": (_pages, NEVER),  # their names hold the path
}  # fmt: skip


def _places(step: Affine = NORTH_UP) -> list[Affine]:
    return [step @ Affine.translation(317 * (n % 6) + n / 8, 211 * (n // 6)) for n in range(COUNT)]


def _counted(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return the list to which each file that GDAL opens is added."""
    opened: list[str] = []
    real = reading.header_of

    def header_of(name: str, *given: Any, **more: Any) -> RasterHeader:
        opened.append(name)
        return real(name, *given, **more)

    monkeypatch.setattr(reading, "header_of", header_of)
    return opened


@pytest.mark.parametrize("kind", KINDS)
def test_records_are_those_of_files_read_one_by_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    make, spared = KINDS[kind]
    names = []
    for number, at in enumerate(_places()):
        names.append(str(tmp_path / f"t{number:02d}.tif"))
        make(Path(names[-1]), at, number)
    alone = [_record_as_ever(name) for name in names]
    opened = _counted(monkeypatch)
    for footprints in (True, False):
        opened.clear()
        together = build_index(names, footprints=footprints, workers=1).records
        assert len(names) - len(opened) == spared
        if footprints:
            assert [r.path for r in together] == names
            for a, b in zip(together, alone, strict=True):
                _identical(a, b)
                assert a.header == describe(a.path) or "nan" in repr(a.header.nodata)


def _record_as_ever(name: str) -> FileRecord:
    """Return a record from a file by itself: its own header, its own outline."""
    record = read_one(name, Reading())
    return _record(_Found(describe(name), record.native_footprint))


@pytest.mark.parametrize(
    "crs,grid",
    [
        ("EPSG:4326", Affine(0.01, 0, -112, 0, -0.01, 38)),
        ("EPSG:4326", Affine(0.5, 0, 120, 0, -0.5, 80)),  # large ones, across the antimeridian too
        ("EPSG:4326", Affine(1e-5, 0, 170, 0, -1e-5, 80.1)),
        ("EPSG:4979", Affine(0.01, 0, -112, 0, -0.01, 38)),
        ("EPSG:3413", Affine(1000, 0, -900_000, 0, -1000, 900_000)),  # round the pole
        ("EPSG:32660", Affine(300, 0, 600_000, 0, -300, 8_000_000)),
        ("EPSG:32612", Affine(-30, 0, 500_000, 0, 30, 4_140_000)),  # south up, east left
        ("EPSG:32612", Affine(1e-4, 0, 500_000, 0, -1e-4, 4_140_000)),
        ("EPSG:5070", Affine(9000, 0, -2_000_000, 0, -9000, 3_000_000)),
        ("EPSG:3857", Affine(20_000, 0, -19_000_000, 0, -20_000, 19_000_000)),
        (ALBERS, Affine(30, 0, 0, 0, -30, 0)),
    ],
)
def test_outlines_of_many_are_those_of_each(tmp_path: Path, crs: str, grid: Affine) -> None:
    for number, at in enumerate(_places(grid)):
        write_raster(tmp_path / f"{number:02d}.tif", ramp(3 + number, 5), crs=crs, transform=at)
    names = [str(p) for p in sorted(tmp_path.iterdir())]
    records, error = read_each(names, Reading())
    assert error is None and len(records) == COUNT
    for record in records:
        _identical(record, _record(_Found(describe(record.path))))


@settings(max_examples=60)
@given(
    st.sampled_from([("EPSG:32612", 1.0, 500_000.0, 4_000_000.0), ("EPSG:4326", 1e-5, 10.0, 50.0)]),
    st.lists(
        st.tuples(
            st.floats(-0.9, 0.9), st.floats(-0.9, 0.9), st.floats(-3.0, 3.0), st.floats(0.01, 20.0),
            st.integers(1, 6000), st.integers(1, 6000),
        ),
        min_size=1, max_size=8,
    ),
)  # fmt: skip
def test_outlines_of_turned_grids(
    tmp_path_factory: pytest.TempPathFactory,
    frame: tuple[str, float, float, float],
    grids: list[tuple[float, float, float, float, int, int]],
) -> None:
    crs, unit, x, y = frame
    base = describe(write_raster(tmp_path_factory.mktemp("g") / "a.tif", ramp(4, 4), crs=crs))
    headers = []
    for east, north, turn, pixel, width, height in grids:
        at = Affine.translation(x * (1 + east / 2), y * (1 + north / 2)) @ Affine.rotation(57.3 * turn)
        facts = {f.name: getattr(base, f.name) for f in fields(RasterHeader)}
        facts |= {
            "transform": at @ Affine.scale(pixel * unit, -pixel * unit),
            "width": width,
            "height": height,
        }
        headers.append(RasterHeader(**facts))
    quick = 0
    for header, found in zip(headers, quick_outlines(headers), strict=True):
        if found is not None:
            quick += 1
            assert found.wkb == _record(_Found(header)).footprint.wkb
    assert quick == len(headers)  # all of them are small, and far from poles and antimeridian


def _tiles(folder: Path, make: Maker = KINDS["one plain strip"][0]) -> list[str]:
    names = [str(folder / f"t{number:02d}.tif") for number in range(COUNT)]
    for number, at in enumerate(_places()):
        make(Path(names[number]), at, number)
    return names


def _no_valid_pixel(mask: Path) -> None:
    write_raster(mask, np.zeros((16, 20), np.uint8))
    with rasterio.open(mask, "r+") as out:
        out.update_tags(INTERNAL_MASK_FLAGS_1="2", INTERNAL_MASK_FLAGS_2="2")


SIDES: dict[str, Callable[[Path], object]] = {
    ".tif.aux.xml": lambda p: p.write_text(
        '<PAMDataset><PAMRasterBand band="1"><CategoryNames><Category>no</Category><Category>yes</Category>'
        "</CategoryNames></PAMRasterBand></PAMDataset>"
    ),
    "_RPC.TXT": lambda p: p.write_text("LINE_OFF: 1\n"),
    ".tfw": lambda p: p.write_text("1\n0\n0\n-1\n5\n5\n"),
    ".tif.msk": _no_valid_pixel,
    ".tif.ovr": lambda p: write_raster(p, np.zeros((8, 10), np.uint16)),
}


@pytest.mark.parametrize("side", SIDES)
def test_a_file_beside_them_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, side: str) -> None:
    names = _tiles(tmp_path)
    SIDES[side](tmp_path / ("t07" + side))
    opened = _counted(monkeypatch)
    records = build_index(names, workers=1).records
    assert opened == names
    for record in records:
        _identical(record, _record_as_ever(record.path))
    if side == ".tif.aux.xml":
        assert [r.path for r in records if r.header.category_names] == [names[7]]
    if side == ".tif.msk":
        assert [r.path for r in records if r.footprint.is_empty] == [names[7]]


def test_files_of_no_concern_beside_them_do_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    names = _tiles(tmp_path)
    (tmp_path / "README.md").write_text("tiles")
    (tmp_path / "more").mkdir()
    opened = _counted(monkeypatch)
    build_index(names, workers=1)
    assert opened == names[:1]


def test_side_files_in_a_folder_of_their_own_count(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    names = _tiles(tmp_path)
    monkeypatch.setenv("GDAL_PAM_PROXY_DIR", str(tmp_path / "side"))
    opened = _counted(monkeypatch)
    build_index(names, workers=1)
    assert opened == names


def test_few_files_of_a_folder_are_not_worth_listing_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = _tiles(tmp_path)[:5]
    opened = _counted(monkeypatch)
    build_index(names, workers=1)
    assert opened == names


def test_another_size_in_the_same_bytes_is_another_kind(tmp_path: Path) -> None:
    make = _plain(compress="deflate")
    make(tmp_path / "a.tif", NORTH_UP, 0)
    make(tmp_path / "b.tif", NORTH_UP @ Affine.translation(5, 5), 3)
    _plain(compress="deflate", width=21)(tmp_path / "c.tif", NORTH_UP, 0)
    marks = {n: mark_of(str(tmp_path / f"{n}.tif")) for n in "abc"}
    a, b, c = marks["a"], marks["b"], marks["c"]
    assert a is not None and b is not None and c is not None
    assert a.kind == b.kind != c.kind and (a.corner, b.corner) == (
        (300_000.0, 4_140_000.0),
        (300_150.0, 4_139_850.0),
    )


def test_bytes_of_one_plain_strip_count_since_libtiff_cuts_it_by_them(tmp_path: Path) -> None:
    make = KINDS["one long plain strip, cut by libtiff"][0]
    make(tmp_path / "a.tif", NORTH_UP, 0)
    make(tmp_path / "b.tif", NORTH_UP, 0)
    raw = bytearray((tmp_path / "b.tif").read_bytes())
    for tag in (273, 279):  # as in a file whose pixels are not written yet
        at = raw.find(struct.pack("<HHI", tag, 4, 1))
        assert at > 0
        raw[at + 8 : at + 12] = bytes(4)
    (tmp_path / "b.tif").write_bytes(raw)
    a, b = (mark_of(str(tmp_path / f"{n}.tif")) for n in "ab")
    assert a is not None and b is not None and a.kind != b.kind


@settings(max_examples=200)
@given(st.integers(0, 700), st.integers(0, 255), st.integers(0, 900))
def test_whatever_a_file_holds_it_is_read_as_by_gdal_or_left_to_it(
    tmp_path_factory: pytest.TempPathFactory, where: int, value: int, length: int
) -> None:
    folder = tmp_path_factory.mktemp("d")
    good, bad = folder / "a.tif", folder / "b.tif"
    _plain()(good, NORTH_UP, 0)
    raw = bytearray(good.read_bytes())
    raw[where % len(raw)] = value
    bad.write_bytes(raw if length > 800 else raw[:length])
    alike = AlikeFiles()
    mark, other = mark_of(str(good)), mark_of(str(bad))
    assert mark is not None
    alike.learn(mark, describe(good))
    guess = None if other is None else alike.header(str(bad), other)
    if guess is not None:
        assert repr(guess) == repr(describe(bad))


def test_a_file_that_changed_as_it_was_read_teaches_nothing(tmp_path: Path) -> None:
    path = write_raster(tmp_path / "a.tif", ramp(8, 8))
    mark = mark_of(str(path))
    write_raster(path, ramp(8, 9))
    assert mark is not None
    alike = AlikeFiles()
    alike.learn(mark, describe(path))
    assert alike.header(str(path), mark) is None


def test_tags_of_one_are_not_those_of_another(tmp_path: Path) -> None:
    records = build_index(_tiles(tmp_path), workers=1).records
    records[1].header.tags["mine"] = "yes"
    assert "mine" not in records[2].header.tags and "mine" not in records[0].header.tags


class _Listener:
    def __init__(self, stop_after: int | None = None) -> None:
        self.heard: list[str] = []
        self.stop_after = stop_after

    def emit(self, event: Event) -> None:
        if isinstance(event, Progress) and event.message:
            self.heard.append(event.message)

    @property
    def cancelled(self) -> bool:
        return self.stop_after is not None and len(self.heard) >= self.stop_after


@pytest.mark.parametrize("workers", [1, 2, 7])
def test_files_before_a_bad_one_are_reported_and_then_the_first_error(tmp_path: Path, workers: int) -> None:
    names = _tiles(tmp_path)
    Path(names[20]).write_bytes(b"<html>")
    write_raster(Path(names[23]), ramp(4, 4), crs=None)
    ear = _Listener()
    with pytest.raises(CannotRead, match=r"t20\.tif"):
        build_index(names, workers=workers, reporter=ear)
    assert ear.heard == names[:20]
    with pytest.raises(CannotAlign, match=r"t23\.tif"):
        build_index(names[21:], workers=workers)


def test_it_stops_when_it_is_told_to(tmp_path: Path) -> None:
    names = _tiles(tmp_path)
    ear = _Listener(stop_after=5)
    with pytest.raises(Cancelled):
        build_index(names, workers=2, reporter=ear)
    assert ear.heard == names[:5]


def test_order_is_that_of_the_files_whatever_the_threads(tmp_path: Path) -> None:
    names = _tiles(tmp_path)
    names = [*names[::-1], names[3], *names[:9]]
    one, seven = build_index(names, workers=1), build_index(names, workers=7)
    assert [r.path for r in seven] == names
    for a, b in zip(one, seven, strict=True):
        _identical(a, b)
