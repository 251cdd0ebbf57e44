"""Samples: what a PyTorch user gets, made from a reading."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from geotoolbox.core.query import Reading, TimeInterval
from geotoolbox.indexing.geometry import crs_text

if TYPE_CHECKING:
    import torch

__all__ = ["Sample", "sample_from"]


class Sample(dict[str, Any]):
    """A dict that shows itself in a notebook: ``image``, ``mask``, ``valid`` and the grid."""

    def _repr_html_(self) -> str:
        from geotoolbox.core.reprs import sample_html

        return sample_html(self)


def sample_from(reading: Reading) -> Sample:
    """Turn a reading into a dict of tensors.

    Returns:
        ``image`` (C,H,W) or (T,C,H,W) float32 and/or ``mask`` (H,W) int64, ``valid`` (H,W) or (T,H,W) bool,
        ``crs`` text, ``transform`` (6,) float64 (a, b, c, d, e, f of the affine), ``bounds`` (4,) float64
        (xmin, ymin, xmax, ymax), and for a time series ``dates`` (T,2) float64, seconds since 1970 in UTC
        (NaN where an interval is open).
    """
    import torch

    sample = Sample()
    if reading.image is not None:
        sample["image"] = torch.from_numpy(_owned(reading.image))
    if reading.mask is not None:
        sample["mask"] = torch.from_numpy(_owned(reading.mask))
    sample["valid"] = torch.from_numpy(_owned(reading.valid))
    box = reading.geobox
    sample["crs"] = crs_text(box.crs)
    sample["transform"] = torch.tensor(tuple(box.affine)[:6], dtype=torch.float64)
    sample["bounds"] = torch.tensor(tuple(box.boundingbox), dtype=torch.float64)
    if reading.dates:
        sample["dates"] = _dates(reading.dates)
    return sample


def _owned(array: Any) -> Any:
    import numpy as np

    return np.require(array, requirements=["C", "W", "O"])


def _dates(dates: tuple[TimeInterval, ...]) -> torch.Tensor:
    import torch

    nan = float("nan")
    rows = [[m.timestamp() if m is not None else nan for m in (d.start, d.end)] for d in dates]
    return torch.tensor(rows, dtype=torch.float64)
