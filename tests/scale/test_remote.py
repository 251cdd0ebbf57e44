"""Remote COGs against a server on this machine that fails, hangs and counts."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
from rasterio.windows import Window

from geotoolbox.core import opening, sniffing
from geotoolbox.core.header import describe
from geotoolbox.core.opening import open_raster
from geotoolbox.datasets import RasterDataset
from geotoolbox.errors import CannotRead, UnsafeInput
from geotoolbox.indexing.build import build_index
from tests.make import ramp, write_raster


@dataclass
class Server:
    """What the server does, and what it was asked for."""

    folder: Path
    url: str = ""
    fail_first: int = 0
    hangs: bool = False
    ended: threading.Event = field(default_factory=threading.Event)
    asked: list[tuple[str, str, int]] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def answer(self, path: str, method: str) -> int:
        """Note a request; return its number."""
        with self.lock:
            self.asked.append((method, path, 0))
            return len(self.asked)


@contextmanager
def _serving(folder: Path) -> Iterator[Server]:
    server = Server(folder)

    class Handler(BaseHTTPRequestHandler):
        def do_HEAD(self) -> None:
            self._answer(body=False)

        def do_GET(self) -> None:
            self._answer(body=True)

        def _answer(self, body: bool) -> None:
            number = server.answer(self.path, self.command)
            if server.hangs:
                server.ended.wait(600)
            if number <= server.fail_first:
                self.send_error(503)
                return
            file = server.folder / self.path.lstrip("/")
            if not file.is_file():
                self.send_error(404)
                return
            data = file.read_bytes()
            match = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
            start, end = 0, len(data) - 1
            if match:
                start, end = int(match[1]), min(int(match[2] or end), end)
            self.send_response(206 if match else 200)
            self.send_header("Accept-Ranges", "bytes")
            self.send_header("Content-Length", str(end - start + 1))
            if match:
                self.send_header("Content-Range", f"bytes {start}-{end}/{len(data)}")
            self.end_headers()
            if body:
                self.wfile.write(data[start : end + 1])

        def log_message(self, format: str, *args: object) -> None:
            pass

    http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    http.daemon_threads = True
    thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    server.url = f"http://127.0.0.1:{http.server_address[1]}"
    try:
        yield server
    finally:
        server.ended.set()
        http.shutdown()
        http.server_close()


@pytest.fixture
def server(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Server]:
    folder = tmp_path / "served"
    for number in range(3):
        write_raster(
            folder / f"{request.node.name[:40]}-{number}.tif", ramp(512, 512) + np.uint16(number), tiled=True,
            blockxsize=128, blockysize=128,
        )  # fmt: skip
    with _serving(folder) as found:
        yield found


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Seconds of patience become tenths; the mechanism is the same."""
    quick = {"GDAL_HTTP_RETRY_DELAY": "0.05", "GDAL_HTTP_LOW_SPEED_TIME": "1", "GDAL_HTTP_TIMEOUT": "2"}
    monkeypatch.setattr(opening, "_REMOTE_OPTIONS", {**opening._REMOTE_OPTIONS, **quick})
    # Addresses of this machine are refused for safety's sake; here the server is one.
    monkeypatch.setattr(sniffing, "_check_public", lambda host: None)


def _names(server: Server) -> list[str]:
    return [f"{server.url}/{p.name}" for p in sorted(server.folder.iterdir())]


def test_remote_files_need_leave_and_then_give_the_pixels_of_the_file(server: Server) -> None:
    name = _names(server)[0]
    with pytest.raises(UnsafeInput):
        open_raster(name)
    assert not server.asked
    with open_raster(name, allow_remote=True) as remote:
        assert np.array_equal(
            remote.read(1, window=Window(130, 260, 40, 50)), ramp(512, 512)[260:310, 130:170]
        )
    got = sum(1 for method, _, _ in server.asked if method == "GET")
    assert 1 <= got < 10 and all(".aux.xml" not in path and ".ovr" not in path for _, path, _ in server.asked)


def test_r50_a_server_that_fails_at_first_is_asked_again(server: Server) -> None:
    server.fail_first = 2
    with open_raster(_names(server)[0], allow_remote=True) as remote:
        assert int(remote.read(1, window=Window(1, 0, 1, 1))[0, 0]) == 3
    assert len(server.asked) > 2


def test_r50_a_server_that_goes_on_failing_or_hangs_is_given_up_and_named(server: Server) -> None:
    server.fail_first = 10**6
    with pytest.raises(CannotRead, match=re.escape(_names(server)[0])):
        describe(_names(server)[0], allow_remote=True)
    assert 2 <= len(server.asked) <= 40
    server.fail_first, server.hangs = 0, True
    with pytest.raises(CannotRead):
        describe(_names(server)[1], allow_remote=True)  # it does not wait for the answer: there is none


def test_headers_come_from_the_index_without_asking_the_server_again(server: Server, tmp_path: Path) -> None:
    names, cache = _names(server), tmp_path / "index.parquet"
    first = build_index(names, cache=cache, allow_remote=True, footprints=False)
    asked = len(server.asked)
    assert asked >= 3
    again = build_index(names, cache=cache, allow_remote=True, footprints=False)
    assert len(server.asked) == asked
    assert [r.header for r in again] == [r.header for r in first]
    assert [r.path for r in again] == names


def test_a_dataset_of_remote_files_reads_them(server: Server) -> None:
    dataset = RasterDataset(_names(server)[2:], allow_remote=True)
    grid = dataset.scenes()[0].geobox[100:164, 200:264]
    from geotoolbox.core.query import Query

    reading = dataset.read(Query(grid))
    assert reading.image is not None and reading.valid.all()
    assert np.array_equal(reading.image[0], ramp(512, 512)[100:164, 200:264] + 2)


def test_r50_a_server_that_fails_after_opening_is_asked_again(server: Server) -> None:
    with open_raster(_names(server)[0], allow_remote=True) as remote:
        before = len(server.asked)
        server.fail_first = before + 2
        assert int(remote.read(1, window=Window(500, 500, 1, 1))[0, 0]) == 3 * 500 + 5 * 500
        assert len(server.asked) >= before + 3
