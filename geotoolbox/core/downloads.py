"""Downloading a file whose SHA-256 is known: over https, up to a size, whole or not at all."""

from __future__ import annotations

import hashlib
import http.client
import ipaddress
import os
import re
import time
import urllib.error
import urllib.request
from http.client import HTTPMessage
from pathlib import Path
from typing import IO, Any
from urllib.parse import urlsplit

from geotoolbox.core.events import SILENT, Reporter, Stage
from geotoolbox.core.files import atomic_path, check_space, check_writable, sha256_of
from geotoolbox.errors import BadInput, CannotRead, TooLarge, UnsafeInput, explain

__all__ = ["download"]

_CHUNK_BYTES = 1 << 18
_SHA256 = re.compile(r"^[0-9a-fA-F]{64}$")
_MOST_REDIRECTS = 5


def download(
    url: str,
    path: Path,
    *,
    sha256: str,
    max_bytes: int,
    allow_loopback: bool = False,
    timeout_s: float = 30.0,
    max_seconds: float = 3600.0,
    reporter: Reporter = SILENT,
) -> Path:
    """Download a file, unless it is there already with the right content.

    Args:
        url: An https address; redirects must be https, too.
        path: Where the file goes. It is written beside and renamed when its checksum is right.
        sha256: The SHA-256 of the file, as hex. There is no download without it.
        max_bytes: The most bytes to take.
        allow_loopback: Also accept http, and only from this machine (for tests).
        timeout_s: The longest silence of the server, in seconds.
        max_seconds: The longest download, in seconds.
        reporter: Hears of the progress and can cancel.

    Returns:
        ``path``.

    Raises:
        BadInput: When ``sha256`` is no SHA-256.
        UnsafeInput: When an address is not https or leads into a private network, or when the file is not
            the one that was expected.
        TooLarge: When the file is larger than ``max_bytes``.
        CannotRead: When the server cannot be reached, refuses, or ends too early.
        CannotWrite: When the file cannot be written.
        NoSpace: When the disk is too small.
        Cancelled: When the reporter was cancelled.
    """
    path = Path(path)
    if not _SHA256.match(sha256):
        raise BadInput(explain("not a SHA-256", got=repr(sha256[:80]), expected="64 hexadecimal digits"))
    _check_address(url, allow_loopback)
    if path.is_file() and sha256_of(path) == sha256.lower():
        return path
    check_writable(path)
    deadline = time.monotonic() + max_seconds
    try:
        with _opener(allow_loopback).open(url, timeout=timeout_s) as answer, atomic_path(path) as part:
            found = _take(answer, part, url, max_bytes=max_bytes, deadline=deadline, reporter=reporter)
            if found != sha256.lower():
                raise UnsafeInput(
                    explain(
                        "the file that was downloaded is not the one expected",
                        where=_shown(url),
                        got=f"SHA-256 {found}",
                        expected=sha256.lower(),
                        fix="do not use it; ask whoever published the address",
                    )
                )
    except urllib.error.HTTPError as error:
        with error:
            raise _unreachable(url, f"{error.code} {error.reason}") from error
    except (urllib.error.URLError, http.client.HTTPException, TimeoutError, ConnectionError) as error:
        reason = getattr(error, "reason", None) or str(error) or type(error).__name__
        raise _unreachable(url, reason) from error
    return path


def _take(answer: Any, part: Path, url: str, *, max_bytes: int, deadline: float, reporter: Reporter) -> str:
    """Write what the server sends, within the limits, and return its SHA-256."""
    announced = answer.headers.get("Content-Length")
    size = int(announced) if announced and announced.isdecimal() else None
    if size is not None and size > max_bytes:
        raise _too_large(url, f"{size:,} bytes", max_bytes)
    check_space(part, size or 0)
    stage = Stage(reporter, "download", size or max_bytes)
    digest, taken = hashlib.sha256(), 0
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0)
    with os.fdopen(os.open(part, flags, 0o666), "wb") as out:
        # read1 returns what is there: one slow byte after another still meets the deadline.
        while chunk := answer.read1(_CHUNK_BYTES):
            taken += len(chunk)
            if taken > max_bytes:
                raise _too_large(url, "more than that", max_bytes)
            if time.monotonic() > deadline:
                raise _unreachable(url, f"only {taken:,} bytes in the time allowed")
            digest.update(chunk)
            out.write(chunk)
            stage.advance(len(chunk))
    if size is not None and taken < size:
        raise _unreachable(url, f"{taken:,} bytes, then the end", f"{size:,} bytes")
    return digest.hexdigest()


class _Redirects(urllib.request.HTTPRedirectHandler):
    """Follows a redirect only to an address that would have been accepted itself."""

    max_redirections = _MOST_REDIRECTS

    def __init__(self, allow_loopback: bool) -> None:
        self._allow_loopback = allow_loopback

    def redirect_request(  # noqa: PLR0917 (the standard library's signature)
        self, req: urllib.request.Request, fp: IO[bytes], code: int, msg: str, headers: Any, newurl: str
    ) -> urllib.request.Request | None:
        _check_address(newurl, self._allow_loopback)
        return super().redirect_request(req, fp, code, msg, headers, newurl)

    def http_error_302(
        self, req: urllib.request.Request, fp: IO[bytes], code: int, msg: str, headers: HTTPMessage
    ) -> Any:
        # The standard handler refuses other schemes with words of its own, before it asks the method above.
        target = headers.get("Location") or headers.get("URI") or ""
        if urlsplit(target).scheme:
            _check_address(target, self._allow_loopback)
        return super().http_error_302(req, fp, code, msg, headers)

    http_error_301 = http_error_303 = http_error_307 = http_error_308 = http_error_302  # type: ignore[assignment]


def _opener(allow_loopback: bool) -> urllib.request.OpenerDirector:
    """Return an opener that knows https only: no file, ftp or data addresses."""
    opener = urllib.request.OpenerDirector()
    handlers: list[urllib.request.BaseHandler] = [
        urllib.request.HTTPSHandler(),
        urllib.request.HTTPDefaultErrorHandler(),
        urllib.request.HTTPErrorProcessor(),
        _Redirects(allow_loopback),
    ]
    if allow_loopback:
        handlers.append(urllib.request.HTTPHandler())
    else:
        handlers.append(urllib.request.ProxyHandler())
    for handler in handlers:
        opener.add_handler(handler)
    return opener


def _check_address(url: str, allow_loopback: bool) -> None:
    parts = urlsplit(url)
    host = parts.hostname or ""
    local = _is_loopback(host)
    allowed = parts.scheme == "https" or (parts.scheme == "http" and local and allow_loopback)
    if not allowed or not host:
        _refuse(url, f"a {parts.scheme or 'missing'} address", "https://")
    if parts.username or parts.password:
        _refuse(url, "a user or password in the address", "a plain https:// address")
    if (local and not allow_loopback) or _is_private(host):
        _refuse(url, "an address on a private or local network", "a public host")


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host.lower().rstrip(".") == "localhost"


def _is_private(host: str) -> bool:
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return False
    return not address.is_global and not address.is_loopback


def _refuse(url: str, got: str, expected: str) -> None:
    raise UnsafeInput(
        explain(
            "this address is not downloaded from",
            where=_shown(url),
            got=got,
            expected=expected,
            fix="download the file yourself and give its path",
        )
    )


def _too_large(url: str, got: str, max_bytes: int) -> TooLarge:
    return TooLarge(
        explain(
            "the download is too large", where=_shown(url), got=got, expected=f"at most {max_bytes:,} bytes"
        )
    )


def _unreachable(url: str, got: object, expected: object | None = None) -> CannotRead:
    return CannotRead(
        explain("cannot download", where=_shown(url), got=got, expected=expected, fix="try again later")
    )


def _shown(url: str) -> str:
    """Return an address without user, password and query, which may hold tokens."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.hostname or ''}{parts.path}"[:300]
