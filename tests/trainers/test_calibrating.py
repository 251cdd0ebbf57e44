"""Temperature scaling: better likelihood, the same map, and it lasts in the bundle."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional as F

from geotoolbox.metrics.calibration import CalibrationCounts
from geotoolbox.models import load_bundle
from geotoolbox.models.predictor import Predictor
from geotoolbox.trainers import TrainOptions, train_segmentation
from geotoolbox.trainers.calibrating import calibrate
from geotoolbox.trainers.counts import Tally
from geotoolbox.trainers.validation import Validation, fit_temperature
from tests.trainers.scene import learnable


def overconfident(seed: int, factor: float, count: int = 3000) -> tuple[torch.Tensor, torch.Tensor]:
    """Logits that are ``factor`` times what the classes were drawn from."""
    rng = np.random.default_rng(seed)
    logits = torch.from_numpy(rng.normal(size=(count, 3)) * 1.5)
    p = logits.softmax(1).numpy()
    truth = (rng.random((count, 1)) > p.cumsum(1)).sum(1).clip(max=2)
    return logits * factor, torch.from_numpy(truth)


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 1000), st.floats(0.2, 6.0))
def test_likelihood_is_never_worse_and_the_class_stays(seed: int, factor: float) -> None:
    logits, truth = overconfident(seed, factor, 300)
    temperature = fit_temperature(logits, truth)
    assert 0.25 <= temperature <= 4
    after = F.cross_entropy(logits / temperature, truth)
    assert float(after) <= float(F.cross_entropy(logits, truth))
    assert bool(((logits / temperature).argmax(1) == logits.argmax(1)).all())


@pytest.mark.parametrize("factor", [0.5, 1.0, 2.5])
def test_the_factor_by_which_logits_are_wrong_is_found(factor: float) -> None:
    assert fit_temperature(*overconfident(0, factor, 20_000)) == pytest.approx(factor, rel=0.05)


def test_before_and_after_are_measured_on_other_blocks() -> None:
    logits, truth = overconfident(1, 2.5)
    block = torch.arange(len(truth)) // 100
    change = calibrate(Validation(Tally(3), 0.0, logits, truth, block))
    assert change is not None
    even = block % 2 == 0
    scaled = torch.where(
        even[:, None],
        logits / fit_temperature(logits[~even], truth[~even]),
        logits / fit_temperature(logits[even], truth[even]),
    )
    for values, surprise, ece in (
        (logits, change.cross_entropy_before, change.ece_before),
        (scaled, change.cross_entropy_after, change.ece_after),
    ):
        counts = CalibrationCounts(3)
        counts.update(values.softmax(1).numpy().T, truth.numpy())
        assert surprise == pytest.approx(counts.result().cross_entropy, rel=1e-6)
        assert ece == pytest.approx(counts.result().ece, abs=1e-6)
    assert change.cross_entropy_after < change.cross_entropy_before
    assert change.ece_after < 0.5 * change.ece_before
    assert f"temperature {change.temperature:.3f}" in change.sentence()
    assert calibrate(Validation(Tally(3))) is None


def test_a_trained_bundle_is_calibrated_says_so_and_predicts_the_same_bits_when_loaded(
    tmp_path: Path,
) -> None:
    torch.set_num_threads(1)
    options = TrainOptions(
        model="small",
        width=8,
        patch_px=32,
        batch_size=4,
        patches_per_epoch=16,
        epochs=2,
        baseline=False,
        workers=0,
    )
    result = train_segmentation(learnable(), learnable(seed=1, x=310_000), options=options, work_dir=tmp_path)
    bundle = result.bundle
    facts = bundle.metrics["calibration"]
    assert bundle.temperature == facts["temperature"] != 1.0
    assert facts["cross_entropy_after"] < facts["cross_entropy_before"]
    assert any("temperature" in note for note in result.notes)

    layer = learnable(seed=5).layers[0]
    image, valid = torch.from_numpy(layer.image)[None], torch.from_numpy(layer.valid)[None]
    loaded = load_bundle(bundle.save(tmp_path / "m.gtb"))
    assert loaded.temperature == bundle.temperature
    p, again = Predictor(bundle)(image, valid), Predictor(loaded)(image, valid)
    assert torch.equal(p, again)
    plain = Predictor(replace(bundle, temperature=1.0))(image, valid)
    assert not torch.equal(p, plain)
    ready = torch.where(valid[:, None], Predictor(bundle)._transform(image, valid), 0.0)
    logits = result.module(ready)
    assert torch.allclose(p, (logits / bundle.temperature).softmax(1), atol=1e-6)
    assert torch.equal(p.argmax(1), plain.argmax(1))


def test_training_points_are_training_pixels(tmp_path: Path) -> None:
    torch.set_num_threads(1)
    data = learnable()
    options = TrainOptions(
        model="small",
        width=8,
        patch_px=32,
        batch_size=4,
        patches_per_epoch=8,
        epochs=1,
        baseline=False,
        workers=0,
    )
    points = train_segmentation(data, learnable(seed=1, x=310_000), options=options, work_dir=tmp_path).points
    layer = data.layers[0]
    columns, rows = ~layer.geobox.affine * (points.xy[:, 0], points.xy[:, 1])
    assert np.allclose(columns % 1, 0.5) and np.allclose(rows % 1, 0.5)
    place = rows.astype(int), columns.astype(int)
    assert layer.valid[place].all() and np.array_equal(points.classes, layer.mask[place])
    means, spread = points.features.mean(axis=0), points.features.std(axis=0)
    assert np.abs(means).max() < 0.1 and np.abs(spread - 1).max() < 0.1
    raw = layer.image[:, place[0], place[1]].T
    slope = (raw - raw.mean(0)) / raw.std(0)
    assert np.allclose(slope, (points.features - means) / spread, atol=1e-3)
