"""The reference of all commands as Markdown, made from the specs: ``python -m geotoolbox.cli.reference``."""

from __future__ import annotations

import sys

from pydantic.fields import FieldInfo

from geotoolbox.cli.options import option_name
from geotoolbox.jobs.registry import JOBS, Job

__all__ = ["reference"]

_HEAD = """# Commands

Made from the jobs' specs by `make docs`; a test keeps it true. Every command also takes `--events auto|text|jsonl`, `--verbose` and `--help`.
Exit codes: 0 done, 1 a fault of GeoToolbox itself, 2 bad input (*inspect*: all is shown, and a file has a problem), 3 finished with failed
blocks, 130 cancelled, 143 ended by SIGTERM while it was starting. Options are written in full; a misspelt one is answered with the one meant.
"""


def reference() -> str:
    """Return the reference of all commands as Markdown."""
    return "\n".join([_HEAD, *(_job(job) for job in JOBS.values())])


def _job(job: Job) -> str:
    lines = [
        f"## geotoolbox {job.name}",
        "",
        f"{job.summary}.",
        "",
        "| option | meaning | default |",
        "|---|---|---|",
    ]
    fields = sorted(job.spec.model_fields.items(), key=lambda item: not item[1].is_required())
    for name, field in fields:
        option = name.upper() if name == job.positional else option_name(name)
        meaning = (field.description or "").replace("|", "\\|")
        lines.append(f"| `{option}` | {meaning} | {_default(field)} |")
    return "\n".join([*lines, ""])


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "needed"
    value = field.default
    if value in (None, (), ""):
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"`{' '.join(map(str, value)) if isinstance(value, tuple) else value}`"


if __name__ == "__main__":
    sys.stdout.write(reference())
