"""Tiles: kept within a limit, cancelled, drawn once, right to the pixel through overviews."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
import rasterio.shutil
from geotoolbox_widgets.layers import RasterLayer
from geotoolbox_widgets.tiles import TileKey, Tiler, TileStore
from hypothesis import given, settings
from hypothesis import strategies as st
from rasterio.enums import Resampling

from geotoolbox.core.query import Query
from geotoolbox.datasets import RasterDataset
from geotoolbox.datasets.preview import read_point, read_preview, slow_files
from geotoolbox.datasets.quicklook import QuickLooks
from geotoolbox.errors import BadInput
from geotoolbox.visualization.webmap import Stretch, encode_webp, fitted_grid, sprite_sheet, tile_geobox
from tests.make import ramp, write_raster


def key(number: int, layer: str = "a") -> TileKey:
    return TileKey(layer, 0, 20, number, 0)


@settings(max_examples=25, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 60)), max_size=60))
def test_store_never_holds_more_than_its_limit(puts: list[tuple[int, int]]) -> None:
    store = TileStore(limit_bytes=100)
    for number, size in puts:
        store.put(key(number), bytes(size))
        assert store.size_bytes <= 100
        assert store.get(key(number)) == bytes(size)  # the last one is always there
    store.forget("a")
    assert store.size_bytes == 0


class Drawing:
    """A layer whose tiles wait until they are let go."""

    version = 0

    def __init__(self) -> None:
        self.go, self.drawn = threading.Event(), list[tuple[int, int, int]]()

    def tile(self, zoom: int, column: int, row: int) -> bytes:
        self.go.wait(60)
        self.drawn.append((zoom, column, row))
        return b"tile"


def test_cancelled_wishes_are_not_drawn_and_old_ones_are_dropped() -> None:
    layer, sent = Drawing(), list[str]()
    tiler = Tiler(lambda _: layer, lambda m, _: sent.append(m["ticket"]), lambda _: None)  # type: ignore[arg-type]
    for number in range(420):
        tiler.want(f"t{number}", key(number))
    tiler.cancel("t419")
    layer.go.set()
    assert tiler._pool is not None
    tiler._pool.shutdown(wait=True)
    assert "t419" not in sent and "t418" in sent
    assert len(sent) <= 403  # three were begun, four hundred waited


def test_a_drawn_tile_is_sent_again_without_drawing() -> None:
    layer, sent = Drawing(), list[bytes]()
    layer.go.set()
    tiler = Tiler(lambda _: layer, lambda _, tile: sent.append(tile), lambda _: None)  # type: ignore[arg-type]
    tiler.want("one", key(1))
    assert tiler._pool is not None
    tiler._pool.shutdown(wait=True)
    tiler.want("two", key(1))
    assert sent == [b"tile", b"tile"] and layer.drawn == [(20, 1, 0)]


def with_overviews(path: Path, data: np.ndarray[Any, Any], how: Resampling, **profile: Any) -> Path:
    write_raster(path, data, tiled=True, blockxsize=256, blockysize=256, **profile)
    with rasterio.open(path, "r+") as out:
        out.build_overviews([2, 4, 8], how)
    return path


def tile_over(dataset: RasterDataset, zoom: int) -> Any:
    from tests.widgets.test_layermap import tile_of

    west, south, east, north = dataset.coverage()[0][0].bounds
    return tile_geobox(*tile_of((west + east) / 2, (south + north) / 2, zoom))


def test_a_preview_through_overviews_shows_the_same_ground(tmp_path: Path) -> None:
    # A ramp is its own average: any overview that is half a pixel off would show.
    dataset = RasterDataset(
        str(with_overviews(tmp_path / "r.tif", ramp(2048, 2048, dtype="float32"), Resampling.average))
    )
    for zoom in (9, 10, 11):
        grid = tile_over(dataset, zoom)
        quick, exact = read_preview(dataset, grid), dataset.read(Query(grid))
        both = quick.valid & exact.valid
        inner = both & np.roll(both, 2, 0) & np.roll(both, -2, 0) & np.roll(both, 2, 1) & np.roll(both, -2, 1)
        assert inner.sum() > 200
        scale = grid.affine.a * 0.795 / 30  # source pixels in one of the tile's
        assert np.abs(quick.image[0] - exact.image[0])[inner].max() < 0.35 * scale * 8 + 0.5
        assert (quick.valid != exact.valid).mean() < 0.05


def test_overviews_that_were_rounded_down_show_the_same_ground(tmp_path: Path) -> None:
    # GDAL's COG driver halves 1,003 to 501, gdaladdo to 502.
    plain = write_raster(tmp_path / "p.tif", ramp(1003, 1003, dtype="float32"), tiled=True)
    rasterio.shutil.copy(
        plain, tmp_path / "c.tif", driver="COG", overview_resampling="average", blocksize=128
    )
    with rasterio.open(tmp_path / "c.tif", overview_level=0) as first:
        assert first.shape == (501, 501)
    dataset = RasterDataset(str(tmp_path / "c.tif"))
    grid = dataset.scenes()[0].geobox.zoom_out(2.5)
    quick, exact = read_preview(dataset, grid), RasterDataset(str(plain)).read(Query(grid))
    inner = np.s_[4:-4, 4:-4]
    assert np.abs(quick.image[0] - exact.image[0])[inner].max() < 0.5 * 8  # half a source pixel of the ramp
    assert quick.valid[inner].all()


def test_classes_come_from_overviews_with_the_right_values(tmp_path: Path) -> None:
    blocks = (np.indices((2048, 2048)).sum(axis=0) // 512 % 3 + 1).astype("uint8")
    path = with_overviews(tmp_path / "c.tif", blocks, Resampling.nearest, nodata=0)
    dataset = RasterDataset(str(path), kind="labels")
    grid = tile_over(dataset, 9)
    quick, exact = read_preview(dataset, grid), dataset.read(Query(grid))
    assert set(np.unique(quick.mask)) <= {-100, 0, 1, 2}
    assert (quick.mask == exact.mask).mean() > 0.97


def test_a_file_without_overviews_gets_a_small_copy(tmp_path: Path) -> None:
    path = write_raster(tmp_path / "n.tif", ramp(1600, 1600, dtype="uint16"), nodata=0, tiled=True)
    dataset, looks = RasterDataset(str(path)), QuickLooks()
    grid = fitted_grid(dataset.scenes()[0].geobox, 160)
    quick = read_preview(dataset, grid, looks=looks)
    exact = dataset.read(Query(grid))
    inner = np.s_[2:-2, 2:-2]
    assert np.abs(quick.image[0] - exact.image[0])[inner].max() < 8 * 2
    assert sorted(p.name for p in tmp_path.iterdir()) == ["n.tif"]  # nothing beside the data
    assert slow_files(dataset) == ()


def test_some_bands_are_read_in_the_order_asked_for(tmp_path: Path) -> None:
    data = np.stack([np.full((64, 64), v, dtype="uint16") for v in (10, 20, 30)])
    one = RasterDataset(str(write_raster(tmp_path / "a.tif", data, names=("a", "b", "c"))))
    two = RasterDataset(str(write_raster(tmp_path / "d.tif", data[:1] + 30, names=("d",))))
    both = one & two
    grid = one.scenes()[0].geobox
    assert read_preview(one, grid, bands=[2, 0]).image[:, 5, 5].tolist() == [30, 10]
    assert read_preview(both, grid, bands=[3, 1]).image[:, 5, 5].tolist() == [40, 20]
    with pytest.raises(BadInput, match="no such band"):
        read_preview(one, grid, bands=[3])


def test_the_pixel_under_a_point_is_exact(tmp_path: Path) -> None:
    dataset = RasterDataset(str(write_raster(tmp_path / "r.tif", ramp(100, 120))))
    grid = dataset.scenes()[0].geobox
    lon, lat = grid[40:41, 70:71].extent.to_crs("EPSG:4326").centroid.coords[0]
    found = read_point(dataset, lon, lat)
    assert found is not None and (found.row, found.col) == (40, 70)
    assert found.values == (3 * 70 + 5 * 40,)
    assert read_point(dataset, lon + 5, lat) is None


def test_stretch_is_linear_between_its_limits_and_clips() -> None:
    stretch = Stretch((100.0,), (200.0,))
    values = np.array([[[50.0, 100.0, 150.0, 200.0, 900.0, np.nan]]])
    rgba = stretch.rgba(values)
    assert rgba[0, :, 0].tolist()[:5] == [0, 0, 128, 255, 255]
    assert rgba[0, :, 3].tolist() == [255, 255, 255, 255, 255, 0]
    bright = Stretch((0.0,), (1.0,), gamma=0.5).rgba(np.array([[[0.25]]]))
    assert bright[0, 0, 0] == pytest.approx(128, abs=1)
    with pytest.raises(BadInput, match="one or three bands"):
        Stretch((0.0, 0.0), (1.0, 1.0))


def test_exact_pictures_keep_every_colour() -> None:
    from PIL import Image

    rng = np.random.default_rng(0)
    rgba = rng.integers(0, 255, (64, 64, 4), dtype=np.uint8)
    rgba[..., 3] = 255
    import io

    assert np.array_equal(
        np.asarray(Image.open(io.BytesIO(encode_webp(rgba, exact=True))).convert("RGBA")), rgba
    )


def test_sprites_stand_in_the_middle_of_their_cells() -> None:
    red = np.zeros((2, 4, 4), np.uint8)
    red[..., 0] = red[..., 3] = 255
    sheet = sprite_sheet([red, red[:, :2]], 8, 2)
    assert sheet.shape == (8, 16, 4)
    assert sheet[:, 0, 3].tolist() == [0, 0, 255, 255, 255, 255, 0, 0]  # 4 × 2 scaled to 8 × 4
    assert (sheet[:, 8:, 3] == 255).all()


def test_opening_a_layer_reads_no_torch(tmp_path: Path) -> None:
    import subprocess
    import sys

    path = write_raster(tmp_path / "a.tif", ramp(32, 32))
    code = f"import sys; from geotoolbox_widgets import LayerMap; LayerMap({str(path)!r}); print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def test_a_tile_of_a_layer_is_drawn_from_any_thread(tmp_path: Path) -> None:
    layer = RasterLayer(RasterDataset(str(write_raster(tmp_path / "a.tif", ramp(300, 300)))), name="a")
    grid = layer.bounds()
    assert grid is not None
    from tests.widgets.test_layermap import tile_of

    place = tile_of((grid[0] + grid[2]) / 2, (grid[1] + grid[3]) / 2, layer.max_zoom)
    found: list[bytes] = []
    threads = [threading.Thread(target=lambda: found.append(layer.tile(*place))) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 6 and len(set(found)) == 1 and found[0]
