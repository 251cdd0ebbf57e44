"""Which patches an epoch of training draws: at random, or from an edited list."""

from __future__ import annotations

from torch.utils.data import Sampler

from geotoolbox.core.query import Query
from geotoolbox.errors import BadInput, NoOverlap, explain
from geotoolbox.sampling.listed import ListSampler
from geotoolbox.sampling.random import RandomGeoSampler
from geotoolbox.sampling.samplelist import SampleList
from geotoolbox.trainers.options import TrainOptions
from geotoolbox.trainers.source import EnoughLabels, Source, labelled

__all__ = ["epoch_sampler", "identity_of", "usable_samples"]


def usable_samples(samples: SampleList, source: Source) -> tuple[SampleList, str]:
    """Return the samples that hold a labelled pixel of the training area, and what was left out, in words.

    A window's pixels outside the training area are not valid when they are read, so nothing of another part
    of a split is ever learnt from.

    Raises:
        NoOverlap: When no sample holds a labelled training pixel.
        BadInput: When the windows differ in size.
    """
    shapes = {tuple(int(n) for n in q.geobox.shape) for q in samples.queries}
    if len(shapes) > 1:
        raise BadInput(explain("the windows of the sample list differ in size", got=sorted(shapes)[:5]))
    kept = [i for i, q in enumerate(samples.queries) if (labelled(source.read(q)) >= 0).any()]
    if not kept:
        raise NoOverlap(
            explain(
                "no sample of the list holds a labelled pixel of the training area",
                got=f"{len(samples)} windows",
                fix="draw them from the training part of the same split, or from the same files",
            )
        )
    weights = tuple(samples.weights[i] for i in kept) if samples.weights else ()
    left = len(samples) - len(kept)
    words = f"{left} of {len(samples)} samples of the list hold no labelled training pixel and are left out"
    return SampleList(tuple(samples.queries[i] for i in kept), weights), words if left else ""


def epoch_sampler(source: Source, options: TrainOptions, samples: SampleList | None) -> Sampler[Query]:
    """Return what draws the patches of each epoch.

    Args:
        source: What is trained on.
        options: How.
        samples: The windows to draw from, by their weights; None draws windows at random.

    Raises:
        BadInput: When all weights are 0.
    """
    length = options.steps_per_epoch * options.batch_size
    if samples is not None:
        return ListSampler(samples, length, seed=options.seed)
    surplus = 2 if options.minimum_labelled > 0 and source.in_memory else 1
    drawn = RandomGeoSampler(
        source,
        options.patch_px,
        length * surplus,
        seed=options.seed,
        class_balanced=options.class_balanced,
    )
    return EnoughLabels(drawn, source, length, options.minimum_labelled)


def identity_of(samples: SampleList) -> tuple[object, ...]:
    """Return what tells two sample lists apart."""
    grids = [(str(q.geobox.crs), *q.geobox.shape, *tuple(q.geobox.affine)[:6]) for q in samples.queries]
    return (*grids, samples.weights)
