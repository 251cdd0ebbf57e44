"""Networks of any size in and out, and only by names that are known."""

from __future__ import annotations

import pytest
import torch

from geotoolbox.errors import BadInput
from geotoolbox.models.factory import ModelSpec, PadToMultiple, create_model, halo_of, resolve_spec


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


@pytest.mark.parametrize(("height", "width"), [(1, 1), (5, 70), (33, 64), (64, 64)])
@pytest.mark.parametrize("name", ["small", "fcn8s"])
def test_any_size_gives_logits_of_that_size(name: str, height: int, width: int) -> None:
    net = create_model(ModelSpec(name, in_channels=5, num_classes=3, width=4)).eval()
    assert net(torch.randn(2, 5, height, width)).shape == (2, 3, height, width)


def test_padding_changes_nothing_where_none_is_needed() -> None:
    inner = torch.nn.Conv2d(1, 1, 3, padding=1)
    image = torch.randn(1, 1, 64, 64)
    assert torch.equal(PadToMultiple(inner, 32)(image), inner(image))
    cut = PadToMultiple(torch.nn.Identity(), 32)(image[..., :50, :41])
    assert torch.equal(cut, image[..., :50, :41])


@pytest.mark.parametrize("name", ["unet", "deeplabv3plus"])
def test_architectures_of_smp_take_any_number_of_bands(name: str) -> None:
    net = create_model(ModelSpec(name, "resnet18", in_channels=7, num_classes=4)).eval()
    with torch.inference_mode():
        out = net(torch.randn(1, 7, 40, 33))
    assert out.shape == (1, 4, 40, 33)
    assert (out < 0).any() and (out > 0).any()  # scores, not what a ReLU left of them (DG-21)


def test_auto_is_the_small_network_on_a_cpu_and_a_unet_on_a_gpu() -> None:
    assert resolve_spec(ModelSpec(), "cpu").architecture == "small"
    assert resolve_spec(ModelSpec(encoder="resnet34"), "cpu").architecture == "unet", (
        "who names an encoder wants one"
    )
    gpu = resolve_spec(ModelSpec(), "cuda")
    assert (gpu.architecture, gpu.encoder) == ("unet", "resnet18")


def test_the_names_people_write_are_understood() -> None:
    assert ModelSpec("U-Net++".replace("-", "").lower()).architecture == "unetplusplus"
    assert ModelSpec("DeepLabV3+").architecture == "deeplabv3plus"


@pytest.mark.parametrize(
    "field", [{"architecture": "os.system"}, {"encoder": "../x"}, {"num_classes": 0}, {"width": 10**6}]
)
def test_a_description_out_of_range_is_refused(field: dict[str, object]) -> None:
    with pytest.raises(BadInput):
        ModelSpec(**field)  # type: ignore[arg-type]


def test_an_unknown_encoder_is_named() -> None:
    with pytest.raises(BadInput, match=r"unet with encoder resnet19.*Fix"):
        create_model(ModelSpec("unet", "resnet19"))


def test_the_halo_is_the_networks_own_but_leaves_something_of_the_tile() -> None:
    net = create_model(ModelSpec("small", in_channels=1, num_classes=2, width=2))
    assert halo_of(net, 384) == net.halo_px
    assert halo_of(net, 64) == 31
    assert halo_of(torch.nn.Identity(), 256) == 32
