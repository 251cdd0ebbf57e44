"""The job *check* tries the installation that runs these tests."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from geotoolbox import __version__
from geotoolbox.errors import BadInput
from geotoolbox.jobs import check, checking


def test_it_tells_versions_and_that_a_training_learns(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(Path(checking.sys.executable).parents[1]))
    result = check.run(check.Spec())
    lines = result.text.splitlines()
    assert lines[0] == f"GeoToolbox {__version__}" and result.engine == __version__
    assert " at ~/" in lines[1], "the name of the home folder is left out"
    assert f"torch {torch.__version__.split('+')[0]}" in result.text
    assert "a raster written and read" in result.text and result.free_gb > 0
    assert result.device in ("cpu", "cuda", "mps")


def test_a_part_that_is_missing_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checking, "_PARTS", {"no_such_library": "no-such-library"})
    with pytest.raises(BadInput, match="cannot be used: no-such-library"):
        check.run(check.Spec(train=False))
