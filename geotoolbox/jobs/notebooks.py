"""The job *notebooks*: the notebooks that come with GeoToolbox, copied to where they can be opened."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field

from geotoolbox.core.events import SILENT, Artifact, Reporter
from geotoolbox.core.files import atomic_path, check_writable
from geotoolbox.errors import BadInput, CannotRead, explain
from geotoolbox.jobs.results import TextResult
from geotoolbox.jobs.spec import JobSpec, OutputFile

__all__ = ["Spec", "notebooks_folder", "run"]

_FIRST = "1-first-map.ipynb"


class Spec(JobSpec):
    """Where the notebooks go."""

    output: OutputFile = Field("geotoolbox-notebooks", description="the folder to fill")


def notebooks_folder() -> Path:
    """Return where the notebooks are: in the installed package, or beside it in a checkout.

    Raises:
        CannotRead: When this installation has none.
    """
    package = Path(__file__).resolve().parents[1]
    for folder in (package / "notebooks", package.parent / "notebooks"):
        if (folder / _FIRST).is_file():
            return folder
    raise CannotRead(explain("this installation has no notebooks", where=package, fix="install it anew"))


def run(spec: Spec, events: Reporter = SILENT) -> TextResult:
    """Copy the notebooks. One that is there already stays as it is, with what was changed in it.

    Raises:
        BadInput: When the folder is a file.
        CannotWrite: When the folder cannot be written to.
    """
    folder = Path(spec.output)
    if folder.exists() and not folder.is_dir():
        raise BadInput(explain("this is no folder", where=folder, fix="give another one with --output"))
    sources = sorted(p for p in notebooks_folder().iterdir() if p.suffix in (".ipynb", ".md"))
    kept = 0
    for source in sources:
        target = folder / source.name
        if target.exists():
            kept += 1
            continue
        check_writable(target)
        with atomic_path(target) as part:
            part.write_bytes(source.read_bytes())
        events.emit(Artifact(source.stem, str(target)))
    count = sum(p.suffix == ".ipynb" for p in sources)
    there = f" ({kept} files were there already and stay as they are)" if kept else ""
    text = f"{count} notebooks are in {folder}{there}. Open the first:\n  jupyter lab {folder / _FIRST}"
    return TextResult(text, {"folder": str(folder), "notebooks": count, "kept": kept})
