"""The engine as a process of another program: a job in on standard input, JSON lines out.

``python -m geotoolbox.cli.worker`` is how QGIS runs jobs. The protocol, one JSON object a line, UTF-8:

- out, at once: ``{"kind": "hello", "protocol": 1, "engine": "0.1.0", "python": "3.11.2"}``
- in: ``{"job": "train", "spec": {…}}``; later ``{"command": "cancel"}``; the end of input means that the parent is gone
- out: the events of the job as in ``--events jsonl``, and last ``{"kind": "result", "exit_code": 0, …}``

What a library prints goes to standard error; it cannot mix with the protocol.
"""

from __future__ import annotations

import json
import os
import platform
import sys
import threading
import time
from collections.abc import Callable
from typing import Any, TextIO

from geotoolbox import __version__
from geotoolbox.cli.main import EXIT_BAD_INPUT, EXIT_CANCELLED, run_job
from geotoolbox.cli.show import JsonLines, catch_signals

__all__ = ["PROTOCOL", "main", "serve"]

PROTOCOL = 1
"""What both sides must agree on; it changes when a line changes its meaning."""

_GRACE_S = 3.0


def main() -> None:
    """Take the standard streams, serve one job, and end the process without waiting for threads."""
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    out = os.fdopen(os.dup(1), "w", encoding="utf-8", buffering=1)
    os.dup2(2, 1)  # whatever prints, prints beside the protocol
    sys.stdout = sys.stderr
    source = os.fdopen(os.dup(0), encoding="utf-8")
    with open(os.devnull, "rb") as nothing:
        os.dup2(nothing.fileno(), 0)  # nor does anything else read from it
    code = serve(source, out, leave=os._exit)
    out.flush()
    sys.stderr.flush()
    os._exit(code)


def serve(source: TextIO, out: TextIO, *, leave: Callable[[int], object]) -> int:
    """Say hello, read a job, run it, and say how it ended.

    Args:
        source: Where the job and later orders come from.
        out: Where the lines go.
        leave: Called with an exit code when the parent is gone and the job does not stop by itself.

    Returns:
        The exit code, as of the command line.
    """
    reporter = JsonLines(out)
    hello = {"protocol": PROTOCOL, "engine": __version__, "python": platform.python_version()}
    out.write(json.dumps({"kind": "hello", **hello, "pid": os.getpid()}) + "\n")
    out.flush()
    line = source.readline()
    if not line.strip():
        return EXIT_CANCELLED  # only the hello was wanted
    try:
        order = json.loads(line)
        job, values = str(order["job"]), dict(order.get("spec", {}))
    except (ValueError, KeyError, TypeError) as error:
        reporter.result({"exit_code": EXIT_BAD_INPUT, "message": f"this is not a job: {error}"})
        return EXIT_BAD_INPUT
    catch_signals(reporter)
    threading.Thread(target=_listen, args=(source, reporter, leave), daemon=True).start()
    return run_job(job, values, reporter)


def _listen(source: TextIO, reporter: JsonLines, leave: Callable[[int], Any]) -> None:
    """Hear orders while the job runs; when nobody can give orders any more, stop."""
    try:
        for line in source:
            if _is_cancel(line):
                reporter.cancel()
    except (OSError, ValueError):
        pass  # a broken pipe is an end as well
    reporter.cancel()
    time.sleep(_GRACE_S)
    leave(EXIT_CANCELLED)


def _is_cancel(line: str) -> bool:
    try:
        order = json.loads(line)
    except ValueError:
        return False
    return isinstance(order, dict) and order.get("command") == "cancel"


if __name__ == "__main__":
    main()
