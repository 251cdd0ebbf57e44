"""The ledger: which block is done, with which checksum. SQLite, so a kill leaves it old or new."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol

__all__ = ["BlockRecord", "Book", "Ledger", "State"]

State = Literal["planned", "leased", "done", "failed"]

_SCHEMA = """
CREATE TABLE IF NOT EXISTS run (key TEXT PRIMARY KEY, value TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS block (
    row INTEGER NOT NULL, col INTEGER NOT NULL, state TEXT NOT NULL, attempts INTEGER NOT NULL DEFAULT 0,
    checksums TEXT NOT NULL DEFAULT '{}', seconds REAL NOT NULL DEFAULT 0, facts TEXT NOT NULL DEFAULT '{}',
    PRIMARY KEY (row, col)
);
"""


@dataclass(frozen=True, slots=True)
class BlockRecord:
    """What the ledger knows of a block.

    Attributes:
        row: Row of the block.
        column: Column of the block.
        state: planned, leased, done or failed (written, with nodata where tiles failed).
        attempts: How often it was begun.
        checksums: SHA-256 of its file, by output.
        seconds: How long it took.
        facts: Sums for the summary (class counts, areas, seams, failed tiles).
    """

    row: int
    column: int
    state: State
    attempts: int = 0
    checksums: dict[str, str] = field(default_factory=dict)
    seconds: float = 0.0
    facts: dict[str, Any] = field(default_factory=dict)


class Book(Protocol):
    """Where it is written down which block is begun and how it ended."""

    def lease(self, row: int, column: int) -> None:
        """Mark a block as begun."""

    def record(self, block: BlockRecord) -> None:
        """Write how a block ended."""


class Ledger:
    """The state of one run on disk; for one thread.

    Example:
        >>> import tempfile
        >>> ledger = Ledger(Path(tempfile.mkdtemp()) / "ledger.sqlite")
        >>> ledger.begin("run-1", {"tile_px": 256}, [(0, 0), (0, 1)])
        False
        >>> ledger.lease(0, 1)
        >>> ledger.record(BlockRecord(0, 1, "done", checksums={"classes": "ab"}))
        >>> [(r.row, r.column, r.state) for r in ledger.records()]
        [(0, 0, 'planned'), (0, 1, 'done')]
        >>> ledger.close()
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            self._db = self._open()
        except sqlite3.DatabaseError:  # not a ledger, or damaged: its blocks are computed again
            for name in (path, path.with_name(path.name + "-wal"), path.with_name(path.name + "-shm")):
                name.unlink(missing_ok=True)
            self._db = self._open()

    def _open(self) -> sqlite3.Connection:
        db = sqlite3.connect(self.path, isolation_level=None, timeout=30)
        try:
            db.execute("PRAGMA journal_mode=WAL")
            db.execute("PRAGMA synchronous=NORMAL")
            db.executescript(_SCHEMA)
            db.execute(
                "SELECT row, col, state, attempts, checksums, seconds, facts FROM block LIMIT 1"
            ).fetchone()
        except sqlite3.DatabaseError:
            db.close()
            raise
        return db

    def plan(self) -> dict[str, Any] | None:
        """Return the plan of the run that the ledger belongs to, or None."""
        row = self._db.execute("SELECT value FROM run WHERE key = 'plan'").fetchone()
        return None if row is None else json.loads(row[0])

    def run_id(self) -> str:
        """Return the run that the ledger belongs to; empty before :meth:`begin`."""
        row = self._db.execute("SELECT value FROM run WHERE key = 'run_id'").fetchone()
        return "" if row is None else str(row[0])

    def begin(self, run_id: str, plan: dict[str, Any], blocks: Iterable[tuple[int, int]]) -> bool:
        """Open the run: go on if the ledger belongs to it (returns True), else start afresh."""
        row = self._db.execute("SELECT value FROM run WHERE key = 'run_id'").fetchone()
        if row is not None and row[0] == run_id:
            self._db.execute("UPDATE block SET state = 'planned' WHERE state = 'leased'")
            return True
        with closing(self._db.cursor()) as cursor:
            cursor.execute("BEGIN IMMEDIATE")
            cursor.execute("DELETE FROM block")
            cursor.execute("DELETE FROM run")
            cursor.executemany("INSERT INTO block (row, col, state) VALUES (?, ?, 'planned')", blocks)
            cursor.executemany(
                "INSERT INTO run VALUES (?, ?)",
                [("run_id", run_id), ("plan", json.dumps(plan, sort_keys=True))],
            )
            cursor.execute("COMMIT")
        return False

    def lease(self, row: int, column: int) -> None:
        """Mark a block as begun."""
        self._db.execute(
            "UPDATE block SET state = 'leased', attempts = attempts + 1 WHERE row = ? AND col = ?",
            (row, column),
        )

    def record(self, block: BlockRecord) -> None:
        """Write how a block ended."""
        self._db.execute(
            "UPDATE block SET state = ?, checksums = ?, seconds = ?, facts = ? WHERE row = ? AND col = ?",
            (
                block.state,
                json.dumps(block.checksums),
                block.seconds,
                json.dumps(block.facts),
                block.row,
                block.column,
            ),
        )

    def record_all(self, blocks: Iterable[BlockRecord]) -> None:
        """Write how many blocks ended, in one go."""
        with closing(self._db.cursor()) as cursor:
            cursor.execute("BEGIN IMMEDIATE")
            for block in blocks:
                self.record(block)
            cursor.execute("COMMIT")

    def each(self) -> Iterator[BlockRecord]:
        """Yield all blocks, in order, without holding them all."""
        rows = self._db.execute(
            "SELECT row, col, state, attempts, checksums, seconds, facts FROM block ORDER BY row, col"
        )
        for r, c, s, a, k, t, f in rows:
            yield BlockRecord(r, c, s, a, json.loads(k), t, json.loads(f))

    def records(self) -> list[BlockRecord]:
        """Return all blocks, in order."""
        return list(self.each())

    def close(self) -> None:
        """Close the file."""
        self._db.close()
