"""Notes on blocks as small files, for processes that share a folder but no database."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

from geotoolbox.core.files import atomic_path
from geotoolbox.errors import CannotRead, explain
from geotoolbox.prediction.ledger import BlockRecord
from geotoolbox.prediction.writer import HOST

__all__ = ["MOST_ATTEMPTS", "Markers", "read_order", "write_order"]

MOST_ATTEMPTS = 3
"""A block that has killed so many processes is set aside."""


class Markers:
    """What is known of the blocks of one run; a ledger without a database.

    A block that is begun has a file with how often that was; one that ended has a file with its record. What a
    killed process had begun keeps its count, so that a block that kills is found out.

    Args:
        folder: Where the blocks are.
        run_id: The run; notes of other runs do not count.
    """

    def __init__(self, folder: Path, run_id: str) -> None:
        self._folder, self._run_id = folder, run_id
        self._open: set[tuple[int, int]] = set()

    def lease(self, row: int, column: int) -> None:
        """Mark a block as begun once more."""
        self._note(row, column, self.attempts(row, column) + 1)
        self._open.add((row, column))

    def attempts(self, row: int, column: int) -> int:
        """Return how often a block was begun without an end."""
        with suppress(OSError, ValueError):
            return int(self._begun(row, column).read_text(encoding="ascii"))
        return 0

    def record(self, block: BlockRecord) -> None:
        """Write how a block ended."""
        path = self._folder / str(block.row) / f"done-{block.column}.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        with atomic_path(path, tag=HOST, sweep=False) as part:
            part.write_text(json.dumps({"run": self._run_id, **asdict(block)}), encoding="utf-8")
        self.forget(block.row, block.column)

    def forget(self, row: int, column: int) -> None:
        """Take back that a block was begun, and how often."""
        self._begun(row, column).unlink(missing_ok=True)
        self._open.discard((row, column))

    def release(self) -> None:
        """Take back the last beginning of the blocks that this object began: they were stopped in order."""
        for row, column in sorted(self._open):
            count = self.attempts(row, column) - 1
            if count > 0:
                self._note(row, column, count)
            else:
                self._begun(row, column).unlink(missing_ok=True)
        self._open.clear()

    def forgive(self) -> None:
        """Forget all beginnings."""
        for path in self._folder.glob("*/begun-*"):
            path.unlink(missing_ok=True)

    def find(self, row: int, column: int) -> BlockRecord | None:
        """Return the record of a block of the run, or None."""
        return self._read(self._folder / str(row) / f"done-{column}.json")

    def _read(self, path: Path) -> BlockRecord | None:
        try:
            facts = json.loads(path.read_text(encoding="utf-8"))
            return BlockRecord(**facts) if facts.pop("run") == self._run_id else None
        except (OSError, ValueError, KeyError, TypeError):  # none, or half a file: the block is made again
            return None

    def each(self) -> Iterator[BlockRecord]:
        """Yield the blocks of the run that have ended, in order of rows."""
        for folder in sorted(self._folder.glob("*"), key=lambda p: int(p.name) if p.name.isdigit() else 0):
            for path in folder.glob("done-*.json"):
                record = self._read(path)
                if record is not None:
                    yield record

    def _begun(self, row: int, column: int) -> Path:
        return self._folder / str(row) / f"begun-{column}"

    def _note(self, row: int, column: int, count: int) -> None:
        path = self._begun(row, column)
        path.parent.mkdir(parents=True, exist_ok=True)
        part = path.with_name(f"{path.name}.{HOST}.{os.getpid()}.part")
        part.write_text(str(count), encoding="ascii")
        os.replace(part, path)


def write_order(folder: Path, run_id: str, plan: dict[str, Any], shards: int) -> None:
    """Write down which run the blocks in a working folder belong to."""
    with atomic_path(folder / "plan.json", tag=HOST, sweep=False) as part:
        part.write_text(json.dumps({"run": run_id, "plan": plan, "shards": shards}), encoding="utf-8")


def read_order(folder: Path) -> tuple[str, dict[str, Any], int] | None:
    """Return (run, plan, number of shards) of a working folder, or None where nothing was begun.

    Raises:
        CannotRead: When the file is there and cannot be read.
    """
    path = folder / "plan.json"
    for attempt in range(3):
        try:
            facts = json.loads(path.read_text(encoding="utf-8"))
            return str(facts["run"]), dict(facts["plan"]), int(facts["shards"])
        except FileNotFoundError:
            return None
        except (OSError, ValueError, KeyError, TypeError) as error:
            failure: Exception = error
            time.sleep(0.2 * attempt)  # a file that another machine is replacing
    raise CannotRead(
        explain("the plan of the shards cannot be read", where=path, got=failure, fix="delete it, begin anew")
    )
