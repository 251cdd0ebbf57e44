"""The small network: shapes, reach, and that it learns what a per-pixel rule cannot."""

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from geotoolbox.models.small import LocalContrast, SmallNet


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


@given(height=st.integers(1, 70), width=st.integers(1, 70), bands=st.integers(1, 6))
@settings(max_examples=20, deadline=None)
def test_any_size_and_any_number_of_bands(height: int, width: int, bands: int) -> None:
    net = SmallNet(bands, 3, width=4).eval()
    with torch.inference_mode():
        logits = net(torch.randn(2, bands, height, width))
    assert logits.shape == (2, 3, height, width)
    assert torch.isfinite(logits).all()


def test_nothing_beyond_the_halo_matters() -> None:
    torch.manual_seed(0)
    net = SmallNet(2, 3, width=4).eval()
    halo, size = net.halo_px, 2 * net.halo_px + 64
    image = torch.randn(1, 2, size, size, requires_grad=True)
    centre = size // 2
    # one output pixel at every phase of the coarsest grid
    net(image)[0, :, centre : centre + 8, centre : centre + 8].sum().backward()
    assert image.grad is not None
    reached = image.grad.abs().sum(dim=(0, 1)).nonzero()
    assert int(centre - reached.min()) <= halo
    assert int(reached.max() - (centre + 7)) <= halo
    assert int(centre - reached.min()) > halo // 2  # and the halo is not wasteful


def test_a_window_with_halo_gives_what_the_whole_scene_gives() -> None:
    torch.manual_seed(1)
    net = SmallNet(2, 3, width=4).eval()
    halo = net.halo_px
    scene = torch.randn(1, 2, 2 * halo + 64, 2 * halo + 96)
    with torch.inference_mode():
        whole = net(scene)[..., halo : halo + 32, halo + 32 : halo + 64]
        window = net(scene[..., : 2 * halo + 32, 32 : 2 * halo + 64])[..., halo : halo + 32, halo : halo + 32]
    torch.testing.assert_close(window, whole, atol=1e-5, rtol=1e-5)


def test_contrast_of_a_plane_is_its_slope() -> None:
    front = LocalContrast(1).eval()
    ramp = torch.arange(64.0).expand(64, 64)[None, None] * 0.1
    raw, near, far, slope = front(ramp)[0, :, 32, 32]
    assert raw == pytest.approx(3.2, abs=1e-3)
    assert near == pytest.approx(0.0, abs=1e-4)
    assert far == pytest.approx(0.0, abs=1e-4)
    assert slope == pytest.approx(0.2, abs=1e-2)  # central difference over two pixels


def test_front_end_brings_a_faint_slope_to_unit_size() -> None:
    torch.manual_seed(2)
    front = LocalContrast(1).train()
    smooth = F.interpolate(torch.randn(4, 1, 4, 4), size=64, mode="bicubic") * 0.01
    result = front(smooth)
    assert result.std(dim=(0, 2, 3)).tolist() == pytest.approx([1.0] * 4, abs=0.15)


def test_learns_a_class_that_only_context_tells() -> None:
    torch.manual_seed(3)
    rough = torch.zeros(16, 1, 32, 32)
    rough[:, :, :, 16:] = 1.0  # right half: the same grey on average, but textured
    image = torch.randn(16, 1, 32, 32) * rough
    mask = rough[:, 0].long()
    net = SmallNet(1, 2, width=8).train()
    optimizer = torch.optim.AdamW(net.parameters(), lr=1e-2)
    for _ in range(30):
        optimizer.zero_grad()
        F.cross_entropy(net(image), mask).backward()
        optimizer.step()
    accuracy = (net.eval()(image).argmax(1) == mask).float().mean()
    assert accuracy > 0.95


def test_same_seed_same_network() -> None:
    def build() -> SmallNet:
        torch.manual_seed(4)
        return SmallNet(3, 2, width=8)

    first, second = build().state_dict(), build().state_dict()
    assert all(torch.equal(first[name], second[name]) for name in first)


@pytest.mark.parametrize("counts", [(0, 2, 8), (3, 0, 8), (3, 2, 0)])
def test_counts_below_one_are_refused(counts: tuple[int, int, int]) -> None:
    with pytest.raises(ValueError, match="at least 1"):
        SmallNet(*counts)
