"""Downloads from a server on this machine: the right file, or none."""

from __future__ import annotations

import hashlib
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from geotoolbox.core.downloads import download
from geotoolbox.core.events import Event, Progress
from geotoolbox.errors import BadInput, Cancelled, CannotRead, CannotWrite, TooLarge, UnsafeInput

DATA = bytes(range(256)) * 1000
SHA = hashlib.sha256(DATA).hexdigest()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    asked: list[str]
    ended: threading.Event


class _Handler(BaseHTTPRequestHandler):
    server: _Server

    def do_GET(self) -> None:
        self.server.asked.append(self.path)
        if self.path.startswith("/to?"):
            self.send_response(302)
            self.send_header("Location", self.path.removeprefix("/to?"))
            self.end_headers()
        elif self.path == "/503":
            self.send_error(503)
        else:
            self._send()

    def _send(self) -> None:
        self.send_response(200)
        if self.path != "/unsaid":
            self.send_header("Content-Length", str(len(DATA)))
        self.end_headers()
        try:
            if self.path == "/slow":
                for byte in DATA:
                    self.wfile.write(bytes([byte]))
                    time.sleep(0.02)
            elif self.path == "/silent":
                self.server.ended.wait(600)
            else:
                self.wfile.write(DATA[:1000] if self.path == "/short" else DATA)
        except OSError:
            pass

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture(scope="module")
def server() -> Iterator[_Server]:
    made = _Server(("127.0.0.1", 0), _Handler)
    made.asked, made.ended = [], threading.Event()
    thread = threading.Thread(target=made.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    yield made
    made.ended.set()
    made.shutdown()
    made.server_close()
    thread.join()


@pytest.fixture
def base(server: _Server) -> str:
    server.asked.clear()
    return f"http://127.0.0.1:{server.server_address[1]}"


def _get(url: str, path: Path, sha256: str = SHA, max_bytes: int = 1 << 20, **more: float) -> Path:
    return download(url, path, sha256=sha256, max_bytes=max_bytes, allow_loopback=True, **more)  # type: ignore[arg-type]


@pytest.mark.parametrize("page", ["/a.tif", "/unsaid"])
def test_s04_the_right_file_arrives_and_is_not_fetched_twice(
    tmp_path: Path, base: str, server: _Server, page: str
) -> None:
    path = tmp_path / "data" / "a.tif"
    assert _get(base + page, path, sha256=SHA.upper()) == path
    assert path.read_bytes() == DATA
    assert [p.name for p in path.parent.iterdir()] == ["a.tif"]
    _get(base + page, path)
    assert server.asked == [page]


def test_s04_another_file_than_expected_is_not_kept(tmp_path: Path, base: str) -> None:
    path = tmp_path / "a.tif"
    path.write_bytes(b"old")
    with pytest.raises(UnsafeInput, match=f"not the one expected.*{SHA}.*{'0' * 64}"):
        _get(base + "/a.tif", path, sha256="0" * 64)
    assert path.read_bytes() == b"old"
    assert [p.name for p in tmp_path.iterdir()] == ["a.tif"]


@pytest.mark.parametrize("sha256", ["", "abc", "0" * 63 + "g", "md5:" + "0" * 60])
def test_s04_without_a_sha256_nothing_is_asked(
    tmp_path: Path, base: str, server: _Server, sha256: str
) -> None:
    with pytest.raises(BadInput, match="not a SHA-256"):
        _get(base + "/a.tif", tmp_path / "a.tif", sha256=sha256)
    assert not server.asked
    with pytest.raises(TypeError, match="sha256"):
        download(base + "/a.tif", tmp_path / "a.tif", max_bytes=1)  # type: ignore[call-arg]


@pytest.mark.parametrize(
    "url",
    ["http://example.org/a.tif", "ftp://example.org/a.tif", "file:///etc/passwd", "data:,a", "example.org/a", "https://", "https://u:p@example.org/a"],
)  # fmt: skip
def test_s04_only_https_even_where_loopback_is_allowed(tmp_path: Path, url: str) -> None:
    with pytest.raises(UnsafeInput, match="https://") as caught:
        _get(url, tmp_path / "a")
    assert "u:p" not in str(caught.value)


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "localhost", "[::1]", "10.0.0.1", "169.254.169.254", "[fe80::1]"]
)
def test_s04_no_private_host(tmp_path: Path, host: str) -> None:
    with pytest.raises(UnsafeInput, match="private or local"):
        download(f"https://{host}/a", tmp_path / "a", sha256=SHA, max_bytes=1)


def test_s04_http_from_this_machine_needs_the_allowance(tmp_path: Path, base: str, server: _Server) -> None:
    with pytest.raises(UnsafeInput, match="a http address"):
        download(base + "/a.tif", tmp_path / "a", sha256=SHA, max_bytes=1 << 20)
    assert not server.asked


@pytest.mark.parametrize(
    "target", ["http://example.org/a", "file:///etc/passwd", "ftp://x.org/a", "https://169.254.169.254/a"]
)
def test_s04_redirects_follow_the_same_rule(tmp_path: Path, base: str, target: str) -> None:
    with pytest.raises(UnsafeInput, match="not downloaded from"):
        _get(f"{base}/to?{target}", tmp_path / "a")
    assert not list(tmp_path.iterdir())
    assert _get(f"{base}/to?{base}/a.tif", tmp_path / "a").read_bytes() == DATA
    assert _get(f"{base}/to?/a.tif", tmp_path / "b").read_bytes() == DATA


def test_s04_redirects_without_end_are_refused(tmp_path: Path, base: str, server: _Server) -> None:
    loop = "/to?/to?/to?/to?/to?/to?/to?/to?/to?/a.tif"
    with pytest.raises(CannotRead, match="302"):
        _get(base + loop, tmp_path / "a")
    assert len(server.asked) <= 7


@pytest.mark.parametrize("page", ["/a.tif", "/unsaid"])
def test_s04_too_large_is_refused(tmp_path: Path, base: str, page: str) -> None:
    with pytest.raises(TooLarge, match="at most 1,000 bytes"):
        _get(base + page, tmp_path / "a", max_bytes=1000)
    assert not list(tmp_path.iterdir())


def test_s04_servers_that_fail_are_named(tmp_path: Path, base: str) -> None:
    with pytest.raises(CannotRead, match="503"):
        _get(base + "/503", tmp_path / "a")
    with pytest.raises(CannotRead, match=r"1,000 bytes.*256,000"):
        _get(base + "/short", tmp_path / "a")
    with pytest.raises(CannotRead, match="in the time allowed"):
        _get(base + "/slow", tmp_path / "a", max_seconds=0.2)
    with pytest.raises(CannotRead, match="timed out"):
        _get(base + "/silent", tmp_path / "a", timeout_s=0.2)
    with pytest.raises(CannotRead, match="refused"):
        _get("http://127.0.0.1:1/a", tmp_path / "a")
    assert not list(tmp_path.iterdir())


def test_s04_a_folder_that_cannot_be_written_fails_before_the_work(
    tmp_path: Path, base: str, server: _Server
) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(CannotWrite):
        _get(base + "/a.tif", tmp_path / "file" / "a")
    assert not server.asked


def test_s04_a_cancelled_download_leaves_nothing(tmp_path: Path, base: str) -> None:
    class Stop:
        seen: float = 0

        def emit(self, event: Event) -> None:
            self.seen = event.done if isinstance(event, Progress) else self.seen

        @property
        def cancelled(self) -> bool:
            return self.seen > 0

    with pytest.raises(Cancelled):
        download(
            base + "/a.tif", tmp_path / "a", sha256=SHA, max_bytes=1 << 20, allow_loopback=True,
            reporter=Stop(),
        )  # fmt: skip
    assert not list(tmp_path.iterdir())
