"""Statistics: valid pixels only, each once, equal to numpy's over all of them."""

from __future__ import annotations

import json
import logging

import numpy as np
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st

from geotoolbox.core.query import Region
from geotoolbox.errors import BadBundle, BadInput, BandMismatch, Cancelled
from geotoolbox.transforms import (
    BandStatistics,
    ClassStatistics,
    compute_class_statistics,
    compute_statistics,
)
from tests.sampling.memory import Layer, MemoryDataset, grid, layer


def holed(height, width, seed, share=0.7, offset=0.0):
    rng = np.random.default_rng(seed)
    image = (rng.normal(size=(2, height, width)) * 50 + offset).astype(np.float32)
    valid = rng.random((height, width)) < share
    valid[0, 0] = True
    image[:, ~valid] = -9999
    return Layer(image, valid, rng.integers(0, 3, (height, width)), grid(height, width))


@settings(max_examples=12, deadline=None)
@given(st.integers(1, 700), st.integers(1, 60), st.integers(0, 99), st.floats(0.05, 1.0))
def test_statistics_are_those_of_the_valid_pixels(height, width, seed, share):
    data = holed(height, width, seed, share, offset=1e6)
    found = compute_statistics(MemoryDataset([data], ["red", "nir"], 3))
    values = data.image[:, data.valid].astype(np.float64)
    np.testing.assert_allclose(found.mean, values.mean(axis=1), rtol=1e-12)
    np.testing.assert_allclose(found.std, values.std(axis=1), rtol=1e-7, atol=1e-9)
    assert found.minimum == tuple(values.min(axis=1)) and found.maximum == tuple(values.max(axis=1))
    assert found.count == (values.shape[1],) * 2
    np.testing.assert_allclose(found.p2, np.percentile(values, 2, axis=1), rtol=1e-6)
    np.testing.assert_allclose(found.p98, np.percentile(values, 98, axis=1), rtol=1e-6)


def test_indices_and_regions_are_included():
    data = layer(40, 50)
    dataset = MemoryDataset([data], ["red", "nir"], 3)
    left = Region(shapely.box(300_000, 4_138_800, 300_600, 4_140_000), "EPSG:32612")
    found = compute_statistics(dataset, region=left, indices=["NDVI", "sum = red + nir"])
    red, nir = data.image[:, :, :20].astype(np.float64)
    assert found.names == ("red", "nir", "NDVI", "sum") and found.count == (800,) * 4
    np.testing.assert_allclose(
        found.mean,
        [red.mean(), nir.mean(), ((nir - red) / (nir + red)).mean(), (red + nir).mean()],
        rtol=1e-6,
    )
    with pytest.raises(BandMismatch, match="swir1"):
        compute_statistics(dataset, indices=["NDBI"])


def test_a_limit_reads_less_and_repeats_by_seed():
    dataset = MemoryDataset([layer(1600, 1100)], classes=3)
    first, again = (compute_statistics(dataset, max_pixels=600_000, seed=4) for _ in range(2))
    assert first == again and 0 < first.count[0] <= 600_000
    assert abs(first.mean[0] - 500) < 5


def test_r19_nan_never_reaches_statistics(caplog):
    data = layer(20, 20)
    data.image[0, 3, 4], data.image[1, 7, 7] = np.nan, np.inf
    with caplog.at_level(logging.WARNING):
        found = compute_statistics(MemoryDataset([data], classes=3))
    assert found.count == (398, 398) and all(map(np.isfinite, found.mean))
    assert [r.message for r in caplog.records] == [
        "2 valid pixels are NaN or infinite; statistics leave them out"
    ]


def test_r20_a_constant_band_warns_once(caplog):
    data = layer(20, 20)
    data.image[1] = 7
    with caplog.at_level(logging.WARNING):
        found = compute_statistics(MemoryDataset([data], ["red", "nir"], 3))
    assert found.std[1] == 0 and found.mean[1] == 7
    assert len(caplog.records) == 1 and "nir" in caplog.records[0].message


def test_r21_statistics_of_nothing_are_refused():
    data = layer(20, 20)
    data.valid[:] = False
    with pytest.raises(BadInput, match="no valid pixel"):
        compute_statistics(MemoryDataset([data], classes=3))


def test_json_brings_back_the_same_numbers():
    found = compute_statistics(MemoryDataset([holed(30, 30, 1)], ["red", "nir"], 3))
    assert BandStatistics.from_json(json.loads(json.dumps(found.to_json()))) == found
    for bad in (
        {},
        {**found.to_json(), "mean": ["x", 1]},
        {**found.to_json(), "std": [1.0]},
        {**found.to_json(), "p2": None},
    ):
        with pytest.raises((BadBundle, BadInput)):
            BandStatistics.from_json(bad)


def test_classes_are_counted_where_valid():
    data = holed(600, 40, 3)
    data.mask[:5] = -100
    found = compute_class_statistics(MemoryDataset([data], classes=3))
    labels = data.mask[data.valid]
    assert found.counts == tuple(int((labels == c).sum()) for c in range(3))
    assert found.unlabelled == (labels < 0).sum()
    assert ClassStatistics(("a", "b"), (0, 0)).weights() == (0.0, 0.0)


def test_statistics_can_be_cancelled():
    class Stop:
        cancelled = True

        def emit(self, event):
            pass

    with pytest.raises(Cancelled):
        compute_statistics(MemoryDataset([layer(20, 20)], classes=3), reporter=Stop())
