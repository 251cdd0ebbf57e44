"""The gallery shows every figure, with the code that draws it."""

from __future__ import annotations

import importlib.util
import re
import sys
from pathlib import Path
from types import ModuleType

import pytest
from PIL import Image

from geotoolbox import visualization as viz

DOCS = Path(__file__).resolve().parents[2] / "docs"
IMAGES = DOCS / "images" / "gallery"


@pytest.fixture(scope="module")
def gallery() -> ModuleType:
    spec = importlib.util.spec_from_file_location("make_gallery", DOCS / "make_gallery.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["make_gallery"] = module
    spec.loader.exec_module(module)
    return module


def figures_of_the_module() -> set[str]:
    return {name for name in viz.__all__ if re.match(r"(plot|show|animate|add|fit)_", name)}


def test_the_page_is_what_the_script_writes(gallery: ModuleType) -> None:
    assert (DOCS / "gallery.md").read_text(encoding="utf-8") == gallery.page(), "run: make docs"


def test_every_figure_is_in_the_gallery_with_its_code(gallery: ModuleType) -> None:
    code = "\n".join(re.findall(r"```python\n(.*?)```", gallery.page(), re.DOTALL))
    called = set(re.findall(r"viz\.((?:plot|show|animate|add|fit)_\w+)\(", code))
    inside_fit_map = {"add_scale_bar", "add_north_arrow"}
    assert called | inside_fit_map == figures_of_the_module()


def test_every_picture_is_there_small_and_not_blank(gallery: ModuleType) -> None:
    named = set(re.findall(r"\(images/gallery/([\w.]+)\)", gallery.page()))
    assert named == {path.name for path in IMAGES.iterdir()}
    for name in named:
        path = IMAGES / name
        assert path.stat().st_size < 150_000, name
        with Image.open(path) as picture:
            assert min(picture.size) >= 100
            assert len(picture.getcolors(256) or []) > 8
