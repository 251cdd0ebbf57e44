"""Collation: batches and joins, by value."""

from __future__ import annotations

import pytest
import torch

from geotoolbox.errors import BadInput
from geotoolbox.sampling import concat_samples, merge_samples, stack_samples, unbind_samples


def sample(value, valid, mask=(0, 1)):
    return {
        "image": torch.tensor([[[float(value), float(value) + 1]]]),
        "valid": torch.tensor([list(valid)]),
        "mask": torch.tensor([list(mask)]),
        "crs": f"EPSG:{value}",
    }


def test_unbind_is_the_inverse_of_stack():
    samples = [sample(1, (True, False)), sample(5, (True, True))]
    batch = stack_samples(samples)
    assert batch["image"].tolist() == [[[[1, 2]]], [[[5, 6]]]] and batch["crs"] == ["EPSG:1", "EPSG:5"]
    for one, two in zip(unbind_samples(batch), samples, strict=True):
        assert one["crs"] == two["crs"]
        assert all(torch.equal(one[k], two[k]) for k in ("image", "valid", "mask"))


def test_stack_names_what_differs():
    with pytest.raises(BadInput, match=r"image.*\(1, 1, 2\).*\(1, 1, 3\)"):
        stack_samples([{"image": torch.zeros(1, 1, 2)}, {"image": torch.zeros(1, 1, 3)}])
    with pytest.raises(BadInput, match="keys"):
        stack_samples([{"image": torch.zeros(1)}, {"mask": torch.zeros(1)}])
    with pytest.raises(BadInput, match="no samples"):
        stack_samples([])


def test_concat_joins_channels_and_needs_all_valid():
    out = concat_samples([sample(1, (True, False)), sample(5, (True, True), (1, 1))])
    assert out["image"].tolist() == [[[1, 2]], [[5, 6]]]
    assert out["valid"].tolist() == [[True, False]] and out["mask"].tolist() == [[0, 1]]


def test_merge_takes_the_first_valid_and_never_a_fill_value():
    out = merge_samples([sample(1, (True, False), (0, -100)), sample(5, (True, True), (1, 1))])
    assert out["image"].tolist() == [[[1, 6]]]
    assert out["valid"].tolist() == [[True, True]] and out["mask"].tolist() == [[0, 1]]
