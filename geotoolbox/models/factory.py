"""From a short description of a network to the network itself.

Architectures and encoders come from allow-lists of names: a description can never name a class, a file
or an address, so a description that came with somebody's bundle can be built without trust in it.
"""

from __future__ import annotations

import re
from dataclasses import asdict, dataclass, replace
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from geotoolbox.errors import BadInput, explain

__all__ = ["ModelSpec", "PadToMultiple", "create_model", "halo_of", "list_architectures", "resolve_spec"]

# Our names → class names in segmentation-models-pytorch.
_SMP = {
    "unet": "Unet",
    "unetplusplus": "UnetPlusPlus",
    "manet": "MAnet",
    "linknet": "Linknet",
    "fpn": "FPN",
    "pspnet": "PSPNet",
    "deeplabv3": "DeepLabV3",
    "deeplabv3plus": "DeepLabV3Plus",
    "pan": "PAN",
    "upernet": "UPerNet",
    "segformer": "Segformer",
}
_OURS = ("small", "fcn8s")
_ALIASES = {"unet++": "unetplusplus", "deeplabv3+": "deeplabv3plus", "fcn": "fcn8s"}
_ENCODER = re.compile(r"[a-z0-9][a-z0-9_.\-]{0,79}")
_STRIDE_PX = 32
_DEFAULT_ENCODER = "resnet18"
_LIMITS = {"in_channels": 4096, "num_classes": 65_535, "width": 1024}


@dataclass(frozen=True, slots=True)
class ModelSpec:
    """What network to build.

    Attributes:
        architecture: One of :func:`list_architectures`, or ``"auto"``: the small network on a CPU, a
            U-Net where there is a GPU or an encoder is named.
        encoder: The backbone's name as in segmentation-models-pytorch (``resnet18``), or ``tu-`` and a
            timm name. Not for the small network and FCN-8s.
        in_channels: Channels that reach the network (after preprocessing: bands and indices).
        num_classes: Channels that come out, one for each class.
        encoder_weights: Name of pretrained encoder weights, or None for random weights.
        width: Channels of the first stage of the small network and of FCN-8s; 0 is their own default.

    Example:
        >>> ModelSpec("fcn8s", in_channels=4, num_classes=3).num_classes
        3
    """

    architecture: str = "auto"
    encoder: str | None = None
    in_channels: int = 3
    num_classes: int = 2
    encoder_weights: str | None = None
    width: int = 0

    def __post_init__(self) -> None:
        name = self.architecture.lower()
        object.__setattr__(self, "architecture", _ALIASES.get(name, name))
        if self.architecture not in ("auto", *list_architectures()):
            raise BadInput(
                explain(
                    "unknown architecture",
                    got=repr(self.architecture),
                    expected="one of auto, " + ", ".join(list_architectures()),
                )
            )
        if self.encoder is not None and not _ENCODER.fullmatch(self.encoder):
            raise BadInput(
                explain("not an encoder's name", got=repr(self.encoder), expected="a name such as resnet18")
            )
        for name, most in _LIMITS.items():
            value, least = getattr(self, name), 0 if name == "width" else 1
            if not least <= value <= most:
                raise BadInput(explain("out of range", where=name, got=value, expected=f"{least} to {most}"))

    def to_json(self) -> dict[str, Any]:
        """Return the fields for JSON."""
        return asdict(self)


def list_architectures() -> tuple[str, ...]:
    """Return the names that ``architecture`` may take, besides ``auto``.

    Example:
        >>> list_architectures()[:3]
        ('small', 'fcn8s', 'unet')
    """
    return (*_OURS, *_SMP)


def resolve_spec(spec: ModelSpec, device: str | None = None) -> ModelSpec:
    """Replace ``auto`` and a missing encoder by what they stand for on this machine.

    Args:
        spec: The description.
        device: The device that will train (``"cpu"``, ``"cuda"``); None looks for a GPU.
    """
    if spec.architecture == "auto":
        gpu = torch.cuda.is_available() if device is None else not device.startswith("cpu")
        spec = replace(spec, architecture="unet" if gpu or spec.encoder else "small")
    if spec.architecture in _OURS:
        return replace(spec, encoder=None, encoder_weights=None)
    return spec if spec.encoder else replace(spec, encoder=_DEFAULT_ENCODER)


def create_model(spec: ModelSpec, device: str | None = None) -> nn.Module:
    """Build the network: (N, C, H, W) float32 in, logits (N, K, H, W) out, for any H and W.

    Args:
        spec: What to build.
        device: What ``auto`` is to look at; the network itself is made on torch's default device.

    Raises:
        BadInput: For an encoder that does not exist.

    Example:
        >>> net = create_model(ModelSpec("fcn8s", in_channels=4, num_classes=3, width=4))
        >>> tuple(net(torch.zeros(1, 4, 20, 37)).shape)
        (1, 3, 20, 37)
    """
    spec = resolve_spec(spec, device)
    if spec.architecture == "small":
        return _small(spec)
    if spec.architecture == "fcn8s":
        from geotoolbox.models.fcn8s import FCN8s

        make = partial(FCN8s, spec.in_channels, spec.num_classes)
        return PadToMultiple(make(width=spec.width) if spec.width else make(), _STRIDE_PX)
    return PadToMultiple(_smp(spec), _STRIDE_PX)


def _small(spec: ModelSpec) -> nn.Module:
    from geotoolbox.models.small import SmallNet

    make = partial(SmallNet, spec.in_channels, spec.num_classes)
    return make(width=spec.width) if spec.width else make()


def _smp(spec: ModelSpec) -> nn.Module:
    import segmentation_models_pytorch as smp

    make = getattr(smp, _SMP[spec.architecture])
    try:
        net: nn.Module = make(
            encoder_name=spec.encoder,
            encoder_weights=spec.encoder_weights,
            in_channels=spec.in_channels,
            classes=spec.num_classes,
        )
    except (KeyError, RuntimeError, ValueError) as error:
        raise BadInput(
            explain(
                "this network cannot be built",
                where=f"{spec.architecture} with encoder {spec.encoder}",
                got=str(error).splitlines()[0][:200],
                fix="choose another encoder, for example resnet18 or tu-convnext_tiny",
            )
        ) from error
    return net


def halo_of(module: nn.Module, tile_px: int) -> int:
    """Return how many pixels at a tile's border are to be thrown away, since the network sees too little.

    A network may say so itself (``halo_px``); else an eighth of the tile, at most 32 px: the receptive
    field of a deep encoder is wider than the tile, but its weight is near the centre.
    """
    own = getattr(module, "halo_px", None)
    most = max((tile_px - 1) // 2, 0)
    return min(int(own) if own is not None else min(tile_px // 8, 32), most)


class PadToMultiple(nn.Module):
    """Give a network that needs H and W to be multiples of ``multiple`` any size.

    The image is padded at the bottom and right, by reflection where it is large enough and else by
    repeating the border, and the logits are cut back.
    """

    def __init__(self, network: nn.Module, multiple: int) -> None:
        super().__init__()
        self.network, self.multiple = network, multiple

    def forward(self, image: Tensor) -> Tensor:
        """Map (N, C, H, W) to (N, K, H, W)."""
        height, width = image.shape[-2:]
        # Twice the stride at least, so that the deepest map has something to normalise over.
        target = [max(-(-n // self.multiple), 2) * self.multiple for n in (height, width)]
        right, bottom = target[1] - width, target[0] - height
        if right or bottom:
            mode = "reflect" if right < width and bottom < height else "replicate"
            image = F.pad(image, (0, right, 0, bottom), mode=mode)
        logits: Tensor = self.network(image)
        return logits[..., :height, :width]
