"""Normalisation, indices, preprocessing and augmentation, by pixel values."""

from __future__ import annotations

import json
import logging

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from geotoolbox.errors import BadBundle, BadInput, BandMismatch, UnsafeInput
from geotoolbox.transforms import (
    AppendIndices,
    Augment,
    BandStatistics,
    Expression,
    Normalize,
    Preprocess,
)

torch.set_num_threads(1)

STATS = BandStatistics(
    ("red", "nir", "NDVI"), (10.0, 20.0, 0.25), (2.0, 4.0, 0.5), (4.0, 8.0, -1.0), (16.0, 40.0, 1.0),
    (5.0, 10.0, -0.75), (15.0, 30.0, 0.75), (9, 9, 9),
)  # fmt: skip


@pytest.mark.parametrize(
    "text",
    [
        "__import__('os').system('touch x')", "nir.__class__", "nir[0]", "lambda: nir", "[nir for nir in red]",
        "nir if red else nir", "nir and red", "'a' * 9", "nir ** red", "nir ** 1e9", "9**9**9", "print(nir)",
        "sqrt(nir, red)", "abs(nir, x=1)", "nir; red", "nir = red", "f'{nir}'", "(nir := red)", "True + nir", "1 + 2",
        "", "__builtins__ + nir", "nir" + " + nir" * 99, "(" * 400 + "nir" + ")" * 400, "nir < red", "nir // red",
        "1e999 * nir", "nir @ red", "abs", "sqrt(*nir)", "nir\x00",
    ],
)  # fmt: skip
def test_s09_expressions_are_an_allow_list(text):
    with pytest.raises((UnsafeInput, BandMismatch)):
        Expression(text)({"nir": torch.ones(1), "red": torch.ones(1)})


@settings(max_examples=25, deadline=None)
@given(st.text(max_size=60))
def test_s09_any_text_is_refused_or_arithmetic(text):
    try:
        expression = Expression(text)
    except UnsafeInput:
        return
    assert expression.bands


def test_expressions_compute_what_they_say():
    red, nir = torch.tensor([1.0, 4.0]), torch.tensor([3.0, 9.0])
    bands = {"red": red, "nir": nir}
    assert Expression("-(nir - red) / 2 + red ** 2").bands == ("nir", "red")
    assert torch.equal(Expression("-(nir - red) / 2 + red ** 2")(bands), torch.tensor([0.0, 13.5]))
    assert torch.equal(Expression("max(sqrt(nir), red) * 1")(bands)[1:], torch.tensor([4.0]))
    with pytest.raises(BandMismatch, match="swir"):
        Expression("swir + red")(bands)


def test_known_indices_follow_their_formulas():
    names = ["green", "red", "nir", "swir1"]
    g, r, n, s = values = [0.11, 0.08, 0.4, 0.2]
    image = torch.tensor(values)[:, None, None]
    out = AppendIndices(["NDVI", "evi2", "NDWI", "NDBI", "SAVI"], names)({"image": image})["image"]
    expected = [
        (n - r) / (n + r), 2.5 * (n - r) / (n + 2.4 * r + 1), (g - n) / (g + n), (s - n) / (s + n),
        1.5 * (n - r) / (n + r + 0.5),
    ]  # fmt: skip
    np.testing.assert_allclose(out[4:, 0, 0], expected, rtol=1e-5)
    scaled = AppendIndices(["SAVI"], names, scale=1e-4)({"image": image * 1e4})["image"]
    np.testing.assert_allclose(scaled[4, 0, 0], expected[4], rtol=1e-5)


def test_an_undefined_index_is_not_valid_and_has_no_label():
    batch = {
        "image": torch.tensor([[[[1.0, 0.0, 5.0]], [[3.0, 0.0, 5.0]]]]),
        "valid": torch.tensor([[[True, True, False]]]),
        "mask": torch.tensor([[[0, 1, 1]]]),
    }
    out = AppendIndices(["NDVI"], ["red", "nir"])(batch)
    assert out["valid"].tolist() == [[[True, False, False]]]
    assert out["mask"].tolist() == [[[0, -100, 1]]]
    assert out["image"][0, :, 0].tolist() == [[1, 0, 0], [3, 0, 0], [0.5, 0, 0]]
    assert batch["image"].shape[1] == 2 and batch["mask"].tolist() == [[[0, 1, 1]]]
    with pytest.raises(BandMismatch, match="red"):
        AppendIndices(["NDVI"], ["nir"])
    with pytest.raises(BadInput, match="NDVI"):
        AppendIndices(["NDXX"], ["nir"])
    with pytest.raises(BadInput, match="twice"):
        AppendIndices(["nir = nir + nir"], ["nir"])


def test_normalisation_kinds():
    image = torch.tensor([10.0, 24.0, 0.5])[None, :, None, None]
    valid = torch.ones(1, 1, 1, dtype=torch.bool)
    for kind, expected in {
        "mean_std": [0.0, 1.0, 0.5],
        "min_max": [0.5, 0.5, 0.75],
        "percentile": [0.5, 0.7, 1.25 / 1.5],
    }.items():
        found = Normalize.from_statistics(STATS, kind)(image, valid).flatten()
        np.testing.assert_allclose(found, expected, rtol=1e-6)
        fill = Normalize.from_statistics(STATS, kind)(image, ~valid).flatten()
        mean = Normalize.from_statistics(STATS, kind)(torch.tensor(STATS.mean)[None, :, None, None], valid)
        np.testing.assert_allclose(fill, mean.flatten(), rtol=1e-6)


def test_r20_a_constant_band_stays_finite_with_one_warning(caplog):
    with caplog.at_level(logging.WARNING):
        normalize = Normalize([7.0, 1.0], [0.0, 2.0])
    assert len(caplog.records) == 1
    out = normalize(torch.tensor([[[[7.0, 9.0]], [[1.0, 5.0]]]]), torch.ones(1, 1, 2).bool())
    assert out.flatten().tolist() == [0, 2, 0, 2]


def test_preprocess_normalises_bands_and_indices_and_fills_with_the_mean():
    prepare = Preprocess(("red", "nir"), ("NDVI",), STATS)
    image = torch.tensor([[[[12.0, 0.0, 9999.0]], [[36.0, 0.0, 9999.0]]]])
    out = prepare(image, torch.tensor([[[True, True, False]]]))
    assert out.shape == (1, 3, 1, 3)
    np.testing.assert_allclose(out[0, :, 0, 0], [1.0, 4.0, 0.5], rtol=1e-6)
    np.testing.assert_allclose(out[0, :, 0, 1], [-5.0, -5.0, 0.0])  # the index is undefined: its mean
    assert out[0, :, 0, 2].tolist() == [0, 0, 0]
    assert prepare.state_dict() == {} and prepare.out_channels == 3


def test_preprocess_of_a_time_series_is_that_of_its_frames():
    prepare = Preprocess(("red", "nir"), ("NDVI",), STATS)
    image, valid = torch.rand(2, 5, 2, 4, 4) * 30, torch.rand(2, 5, 4, 4) > 0.3
    assert torch.equal(prepare(image, valid)[:, 3], prepare(image[:, 3], valid[:, 3]))


def test_r19_nan_and_inf_never_reach_the_network(caplog):
    prepare = Preprocess(("red", "nir"), ("NDVI",), STATS)
    image = torch.full((1, 2, 1, 4), 5.0)
    image[0, 0, 0, 1], image[0, 1, 0, 2], image[0, 0, 0, 3] = torch.nan, torch.inf, torch.nan
    with caplog.at_level(logging.WARNING):
        out = [prepare(image, torch.tensor([[[True, True, True, False]]])) for _ in range(3)]
    assert torch.isfinite(out[0]).all() and out[0][0, :, 0, 1:].abs().max() == 0
    assert [r.message for r in caplog.records] == ["2 valid pixels are NaN or infinite; taken as not valid"]


def test_preprocess_survives_json_and_refuses_damage():
    prepare = Preprocess(("red", "nir"), ("NDVI",), STATS, "percentile", 1e-4)
    again = Preprocess.from_json(json.loads(json.dumps(prepare.to_json())))
    image, valid = torch.rand(2, 2, 8, 8) * 30, torch.rand(2, 8, 8) > 0.2
    assert torch.equal(prepare(image, valid), again(image, valid))
    data = prepare.to_json()
    for bad in ({}, {**data, "statistics": None}, {**data, "bands": None}, {**data, "bands": ["nir", "red"]},
                {**data, "kind": "magic"}, {**data, "indices": ["x = nir.__class__"]}):  # fmt: skip
        with pytest.raises((BadBundle, BadInput)):
            Preprocess.from_json(bad)
    with pytest.raises(BandMismatch, match="3 channels"):
        prepare(torch.zeros(1, 3, 2, 2), torch.ones(1, 2, 2).bool())


def batch(count=6, side=16, channels=2, seed=0):
    rng = torch.Generator().manual_seed(seed)
    mask = torch.randint(0, 5, (count, side, side), generator=rng)
    valid = torch.rand(count, side, side, generator=rng) > 0.2
    image = torch.stack([mask.float() + 10 * c for c in range(channels)], dim=1) * valid[:, None]
    return {
        "image": image,
        "mask": torch.where(valid, mask, -100),
        "valid": valid,
        "transform": torch.zeros(count, 6),
    }


def test_flips_and_turns_move_pixels_together_and_change_none():
    before = batch(40)
    after = Augment(brightness=0, contrast=0, seed=0)(before)
    assert "transform" not in after and "transform" in before
    assert torch.equal(after["image"][:, 0], torch.where(after["valid"], after["mask"], 0).float())
    variants = {tuple(after["mask"][i].flatten().tolist()) for i in range(40)}
    assert len(variants) == 40
    same = {"image": before["image"][:1].repeat(200, 1, 1, 1)}
    turned = Augment(brightness=0, contrast=0, seed=1)(same)["image"]
    assert len(torch.unique(turned.flatten(1), dim=0)) == 8
    for one_, two in zip(before["image"], after["image"], strict=True):
        assert torch.equal(one_.flatten(1).sort().values, two.flatten(1).sort().values)


def test_windows_that_are_not_square_keep_their_shape():
    before = {"image": torch.rand(9, 2, 4, 6), "valid": torch.ones(9, 4, 6).bool()}
    assert Augment(seed=0)(before)["image"].shape == (9, 2, 4, 6)


def test_zoom_blends_no_fill_value_and_labels_nothing_outside():
    before = batch(20, 32)
    before["image"] = torch.where(before["valid"][:, None], 7.0, -9999.0).expand(-1, 2, -1, -1).clone()
    zoomed = Augment(
        flips=False, scale=(0.5, 2.0), rotation_deg=20, brightness=0, contrast=0, probability=1, seed=0
    )(before)
    image, valid, mask = zoomed["image"], zoomed["valid"], zoomed["mask"]
    inside = valid[:, None].expand_as(image)
    np.testing.assert_allclose(image[inside], 7.0, rtol=1e-5)
    assert (image[~inside] == 0).all()
    assert ((mask >= 0) & (mask < 5) | (mask == -100)).all()
    assert not ((mask >= 0) & ~valid).any()
    shrunk = Augment(flips=False, scale=(0.5, 0.5), brightness=0, contrast=0, probability=1)(before)
    assert not shrunk["valid"][:, :7].any() and (shrunk["mask"][:, :7] == -100).all()
    never = Augment(flips=False, scale=(0.5, 2.0), brightness=0.5, contrast=0.5, probability=0)(before)
    assert all(torch.equal(never[k], before[k]) for k in ("image", "mask", "valid"))


def test_a_zoom_by_two_reads_the_middle():
    ramp = torch.arange(16.0).repeat(16, 1)[None, None]
    before = {"image": ramp, "valid": torch.ones(1, 16, 16).bool(), "mask": ramp[0].long()}
    after = Augment(flips=False, scale=(2.0, 2.0), brightness=0, contrast=0, probability=1)(before)
    expected = 7.5 + (torch.arange(16.0) - 7.5) / 2
    np.testing.assert_allclose(after["image"][0, 0, 5], expected, atol=1e-4)
    assert (after["mask"][0, 5] - expected).abs().max() <= 0.5 + 1e-4


def test_radiometric_change_leaves_what_is_not_valid_and_repeats_by_seed():
    before = batch(30)
    first, again = (
        Augment(flips=False, brightness=0.3, contrast=0.2, noise=0.1, seed=3)(before) for _ in range(2)
    )
    assert torch.equal(first["image"], again["image"]) and not torch.equal(first["image"], before["image"])
    fill = ~before["valid"][:, None].expand_as(before["image"])
    assert (first["image"][fill] == 0).all()
    for bad in ({"scale": (0.0, 1.0)}, {"scale": (2.0, 1.0)}, {"probability": 2}, {"noise": -1}):
        with pytest.raises(BadInput):
            Augment(**bad)
