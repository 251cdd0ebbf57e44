"""Time series as moving pictures."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.animation import PillowWriter
from matplotlib.axes import Axes
from numpy.typing import NDArray

from geotoolbox.core.files import atomic_path, check_writable
from geotoolbox.errors import BadInput, explain
from geotoolbox.visualization.images import show_image
from geotoolbox.visualization.mapframe import Bounds
from geotoolbox.visualization.pixels import stretch, stretch_limits
from geotoolbox.visualization.style import LIGHT, Theme, figure_of, plain

__all__ = ["animate_images"]


def animate_images(
    images: NDArray[Any],
    path: str | Path,
    titles: Sequence[str] = (),
    *,
    valid: NDArray[np.bool_] | None = None,
    bands: Sequence[int] = (0, 1, 2),
    percentiles: tuple[float, float] = (2.0, 98.0),
    gamma: float = 0.75,
    bounds: Bounds | None = None,
    crs: str = "",
    seconds_per_image: float = 0.8,
    dpi: int = 96,
    ax: Axes | None = None,
    theme: Theme = LIGHT,
) -> Path:
    """Write images of one place, in order of time, as an animated GIF.

    All images share one stretch, so that what becomes brighter is brighter.

    Args:
        images: (T, C, H, W).
        path: Where to write; ``.gif``.
        titles: One a time, such as its date.
        valid: (T, H, W); pixels without data are left out.
        bands: One band (grey) or three (red, green, blue).
        percentiles: Of all images together; what becomes black and white.
        gamma: Below 1 brightens what lies between.
        bounds: (left, bottom, right, top) in map units.
        crs: With ``bounds``: adds map units, a scale bar and an arrow to true north.
        seconds_per_image: How long each is shown.
        dpi: Pixels to the inch.
        ax: Where to draw; a new figure when None.
        theme: Colours of lines and text.

    Returns:
        The path.

    Raises:
        BadInput: When there is no image, the path is no GIF, or the titles are not as many as the images.
        CannotWrite: When the file cannot be written.
    """
    target = Path(path)
    if target.suffix.lower() != ".gif":
        raise BadInput(
            explain("a moving picture is a GIF", got=target.name, expected="a name that ends in .gif")
        )
    if images.ndim != 4 or not len(images) or (titles and len(titles) != len(images)):
        raise BadInput(explain("these are no images of a time series", got=f"{images.shape}, {len(titles)} titles",
                               expected="(T, C, H, W), and a title for each or none"))  # fmt: skip
    check_writable(target)
    joined = np.concatenate(list(images), axis=-1)
    seen = None if valid is None else np.concatenate(list(valid), axis=-1)
    limits = stretch_limits(joined, seen, bands, percentiles)
    ax = show_image(
        images[0], None if valid is None else valid[0], bands, bounds=bounds, crs=crs, ax=ax, theme=theme
    )
    figure, shown = figure_of(ax), ax.images[-1]
    writer = PillowWriter(fps=1 / seconds_per_image)  # type: ignore[arg-type]  # it takes fractions
    with atomic_path(target) as part, warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        with writer.saving(figure, str(part), dpi):
            for time, image in enumerate(images):
                there = None if valid is None else valid[time]
                shown.set_data(stretch(image, there, bands, gamma=gamma, limits=limits))
                ax.set_title(plain(titles[time]) if titles else "", loc="left", color=theme.ink, fontsize=9.5)
                writer.grab_frame(facecolor=theme.surface)
    return target
