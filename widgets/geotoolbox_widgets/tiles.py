"""Tiles over Jupyter's own connection: drawn by a few threads, kept for a while, sent as they are ready."""

from __future__ import annotations

import logging
import threading
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from geotoolbox_widgets.base import sentence
from geotoolbox_widgets.layers import RasterLayer

__all__ = ["TileKey", "TileStore", "Tiler"]

_log = logging.getLogger(__name__)
_THREADS = 3
_KEPT_BYTES = 48_000_000
_MOST_WAITING = 400


@dataclass(frozen=True, slots=True)
class TileKey:
    """Which tile of which drawing of a layer."""

    layer: str
    version: int
    zoom: int
    column: int
    row: int


class TileStore:
    """Tiles that were drawn, the least recently used thrown away.

    Example:
        >>> store = TileStore(limit_bytes=8)
        >>> store.put(TileKey("a", 0, 0, 0, 0), b"12345678")
        >>> store.put(TileKey("a", 0, 1, 0, 0), b"1234")
        >>> store.get(TileKey("a", 0, 0, 0, 0)) is None, store.size_bytes
        (True, 4)
    """

    def __init__(self, limit_bytes: int = _KEPT_BYTES) -> None:
        self.limit_bytes, self.size_bytes = limit_bytes, 0
        self._tiles: OrderedDict[TileKey, bytes] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, key: TileKey) -> bytes | None:
        """Return a tile, or None."""
        with self._lock:
            found = self._tiles.get(key)
            if found is not None:
                self._tiles.move_to_end(key)
            return found

    def put(self, key: TileKey, tile: bytes) -> None:
        """Keep a tile."""
        with self._lock:
            self.size_bytes += len(tile) - len(self._tiles.pop(key, b""))
            self._tiles[key] = tile
            while self.size_bytes > self.limit_bytes and self._tiles:
                self.size_bytes -= len(self._tiles.popitem(last=False)[1])

    def forget(self, layer: str) -> None:
        """Drop all tiles of a layer."""
        with self._lock:
            for key in [k for k in self._tiles if k.layer == layer]:
                self.size_bytes -= len(self._tiles.pop(key))


class Tiler:
    """Answers a page's wishes for tiles.

    Args:
        find: Returns a layer by its id, or None.
        send: Sends a message with one buffer to the page; called from the threads.
        failed: Hears in words why a tile could not be drawn; once a layer and drawing.
    """

    def __init__(
        self,
        find: Callable[[str], RasterLayer | None],
        send: Callable[[dict[str, Any], bytes], None],
        failed: Callable[[str], None],
    ) -> None:
        self.find, self.send, self.failed = find, send, failed
        self.store = TileStore()
        self._pool: ThreadPoolExecutor | None = None
        self._waiting: dict[str, TileKey] = {}
        self._told: set[tuple[str, int]] = set()
        self._lock = threading.Lock()

    def want(self, ticket: str, key: TileKey) -> None:
        """Draw a tile and send it under the page's ticket; what was drawn before is sent at once."""
        kept = self.store.get(key)
        if kept is not None:
            self.send({"kind": "tile", "ticket": ticket}, kept)
            return
        with self._lock:
            # The oldest wishes are for places that were panned over long ago.
            while len(self._waiting) >= _MOST_WAITING:
                self._waiting.pop(next(iter(self._waiting)))
            self._waiting[ticket] = key
            if self._pool is None:
                self._pool = ThreadPoolExecutor(_THREADS, thread_name_prefix="geotoolbox-tiles")
        self._pool.submit(self._draw, ticket)

    def cancel(self, ticket: str) -> None:
        """Forget a wish, when it has not begun."""
        with self._lock:
            self._waiting.pop(ticket, None)

    def close(self) -> None:
        """Stop the threads."""
        with self._lock:
            self._waiting.clear()
            pool, self._pool = self._pool, None
        if pool is not None:
            pool.shutdown(wait=False, cancel_futures=True)

    def _draw(self, ticket: str) -> None:
        with self._lock:
            key = self._waiting.pop(ticket, None)
        layer = None if key is None else self.find(key.layer)
        if key is None or layer is None:
            return
        tile = self.store.get(key)
        if tile is None:
            try:
                tile = layer.tile(key.zoom, key.column, key.row)
            except Exception as error:
                _log.debug("tile %s", key, exc_info=True)
                self._tell(key, error)
                self.send({"kind": "failed", "ticket": ticket}, b"")
                return
            if layer.version == key.version:
                self.store.put(key, tile)
        self.send({"kind": "tile", "ticket": ticket}, tile)

    def _tell(self, key: TileKey, error: Exception) -> None:
        with self._lock:
            if (key.layer, key.version) in self._told:
                return
            self._told.add((key.layer, key.version))
        self.failed(sentence(error))
