"""What is opened, what is refused, and what a header says."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import numpy as np
import pytest
import rasterio
from affine import Affine
from rasterio.control import GroundControlPoint

from geotoolbox.core.header import describe, horizontal_crs
from geotoolbox.core.opening import HandleCache, check_read_size, check_source, open_raster
from geotoolbox.errors import BadInput, CannotAlign, CannotRead, TooLarge, UnsafeInput
from tests.make import NORTH_UP, ramp, write_raster

VRT = (
    '<VRTDataset rasterXSize="8" rasterYSize="8"><GeoTransform>3e5, 30, 0, 414e4, 0, -30</GeoTransform>'
    '<VRTRasterBand dataType="UInt16" band="1">'
    "<SimpleSource><SourceFilename {relative}>{source}</SourceFilename></SimpleSource></VRTRasterBand></VRTDataset>"
)
RAW = (
    '<VRTDataset rasterXSize="8" rasterYSize="8"><VRTRasterBand dataType="Byte" band="1" subClass="VRTRawRasterBand">'
    "<SourceFilename>/etc/passwd</SourceFilename></VRTRasterBand></VRTDataset>"
)


@pytest.mark.parametrize(
    "text,words",
    [
        (VRT.format(source="a.tif", relative=""), "VRT"),
        ("\n  <!-- a comment -->\n" + VRT.format(source="/vsicurl/http://x/a.tif", relative=""), "VRT"),
        ("<GDALTileIndexDataset><IndexDataset>a.gpkg</IndexDataset></GDALTileIndexDataset>", "GTI"),
        (
            '<GDAL_WMS><Service name="TMS"><ServerUrl>http://127.0.0.1/</ServerUrl></Service></GDAL_WMS>',
            "WMS",
        ),
        ("<GDAL_WMTS><GetCapabilitiesUrl>http://127.0.0.1/</GetCapabilitiesUrl></GDAL_WMTS>", "WMTS"),
        ("<WCS_GDAL><ServiceURL>http://127.0.0.1/</ServiceURL></WCS_GDAL>", "WCS"),
    ],
)
def test_s05_pointers_named_tif_are_refused(tmp_path: Path, text: str, words: str) -> None:
    path = tmp_path / "innocent.tif"
    path.write_text(text)
    with pytest.raises(UnsafeInput, match=words):
        open_raster(str(path))


def test_s05_a_vrt_is_opened_with_the_flag_and_its_sources_are_checked(tmp_path: Path) -> None:
    write_raster(tmp_path / "a.tif", ramp(8, 8))
    vrt = tmp_path / "b.vrt"
    vrt.write_text(VRT.format(source="a.tif", relative='relativeToVRT="1"'))
    with open_raster(str(vrt), allow_vrt=True) as dataset:
        assert np.array_equal(dataset.read(1), ramp(8, 8))
    vrt.write_text(RAW)
    with pytest.raises(UnsafeInput, match="raw band"):
        open_raster(str(vrt), allow_vrt=True)
    vrt.write_text(VRT.format(source="&#47;vsicurl/http://127.0.0.1/a.tif", relative=""))
    with pytest.raises(UnsafeInput, match="network"):
        open_raster(str(vrt), allow_vrt=True)
    vrt.write_text(VRT.format(source="b.vrt", relative='relativeToVRT="1"'))
    with pytest.raises(UnsafeInput, match="itself"):
        open_raster(str(vrt), allow_vrt=True)


@pytest.mark.parametrize("suffix", [".ovr", ".msk"])
def test_s05_side_files_that_point_elsewhere_are_refused(tmp_path: Path, suffix: str) -> None:
    path = write_raster(tmp_path / "a.tif", ramp(8, 8))
    (tmp_path / f"a.tif{suffix}").write_text(RAW)
    with pytest.raises(UnsafeInput, match="VRT"):
        open_raster(str(path))


@pytest.mark.parametrize(
    "path",
    ["/vsicurl/https://x.org/a.tif", "/vsizip/a.zip/a.tif", "file:///etc/passwd", "s3://bucket/a.tif", "https://x.org/a.tif", "zip+https://x.org/a.zip"],
)  # fmt: skip
def test_s06_remote_paths_need_the_flag(path: str) -> None:
    with pytest.raises(UnsafeInput, match="allow-remote"):
        check_source(path)


@pytest.mark.parametrize("host", ["127.0.0.1", "169.254.169.254", "10.0.0.1", "[::1]", "localhost"])
def test_s06_private_hosts_are_refused_even_with_the_flag(host: str) -> None:
    for path in (f"http://{host}/a.tif", f"/vsicurl/http://{host}/a.tif"):
        with pytest.raises(UnsafeInput, match="private or local"):
            check_source(path, allow_remote=True)
    with pytest.raises(UnsafeInput):
        check_source("file:///etc/passwd", allow_remote=True)


def test_messages_hide_tokens() -> None:
    with pytest.raises(UnsafeInput) as caught:
        check_source("https://user:secret@x.org/a.tif?token=hidden")
    assert "secret" not in str(caught.value)
    assert "hidden" not in str(caught.value)


@pytest.mark.parametrize(
    "content,words",
    [
        (b"", "empty file"),
        (b"<!DOCTYPE html><html><body>404</body></html>", "web page"),
        (b"PK\x03\x04 zipped", "ZIP archive"),
        (b'{"type": "FeatureCollection"}', "JSON"),
        (b"version https://git-lfs.github.com/spec/v1\n", "Git LFS"),
        (b"II*\0 and then nothing", "TIFF"),
        (b"\0\1\2\3" * 100, "unknown kind"),
    ],
)
def test_r15_r16_what_is_no_raster_is_named(tmp_path: Path, content: bytes, words: str) -> None:
    path = tmp_path / "a.tif"
    path.write_bytes(content)
    with pytest.raises(CannotRead, match=words) as caught:
        open_raster(str(path))
    assert str(path) in str(caught.value)


@pytest.mark.parametrize("name", ["ä b.tif", "日本🛰.tif", "a?b#c.tif", "c:d.tif", "s3:x.tif", "~.tif", "NUL.tif", "dot..tif", "a+b=c&d.tif"])  # fmt: skip
def test_r48_r49_odd_paths_work(tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    write_raster(tmp_path / "plain.tif", ramp(8, 8)).rename(tmp_path / name)
    monkeypatch.chdir(tmp_path)
    for path in (str(tmp_path / name), name):
        with open_raster(path) as dataset:
            assert np.array_equal(dataset.read(1), ramp(8, 8))


def test_r48_paths_that_cannot_be_are_named(tmp_path: Path) -> None:
    loop = tmp_path / "loop.tif"
    loop.symlink_to(loop)
    for path in (str(loop), str(tmp_path / ("x" * 300)), str(tmp_path), str(tmp_path / "no.tif"), "a\0b.tif"):
        with pytest.raises(CannotRead, match=r"exist|cannot be read"):
            open_raster(path)


def test_r07_nothing_is_written_beside_the_data(tmp_path: Path) -> None:
    path = write_raster(tmp_path / "a.tif", ramp(64, 64))
    (tmp_path / "a.tif.aux.xml").write_text(
        '<PAMDataset><PAMRasterBand band="1"><CategoryNames><Category>water</Category><Category/>'
        "<Category>forest</Category></CategoryNames></PAMRasterBand></PAMDataset>"
    )
    before = {p.name: p.stat().st_mtime_ns for p in tmp_path.iterdir()}
    header = describe(path)
    with open_raster(str(path)) as dataset:
        dataset.read()
        dataset.read_masks()
    assert {p.name: p.stat().st_mtime_ns for p in tmp_path.iterdir()} == before
    assert header.category_names == {0: "water", 2: "forest"}


def test_names_and_colours_of_an_attribute_table(tmp_path: Path) -> None:
    path = write_raster(tmp_path / "a.tif", ramp(8, 8, dtype="uint8"))
    fields = [("Value", 0, 5), ("Class", 2, 2), ("R", 0, 6), ("G", 0, 7), ("B", 0, 8)]
    head = "".join(
        f'<FieldDefn index="{i}"><Name>{n}</Name><Type>{t}</Type><Usage>{u}</Usage></FieldDefn>'
        for i, (n, t, u) in enumerate(fields)
    )
    cells = "".join(f"<F>{c}</F>" for c in (41, "Wald &lt;script&gt;", 1, 2, 3))
    (tmp_path / "a.tif.aux.xml").write_text(
        f'<PAMDataset><PAMRasterBand band="1"><GDALRasterAttributeTable>{head}<Row index="0">{cells}</Row>'
        "</GDALRasterAttributeTable></PAMRasterBand></PAMDataset>"
    )
    header = describe(path)
    assert header.category_names == {41: "Wald <script>"}
    assert header.colormap == {41: (1, 2, 3)}


def test_s07_an_xml_bomb_beside_a_raster_is_refused(tmp_path: Path) -> None:
    path = write_raster(tmp_path / "a.tif", ramp(8, 8))
    (tmp_path / "a.tif.aux.xml").write_text(
        '<!DOCTYPE x [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;">]><PAMDataset>&b;</PAMDataset>'
    )
    with pytest.raises(CannotRead, match=r"a\.tif\.aux\.xml"):
        describe(path)


def test_a_header_tells_the_facts(tmp_path: Path) -> None:
    path = write_raster(
        tmp_path / "a.tif", np.stack([ramp(40, 30)] * 2), nodata=9, names=["B02", "B03"], tiled=True, blockxsize=16, blockysize=32
    )  # fmt: skip
    with rasterio.open(path, "r+") as out:
        out.scales, out.offsets = (0.5, 1), (-1000, 0)
        out.update_tags(TIFFTAG_DATETIME="2020:05:01 10:00:00")
    header = describe(str(path), bands=[1, 2])
    assert (header.width, header.height, header.count, header.crs) == (30, 40, 2, "EPSG:32612")
    assert (header.dtypes, header.nodata, header.descriptions) == (("uint16",) * 2, (9, 9), ("B02", "B03"))
    assert (header.scales, header.offsets, header.block_shape) == ((0.5, 1), (-1000, 0), (32, 16))
    assert header.mask_flags == (("nodata",), ("nodata",))
    assert header.datetime_tag == "2020:05:01 10:00:00"
    assert header.geobox.affine == NORTH_UP
    assert header.size_bytes == path.stat().st_size
    with pytest.raises(BadInput, match="1 to 2"):
        describe(path, bands=[3])


def test_the_colours_of_a_palette(tmp_path: Path) -> None:
    path = write_raster(tmp_path / "a.tif", ramp(8, 8, dtype="uint8"), colormap={3: (10, 20, 30)})
    header = describe(path)
    assert header.colormap is not None
    assert header.colormap[3] == (10, 20, 30)


@pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")  # it is what the test is about
def test_r32_r33_r34_files_without_a_grid_say_why(tmp_path: Path) -> None:
    none = write_raster(tmp_path / "no-crs.tif", ramp(8, 8), crs=None)
    bare = write_raster(tmp_path / "bare.tif", ramp(8, 8), transform=Affine.identity(), crs=None)
    points = [
        GroundControlPoint(r, c, 3e5 + 30 * c, 4e6 - 30 * r) for r, c in ((0, 0), (0, 8), (8, 0), (8, 8))
    ]
    gcps = tmp_path / "gcps.tif"
    with rasterio.open(gcps, "w", driver="GTiff", width=8, height=8, count=1, dtype="uint16", gcps=points, crs="EPSG:32612") as out:  # fmt: skip
        out.write(ramp(8, 8)[None])
    rpc = write_raster(tmp_path / "rpc.tif", ramp(8, 8), transform=Affine.identity(), crs=None)
    with rasterio.open(rpc, "r+") as out:
        out.rpcs = rasterio.rpc.RPC(
            height_off=0, height_scale=1, lat_off=37, lat_scale=1, line_off=4, line_scale=4, long_off=-113, long_scale=1,
            samp_off=4, samp_scale=4, line_den_coeff=[1.0] + [0.0] * 19, line_num_coeff=[0.0, 0.0, -1.0] + [0.0] * 17,
            samp_den_coeff=[1.0] + [0.0] * 19, samp_num_coeff=[0.0, 1.0] + [0.0] * 18,
        )  # fmt: skip
    for path, words in (
        (none, "no CRS"),
        (bare, "no geotransform"),
        (gcps, "4 ground control points"),
        (rpc, "RPC"),
    ):
        with pytest.raises(CannotAlign, match=words) as caught:
            _ = describe(path).geobox
        assert str(path) in str(caught.value)


@pytest.mark.parametrize(
    "text,expected",
    [("EPSG:32633", "EPSG:32633"), ("EPSG:32633+5773", "EPSG:32633"), ("EPSG:4979", "EPSG:4326"), ("OGC:CRS84", "EPSG:4326"), ("ESRI:102008", None)],
)  # fmt: skip
def test_r44_r45_the_horizontal_crs(text: str, expected: str | None) -> None:
    found = horizontal_crs(text)
    assert found == expected if expected else found.startswith("PROJCRS")


def test_s08_a_read_is_refused_before_its_memory() -> None:
    with pytest.raises(TooLarge, match=r"big\.tif"):
        check_read_size((1, 2_000_000, 2_000_000), "uint8", where="big.tif")


def test_handles_are_kept_reopened_and_closed(tmp_path: Path) -> None:
    paths = [str(write_raster(tmp_path / f"{i}.tif", ramp(8, 8))) for i in range(4)]
    cache = HandleCache(size=2)
    with cache.get(paths[0]) as first:
        pass
    with cache.get(paths[0]) as again:
        assert again is first
        with cache.get(paths[1]), cache.get(paths[2]), cache.get(paths[3]):
            assert not first.closed, "what is in use is not closed"
    assert len(cache) == 2
    with cache.get(paths[3]) as old:
        pass
    write_raster(Path(paths[3]), ramp(16, 16))
    with cache.get(paths[3]) as new:
        assert new.shape == (16, 16)
    assert old.closed
    cache.clear()
    assert len(cache) == 0
    assert new.closed


def test_handles_belong_to_one_thread(tmp_path: Path) -> None:
    path = str(write_raster(tmp_path / "a.tif", ramp(8, 8)))
    cache = HandleCache()
    with cache.get(path) as mine:
        pass
    seen = []

    def look() -> None:
        with cache.get(path) as theirs:
            seen.append(theirs is mine)

    thread = threading.Thread(target=look)
    thread.start()
    thread.join()
    assert seen == [False]


def test_handles_do_not_cross_a_fork(tmp_path: Path) -> None:
    path = str(write_raster(tmp_path / "a.tif", ramp(8, 8)))
    cache = HandleCache()
    with cache.get(path):
        pass
    child = os.fork()
    if child == 0:
        empty = len(cache) == 0
        with cache.get(path) as dataset:
            os._exit(0 if empty and np.array_equal(dataset.read(1), ramp(8, 8)) else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
