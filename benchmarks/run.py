"""The benchmarks, side by side with the peers: one table.

    python benchmarks/run.py [ROW …] [--quick] [--data FOLDER] [--rounds N] [--output docs/performance.md]

Rows: start_up, native, zones, batch, grid, third, deflate, vectors, index, iobench, training, prediction; all
without a name. Each tool runs in a process and an environment of its own (``benchmarks/setup_peers.sh`` makes
those of the peers), in turn, and medians are compared. A peer that is not installed is left out.
"""

from __future__ import annotations

import argparse
import logging
import os
import sys
import tempfile
import time
from pathlib import Path

import scenes
from harness import HEAD, ROOT, Bench, Row, SideFailed, load, machine, version_lines
from rows import QUICK, ROWS

log = logging.getLogger("bench")
BEGIN, END = "<!-- measured: begin -->", "<!-- measured: end -->"


def main() -> int:
    """Run the rows and print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("rows", nargs="*", choices=[*ROWS, []], default=[], help="which rows")
    parser.add_argument("--quick", action="store_true", help="small scenes and few rounds: some minutes")
    default = os.environ.get("GEOTOOLBOX_BENCH_DATA", str(ROOT / "benchmarks" / "data"))
    parser.add_argument("--data", type=Path, default=Path(default), help="where the scenes are, or are made")
    parser.add_argument("--side", type=int, help="side of the scenes, in pixels (6000; quick: 2048)")
    parser.add_argument("--rounds", type=int, help="how often each side runs (2; quick: 1)")
    parser.add_argument("--zion", help="folder of the Zion scene")
    parser.add_argument("--output", type=Path, help="put the table into this document")
    given = parser.parse_args()
    start, busy = time.monotonic(), load()
    side = given.side or (2048 if given.quick else 6000)
    data = scenes.make(given.data, side, scenes.zion_folder(given.zion))
    names = given.rows or (QUICK if given.quick else tuple(ROWS))
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        bench = Bench(given.quick, given.rounds or (1 if given.quick else 2), Path(folder))
        print(HEAD, flush=True)
        lines: list[str] = []
        taken: dict[str, float] = {}
        for name in names:
            begun = time.monotonic()
            lines += _lines(name, data, bench)
            taken[name] = time.monotonic() - begun
            head = _head(side, bench, f"{machine()}, {busy}.", taken, time.monotonic() - start)
            if given.output:  # after each row, so that a run that is stopped leaves what it has measured
                put(given.output, "\n".join([*head, "", HEAD, *lines]))
    print("\n" + "\n".join(head))
    return 0


def _head(side: int, bench: Bench, where: str, taken: dict[str, float], seconds: float) -> list[str]:
    """Say where, when and for how long it was measured, and with which versions."""
    rows = ", ".join(f"{name} {took:.0f}" for name, took in taken.items())
    return [
        where,
        f"Scenes of {side} × {side} px; {bench.rounds} rounds; {seconds / 60:.0f} minutes in all (seconds: {rows}).",
        "",
        *version_lines(bench.versions),
    ]


def _lines(name: str, data: scenes.Data, bench: Bench) -> list[str]:
    """Run one row and print its lines; a side that fails is told in the table."""
    try:
        found = ROWS[name](data, bench)
    except Exception as error:  # whatever it is: it stops this row, not the others
        log.debug("row %s", name, exc_info=True)
        kind = "" if isinstance(error, SideFailed) else f"{type(error).__name__}: "
        reason = kind + " ".join(str(error).split())[-300:].replace("|", "/")
        found = [Row(name, "–", "–", "–", "–", "**failed**", note=reason)]
    lines = [row.markdown() for row in found]
    print("\n".join(lines), flush=True)
    return lines


def put(path: Path, text: str, begin: str = BEGIN, end: str = END) -> None:
    """Put a measured part between its two marks in a document, or at its end."""
    old = path.read_text(encoding="utf-8") if path.exists() else "# Performance\n"
    before, _, rest = old.partition(begin)
    _, _, after = rest.partition(end)
    path.write_text(f"{before.rstrip()}\n\n{begin}\n\n{text}\n\n{end}\n{after}", encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())
