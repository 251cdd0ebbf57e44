"""Boundary IoU and objects, by known cases, by torchmetrics, and by streaming."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import binary_erosion, label
from torchmetrics.functional.detection import panoptic_quality

from geotoolbox.core.classes import ClassTable
from geotoolbox.datasets import RasterDataset
from geotoolbox.errors import BadInput
from geotoolbox.metrics import compare_maps
from geotoolbox.metrics.boundary import BoundaryCounts, boundary_ring
from geotoolbox.metrics.objects import ObjectCounts
from geotoolbox.metrics.shapes import compare_shapes
from tests.make import write_raster

NAMES = ("ground", "house", "tree")


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 10_000), st.integers(1, 4), st.booleans())
def test_ring_is_mask_less_erosion_for_every_class(seed: int, width: int, border: bool) -> None:
    coarse = np.random.default_rng(seed).integers(0, 3, (6, 7))
    labels = np.kron(coarse, np.ones((5, 6), int))
    ring = boundary_ring(labels, width, num_classes=3, image_border=border)
    for c in range(3):
        mask = labels == c
        eroded = binary_erosion(mask, np.ones((3, 3)), iterations=width, border_value=not border)
        assert np.array_equal(ring & mask, mask & ~eroded)


def test_unknown_ground_makes_no_boundary() -> None:
    labels = np.zeros((20, 20), dtype=int)
    labels[:, 10:] = -1
    assert not boundary_ring(labels, 2, num_classes=2).any()


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 10_000), st.integers(3, 30), st.integers(1, 3))
def test_boundaries_in_strips_with_context_equal_the_whole(seed: int, rows: int, width: int) -> None:
    rng = np.random.default_rng(seed)
    truth = np.kron(rng.integers(0, 3, (8, 6)), np.ones((5, 5), int))
    mapped = np.where(rng.random(truth.shape) < 0.1, rng.integers(-1, 3, truth.shape), truth)
    whole, parts = BoundaryCounts(NAMES, width), BoundaryCounts(NAMES, width)
    whole.update(truth, mapped)
    for top in range(0, len(truth), rows):
        outer = slice(max(0, top - width), min(len(truth), top + rows + width))
        core = (slice(top - outer.start, min(top + rows, len(truth)) - outer.start), slice(None))
        parts.update(truth[outer], mapped[outer], core)
    assert parts.result() == whole.result()


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 10_000), st.lists(st.integers(1, 9), min_size=1, max_size=6))
def test_objects_in_strips_equal_the_whole(seed: int, strips: list[int]) -> None:
    rng = np.random.default_rng(seed)
    height = sum(strips)
    truth, mapped = (rng.choice(3, (height, 12), p=(0.6, 0.3, 0.1)) for _ in range(2))
    whole, parts = ObjectCounts(NAMES), ObjectCounts(NAMES)
    whole.update(truth, mapped, 4.0)
    top = 0
    for rows in strips:
        parts.update(truth[top : top + rows], mapped[top : top + rows], 4.0)
        top += rows
    assert parts.result().to_json() == whole.result().to_json()
    for c in range(3):
        pieces, number = label(truth == c, structure=np.ones((3, 3)))
        areas = np.sort(np.bincount(pieces.ravel())[1:] * 4.0)
        assert len(parts.result().reference_m2[c]) == number
        assert np.allclose(parts.result().reference_m2[c], areas)


def test_objects_are_matched_once_and_by_iou() -> None:
    truth, mapped = np.zeros((10, 30), int), np.zeros((10, 30), int)
    truth[2:6, 2:10] = 1  # 32 px; the map has it halved: two objects of 16 px, each with IoU 0.5
    mapped[2:4, 2:10] = 1
    mapped[5:6, 2:10] = 1
    truth[2:6, 15:19] = 1
    mapped[2:6, 16:20] = 1  # shifted by one: 12 / 20 = 0.6
    counts = ObjectCounts(NAMES[:2], iou=0.5)
    counts.update(truth, mapped)
    found = counts.result()
    assert (len(found.reference_m2[1]), len(found.map_m2[1]), found.matched[1]) == (2, 3, 2)
    assert found.precision[1] == pytest.approx(2 / 3) and found.recall[1] == 1.0
    assert found.f1[1] == pytest.approx(4 / 5)
    strict = ObjectCounts(NAMES[:2], iou=0.61)
    strict.update(truth, mapped)
    assert strict.result().matched[1] == 0


@pytest.mark.parametrize("seed", range(3))
def test_f1_of_objects_is_the_recognition_quality_of_torchmetrics(seed: int) -> None:
    rng = np.random.default_rng(seed)
    truth = np.kron(rng.integers(0, 3, (9, 11)), np.ones((4, 4), int))
    mapped = np.where(rng.random(truth.shape) < 0.08, rng.integers(0, 3, truth.shape), truth)
    counts = ObjectCounts(NAMES, iou=np.nextafter(0.5, 1))  # theirs takes more than half
    for rows in np.array_split(np.arange(len(truth)), 4):
        counts.update(truth[rows], mapped[rows])
    theirs = panoptic_quality(*(segments(a) for a in (mapped, truth)), things={0, 1, 2}, stuffs=set(),
                              return_sq_and_rq=True, return_per_class=True)  # fmt: skip
    assert counts.result().f1 == pytest.approx(theirs[:, 2].tolist(), abs=1e-6)
    assert 0 < min(counts.result().f1) < 1


def segments(labels: np.ndarray) -> torch.Tensor:
    """Return (1, H, W, 2): each pixel's class, and the number of its connected piece."""
    pieces = np.zeros_like(labels)
    for c in range(3):
        found, _ = label(labels == c, structure=np.ones((3, 3)))
        pieces = np.where(labels == c, found, pieces)
    return torch.from_numpy(np.stack([labels, pieces], axis=-1))[None]


def test_two_halves_of_one_object_match_it_once() -> None:
    truth, mapped = np.ones((4, 9), int), np.ones((4, 9), int)
    mapped[:, 4] = 2
    counts = ObjectCounts(NAMES, iou=0.4)
    counts.update(truth, mapped)
    assert counts.result().matched[1] == 1  # both halves have IoU 16/36, the second finds it taken


def test_shapes_of_files_equal_those_of_arrays(tmp_path: Path) -> None:
    rng = np.random.default_rng(3)
    truth = np.kron(rng.integers(0, 3, (20, 3)), np.ones((10, 10), int))
    mapped = np.roll(truth, 1, axis=1)
    table = ClassTable.from_names({1: "ground", 2: "house", 3: "tree"})
    layers = [
        RasterDataset(
            [write_raster(tmp_path / n, (a + 1).astype("uint8"), nodata=0)], kind="labels", classes=table
        )
        for n, a in (("m.tif", mapped), ("t.tif", truth))
    ]
    match = compare_maps(*layers).match
    found = compare_shapes(*layers, match, boundary_m=55, object_iou=0.5)
    boundary, objects = BoundaryCounts(NAMES, 2), ObjectCounts(NAMES, 0.5)
    boundary.update(truth, mapped)
    objects.update(truth, mapped)
    assert found.boundary is not None and found.objects is not None
    assert found.boundary.iou == boundary.result().iou
    assert found.boundary.width_px == 2 and found.boundary.width_m == pytest.approx(60, rel=2e-3)
    assert found.objects.matched == objects.result().matched
    assert found.objects.map_m2[1].sum() == pytest.approx(900 * (mapped == 1).sum(), rel=2e-3)


def test_a_boundary_without_width_is_refused() -> None:
    with pytest.raises(BadInput, match="at least one pixel"):
        boundary_ring(np.zeros((3, 3), int), 0, num_classes=2)
    with pytest.raises(BadInput, match="above 0"):
        ObjectCounts(NAMES, iou=0.0)
