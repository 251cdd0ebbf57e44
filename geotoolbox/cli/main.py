"""``geotoolbox JOB …``: parse, run the job, say how it went.

Exit codes: 0 done, 1 a fault of ours, 2 bad input, 3 finished with failed blocks, 130 cancelled.
"""

from __future__ import annotations

import argparse
import logging
import sys
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from geotoolbox import __version__
from geotoolbox.core.events import Log
from geotoolbox.errors import BlocksFailed, Cancelled, GeoToolboxError

__all__ = ["main", "run_job"]

EXIT_OK, EXIT_FAULT, EXIT_BAD_INPUT, EXIT_FAILED_BLOCKS, EXIT_CANCELLED = 0, 1, 2, 3, 130


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit code."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    parser = _parser(words)
    parsed = parser.parse_args(words)
    if not parsed.job:
        parser.print_help()
        return EXIT_OK
    return _run(parsed)


def _parser(words: Sequence[str]) -> argparse.ArgumentParser:
    from geotoolbox.jobs.registry import JOBS

    parser = argparse.ArgumentParser(
        prog="geotoolbox",
        description="From imagery and labels to a map that can be trusted.",
        epilog="'geotoolbox JOB --help' tells what a job takes. Every job writes the recipe that repeats it.",
    )
    parser.add_argument("--version", action="version", version=f"geotoolbox {__version__}")
    jobs = parser.add_subparsers(dest="job", metavar="JOB", title="jobs")
    wanted = next((w for w in words if w in JOBS), None)
    for name, job in JOBS.items():
        command = jobs.add_parser(name, help=job.summary, description=job.summary + ".")
        if name == wanted:
            _fill(command, name)
    return parser


def _fill(command: argparse.ArgumentParser, name: str) -> None:
    from geotoolbox.cli.options import add_options
    from geotoolbox.jobs.registry import find_job

    job = find_job(name)
    add_options(command, job.spec, job.positional)
    output = command.add_argument_group("output")
    output.add_argument(
        "--events", choices=("auto", "text", "jsonl"), default="auto", help="how progress is shown"
    )
    output.add_argument("--verbose", action="store_true", help="log what the engine does, in detail")


def _run(parsed: argparse.Namespace) -> int:
    from geotoolbox.cli.options import values_of
    from geotoolbox.cli.show import JsonLines, PlainLines, Terminal, catch_signals
    from geotoolbox.jobs.registry import find_job

    reporter: JsonLines | PlainLines
    if parsed.events == "jsonl":
        reporter = JsonLines(sys.stdout)
    elif sys.stderr.isatty() and parsed.events == "auto":
        reporter = Terminal(sys.stderr)
    else:
        reporter = PlainLines(sys.stderr)
    catch_signals(reporter)
    values = values_of(parsed, find_job(parsed.job).spec)
    return run_job(parsed.job, values, reporter, verbose=parsed.verbose)


def run_job(name: str, values: dict[str, Any], reporter: Any, *, verbose: bool = False) -> int:
    """Run a job with plain values as its settings, tell the reporter how it ended, and return the exit code."""
    from geotoolbox.jobs.registry import find_job
    from geotoolbox.jobs.spec import validate_spec

    try:
        with _log_to(reporter, verbose):
            job = find_job(name)
            result = job.run(validate_spec(job.spec, values), reporter)
    except BaseException as error:
        code, message = _judge(error)
        if code == EXIT_FAULT:
            logging.getLogger(__name__).exception("a fault of GeoToolbox itself")
        return _end(reporter, code, message, None)
    return _end(reporter, EXIT_OK, "", result)


@contextmanager
def _log_to(reporter: Any, verbose: bool) -> Iterator[None]:
    """Show the engine's own log among the events; with ``--verbose`` its details on standard error."""
    from geotoolbox.cli.show import EventHandler

    engine = logging.getLogger("geotoolbox")
    handler = logging.StreamHandler(sys.stderr) if verbose else EventHandler(reporter)
    before = engine.level, engine.propagate
    engine.addHandler(handler)
    engine.setLevel(logging.DEBUG if verbose else logging.WARNING)
    engine.propagate = False
    with warnings.catch_warnings():
        # Polygons are found in pixel coordinates first; that is meant.
        warnings.filterwarnings("ignore", message="Dataset has no geotransform")
        warnings.filterwarnings("ignore", category=PendingDeprecationWarning)
        try:
            yield
        finally:
            engine.removeHandler(handler)
            engine.setLevel(before[0])
            engine.propagate = before[1]


def _judge(error: BaseException) -> tuple[int, str]:
    match error:
        case Cancelled() | KeyboardInterrupt():
            return EXIT_CANCELLED, str(error) or "cancelled"
        case BlocksFailed():
            return EXIT_FAILED_BLOCKS, str(error)
        case GeoToolboxError():
            return EXIT_BAD_INPUT, str(error)
        case SystemExit():
            raise error
    return EXIT_FAULT, f"{type(error).__name__}: {error}"


def _end(reporter: Any, code: int, message: str, result: Any) -> int:
    from geotoolbox.cli.show import JsonLines

    reporter.close()
    summary = result.summary() if result is not None else ""
    if isinstance(reporter, JsonLines):
        values = result.to_json() if result is not None else {}
        reporter.result({"exit_code": code, "message": message or summary, **values})
    else:
        if message:
            kind = {EXIT_CANCELLED: "cancelled", EXIT_FAILED_BLOCKS: "finished with failures"}.get(
                code, "error"
            )
            reporter.emit(Log(message if message.startswith(kind) else f"{kind}: {message}"))
        if summary:
            _say(summary)
    return code


def _say(text: str) -> None:
    from geotoolbox.cli.show import give_up

    try:
        sys.stdout.write(text + "\n")
        sys.stdout.flush()
    except BrokenPipeError:  # the work is done, whoever reads
        give_up(sys.stdout)
