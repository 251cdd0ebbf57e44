"""``geotoolbox JOB …``: parse, run the job, say how it went.

Exit codes: 0 done, 1 a fault of ours, 2 bad input, 3 finished with failed blocks, 130 cancelled.
A SIGTERM while the program is still starting ends it by that signal (143 in a shell).
"""

from __future__ import annotations

import argparse
import atexit
import logging
import os
import sys
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any, NoReturn

from geotoolbox import __version__
from geotoolbox.core.events import Log
from geotoolbox.errors import BlocksFailed, Cancelled, GeoToolboxError, explain

if TYPE_CHECKING:
    from geotoolbox.jobs.registry import Job
    from geotoolbox.jobs.spec import JobSpec

__all__ = ["main", "run_job"]

EXIT_OK, EXIT_FAULT, EXIT_BAD_INPUT, EXIT_FAILED_BLOCKS, EXIT_CANCELLED = 0, 1, 2, 3, 130


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit code, or ends the process with it where the words are the process's own."""
    if arguments is not None:
        return _command(list(arguments))
    try:
        code = _command(sys.argv[1:])
    except SystemExit as end:
        if not isinstance(end.code, int):
            raise
        code = end.code
    _leave(code)


def _leave(code: int) -> NoReturn:
    """End at once: taking large modules apart, and waiting for their threads, takes seconds and helps nobody."""
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError):
            stream.flush()
    os._exit(code)


def _command(words: list[str]) -> int:
    from geotoolbox.jobs.registry import find_job

    place = next((i for i, word in enumerate(words) if not word.startswith("-")), None)
    if place is not None:
        try:
            words[place] = find_job(words[place]).name
        except GeoToolboxError as error:
            return _refuse(str(error))
    parser, job = _parser(None if place is None else words[place])
    wrong = None if job is None or place is None else _unknown_option(job, words[place + 1 :])
    if wrong is not None:
        return _refuse(wrong)
    parsed = parser.parse_args(words)
    if not parsed.job:
        parser.print_help()
        return EXIT_OK
    return _run(parsed)


def _refuse(message: str) -> int:
    sys.stderr.write(f"error: {message}\n")
    return EXIT_BAD_INPUT


def _unknown_option(job: argparse.ArgumentParser, words: Sequence[str]) -> str | None:
    """Return what is wrong with the first option that the job does not have, and which one may be meant."""
    known = [name for name in job._option_string_actions if name.startswith("--")]
    for word in words:
        name = word.split("=", maxsplit=1)[0]
        if word == "--":
            break
        if name.startswith("--") and name not in known:
            near = [k for k in known if k.startswith(name)] or get_close_matches(name, known, 3, 0.6)
            fix = f"did you mean {' or '.join(near[:3])}?" if near else f"'{job.prog} --help' lists them"
            return explain("no such option", where=name, fix=fix)
    return None


def _parser(wanted: str | None) -> tuple[argparse.ArgumentParser, argparse.ArgumentParser | None]:
    """Return the parser of all commands, and that of the job that is wanted, which alone has its options."""
    from geotoolbox.jobs.registry import JOBS

    parser = argparse.ArgumentParser(
        prog="geotoolbox",
        allow_abbrev=False,
        description="From imagery and labels to a map that can be trusted.",
        epilog="'geotoolbox JOB --help' tells what a job takes. Every job writes the recipe that repeats it.",
    )
    parser.add_argument("--version", action="version", version=f"geotoolbox {__version__}")
    jobs = parser.add_subparsers(dest="job", metavar="JOB", title="jobs")
    found = None
    for name, job in JOBS.items():
        command = jobs.add_parser(name, help=job.summary, description=job.summary + ".", allow_abbrev=False)
        if name == wanted:
            found = command
            _fill(command, name)
    return parser, found


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
    from geotoolbox.cli.show import ends_at_once
    from geotoolbox.jobs.registry import find_job
    from geotoolbox.jobs.spec import check_paths, validate_spec

    try:
        with _log_to(reporter, verbose):
            job = find_job(name)
            spec = validate_spec(job.spec, values)
            check_paths(spec)
            with ends_at_once():
                _working_job(job, spec).load()
            if reporter.cancelled:
                raise Cancelled("cancelled while starting")
            result = job.run(spec, reporter)
    except BaseException as error:
        code, message = _judge(error)
        if code == EXIT_FAULT:
            logging.getLogger(__name__).exception("a fault of GeoToolbox itself")
        return _end(reporter, code, message, None)
    problem = result.problem
    return _end(reporter, EXIT_BAD_INPUT if problem else EXIT_OK, problem, result)


def _working_job(job: Job, spec: JobSpec) -> Job:
    """Return the job that will work: of a recipe, that which is in it."""
    from geotoolbox.jobs.recipe import read_recipe
    from geotoolbox.jobs.registry import find_job

    return find_job(read_recipe(spec.recipe)[0]) if job.name == "run" else job  # type: ignore[attr-defined]


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
        whole = "\n".join(text for text in (summary, message) if text)
        reporter.result({"exit_code": code, "message": whole, **values})
    else:
        if summary:
            _say(summary)
        if message:
            kind = {EXIT_CANCELLED: "cancelled", EXIT_FAILED_BLOCKS: "finished with failures"}.get(
                code, "error"
            )
            reporter.emit(Log(message if message.startswith(kind) else f"{kind}: {message}"))
    return code


def _say(text: str) -> None:
    from geotoolbox.cli.show import give_up

    try:
        sys.stdout.write(text + "\n")
        sys.stdout.flush()
    except BrokenPipeError:  # the work is done, whoever reads
        give_up(sys.stdout)
