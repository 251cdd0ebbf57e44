"""Class tables: values, indices and colours."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from geotoolbox.core.classes import DEFAULT_COLORS, IGNORE_INDEX, ClassInfo, ClassTable
from geotoolbox.errors import BadLabels


@given(st.lists(st.integers(-1000, 70_000), min_size=1, max_size=40, unique=True))
def test_values_go_to_indices_and_back(values: list[int]) -> None:
    table = ClassTable(tuple(ClassInfo(v, f"c{v}") for v in values))
    found = table.to_index(np.array([*values, 80_000]))
    assert found.tolist() == [*range(len(values)), IGNORE_INDEX]
    assert table.to_value(found, nodata=-5000).tolist() == [*values, -5000]


def test_json_keeps_all() -> None:
    table = ClassTable((ClassInfo(11, "water", (1, 2, 3)), ClassInfo(300, "ä <b>")))
    assert ClassTable.from_json(table.to_json()) == table


def test_the_datas_own_colours_win_then_the_usual_ones_then_the_palette() -> None:
    table = ClassTable(
        (ClassInfo(1, "water", (9, 9, 9)), ClassInfo(2, "Forest"), ClassInfo(3, "a"), ClassInfo(4, "wood"))
    )
    own, green, other, second_wood = table.colors
    assert own == (9, 9, 9)
    assert green[1] > green[0] and green[1] > green[2]
    assert other == DEFAULT_COLORS[2]
    assert second_wood == DEFAULT_COLORS[3]


def test_a_class_that_stands_twice_is_refused() -> None:
    with pytest.raises(BadLabels, match="class value stands twice"):
        ClassTable((ClassInfo(1, "a"), ClassInfo(1, "b")))
    with pytest.raises(BadLabels, match="class name stands twice"):
        ClassTable((ClassInfo(1, "a"), ClassInfo(2, "a")))
