"""Change: transitions counted from maps and estimated from a sample."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from affine import Affine

from geotoolbox.core.classes import ClassTable
from geotoolbox.datasets import RasterDataset
from geotoolbox.errors import BadInput, CannotAlign
from geotoolbox.metrics import DesignSample, count_transitions, estimate_transitions
from tests.make import NORTH_UP, write_raster

TABLE = ClassTable.from_names({1: "forest", 2: "field"})


def layer(path: Path, data: np.ndarray, **options: object) -> RasterDataset:
    write_raster(path, data.astype(np.uint8), nodata=0, **options)  # type: ignore[arg-type]
    return RasterDataset([path], kind="labels", classes=TABLE)


def test_transitions_are_counted_with_their_areas(tmp_path: Path) -> None:
    before = np.ones((40, 50), dtype=int)
    after = before.copy()
    after[:10, :20] = 2  # 200 pixels of forest became field
    after[39] = 0  # not known after
    found = count_transitions(layer(tmp_path / "b.tif", before), layer(tmp_path / "a.tif", after))
    assert found.names == ("forest", "field")
    assert found.pixels.tolist() == [[1750, 200], [0, 0]]
    assert found.area_ha[0, 1] == pytest.approx(200 * 0.09, rel=2e-3)
    assert found.changed_ha == pytest.approx(found.area_ha[0, 1])
    assert [found.losses_ha[0], found.gains_ha[1]] == pytest.approx([found.area_ha[0, 1]] * 2)
    assert "errors of both" in found.notes[0]
    assert found.to_json()["rows"] == "before"


def test_other_grids_are_refused_unless_asked_for(tmp_path: Path) -> None:
    before = layer(tmp_path / "b.tif", np.ones((40, 50), dtype=int))
    shifted = NORTH_UP * Affine.translation(0.4, 0.0)
    after = layer(tmp_path / "a.tif", np.ones((40, 50), dtype=int), transform=shifted)
    with pytest.raises(CannotAlign, match="different pixel grids"):
        count_transitions(before, after)
    found = count_transitions(before, after, align=True)
    assert found.pixels[0, 0] >= 1950
    assert "grid of the later one" in found.notes[1]


def test_estimated_transitions_have_intervals_that_agree_with_the_formulas() -> None:
    # a change map: stratum 0 stable (90 %), stratum 1 change (10 %); labelled before and after
    stratum = np.repeat([0, 1], 50)
    before = np.array([0] * 45 + [1] * 5 + [0] * 50)
    after = np.array([0] * 44 + [1] * 6 + [1] * 40 + [0] * 10)
    sample = DesignSample.from_points(stratum, before, after, np.array([0.9, 0.1]), 2)
    found = estimate_transitions(sample, ("forest", "field"), total_area_ha=1000)
    change = 0.9 * 1 / 50 + 0.1 * 40 / 50
    error = np.sqrt(0.81 * 0.02 * 0.98 / 49 + 0.01 * 0.8 * 0.2 / 49)
    assert found.area_ha[0, 1] == pytest.approx(1000 * change)
    assert found.standard_error_ha[0, 1] == pytest.approx(1000 * error)
    assert found.high_ha[0, 1] - found.area_ha[0, 1] == pytest.approx(1960 * error)
    assert found.changed_ha.value == pytest.approx(1000 * change)
    assert found.net_ha[1].value == pytest.approx(1000 * change)
    assert found.net_ha[0].value == pytest.approx(-found.net_ha[1].value)
    assert found.area_ha.sum() == pytest.approx(1000)


def test_a_sample_of_a_map_is_no_sample_of_change() -> None:
    sample = DesignSample.from_matrix(np.array([[9, 1], [1, 9]]), np.array([1.0, 1.0]))
    with pytest.raises(BadInput, match="reference classes before"):
        estimate_transitions(sample, ("a", "b"), total_area_ha=1)
