"""The notebooks reach the person who installed a wheel."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

from geotoolbox.cli import main
from geotoolbox.errors import BadInput
from geotoolbox.jobs.notebooks import Spec, run

ROOT = Path(__file__).parents[2]
SOURCES = sorted(p.name for p in (ROOT / "notebooks").glob("*.ipynb"))


def test_the_notebooks_are_copied_and_what_is_there_stays(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "mine"
    assert main(["notebooks", "--output", str(folder)]) == 0
    assert f"jupyter lab {folder / '1-first-map.ipynb'}" in capsys.readouterr().out
    for name in SOURCES:
        assert (folder / name).read_bytes() == (ROOT / "notebooks" / name).read_bytes()
    (folder / SOURCES[0]).write_text("changed")
    (folder / SOURCES[1]).unlink()
    result = run(Spec(output=str(folder)))
    assert result.values == {"folder": str(folder), "notebooks": 8, "kept": 8}  # README.md and 7 of 8
    assert (folder / SOURCES[0]).read_text() == "changed"
    assert (folder / SOURCES[1]).exists()


def test_a_file_in_the_way_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(BadInput, match="no folder"):
        run(Spec(output=str(tmp_path / "file")))


def test_the_wheel_takes_the_notebooks_along() -> None:
    wheel = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["hatch"]["build"]
    assert "notebooks" in wheel["targets"]["wheel"]["only-include"]
    assert wheel["targets"]["wheel"]["sources"]["notebooks"] == "geotoolbox/notebooks"
