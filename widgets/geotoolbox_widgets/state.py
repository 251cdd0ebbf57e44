"""The state that widgets share: change a trait here, and every widget that shows it follows."""

from __future__ import annotations

from typing import Any

import traitlets

from geotoolbox.core.query import Region
from geotoolbox.datasets import GeoDataset

__all__ = ["AppState"]


class AppState(traitlets.HasTraits):
    """What a person works on: data, samples, area, model and map.

    Each widget takes one as ``state=``, or makes its own. Widgets that share one work together: what is
    drawn on the map is what is predicted, and the samples that were kept are what is trained on.

    Example:
        >>> state = AppState()
        >>> state.observe(lambda change: print(change.new), "model_path")
        >>> state.model_path = "model.gtb"
        model.gtb
    """

    dataset: Any = traitlets.Instance(
        GeoDataset, allow_none=True, help="images & labels to sample and train on"
    )
    reference: Any = traitlets.Instance(GeoDataset, allow_none=True, help="the truth that maps are judged by")
    split = traitlets.Any(None, allow_none=True, help="a geotoolbox.sampling.Split, or None")
    samples = traitlets.Any(None, allow_none=True, help="the SampleList that training uses, or None")
    area: Any = traitlets.Instance(Region, allow_none=True, help="the area last drawn, in EPSG:4326")
    place: Any = traitlets.Tuple(
        traitlets.Float(), traitlets.Float(), default_value=None, allow_none=True,
        help="longitude and latitude last pointed at",
    )  # fmt: skip
    model_path = traitlets.Unicode("", help="the model bundle last trained or chosen")
    prediction_path = traitlets.Unicode("", help="the class map last made")
    patch = traitlets.Int(-1, help="which of the drawn samples is selected; -1 for none")
    block = traitlets.Any(None, allow_none=True, help="what is selected among the results")
