"""The docs say what the commands take."""

from __future__ import annotations

from pathlib import Path

from geotoolbox.cli.reference import reference


def test_docs_cli_is_made_from_the_specs() -> None:
    page = Path(__file__).parents[2] / "docs" / "cli.md"
    assert page.read_text(encoding="utf-8") == reference(), "run: make docs"
