"""What is looked at before a training begins: whether the data fit together and can be learnt from."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from geotoolbox.errors import BadInput, BadLabels, explain
from geotoolbox.models.factory import ModelSpec, resolve_spec
from geotoolbox.sampling.protocol import Sampled
from geotoolbox.trainers.counts import Counts
from geotoolbox.trainers.losses import SegmentationLoss
from geotoolbox.trainers.options import TrainOptions
from geotoolbox.transforms.indices import parse_indices

__all__ = ["check_alike", "check_choices", "check_held_out", "check_learnable", "check_team"]

_IMBALANCE = 1000
_ALWAYS_PX = 128  # a patch of this side may overhang the smallest image


def check_alike(train: Sampled, validation: Sampled) -> None:
    """Check that both parts have the same bands and classes.

    Raises:
        BadInput: When they differ.
    """
    for what, one, two in (
        ("bands", [b.name for b in train.bands], [b.name for b in validation.bands]),
        ("classes", train.classes, validation.classes),
    ):
        if one != two:
            raise BadInput(
                explain(
                    f"training and validation have other {what}", got=two, expected=one, fix="use one dataset"
                )
            )


def check_team(options: TrainOptions, count: int) -> None:
    """Check that the processes that a launcher has started can share the batches.

    Raises:
        BadInput: When they cannot, or processes of our own are asked for too.
    """
    if options.processes > 1:
        raise BadInput(
            explain(
                "processes are started twice",
                got=f"processes={options.processes}, and a launcher that has started {count}",
                fix="leave processes out: torchrun or Slurm says how many there are",
            )
        )
    if options.batch_size % count:
        raise BadInput(
            explain(
                "a batch cannot be shared evenly",
                got=f"{options.batch_size} patches, {count} processes",
                fix=f"use a batch size that is a multiple of {count}",
            )
        )


def check_choices(options: TrainOptions, train: Sampled) -> None:
    """Check the options before anything is read: patch, network, loss, indices.

    Raises:
        BadInput: When one is not known, or does not fit the bands.
    """
    height, width = max((tuple(s.geobox.shape) for s in train.scenes()), key=max)
    if options.patch_px > max(height, width, _ALWAYS_PX):
        raise BadInput(
            explain(
                "a patch is larger than every image",
                got=f"{options.patch_px} px; the largest image has {width} × {height} px",
                fix="choose a smaller patch_px (--patch-px), or leave it out",
            )
        )
    bands = [b.name for b in train.bands]
    channels = len(bands) + len(parse_indices(options.indices, bands))
    SegmentationLoss(options.loss)
    spec = ModelSpec(options.model, options.encoder, channels, max(len(train.classes or ()), 1))
    if options.encoder and resolve_spec(spec).encoder is None:
        raise BadInput(
            explain(
                "this network has no encoder to choose",
                got=f"{spec.architecture} with {options.encoder}",
                fix="leave the encoder out, or choose another network, such as unet",
            )
        )


def check_learnable(
    names: Sequence[str], counts: Counts, *, single: bool, say: Callable[[str], object]
) -> None:
    """Check that there are classes to tell apart, and say which are absent or rare.

    Args:
        names: Of the classes.
        counts: Labelled valid training pixels of each.
        single: Whether one class alone is allowed.
        say: Is called with each warning.

    Raises:
        BadLabels: When there are too few classes (R66).
    """
    present = _present(names, counts)
    listing = ", ".join(f"{n} {int(c):,}" for n, c in zip(names, counts, strict=True))
    if len(present) < (1 if single else 2):
        raise BadLabels(
            explain(
                "too few classes to train on",
                got=f"labelled valid pixels: {listing or 'none'}",
                expected="at least two classes with pixels inside the training area",
                fix="choose a larger area or another label column, or pass allow_single_class",
            )
        )
    absent = [n for n in names if n not in present]
    if absent:
        say(f"classes without a training pixel, which cannot be learnt: {', '.join(absent)}")
    if int(counts.max()) > _IMBALANCE * min(int(c) for c in counts if c):
        say(f"the classes are extremely unlike in size (labelled training pixels: {listing})")


def check_held_out(
    names: Sequence[str], counts: Counts, held_out: Counts, *, say: Callable[[str], object]
) -> None:
    """Check that the validation area has labels, and say which classes of the training it lacks.

    Args:
        names: Of the classes.
        counts: Labelled valid training pixels of each.
        held_out: Those of the validation area.
        say: Is called with each warning.

    Raises:
        BadLabels: When the validation area has no labelled pixel.
    """
    if not held_out.any():
        raise BadLabels(explain("the validation area has no labelled pixel", fix="choose another area"))
    present = _present(names, counts)
    missing = [n for n, c in zip(names, held_out, strict=True) if n in present and not c]
    if missing:
        say(f"classes that validation lacks, so that their scores are NaN: {', '.join(missing)}")


def _present(names: Sequence[str], counts: Counts) -> set[str]:
    return {n for n, c in zip(names, counts, strict=True) if c}
