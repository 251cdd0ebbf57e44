"""Several sources onto one grid: the first that has data at a pixel wins."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox

from geotoolbox.alignment.execute import execute
from geotoolbox.alignment.plan import plan_read
from geotoolbox.alignment.source import Resampling, Source
from geotoolbox.errors import BadInput, MixedSources
from geotoolbox.errors import explain as message

__all__ = ["read_mosaic"]


def read_mosaic(
    sources: Sequence[Source],
    geobox: GeoBox,
    resampling: Resampling = "auto",
    *,
    keep_dtype: bool = False,
) -> tuple[NDArray[Any], NDArray[np.bool_]]:
    """Read several sources onto one grid; for each pixel and band the first valid value wins.

    Args:
        sources: Sources with as many bands each, in the order of preference.
        geobox: The target grid.
        resampling: As :func:`~geotoolbox.alignment.read_onto`.
        keep_dtype: As :func:`~geotoolbox.alignment.read_onto`.

    Returns:
        Values (B, H, W), 0 where not valid, and valid (B, H, W).

    Raises:
        BadInput: When there are no sources.
        MixedSources: When they differ in number of bands, or in data type with ``keep_dtype``.
        CannotRead, CannotAlign, TooLarge: As :func:`~geotoolbox.alignment.read_onto`.
    """
    _check(sources, keep_dtype)
    shape = (len(sources[0].bands), *geobox.shape)
    image: NDArray[Any] | None = None
    valid = np.zeros(shape, dtype=bool)
    for source in sources:
        plan = plan_read(source, geobox, resampling)
        if plan.kind == "empty":
            continue
        values, here = execute(plan, keep_dtype=keep_dtype)
        if image is None:
            image, valid = values, here
        else:
            new = here & ~valid
            image[new] = values[new]
            valid |= new
        if valid.all():
            break
    if image is None:
        image = np.zeros(shape, dtype=sources[0].dtype if keep_dtype else np.float32)
    return image, valid


def _check(sources: Sequence[Source], keep_dtype: bool) -> None:
    if not sources:
        raise BadInput(message("there is no source to read", expected="one file or more"))
    first = sources[0]
    for other in sources[1:]:
        if len(other.bands) != len(first.bands):
            raise MixedSources(
                message(
                    "files of one mosaic differ in their number of bands",
                    where=other.path,
                    got=len(other.bands),
                    expected=f"{len(first.bands)} as in {first.path}",
                    fix="choose bands= that all files have",
                )
            )
        if keep_dtype and other.dtype != first.dtype:
            raise MixedSources(
                message(
                    "files of one mosaic differ in data type",
                    where=other.path,
                    got=other.dtype,
                    expected=f"{first.dtype} as in {first.path}",
                    fix="convert the files to one data type",
                )
            )
